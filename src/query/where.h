// Events that satisfy a SQL expression: `where=` of events and tails. The expression is the user's, so it runs where
// user SQL runs, in a worker process: it means what it means in SELECT, and costs its own process and nothing else.
// Here stands what surrounds it: which offsets of which partitions, cut so that one query is short.
#pragma once

#include "base/result.h"
#include "query/events.h"
#include "query/pool.h"

#include <cstdint>
#include <string>
#include <string_view>

namespace weir::query {

constexpr std::size_t where_bytes_max = 4096;  // longer: too_large

struct WhereQuery {
    EventQuery events;   // `events.limit` is how many may satisfy it
    std::string stream;  // the name that the expression knows the stream by
    std::string where;
    std::uint32_t scan_max = 4096;  // events that are looked at; at most 65,536
    std::int64_t timeout_ms = 1000;
    std::int64_t now_ms = 0;  // what now() means
};

// That it is one expression over the stream's columns and nothing more. Errors: invalid_argument with the position,
// not_found (a column, with its position), forbidden (a subquery), too_large, and what Pool::run answers.
Status check_where(Pool& pool, const WhereQuery& query);

// The page that begins where `query.events` says: what was looked at and satisfies the expression. `next` stands behind
// what was looked at, so a page may be empty and not at the end. Errors: of EventReader and Pool::run; `deadline`: less
// at once may do.
Result<EventPage> read_where(EventReader& reader, Pool& pool, const WhereQuery& query);

}  // namespace weir::query
