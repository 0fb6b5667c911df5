#include "http/detail/media_type.h"

#include <algorithm>
#include <array>

namespace weir::http {
namespace {

char lower(char c) {
    return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c;
}

bool ends_with_text(std::string_view text, std::string_view suffix) {
    return text.size() >= suffix.size() && same_text(text.substr(text.size() - suffix.size()), suffix);
}

// Takes a parameter's value off the front of `rest`: a token, or a quoted string without its quotes and backslashes.
std::string take_value(std::string_view& rest) {
    std::string value;
    if (!rest.starts_with('"')) {
        const std::string_view token = rest.substr(0, rest.find(';'));
        rest.remove_prefix(token.size());
        return std::string(trimmed(token));
    }
    rest.remove_prefix(1);
    while (!rest.empty() && rest[0] != '"') {
        if (rest[0] == '\\' && rest.size() > 1) rest.remove_prefix(1);
        value += rest[0];
        rest.remove_prefix(1);
    }
    rest.remove_prefix(std::min(rest.find(';'), rest.size()));
    return value;
}

}  // namespace

std::string_view trimmed(std::string_view text) {
    while (!text.empty() && (text.front() == ' ' || text.front() == '\t'))
        text.remove_prefix(1);
    while (!text.empty() && (text.back() == ' ' || text.back() == '\t'))
        text.remove_suffix(1);
    return text;
}

bool same_text(std::string_view a, std::string_view b) {
    return std::equal(a.begin(), a.end(), b.begin(), b.end(), [](char x, char y) { return lower(x) == lower(y); });
}

bool starts_with_text(std::string_view text, std::string_view prefix) {
    return same_text(text.substr(0, prefix.size()), prefix);
}

MediaType media_type_of(std::string_view field) {
    MediaType type;
    std::string_view rest = field;
    const std::string_view name = rest.substr(0, rest.find(';'));
    type.name = trimmed(name);
    rest.remove_prefix(name.size());
    while (rest.starts_with(';')) {
        rest.remove_prefix(1);
        const std::size_t end = rest.find_first_of("=;");
        if (end == std::string_view::npos || rest[end] == ';') {  // a parameter without a value
            rest.remove_prefix(std::min(end, rest.size()));
            continue;
        }
        const std::string_view parameter = trimmed(rest.substr(0, end));
        rest = trimmed(rest.substr(end + 1));
        std::string value = take_value(rest);
        if (type.charset.empty() && same_text(parameter, "charset")) type.charset = std::move(value);
    }
    return type;
}

bool is_utf8_charset(std::string_view charset) {
    return charset.empty() || same_text(charset, "utf-8") || same_text(charset, "utf8") ||
           same_text(charset, "us-ascii");
}

bool is_json_type(std::string_view name) {
    const std::size_t slash = name.find('/');
    if (slash == std::string_view::npos) return false;
    return same_text(name.substr(slash + 1), "json") || ends_with_text(name, "+json");
}

bool is_text_type(std::string_view name) {
    constexpr std::array<std::string_view, 9> others{
        "application/xml",   "application/x-www-form-urlencoded", "application/x-ndjson", "application/ndjson",
        "application/jsonl", "application/stream+json",           "application/yaml",     "application/javascript",
        "application/sql",
    };
    return starts_with_text(name, "text/") || ends_with_text(name, "+xml") ||
           std::any_of(others.begin(), others.end(), [name](std::string_view other) { return same_text(name, other); });
}

std::optional<Coding> coding_of(std::string_view field) {
    Coding coding = Coding::identity;
    while (!field.empty()) {
        const std::size_t comma = std::min(field.find(','), field.size());
        const std::string_view element = trimmed(field.substr(0, comma));
        field.remove_prefix(std::min(comma + 1, field.size()));
        if (element.empty() || same_text(element, "identity")) continue;
        if (coding != Coding::identity) return std::nullopt;
        if (same_text(element, "gzip") || same_text(element, "x-gzip"))
            coding = Coding::gzip;
        else if (same_text(element, "zstd"))
            coding = Coding::zstd;
        else
            return std::nullopt;
    }
    return coding;
}

}  // namespace weir::http
