// Stand-ins for what the HTTP door talks to, and a client that says exactly the bytes it is given.
#pragma once

#include "cluster/catalog.h"
#include "http/server.h"
#include "obs/metrics.h"
#include "os/real_disk.h"
#include "query/pool.h"
#include "support/packed.h"

#include <arpa/inet.h>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <memory>
#include <mutex>
#include <netinet/in.h>
#include <poll.h>
#include <string>
#include <string_view>
#include <sys/socket.h>
#include <thread>
#include <unistd.h>
#include <utility>
#include <vector>
#include <zstd.h>

namespace weir::http::test {

// A broken stand-in is not a failed test: it ends the program. (CHECK is Catch2's word here.)
inline void must(bool holds) {
    if (!holds) std::abort();
}

class FakeClock : public Clock {
  public:
    std::atomic<std::int64_t> us{1'000'000};
    std::int64_t wall_ms() override { return 1'700'000'000'000 + us.load() / 1000; }
    std::int64_t monotonic_us() override { return us.load(); }
    void advance_s(std::int64_t s) { us += s * 1'000'000; }
};

// Answers every request at once, on the caller's thread, unless told to hold it.
class FakeShard : public replica::ShardPort {
  public:
    ShardId id() const override { return ShardId(0); }
    bool submit(replica::IngestRequest&& request) override {
        if (full.load()) return false;
        std::function<void(replica::IngestOutcome &&)> done;
        replica::IngestOutcome outcome;
        {
            std::lock_guard lock(mutex_);
            bodies.push_back(request.body);
            outcome = answer(request);
            if (hold) {
                held_.emplace_back(std::move(request), std::move(outcome));
                return true;
            }
        }
        request.done(std::move(outcome));
        return true;
    }
    // Lets go of what was held.
    void release() {
        std::vector<std::pair<replica::IngestRequest, replica::IngestOutcome>> out;
        {
            std::lock_guard lock(mutex_);
            out.swap(held_);
        }
        for (auto& [request, outcome] : out)
            request.done(std::move(outcome));
    }
    std::size_t held() const {
        std::lock_guard lock(mutex_);
        return held_.size();
    }
    bool propose(replica::Control&&) override { return false; }
    std::int64_t append_clock_ms() const override {
        while (decoding_held.load())
            std::this_thread::yield();
        return 1'700'000'000'000;
    }
    record::FingerprintKey fingerprint_key() const override { return {42}; }
    bool ready() const override { return is_ready.load(); }
    bool disk_full() const override { return is_disk_full.load(); }
    LogIndex committed() const override { return LogIndex(committed_index.load()); }
    LogIndex visible() const override { return LogIndex(visible_index.load()); }
    bool wait_visible(LogIndex index, std::chrono::milliseconds timeout) override {
        waited_ms += timeout.count();
        return visible() >= index;
    }
    std::string data_dir() const override { return dir; }
    void watch(log::Watch&& watch) override {
        std::lock_guard lock(mutex_);
        watch_ = std::move(watch);
        if (watch_.told) tell_locked({});
    }
    // A row commit: `index` is visible now, and these changed.
    void commit(std::uint64_t index, log::Changes changes) {
        visible_index = committed_index = index;
        std::lock_guard lock(mutex_);
        if (watch_.told) tell_locked(std::move(changes));
    }
    bool watched() const {
        std::lock_guard lock(mutex_);
        return static_cast<bool>(watch_.told);
    }
    bool watches(ObjectId view) const {
        std::lock_guard lock(mutex_);
        return watch_.views.contains(view);
    }

    // What the next requests get; empty: everything decoded is accepted. Under the lock.
    std::function<replica::IngestOutcome(const replica::IngestRequest&)> reply;
    std::vector<std::string> bodies;
    std::atomic<bool> full{false}, hold{false}, is_ready{true}, is_disk_full{false};
    std::atomic<bool> decoding_held{false};  // decoding asks for the clock: that is where it stops
    std::atomic<std::uint64_t> committed_index{7}, visible_index{7};
    std::atomic<std::int64_t> waited_ms{0};
    std::string dir = "/nowhere";

