// CREATE STREAM and CREATE MATERIALIZED VIEW behind their first words. Private to sql/.
#pragma once

#include "base/result.h"
#include "sql/detail/cursor.h"
#include "sql/statement.h"

namespace weir::sql {

// The cursor stands behind STREAM. Leaves it at what follows the statement.
Result<CreateStream> parse_create_stream(Cursor& cursor);
// The cursor stands behind ALTER STREAM.
Result<AlterStream> parse_alter_stream(Cursor& cursor);
// A column as CREATE STREAM has it; `if_not_exists` and `position` are the caller's.
Result<AlterStream::NewColumn> parse_column(Cursor& cursor);
// '50GB' behind MAX.
Result<std::int64_t> parse_size(Cursor& cursor);
// The cursor stands behind VIEW.
Result<CreateView> parse_create_view(Cursor& cursor);

// [IF NOT EXISTS] name, checked by check_name.
Status parse_new_name(Cursor& cursor, std::string_view what, std::string& name, bool& if_not_exists);

// The path that a column has when it names none, and its text: $.name, quoted where the name is no plain word.
record::PathStep default_path_step(std::string_view column);
std::string default_path_text(std::string_view column);

}  // namespace weir::sql
