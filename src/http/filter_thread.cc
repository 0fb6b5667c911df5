#include "http/detail/filter_thread.h"

#include "os/thread.h"

#include <chrono>
#include <utility>

namespace weir::http {
namespace {

constexpr std::chrono::seconds rest_after{30};

}  // namespace

FilterThread::FilterThread(ServerParts parts, std::function<void(FilterDone&&)> done)
    : parts_(parts),
      pool_(parts.tail_queries != nullptr ? *parts.tail_queries : parts.queries),
      done_(std::move(done)) {
    thread_ = os::start_thread("weir-filter", [this] { run(); });
}

FilterThread::~FilterThread() {
    inbox_.close();
    if (thread_.joinable()) thread_.join();
}

void FilterThread::post(FilterJob&& job) {
    (void)inbox_.post(std::move(job));
}

void FilterThread::run() {
    std::vector<FilterJob> jobs;
    bool resting = true;
    while (true) {
        inbox_.wait_for(rest_after);
        jobs.clear();
        inbox_.drain(jobs);
        if (jobs.empty()) {
            if (inbox_.closed()) return;
            if (!std::exchange(resting, true)) {
                pool_.rest();
                readers_.clear();
            }
            continue;
        }
        resting = false;
        for (FilterJob& job : jobs) {
            if (inbox_.closed()) return;
            // Of an unwanted one too: its place is free from here on.
            done_(job.unwanted->load() ? FilterDone{.tail = job.tail} : step(job));
        }
    }
}

FilterDone FilterThread::step(FilterJob& job) {
    FilterDone done;
    done.tail = job.tail;
    job.query.now_ms = parts_.clock.wall_ms();
    const bool held_before = pool_.held();
    const std::int64_t began_us = parts_.clock.monotonic_us();
    if (job.only_check) {
        const Status good = query::check_where(pool_, job.query);
        done.page = good ? Result<query::EventPage>(query::EventPage()) : Result<query::EventPage>(good.error());
    } else {
        auto& reader = readers_[job.query.events.shard_dir];
        if (!reader) {
            auto opened = query::EventReader::open(parts_.disk, job.query.events.shard_dir);
            if (opened)
                reader = std::move(opened).value();
            else
                done.page = opened.error();
        }
        if (reader) done.page = query::read_where(*reader, pool_, job.query);
        if (!done.page && done.page.error().code != Errc::deadline) readers_.erase(job.query.events.shard_dir);
    }
    done.took_us = parts_.clock.monotonic_us() - began_us;
    done.held = held_before || pool_.held();
    return done;
}

}  // namespace weir::http
