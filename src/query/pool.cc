// The parent side: workers are spawned when they are needed, kept while they behave, killed when they do not.
#include "query/pool.h"

#include "base/check.h"
#include "os/clock.h"
#include "os/process.h"
#include "query/server_tables.h"
#include "query/wire.h"

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <condition_variable>
#include <csignal>
#include <mutex>
#include <optional>
#include <poll.h>
#include <sys/socket.h>
#include <utility>

namespace weir::query {
namespace {

constexpr int worker_nice = 5;
constexpr std::int64_t grace_ms = 300;               // between the worker's own deadline and SIGKILL
constexpr std::int64_t timeout_ms_max = 86'400'000;  // a day: an admin's "without limit"
constexpr int reap_ms = 1'000;                       // a killed process is gone in far less

struct Worker {
    os::Child child;
    FrameBuffer frames;
    explicit Worker(os::Child c) : child(std::move(c)) {}
};

constexpr std::int64_t look_us = 50'000;  // how often a caller is asked whether it still wants the result

enum class Wait : std::uint8_t { ready, deadline, gone, unwanted };

// What became of one exchange with a worker.
struct Exchange {
    Result<QuerySummary> result = Error{};
    bool reusable = false;  // at a frame's border, waiting for the next query
};

class WorkerPool final : public Pool {
  public:
    explicit WorkerPool(PoolOptions options) : options_(std::move(options)) { CHECK(options_.workers_max > 0); }

    ~WorkerPool() override {
        stop();
        std::unique_lock lock(mutex_);
        changed_.wait(lock, [&] { return calls_ == 0; });
    }

    Result<QuerySummary> run(const QueryRequest& request, ResultSink& sink) override {
        std::size_t bytes = request.sql.size();
        for (const OwnedValue& value : request.parameters)
            bytes += value.text.size() + 16;
        if (bytes > request_bytes_max) return Error{Errc::too_large, "statement and parameters have more than 16 MiB"};
        QueryRequest bounded = request;
        bounded.tables = mentioned_tables(options_.server_tables, request.sql);
        if (size_of(bounded.tables) > request_bytes_max)
            return Error{Errc::too_large, "the rows of the system tables have more than 16 MiB"};
        bounded.timeout_ms = std::clamp<std::int64_t>(request.timeout_ms, 1, timeout_ms_max);
        const std::int64_t deadline_us = now_us() + bounded.timeout_ms * 1000;
        const CallGuard guard(*this);
        Worker* worker = TRY(acquire(deadline_us, sink));
        bounded.timeout_ms = std::max<std::int64_t>((deadline_us - now_us()) / 1000, 1);
        Exchange exchange = converse(*worker, bounded, deadline_us + grace_ms * 1000, sink);
        release(worker, exchange.reusable);
        return std::move(exchange.result);
    }

    void stop() override {
        std::vector<std::unique_ptr<Worker>> unused;  // reaped outside of the lock
        const std::lock_guard lock(mutex_);
        stopping_ = true;
        for (const auto& worker : workers_)
            worker->child.kill();
        // Those that nobody uses go now; the others when their calls end.
        while (!idle_.empty())
            unused.push_back(take_idle());
        changed_.notify_all();
    }

    void hold(bool on) override {
        const std::lock_guard lock(mutex_);
        held_ = on;
        changed_.notify_all();
    }

    bool held() const override {
        const std::lock_guard lock(mutex_);
        return held_;
    }

    void rest() override {
        std::vector<std::unique_ptr<Worker>> unused;  // reaped outside of the lock
        const std::lock_guard lock(mutex_);
        while (!idle_.empty())
            unused.push_back(take_idle());
    }

    std::uint32_t running() const override {
        const std::lock_guard lock(mutex_);
        return running_;
    }

  private:
    // Counts a call in flight, so that the destructor can wait for it.
    class CallGuard {
      public:
        explicit CallGuard(WorkerPool& pool) : pool_(pool) {
            const std::lock_guard lock(pool_.mutex_);
            ++pool_.calls_;
        }
        ~CallGuard() {
            const std::lock_guard lock(pool_.mutex_);
            --pool_.calls_;
            pool_.changed_.notify_all();
        }
        CallGuard(const CallGuard&) = delete;
        CallGuard& operator=(const CallGuard&) = delete;

      private:
        WorkerPool& pool_;
    };

    std::int64_t now_us() { return os::RealClock().monotonic_us(); }
    bool stopping() {
        const std::lock_guard lock(mutex_);
        return stopping_;
    }
    static Error stopped() { return {Errc::shutting_down, "this node is stopping"}; }

    // The idle worker used last, out of the pool. Under the lock.
    std::unique_ptr<Worker> take_idle() {
        const auto found =
            std::ranges::find_if(workers_, [&](const auto& owned) { return owned.get() == idle_.back(); });
        CHECK(found != workers_.end());
        std::unique_ptr<Worker> worker = std::move(*found);
        workers_.erase(found);
        idle_.pop_back();
        return worker;
    }

