#include "sql/tokens.h"

#include "base/limits.h"
#include "record/time.h"

#include <algorithm>
#include <array>

namespace weir::sql {
namespace {

bool is_digit(char c) {
    return c >= '0' && c <= '9';
}
bool is_hex(char c) {
    return is_digit(c) || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
}
bool is_space(char c) {
    return c == ' ' || c == '\t' || c == '\n' || c == '\f' || c == '\r';
}
// Bytes above 0x7f are letters to SQLite, whatever they encode.
bool begins_word(char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || static_cast<unsigned char>(c) >= 0x80;
}
bool continues_word(char c) {
    return begins_word(c) || is_digit(c) || c == '$';
}
char lower(char c) {
    return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
}

// The first byte that is neither white space nor comment.
std::size_t skip_blank(std::string_view text, std::size_t at) {
    while (at < text.size()) {
        if (is_space(text[at])) {
            ++at;
        } else if (text.compare(at, 2, "--") == 0) {
            at = std::min(text.find('\n', at), text.size());
        } else if (text.compare(at, 2, "/*") == 0) {
            const std::size_t close = text.find("*/", at + 2);
            at = close == std::string_view::npos ? text.size() : close + 2;
        } else {
            break;
        }
    }
    return at;
}

// One past the closing quote, npos when there is none. A doubled quote stands for itself.
std::size_t closing_quote(std::string_view text, std::size_t open, char quote) {
    std::size_t at = open + 1;
    while (true) {
        at = text.find(quote, at);
        if (at == std::string_view::npos) return at;
        if (at + 1 >= text.size() || text[at + 1] != quote) return at + 1;
        at += 2;
    }
}

struct Unit {
    std::string_view name;
    std::int64_t bytes;
};
// Largest first, so that the first that divides is the one to print.
constexpr std::array<Unit, 9> units = {{{"TiB", 1LL << 40},
                                        {"TB", 1'000'000'000'000},
                                        {"GiB", 1LL << 30},
                                        {"GB", 1'000'000'000},
                                        {"MiB", 1LL << 20},
                                        {"MB", 1'000'000},
                                        {"KiB", 1LL << 10},
                                        {"KB", 1'000},
                                        {"B", 1}}};

Token make(TokenKind kind, std::string_view text, std::size_t from, std::size_t to) {
    return {kind, from, text.substr(from, to - from)};
}

Token number_token(std::string_view text, std::size_t from) {
    std::size_t at = from;
    const auto digits = [&] {
        while (at < text.size() && is_digit(text[at]))
            ++at;
    };
    if (text[at] == '0' && at + 2 < text.size() && lower(text[at + 1]) == 'x' && is_hex(text[at + 2])) {
        at += 2;
        while (at < text.size() && is_hex(text[at]))
            ++at;
    } else {
        digits();
        if (at < text.size() && text[at] == '.') {
            ++at;
            digits();
        }
        if (at < text.size() && lower(text[at]) == 'e') {
            std::size_t exponent = at + 1;
            if (exponent < text.size() && (text[exponent] == '+' || text[exponent] == '-')) ++exponent;
            if (exponent < text.size() && is_digit(text[exponent])) {
                at = exponent;
                digits();
            }
        }
    }
    if (at >= text.size() || !continues_word(text[at])) return make(TokenKind::number, text, from, at);
    while (at < text.size() && continues_word(text[at]))
        ++at;
    const Token whole = make(TokenKind::bad, text, from, at);
    if (record::parse_duration_ms(whole.text)) return make(TokenKind::duration, text, from, at);
    if (parse_size_bytes(whole.text)) return make(TokenKind::size, text, from, at);
    return whole;
}

Token quoted_token(std::string_view text, std::size_t from, std::size_t quote_at, char quote, TokenKind kind) {
    const std::size_t close = quote == ']' ? text.find(']', quote_at) : closing_quote(text, quote_at, quote);
    if (close == std::string_view::npos) return make(TokenKind::bad, text, from, text.size());
    return make(kind, text, from, quote == ']' ? close + 1 : close);
}

Token parameter_token(std::string_view text, std::size_t from) {
    std::size_t at = from + 1;
    if (text[from] == '?') {
        while (at < text.size() && is_digit(text[at]))
            ++at;
        return make(TokenKind::parameter, text, from, at);
    }
    while (at < text.size() && continues_word(text[at]))
        ++at;
    return make(at == from + 1 ? TokenKind::bad : TokenKind::parameter, text, from, at);
}

bool all_hex(std::string_view digits) {
    return digits.size() % 2 == 0 && std::ranges::all_of(digits, is_hex);
}

constexpr std::array<std::string_view, 10> long_operators = {"->>", "->", "||", "<<", ">>",
                                                             "<=",  ">=", "<>", "!=", "=="};
constexpr std::string_view short_operators = "+-*/%&|~<>=,().;";

// What SQLite, or this parser, would take for something else when it stands bare.
constexpr std::array<std::string_view, 91> reserved_words = {"add",
                                                             "all",
                                                             "alter",
                                                             "and",
                                                             "as",
                                                             "asc",
                                                             "begin",
                                                             "between",
                                                             "by",
                                                             "case",
                                                             "cast",
                                                             "check",
                                                             "collate",
                                                             "commit",
                                                             "create",
                                                             "cross",
                                                             "current_date",
                                                             "current_time",
                                                             "current_timestamp",
                                                             "default",
                                                             "delete",
                                                             "desc",
                                                             "distinct",
                                                             "drop",
                                                             "else",
                                                             "end",
                                                             "escape",
                                                             "except",
                                                             "exists",
                                                             "explain",
                                                             "false",
                                                             "filter",
                                                             "foreign",
                                                             "from",
                                                             "full",
                                                             "glob",
                                                             "group",
                                                             "having",
                                                             "if",
                                                             "in",
                                                             "index",
                                                             "inner",
                                                             "insert",
                                                             "intersect",
                                                             "into",
                                                             "is",
                                                             "isnull",
                                                             "join",
                                                             "left",
                                                             "like",
                                                             "limit",
                                                             "match",
                                                             "materialized",
                                                             "natural",
                                                             "not",
                                                             "nothing",
                                                             "notnull",
                                                             "null",
                                                             "offset",
                                                             "on",
                                                             "or",
                                                             "order",
                                                             "outer",
                                                             "over",
                                                             "partition",
                                                             "pragma",
                                                             "primary",
                                                             "references",
                                                             "regexp",
                                                             "returning",
                                                             "right",
                                                             "select",
                                                             "set",
                                                             "show",
                                                             "table",
                                                             "then",
                                                             "to",
                                                             "transaction",
                                                             "true",
                                                             "union",
                                                             "unique",
                                                             "update",
                                                             "using",
                                                             "values",
                                                             "view",
                                                             "when",
                                                             "where",
                                                             "window",
                                                             "with",
                                                             "event",
                                                             "dedup"};

}  // namespace

bool same_word(std::string_view a, std::string_view b) {
    return std::ranges::equal(a, b, [](char x, char y) { return lower(x) == lower(y); });
}

std::string lower_ascii(std::string_view text) {
    std::string out(text);
    std::ranges::transform(out, out.begin(), lower);
    return out;
}

bool Token::is_word(std::string_view word) const {
    return kind == TokenKind::word && same_word(text, word);
}

Token next_token(std::string_view text, std::size_t position) {
    const std::size_t from = skip_blank(text, position);
    if (from >= text.size()) return {TokenKind::end, text.size(), {}};
    const char c = text[from];
    if (is_digit(c) || (c == '.' && from + 1 < text.size() && is_digit(text[from + 1])))
        return number_token(text, from);
    if (lower(c) == 'x' && from + 1 < text.size() && text[from + 1] == '\'') {
        Token blob = quoted_token(text, from, from + 1, '\'', TokenKind::blob);
        if (blob.kind == TokenKind::blob && !all_hex(blob.text.substr(2, blob.text.size() - 3)))
            blob.kind = TokenKind::bad;
        return blob;
    }
    if (begins_word(c)) {
        std::size_t at = from + 1;
        while (at < text.size() && continues_word(text[at]))
            ++at;
        return make(TokenKind::word, text, from, at);
    }
    switch (c) {
        case '\'':
            return quoted_token(text, from, from, '\'', TokenKind::string);
        case '"':
        case '`':
            return quoted_token(text, from, from, c, TokenKind::quoted);
        case '[':
            return quoted_token(text, from, from, ']', TokenKind::quoted);
        case '?':
        case ':':
        case '@':
        case '$':
            return parameter_token(text, from);
        default:
            break;
    }
    for (const std::string_view op : long_operators) {
        if (text.substr(from, op.size()) == op) return make(TokenKind::op, text, from, from + op.size());
    }
    const bool known = short_operators.find(c) != std::string_view::npos;
    return make(known ? TokenKind::op : TokenKind::bad, text, from, from + 1);
}

std::string bad_token_reason(const Token& token) {
    const char c = token.text.empty() ? ' ' : token.text[0];
    if (c == '\'') return "the string that begins here has no closing '";
    if (c == '"' || c == '`') return std::string("the name that begins here has no closing ") + c;
    if (c == '[') return "the name that begins here has no closing ]";
    if (lower(c) == 'x') return "a blob is an even number of hexadecimal digits: x'00ff'";
    if (is_digit(c) || c == '.') {
        return "'" + std::string(token.text.substr(0, 40)) +
               "' is neither a number nor a duration (ms s m h d w) nor a size (B KB KiB MB MiB GB GiB TB TiB)";
    }
    const auto byte = static_cast<unsigned char>(c);
    if (byte >= 0x20 && byte < 0x7f) return std::string("unexpected '") + c + "'";
    constexpr std::string_view hex = "0123456789abcdef";
    return std::string("unexpected byte 0x") + hex[byte >> 4] + hex[byte & 15];
}

Result<std::vector<Token>> tokenize(std::string_view text) {
    if (text.size() > limits::sql_bytes_max) {
        return Error{Errc::too_large, "a statement may have " + std::to_string(limits::sql_bytes_max) +
                                          " bytes, this one has " + std::to_string(text.size())};
    }
    // SQLite would stop reading there, quoted or not, and run half a statement.
    if (const std::size_t zero = text.find('\0'); zero != std::string_view::npos) {
        return Error{Errc::invalid_argument, "a statement holds no zero byte", 0, static_cast<std::int64_t>(zero)};
    }
    std::vector<Token> tokens;
    std::size_t at = 0;
    while (true) {
        const Token token = next_token(text, at);
        if (token.kind == TokenKind::bad) {
            return Error{Errc::invalid_argument, bad_token_reason(token), 0, static_cast<std::int64_t>(token.position)};
        }
        tokens.push_back(token);
        if (token.kind == TokenKind::end) return tokens;
        at = token.end();
    }
}

std::string token_value(const Token& token) {
    if (token.kind != TokenKind::quoted && token.kind != TokenKind::string) return std::string(token.text);
    const std::string_view inner = token.text.substr(1, token.text.size() - 2);
    const char quote = token.text[0];
    if (quote == '[') return std::string(inner);
    std::string out;
    out.reserve(inner.size());
    for (std::size_t i = 0; i < inner.size(); ++i) {
        out.push_back(inner[i]);
        if (inner[i] == quote) ++i;
    }
    return out;
}

std::optional<std::int64_t> parse_size_bytes(std::string_view text) {
    constexpr std::int64_t bytes_max = 1LL << 62;
    std::int64_t number = 0;
    std::size_t at = 0;
    for (; at < text.size() && is_digit(text[at]); ++at) {
        if (number > bytes_max / 10) return std::nullopt;
        number = number * 10 + (text[at] - '0');
    }
    if (at == 0) return std::nullopt;
    for (const Unit& unit : units) {
        if (!same_word(text.substr(at), unit.name)) continue;
        if (number > bytes_max / unit.bytes) return std::nullopt;
        return number * unit.bytes;
    }
    return std::nullopt;
}

std::string format_size(std::int64_t bytes) {
    for (const Unit& unit : units) {
        if (bytes != 0 && bytes % unit.bytes == 0) return std::to_string(bytes / unit.bytes) + std::string(unit.name);
    }
    return std::to_string(bytes) + "B";
}

std::string quoted_if_needed(std::string_view name) {
    const bool plain = !name.empty() && static_cast<unsigned char>(name[0]) < 0x80 && begins_word(name[0]) &&
                       std::ranges::all_of(name, [](char c) {
                           return continues_word(c) && c != '$' && static_cast<unsigned char>(c) < 0x80;
                       });
    const std::string folded = lower_ascii(name);
    if (plain && std::ranges::find(reserved_words, folded) == reserved_words.end()) return std::string(name);
    std::string out = "\"";
    for (const char c : name) {
        out.push_back(c);
        if (c == '"') out.push_back(c);
    }
    return out + "\"";
}

std::string quote_string(std::string_view text) {
    std::string out = "'";
    for (const char c : text) {
        out.push_back(c);
        if (c == '\'') out.push_back(c);
    }
    return out + "'";
}

}  // namespace weir::sql
