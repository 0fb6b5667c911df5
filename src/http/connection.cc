// What the bytes of a connection mean: heads, bodies, answers, and what goes on where.
#include "base/check.h"
#include "base/limits.h"
#include "http/detail/json_text.h"
#include "http/detail/loop.h"
#include "http/detail/media_type.h"
#include "http/detail/ws_handshake.h"
#include "sql/statement.h"

#include <algorithm>
#include <array>
#include <utility>

namespace weir::http {
namespace {

constexpr std::size_t discard_bytes_max =
    256 * limits::kib;  // a refused body up to this is read, so that the connection lives

constexpr std::string_view home_text =
    "This is weir: events in over HTTP, deduplicated, logged, windowed, and out again with SQL.\n"
    "\n"
    "  POST /v1/streams/{stream}/events      events: a JSON object, an array, NDJSON, or CloudEvents\n"
    "  GET  /v1/streams/{stream}/events      events in log order\n"
    "  GET  /v1/streams/{stream}/tail        events as they come: server-sent events\n"
    "  GET  /v1/views/{view}/tail            changed rows as they come\n"
    "  GET  /v1/ws                           both, over a WebSocket\n"
    "  POST /v1/sql                          SELECT ..., CREATE STREAM ..., SHOW STREAMS\n"
    "  GET  /v1/streams                      what there is\n"
    "  GET  /v1/streams/{stream}             one of them\n"
    "  GET  /v1/views                        materialized views\n"
    "  GET  /v1/cluster                      nodes and shards\n"
    "  GET  /v1/metrics/history              the last hour and day of the node\n"
    "  GET  /metrics                         for Prometheus\n"
    "  GET  /livez, /readyz                  for orchestrators\n"
    "\n"
    "  curl -X POST 'http://HOST/v1/streams/clicks/events' -d '{\"event_id\":\"1\",\"event_type\":\"click\"}'\n"
    "  curl -X POST 'http://HOST/v1/sql' -d 'SELECT count(*) FROM clicks'\n";

Refusal reason_of(int status) {
    switch (status) {
        case 413:
            return Refusal::too_large;
        case 415:
            return Refusal::media_type;
        case 404:
            return Refusal::route;
        case 405:
            return Refusal::method;
        case 421:
            return Refusal::host;
        case 403:
            return Refusal::cross_origin;
        default:
            return Refusal::bad_request;
    }
}

Problem too_large(std::size_t bytes_max) {
    if (bytes_max == 0) return problem_of({Errc::too_large, "this route takes no body"});
    return problem_of({Errc::too_large, "the body is larger than " + std::to_string(bytes_max) + " bytes; split it"});
}

}  // namespace

std::size_t Loop::drive(Connection& c, std::string_view bytes) {
    std::size_t used = 0;
    c.in_drive = true;
    while (used < bytes.size()) {
        const ConnectionState s = c.state;
        if (s == ConnectionState::busy || s == ConnectionState::sending || s == ConnectionState::lingering ||
            s == ConnectionState::upgraded || s == ConnectionState::closed)
            break;
        if (s == ConnectionState::idle) {
            if (!c.parser) c.parser = std::make_unique<RequestParser>();
            c.state = ConnectionState::head;
            c.head_bytes = 0;
            c.mark_us = parts_.clock.monotonic_us();
            c.began_us = 0;
        }
        const RequestParser::Put put = c.parser->put(bytes.substr(used));
        used += put.consumed;
        if (c.state == ConnectionState::head) c.head_bytes += put.consumed;
        if (put.step == ParseStep::failed) {
            const Problem problem = c.parser->failure();
            fail(c, problem, problem.status == 413 ? Refusal::too_large : Refusal::bad_request);
            break;
        }
        if (put.step == ParseStep::head) {
            on_head(c);
            if ((c.state == ConnectionState::body || c.state == ConnectionState::discarding) && c.parser->complete())
                on_complete(c);
            continue;
        }
        if (c.state == ConnectionState::body && !charge(c, c.parser->body_memory())) {
            Problem p =
                problem_of({Errc::overloaded,
                            "too many bytes of requests are in flight; nothing was stored, send it again later"});
            fail(c, p, Refusal::body_memory);
            break;
        }
        if (put.step == ParseStep::need_more) break;
        on_complete(c);
    }
    c.in_drive = false;
    return used;
}

void Loop::resume(Connection& c) {
    if (c.in_drive || c.state != ConnectionState::idle) return;
    if (!c.pending.empty()) {
        const std::size_t used = drive(c, c.pending);
        c.pending.erase(0, std::min(used, c.pending.size()));
        if (c.state == ConnectionState::upgraded) on_socket_bytes(c, std::exchange(c.pending, {}));
    }
    if (c.is_live && c.half_closed) return close(c);  // as in on_read()
    const bool waits_for_input = c.state == ConnectionState::idle || c.state == ConnectionState::head ||
                                 c.state == ConnectionState::body || c.state == ConnectionState::discarding;
    if (waits_for_input && c.half_closed) return close(c);
    const bool has_room = hold(c);
    if (waits_for_input || (c.pending.size() < pending_bytes_max && has_room)) read_on(c);
}

bool Loop::charge(Connection& c, std::size_t bytes) {
    in_flight_bytes_ += bytes;
    in_flight_bytes_ -= c.charged_bytes;
    c.charged_bytes = bytes;
    return in_flight_bytes_ <= options_.body_bytes_in_flight_max;
}

bool Loop::hold(Connection& c) {
    if (c.state == ConnectionState::closed) return true;
    if (c.pending.empty() && c.pending.capacity() > held_bytes_free) c.pending.shrink_to_fit();
    std::size_t bytes = c.head_bytes + c.pending.capacity();
    if (c.socket) bytes += c.socket->decoder.held_bytes();
    bytes -= std::min(bytes, held_bytes_free);
    held_bytes_ += bytes;
    held_bytes_ -= std::exchange(c.held_bytes, bytes);
    return bytes == 0 || held_bytes_ <= held_bytes_max;
}

// Over the budget of what is held beside bodies.
void Loop::turn_away(Connection& c) {
    switch (c.state) {
        case ConnectionState::idle:
        case ConnectionState::head:
        case ConnectionState::body:
        case ConnectionState::discarding:
            return fail(
                c,
                problem_of({Errc::overloaded,
                            "too many bytes of requests' heads are held; nothing was stored, send it again later"}),
                Refusal::head_memory);
        case ConnectionState::upgraded:
            metrics_.refused(Refusal::head_memory);
            return close_socket(c, WsClose::try_again, "too many messages are on their way");
        case ConnectionState::busy:
        case ConnectionState::sending:
            return pause(c);  // resume() reads on
        case ConnectionState::lingering:
        case ConnectionState::closed:
            return;
    }
}

void Loop::on_head(Connection& c) {
    const RequestHead& head = c.parser->head();
    c.began_us = c.mark_us = parts_.clock.monotonic_us();
    c.mark_bytes = 0;
    c.keep_alive = head.keep_alive && !draining_;
    c.http10 = head.http10;
    c.head_only = head.method == "HEAD";
    c.answered = c.cut_short = false;
    c.route = nullptr;
    c.cors.clear();
    if (!head.origin.empty() && browsers_.allows_origin(head.origin))
        c.cors = "Access-Control-Allow-Origin: " + std::string(head.origin) + "\r\nVary: Origin\r\n";

    const std::string_view path = head.target.substr(0, head.target.find('?'));
    Match match = match_route(head.method, path);
    if (auto problem = browsers_.check(head, path == "/")) return refuse(c, *problem, reason_of(problem->status));
    if (match.route == nullptr && head.method == "OPTIONS" && !c.cors.empty() && !match.allow.empty()) {
        // The preflight of a configured origin.
        c.cors +=
            "Access-Control-Allow-Methods: " + match.allow +
            "\r\nAccess-Control-Allow-Headers: Authorization, Content-Type, Content-Encoding, Idempotency-Key\r\n";
        if (!c.parser->complete()) c.keep_alive = false;
        return answer(c, {.status = 204, .content_type = {}, .headers = {}, .body = {}});
    }
    if (match.route == nullptr && head.method == "OPTIONS" && !head.webhook_request_origin.empty()) {
        // Before keys: the consent says nothing but that events are taken here, from whoever may send them.
        const Match events = match_route("POST", path);
        if (events.route != nullptr && events.route->place == Place::ingest) {
            if (!c.parser->complete()) c.keep_alive = false;
            return answer(c, webhook_consent(match.allow));
        }
    }
    // Before 404 and 405: whoever has no key learns nothing of what is here.
    c.route = match.route;
    if (!authenticate(c)) return;
    if (match.route == nullptr) {
        Problem p;
        if (match.allow.empty()) {
            p = problem_of({Errc::not_found,
                            "there is nothing at " + std::string(path.substr(0, 200)) + "; GET / lists what there is"});
        } else {
            p.status = 405;
            p.code = "method_not_allowed";
            p.detail = "this address takes " + match.allow;
            p.allow = match.allow;
        }
        return refuse(c, p, reason_of(p.status));
    }
    if (!match.parameter.empty()) {
        if (const Status good = sql::check_name(match.parameter); !good) {
            const bool read = match.route->place != Place::ingest;
            Error error = good.error();
            error.position = -1;
            const char* what = match.route->id == RouteId::view_tail ? "there is no view " : "there is no stream ";
            if (read) error = {Errc::not_found, what + match.parameter.substr(0, 300)};
            return refuse(c, problem_of(error), Refusal::bad_request);
        }
    }
    if (match.route->place == Place::ingest) {
        c.ingest = {};
        if (auto problem = plan_ingest(head, std::move(match.parameter), c.ingest.plan))
            return refuse(c, *problem, reason_of(problem->status));
        if (!c.ingest.plan.key.empty()) c.ingest.plan.principal = c.caller.name;
    } else if (!head.content_encoding.empty() && !same_text(head.content_encoding, "identity")) {
        Problem p{.status = 415, .code = "unsupported_media_type", .detail = "this route takes no Content-Encoding"};
        return refuse(c, p, Refusal::media_type);
    }
    const std::size_t bytes_max = match.route->body_bytes_max;
    if (head.content_length.value_or(0) > bytes_max) return refuse(c, too_large(bytes_max), Refusal::too_large);
    c.parser->limit_body(bytes_max);
    if (match.route->id == RouteId::socket) {
        if (auto refusal = refuse_upgrade(head)) {
            metrics_.refused(Refusal::bad_request);
            if (!c.parser->complete()) c.keep_alive = false;
            return answer(c, *refusal);
        }
    }
    c.live_parameter.clear();
    if (match.route->place == Place::live) c.live_parameter = std::move(match.parameter);
    if (match.route->place == Place::pool) {
        c.call = std::make_unique<Call>();
        c.call->connection = c.id;
        c.call->route = match.route;
        c.call->method = head.method;
        c.call->parameter = std::move(match.parameter);
        if (const std::size_t query = head.target.find('?'); query != std::string_view::npos)
            c.call->query = head.target.substr(query + 1, head.target.find('#') - query - 1);
        c.call->content_type = head.content_type.substr(0, 200);
        c.call->caller = c.caller;
        c.call->arrived_us = c.began_us;
    }
    c.state = ConnectionState::body;
    if (head.expect.empty() || head.http10) return;
    if (!same_text(head.expect, "100-continue")) {
        Problem p{.status = 417,
                  .code = "expectation_failed",
                  .detail = "the only expectation that is met here is 100-continue"};
        return refuse(c, p, Refusal::bad_request);
    }
    if (!c.parser->complete()) write(c, "HTTP/1.1 100 Continue\r\n\r\n");
}

void Loop::refuse(Connection& c, const Problem& problem, Refusal reason) {
    const RequestHead& head = c.parser->head();
    // A client that waits for 100 Continue sends no body now, or does: only the end of the connection is unambiguous.
    const bool small = head.content_length.value_or(0) <= discard_bytes_max && !head.chunked && head.expect.empty();
    if (!c.parser->complete() && !small) return fail(c, problem, reason);
    metrics_.refused(reason);
    c.parser->discard_body();
    c.refusal = answer_of(problem);
    c.state = ConnectionState::discarding;
    // With no body to come, drive() sees complete() and goes on.
}

void Loop::fail(Connection& c, const Problem& problem, Refusal reason) {
    metrics_.refused(reason);
    if (c.began_us == 0) {  // the head never became one
        c.began_us = c.mark_us;
        c.route = nullptr;
        c.cors.clear();
        c.head_only = c.http10 = false;
    }
    c.keep_alive = false;
    answer(c, answer_of(problem));
}

void Loop::on_complete(Connection& c) {
    if (c.state == ConnectionState::discarding) {
        const Answer refusal = std::move(c.refusal);
        return answer(c, refusal);
    }
    CHECK(c.state == ConnectionState::body && c.route != nullptr);
    c.state = ConnectionState::busy;
    c.mark_us = parts_.clock.monotonic_us();
    switch (c.route->place) {
        case Place::ingest: {
            c.ingest.body = c.parser->take_body();
            Answer reply;
            const IngestStep step = ingest_.begin(c.ingest, reply);
            charge(c, c.ingest.held_bytes);  // inflated by now: what comes next is refused, not this
            return after_step(c, step, reply);
        }
        case Place::probe:
            return probe(c);
        case Place::pool:
            return start_call(c);
        case Place::live:
            return start_live(c);
    }
}

void Loop::after_step(Connection& c, IngestStep step, Answer& reply) {
    if (step == IngestStep::decoded) step = ingest_.hand_over(c.ingest, c.id, reply);
    if (step == IngestStep::answered) return answer(c, reply);
    if (step == IngestStep::wants_thread) return begin_large(c);
    if (step == IngestStep::with_shard) {
        c.mark_us = parts_.clock.monotonic_us();  // the shard's time runs from here
        return;
    }
    const auto kind = c.ingest.plan.is_cloud_event() ? cluster::Undeclared::cloudevents : cluster::Undeclared::events;
    if (workers_->submit(EnsureStream{c.id, c.ingest.plan.stream, kind})) return;
    metrics_.refused(Refusal::pool_queue);
    answer(c, answer_of(
                  problem_of({Errc::overloaded, "too many requests wait; nothing was stored, send it again later"})));
}

void Loop::begin_large(Connection& c) {
    if (c.large_bytes == 0) {
        // How much a compressed one is nobody knows yet.
        const bool is_plain = c.ingest.plan.coding == Coding::identity;
        const std::size_t bytes = is_plain ? c.ingest.body.size() : limits::body_bytes_max;
        if (large_bytes_ > 0 && large_bytes_ + bytes > large_bytes_max) return large_waiting_.push_back(c.id);
        large_bytes_ += c.large_bytes = bytes;
    }
    auto work = std::make_shared<Decoding>();
    work->connection = c.id;
    work->op = std::move(c.ingest);
    c.ingest = {};
    c.ingest.plan.stream = work->op.plan.stream;  // to say something at the deadline
    decode_->submit(std::move(work));
}

// Answered, or gone: those that wait have their turn, in order.
void Loop::end_large(Connection& c) {
    if (c.large_bytes == 0) return;
    large_bytes_ -= std::exchange(c.large_bytes, 0);
    while (!large_waiting_.empty() && decode_) {
        const ConnectionId id = large_waiting_.front();
        Connection* next = find(id);
        large_waiting_.pop_front();
        if (next == nullptr || next->state != ConnectionState::busy) continue;  // given up
        begin_large(*next);
        if (next->large_bytes > 0) continue;
        large_waiting_.pop_back();  // no room yet: it stays the first
        large_waiting_.push_front(id);
        return;
    }
}

void Loop::probe(Connection& c) {
    Answer reply{.status = 200, .content_type = "text/plain; charset=utf-8", .headers = {}, .body = {}};
    if (c.route->id == RouteId::home) {
        reply.body = home_text;
        const std::string_view placeholder = "HOST";
        for (std::size_t at = reply.body.find(placeholder); at != std::string::npos;
             at = reply.body.find(placeholder, at))
            reply.body.replace(at, placeholder.size(), address_);
    } else if (c.route->id == RouteId::livez) {
        reply.body = "ok\n";
    } else if (draining_) {
        reply = answer_of(problem_of({Errc::shutting_down, "this node is leaving"}));
    } else if (!parts_.catalog.home().ready()) {
        reply = answer_of(
            problem_of({Errc::recovering, "this node is still applying what was committed before it started"}));
    } else if (parts_.catalog.home().disk_full()) {
        reply = answer_of(
            problem_of({Errc::disk_full, "the disk is full: events are turned away until there is room, reads go on"}));
    } else {
        reply.body = "ready\n";
    }
    answer(c, reply);
}

void Loop::start_call(Connection& c) {
    Call& call = *c.call;
    call.body = c.parser->take_body();
    call.headers = c.cors;
    call.keep_alive = c.keep_alive;
    call.http10 = c.http10;
    call.committed = parts_.catalog.home().committed();
    call.flow = c.flow = std::make_shared<Flow>();
    call.flow->hung_up.store(c.half_closed);
    charge(c, call.body.capacity());
    if (workers_->submit(std::move(c.call))) return;
    c.flow.reset();
    metrics_.refused(Refusal::pool_queue);
    answer(c,
           answer_of(problem_of({Errc::overloaded, "too many requests wait for the control plane; try again later"})));
}

void Loop::answer(Connection& c, const Answer& reply) {
    if (c.state == ConnectionState::closed) return;
    // Senders that pipeline keep their order by this: behind events that were turned away for now, or whose fate is
    // unknown, nothing more of the connection is looked at. What is already here is dropped by finish().
    if (c.route != nullptr && c.route->place == Place::ingest && (reply.status == 503 || reply.status == 504)) {
        c.cut_short = c.keep_alive && !draining_;
        c.keep_alive = false;
    }
    std::string out;
    out.reserve(reply.body.size() + 256);
    const std::string lines = c.cors.empty() ? reply.headers : reply.headers + c.cors;
    append_head(out, {.status = reply.status,
                      .content_type = reply.content_type,
                      .length = reply.status == 204 ? -2 : static_cast<std::int64_t>(reply.body.size()),
                      .keep_alive = c.keep_alive,
                      .http10 = c.http10,
                      .date = date_,
                      .headers = lines});
    if (!c.head_only) out += reply.body;
    c.status = reply.status;
    c.state = ConnectionState::sending;
    c.answered = true;
    write(c, std::move(out));
    if (c.state == ConnectionState::sending && c.unsent_bytes == 0) finish(c);
}

void Loop::finish(Connection& c) {
    const RouteId id = c.route != nullptr ? c.route->id : RouteId::none;
    const std::int64_t now = parts_.clock.monotonic_us();
    metrics_.answered(id, c.status, static_cast<double>(now - c.began_us) / 1e6);
    in_flight_bytes_ -= std::exchange(c.charged_bytes, 0);
    end_large(c);
    c.flow.reset();
    c.is_live = false;
    c.call.reset();
    c.answered = false;
    c.ingest = {};  // a refused body, too
    c.head_bytes = 0;
    if (!c.keep_alive || draining_) {
        // Unread input would turn the close into a reset, which can overtake the answer.
        return c.parser->complete() && c.pending.empty() && !c.cut_short ? close(c) : linger(c);
    }
    c.parser->reset();
    c.state = ConnectionState::idle;
    c.mark_us = now;
    c.mark_bytes = 0;
}

void Loop::on(IngestDone&& mail) {
    Connection* c = find(mail.connection);
    if (c == nullptr) return;
    // Given up at the deadline: that answer ends the connection, so this cannot be the outcome of a later request.
    if (c->state != ConnectionState::busy) return;
    CHECK(c->ingest.with_shard);
    Answer reply;
    if (mail.outcome.answered_at < 0) {
        reply = IngestDoor::finish(c->ingest, mail.outcome);
    } else {
        // The answer to the first request with this key is in a file: not for the loop.
        const ReadAnswer read{c->id, &parts_.catalog.shard_of(*c->ingest.stream), mail.outcome.applied_index,
                              mail.outcome.answered_at};
        if (workers_->submit(read)) return;
        metrics_.refused(Refusal::pool_queue);
        reply = replayed_answer(Error{Errc::overloaded, "too many requests wait"}, c->ingest.body_print);
    }
    answer(*c, reply);
    resume(*c);
}

void Loop::on(AnswerRead&& mail) {
    Connection* c = find(mail.connection);
    if (c == nullptr || c->state != ConnectionState::busy) return;  // given up
    answer(*c, replayed_answer(mail.kept, c->ingest.body_print));
    resume(*c);
}

void Loop::on(StreamEnsured&& mail) {
    Connection* c = find(mail.connection);
    if (c == nullptr) return;
    if (c->state != ConnectionState::busy) return;  // as above; its events go nowhere
    Answer reply;
    const IngestStep step = ingest_.with_stream(c->ingest, std::move(mail.stream), reply);
    after_step(*c, step, reply);
    resume(*c);
}

void Loop::on(DecodeDone&& mail) {
    Connection* c = find(mail.work->connection);
    if (c == nullptr || c->state != ConnectionState::busy) return;  // given up: its events go nowhere
    c->ingest = std::move(mail.work->op);
    charge(*c, c->ingest.held_bytes);
    after_step(*c, mail.work->step, mail.work->answer);
    resume(*c);
}

void Loop::on(ReplyPart&& mail) {
    Connection* c = find(mail.connection);
    if (c == nullptr) return;
    // A WebSocket that has said its last: the live thread did not know yet.
    if (c->state == ConnectionState::lingering) return;
    CHECK(c->flow != nullptr);
    if (mail.cut) return close(*c);
    if (c->state == ConnectionState::upgraded) {
        write(*c, std::move(mail.bytes));
        if (mail.last) end_socket(*c);
        return;
    }
    if (mail.close) c->keep_alive = false;
    c->status = mail.status;
    c->state = ConnectionState::sending;
    c->answered = mail.last;
    if (!mail.bytes.empty()) write(*c, std::move(mail.bytes));
    if (c->state != ConnectionState::sending || !c->answered || c->unsent_bytes > 0) return;
    finish(*c);
    resume(*c);
}

}  // namespace weir::http