  private:
    void tell_locked(log::Changes changes) {
        changes.watch = watch_.number;
        changes.visible = LogIndex(visible_index.load());
        watch_.told(std::move(changes));
    }
    replica::IngestOutcome answer(const replica::IngestRequest& request) {
        if (reply) return reply(request);
        replica::IngestOutcome o;
        o.accepted = static_cast<std::uint32_t>(request.events->raw.size());
        o.rejected = static_cast<std::uint32_t>(request.events->rejected.size());
        for (const auto& r : request.events->rejected)
            o.errors.push_back({r.index, r.reason, r.message});
        if (o.accepted > 0) o.partitions.push_back({0, 100, o.accepted});
        o.applied_index = LogIndex(17);
        return o;
    }
    mutable std::mutex mutex_;
    std::vector<std::pair<replica::IngestRequest, replica::IngestOutcome>> held_;
    log::Watch watch_;
};

inline record::StreamPtr make_stream(std::string name, std::uint64_t index, bool checked = false) {
    auto stream = std::make_shared<record::Stream>();
    stream->id = {ShardId(0), LogIndex(index)};
    stream->name = std::move(name);
    record::Column id;
    id.name = "event_id";
    id.path = {{"event_id", -1}};
    id.path_text = "$.event_id";
    stream->schema.columns.push_back(id);
    record::Column n;
    n.name = "n";
    n.type = record::ColumnType::integer;
    n.path = {{"n", -1}};
    n.path_text = "$.n";
    if (checked) n.check_sql = "n >= 0";
    stream->schema.columns.push_back(n);
    stream->statement = "CREATE STREAM " + stream->name;
    return stream;
}

class FakeCatalog : public cluster::Catalog {
  public:
    FakeCatalog() { set({make_stream("clicks", 3), make_stream("checked", 4, true)}); }
    void set(std::vector<record::StreamPtr> streams, std::vector<cluster::ViewPtr> views = {}) {
        auto next = std::make_shared<cluster::CatalogSnapshot>();
        for (auto& s : streams)
            next->streams.emplace(s->name, s);
        for (auto& v : views)
            next->views.emplace(v->name, v);
        std::lock_guard lock(mutex_);
        snapshot_ = next;
    }
    std::shared_ptr<const cluster::CatalogSnapshot> snapshot() const override {
        std::lock_guard lock(mutex_);
        return snapshot_;
    }
    replica::ShardPort& shard_of(const record::Stream&) override { return shard; }
    replica::ShardPort& home() override { return shard; }
    Result<cluster::Changed> create(const sql::CreateStream& s) override { return change(s.name, s.if_not_exists); }
    Result<cluster::Changed> create(const sql::CreateView& s) override { return change(s.name, s.if_not_exists); }
    Result<cluster::Changed> alter(const sql::AlterStream& s) override {
        if (s.name == "absent") return Error{Errc::not_found, "there is no stream absent"};
        return cluster::Changed{true, {}, LogIndex(24)};
    }
    Result<cluster::Changed> drop(const sql::DropObject& s) override {
        if (s.name == "absent") return Error{Errc::not_found, "there is no stream absent"};
        if (s.name == "needed") return Error{Errc::conflict, "view v reads it"};
        return cluster::Changed{true, {}, LogIndex(22)};
    }
    Result<cluster::Changed> flush(const sql::FlushView& s) override {
        if (s.name == "absent") return Error{Errc::not_found, "there is no view absent"};
        return cluster::Changed{true, {}, LogIndex(23)};
    }
    Result<record::StreamPtr> ensure_stream(std::string_view name, cluster::Undeclared kind) override {
        last_kind = kind;
        ++ensured;
        if (block.load()) {
            while (block.load())
                std::this_thread::yield();
        }
        if (name == "toomany") return Error{Errc::overloaded, "no"};
        return make_stream(std::string(name), 9);
    }
    FakeShard shard;
    std::atomic<int> ensured{0};
    std::atomic<cluster::Undeclared> last_kind{cluster::Undeclared::events};
    std::atomic<bool> block{false};

