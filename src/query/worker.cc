// The child side: one query after the other, each in one snapshot.
//
// Nothing here tries to survive what a query does to its own process: an allocation that fails ends it, and the parent
// reports that and spawns another.
#include "base/check.h"
#include "os/clock.h"
#include "os/confine.h"
#include "os/process.h"
#include "os/real_disk.h"
#include "os/thread.h"
#include "os/usage.h"
#include "query/catalog_reader.h"
#include "query/explain.h"
#include "query/pool.h"
#include "query/row_source.h"
#include "query/wire.h"
#include "sql/rewrite.h"
#include "store/reader.h"

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstdio>
#include <malloc.h>
#include <memory>
#include <new>
#include <optional>
#include <poll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>
#include <utility>

namespace weir::query {
namespace {

// The sanitizers reserve terabytes of addresses, where the limit would stop the process at once, and need more of the
// kernel to report than the filter leaves.
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr bool confines = false;
#elif defined(__has_feature)
constexpr bool confines = !(__has_feature(address_sanitizer) || __has_feature(thread_sanitizer));
#else
constexpr bool confines = true;
#endif

constexpr std::uint64_t open_files_max = 256;       // two a scan; a statement has no more than 20 terms of joins
constexpr std::int64_t cpu_slack_s = 2;             // beyond the query's own time: for what the parent does not kill
constexpr std::uint64_t cached_part_of_memory = 8;  // a query over more of the log than this leaves the cache alone

constexpr std::int64_t explain_us_max = 200'000;  // for views that an EXPLAIN reads on its way

constexpr int exit_ok = 0;
constexpr int exit_protocol = 70;

// The server's end of the socket is gone when the server is, however it ended: then nobody wants the result. A thread
// watches, for a query may not look up for seconds. (PR_SET_PDEATHSIG would not do: it means the thread that spawned
// us, and a thread of a pool may end earlier.)
void exit_with_parent(int fd) {
    while (true) {
        pollfd watched{fd, POLLRDHUP, 0};
        const int ready = ::poll(&watched, 1, -1);
        if (ready > 0 && (watched.revents & (POLLRDHUP | POLLHUP | POLLERR | POLLNVAL)) != 0) ::_exit(exit_ok);
        if (ready < 0 && errno != EINTR) ::_exit(exit_ok);
    }
}

// Addresses that the process has now, from the first number of /proc/self/statm (pages). 0: unknown.
std::uint64_t address_space_bytes(std::FILE* statm) {
    unsigned long long pages = 0;
    const bool read = statm != nullptr && std::fscanf(statm, "%llu", &pages) == 1;
    return read ? pages * static_cast<std::uint64_t>(::sysconf(_SC_PAGESIZE)) : 0;
}

class Channel {
  public:
    explicit Channel(int fd) : fd_(fd) {}

    // Blocks while the parent does not read: that is the backpressure. The parent gone: this process ends.
    void send(std::string_view bytes) {
        while (!bytes.empty()) {
            const ssize_t sent = ::send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
            if (sent < 0 && errno == EINTR) continue;
            if (sent <= 0) ::_exit(exit_ok);
            bytes.remove_prefix(static_cast<std::size_t>(sent));
        }
    }

    // The next frame; nullopt: the parent closed, or sent what is none.
    std::optional<Frame> receive() {
        while (true) {
            auto frame = buffer_.next();
            if (!frame) return std::nullopt;
            if (frame.value()) return frame.value();
            constexpr std::size_t step = 64 * limits::kib;
            char* room = buffer_.room(step);
            const ssize_t got = ::recv(fd_, room, step, 0);
            if (got < 0 && errno == EINTR) continue;
            if (got <= 0) return std::nullopt;
            buffer_.received(static_cast<std::size_t>(got));
        }
    }

    int fd() const { return fd_; }

  private:
    int fd_;
    FrameBuffer buffer_;
};

// Gathers rows into frames.
class ChannelSink final : public store::RowSink {
  public:
    ChannelSink(Channel& channel, const std::vector<std::string>& types) : channel_(channel), types_(types) {}

