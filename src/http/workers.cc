#include "http/detail/workers.h"

#include "os/thread.h"
#include "query/answers.h"

#include <algorithm>
#include <chrono>
#include <utility>

namespace weir::http {
namespace {

constexpr std::chrono::milliseconds visible_max{10'000};

Result<std::string> read_kept(const ReadAnswer& read, os::Disk& disk) {
    if (!read.shard->wait_visible(read.index, visible_max))
        return Error{Errc::overloaded, "what was acknowledged is not applied yet"};
    return query::read_answer(disk, read.shard->data_dir(), read.shard->id(), read.offset);
}

}  // namespace

Workers::Workers(const RouteContext& context, std::shared_ptr<Mailbox> mailbox, std::size_t threads,
                 std::size_t waiting_max)
    : context_(context), mailbox_(std::move(mailbox)), waiting_max_(waiting_max) {
    const std::size_t n = std::max<std::size_t>(threads, 1);
    for (std::size_t i = 0; i < n; ++i) {
        workers_.push_back(std::make_unique<Worker>());
        free_.push_back(i);
    }
    for (std::size_t i = 0; i < n; ++i)
        workers_[i]->thread = os::start_thread("weir-http-" + std::to_string(i), [this, i] { run(i); });
}

Workers::~Workers() {
    stop();
}

bool Workers::submit(Job&& job) {
    if (free_.empty()) {
        if (waiting_.size() >= waiting_max_) return false;
        waiting_.push_back(std::move(job));
        return true;
    }
    const std::size_t worker = free_.back();
    free_.pop_back();
    workers_[worker]->inbox.post(std::move(job));
    return true;
}

void Workers::on_free(std::size_t worker) {
    if (waiting_.empty()) {
        free_.push_back(worker);
        return;
    }
    Job next = std::move(waiting_.front());
    waiting_.pop_front();
    workers_[worker]->inbox.post(std::move(next));
}

void Workers::stop() {
    for (auto& worker : workers_)
        worker->inbox.close();
    for (auto& worker : workers_)
        if (worker->thread.joinable()) worker->thread.join();
    waiting_.clear();
}

void Workers::run(std::size_t index) {
    Router router(context_);
    std::vector<Job> jobs;
    os::Inbox<Job>& inbox = workers_[index]->inbox;
    while (true) {
        inbox.wait_for(std::chrono::seconds(60));
        jobs.clear();
        inbox.drain(jobs);
        if (jobs.empty() && inbox.closed()) return;
        for (Job& job : jobs) {
            if (auto* ensure = std::get_if<EnsureStream>(&job)) {
                auto stream = context_.parts.catalog.ensure_stream(ensure->name, ensure->kind);
                mailbox_->post(StreamEnsured{ensure->connection, std::move(stream)});
            } else if (auto* read = std::get_if<ReadAnswer>(&job)) {
                mailbox_->post(AnswerRead{read->connection, read_kept(*read, context_.parts.disk)});
            } else {
                const Call& call = *std::get<std::unique_ptr<Call>>(job);
                Reply reply(*mailbox_, call, context_.parts.clock);
                router.handle(call, reply);
            }
            mailbox_->post(WorkerFree{index});
        }
    }
}

}  // namespace weir::http
