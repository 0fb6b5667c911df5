#include "http/detail/sql_request.h"

#include "http/detail/json_text.h"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <array>
#include <limits>

namespace weir::http {
namespace {

using Json = nlohmann::json;

constexpr std::int64_t timeout_ms_max = 24LL * 3'600'000;  // keeps sums of times far from overflow
constexpr std::size_t parameters_max = 1000;

Error bad(std::string detail) {
    return {Errc::invalid_argument, std::move(detail)};
}

Result<query::OwnedValue> parameter_of(const Json& value) {
    query::OwnedValue out;
    switch (value.type()) {
        case Json::value_t::null:
            return out;
        case Json::value_t::boolean:
            out.type = store::ValueType::integer;
            out.integer = value.get<bool>() ? 1 : 0;
            return out;
        case Json::value_t::number_unsigned:
            if (value.get<std::uint64_t>() > static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max()))
                return bad("a parameter is an integer beyond 64 bits");
            [[fallthrough]];
        case Json::value_t::number_integer:
            out.type = store::ValueType::integer;
            out.integer = value.get<std::int64_t>();
            return out;
        case Json::value_t::number_float:
            out.type = store::ValueType::real;
            out.real = value.get<double>();
            return out;
        case Json::value_t::string:
            out.type = store::ValueType::text;
            out.text = value.get_ref<const std::string&>();
            return out;
        case Json::value_t::object:
        case Json::value_t::array:
        case Json::value_t::binary:
        case Json::value_t::discarded:
            break;
    }
    return bad("params holds numbers, strings, booleans and null only");
}

// A positive JSON integer.
Result<std::int64_t> positive(const Json& value, const std::string& name, std::int64_t max) {
    if (!value.is_number_unsigned() || value.get<std::uint64_t>() == 0)
        return bad(name + " must be a positive integer");
    return static_cast<std::int64_t>(
        std::min<std::uint64_t>(value.get<std::uint64_t>(), static_cast<std::uint64_t>(max)));
}

Result<std::int64_t> positive(std::string_view text, const std::string& name, std::int64_t max) {
    const auto value = parse_unsigned(text, std::numeric_limits<std::int64_t>::max());
    if (!value || *value == 0) return bad(name + " must be a positive integer");
    return std::min(*value, max);
}

Status read_json(std::string_view body, SqlRequest& out) {
    if (!is_shallow_json(body)) return bad("the JSON is nested deeper than 64");
    const Json json = Json::parse(body, nullptr, false);
    if (json.is_discarded())
        return bad("the body is not valid JSON; to send a plain statement use Content-Type: text/plain");
    if (!json.is_object()) return bad("the body must be an object: {\"query\": \"SELECT ...\"}");
    bool has_query = false;
    for (const auto& [name, value] : json.items()) {
        if (name == "query") {
            if (!value.is_string()) return bad("query must be a string");
            out.statement = value.get_ref<const std::string&>();
            has_query = true;
        } else if (name == "params") {
            if (!value.is_array() || value.size() > parameters_max)
                return bad("params must be an array of at most 1000 values");
            for (const Json& p : value)
                out.parameters.push_back(TRY(parameter_of(p)));
        } else if (name == "min_index") {
            if (!value.is_string()) return bad("min_index must be a string: \"0:17\"");
            out.min_index = TRY(parse_min_index(value.get_ref<const std::string&>()));
        } else if (name == "timeout_ms") {
            out.timeout_ms = TRY(positive(value, name, timeout_ms_max));
        } else if (name == "max_rows") {
            out.rows_max = TRY(positive(value, name, std::numeric_limits<std::int64_t>::max()));
        } else {
            return bad("unknown member " + name.substr(0, 100) +
                       "; known are query, params, min_index, timeout_ms, max_rows");
        }
    }
    if (!has_query) return bad("member query is missing");
    return {};
}

}  // namespace

Result<SqlRequest> read_sql_request(std::string_view content_type, std::string_view body, const Parameters& url) {
    SqlRequest out;
    std::string type(content_type.substr(0, content_type.find(';')));
    while (!type.empty() && type.back() == ' ')
        type.pop_back();
    std::transform(type.begin(), type.end(), type.begin(),
                   [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; });
    const bool is_json = type == "application/json";
    constexpr std::array<std::string_view, 5> plain{"", "text/plain", "application/x-www-form-urlencoded",
                                                    "application/sql", "application/octet-stream"};
    if (is_json) {
        TRY(read_json(body, out));
    } else if (std::find(plain.begin(), plain.end(), type) != plain.end()) {
        out.statement = body;
    } else {
        return Error{Errc::unsupported, "Content-Type " + type.substr(0, 100) +
                                            "; this route takes the statement as text/plain, or application/json"};
    }
    for (const auto& [name, value] : url) {
        if (name == "format") {
            const auto format = result_format(value);
            if (!format) return bad("unknown format; known are ndjson, csv, JSON, JSONEachRow, CSVWithNames");
            out.format = *format;
        } else if (name == "min_index" && !is_json) {
            out.min_index = TRY(parse_min_index(value));
        } else if (name == "timeout_ms" && !is_json) {
            out.timeout_ms = TRY(positive(std::string_view(value), name, timeout_ms_max));
        } else if (name == "max_rows" && !is_json) {
            out.rows_max = TRY(positive(std::string_view(value), name, std::numeric_limits<std::int64_t>::max()));
        } else {
            return bad("unknown parameter " + name.substr(0, 100));
        }
    }
    if (out.statement.size() > limits::sql_bytes_max)
        return Error{Errc::too_large, "a statement has at most " + std::to_string(limits::sql_bytes_max) + " bytes"};
    return out;
}

}  // namespace weir::http
