#include "http/detail/result_writer.h"

#include "base/check.h"
#include "http/detail/json_text.h"
#include "record/time.h"

#include <array>
#include <cstdio>

namespace weir::http {
namespace {

void append_csv_text(std::string& out, std::string_view text) {
    const bool plain = !text.empty() && text.find_first_of(",\"\r\n") == std::string_view::npos &&
                       text.front() != ' ' && text.back() != ' ';
    if (plain) {
        out += text;
        return;
    }
    out += '"';
    for (const char c : text) {
        if (c == '"') out += '"';
        out += c;
    }
    out += '"';
}

// What the two notations have alike; `quote` goes around what JSON has only strings for.
void append_scalar(std::string& out, std::string_view type, const store::Value& value, std::string_view quote) {
    switch (value.type) {
        case store::ValueType::integer:
            if (type == "TIMESTAMP") {
                out += quote;
                out += record::format_rfc3339(value.integer);
                out += quote;
            } else if (type == "BOOLEAN" && (value.integer == 0 || value.integer == 1)) {
                out += value.integer != 0 ? "true" : "false";
            } else {
                append_integer(out, value.integer);
            }
            return;
        case store::ValueType::real:
            append_json_real(out, value.real);
            return;
        case store::ValueType::blob:
            out += quote;
            append_base64(out, value.text);
            out += quote;
            return;
        case store::ValueType::null:
        case store::ValueType::text:
            CHECK(false);  // each notation has its own
    }
}

void append_csv_value(std::string& out, std::string_view type, const store::Value& value) {
    if (value.type == store::ValueType::null) return;
    if (value.type == store::ValueType::text)
        append_csv_text(out, value.text);
    else
        append_scalar(out, type, value, "");
}

void append_ms(std::string& out, double ms) {
    std::array<char, 48> text;
    const int n = std::snprintf(text.data(), text.size(), "%.3f", ms);
    if (n > 0) out.append(text.data(), static_cast<std::size_t>(n));
}

}  // namespace

std::optional<ResultFormat> result_format(std::string_view name) {
    if (name.empty()) return ResultFormat::rows;
    if (name == "ndjson" || name == "JSONEachRow") return ResultFormat::ndjson;
    if (name == "csv" || name == "CSVWithNames") return ResultFormat::csv;
    if (name == "JSON") return ResultFormat::json_objects;
    return std::nullopt;
}

std::string_view content_type_of(ResultFormat format) {
    switch (format) {
        case ResultFormat::rows:
        case ResultFormat::json_objects:
            return "application/json";
        case ResultFormat::ndjson:
            return "application/x-ndjson";
        case ResultFormat::csv:
            return "text/csv; charset=utf-8; header=present";
    }
    return "application/json";
}

void append_json_value(std::string& out, std::string_view type, const store::Value& value) {
    if (value.type == store::ValueType::null) {
        out += "null";
    } else if (value.type != store::ValueType::text) {
        append_scalar(out, type, value, "\"");
    } else if (type == "JSON" && is_json(value.text)) {
        // One row must stay one line in NDJSON: whitespace between tokens may hold line ends, strings may not.
        for (const char c : value.text)
            out += c == '\n' || c == '\r' ? ' ' : c;
    } else {
        append_json_string(out, value.text);
    }
}

void append_columns(std::string& out, const std::vector<query::QueryColumn>& columns) {
    out += '[';
    for (const query::QueryColumn& column : columns) {
        append_comma(out);
        out += '{';
        append_member(out, "name", column.name);
        append_member(out, "type", column.type);
        out += '}';
    }
    out += ']';
}

void ResultWriter::columns(const std::vector<query::QueryColumn>& columns, std::string& out) {
    CHECK(!began_);
    began_ = true;
    for (const auto& column : columns) {
        types_.push_back(column.type);
        std::string key;
        append_json_string(key, column.name);
        keys_.push_back(key + ':');
    }
    switch (format_) {
        case ResultFormat::rows:
            out += "{\"columns\":";
            append_columns(out, columns);
            out += ",\"rows\":[";
            break;
        case ResultFormat::json_objects:
            out += "{\"meta\":";
            append_columns(out, columns);
            out += ",\"data\":[";
            break;
        case ResultFormat::csv:
            for (std::size_t i = 0; i < columns.size(); ++i) {
                if (i > 0) out += ',';
                append_csv_text(out, columns[i].name);
            }
            if (!columns.empty()) out += '\n';
            break;
        case ResultFormat::ndjson:
            break;
    }
}

void ResultWriter::object(const std::vector<store::Value>& values, std::string& out) {
    out += '{';
    for (std::size_t i = 0; i < values.size(); ++i) {
        if (i > 0) out += ',';
        out += keys_[i];
        append_json_value(out, types_[i], values[i]);
    }
    out += '}';
}

void ResultWriter::row(const std::vector<store::Value>& values, std::string& out) {
    CHECK(values.size() == types_.size());
    switch (format_) {
        case ResultFormat::rows:
            out += rows_ == 0 ? "[" : ",[";
            for (std::size_t i = 0; i < values.size(); ++i) {
                if (i > 0) out += ',';
                append_json_value(out, types_[i], values[i]);
            }
            out += ']';
            break;
        case ResultFormat::json_objects:
            if (rows_ > 0) out += ',';
            object(values, out);
            break;
        case ResultFormat::ndjson:
            object(values, out);
            out += '\n';
            break;
        case ResultFormat::csv:
            for (std::size_t i = 0; i < values.size(); ++i) {
                if (i > 0) out += ',';
                append_csv_value(out, types_[i], values[i]);
            }
            // A row of one NULL would be an empty line, which readers skip.
            if (values.size() == 1 && values[0].type == store::ValueType::null) out += "\"\"";
            out += '\n';
            break;
    }
    ++rows_;
}

void ResultWriter::end(const ResultEnd& end, std::string& out) {
    if (!began_) columns({}, out);
    if (format_ == ResultFormat::ndjson || format_ == ResultFormat::csv) return;
    out += ']';
    if (format_ == ResultFormat::json_objects) append_member(out, "rows", rows_);
    append_flag(out, "truncated", end.truncated);
    append_member(out, "applied_index", end.applied_index);
    if (format_ == ResultFormat::rows) {
        out += ",\"elapsed_ms\":";
        append_ms(out, end.elapsed_ms);
    } else {
        out += ",\"statistics\":{\"elapsed\":";
        append_ms(out, end.elapsed_ms / 1000);
        out += '}';
    }
    out += "}\n";
}

}  // namespace weir::http
