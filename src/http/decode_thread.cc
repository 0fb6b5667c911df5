#include "http/detail/decode_thread.h"

#include "os/thread.h"

#include <chrono>
#include <utility>
#include <vector>

namespace weir::http {

DecodeThread::DecodeThread(const ServerOptions& options, ServerParts parts, std::shared_ptr<Mailbox> mailbox)
    : door_(options, parts, mailbox, SIZE_MAX), mailbox_(std::move(mailbox)) {
    thread_ = os::start_thread("weir-decode", [this] { run(); });
}

DecodeThread::~DecodeThread() {
    stopping_.store(true);
    inbox_.close();
    thread_.join();
}

void DecodeThread::run() {
    std::vector<std::shared_ptr<Decoding>> all;
    while (true) {
        inbox_.wait_for(std::chrono::seconds(60));
        all.clear();
        inbox_.drain(all);
        if (all.empty() && inbox_.closed()) return;
        for (auto& work : all) {
            if (stopping_.load()) return;
            work->step = work->op.stream ? door_.decode(work->op, work->answer) : door_.begin(work->op, work->answer);
            mailbox_->post(DecodeDone{std::move(work)});
        }
    }
}

}  // namespace weir::http
