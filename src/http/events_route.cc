// GET /v1/streams/{s}/events: a page of events by cursor, all of them or those that satisfy an expression.
#include "base/limits.h"
#include "http/detail/call.h"
#include "http/detail/json_text.h"
#include "http/detail/live_request.h"
#include "http/detail/live_text.h"
#include "http/detail/read_wait.h"
#include "query/where.h"

#include <algorithm>
#include <cstdint>

namespace weir::http {
namespace {

constexpr std::int64_t events_max = 10'000;
constexpr std::uint32_t scan_first = 8'192;  // events that one step of a filter looks at
constexpr std::uint32_t scan_most = 65'536;
constexpr std::int64_t step_short_us = 100'000;

Answer refused(const Error& error) {
    return answer_of(problem_of(error));
}

// Step by step until the page is full, the stream's end, or the time of a query. What was looked at till then is behind
// `next`: a page may be empty and not at the end.
Result<query::EventPage> read_filtered(const RouteContext& context, query::WhereQuery query) {
    Clock& clock = context.parts.clock;
    const std::int64_t deadline_us = clock.monotonic_us() + limits::sql_timeout_ms_default * 1000;
    query.timeout_ms = limits::sql_timeout_ms_default;
    query.now_ms = clock.wall_ms();
    if (const Status good = query::check_where(context.parts.queries, query); !good) {
        // A name in it that the stream does not know is the caller's mistake, not a missing resource.
        Error error = good.error();
        if (error.code == Errc::not_found) error.code = Errc::invalid_argument;
        error.detail = "where: " + error.detail;
        return error;
    }
    auto reader = TRY(query::EventReader::open(context.parts.disk, query.events.shard_dir));
    query::EventPage all;
    const std::uint32_t limit = query.events.limit;
    const std::uint64_t bytes_max = query.events.bytes_max;
    std::uint64_t bytes = 0;
    for (bool first = true;; first = false) {
        const std::int64_t began_us = clock.monotonic_us();
        query.timeout_ms = std::max<std::int64_t>((deadline_us - began_us) / 1000, 1);
        auto read = query::read_where(*reader, context.parts.queries, query);
        if (!read) {
            const bool too_much = read.error().code == Errc::deadline && !first;
            if (!too_much) return read;
            return all;
        }
        query::EventPage& page = read.value();
        for (query::Event& event : page.events) {
            bytes += event.value.size();
            all.events.push_back(std::move(event));
        }
        all.next = page.next;
        all.at_end = page.at_end;
        all.scanned += page.scanned;
        all.skipped.events += page.skipped.events;
        all.skipped.uncounted |= page.skipped.uncounted;
        const bool full = all.events.size() >= limit || bytes >= bytes_max;
        if (page.at_end || full || clock.monotonic_us() >= deadline_us || context.stopping.load()) return all;
        if (clock.monotonic_us() - began_us < step_short_us) query.scan_max = std::min(query.scan_max * 2, scan_most);
        query.events.from = query::EventQuery::From::cursor;
        query.events.cursor = page.next;
        query.events.at = page.at;
        query.events.limit = limit - static_cast<std::uint32_t>(all.events.size());
        query.events.bytes_max = bytes_max - bytes;
    }
}

}  // namespace

Answer handle_events(const RouteContext& context, const Call& call, const Parameters& parameters) {
    using From = query::EventQuery::From;
    if (auto problem = check_known(parameters, {"from", "limit", "last", "where"})) return answer_of(*problem);
    if (const Status ready = check_ready(context); !ready) return refused(ready.error());
    const auto stream = context.parts.catalog.snapshot()->stream(call.parameter);
    if (!stream) return refused({Errc::not_found, "there is no stream " + call.parameter});
    replica::ShardPort& shard = context.parts.catalog.shard_of(*stream);
    query::EventQuery query;
    query.shard_dir = shard.data_dir();
    query.stream = stream->id;
    if (const auto text = parameter(parameters, "from"); text && !text->empty()) {
        const auto from = parse_stream_from(*text);
        if (!from) return refused(from.error());
        switch (from.value().kind) {
            case TailFrom::Kind::beginning:
            case TailFrom::Kind::index:
                break;
            case TailFrom::Kind::end:
                query.from = From::end;
                break;
            case TailFrom::Kind::cursor:
                query.from = From::cursor;
                query.cursor = from.value().cursor;
                if (query.cursor.shard != shard.id())
                    return answer_of(bad_parameter("that cursor is of another shard"));
                break;
            case TailFrom::Kind::time:
                query.from = From::append_time;
                query.append_time_ms = from.value().time_ms;
                break;
        }
    }
    for (const std::string_view name : {"limit", "last"}) {
        const auto text = parameter(parameters, name);
        if (!text) continue;
        const auto value = parse_unsigned(*text, events_max);
        if (!value || *value == 0) return answer_of(bad_parameter(std::string(name) + " is a number from 1 to 10000"));
        if (name == "last") query.last = *value;
        query.limit = static_cast<std::uint32_t>(*value);
    }
    const auto where = parameter(parameters, "where");
    const bool is_filtered = where && !where->empty();
    if (is_filtered && query.last >= 0)
        return answer_of(bad_parameter("last counts all events: it does not go with where; give a from"));
    [[maybe_unused]] const bool seen = wait_visible(context, shard, call.committed, own_writes_wait_ms);
    Result<query::EventPage> page = query::EventPage();
    if (is_filtered) {
        query::WhereQuery filter;
        filter.events = query;
        filter.stream = stream->name;
        filter.where = *where;
        filter.scan_max = scan_first;
        page = read_filtered(context, std::move(filter));
        if (!page) return answer_of(sql_problem_of(page.error(), *where));
    } else {
        page = query::read_events(context.parts.disk, query);
        if (!page) return refused(page.error());
    }
    Answer answer;
    std::string& out = answer.body;
    out += "{\"events\":[";
    for (const query::Event& event : page.value().events) {
        append_comma(out);
        append_event(out, event);
    }
    out += ']';
    append_member(out, "next", page.value().next.text());
    append_flag(out, "at_end", page.value().at_end);
    if (is_filtered) append_member(out, "scanned", static_cast<std::int64_t>(page.value().scanned));
    if (const query::Skipped& skipped = page.value().skipped; skipped.any()) {
        // Behind the cursor, and gone by retention before it was read.
        out += ",\"skipped\":{\"events\":";
        if (skipped.uncounted)
            out += "null";
        else
            append_integer(out, static_cast<std::int64_t>(skipped.events));
        out += ",\"reason\":\"retention\"}";
    }
    out += "}\n";
    return answer;
}

}  // namespace weir::http
