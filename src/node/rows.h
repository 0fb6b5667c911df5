// A SQL answer's rows, and how they are shown: a table for people, JSON, NDJSON or CSV for programs.
#pragma once

#include "base/result.h"

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace weir::node {

enum class OutputFormat : std::uint8_t { table, json, ndjson, csv };
// Errors: invalid_argument, lists the formats.
Result<OutputFormat> parse_output_format(std::string_view text);

struct Cell {
    enum class Kind : std::uint8_t { null, number, text, json } kind = Kind::null;
    std::string text;  // json: the token (true, false, [..], {..}); text: unescaped
};

struct RowSet {
    std::vector<std::string> names;
    std::vector<std::string> types;
    std::vector<std::vector<Cell>> rows;  // each as long as names
    bool truncated = false;
    std::string applied_index;
    double elapsed_ms = 0;
};

// The body of POST /v1/sql. Errors: corrupt (not what the server promises).
Result<RowSet> parse_sql_answer(std::string_view body);

// Columns aligned, numbers to the right, control bytes escaped; cells wider than `cell_width_max` end in "…" (0:
// never cut).
std::string format_table(const RowSet& rows, int cell_width_max);
// RFC 4180 with LF: a header, then the rows. NULL is empty, an empty text is "".
std::string format_csv(const RowSet& rows);
// One object a line, keys = column names.
std::string format_ndjson(const RowSet& rows);

// A name as SQL wants it: in double quotes where it has more than letters, digits and '_'.
std::string sql_name(std::string_view name);

// The line of `text` that holds byte `position`, and a caret below it. "" where the position lies outside.
// `first_line`: number of the text's first line.
std::string point_at(std::string_view text, std::int64_t position, std::int64_t first_line);

}  // namespace weir::node
