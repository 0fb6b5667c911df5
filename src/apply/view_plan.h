// From the text of CREATE MATERIALIZED VIEW to what the operator and the tables need.
#pragma once

#include "base/result.h"
#include "record/stream.h"
#include "sql/rewrite.h"
#include "sql/statement.h"
#include "stream/tumble.h"

#include <string>
#include <vector>

namespace weir::apply {

// One column of the view, in the SELECT list's order.
struct ViewColumn {
    std::string name;
    std::string type;      // "TIMESTAMP", "INTEGER" ...; "" when an expression decides a row at a time
    std::size_t slot = 0;  // in the operator's row: keys first, then aggregates
};

struct ViewPlan {
    stream::TumblePlan tumble;
    std::vector<ViewColumn> columns;
    bool row_per_group = true;  // each group has its row at once and for ever: no HAVING, no FINAL, no EVERY
};

// Errors: invalid_argument (no such column, an expression that does not compile), forbidden (not deterministic).
Result<ViewPlan> plan_view(const record::Stream& stream, const sql::CreateView& statement);

// Columns and types of a stream as SQL sees them, hidden ones included.
sql::TableShape stream_shape(const record::Stream& stream);

}  // namespace weir::apply
