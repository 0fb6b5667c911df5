// A walk over a statement's tokens that knows how to say what it expected. Private to sql/.
#pragma once

#include "base/result.h"
#include "sql/tokens.h"

#include <cstddef>
#include <initializer_list>
#include <string>
#include <string_view>
#include <vector>

namespace weir::sql {

// Tokens [first, last) of the cursor's statement.
struct TokenSpan {
    std::size_t first = 0;
    std::size_t last = 0;
    bool empty() const { return first == last; }
};

class Cursor {
  public:
    // `tokens` as tokenize() makes them: an `end` token last.
    explicit Cursor(std::vector<Token> tokens);

    const Token& peek(std::size_t ahead = 0) const;
    std::size_t at() const { return at_; }
    void back_to(std::size_t at) { at_ = at; }
    void advance() { at_ = std::min(at_ + 1, tokens_.size() - 1); }
    const Token& token(std::size_t index) const { return tokens_[index]; }

    // Takes the words when all of them stand here in this order.
    bool accept(std::initializer_list<std::string_view> words);
    bool accept_op(std::string_view op);
    bool sees(std::initializer_list<std::string_view> words) const;
    Status expect(std::initializer_list<std::string_view> words);
    Status expect_op(std::string_view op, std::string_view after);

    Result<std::string> name(std::string_view what);       // bare or quoted
    Result<std::int64_t> duration(std::string_view what);  // 7d or '7d', bounded by duration_ms_max
    Result<std::int64_t> integer(std::string_view what, std::int64_t least, std::int64_t greatest);
    // A balanced `( ... )`; the span leaves the parentheses out.
    Result<TokenSpan> parenthesised(std::string_view what);
    // The longest run of tokens that one SQL expression can be: it ends at an operand that nothing joins to the next
    // token
    // ("status AS s", "bytes > 0 GROUP"), at a comma or a closing parenthesis. Not empty.
    Result<TokenSpan> expression(std::string_view what);

    // The text of a span with each gap (white space, comments) as one space.
    std::string text(TokenSpan span) const;
    // Equal for spans that mean the same column or expression: case of names, quotes and gaps do not count.
    std::string key(TokenSpan span) const;

    Error error(const Token& where, std::string detail) const;
    // "near 'FORM': expected FROM; did you mean FROM?" Words among `expected` are what a slip is compared with.
    Error unexpected(std::initializer_list<std::string_view> expected) const;
    Error unsupported(const Token& where, std::string_view what) const;

  private:
    std::vector<Token> tokens_;
    std::size_t at_ = 0;
};

constexpr std::int64_t duration_ms_max =
    36'500LL * 86'400'000;  // a century: sums of times and durations stay far from overflow

// "near 'FORM'", "at the end".
std::string place_of(const Token& token);
// The candidate (a word) that a slip of the pen makes `written`; empty: none is near.
std::string_view nearest_word(std::string_view written, const std::vector<std::string_view>& candidates);

}  // namespace weir::sql
