// The pool of the control plane: a fixed number of threads, each with an inbox for one job at a time. The loop
// knows who is free and keeps what waits, so nothing here is shared but inboxes.
// Owner: the loop (submit, on_free); the constructor and stop() are for the main thread, before and after the loop
// runs.
#pragma once

#include "cluster/catalog.h"
#include "http/detail/call.h"
#include "http/detail/mailbox.h"
#include "os/inbox.h"

#include <cstddef>
#include <deque>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <variant>
#include <vector>

namespace weir::http {

struct EnsureStream {
    ConnectionId connection;
    std::string name;
    cluster::Undeclared kind = cluster::Undeclared::events;
};
struct ReadAnswer {
    ConnectionId connection;
    replica::ShardPort* shard = nullptr;
    LogIndex index;  // that brought it
    std::int64_t offset = 0;
};
using Job = std::variant<EnsureStream, ReadAnswer, std::unique_ptr<Call>>;

class Workers {
  public:
    Workers(const RouteContext& context, std::shared_ptr<Mailbox> mailbox, std::size_t threads,
            std::size_t waiting_max);
    ~Workers();
    // False: `waiting_max` jobs wait already.
    bool submit(Job&& job);
    void on_free(std::size_t worker);
    void stop();  // waits for what runs; what waits is dropped

  private:
    struct Worker {
        os::Inbox<Job> inbox{SIZE_MAX};
        std::jthread thread;
    };
    void run(std::size_t index);

    const RouteContext& context_;
    std::shared_ptr<Mailbox> mailbox_;
    std::size_t waiting_max_;
    std::vector<std::unique_ptr<Worker>> workers_;
    std::vector<std::size_t> free_;
    std::deque<Job> waiting_;
};

}  // namespace weir::http
