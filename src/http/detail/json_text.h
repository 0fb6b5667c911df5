// The pieces of JSON and CSV that answers are written with: append-only, no DOM, always valid UTF-8 on the way out.
// Pure functions; any thread.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace weir::http {

// A quoted JSON string. Control bytes are escaped; what is not UTF-8 becomes U+FFFD, one a bad byte.
void append_json_string(std::string& out, std::string_view text);
void append_integer(std::string& out, std::int64_t value);
// Shortest text that reads back as the same double, with a '.' or an exponent so that it stays a REAL; infinities and
// NaN, which JSON cannot say, are null.
void append_json_real(std::string& out, double value);
void append_base64(std::string& out, std::string_view bytes);
// A comma, unless the object or list that `out` ends in has just begun.
void append_comma(std::string& out);
// Members of the object that `out` ends in, with the comma before them. Names are written as they are.
void append_name(std::string& out, std::string_view name);  // "name":, the value is for the caller to append
void append_member(std::string& out, std::string_view name, std::string_view text);
void append_member(std::string& out, std::string_view name, std::int64_t number);
void append_flag(std::string& out, std::string_view name, bool flag);
// Whether `text` is exactly one JSON value (RFC 8259), nested at most 512 deep. Strings are checked for escapes and
// control bytes, not for UTF-8. Iterative.
bool is_json(std::string_view text);
// Whether `text` nests no deeper than limits::json_depth_max, for parsers that recurse on nesting (nlohmann's).
bool is_shallow_json(std::string_view text);

}  // namespace weir::http
