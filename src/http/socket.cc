// Connections that stay: tails and WebSockets, on the loop's side.
#include "http/detail/socket.h"

#include "base/check.h"
#include "http/detail/live_door.h"
#include "http/detail/loop.h"
#include "http/detail/ws_handshake.h"

#include <utility>

namespace weir::http {

void Loop::start_live(Connection& c) {
    const RequestHead& head = c.parser->head();
    const bool is_socket = c.route->id == RouteId::socket;
    if (!is_socket && c.head_only)
        return answer(c, {.status = 200, .content_type = "text/event-stream", .headers = {}, .body = {}});
    LiveOpen open;
    open.connection = c.id;
    open.route = c.route->id;
    open.parameter = std::exchange(c.live_parameter, {});
    if (const std::size_t query = head.target.find('?'); query != std::string_view::npos)
        open.query = head.target.substr(query + 1, head.target.find('#') - query - 1);
    open.last_event_id = head.last_event_id;
    open.headers = c.cors;
    open.headers += "Cache-Control: no-store\r\nX-Accel-Buffering: no\r\nX-Content-Type-Options: nosniff\r\n";
    open.keep_alive = c.keep_alive;
    open.http10 = c.http10;
    open.flow = c.flow = std::make_shared<Flow>();
    c.flow->credits.set_wake([live = &live_, id = c.id] { live->credited(id); });
    c.is_live = true;
    live_.open(std::move(open));  // before the first write: that may find that the client has gone, and says so
    if (!is_socket) return;
    std::string accepted = accept_upgrade(head, date_);
    const std::int64_t now = parts_.clock.monotonic_us();
    metrics_.answered(RouteId::socket, 101, static_cast<double>(now - c.began_us) / 1e6);
    c.state = ConnectionState::upgraded;
    c.socket = std::make_unique<Socket>();
    c.socket->heard_us = c.socket->pinged_us = now;
    c.parser.reset();  // frames from here on
    write(c, std::move(accepted), false);
}

// What a client sends over its WebSocket; everything is used up.
void Loop::on_socket_bytes(Connection& c, std::string_view bytes) {
    c.socket->heard_us = parts_.clock.monotonic_us();
    while (c.state == ConnectionState::upgraded) {
        WsDecoder::Put put = c.socket->decoder.put(bytes);
        bytes.remove_prefix(put.consumed);
        if (put.failure) {
            const std::string too_big = "a message has at most " + std::to_string(ws_message_bytes_max) + " bytes";
            return close_socket(
                c, *put.failure,
                *put.failure == WsClose::too_big ? std::string_view(too_big) : "that is no frame of a client's");
        }
        if (!put.message) break;
        switch (put.message->opcode) {
            case WsOpcode::text:
                live_.text(c.id, c.flow, std::move(put.message->bytes));
                break;
            case WsOpcode::ping: {
                if (c.unsent_bytes > pong_unsent_max) break;  // the latest that is answered stands for those before it
                std::string pong;
                append_ws_frame(pong, WsOpcode::pong, put.message->bytes);
                write(c, std::move(pong), false);
                break;
            }
            case WsOpcode::pong:
                break;
            case WsOpcode::close:
                return close_socket(c, WsClose::normal, {});
            case WsOpcode::binary:
            case WsOpcode::continuation:
                return close_socket(c, WsClose::unsupported, "messages are text");
        }
    }
    if (c.state == ConnectionState::upgraded && c.flow->incoming.load() > Flow::incoming_max) pause(c);
}

void Loop::close_socket(Connection& c, WsClose code, std::string_view reason) {
    std::string frame;
    append_ws_frame(frame, WsOpcode::close, ws_close_payload(code, reason));
    write(c, std::move(frame), false);
    end_socket(c);
}

// The last frame is with the socket: what the client still sends is thrown away for a moment.
void Loop::end_socket(Connection& c) {
    if (c.state == ConnectionState::closed) return;
    c.flow->credits.post(std::int64_t(Flow::gone));
    c.flow.reset();
    c.socket.reset();
    linger(c);
}

void Loop::tick_socket(Connection& c, std::int64_t now_us) {
    Socket& socket = *c.socket;
    if (now_us - socket.heard_us > socket_silent_us) {
        metrics_.refused(Refusal::idle_time);
        return close(c);
    }
    if (now_us - socket.pinged_us < socket_ping_us) return;
    socket.pinged_us = now_us;
    std::string ping;
    append_ws_frame(ping, WsOpcode::ping, {});
    write(c, std::move(ping), false);
}

void Loop::on(SocketRoom&& mail) {
    Connection* c = find(mail.connection);
    if (c == nullptr || c->state != ConnectionState::upgraded || c->reading) return;
    c->socket->heard_us = parts_.clock.monotonic_us();  // it was this end that did not listen
    read_on(*c);
}

}  // namespace weir::http
