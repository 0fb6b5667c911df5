#include "node/rows.h"

#include "node/console.h"
#include "node/detail/json.h"

#include <algorithm>

namespace weir::node {
namespace {

Error not_an_answer(const char* what) {
    return Error{Errc::corrupt, std::string("the server's answer is not a SQL result: ") + what};
}

Cell cell_of(const Json& value) {
    if (value.is_null()) return {};
    if (value.is_string()) return {Cell::Kind::text, value.get<std::string>()};
    if (value.is_number()) return {Cell::Kind::number, to_text(value)};
    return {Cell::Kind::json, to_text(value)};
}

std::string shown(const Cell& cell, int width_max) {
    if (cell.kind == Cell::Kind::null) return "NULL";
    std::string text = printable(cell.text);
    if (width_max <= 0 || display_width(text) <= width_max) return text;
    // Cut at a code point; the ellipsis takes one column.
    std::size_t end = text.size();
    while (end > 0 && display_width(std::string_view(text).substr(0, end)) > width_max - 1) {
        do {
            --end;
        } while (end > 0 && (static_cast<unsigned char>(text[end]) & 0xc0) == 0x80);
    }
    return text.substr(0, end) + "…";
}

void append_padded(std::string& out, const std::string& text, int width, bool to_the_right, bool is_last) {
    const auto gap = static_cast<std::size_t>(std::max(0, width - display_width(text)));
    if (to_the_right) out.append(gap, ' ');
    out += text;
    if (!to_the_right && !is_last) out.append(gap, ' ');
    out += is_last ? "\n" : "  ";
}

std::string csv_field(const Cell& cell) {
    if (cell.kind == Cell::Kind::null) return {};
    const bool needs_quotes =
        cell.text.find_first_of(",\"\r\n") != std::string::npos || (cell.kind == Cell::Kind::text && cell.text.empty());
    if (!needs_quotes) return cell.text;
    std::string out = "\"";
    for (const char c : cell.text) {
        if (c == '"') out += '"';
        out += c;
    }
    return out + "\"";
}

}  // namespace

Result<OutputFormat> parse_output_format(std::string_view text) {
    if (text == "table") return OutputFormat::table;
    if (text == "json") return OutputFormat::json;
    if (text == "ndjson") return OutputFormat::ndjson;
    if (text == "csv") return OutputFormat::csv;
    return Error{Errc::invalid_argument, "-o takes table, json, ndjson or csv, not \"" + printable(text) + "\""};
}

Result<RowSet> parse_sql_answer(std::string_view body) {
    const Result<Json> parsed = parse_json(body);
    if (!parsed) return not_an_answer(parsed.error().detail.c_str());
    const Json& columns = member(parsed.value(), "columns");
    const Json& rows = member(parsed.value(), "rows");
    if (!columns.is_array() || !rows.is_array()) return not_an_answer("no columns or no rows");
    RowSet out;
    for (const Json& column : columns) {
        out.names.push_back(string_of(member(column, "name")));
        out.types.push_back(string_of(member(column, "type")));
    }
    out.rows.reserve(rows.size());
    for (const Json& row : rows) {
        if (!row.is_array() || row.size() != out.names.size()) return not_an_answer("a row of another length");
        std::vector<Cell> cells;
        cells.reserve(row.size());
        for (const Json& value : row)
            cells.push_back(cell_of(value));
        out.rows.push_back(std::move(cells));
    }
    const Json& truncated = member(parsed.value(), "truncated");
    out.truncated = truncated.is_boolean() && truncated.get<bool>();
    out.applied_index = string_of(member(parsed.value(), "applied_index"));
    const Json& elapsed = member(parsed.value(), "elapsed_ms");
    if (elapsed.is_number()) out.elapsed_ms = elapsed.get<double>();
    return out;
}

std::string format_table(const RowSet& rows, int cell_width_max) {
    const std::size_t columns = rows.names.size();
    if (columns == 0) return {};
    std::vector<int> width(columns);
    std::vector<bool> to_the_right(columns, !rows.rows.empty());
    std::vector<std::vector<std::string>> cells(rows.rows.size(), std::vector<std::string>(columns));
    for (std::size_t c = 0; c < columns; ++c) {
        width[c] = display_width(printable(rows.names[c]));
        bool has_number = false;
        for (std::size_t r = 0; r < rows.rows.size(); ++r) {
            const Cell& cell = rows.rows[r][c];
            cells[r][c] = shown(cell, cell_width_max);
            width[c] = std::max(width[c], display_width(cells[r][c]));
            has_number = has_number || cell.kind == Cell::Kind::number;
            if (cell.kind != Cell::Kind::number && cell.kind != Cell::Kind::null) to_the_right[c] = false;
        }
        if (!has_number) to_the_right[c] = false;
    }
    std::string out;
    for (std::size_t c = 0; c < columns; ++c) {
        append_padded(out, printable(rows.names[c]), width[c], to_the_right[c], c + 1 == columns);
    }
    for (std::size_t c = 0; c < columns; ++c) {
        out.append(static_cast<std::size_t>(width[c]), '-');
        out += c + 1 == columns ? "\n" : "  ";
    }
    for (const std::vector<std::string>& row : cells) {
        for (std::size_t c = 0; c < columns; ++c) {
            append_padded(out, row[c], width[c], to_the_right[c], c + 1 == columns);
        }
    }
    return out;
}

std::string format_csv(const RowSet& rows) {
    if (rows.names.empty()) return {};
    std::string out;
    const std::size_t columns = rows.names.size();
    for (std::size_t c = 0; c < columns; ++c) {
        out += csv_field({Cell::Kind::text, rows.names[c]});
        out += c + 1 == columns ? '\n' : ',';
    }
    for (const std::vector<Cell>& row : rows.rows) {
        for (std::size_t c = 0; c < columns; ++c) {
            out += csv_field(row[c]);
            out += c + 1 == columns ? '\n' : ',';
        }
    }
    return out;
}

std::string format_ndjson(const RowSet& rows) {
    std::vector<std::string> keys;
    for (const std::string& name : rows.names)
        keys.push_back(to_text(Json(name)) + ":");
    std::string out;
    for (const std::vector<Cell>& row : rows.rows) {
        out += '{';
        for (std::size_t c = 0; c < row.size(); ++c) {
            if (c > 0) out += ',';
            out += keys[c];
            switch (row[c].kind) {
                case Cell::Kind::null:
                    out += "null";
                    break;
                case Cell::Kind::text:
                    out += to_text(Json(row[c].text));
                    break;
                case Cell::Kind::number:
                case Cell::Kind::json:
                    out += row[c].text;
                    break;
            }
        }
        out += "}\n";
    }
    return out;
}

std::string point_at(std::string_view text, std::int64_t position, std::int64_t first_line) {
    if (position < 0 || static_cast<std::size_t>(position) > text.size()) return {};
    const auto at = static_cast<std::size_t>(position);
    const std::size_t line_start = at == 0 ? 0 : text.rfind('\n', at - 1) + 1;  // npos + 1 == 0
    const std::size_t line_end = std::min(text.find('\n', at), text.size());
    const auto newlines_before = std::ranges::count(text.substr(0, line_start), '\n');
    // A window of the line, so that the caret stays in sight.
    constexpr std::size_t before_max = 60;
    constexpr std::size_t after_max = 40;
    const auto is_inside = [&](std::size_t i) {
        return i < text.size() && (static_cast<unsigned char>(text[i]) & 0xc0) == 0x80;
    };
    std::size_t from = at - line_start > before_max ? at - before_max : line_start;
    std::size_t to = std::min(line_end, at + after_max);
    while (is_inside(from))
        ++from;
    while (to < line_end && is_inside(to))
        ++to;
    from = std::min(from, at);
    const std::string left = (from > line_start ? "…" : "") + printable(text.substr(from, at - from));
    const std::string right = printable(text.substr(at, to - at)) + (to < line_end ? "…" : "");
    const std::string number = std::to_string(first_line + newlines_before);
    std::string out = "  " + number + " | " + left + right + "\n";
    out += "  " + std::string(number.size(), ' ') + " | " +
           std::string(static_cast<std::size_t>(display_width(left)), ' ') + "^\n";
    return out;
}

std::string sql_name(std::string_view name) {
    const bool plain = std::ranges::all_of(name, [](char c) {
        return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
    });
    if (plain) return std::string(name);
    std::string out = "\"";
    for (const char c : name)
        out += c == '"' ? std::string("\"\"") : std::string(1, c);
    return out + "\"";
}

}  // namespace weir::node
