// The thread of everybody who follows something (tails.h), and how the loop and the shards reach it.
//
// It is apart from the loop because it reads files and SQLite; apart from the control plane's pool because a tail lives
// for days and a pool has four threads.
// Owner: start() and the destructor: the main thread; the rest is for the loop.
#pragma once

#include "http/detail/filter_thread.h"
#include "http/detail/tails.h"
#include "os/inbox.h"

#include <atomic>
#include <memory>
#include <string>
#include <thread>
#include <variant>

namespace weir::http {

class LiveDoor {
  public:
    LiveDoor(const ServerOptions& options, ServerParts parts, std::shared_ptr<Mailbox> mailbox);
    ~LiveDoor();
    void start();
    void open(LiveOpen&& open);
    // A WebSocket's message; its `flow` counts what has not been looked at.
    void text(ConnectionId connection, const std::shared_ptr<Flow>& flow, std::string&& message);
    void credited(ConnectionId connection);  // any thread: Flow's wake
    void stop();                             // an end to each tail; later ones are turned away

  private:
    struct Text {
        ConnectionId connection;
        std::string message;
    };
    struct Credited {
        ConnectionId connection;
    };
    struct Changed {
        ShardId shard;
        log::Changes changes;
    };
    struct Lost {  // changes that found no room
        ShardId shard;
        std::shared_ptr<std::atomic<bool>> told;
    };
    struct Stop {};
    using Message = std::variant<LiveOpen, Text, Credited, Changed, Lost, FilterDone, Stop>;
    using Inbox = os::Inbox<Message>;

    void run();
    void watch(replica::ShardPort& port, std::uint64_t number, std::set<ObjectId> views);
    void on(LiveOpen&& open) { tails_.open(std::move(open)); }
    void on(Text&& text) { tails_.text(text.connection, std::move(text.message)); }
    void on(Credited&& credited) { tails_.credited(credited.connection); }
    void on(Changed&& changed) { tails_.changed(changed.shard, std::move(changed.changes)); }
    void on(Lost&& lost);
    void on(FilterDone&& done) { tails_.filtered(std::move(done)); }
    void on(Stop&&) { tails_.stop(); }

    std::shared_ptr<Mailbox> mailbox_;
    // Changes count as bytes, the rest is bounded by connections and Flow. A shard may tell of changes after this
    // object has gone, so it holds the inbox too.
    std::shared_ptr<Inbox> inbox_;
    Tails tails_;
    FilterThread filter_;
    std::jthread thread_;
};

}  // namespace weir::http
