// SQL cut into tokens, as far as this room needs it: to see that a text is one expression, and to recognise simple
// CHECKs. Private to store/. Follows SQLite's tokenizer: '' strings, "" `` [] names, -- and /* */ comments.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace weir::store::detail {

enum class TokenKind : unsigned char { end, name, quoted_name, number, string, symbol, broken };

struct Token {
    TokenKind kind = TokenKind::end;
    std::string_view text;     // as written, quotes included; a slice of the input
    std::size_t position = 0;  // byte offset in the input
};

class Lexer {
  public:
    explicit Lexer(std::string_view sql) : sql_(sql) {}
    // The next token, comments and blanks skipped; `broken` for an unterminated quote or comment. After the end: end.
    Token next();

  private:
    std::string_view sql_;
    std::size_t at_ = 0;
};

// The name a token stands for: quotes taken off, doubled quotes made single.
std::string unquote(const Token& token);

// ASCII case is ignored, as SQLite does for names and keywords.
bool same_name(std::string_view a, std::string_view b);
std::string lower_ascii(std::string_view text);

}  // namespace weir::store::detail
