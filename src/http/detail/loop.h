// The loop of the door: every socket, every limit and every deadline of HTTP is here, on one thread.
//
// A connection is in one state at a time and handles one request at a time; what arrives behind it is kept,
// bounded, and reading stops at the bound. States:
//
//   idle -> head -> body | discarding -> busy -> sending -> idle        (sending: the answer waits for the socket)
//                         body -> upgraded                              (a WebSocket: frames both ways, until its end)
//     any -> lingering -> closed       the last answer is out; what the client still sends is thrown away for a
//                                      moment, so that a reset does not take the answer with it
//
// Owner: the loop's thread; open() and address() are for the main thread before run().
#pragma once

#include "base/limits.h"
#include "base/owned.h"
#include "http/detail/authenticator.h"
#include "http/detail/browser.h"
#include "http/detail/call.h"
#include "http/detail/decode_thread.h"
#include "http/detail/door_metrics.h"
#include "http/detail/ingest.h"
#include "http/detail/live_door.h"
#include "http/detail/mailbox.h"
#include "http/detail/parser.h"
#include "http/detail/routes.h"
#include "http/detail/socket.h"
#include "http/detail/workers.h"
#include "http/server.h"

#include <uv.h>

#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace weir::http {

class Loop;

// Kept behind the present request; then reading stops.
inline constexpr std::size_t pending_bytes_max = 64 * limits::kib;

// What connections hold beside bodies: heads, what waits behind the present request, WebSocket messages that are not
// whole. Each has the first bytes for nothing, so that those who want much cannot take from those who want little.
// Beyond the budget: 503, a Close frame, or no more reading until the present request is through.
inline constexpr std::size_t held_bytes_free = 4 * limits::kib;
inline constexpr std::size_t held_bytes_max = 48 * limits::mib;

// Bodies for the decode thread that are being decoded and stored, until their answer. Each costs several times its size
// (columns, batch, entry), so beyond this they take turns.
inline constexpr std::size_t large_bytes_max = limits::body_bytes_max;

enum class ConnectionState : std::uint8_t { idle, head, body, discarding, busy, sending, upgraded, lingering, closed };

struct Connection {
    uv_tcp_t tcp{};
    Loop* loop = nullptr;
    ConnectionId id;
    ConnectionState state = ConnectionState::idle;
    std::unique_ptr<RequestParser> parser;  // made with the first byte
    std::string pending;                    // arrived behind the present request, not looked at
    std::size_t head_bytes = 0;             // of the present request, with the parser
    std::size_t held_bytes = 0;             // of the budget held_bytes_max
    bool reading = false;
    bool in_drive = false;     // drive() is on the stack: it goes on by itself
    bool half_closed = false;  // the client sends no more
    bool answered = false;     // the whole answer is with the socket
    bool cut_short = false;    // this end closes although the client may have sent more

    // The present request.
    const Route* route = nullptr;
    Caller caller;
    std::string cors;  // answer lines for a configured origin
    bool keep_alive = true;
    bool http10 = false;
    bool head_only = false;
    int status = 0;
    std::int64_t began_us = 0;
    Answer refusal;  // discarding: what to say when the body is through
    IngestOperation ingest;
    std::unique_ptr<Call> call;     // until it is handed to the pool
    std::shared_ptr<Flow> flow;     // while a worker answers
    std::size_t charged_bytes = 0;  // of the door's budget for bodies
    std::size_t large_bytes = 0;    // of large_bytes_max
    bool is_live = false;           // a tail or a WebSocket: the live thread answers, for as long as the client stays
    std::string live_parameter;     // of the path, until then
    std::unique_ptr<Socket> socket;

    // Deadlines: since when, and how much had been done then.
    std::int64_t mark_us = 0;
    std::size_t mark_bytes = 0;
    std::size_t unsent_bytes = 0;  // with libuv
    std::size_t lingered_bytes = 0;
};

