// Aggregate calls in a view's SELECT list and HAVING. Private to sql/.
#pragma once

#include "base/result.h"
#include "sql/detail/cursor.h"
#include "sql/statement.h"

#include <cstddef>
#include <optional>
#include <string>

namespace weir::sql {

struct AggregateCall {
    AggregateKind kind = AggregateKind::count_star;
    TokenSpan argument;    // empty of count(*)
    std::size_t last = 0;  // behind its ')'

    // Equal for calls that mean the same.
    std::string key(const Cursor& cursor) const {
        return std::to_string(static_cast<int>(kind)) + cursor.key(argument);
    }
};

// The aggregate call whose name is token `at`; nullopt: it is none (min(a, b) is the smaller of two values of a row).
// Errors: invalid_argument and unsupported, about what stands in its parentheses.
Result<std::optional<AggregateCall>> aggregate_at(const Cursor& cursor, std::size_t at);

// Where no aggregate may stand.
Status refuse_aggregates(const Cursor& cursor, TokenSpan span);

// The ')' of the '(' at token `open`, or the end.
std::size_t closing_of(const Cursor& cursor, std::size_t open);

// "count, sum, min, max, avg, first and last", for messages.
std::string_view aggregate_names();

}  // namespace weir::sql
