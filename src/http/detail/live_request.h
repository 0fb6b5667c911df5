// What a client asks of the live door: by the URL of a tail, or by a message on /v1/ws.
//
// Messages are JSON objects in text frames. A client says
//   {"op":"sub","id":N,"topic":"streams/NAME","from":FROM,"where":SQL,"credit":N}      events of a stream
//   {"op":"sub","id":N,"topic":"views/NAME","from":FROM,"credit":N}                    rows of a view
//   {"op":"sub","id":N,"topic":"metrics","series":[NAME,...],"credit":N}               a point a second
//   {"op":"credit","id":N,"n":N}      that many more events, rows or points may come
//   {"op":"unsub","id":N}
// and hears
//   {"op":"subscribed","id":N,...}    from here on: "cursor" of a stream, "columns" of a view, "series" of metrics
//   {"op":"events","id":N,"events":[EVENT,...],"next":CURSOR,"scanned":N,"at_end":BOOL}
//                                     "next" is where a new subscription goes on; "scanned" counts those that `where`
//                                     left out too; "at_end": there is no more for now
//   {"op":"rows","id":N,"rows":[{"key":K,"row":{..}|null},...],"phase":"snapshot"|"changes","index":"0:17"}
//   {"op":"resync","id":N}            more changed than was kept: all rows come again
//   {"op":"point","id":N,"time":MS,"values":[..]}
//   {"op":"skipped","id":N,"events":N|null,"reason":"retention","from":CURSOR}      null: it cannot be said how many
//   {"op":"end","id":N,"code":CODE,"detail":TEXT,"cursor":CURSOR}                   nothing more comes of it
//   {"op":"error","id":N,"code":CODE,"detail":TEXT}                                 a message that made no sense
// EVENT is as in GET /v1/streams/{s}/events. Without "credit" a subscription begins with 1,000.
#pragma once

#include "base/result.h"
#include "query/events.h"

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace weir::http {

inline constexpr std::size_t ws_message_bytes_max = 64 * 1024;
inline constexpr std::int64_t credit_default = 1'000;
inline constexpr std::int64_t credit_max = 1'000'000'000;

// Where a tail begins.
struct TailFrom {
    enum class Kind : std::uint8_t { beginning, end, cursor, time, index } kind = Kind::end;
    query::Cursor cursor;      // cursor; of an index (views) only shard and index
    std::int64_t time_ms = 0;  // append time
};
// "beginning", "end", a cursor, an RFC 3339 time; empty: end. Errors: invalid_argument.
Result<TailFrom> parse_stream_from(std::string_view text);
// "beginning" (all rows, then changes), "end" (changes), an index as `id` gave it; empty: beginning.
Result<TailFrom> parse_view_from(std::string_view text);

enum class Topic : std::uint8_t { stream, view, metrics };

struct Subscribe {
    Topic topic = Topic::stream;
    std::string name;  // of the stream or view
    TailFrom from;
    std::string where;                // "" everything
    std::vector<std::string> series;  // of metrics; none: all
    std::int64_t credit = credit_default;
};

struct WsRequest {
    enum class Op : std::uint8_t { subscribe, unsubscribe, credit } op = Op::subscribe;
    std::uint64_t id = 0;  // the client's; below 2^53
    Subscribe subscribe;
    std::int64_t credit = 0;
};
// `id` is set as far as it could be read, to answer to. Errors: invalid_argument.
Result<WsRequest> parse_ws_request(std::string_view text, std::uint64_t& id);

}  // namespace weir::http