class Loop {
  public:
    // Errors: invalid_argument (the address), io (cannot listen; says what to do).
    static Result<std::unique_ptr<Loop>> open(const ServerOptions& options, ServerParts parts, Authenticator& auth,
                                              LiveDoor& live, std::shared_ptr<Mailbox> mailbox);
    ~Loop();
    const std::string& address() const { return address_; }
    // Serves until a StopRequested has come and its drain is over. `workers` outlives the call.
    void run(Workers& workers);

  private:
    Loop(const ServerOptions& options, ServerParts parts, Authenticator& auth, LiveDoor& live,
         std::shared_ptr<Mailbox> mailbox);
    Status listen();

    // Sockets
    void on_connection();
    void on_read(Connection& c, const char* data, ssize_t size);
    void on_request_bytes(Connection& c, std::string_view bytes);
    void read_on(Connection& c);
    void pause(Connection& c);
    // `counts`: the worker or the live thread that sent it hears of it through c.flow.
    void write(Connection& c, std::string&& bytes, bool counts = true);
    void on_written(Connection& c, std::size_t bytes, bool counts, bool ok);
    void linger(Connection& c);
    void close(Connection& c);
    void on_closed(ConnectionId id);
    void on_tick();
    void check_deadlines(Connection& c, std::int64_t now_us);

    // Requests
    std::size_t drive(Connection& c, std::string_view bytes);
    void resume(Connection& c);
    void on_head(Connection& c);
    void on_complete(Connection& c);
    bool charge(Connection& c, std::size_t bytes);  // false: over the budget
    bool hold(Connection& c);                       // likewise, of what it holds beside a body
    void turn_away(Connection& c);
    void refuse(Connection& c, const Problem& problem, Refusal reason);
    void fail(Connection& c, const Problem& problem, Refusal reason);  // answer and end the connection
    void answer(Connection& c, const Answer& answer);
    void finish(Connection& c);
    bool authenticate(Connection& c);  // false: refused
    void probe(Connection& c);
    void start_call(Connection& c);
    void after_step(Connection& c, IngestStep step, Answer& answer);
    void begin_large(Connection& c);
    void end_large(Connection& c);

    // Connections that stay (socket.cc)
    void start_live(Connection& c);
    void on_socket_bytes(Connection& c, std::string_view bytes);
    void close_socket(Connection& c, WsClose code, std::string_view reason);
    void end_socket(Connection& c);
    void tick_socket(Connection& c, std::int64_t now_us);

    // Mail
    void on_mail();
    void on(IngestDone&& mail);
    void on(StreamEnsured&& mail);
    void on(AnswerRead&& mail);
    void on(DecodeDone&& mail);
    void on(ReplyPart&& mail);
    void on(WorkerFree&& mail);
    void on(SocketRoom&& mail);
    void on(StopRequested&& mail);
    void on_drained();
    void end_run();
    Connection* find(ConnectionId id);

    ThreadOwned owned_;
    const ServerOptions& options_;
    ServerParts parts_;
    std::shared_ptr<Mailbox> mailbox_;
    Workers* workers_ = nullptr;
    Authenticator& auth_;
    LiveDoor& live_;
    BrowserRules browsers_;
    IngestDoor ingest_;
    std::unique_ptr<DecodeThread> decode_;  // while run() runs
    DoorMetrics metrics_;

    uv_loop_t loop_{};
    uv_tcp_t listener_{};
    uv_poll_t mail_poll_{};
    uv_timer_t tick_{};
    uv_timer_t drain_{};  // the drain time, then a moment for queries that were stopped
    bool loop_open_ = false, draining_ = false, ended_ = false, ticking_ = false;
    std::string address_;
    std::string date_;
    std::vector<char> buffer_;  // what libuv reads into; used up within the read callback
    std::vector<Mail> mail_;
    std::unordered_map<std::uint64_t, std::unique_ptr<Connection>> connections_;
    std::uint64_t next_id_ = 1;
    std::size_t in_flight_bytes_ = 0;
    std::size_t held_bytes_ = 0;
    std::size_t large_bytes_ = 0;
    std::deque<ConnectionId> large_waiting_;
};

}  // namespace weir::http
