// Where tails' `where` is evaluated: a thread that waits for one worker process of its own (query/pool.h). Tails live
// for days, and a query's two workers are for queries: an expression that takes its second each time holds up other
// filtered tails by that second, and nothing else.
//
// Jobs are short (a step of a tail) and run one after the other; a tail has at most one here. The worker goes when no
// job has come for a while. Owner: post: the live thread; the rest is for the thread that made it.
#pragma once

#include "http/server.h"
#include "os/inbox.h"
#include "query/where.h"

#include <atomic>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <thread>
#include <vector>

namespace weir::http {

struct FilterJob {
    std::uint64_t tail = 0;
    query::WhereQuery query;
    bool only_check = false;                      // the expression, not the events
    std::shared_ptr<std::atomic<bool>> unwanted;  // set: the tail has gone meanwhile
};
struct FilterDone {
    std::uint64_t tail = 0;
    Result<query::EventPage> page = Error{};  // empty where only_check
    std::int64_t took_us = 0;
    bool held = false;  // readers were held up: a `deadline` is not the expression's fault
};

class FilterThread {
  public:
    // `done` is called on this thread. All outlive it.
    FilterThread(ServerParts parts, std::function<void(FilterDone&&)> done);
    ~FilterThread();  // waits for the step that runs: the pool is stopped before
    void post(FilterJob&& job);

  private:
    void run();
    FilterDone step(FilterJob& job);

    ServerParts parts_;
    query::Pool& pool_;
    std::function<void(FilterDone&&)> done_;
    os::Inbox<FilterJob> inbox_{SIZE_MAX};
    std::map<std::string, std::unique_ptr<query::EventReader>> readers_;  // by shard
    std::jthread thread_;
};

}  // namespace weir::http
