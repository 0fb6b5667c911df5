// What the names in HAVING mean: GROUP BY terms, items of the SELECT list, aggregates. Private to sql/.
#pragma once

#include "base/result.h"
#include "sql/detail/cursor.h"
#include "sql/statement.h"

#include <functional>
#include <string>
#include <vector>

namespace weir::sql {

struct HavingNames {
    // Cursor::key of each of the view's keys, and AggregateCall::key of each of the items' aggregates, in their order.
    std::vector<std::string> keys;
    std::vector<std::string> aggregates;
    // Adds a bound of the window to the view's keys; its index.
    std::function<int(TokenSpan span)> add_bound;
};

// Fills view.having and view.having_aggregates. A GROUP BY term goes before an item's name, as everywhere in a view.
// Errors: invalid_argument, unsupported.
Status resolve_having(const Cursor& cursor, TokenSpan span, HavingNames names, CreateView& view);

}  // namespace weir::sql