  private:
    static Result<cluster::Changed> change(const std::string& name, bool quietly) {
        if (name == "taken" && quietly) return cluster::Changed{false, {}, {}};
        if (name == "taken") return Error{Errc::already_exists, "stream taken exists"};
        return cluster::Changed{true, {ShardId(0), LogIndex(20)}, LogIndex(21)};
    }
    mutable std::mutex mutex_;
    std::shared_ptr<const cluster::CatalogSnapshot> snapshot_;
};

// Runs `script` for every query.
class FakePool : public query::Pool {
  public:
    Result<query::QuerySummary> run(const query::QueryRequest& request, query::ResultSink& sink) override {
        std::function<Result<query::QuerySummary>(const query::QueryRequest&, query::ResultSink&)> now;
        {
            std::lock_guard lock(mutex_);
            last_ = request;
            now = script_;
        }
        if (now) return now(request, sink);
        sink.columns({{"n", "INTEGER"}, {"t", "TIMESTAMP"}});
        sink.row(
            {store::Value::of(std::int64_t{9'007'199'254'740'993}), store::Value::of(std::int64_t{1'431'857'104'000})});
        return query::QuerySummary{LogIndex(17), false, 1};
    }
    void stop() override { stopped = true; }
    std::atomic<bool> stopped{false};
    void script(std::function<Result<query::QuerySummary>(const query::QueryRequest&, query::ResultSink&)> s) {
        std::lock_guard lock(mutex_);
        script_ = std::move(s);
    }
    query::QueryRequest last() const {
        std::lock_guard lock(mutex_);
        return last_;
    }

  private:
    mutable std::mutex mutex_;
    std::function<Result<query::QuerySummary>(const query::QueryRequest&, query::ResultSink&)> script_;
    query::QueryRequest last_;
};

struct Response {
    int status = 0;  // 0: the connection ended first
    std::string head, body;
    bool whole = false;
    std::string field(std::string_view name) const {
        const std::size_t at = head.find("\r\n" + std::string(name) + ": ");
        if (at == std::string::npos) return {};
        const std::size_t from = at + name.size() + 4;
        return head.substr(from, head.find("\r\n", from) - from);
    }
};

class Client {
  public:
    explicit Client(const std::string& address, int receive_buffer = 0) {
        fd_ = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        must(fd_ >= 0);
        if (receive_buffer > 0) ::setsockopt(fd_, SOL_SOCKET, SO_RCVBUF, &receive_buffer, sizeof receive_buffer);
        const timeval limit{20, 0};
        ::setsockopt(fd_, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
        sockaddr_in to{};
        to.sin_family = AF_INET;
        const std::size_t colon = address.rfind(':');
        to.sin_port = htons(static_cast<std::uint16_t>(std::atoi(address.c_str() + colon + 1)));
        ::inet_pton(AF_INET, address.substr(0, colon).c_str(), &to.sin_addr);
        must(::connect(fd_, reinterpret_cast<sockaddr*>(&to), sizeof to) == 0);
    }
    ~Client() {
        if (fd_ >= 0) ::close(fd_);
    }
    Client(Client&& other) noexcept : fd_(std::exchange(other.fd_, -1)), buffer_(std::move(other.buffer_)) {}
    Client(const Client&) = delete;

    // False: the server has gone.
    bool send(std::string_view bytes) {
        while (!bytes.empty()) {
            const ssize_t n = ::send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
            if (n <= 0) return false;
            bytes.remove_prefix(static_cast<std::size_t>(n));
        }
        return true;
    }
    void half_close() { ::shutdown(fd_, SHUT_WR); }
    // With a reset: after a mere FIN a client may still wait for its answer.
    void vanish() {
        const linger none{1, 0};
        ::setsockopt(fd_, SOL_SOCKET, SO_LINGER, &none, sizeof none);
        ::close(std::exchange(fd_, -1));
    }
    // The next answer. `head_only`: of a HEAD request.
    Response receive(bool head_only = false) {
        Response r;
        std::size_t end;
        while ((end = buffer_.find("\r\n\r\n")) == std::string::npos)
            if (!more()) return r;
        r.head = buffer_.substr(0, end + 2);
        buffer_.erase(0, end + 4);
        r.status = std::atoi(r.head.c_str() + 9);
        if (r.status == 100) return r;
        r.whole = true;
        if (head_only || r.status == 204) return r;
        if (r.field("Transfer-Encoding") == "chunked") {
            while (true) {
                std::size_t line;
                while ((line = buffer_.find("\r\n")) == std::string::npos)
                    if (!more()) return broken(r);
                const std::size_t size = std::strtoul(buffer_.c_str(), nullptr, 16);
                while (buffer_.size() < line + 2 + size + 2)
                    if (!more()) return broken(r);
                r.body.append(buffer_, line + 2, size);
                buffer_.erase(0, line + 2 + size + 2);
                if (size == 0) return r;
            }
        }
        if (r.field("Content-Length").empty()) {
            while (more()) {
            }
            r.body = std::move(buffer_);
            return r;
        }
        const std::size_t length = std::strtoul(r.field("Content-Length").c_str(), nullptr, 10);
        while (buffer_.size() < length)
            if (!more()) return broken(r);
        r.body = buffer_.substr(0, length);
        buffer_.erase(0, length);
        return r;
    }
    Response ask(std::string_view bytes) {
        send(bytes);
        return receive();
    }
    // What comes up to the end of the next `part`, which must come; of what goes on without end.
    std::string read_until(std::string_view part) {
        std::size_t at;
        while ((at = buffer_.find(part)) == std::string::npos)
            if (!more()) return "(ended) " + std::exchange(buffer_, {});
        std::string out = buffer_.substr(0, at + part.size());
        buffer_.erase(0, out.size());
        return out;
    }
    std::string read_bytes(std::size_t bytes) {
        while (buffer_.size() < bytes)
            if (!more()) return {};
        std::string out = buffer_.substr(0, bytes);
        buffer_.erase(0, bytes);
        return out;
    }
    // Whether the server ends the connection (not: says nothing for 20 s) before it says anything more.
    bool closed() {
        errno = 0;
        return buffer_.empty() && !more() && errno != EAGAIN;
    }
    // Whether something (an answer, the end) has come within `ms`.
    bool heard(int ms) const {
        pollfd wait{fd_, POLLIN, 0};
        return ::poll(&wait, 1, ms) == 1;
    }

  private:
    static Response broken(Response r) {
        r.whole = false;
        return r;
    }
    bool more() {
        char bytes[65536];
        const ssize_t n = ::recv(fd_, bytes, sizeof bytes, 0);
        if (n <= 0) return false;
        buffer_.append(bytes, static_cast<std::size_t>(n));
        return true;
    }
    int fd_ = -1;
    std::string buffer_;
};

inline std::string request(std::string_view method, std::string_view target, std::string_view fields = {},
                           std::string_view body = {}) {
    std::string out(method);
    out += ' ';
    out += target;
    out += " HTTP/1.1\r\nHost: localhost\r\n";
    out += fields;
    if (!body.empty() || method == "POST") out += "Content-Length: " + std::to_string(body.size()) + "\r\n";
    out += "\r\n";
    out += body;
    return out;
}

inline std::string post(std::string_view stream, std::string_view body, std::string_view type = "application/json",
                        std::string_view fields = {}) {
    std::string all(fields);
    if (!type.empty()) all += "Content-Type: " + std::string(type) + "\r\n";
    return request("POST", "/v1/streams/" + std::string(stream) + "/events", all, body);
}

// A whole door on any port.
struct Door {
    FakeClock clock;
    FakeCatalog catalog;
    FakePool pool;
    obs::Metrics metrics;
    std::unique_ptr<os::Disk> disk = os::make_real_disk();
    std::unique_ptr<obs::History> history;
    std::unique_ptr<Server> server;

    explicit Door(ServerOptions options = {}) {
        history = std::make_unique<obs::History>(metrics, obs::node_series());
        options.listen = "127.0.0.1:0";
        options.version = "test";
        auto opened = Server::open(options, {catalog, pool, metrics, *disk, clock, nullptr, history.get()});
        must(opened.has_value());
        server = std::move(opened).value();
        server->start();
    }
    ~Door() {
        catalog.block = false;
        catalog.shard.decoding_held = false;
        server->stop(0);
    }
    Client client(int receive_buffer = 0) const { return Client(server->address(), receive_buffer); }
    Response ask(std::string_view bytes) const { return client().ask(bytes); }
    // Turns the clock in steps until `client` hears something. The loop looks at the clock twice a second.
    bool turn_until_heard(const Client& client, std::int64_t step_s) {
        for (int i = 0; i < 200; ++i) {
            clock.advance_s(step_s);
            if (client.heard(100)) return true;
        }
        return false;
    }
};

using weir::test::gzipped;

// `window_log` above 0: a frame that does not say its size and wants that window.
inline std::string zstded(std::string_view text, int window_log = 0) {
    ZSTD_CCtx* context = ZSTD_createCCtx();
    if (window_log > 0) ZSTD_CCtx_setParameter(context, ZSTD_c_windowLog, window_log);
    std::string out(ZSTD_compressBound(text.size()) + 64, '\0');
    ZSTD_outBuffer to{out.data(), out.size(), 0};
    ZSTD_inBuffer in{text.data(), text.size(), 0};
    if (window_log > 0) must(!ZSTD_isError(ZSTD_compressStream2(context, &to, &in, ZSTD_e_continue)));
    must(ZSTD_compressStream2(context, &to, &in, ZSTD_e_end) == 0);
    ZSTD_freeCCtx(context);
    out.resize(to.pos);
    return out;
}

inline bool has(std::string_view text, std::string_view part) {
    return text.find(part) != std::string_view::npos;
}

}  // namespace weir::http::test
