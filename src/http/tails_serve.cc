// What tails are sent, and when.
#include "base/check.h"
#include "http/detail/json_text.h"
#include "http/detail/live_text.h"
#include "http/detail/read_wait.h"
#include "http/detail/tails.h"
#include "http/detail/ws_frame.h"

#include <algorithm>
#include <span>
#include <utility>

namespace weir::http {
namespace {

constexpr int served_at_once = 64;  // then messages are looked at
constexpr std::int64_t tick_every_us = 1'000'000;
constexpr std::int64_t idle_wait_us = 60'000'000;
constexpr std::int64_t filter_timeout_ms = 1'000;  // of one step
constexpr std::int64_t step_short_us = 50'000;     // a shorter step of a filter: the next one looks at more
constexpr std::int64_t step_long_us = 200'000;     // a longer one: at less
constexpr std::uint32_t scan_most = 32'768;
constexpr int lost_files_max = 3;

}  // namespace

// ---- news -----------------------------------------------------------------------------------------------------------

void Tails::credited(ConnectionId connection) {
    const auto found = clients_.find(connection.value);
    if (found == clients_.end()) return;
    Client& client = found->second;
    std::vector<std::int64_t> credits;
    client.open.flow->credits.drain(credits);
    const bool has_gone = std::ranges::find(credits, Flow::gone) != credits.end();
    if (has_gone) {
        remove_client(connection);
    } else {
        for (const std::int64_t credit : credits) {
            client.unsent -= credit;
            all_unsent_ -= credit;
        }
        if (client.unsent < client_unsent_max)
            for (const auto& [client_id, id] : client.tails)
                enqueue(tails_.at(id));
    }
    // What one client has read or left makes room for all.
    hear_on();
    if (all_unsent_ >= all_unsent_max) return;
    for (const TailId id : std::exchange(starved_, {})) {
        Tail* tail = find(id);
        if (tail == nullptr) continue;
        tail->queued = false;
        enqueue(*tail);
    }
}

void Tails::changed(ShardId id, log::Changes&& changes) {
    const auto found = shards_.find(id.value);
    if (found == shards_.end()) return;
    Shard& shard = found->second;
    shard.visible = std::max(shard.visible, changes.visible);
    check_catalog();
    for (const ObjectId stream : changes.streams) {
        const auto followed = shard.streams.find(stream);
        if (followed == shard.streams.end()) continue;
        followed->second.touched = std::max(followed->second.touched, changes.visible);
        for (const TailId tail : followed->second.tails)
            enqueue(tails_.at(tail));
    }
    for (const log::Changes::Rows& rows : changes.views)
        if (const auto view = shard.views.find(rows.view); view != shard.views.end())
            view->second.feed.add(rows, changes.visible);
    bound_rings();
    for (auto& [view_id, view] : shard.views) {
        if (changes.watch == shard.asked && !shard.outdated) view.feed.begin(changes.visible);
        for (const TailId tail : view.tails)
            enqueue(tails_.at(tail));
    }
}

void Tails::lost_changes(ShardId id) {
    const auto found = shards_.find(id.value);
    if (found == shards_.end()) return;
    Shard& shard = found->second;
    log::Changes all;
    all.visible = shard.port->visible();
    for (const auto& [stream, followed] : shard.streams)
        all.streams.push_back(stream);
    for (auto& [view, followed] : shard.views)
        followed.feed.lose(all.visible);
    changed(id, std::move(all));
}

// The largest first: it is the one that changes faster than its readers read.
void Tails::bound_rings() {
    while (true) {
        std::size_t bytes = 0;
        ViewFeed* largest = nullptr;
        LogIndex visible;
        for (auto& [id, shard] : shards_) {
            for (auto& [view_id, view] : shard.views) {
                bytes += view.feed.ring_bytes();
                if (largest != nullptr && view.feed.ring_bytes() <= largest->ring_bytes()) continue;
                largest = &view.feed;
                visible = shard.visible;
            }
        }
        if (bytes <= all_rings_bytes_max) return;
        largest->lose(visible);
    }
}

void Tails::watch_shards() {
    for (auto& [id, shard] : shards_) {
        if (!std::exchange(shard.outdated, false)) continue;
        std::set<ObjectId> views;
        for (const auto& [view, followed] : shard.views)
            views.insert(view);
        const bool any = !views.empty() || !shard.streams.empty();
        shard.asked = any ? next_watch_++ : 0;
        outputs_.watch(*shard.port, shard.asked, std::move(views));
    }
}

// ---- turns ----------------------------------------------------------------------------------------------------------

bool Tails::has_more(const Tail& tail) const {
    if (tail.credit <= 0 || tail.phase == Phase::checking) return false;
    if (tail.topic == Topic::metrics) return false;  // by the clock
    const Shard& shard = shards_.at(tail.shard.value);
    if (tail.topic == Topic::stream) {
        if (tail.filtering) return false;
        const LogIndex touched = shard.streams.at(tail.object).touched;
        return tail.time_ms || tail.cursor.index <= touched || !tail.said_live;
    }
    const ViewFeed& feed = shard.views.at(tail.object).feed;
    if (!feed.begun()) return false;
    return tail.phase != Phase::following || !feed.holds(tail.place) || tail.place < feed.end();
}

void Tails::enqueue(Tail& tail) {
    if (tail.queued || !has_more(tail)) return;
    tail.queued = true;
    if (tail.not_before_us > parts_.clock.monotonic_us())
        delayed_.emplace(tail.not_before_us, tail.id);
    else
        ready_.push_back(tail.id);
}

std::int64_t Tails::step() {
    watch_shards();
    const std::int64_t now_us = now_us_ = parts_.clock.monotonic_us();
    if (now_us >= next_tick_us_) {
        next_tick_us_ = now_us + tick_every_us;
        tick(now_us);
    }
    while (!delayed_.empty() && delayed_.begin()->first <= now_us) {
        ready_.push_back(delayed_.begin()->second);
        delayed_.erase(delayed_.begin());
    }
    for (int served = 0; served < served_at_once && !ready_.empty(); ++served) {
        const TailId id = ready_.front();
        ready_.pop_front();
        Tail* tail = find(id);
        if (tail == nullptr) continue;
        tail->queued = false;
        if (has_more(*tail)) serve(*tail);
    }
    unsent_gauge_.set(static_cast<double>(all_unsent_));
    watch_shards();
    return until_due(now_us);
}

std::int64_t Tails::until_due(std::int64_t now_us) const {
    if (!ready_.empty()) return 0;
    std::int64_t wait_us = clients_.empty() && shards_.empty() ? idle_wait_us : next_tick_us_ - now_us;
    if (!delayed_.empty()) wait_us = std::min(wait_us, delayed_.begin()->first - now_us);
    return std::max<std::int64_t>(wait_us, 0);
}

void Tails::tick(std::int64_t now_us) {
    check_catalog();
    feed_.age();
    send_points();
    for (auto& [id, client] : clients_) {
        // A WebSocket's pings are the loop's. Who has bytes on their way is not idle; who does not take them must not
        // get more, which would look like progress.
        if (client.is_socket || !client.began || client.unsent > 0) continue;
        if (now_us - client.said_us < beat_every_us) continue;
        std::string beat;
        append_sse_beat(beat,
                        client.tails.empty() ? std::string() : place_text(tails_.at(client.tails.begin()->second)));
        send(client, std::move(beat));
    }
    for (auto at = shards_.begin(); at != shards_.end();) {
        Shard& shard = at->second;
        for (auto view = shard.views.begin(); view != shard.views.end();) {
            const bool unused = view->second.tails.empty() && now_us - view->second.unused_since_us >= view_kept_us;
            shard.outdated |= unused;
            view = unused ? shard.views.erase(view) : std::next(view);
        }
        const bool idle = shard.streams.empty() && shard.views.empty() && !shard.outdated && shard.asked == 0;
        at = idle ? shards_.erase(at) : std::next(at);
    }
}

void Tails::serve(Tail& tail) {
    Client& client = client_of(tail);
    if (client.unsent >= client_unsent_max) return;  // credited() brings it back
    if (all_unsent_ >= all_unsent_max) {
        tail.queued = true;
        starved_.push_back(tail.id);
        return;
    }
    if (tail.topic == Topic::view) return serve_view(tail);
    const LogIndex touched = shards_.at(tail.shard.value).streams.at(tail.object).touched;
    if (!tail.time_ms && tail.cursor.index > touched) {
        // Begins at the end: that needs no look at the log.
        EncodedPage nothing;
        nothing.from = nothing.next = tail.cursor;
        nothing.at_end = true;
        return serve_page(tail, nothing);
    }
    if (tail.where.empty()) return serve_stream(tail);
    start_filter(tail, false);
}

void Tails::after_batch(Tail& tail, bool caught_up) {
    if (caught_up) tail.not_before_us = now_us_ + batch_every_us;
    enqueue(tail);
}

// ---- streams --------------------------------------------------------------------------------------------------------

void Tails::serve_stream(Tail& tail) {
    const std::string dir = shards_.at(tail.shard.value).port->data_dir();
    auto page = tail.time_ms ? feed_.page_of_time(dir, tail.object, *tail.time_ms)
                             : feed_.page(dir, tail.object, tail.cursor, tail.at);
    if (!page) {
        check_catalog();  // a stream that was dropped a moment ago
        if (Tail* still = find(tail.id)) end(*still, page.error());
        return;
    }
    serve_page(tail, *page.value());
}

// The page holds what comes at the tail's cursor.
void Tails::serve_page(Tail& tail, const EncodedPage& page) {
    Client& client = client_of(tail);
    const bool by_time = std::exchange(tail.time_ms, std::nullopt).has_value();
    const bool at_begin = by_time || (page.from.index == tail.cursor.index && page.from.ordinal == tail.cursor.ordinal);
    auto first = page.events.begin();
    if (!at_begin) first = std::ranges::lower_bound(page.events, tail.cursor, is_before, &EncodedPage::Event::cursor);
    const auto there = page.events.end() - first;
    const auto count = std::min<std::int64_t>(there, tail.credit);
    const bool whole = count == there;
    if (at_begin && page.skipped.any()) {
        skipped_.add(static_cast<double>(page.skipped.events));
        std::string members = client.is_socket ? "," : "{";
        members += "\"events\":";
        members += page.skipped.uncounted ? "null" : std::to_string(page.skipped.events);
        members += ",\"reason\":\"retention\",\"from\":\"" + tail.cursor.text() + '"';
        say(tail, "skipped", {}, client.is_socket ? members : members + '}');
    }
    tail.cursor = whole ? page.next : (first + count)->cursor;
    tail.at = whole ? page.at : log::JournalPlace{};
    if (tail.credit != INT64_MAX) tail.credit -= count;
    // A kept page was at the end when it was read.
    const LogIndex touched = shards_.at(tail.shard.value).streams.at(tail.object).touched;
    const bool caught_up = whole && page.at_end && tail.cursor.index > touched;
    const bool says_live = caught_up && !tail.said_live;
    tail.said_live |= caught_up;
    const auto events = std::span(first, first + count);
    const std::uint64_t looked_at = tail.where.empty() ? static_cast<std::uint64_t>(count) : page.scanned;
    sent_.add(static_cast<double>(count));
    if (looked_at > static_cast<std::uint64_t>(count))
        left_out_.add(static_cast<double>(looked_at - static_cast<std::uint64_t>(count)));
    if (client.is_socket) {
        if (count > 0 || says_live || !tail.where.empty()) {
            std::string out = ",\"events\":[";
            for (const auto& event : events) {
                if (out.back() != '[') out += ',';
                out += page.text_of(event);
            }
            out += "],\"next\":\"" + tail.cursor.text() + "\",\"scanned\":" + std::to_string(looked_at);
            out += caught_up ? ",\"at_end\":true" : ",\"at_end\":false";
            say(tail, "events", {}, out);
        }
    } else {
        std::string out;
        for (const auto& event : events)
            append_sse(out, {}, event.next.text(), page.text_of(event));
        if (says_live) append_sse(out, "live", tail.cursor.text(), "{\"cursor\":\"" + tail.cursor.text() + "\"}");
        if (!out.empty()) send(client, std::move(out));
    }
    after_batch(tail, caught_up);
}

void Tails::start_filter(Tail& tail, bool only_check) {
    FilterJob job;
    job.tail = tail.id;
    job.only_check = only_check;
    job.unwanted = tail.unwanted = std::make_shared<std::atomic<bool>>(false);
    query::WhereQuery& query = job.query;
    query.stream = tail.name;
    query.where = tail.where;
    query.scan_max = tail.scan_max;
    query.timeout_ms = only_check ? 10'000 : filter_timeout_ms;
    query.events.shard_dir = shards_.at(tail.shard.value).port->data_dir();
    query.events.stream = tail.object;
    query.events.limit = static_cast<std::uint32_t>(std::min<std::int64_t>(tail_page_events, tail.credit));
    query.events.bytes_max = tail_page_bytes;
    if (tail.time_ms) {
        query.events.from = query::EventQuery::From::append_time;
        query.events.append_time_ms = *tail.time_ms;
    } else if (tail.cursor.index.value > 0) {
        query.events.from = query::EventQuery::From::cursor;
        query.events.cursor = tail.cursor;
        query.events.at = tail.at;
    }
    tail.filtering = true;
    outputs_.filter(std::move(job));
}

void Tails::filtered(FilterDone&& done) {
    Tail* tail = find(done.tail);
    if (tail == nullptr) {  // it went while the step was under way
        --filtered_;
        return;
    }
    tail->filtering = false;
    check_catalog();
    if ((tail = find(done.tail)) == nullptr) return;
    if (tail->phase == Phase::checking) {
        if (done.page) return confirm(*tail);
        Error error = done.page.error();
        // To the client a name that its expression does not know is no missing stream.
        if (error.code == Errc::not_found) error.code = Errc::invalid_argument;
        error.detail = "where: " + error.detail;
        Client& client = client_of(*tail);
        if (client.is_socket) return end(*tail, error);
        return refuse(client, sql_problem_of(error, tail->where));
    }
    if (done.page) {
        tail->lost_files = 0;
        if (done.took_us < step_short_us) tail->scan_max = std::min(tail->scan_max * 2, scan_most);
        if (done.took_us > step_long_us) tail->scan_max = std::max(tail->scan_max / 2, 1u);
        return serve_page(*tail, encode(done.page.value(), tail->cursor));
    }
    const Error& error = done.page.error();
    const bool less_may_do = error.code == Errc::deadline || error.code == Errc::too_large;
    const bool lost_file = error.code == Errc::not_found && ++tail->lost_files < lost_files_max;
    if (less_may_do && !done.held && tail->scan_max == 1)
        return end(*tail, errc_name(error.code), "where takes too much for the event at the cursor: " + error.detail);
    if (!less_may_do && !lost_file) return end(*tail, error);
    if (less_may_do && !done.held) tail->scan_max = std::max(tail->scan_max / 8, 1u);
    enqueue(*tail);
}

// ---- views ----------------------------------------------------------------------------------------------------------

void Tails::serve_view(Tail& tail) {
    Shard& shard = shards_.at(tail.shard.value);
    ViewFeed& feed = shard.views.at(tail.object).feed;
    if (tail.phase == Phase::waiting) {
        tail.phase = Phase::snapshot;
        tail.place = feed.end();
        const bool follows =
            tail.from.kind == TailFrom::Kind::end ||
            (tail.from.kind == TailFrom::Kind::index && feed.place_of(tail.from.cursor.index, tail.place));
        if (follows) tail.phase = Phase::following;
    }
    if (tail.phase == Phase::following && !feed.holds(tail.place)) {
        resyncs_.add();
        say(tail, "resync", {}, client_of(tail).is_socket ? "" : "{}");
        tail.phase = Phase::snapshot;
        tail.begins = true;
        tail.place = feed.end();
        tail.said_live = false;
    }
    const auto failed = [&](const Error& error) {
        if (error.code == Errc::io || error.code == Errc::corrupt) shard.rows.reset();
        check_catalog();
        if (Tail* still = find(tail.id)) end(*still, error);
    };
    if (!shard.rows) {
        auto opened = query::ViewRows::open(parts_.disk, feed.shard_dir());
        if (!opened) return failed(opened.error());
        shard.rows = std::move(opened).value();
    }
    if (tail.phase == Phase::snapshot) {
        auto page = feed.page(*shard.rows, tail.begins, tail.after);
        if (!page) return failed(page.error());
        tail.begins = false;
        tail.after = page.value().last_key;
        if (page.value().at_end) tail.phase = Phase::following;
        return serve_rows(tail, page.value(), "snapshot", page.value().at_end && tail.place == feed.end());
    }
    if (tail.place == feed.end()) return serve_rows(tail, {}, "changes", true);
    const auto batch = feed.changes(*shard.rows, tail.place);
    if (!batch) return failed(batch.error());
    tail.place = batch.value()->next;
    serve_rows(tail, *batch.value(), "changes", tail.place == feed.end());
}

void Tails::serve_rows(Tail& tail, const EncodedRows& rows, std::string_view phase, bool caught_up) {
    Client& client = client_of(tail);
    if (tail.credit != INT64_MAX) tail.credit -= static_cast<std::int64_t>(rows.ends.size());
    sent_.add(static_cast<double>(rows.ends.size()));
    const std::string place = place_text(tail);
    const bool says_live = caught_up && !tail.said_live;
    tail.said_live |= caught_up;
    if (client.is_socket) {
        std::string out = ",\"rows\":[";
        for (std::size_t i = 0; i < rows.ends.size(); ++i) {
            if (i > 0) out += ',';
            out += rows.row(i);
        }
        out += "],\"phase\":\"";
        out += phase;
        out += caught_up ? "\",\"at_end\":true" : "\",\"at_end\":false";
        if (!place.empty()) out += ",\"index\":\"" + place + '"';
        if (!rows.ends.empty() || says_live) say(tail, "rows", {}, out);
    } else {
        std::string out;
        for (std::size_t i = 0; i < rows.ends.size(); ++i)
            append_sse(out, {}, i + 1 == rows.ends.size() ? std::string_view(place) : std::string_view(), rows.row(i));
        if (says_live) append_sse(out, "live", place, "{\"index\":\"" + place + "\"}");
        if (!out.empty()) send(client, std::move(out));
    }
    after_batch(tail, caught_up);
}

// ---- metrics --------------------------------------------------------------------------------------------------------

void Tails::send_points() {
    if (metrics_tails_ == 0) return;
    const std::int64_t now_ms = parts_.history->last_ms();
    for (auto& [id, tail] : tails_) {
        if (tail.topic != Topic::metrics || tail.credit <= 0 || tail.point_ms >= now_ms) continue;
        if (client_of(tail).unsent >= client_unsent_max) continue;  // the next point tells more
        serve_metrics(tail);
    }
}

void Tails::serve_metrics(Tail& tail) {
    obs::History::Query query;
    query.series = tail.series;
    query.from_ms = parts_.history->last_ms();
    query.to_ms = query.from_ms + obs::History::second_ms;
    query.step_ms = obs::History::second_ms;
    const auto answer = parts_.history->read(query);
    if (!answer) return;
    std::string out = ",\"time\":" + std::to_string(query.from_ms) + ",\"values\":[";
    for (std::size_t i = 0; i < answer.value().values.size(); ++i) {
        if (i > 0) out += ',';
        append_point(out, answer.value().values[i].front());
    }
    tail.point_ms = query.from_ms;
    --tail.credit;
    sent_.add();
    say(tail, "point", {}, out + ']');
}

// ---- saying ---------------------------------------------------------------------------------------------------------

// A WebSocket's message {"op":event,"id":..} with further members, or a server-sent event with them as its data.
void Tails::say(Tail& tail, std::string_view event, std::string_view id, std::string_view members) {
    Client& client = client_of(tail);
    std::string out;
    if (client.is_socket) {
        out = "{\"op\":\"";
        out += event;
        out += "\",\"id\":" + std::to_string(tail.client_id);
        out += members;
        out += '}';
    } else {
        append_sse(out, event, id, members);
    }
    send(client, std::move(out));
}

void Tails::send(Client& client, std::string&& payload) {
    std::string bytes;
    if (client.is_socket) {
        bytes.reserve(payload.size() + 10);
        append_ws_frame(bytes, WsOpcode::text, payload);
    } else if (client.open.http10) {
        bytes = std::move(payload);
    } else {
        bytes.reserve(payload.size() + 32);
        append_chunk(bytes, payload);
    }
    post(client, std::move(bytes), false);
}

void Tails::post(Client& client, std::string&& bytes, bool last, int status) {
    const auto size = static_cast<std::int64_t>(bytes.size());
    client.unsent += size;
    all_unsent_ += size;
    client.said_us = parts_.clock.monotonic_us();
    outputs_.mail(ReplyPart{.connection = client.open.connection,
                            .bytes = std::move(bytes),
                            .status = status,
                            .last = last,
                            .close = last && client.open.http10 && client.began,
                            .cut = false});
}

}  // namespace weir::http