    // Alive, and not saying anything unasked.
    static bool waits_quietly(const Worker& worker) {
        char byte = 0;
        const ssize_t got = ::recv(worker.child.socket(), &byte, 1, MSG_PEEK | MSG_DONTWAIT);
        return got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR);
    }

    Result<Worker*> acquire(std::int64_t deadline_us, ResultSink& sink) {
        std::vector<std::unique_ptr<Worker>> dead;  // reaped outside of the lock
        {
            std::unique_lock lock(mutex_);
            const auto available = [&] {
                return stopping_ || (!held_ && (!idle_.empty() || workers_.size() + spawning_ < options_.workers_max));
            };
            if (!available()) {
                if (waiting_ >= options_.waiting_max) return Error{Errc::overloaded, "too many queries are waiting"};
                ++waiting_;
                bool came = false, wanted = true;
                while (!came && wanted) {
                    const std::int64_t left_us = deadline_us - now_us();
                    if (left_us <= 0) break;
                    came = changed_.wait_for(lock, std::chrono::microseconds(std::min(left_us, look_us)), available);
                    lock.unlock();  // the caller's own affairs
                    wanted = sink.wanted();
                    lock.lock();
                    came = came && available();
                }
                --waiting_;
                if (!wanted) return cancelled();
                if (!came) return Error{Errc::deadline, "the query ran out of time while it waited for its turn"};
            }
            if (stopping_) return stopped();
            ++running_;
            while (!idle_.empty()) {
                // One may have died while nobody looked (an operator's kill, the kernel short of memory).
                if (waits_quietly(*idle_.back())) {
                    Worker* worker = idle_.back();
                    idle_.pop_back();
                    return worker;
                }
                dead.push_back(take_idle());
            }
            ++spawning_;
        }
        dead.clear();
        auto spawned = spawn();  // outside of the lock: it takes milliseconds
        const std::lock_guard lock(mutex_);
        --spawning_;
        if (!spawned || stopping_) {
            --running_;
            changed_.notify_all();
            if (!spawned) return std::move(spawned).error();
            return stopped();
        }
        workers_.push_back(std::move(spawned).value());
        return workers_.back().get();
    }

    Result<std::unique_ptr<Worker>> spawn() {
        os::SpawnOptions options;
        options.program = options_.program;
        options.arguments = {"weir",  "sql-worker",      "--fd", std::to_string(options.socket_number),
                             "--dir", options_.shard_dir};
        options.nice = worker_nice;
        auto child = os::Child::spawn(options);
        if (!child)
            return Error{Errc::io, "cannot start a process for the query: " + child.error().detail,
                         child.error().os_errno};
        auto worker = std::make_unique<Worker>(std::move(child).value());
        const std::string hello = hello_frame({options_.worker_memory_bytes, options_.node_id});
        if (!send_all(*worker, hello, now_us() + std::int64_t{reap_ms} * 1000))
            return Error{Errc::io, "the query's process did not start"};
        return worker;
    }

    void release(Worker* worker, bool reusable) {
        std::unique_ptr<Worker> dead;  // killed and reaped outside of the lock
        {
            const std::lock_guard lock(mutex_);
            if (reusable && !stopping_) {
                idle_.push_back(worker);
            } else {
                const auto found =
                    std::ranges::find_if(workers_, [&](const auto& owned) { return owned.get() == worker; });
                CHECK(found != workers_.end());
                dead = std::move(*found);
                workers_.erase(found);
            }
        }
        dead.reset();
        const std::lock_guard lock(mutex_);
        --running_;  // only now: a worker that was killed may have read until it was reaped
        changed_.notify_all();
    }

    // Waits until the socket can be read or written. `sink`, where there is one, is asked meanwhile.
    Wait wait_for(const Worker& worker, short events, std::int64_t until_us, ResultSink* sink) {
        while (true) {
            const std::int64_t left_us = until_us - now_us();
            if (left_us <= 0) return Wait::deadline;
            pollfd watched{worker.child.socket(), events, 0};
            const int ready = ::poll(&watched, 1, static_cast<int>((std::min(left_us, look_us) + 999) / 1000));
            if (ready > 0) return Wait::ready;
            if (ready < 0 && errno != EINTR) return Wait::gone;
            if (sink != nullptr && !sink->wanted()) return Wait::unwanted;
        }
    }

