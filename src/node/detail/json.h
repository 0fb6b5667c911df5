// nlohmann/json behind a depth limit: its parser and destructor recurse, so deep nesting from a peer would end the
// process. Private to the room: keeps the library out of the headers that others include.
#pragma once

#include "base/limits.h"
#include "base/result.h"

#include <nlohmann/json.hpp>

#include <cstdint>
#include <string>
#include <string_view>

namespace weir::node {

using Json = nlohmann::ordered_json;

// Errors: invalid_argument (not JSON, or deeper than limits::json_depth_max).
inline Result<Json> parse_json(std::string_view text) {
    std::size_t depth = 0;
    bool in_string = false;
    for (std::size_t i = 0; i < text.size(); ++i) {
        const char c = text[i];
        if (in_string) {
            if (c == '\\') ++i;
            if (c == '"') in_string = false;
        } else if (c == '"') {
            in_string = true;
        } else if (c == '{' || c == '[') {
            if (++depth > limits::json_depth_max) return Error{Errc::invalid_argument, "JSON is nested too deep"};
        } else if ((c == '}' || c == ']') && depth > 0) {
            --depth;
        }
    }
    Json value = Json::parse(text.begin(), text.end(), nullptr, false);
    if (value.is_discarded()) return Error{Errc::invalid_argument, "not JSON"};
    return value;
}

inline std::string to_text(const Json& value, int indent = -1) {
    return value.dump(indent, ' ', false, Json::error_handler_t::replace);
}

// A member, or null where the value is no object or has none.
inline const Json& member(const Json& value, const char* name) {
    static const Json absent;
    if (!value.is_object()) return absent;
    const auto found = value.find(name);
    return found == value.end() ? absent : *found;
}

inline std::int64_t integer_of(const Json& value, std::int64_t otherwise = 0) {
    return value.is_number_integer() ? value.get<std::int64_t>() : otherwise;
}

inline std::string string_of(const Json& value) {
    return value.is_string() ? value.get<std::string>() : std::string();
}

}  // namespace weir::node
