// SQL text cut into tokens, by SQLite's rules and two of our own: durations (7d, 250ms) and sizes (50GB, 64KiB) are one
// token each. White space and comments fall between tokens.
//
// Nothing is copied: a token is a slice of the text, which must outlive it.
#pragma once

#include "base/result.h"

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace weir::sql {

enum class TokenKind : std::uint8_t {
    end,        // behind the last token; empty text
    word,       // keyword or plain identifier
    quoted,     // "name", [name] or `name`
    string,     // 'text'
    blob,       // x'00ff'
    number,     // 1, 1.5, 1e3, 0x1f
    duration,   // 7d, 250ms
    size,       // 50GB, 64KiB, 10B
    parameter,  // ?, ?1, :name, @name, $name
    op,         // an operator or punctuation mark, longest first
    bad,        // unterminated, or a byte that begins nothing; see bad_token_reason()
};

struct Token {
    TokenKind kind = TokenKind::end;
    std::size_t position = 0;  // byte in the text
    std::string_view text;     // as written
    std::size_t end() const { return position + text.size(); }
    bool is(std::string_view op_text) const { return kind == TokenKind::op && text == op_text; }
    bool is_word(std::string_view word) const;  // a bare word, ASCII case-insensitive
    bool is_name() const { return kind == TokenKind::word || kind == TokenKind::quoted; }
};

// The token at or after `position`. Never fails: what is wrong is a `bad` token, at least one byte long.
Token next_token(std::string_view text, std::size_t position);
std::string bad_token_reason(const Token& token);

// All tokens, an `end` token last. Errors: invalid_argument with position, too_large (limits::sql_bytes_max).
Result<std::vector<Token>> tokenize(std::string_view text);

// A name without its quotes, a string without its quotes; other tokens as written.
std::string token_value(const Token& token);

// "50GB" (10^9), "64KiB" (2^10), units B to TB and TiB. nullopt: not a size, or beyond 2^62.
std::optional<std::int64_t> parse_size_bytes(std::string_view text);
std::string format_size(std::int64_t bytes);  // the largest unit that divides: "50GB", "64KiB"

bool same_word(std::string_view a, std::string_view b);  // ASCII case-insensitive
std::string lower_ascii(std::string_view text);

// As SQL wants a name: bare where that is safe, else in double quotes.
std::string quoted_if_needed(std::string_view name);
std::string quote_string(std::string_view text);  // 'it''s'

}  // namespace weir::sql
