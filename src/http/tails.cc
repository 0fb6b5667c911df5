// Who follows what: clients and tails as they come and go. What they are sent: tails_serve.cc.
#include "http/detail/tails.h"

#include "base/check.h"
#include "http/detail/json_text.h"
#include "http/detail/live_text.h"
#include "http/detail/read_wait.h"
#include "http/detail/result_writer.h"
#include "http/detail/ws_frame.h"

#include <algorithm>
#include <utility>

namespace weir::http {
namespace {

Error stopping() {
    return {Errc::shutting_down, "this node is leaving"};
}

}  // namespace

Tails::Tails(const ServerOptions& options, ServerParts parts, Outputs outputs)
    : options_(options),
      parts_(parts),
      outputs_(std::move(outputs)),
      feed_(parts.disk),
      tails_gauge_(parts.metrics.gauge("weir_tails", "Open tails and subscriptions")),
      unsent_gauge_(parts.metrics.gauge("weir_tail_unsent_bytes", "Bytes on their way to readers of tails")),
      sent_(parts.metrics.counter("weir_tail_events_total", "Events, rows and points sent to tails")),
      skipped_(parts.metrics.counter("weir_tail_skipped_total", "Events that retention took before a tail read them")),
      left_out_(parts.metrics.counter("weir_tail_filtered_total", "Events that the `where` of a tail left out")),
      resyncs_(parts.metrics.counter("weir_tail_resyncs_total", "Tails of views that got all rows again")) {}
Tails::~Tails() = default;

// ---- coming ---------------------------------------------------------------------------------------------------------

void Tails::open(LiveOpen&& open) {
    // What is left of an earlier request of the same connection has ended before this one could come.
    remove_client(open.connection);
    const std::uint64_t id = open.connection.value;
    Client& client = clients_[id];
    client.open = std::move(open);
    client.said_us = parts_.clock.monotonic_us();
    client.is_socket = client.open.route == RouteId::socket;
    if (client.is_socket) {
        client.began = true;
        if (stopping_) {
            std::string frame;
            append_ws_frame(frame, WsOpcode::close, ws_close_payload(WsClose::going_away, "this node is leaving"));
            post(client, std::move(frame), true);
            remove_client(ConnectionId(id));
        }
        return;
    }
    const LiveOpen asked = client.open;
    if (const Status good = open_tail(client, asked); !good) refuse(client, problem_of(good.error()));
}

Status Tails::open_tail(Client& client, const LiveOpen& open) {
    const Parameters parameters = TRY(parse_query(open.query));
    const bool is_view = open.route == RouteId::view_tail;
    for (const auto& [name, value] : parameters) {
        const bool known = name == "from" || (name == "where" && !is_view);
        if (!known)
            return Error{Errc::invalid_argument,
                         "unknown parameter " + name + "; this route takes from" + (is_view ? "" : " and where")};
    }
    Subscribe subscribe;
    subscribe.topic = is_view ? Topic::view : Topic::stream;
    subscribe.name = open.parameter;
    subscribe.credit = INT64_MAX;
    // A client that comes back sends the same URL: its `from` was for the first time.
    const std::string_view from =
        open.last_event_id.empty() ? parameter(parameters, "from").value_or("") : std::string_view(open.last_event_id);
    subscribe.from = TRY(is_view ? parse_view_from(from) : parse_stream_from(from));
    subscribe.where = parameter(parameters, "where").value_or("");
    return begin(client, 0, std::move(subscribe));
}

Status Tails::begin(Client& client, std::uint64_t client_id, Subscribe&& subscribe) {
    if (stopping_) return stopping();
    if (!parts_.catalog.home().ready())
        return Error{Errc::recovering, "this node is still applying what was committed before it started"};
    if (tails_.size() >= options_.tails_max)
        return Error{Errc::overloaded,
                     std::to_string(options_.tails_max) + " tails are open, which is as many as there may be"};
    if (subscribe.where.size() > query::where_bytes_max)
        return Error{Errc::too_large, "where has more than " + std::to_string(query::where_bytes_max) + " bytes"};
    if (!subscribe.where.empty() && filtered_ >= filtered_max)
        return Error{Errc::overloaded,
                     std::to_string(filtered_max) + " tails with `where` are open, which is as many as there may be"};
    Tail tail;
    tail.id = next_id_++;
    tail.client = client.open.connection;
    tail.client_id = client_id;
    tail.topic = subscribe.topic;
    tail.name = subscribe.name;
    tail.credit = subscribe.credit;
    switch (subscribe.topic) {
        case Topic::stream:
            TRY(begin_stream(tail, std::move(subscribe)));
            break;
        case Topic::view:
            TRY(begin_view(tail, subscribe));
            break;
        case Topic::metrics:
            TRY(begin_metrics(tail, subscribe));
            break;
    }
    const TailId id = tail.id;
    Tail& kept = tails_.emplace(id, std::move(tail)).first->second;
    client.tails[client_id] = id;
    tails_gauge_.set(static_cast<double>(tails_.size()));
    if (!kept.where.empty()) {
        ++filtered_;
        kept.phase = Phase::checking;
        start_filter(kept, true);
        return {};
    }
    confirm(kept);
    return {};
}

Status Tails::begin_stream(Tail& tail, Subscribe&& subscribe) {
    const auto stream = parts_.catalog.snapshot()->stream(tail.name);
    if (!stream) return Error{Errc::not_found, "there is no stream " + tail.name};
    replica::ShardPort& port = parts_.catalog.shard_of(*stream);
    tail.name = stream->name;
    tail.object = stream->id;
    tail.shard = port.id();
    tail.where = std::move(subscribe.where);
    tail.cursor.shard = stream->id.shard;
    const LogIndex visible = port.visible();
    switch (subscribe.from.kind) {
        case TailFrom::Kind::beginning:
        case TailFrom::Kind::index:
            break;
        case TailFrom::Kind::end:
            tail.cursor.index = LogIndex(visible.value + 1);
            break;
        case TailFrom::Kind::cursor:
            if (subscribe.from.cursor.shard != stream->id.shard)
                return Error{Errc::invalid_argument, "that cursor is of another shard"};
            tail.cursor = subscribe.from.cursor;
            break;
        case TailFrom::Kind::time:
            tail.time_ms = subscribe.from.time_ms;
            break;
    }
    Shard& shard = shard_of(port);
    shard.outdated |= shard.streams.empty() && shard.views.empty();
    Followed& followed = shard.streams[stream->id];
    followed.touched = std::max(followed.touched, visible);
    followed.tails.insert(tail.id);
    return {};
}

Status Tails::begin_view(Tail& tail, const Subscribe& subscribe) {
    const auto snapshot = parts_.catalog.snapshot();
    const auto view = snapshot->view(tail.name);
    if (!view) return Error{Errc::not_found, "there is no view " + tail.name};
    replica::ShardPort* port = &parts_.catalog.home();
    for (const auto& [name, stream] : snapshot->streams)
        if (stream->id == view->stream) port = &parts_.catalog.shard_of(*stream);
    Shard& shard = shard_of(*port);
    if (!shard.rows) shard.rows = TRY(query::ViewRows::open(parts_.disk, port->data_dir()));
    query::ViewShape shape = TRY(shard.rows->shape(view->name));
    tail.name = view->name;
    tail.object = shape.id;
    tail.shard = port->id();
    tail.phase = Phase::waiting;
    tail.from = subscribe.from;
    if (subscribe.from.kind == TailFrom::Kind::index && subscribe.from.cursor.shard != port->id())
        return Error{Errc::invalid_argument, "that index is of another shard"};
    auto found = shard.views.find(shape.id);
    if (found == shard.views.end()) {
        const ObjectId view_id = shape.id;
        found = shard.views.emplace(view_id, FollowedView{ViewFeed(std::move(shape), port->data_dir()), {}, 0}).first;
        shard.outdated = true;
    }
    found->second.tails.insert(tail.id);
    return {};
}

Status Tails::begin_metrics(Tail& tail, const Subscribe& subscribe) {
    if (parts_.history == nullptr) return Error{Errc::unsupported, "this server keeps no history of its metrics"};
    const auto& known = parts_.history->series();
    for (const std::string& name : subscribe.series) {
        const auto found = std::ranges::find(known, name, &obs::SeriesSpec::name);
        if (found == known.end()) return Error{Errc::not_found, "there is no series " + name};
        tail.series.push_back(static_cast<std::size_t>(found - known.begin()));
    }
    for (std::size_t i = 0; subscribe.series.empty() && i < known.size(); ++i)
        tail.series.push_back(i);
    tail.point_ms = parts_.history->last_ms();
    ++metrics_tails_;
    return {};
}

// From here on the client knows that it is one.
void Tails::confirm(Tail& tail) {
    Client& client = client_of(tail);
    if (tail.phase == Phase::checking) tail.phase = Phase::following;
    if (!client.is_socket) {
        client.began = true;
        std::string head;
        const std::string date = http_date(parts_.clock.wall_ms());
        append_head(head, {.status = 200,
                           .content_type = "text/event-stream",
                           .length = client.open.http10 ? -2 : -1,
                           .keep_alive = client.open.keep_alive && !client.open.http10,
                           .http10 = client.open.http10,
                           .date = date,
                           .headers = client.open.headers});
        post(client, std::move(head), false);
        std::string first = "retry: 1000\n";
        append_sse_beat(first, place_text(tail));
        send(client, std::move(first));
    } else {
        std::string members;
        if (tail.topic == Topic::stream) {
            append_member(members, "cursor", tail.cursor.text());
        } else if (tail.topic == Topic::view) {
            append_name(members, "columns");
            append_columns(members, shards_.at(tail.shard.value).views.at(tail.object).feed.shape().columns);
        } else {
            members = ",\"series\":[";
            for (std::size_t i = 0; i < tail.series.size(); ++i) {
                if (i > 0) members += ',';
                append_json_string(members, parts_.history->series()[tail.series[i]].name);
            }
            members += ']';
        }
        say(tail, "subscribed", {}, members);
    }
    enqueue(tail);
}

// ---- hearing --------------------------------------------------------------------------------------------------------

bool Tails::may_be_told(const Client& client) const {
    return client.unsent < client_unsent_max && all_unsent_ < all_unsent_max;
}

void Tails::text(ConnectionId connection, std::string&& message) {
    const auto found = clients_.find(connection.value);
    if (found == clients_.end() || !found->second.is_socket) return;
    Client& client = found->second;
    if (client.unheard.empty() && may_be_told(client)) return hear(client, message);
    unheard_bytes_ += message.size() + Flow::message_cost;
    client.unheard.push_back(std::move(message));
    unheard_.insert(connection.value);
    if (unheard_bytes_ <= all_unheard_max) return;
    std::string frame;
    append_ws_frame(frame, WsOpcode::close,
                    ws_close_payload(WsClose::try_again, "too many clients read nothing of what they are told"));
    post(client, std::move(frame), true);
    remove_client(connection);
}

// Those that have read what they were told, or may be told again.
void Tails::hear_on() {
    for (auto at = unheard_.begin(); at != unheard_.end();) {
        Client& client = clients_.at(*at);
        while (!client.unheard.empty() && may_be_told(client)) {
            const std::string message = std::move(client.unheard.front());
            client.unheard.pop_front();
            unheard_bytes_ -= message.size() + Flow::message_cost;
            hear(client, message);
        }
        at = client.unheard.empty() ? unheard_.erase(at) : std::next(at);
    }
}

void Tails::hear(Client& client, std::string_view message) {
    const std::size_t cost = message.size() + Flow::message_cost;
    const std::size_t before = client.open.flow->incoming.fetch_sub(cost);
    if (before > Flow::incoming_max && before - cost <= Flow::incoming_max)
        outputs_.mail(SocketRoom{client.open.connection});
    std::uint64_t id = 0;
    auto request = parse_ws_request(message, id);
    const auto answer = [&](std::string_view op, const Error& error) {
        std::string out = "{\"op\":\"";
        out += op;
        out += "\",\"id\":" + std::to_string(id);
        append_member(out, "code", errc_name(error.code));
        append_member(out, "detail", error.detail);
        if (error.position >= 0) append_member(out, "position", error.position);
        send(client, out + '}');
    };
    if (!request) return answer("error", request.error());
    const auto tail = client.tails.find(id);
    switch (request.value().op) {
        case WsRequest::Op::subscribe: {
            if (tail != client.tails.end())
                return answer("error", {Errc::conflict,
                                        "a subscription has this id; ids are free again after \"end\" or "
                                        "\"unsub\""});
            if (client.tails.size() >= socket_tails_max)
                return answer("end", {Errc::overloaded,
                                      "one WebSocket takes " + std::to_string(socket_tails_max) + " subscriptions"});
            const Status begun = begin(client, id, std::move(request.value().subscribe));
            if (!begun) answer("end", begun.error());
            return;
        }
        case WsRequest::Op::unsubscribe:
            if (tail != client.tails.end()) remove(tail->second);
            return;
        case WsRequest::Op::credit:
            if (tail == client.tails.end()) return;  // it has ended meanwhile
            Tail& more = tails_.at(tail->second);
            more.credit = std::min(more.credit + request.value().credit, credit_max);
            enqueue(more);
            return;
    }
}

// ---- going ----------------------------------------------------------------------------------------------------------

// Before anything of a tail was said: an ordinary answer.
void Tails::refuse(Client& client, const Problem& problem) {
    CHECK(!client.began);
    const Answer answer = answer_of(problem);
    std::string out;
    const std::string date = http_date(parts_.clock.wall_ms());
    const std::string lines = client.open.headers + answer.headers;
    append_head(out, {.status = answer.status,
                      .content_type = answer.content_type,
                      .length = static_cast<std::int64_t>(answer.body.size()),
                      .keep_alive = client.open.keep_alive,
                      .http10 = client.open.http10,
                      .date = date,
                      .headers = lines});
    out += answer.body;
    const ConnectionId id = client.open.connection;
    post(client, std::move(out), true, answer.status);
    remove_client(id);
}

void Tails::end(Tail& tail, std::string_view code, std::string_view detail) {
    Client& client = client_of(tail);
    const TailId id = tail.id;
    std::string members = client.is_socket ? "" : "{";
    append_member(members, "code", code);
    append_member(members, "detail", detail);
    if (const std::string place = place_text(tail); !place.empty()) append_member(members, "cursor", place);
    if (client.is_socket) {
        say(tail, "end", {}, members);
        return remove(id);
    }
    std::string last;
    append_sse(last, "end", {}, members + '}');
    std::string bytes;
    if (client.open.http10) {
        bytes = std::move(last);
    } else {
        append_chunk(bytes, last);
        bytes += "0\r\n\r\n";
    }
    const ConnectionId connection = tail.client;
    post(client, std::move(bytes), true);
    remove_client(connection);
}

void Tails::remove(TailId id) {
    const auto found = tails_.find(id);
    if (found == tails_.end()) return;
    Tail& tail = found->second;
    if (tail.unwanted) tail.unwanted->store(true);
    if (!tail.where.empty() && !tail.filtering) --filtered_;  // else its step still takes the place: filtered()
    if (tail.topic == Topic::metrics) --metrics_tails_;
    if (const auto at = shards_.find(tail.shard.value); at != shards_.end() && tail.topic != Topic::metrics) {
        Shard& shard = at->second;
        if (const auto stream = shard.streams.find(tail.object); stream != shard.streams.end()) {
            stream->second.tails.erase(id);
            if (stream->second.tails.empty()) {
                feed_.forget(tail.object);
                shard.streams.erase(stream);
                shard.outdated |= shard.streams.empty() && shard.views.empty();
            }
        }
        if (const auto view = shard.views.find(tail.object); view != shard.views.end()) {
            view->second.tails.erase(id);
            view->second.unused_since_us = parts_.clock.monotonic_us();
        }
    }
    if (const auto client = clients_.find(tail.client.value); client != clients_.end())
        client->second.tails.erase(tail.client_id);
    tails_.erase(found);  // what is queued of it finds nothing
    tails_gauge_.set(static_cast<double>(tails_.size()));
}

void Tails::remove_client(ConnectionId id) {
    const auto found = clients_.find(id.value);
    if (found == clients_.end()) return;
    while (!found->second.tails.empty())
        remove(found->second.tails.begin()->second);
    all_unsent_ -= found->second.unsent;
    for (const std::string& message : found->second.unheard)
        unheard_bytes_ -= message.size() + Flow::message_cost;
    unheard_.erase(id.value);
    clients_.erase(found);
}

void Tails::stop() {
    stopping_ = true;
    std::vector<TailId> open;
    for (const auto& [id, tail] : tails_)
        open.push_back(id);
    for (const TailId id : open) {
        Tail* tail = find(id);
        if (tail == nullptr) continue;
        Client& client = client_of(*tail);
        if (client.is_socket || client.began)
            end(*tail, stopping());
        else
            refuse(client, problem_of(stopping()));
    }
    std::vector<std::uint64_t> sockets;
    for (const auto& [id, client] : clients_)
        sockets.push_back(id);
    for (const std::uint64_t id : sockets) {
        std::string frame;
        append_ws_frame(frame, WsOpcode::close, ws_close_payload(WsClose::going_away, "this node is leaving"));
        post(clients_.at(id), std::move(frame), true);
        remove_client(ConnectionId(id));
    }
}

// Streams and views that are not there any more, or are others of the same name.
void Tails::check_catalog() {
    auto now = parts_.catalog.snapshot();
    if (now == seen_catalog_) return;
    seen_catalog_ = std::move(now);
    std::vector<TailId> gone;
    for (const auto& [id, tail] : tails_) {
        if (tail.topic == Topic::stream) {
            const auto stream = seen_catalog_->stream(tail.name);
            if (!stream || stream->id != tail.object) gone.push_back(id);
        } else if (tail.topic == Topic::view) {
            const auto view = seen_catalog_->view(tail.name);
            if (!view || view->id != tail.object) gone.push_back(id);
        }
    }
    for (const TailId id : gone) {
        Tail* tail = find(id);
        if (tail == nullptr) continue;
        const Error dropped{Errc::not_found, std::string(tail->topic == Topic::stream ? "the stream " : "the view ") +
                                                 tail->name + " was dropped"};
        if (client_of(*tail).began)
            end(*tail, dropped);
        else
            refuse(client_of(*tail), problem_of(dropped));
    }
}

Tails::Tail* Tails::find(TailId id) {
    const auto found = tails_.find(id);
    return found == tails_.end() ? nullptr : &found->second;
}

Tails::Shard& Tails::shard_of(replica::ShardPort& port) {
    Shard& shard = shards_[port.id().value];
    if (shard.port == nullptr) {
        shard.port = &port;
        shard.visible = port.visible();
    }
    return shard;
}

// What a client sends to go on from here; empty: nothing would do that yet.
std::string Tails::place_text(const Tail& tail) const {
    if (tail.topic == Topic::stream) {
        if (tail.time_ms) return {};
        query::Cursor cursor = tail.cursor;
        // There is nothing between the cursor and what is visible: a later cursor outlives retention longer.
        const Shard& shard = shards_.at(tail.shard.value);
        const auto followed = shard.streams.find(tail.object);
        if (followed != shard.streams.end() && cursor.index > followed->second.touched && shard.visible >= cursor.index)
            cursor = {cursor.shard, LogIndex(shard.visible.value + 1), 0};
        return cursor.text();
    }
    if (tail.topic == Topic::view && tail.phase == Phase::following) {
        const Shard& shard = shards_.at(tail.shard.value);
        const auto view = shard.views.find(tail.object);
        if (view == shard.views.end() || tail.place != view->second.feed.end()) return {};
        return index_text(tail.shard, shard.visible);
    }
    return {};
}

}  // namespace weir::http
