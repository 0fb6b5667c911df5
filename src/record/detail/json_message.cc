#include "record/detail/json_message.h"

#include "base/limits.h"
#include "record/time.h"

namespace weir::record::detail {
namespace {

constexpr std::size_t shown_value_bytes_max = 80;

std::string cut(std::string message) {
    message.resize(cut_utf8(message, limits::dead_letter_message_bytes_max).size());
    return message;
}

std::string where(const Column& column) {
    return column.path_text.empty() ? "$." + column.name : column.path_text;
}

std::string shown(std::string_view raw) {
    if (raw.size() <= shown_value_bytes_max) return std::string(raw);
    return std::string(cut_utf8(raw, shown_value_bytes_max)) + "...";
}

std::string what_is_there(const Token& token) {
    switch (token.kind) {
        case Kind::absent:
            return "nothing";
        case Kind::object:
            return "an object";
        case Kind::array:
            return "an array";
        case Kind::null:
        case Kind::text:
        case Kind::integer:
        case Kind::real:
        case Kind::yes:
        case Kind::no:
            break;
    }
    return shown(token.raw());
}

std::string_view absent_or_null(const Token& token) {
    return token.kind == Kind::null ? "null" : "absent";
}

std::string_view fault_text(Fault fault) {
    switch (fault) {
        case Fault::none:
            break;
        case Fault::value_expected:
            return "expected a value";
        case Fault::key_expected:
            return "expected a member name in double quotes";
        case Fault::colon_expected:
            return "expected ':' behind a member name";
        case Fault::comma_or_brace_expected:
            return "expected ',' or '}'";
        case Fault::comma_or_bracket_expected:
            return "expected ',' or ']'";
        case Fault::bad_literal:
            return "expected true, false or null";
        case Fault::bad_number:
            return "expected a digit";
        case Fault::control_character:
            return "a control character in a string must be escaped";
        case Fault::bad_escape:
            return "an escape that JSON does not have";
        case Fault::lone_surrogate:
            return "half of a surrogate pair";
        case Fault::unclosed_string:
            return "a string is not closed";
        case Fault::text_behind:
            return "there is more behind the value";
        case Fault::bad_utf8:
            return "not UTF-8";
        case Fault::too_deep:
            return "nested too deeply";
    }
    return "not JSON";
}

// What stands at a place, so that it can be shown whatever it is.
std::string got(std::string_view text, const char* at) {
    if (at >= text.data() + text.size()) return "the end";
    const unsigned char c = static_cast<unsigned char>(*at);
    if (c > ' ' && c < 0x7f) return std::string("'") + *at + "'";
    constexpr std::string_view digits = "0123456789abcdef";
    return std::string("byte 0x") + digits[c >> 4] + digits[c & 15];
}

}  // namespace

std::string_view cut_utf8(std::string_view text, std::size_t bytes) {
    if (text.size() <= bytes) return text;
    while (bytes > 0 && (static_cast<unsigned char>(text[bytes]) & 0xC0) == 0x80)
        --bytes;
    return text.substr(0, bytes);
}

std::string fault_message(Fault fault, std::string_view text, const char* at) {
    std::string message = "byte " + std::to_string(at - text.data()) + ": ";
    message += fault_text(fault);
    if (fault == Fault::too_deep) return message + ", at most " + std::to_string(limits::json_depth_max) + " levels";
    return message + ", got " + got(text, at);
}

std::string too_large_message(std::size_t bytes) {
    return "the event has " + std::to_string(bytes) + " bytes, at most " + std::to_string(limits::event_bytes_max) +
           " are taken";
}

std::string not_an_object_message(const Token& token) {
    return cut("expected a JSON object, got " + what_is_there(token));
}

std::string missing_attribute_message(std::string_view name, const Token& token) {
    return cut("$." + std::string(name) + ": a CloudEvent needs it as a string that is not empty, got " +
               what_is_there(token));
}

std::string other_version_message(const Token& version) {
    return cut("$.specversion: this server reads CloudEvents 1.0, got " + what_is_there(version));
}

std::string missing_key_message(const Column& column, const Token& token) {
    return cut(where(column) + ": a column of the DEDUP KEY is " + std::string(absent_or_null(token)));
}

std::string event_time_message(const Column& column, const Token& token, Read read) {
    if (read == Read::null) return cut(where(column) + ": the EVENT TIME is " + std::string(absent_or_null(token)));
    return wrong_type_message(column, token, read);
}

std::string future_message(const Column& column, std::int64_t time_ms, std::int64_t now_ms,
                           std::int64_t max_future_ms) {
    return cut(where(column) + ": " + format_rfc3339(time_ms) + " is more than " + format_duration(max_future_ms) +
               " ahead of the server's clock (" + format_rfc3339(now_ms) + ")");
}

std::string wrong_type_message(const Column& column, const Token& token, Read read) {
    std::string message = where(column) + ": expected " + std::string(type_name(column.type));
    if (column.type == ColumnType::timestamp) message += " (RFC 3339, or epoch milliseconds)";
    if (column.type == ColumnType::blob) message += " (base64)";
    message += ", got " + what_is_there(token);
    if (read == Read::seconds) message += "; seconds?";
    return cut(std::move(message));
}

std::string not_null_message(const Column& column, const Token& token) {
    return cut(where(column) + ": NOT NULL, but it is " + std::string(absent_or_null(token)));
}

std::string check_message(const Column& column, std::string_view value) {
    return cut(where(column) + ": CHECK (" + column.check_sql + ") is false for " + shown(value));
}

}  // namespace weir::record::detail