    bool columns(const std::vector<store::ResultColumn>& columns) override {
        std::vector<QueryColumn> out;
        for (std::size_t i = 0; i < columns.size(); ++i) {
            const bool told = i < types_.size() && !types_[i].empty();
            out.push_back({columns[i].name, told ? types_[i] : columns[i].declared_type});
        }
        channel_.send(columns_frame(out));
        return true;
    }

    bool row(const std::vector<store::Value>& values) override {
        std::size_t bytes = 0;
        for (const store::Value& value : values)
            bytes += value.text.size() + 16;
        if (bytes > frame_bytes_max / 2) {
            too_large_ = true;
            return false;
        }
        if (rows_ > 0 && frame_.size() + bytes > frame_bytes_target) flush();
        if (rows_ == 0) {
            frame_.clear();
            (void)begin_frame(frame_, FrameType::rows);
            WireWriter(frame_).u32(0);
        }
        WireWriter writer(frame_);
        for (const store::Value& value : values)
            put_value(writer, value);
        ++rows_;
        return true;
    }

    void flush() {
        if (rows_ == 0) return;
        const le32 count(rows_);
        frame_.replace(sizeof(le32) + 1, sizeof count, bytes_of(count));
        end_frame(frame_, 0);
        channel_.send(frame_);
        rows_ = 0;
    }
    bool too_large() const { return too_large_; }

  private:
    Channel& channel_;
    const std::vector<std::string>& types_;
    std::string frame_;
    std::uint32_t rows_ = 0;
    bool too_large_ = false;
};

class Worker {
  public:
    Worker(int fd, std::string shard_dir)
        : channel_(fd), shard_dir_(std::move(shard_dir)), disk_(os::make_real_disk()) {}

    int serve() {
        const auto first = channel_.receive();
        if (!first) return exit_ok;
        auto hello = first->type == FrameType::hello ? read_hello(first->body) : Result<Hello>(Error{});
        if (!hello) return exit_protocol;
        node_ = hello.value().node;
        Status ready = open();
        if (ready) ready = close_off(hello.value().memory_bytes);
        while (true) {
            const auto frame = channel_.receive();
            if (!frame) return exit_ok;
            if (frame->type != FrameType::query) return exit_protocol;
            auto request = read_query(frame->body);
            if (!request) return exit_protocol;
            auto done = ready ? run(request.value()) : Result<Done>(ready.error());
            if (done) {
                channel_.send(done_frame(done.value().applied, done.value().truncated));
            } else {
                channel_.send(error_frame(done.error()));
                // What is open cannot be opened again. The parent sends nothing more to this process.
                if (ends_worker(done.error().code)) return exit_ok;
            }
            ::malloc_trim(0);  // an idle worker gives back what a large query took
        }
    }

  private:
    // Everything that needs more of the kernel than a query may have: SQLite writes into the shared memory beside its
    // log, which the first snapshot opens.
    Status open() {
        auto reader = store::Reader::open(shard_dir_ + "/view.db", [this] { return clock_.monotonic_us(); });
        if (!reader) return Error{Errc::io, reader.error().detail, reader.error().os_errno};
        reader_ = std::move(reader).value();
        TRY(reader_->begin_snapshot());
        reader_->end_snapshot();
        catalog_ = std::make_unique<CatalogReader>(*reader_, *disk_, shard_dir_, node_);
        const std::uint64_t memory = os::memory_of_this_machine();
        if (memory > 0) catalog_->set_cached_bytes_max(memory / cached_part_of_memory);
        ::tzset();  // reads a file
        return {};
    }

    // From here on this process reads below its folder, computes, and talks to its parent. The watching thread comes
    // between the two locks: it is to have the first, and the second allows no thread.
    Status close_off(std::uint64_t memory_bytes) {
        std::FILE* statm = std::fopen("/proc/self/statm", "re");  // while it can be opened
        bool locked = !confines;
        if (confines) {
            TRY(os::limit_files(open_files_max));
            locked = TRY(os::restrict_files_to(shard_dir_));
        }
        watch_parent();
        if (confines) {
            // On top of what is mapped already: libraries, stacks.
            if (memory_bytes > 0) TRY(os::limit_memory(address_space_bytes(statm) + memory_bytes));
            locked = TRY(os::restrict_system_calls()) && locked;
        }
        if (statm != nullptr) std::fclose(statm);
        if (!locked)
            (void)std::fputs(
                "weir: this kernel does not confine queries (Landlock and seccomp); the SQL layer's own rules remain\n",
                stderr);
        return {};
    }

