// What Content-Type and Content-Encoding say (RFC 9110, 8.3 and 8.4). Pure functions; any thread.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace weir::http {

// Without spaces and tabs at both ends.
std::string_view trimmed(std::string_view text);
// Equal but for the case of ASCII letters.
bool same_text(std::string_view a, std::string_view b);
bool starts_with_text(std::string_view text, std::string_view prefix);  // likewise

struct MediaType {
    std::string_view name;  // "Application/JSON", as sent; into the field. Empty: there is none
    std::string charset;    // of the parameter, without quotes; empty: there is none
};
MediaType media_type_of(std::string_view field);

// Whether bytes of this charset can be taken as UTF-8: none is named, or one that is UTF-8 or a part of it.
bool is_utf8_charset(std::string_view charset);
// The type says JSON: */json or */*+json.
bool is_json_type(std::string_view name);
// The type says text: text/*, XML, forms, lines of JSON, scripts.
bool is_text_type(std::string_view name);

enum class Coding : std::uint8_t { identity, gzip, zstd };
constexpr std::string_view codings_taken = "gzip, zstd";
// The one coding of a field's list, where `identity` and empty elements count for nothing. nullopt: another coding, or
// two: nothing is inflated twice here.
std::optional<Coding> coding_of(std::string_view field);

}  // namespace weir::http
