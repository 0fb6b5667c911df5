// User SQL to what SQLite runs: names with '.' or '-' are quoted, `sys.x` becomes one name, a TIMESTAMP column that is
// compared with a text literal or parameter is compared in time.
#pragma once

#include "base/result.h"
#include "record/schema.h"
#include "sql/statement.h"

#include <functional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace weir::sql {

// What the catalog knows of a name: its columns and their types ("TIMESTAMP", ...). Empty: no such table.
struct TableShape {
    std::string name;
    std::vector<std::pair<std::string, std::string>> columns;  // name, type; hidden ones too
};

// A stream's columns and the hidden ones behind them; a view's columns with the types that its statement tells (""
// where an expression's type is only known row by row).
TableShape stream_shape(const std::string& name, const record::Schema& schema);
TableShape view_shape(const CreateView& view, const record::Schema& schema);

struct RewrittenQuery {
    std::string sql;
    // Catalog names that the text mentions (streams, views, sys.x), as the catalog writes them; each once.
    std::vector<std::string> tables;
    // Per result column where the text tells (min(ts) -> "TIMESTAMP"), else ""; may be shorter than the result.
    std::vector<std::string> column_types;
    // Maps a byte position of `sql` back to the user's text, for error messages.
    std::vector<std::pair<std::size_t, std::size_t>> positions;
    std::size_t user_position(std::size_t rewritten) const;
};

// `find` looks a name up in the catalog (exact, then case-insensitive); what it returns must stay until it is called
// again. Errors: invalid_argument (unbalanced quotes, not one statement, not a read, a TIMESTAMP compared with what is
// no time), unsupported (a window outside of a view), too_large.
Result<RewrittenQuery> rewrite_query(std::string_view text,
                                     const std::function<const TableShape*(std::string_view name)>& find);

// The same for an expression over one table's columns (view WHERE, aggregate arguments, CHECK).
Result<std::string> rewrite_expression(std::string_view text, const TableShape& shape);

}  // namespace weir::sql