    bool send_all(Worker& worker, std::string_view bytes, std::int64_t until_us) {
        while (!bytes.empty()) {
            const ssize_t sent = ::send(worker.child.socket(), bytes.data(), bytes.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
            if (sent > 0) {
                bytes.remove_prefix(static_cast<std::size_t>(sent));
            } else if (sent < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) {
                if (wait_for(worker, POLLOUT, until_us, nullptr) != Wait::ready) return false;
            } else if (sent == 0 || errno != EINTR) {
                return false;
            }
        }
        return true;
    }

    Exchange converse(Worker& worker, const QueryRequest& request, std::int64_t kill_us, ResultSink& sink) {
        Exchange exchange;
        worker.frames.clear();
        if (!send_all(worker, query_frame(request), kill_us)) {
            exchange.result = why_gone(worker, kill_us);
            return exchange;
        }
        std::vector<QueryColumn> columns;
        std::vector<store::Value> values;
        std::int64_t rows = 0;
        while (true) {
            auto next = worker.frames.next();
            if (!next) return failed(worker, std::move(next).error());
            if (!next.value()) {
                const Wait came = receive(worker, kill_us, sink);
                if (came == Wait::unwanted) return failed(worker, cancelled());
                if (came != Wait::ready) {
                    exchange.result = why_gone(worker, kill_us);
                    return exchange;
                }
                continue;
            }
            const Frame frame = *next.value();
            switch (frame.type) {
                case FrameType::columns: {
                    auto read = read_columns(frame.body);
                    if (!read || !columns.empty()) return failed(worker, read ? unexpected() : std::move(read).error());
                    columns = std::move(read).value();
                    if (!sink.columns(columns)) return failed(worker, cancelled());
                    break;
                }
                case FrameType::rows: {
                    if (columns.empty()) return failed(worker, unexpected());
                    RowsReader reader(frame.body, columns.size());
                    while (true) {
                        auto more = reader.next(values);
                        if (!more) return failed(worker, std::move(more).error());
                        if (!more.value()) break;
                        if (++rows > request.rows_max) return failed(worker, unexpected());
                        if (!sink.row(values)) return failed(worker, cancelled());
                    }
                    break;
                }
                case FrameType::done: {
                    auto done = read_done(frame.body);
                    if (!done || columns.empty()) return failed(worker, done ? unexpected() : std::move(done).error());
                    exchange.reusable = true;
                    exchange.result = QuerySummary{done.value().applied, done.value().truncated, rows};
                    return exchange;
                }
                case FrameType::error:
                    exchange.result = decode_error(frame.body);
                    exchange.reusable = !ends_worker(exchange.result.error().code);
                    return exchange;
                case FrameType::hello:
                case FrameType::query:
                    return failed(worker, unexpected());
            }
        }
    }

    static Error unexpected() { return {Errc::corrupt, "the query's process sent what it should not"}; }
    static Error cancelled() { return {Errc::cancelled, "the caller stopped reading the result"}; }

    // The worker is of no more use: it still computes, or cannot be trusted.
    static Exchange failed(Worker& worker, Error error) {
        worker.child.kill();
        Exchange exchange;
        exchange.result = std::move(error);
        return exchange;
    }

    Wait receive(Worker& worker, std::int64_t until_us, ResultSink& sink) {
        constexpr std::size_t step = 256 * limits::kib;
        while (true) {
            const Wait came = wait_for(worker, POLLIN, until_us, &sink);
            if (came != Wait::ready) return came;
            const ssize_t got = ::recv(worker.child.socket(), worker.frames.room(step), step, MSG_DONTWAIT);
            if (got > 0) {
                worker.frames.received(static_cast<std::size_t>(got));
                return Wait::ready;
            }
            if (got == 0 || (errno != EINTR && errno != EAGAIN && errno != EWOULDBLOCK)) return Wait::gone;
        }
    }

    // The worker does not answer any more: too late, stopped, or dead by itself.
    Error why_gone(Worker& worker, std::int64_t kill_us) {
        const bool late = now_us() >= kill_us;
        if (late) worker.child.kill();
        const auto ended = worker.child.wait(reap_ms);
        if (stopping()) return stopped();
        if (late) return {Errc::deadline, "the query ran out of time and was killed"};
        if (!ended || !ended.value()) return {Errc::io, "the query's process hung up"};
        const os::ExitStatus status = *ended.value();
        const bool memory = !status.signalled && status.code == exit_out_of_memory;
        // A SIGKILL that is not ours is the kernel's, for memory.
        if (memory || (status.signalled && status.code == SIGKILL))
            return {Errc::too_large, "the query needed more memory than it may have"};
        if (status.signalled && status.code == SIGXCPU)
            return {Errc::deadline, "the query used more processor time than it may have and was killed"};
        if (status.signalled && status.code == SIGSYS)
            return {Errc::forbidden,
                    "the query's process asked the kernel for something that no query may, and was killed"};
        return {Errc::io, std::string("the query's process ended by ") +
                              (status.signalled ? "signal " : "itself with code ") + std::to_string(status.code)};
    }

    const PoolOptions options_;
    // A lock, against the house's habit: callers are pool threads that block here anyway. Never held while a worker is
    // spawned, spoken to or reaped.
    mutable std::mutex mutex_;
    std::condition_variable changed_;
    std::vector<std::unique_ptr<Worker>> workers_;  // all, idle or not
    std::vector<Worker*> idle_;                     // the last used is used next
    std::uint32_t spawning_ = 0;
    std::uint32_t waiting_ = 0;
    std::uint32_t running_ = 0;
    std::uint32_t calls_ = 0;
    bool held_ = false;
    bool stopping_ = false;
};

}  // namespace

std::unique_ptr<Pool> Pool::make(PoolOptions options) {
    return std::make_unique<WorkerPool>(std::move(options));
}

}  // namespace weir::query