    void watch_parent() {
        // A thread that begins asks the kernel for more than one that runs.
        auto runs = std::make_shared<std::atomic<bool>>(false);
        std::jthread watch = os::start_thread("parent-watch", [fd = channel_.fd(), runs] {
            runs->store(true);
            runs->notify_one();
            exit_with_parent(fd);
        });
        watch.detach();  // it ends with the process
        runs->wait(false);
    }

    Result<Done> run(const QueryRequest& request) {
        const std::int64_t deadline_us = clock_.monotonic_us() + request.timeout_ms * 1000;
        TRY(os::allow_cpu_seconds(static_cast<std::uint64_t>(request.timeout_ms / 1000 + cpu_slack_s)));
        reader_->set_now_ms(request.now_ms);
        TRY(reader_->begin_snapshot());
        auto result = run_in_snapshot(request, deadline_us);
        reader_->end_snapshot();
        reader_->clear_names();
        return result;
    }

    // EXPLAIN's answer: lines of text.
    Result<Done> answer_lines(const std::vector<std::string>& lines) {
        const std::vector<std::string> types = {"TEXT"};
        ChannelSink sink(channel_, types);
        sink.columns({{"plan", "TEXT"}});
        for (const std::string& line : lines)
            (void)sink.row({store::Value::of(std::string_view(line))});
        sink.flush();
        return Done{catalog_->applied(), false};
    }

    Result<Done> run_in_snapshot(const QueryRequest& request, std::int64_t deadline_us) {
        TRY(catalog_->begin(request.tables));
        const auto explain = read_explain(request.sql);
        if (explain && explain->is_view) return answer_lines(TRY(catalog_->explain_view(explain->text)));
        std::vector<std::string> notes;
        if (explain) catalog_->explain_into(&notes);
        auto rewritten = sql::rewrite_query(explain ? explain->text : request.sql,
                                            [this](std::string_view name) { return catalog_->find(name); });
        TRY(Status(catalog_->status()));
        const sql::RewrittenQuery query = TRY(std::move(rewritten));
        TRY(catalog_->add_tables(query.tables));
        std::vector<store::Value> parameters;
        for (const OwnedValue& value : request.parameters)
            parameters.push_back(borrow(value));
        ChannelSink sink(channel_, query.column_types);
        store::ReadLimits read_limits;
        read_limits.deadline_us = deadline_us;
        read_limits.rows_max = request.rows_max;
        const auto in_users_text = [&query](Error error) {
            if (error.position >= 0)
                error.position =
                    static_cast<std::int64_t>(query.user_position(static_cast<std::size_t>(error.position)));
            return error;
        };
        if (explain) {
            read_limits.deadline_us = std::min(deadline_us, clock_.monotonic_us() + explain_us_max);
            auto lines = explain_query(*reader_, query.sql, parameters, read_limits, notes);
            if (!lines) return in_users_text(std::move(lines).error());
            return answer_lines(lines.value());
        }
        auto ran = reader_->run(query.sql, parameters, read_limits, sink);
        if (!ran) return in_users_text(std::move(ran).error());
        if (sink.too_large())
            return Error{Errc::too_large,
                         "a row of the result has more than " + std::to_string(frame_bytes_max / 2) + " bytes"};
        sink.flush();
        return Done{catalog_->applied(), ran.value()};
    }

    Channel channel_;
    std::string shard_dir_;
    std::string node_ = "n1";
    os::RealClock clock_;
    std::unique_ptr<os::Disk> disk_;
    std::unique_ptr<store::Reader> reader_;
    std::unique_ptr<CatalogReader> catalog_;  // refers to reader_
};

}  // namespace

int worker_main(int fd, const std::string& shard_dir) {
    std::set_new_handler([] { ::_exit(exit_out_of_memory); });
    const int code = Worker(fd, shard_dir).serve();
    // Not a return through main: the watching thread must not see statics go.
    std::fflush(nullptr);
    ::_exit(code);
}

}  // namespace weir::query
