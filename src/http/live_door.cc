#include "http/detail/live_door.h"

#include "os/thread.h"

#include <chrono>
#include <utility>
#include <vector>

namespace weir::http {
namespace {

constexpr std::size_t changes_bytes_max = 8u << 20;
constexpr std::int64_t wait_us_max = 500'000;  // the clock may be another than the one that waits

}  // namespace

LiveDoor::LiveDoor(const ServerOptions& options, ServerParts parts, std::shared_ptr<Mailbox> mailbox)
    : mailbox_(std::move(mailbox)),
      inbox_(std::make_shared<Inbox>(changes_bytes_max)),
      tails_(options, parts,
             {[this](Mail&& mail) { mailbox_->post(std::move(mail)); },
              [this](FilterJob&& job) { filter_.post(std::move(job)); },
              [this](replica::ShardPort& port, std::uint64_t number, std::set<ObjectId> views) {
                  watch(port, number, std::move(views));
              }}),
      filter_(parts, [inbox = inbox_](FilterDone&& done) { (void)inbox->post(Message(std::move(done))); }) {}

LiveDoor::~LiveDoor() {
    inbox_->close();
    if (thread_.joinable()) thread_.join();
}

void LiveDoor::start() {
    thread_ = os::start_thread("weir-live", [this] { run(); });
}

void LiveDoor::open(LiveOpen&& open) {
    (void)inbox_->post(Message(std::move(open)));
}

void LiveDoor::text(ConnectionId connection, const std::shared_ptr<Flow>& flow, std::string&& message) {
    static_assert(sizeof(Message) <= Flow::message_cost);
    flow->incoming.fetch_add(message.size() + Flow::message_cost);
    (void)inbox_->post(Message(Text{connection, std::move(message)}));
}

void LiveDoor::credited(ConnectionId connection) {
    (void)inbox_->post(Message(Credited{connection}));
}

void LiveDoor::stop() {
    (void)inbox_->post(Message(Stop{}));
}

void LiveDoor::run() {
    std::vector<Message> messages;
    std::int64_t wait_us = 0;
    while (true) {
        if (wait_us > 0) inbox_->wait_for(std::chrono::microseconds(std::min(wait_us, wait_us_max)));
        messages.clear();
        inbox_->drain(messages);
        for (Message& message : messages)
            std::visit([this]<class M>(M&& m) { on(std::forward<M>(m)); }, std::move(message));
        if (inbox_->closed()) return;
        wait_us = tails_.step();
    }
}

void LiveDoor::on(Lost&& lost) {
    lost.told->store(false);  // before looking: what is lost from here on is said again
    tails_.lost_changes(lost.shard);
}

void LiveDoor::watch(replica::ShardPort& port, std::uint64_t number, std::set<ObjectId> views) {
    log::Watch watch;
    if (number == 0) return port.watch(std::move(watch));
    watch.number = number;
    watch.views = std::move(views);
    watch.told = [inbox = inbox_, shard = port.id(),
                  lost = std::make_shared<std::atomic<bool>>(false)](log::Changes&& changes) {
        const std::size_t bytes = changes.bytes();
        if (inbox->post(Message(Changed{shard, std::move(changes)}), bytes)) return;
        if (!lost->exchange(true)) (void)inbox->post(Message(Lost{shard, lost}));
    };
    port.watch(std::move(watch));
}

}  // namespace weir::http
