// Sockets: accept, read, write, deadlines, the end. What the bytes mean is in connection.cc.
#include "http/detail/loop.h"

#include "base/limits.h"
#include "http/detail/ws_handshake.h"

#include <algorithm>
#include <array>
#include <csignal>
#include <cstring>
#include <netinet/tcp.h>
#include <utility>

namespace weir::http {
namespace {

constexpr std::uint64_t tick_ms = 500;                       // one coarse timer for all connections
constexpr std::int64_t head_us_max = 10'000'000;             // a request's head, from its first byte
constexpr std::int64_t body_window_us = 10'000'000;          // in each of these ...
constexpr std::size_t body_window_bytes = 10 * limits::kib;  // ... a body must move this much
constexpr std::int64_t write_stall_us_max = 30'000'000;      // an answer that nobody reads
constexpr std::int64_t live_stall_us_max = 120'000'000;      // a tail: a pager may stand still for a while
constexpr std::int64_t ingest_us_max = 30'000'000;           // for a shard to answer
constexpr std::uint64_t stopped_queries_ms = 1000;           // for answers to say that their queries were stopped
constexpr std::int64_t idle_us_max = 75'000'000;             // between requests
constexpr std::int64_t linger_us_max = 2'000'000;
constexpr std::size_t linger_bytes_max = 16 * limits::mib;
constexpr std::size_t read_bytes = 64 * limits::kib;
constexpr int backlog = 1024;
constexpr unsigned vanished_ms_max = 120'000;  // a peer that acknowledges nothing that long is gone: no FIN ever comes
constexpr std::size_t loop_body_bytes_max = 4 * limits::mib;  // more goes to the decode thread

Connection& of(uv_handle_t* handle) {
    return *static_cast<Connection*>(handle->data);
}

struct Write {
    uv_write_t request{};
    Connection* connection = nullptr;  // libuv calls back before it calls the close back
    std::string bytes;
    std::size_t rest = 0;  // bytes that libuv has to send
    bool counts = true;
};

// "127.0.0.1:8080", "[::1]:8080", "localhost:0"
Status parse_address(const std::string& text, sockaddr_storage& out) {
    const Error bad{Errc::invalid_argument, "[http] listen must be host:port (an IP address or localhost): " + text};
    const std::size_t colon = text.rfind(':');
    if (colon == std::string::npos || colon + 1 == text.size() || text.size() - colon > 6) return bad;
    int port = 0;
    for (const char c : text.substr(colon + 1)) {
        if (c < '0' || c > '9') return bad;
        port = port * 10 + (c - '0');
    }
    if (port > 65'535) return bad;
    std::string host = text.substr(0, colon);
    if (host == "localhost") host = "127.0.0.1";
    if (host.size() > 2 && host.front() == '[' && host.back() == ']') host = host.substr(1, host.size() - 2);
    if (uv_ip4_addr(host.c_str(), port, reinterpret_cast<sockaddr_in*>(&out)) == 0) return {};
    if (uv_ip6_addr(host.c_str(), port, reinterpret_cast<sockaddr_in6*>(&out)) == 0) return {};
    return bad;
}

// Of this end of a socket, or with uv_tcp_getpeername of the other one; "" when it is gone.
std::string address_text(const uv_tcp_t& tcp, int (*end_of)(const uv_tcp_t*, sockaddr*, int*)) {
    sockaddr_storage bound{};
    int size = sizeof bound;
    if (end_of(&tcp, reinterpret_cast<sockaddr*>(&bound), &size) != 0) return {};
    std::array<char, 64> name{};
    if (bound.ss_family == AF_INET6) {
        const auto* in6 = reinterpret_cast<const sockaddr_in6*>(&bound);
        uv_ip6_name(in6, name.data(), name.size());
        return '[' + std::string(name.data()) + "]:" + std::to_string(ntohs(in6->sin6_port));
    }
    const auto* in = reinterpret_cast<const sockaddr_in*>(&bound);
    uv_ip4_name(in, name.data(), name.size());
    return std::string(name.data()) + ':' + std::to_string(ntohs(in->sin_port));
}

}  // namespace

Result<std::unique_ptr<Loop>> Loop::open(const ServerOptions& options, ServerParts parts, Authenticator& auth,
                                         LiveDoor& live, std::shared_ptr<Mailbox> mailbox) {
    std::unique_ptr<Loop> loop(new Loop(options, parts, auth, live, std::move(mailbox)));
    TRY(loop->listen());
    return loop;
}

Loop::Loop(const ServerOptions& options, ServerParts parts, Authenticator& auth, LiveDoor& live,
           std::shared_ptr<Mailbox> mailbox)
    : options_(options),
      parts_(parts),
      mailbox_(mailbox),
      auth_(auth),
      live_(live),
      browsers_(options.hosts, options.origins),
      ingest_(options, parts, std::move(mailbox), loop_body_bytes_max),
      metrics_(parts.metrics),
      buffer_(read_bytes) {}

Status Loop::listen() {
    sockaddr_storage where{};
    TRY(parse_address(options_.listen, where));
    if (const int failed = uv_loop_init(&loop_); failed != 0) return Error{Errc::io, uv_strerror(failed), -failed};
    loop_open_ = true;
    uv_tcp_init(&loop_, &listener_);
    uv_timer_init(&loop_, &tick_);
    uv_timer_init(&loop_, &drain_);
    uv_poll_init(&loop_, &mail_poll_, mailbox_->fd());
    listener_.data = mail_poll_.data = tick_.data = drain_.data = this;
    int failed = uv_tcp_bind(&listener_, reinterpret_cast<const sockaddr*>(&where), 0);
    if (failed == 0) {
        failed = uv_listen(reinterpret_cast<uv_stream_t*>(&listener_), backlog, [](uv_stream_t* s, int status) {
            if (status == 0) static_cast<Loop*>(s->data)->on_connection();
        });
    }
    if (failed != 0) {
        std::string detail = "cannot listen on " + options_.listen + ": " + uv_strerror(failed);
        if (failed == UV_EADDRINUSE)
            detail += "; another program has that address: stop it, or choose another with --http";
        return Error{Errc::io, detail, -failed};
    }
    address_ = address_text(listener_, uv_tcp_getsockname);
    return {};
}

Loop::~Loop() {
    if (!loop_open_) return;
    end_run();
    uv_run(&loop_, UV_RUN_DEFAULT);  // only closes are left
    uv_loop_close(&loop_);
}

void Loop::run(Workers& workers) {
    owned_.assert_owner();
    workers_ = &workers;
    // A client that has gone must be an error of write(2), not the end of the process.
    sigset_t pipe;
    sigemptyset(&pipe);
    sigaddset(&pipe, SIGPIPE);
    pthread_sigmask(SIG_BLOCK, &pipe, nullptr);
    date_ = http_date(parts_.clock.wall_ms());
    uv_poll_start(&mail_poll_, UV_READABLE, [](uv_poll_t* p, int, int) { static_cast<Loop*>(p->data)->on_mail(); });
    decode_ = std::make_unique<DecodeThread>(options_, parts_, mailbox_);
    uv_run(&loop_, UV_RUN_DEFAULT);
    decode_.reset();
    owned_.release();
}

void Loop::on_connection() {
    auto made = std::make_unique<Connection>();
    Connection& c = *made;
    c.loop = this;
    c.id = ConnectionId(next_id_++);
    uv_tcp_init(&loop_, &c.tcp);
    c.tcp.data = &c;
    connections_.emplace(c.id.value, std::move(made));
    const bool accepted =
        uv_accept(reinterpret_cast<uv_stream_t*>(&listener_), reinterpret_cast<uv_stream_t*>(&c.tcp)) == 0;
    if (accepted && connections_.size() > limits::connections_max) metrics_.refused(Refusal::connections);
    if (!accepted || connections_.size() > limits::connections_max) return close(c);
    uv_tcp_nodelay(&c.tcp, 1);
    uv_os_fd_t fd = -1;
    if (uv_fileno(reinterpret_cast<uv_handle_t*>(&c.tcp), &fd) == 0)
        ::setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &vanished_ms_max, sizeof vanished_ms_max);
    metrics_.connections(connections_.size());
    c.mark_us = parts_.clock.monotonic_us();
    if (!ticking_) {
        ticking_ = true;
        date_ = http_date(parts_.clock.wall_ms());
        uv_timer_start(
            &tick_, [](uv_timer_t* t) { static_cast<Loop*>(t->data)->on_tick(); }, tick_ms, tick_ms);
    }
    read_on(c);
}

void Loop::read_on(Connection& c) {
    if (c.reading || c.half_closed || c.state == ConnectionState::closed) return;
    const int started = uv_read_start(
        reinterpret_cast<uv_stream_t*>(&c.tcp),
        [](uv_handle_t* handle, std::size_t, uv_buf_t* out) {
            Connection& connection = of(handle);
            // The rest of a body goes right to where it stays.
            if (connection.state == ConnectionState::body && connection.pending.empty()) {
                const std::span<char> space = connection.parser->body_space();
                if (!space.empty()) {
                    *out = uv_buf_init(space.data(), static_cast<unsigned>(space.size()));
                    return;
                }
            }
            auto& buffer = connection.loop->buffer_;
            *out = uv_buf_init(buffer.data(), static_cast<unsigned>(buffer.size()));
        },
        [](uv_stream_t* stream, ssize_t size, const uv_buf_t* in) {
            Connection& connection = of(reinterpret_cast<uv_handle_t*>(stream));
            if (size != 0) connection.loop->on_read(connection, in->base, size);
        });
    if (started == 0)
        c.reading = true;
    else
        close(c);
}

void Loop::pause(Connection& c) {
    if (!c.reading) return;
    c.reading = false;
    uv_read_stop(reinterpret_cast<uv_stream_t*>(&c.tcp));
}

void Loop::on_read(Connection& c, const char* data, ssize_t size) {
    if (c.state == ConnectionState::closed) return;
    if (size == UV_EOF) {
        pause(c);
        c.half_closed = true;
        if (c.flow) c.flow->hung_up.store(true);
        // A request that is whole still gets its answer. Of a tail there is no whole one: nobody hears it any more.
        if (c.is_live) return close(c);
        if (c.state != ConnectionState::busy && c.state != ConnectionState::sending) close(c);
        return;
    }
    if (size < 0) return close(c);
    const std::string_view bytes(data, static_cast<std::size_t>(size));
    if (c.state == ConnectionState::lingering) {
        c.lingered_bytes += bytes.size();
        if (c.lingered_bytes > linger_bytes_max) close(c);
        return;
    }
    if (c.state == ConnectionState::upgraded) {
        on_socket_bytes(c, bytes);
    } else if (c.state == ConnectionState::busy || c.state == ConnectionState::sending) {
        c.pending.append(bytes);
        if (c.pending.size() >= pending_bytes_max) pause(c);
    } else {
        on_request_bytes(c, bytes);
    }
    if (!hold(c)) turn_away(c);
}

void Loop::on_request_bytes(Connection& c, std::string_view bytes) {
    if (c.pending.empty()) {
        const std::size_t used = drive(c, bytes);
        if (c.state != ConnectionState::closed && c.state != ConnectionState::lingering)
            c.pending.assign(bytes.substr(used));
    } else {
        c.pending.append(bytes);
        const std::size_t used = drive(c, c.pending);
        c.pending.erase(0, used);
    }
    // Frames that came right behind the handshake.
    if (c.state == ConnectionState::upgraded) on_socket_bytes(c, std::exchange(c.pending, {}));
}

void Loop::write(Connection& c, std::string&& bytes, bool counts) {
    if (c.state == ConnectionState::closed || bytes.empty()) return;
    std::size_t sent = 0;
    if (c.unsent_bytes == 0) {
        const uv_buf_t all = uv_buf_init(bytes.data(), static_cast<unsigned>(bytes.size()));
        const int n = uv_try_write(reinterpret_cast<uv_stream_t*>(&c.tcp), &all, 1);
        if (n < 0 && n != UV_EAGAIN) return close(c);
        sent = n > 0 ? static_cast<std::size_t>(n) : 0;
        if (counts && c.flow && sent > 0) c.flow->credits.post(static_cast<std::int64_t>(sent));
        if (sent == bytes.size()) return;
        c.mark_us = parts_.clock.monotonic_us();
    }
    auto* write = new Write;  // libuv's until its callback
    write->bytes = std::move(bytes);
    write->connection = &c;
    write->rest = write->bytes.size() - sent;
    write->counts = counts;
    write->request.data = write;
    const uv_buf_t buffer = uv_buf_init(write->bytes.data() + sent, static_cast<unsigned>(write->rest));
    const auto on_done = [](uv_write_t* request, int status) {
        const std::unique_ptr<Write> done(static_cast<Write*>(request->data));
        done->connection->loop->on_written(*done->connection, done->rest, done->counts, status == 0);
    };
    c.unsent_bytes += write->rest;
    if (uv_write(&write->request, reinterpret_cast<uv_stream_t*>(&c.tcp), &buffer, 1, on_done) != 0) {
        c.unsent_bytes -= write->rest;
        delete write;
        close(c);
    }
}

void Loop::on_written(Connection& c, std::size_t bytes, bool counts, bool ok) {
    c.unsent_bytes -= bytes;
    if (c.state == ConnectionState::closed) return;
    if (!ok) return close(c);
    c.mark_us = parts_.clock.monotonic_us();
    if (counts && c.flow) c.flow->credits.post(static_cast<std::int64_t>(bytes));
    if (c.unsent_bytes > 0 || c.state != ConnectionState::sending || !c.answered) return;
    finish(c);
    resume(c);
}

void Loop::linger(Connection& c) {
    c.state = ConnectionState::lingering;
    c.mark_us = parts_.clock.monotonic_us();
    c.pending.clear();
    c.parser.reset();  // and the body that it may hold
    c.head_bytes = 0;
    hold(c);
    // FIN behind the answer; shutting down twice or after a reset fails, and then the close comes by itself.
    auto* request = new uv_shutdown_t;
    const int started =
        uv_shutdown(request, reinterpret_cast<uv_stream_t*>(&c.tcp), [](uv_shutdown_t* r, int) { delete r; });
    if (started != 0) delete request;
    if (c.half_closed || started != 0) return close(c);
    read_on(c);
}

void Loop::close(Connection& c) {
    if (c.state == ConnectionState::closed) return;
    c.state = ConnectionState::closed;
    if (c.flow) {
        c.flow->hung_up.store(true);
        c.flow->credits.post(std::int64_t(Flow::gone));
    }
    in_flight_bytes_ -= std::exchange(c.charged_bytes, 0);
    held_bytes_ -= std::exchange(c.held_bytes, 0);
    end_large(c);
    uv_close(reinterpret_cast<uv_handle_t*>(&c.tcp),
             [](uv_handle_t* handle) { of(handle).loop->on_closed(of(handle).id); });
}

void Loop::on_closed(ConnectionId id) {
    connections_.erase(id.value);
    metrics_.connections(connections_.size());
    if (!connections_.empty()) return;
    ticking_ = false;
    uv_timer_stop(&tick_);
    if (draining_) end_run();
}

void Loop::on_tick() {
    const std::int64_t now = parts_.clock.monotonic_us();
    date_ = http_date(parts_.clock.wall_ms());
    metrics_.body_bytes_in_flight(in_flight_bytes_);
    // close() only marks: the map changes in on_closed.
    for (auto& [id, connection] : connections_)
        check_deadlines(*connection, now);
}

void Loop::check_deadlines(Connection& c, std::int64_t now_us) {
    const std::int64_t since = now_us - c.mark_us;
    if (c.unsent_bytes > 0) {
        const std::size_t left = uv_stream_get_write_queue_size(reinterpret_cast<uv_stream_t*>(&c.tcp));
        if (left != c.mark_bytes) {
            c.mark_bytes = left;
            c.mark_us = now_us;
        } else if (since > (c.is_live ? live_stall_us_max : write_stall_us_max)) {
            metrics_.refused(Refusal::write_time);
            close(c);
        }
        return;
    }
    switch (c.state) {
        case ConnectionState::idle:
            if (since > idle_us_max) {
                metrics_.refused(Refusal::idle_time);
                close(c);
            }
            return;
        case ConnectionState::head: {
            if (since <= head_us_max) return;
            Problem p{
                .status = 408, .code = "request_timeout", .detail = "the head of the request took longer than 10 s"};
            return fail(c, p, Refusal::header_time);
        }
        case ConnectionState::body:
        case ConnectionState::discarding: {
            if (since < body_window_us) return;
            const std::size_t moved = c.parser->body_bytes() - c.mark_bytes;
            if (moved >= body_window_bytes) {
                c.mark_us = now_us;
                c.mark_bytes = c.parser->body_bytes();
                return;
            }
            Problem p{.status = 408, .code = "request_timeout", .detail = "the body came slower than 1 KiB a second"};
            return fail(c, p, Refusal::body_time);
        }
        case ConnectionState::lingering:
            if (since > linger_us_max) close(c);
            return;
        case ConnectionState::busy:
            // Reads carry deadlines of their own; a shard that hangs has none.
            if (c.route->place != Place::ingest || since < ingest_us_max) return;
            // Either status ends the connection, so that the late outcome cannot meet a later request.
            return answer(c, IngestDoor::unanswered(c.ingest));
        case ConnectionState::upgraded:
            return tick_socket(c, now_us);
        case ConnectionState::sending:
        case ConnectionState::closed:
            return;
    }
}

bool Loop::authenticate(Connection& c) {
    const Permission needs = c.route != nullptr ? c.route->needs : Permission::read;
    const std::string_view route = c.route != nullptr ? c.route->pattern : "an unknown address";
    RequestHead head = c.parser->head();
    std::string offered;  // by a page, which cannot send the field
    if (c.route != nullptr && c.route->id == RouteId::socket && head.authorizations == 0) {
        if (const auto key = key_of_protocols(head.ws_protocols)) {
            offered = "Bearer " + *key;
            head.authorization = offered;
            head.authorizations = 1;
        }
    }
    const auto problem = auth_.check(
        head, needs, route, [&c] { return address_text(c.tcp, uv_tcp_getpeername); }, c.caller);
    if (problem) refuse(c, *problem, problem->status == 401 ? Refusal::unauthorised : Refusal::forbidden);
    return !problem;
}

Connection* Loop::find(ConnectionId id) {
    const auto found = connections_.find(id.value);
    return found == connections_.end() || found->second->state == ConnectionState::closed ? nullptr
                                                                                          : found->second.get();
}

void Loop::on_mail() {
    owned_.assert_owner();
    mail_.clear();
    mailbox_->drain(mail_);
    for (Mail& mail : mail_)
        std::visit([this]<class M>(M&& m) { on(std::forward<M>(m)); }, std::move(mail));
}

void Loop::on(WorkerFree&& mail) {
    workers_->on_free(mail.worker);
}

void Loop::on(StopRequested&& mail) {
    if (draining_) return;
    draining_ = true;
    live_.stop();
    uv_close(reinterpret_cast<uv_handle_t*>(&listener_), nullptr);
    for (auto& [id, connection] : connections_) {
        connection->keep_alive = false;
        if (connection->state == ConnectionState::idle) close(*connection);
    }
    if (connections_.empty()) return end_run();
    uv_timer_start(
        &drain_, [](uv_timer_t* t) { static_cast<Loop*>(t->data)->on_drained(); },
        static_cast<std::uint64_t>(std::max<std::int64_t>(mail.drain_ms, 0)), 0);
}

void Loop::on_drained() {
    // Kills and does not wait: what runs comes back with an error, and a moment is left to say so.
    parts_.queries.stop();
    for (auto& [id, connection] : connections_)
        if (!connection->flow) close(*connection);
    uv_timer_start(
        &drain_,
        [](uv_timer_t* t) {
            auto* loop = static_cast<Loop*>(t->data);
            for (auto& [id, connection] : loop->connections_)
                loop->close(*connection);
        },
        stopped_queries_ms, 0);
}

void Loop::end_run() {
    if (ended_) return;
    ended_ = true;
    // With its last handle closed uv_run returns.
    for (auto& [id, connection] : connections_)
        close(*connection);
    for (uv_handle_t* handle : {reinterpret_cast<uv_handle_t*>(&listener_), reinterpret_cast<uv_handle_t*>(&mail_poll_),
                                reinterpret_cast<uv_handle_t*>(&tick_), reinterpret_cast<uv_handle_t*>(&drain_)})
        if (!uv_is_closing(handle)) uv_close(handle, nullptr);
}

}  // namespace weir::http
