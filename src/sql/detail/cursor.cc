#include "sql/detail/cursor.h"

#include "base/check.h"
#include "record/time.h"

#include <algorithm>
#include <array>
#include <charconv>

namespace weir::sql {
namespace {

// Words that join an operand to what follows.
constexpr std::array<std::string_view, 15> infix_words = {"and",    "or",    "is",     "in",      "like",
                                                          "glob",   "match", "regexp", "between", "collate",
                                                          "escape", "not",   "when",   "then",    "else"};
// Words that complete an operand.
constexpr std::array<std::string_view, 2> postfix_words = {"isnull", "notnull"};
// Words after which an operand is still to come.
constexpr std::array<std::string_view, 4> prefix_words = {"not", "case", "distinct", "exists"};
// Words that never are an operand: whoever meets one here forgot the operand.
constexpr std::array<std::string_view, 14> clause_words = {"from",  "where",    "group", "having", "order",
                                                           "limit", "lateness", "emit",  "select", "as",
                                                           "by",    "on",       "join",  "union"};

template <std::size_t n>
bool is_one_of(const Token& token, const std::array<std::string_view, n>& words) {
    return std::ranges::any_of(words, [&](std::string_view word) { return token.is_word(word); });
}

// Edits (insert, delete, replace, swap of neighbours) between two short words, at most `most` + 1.
std::size_t edits(std::string_view a, std::string_view b, std::size_t most) {
    constexpr std::size_t width = 32;
    if (a.size() >= width || b.size() >= width) return most + 1;
    std::array<std::array<std::size_t, width>, width> cost{};
    for (std::size_t i = 0; i <= a.size(); ++i)
        cost[i][0] = i;
    for (std::size_t j = 0; j <= b.size(); ++j)
        cost[0][j] = j;
    for (std::size_t i = 1; i <= a.size(); ++i) {
        for (std::size_t j = 1; j <= b.size(); ++j) {
            const std::size_t replaced = cost[i - 1][j - 1] + (a[i - 1] == b[j - 1] ? 0 : 1);
            cost[i][j] = std::min({cost[i - 1][j] + 1, cost[i][j - 1] + 1, replaced});
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1]) {
                cost[i][j] = std::min(cost[i][j], cost[i - 2][j - 2] + 1);
            }
        }
    }
    return std::min(cost[a.size()][b.size()], most + 1);
}

bool looks_like_word(std::string_view text) {
    return !text.empty() && std::ranges::all_of(text, [](char c) { return c >= 'A' && c <= 'Z'; });
}

std::string joined(std::initializer_list<std::string_view> words, std::string_view separator) {
    std::string out;
    for (const std::string_view word : words) {
        if (!out.empty()) out += separator;
        out += word;
    }
    return out;
}

// Cuts at a character's border, so that an error text stays UTF-8.
std::string_view shortened(std::string_view text, std::size_t most) {
    if (text.size() <= most) return text;
    while (most > 0 && (static_cast<unsigned char>(text[most]) & 0xc0) == 0x80)
        --most;
    return text.substr(0, most);
}

}  // namespace

std::string place_of(const Token& token) {
    if (token.kind == TokenKind::end) return "at the end";
    return "near '" + std::string(shortened(token.text, 40)) + "'";
}

std::string_view nearest_word(std::string_view written, const std::vector<std::string_view>& candidates) {
    const std::string folded = lower_ascii(written);
    std::string_view best;
    std::size_t least = written.size() <= 3 ? 2 : 3;  // a short word two edits away is another word
    for (const std::string_view candidate : candidates) {
        const std::size_t distance = edits(folded, lower_ascii(candidate), 3);
        if (distance > 0 && distance < least && distance < candidate.size()) {
            best = candidate;
            least = distance;
        }
    }
    return best;
}

Cursor::Cursor(std::vector<Token> tokens) : tokens_(std::move(tokens)) {
    CHECK(!tokens_.empty() && tokens_.back().kind == TokenKind::end);
}

const Token& Cursor::peek(std::size_t ahead) const {
    return tokens_[std::min(at_ + ahead, tokens_.size() - 1)];
}

bool Cursor::sees(std::initializer_list<std::string_view> words) const {
    std::size_t ahead = 0;
    return std::ranges::all_of(words, [&](std::string_view word) { return peek(ahead++).is_word(word); });
}

bool Cursor::accept(std::initializer_list<std::string_view> words) {
    if (!sees(words)) return false;
    at_ += words.size();
    return true;
}

bool Cursor::accept_op(std::string_view op) {
    if (!peek().is(op)) return false;
    advance();
    return true;
}

Status Cursor::expect(std::initializer_list<std::string_view> words) {
    for (const std::string_view word : words) {
        if (!accept({word})) return unexpected({word});
    }
    return {};
}

Status Cursor::expect_op(std::string_view op, std::string_view after) {
    if (accept_op(op)) return {};
    return error(peek(), place_of(peek()) + ": expected '" + std::string(op) + "' after " + std::string(after));
}

Result<std::string> Cursor::name(std::string_view what) {
    if (!peek().is_name()) return unexpected({what});
    std::string value = token_value(peek());
    if (value.empty()) return error(peek(), "expected " + std::string(what) + ", found an empty name");
    advance();
    return value;
}

Result<std::int64_t> Cursor::duration(std::string_view what) {
    const Token& token = peek();
    std::optional<std::int64_t> ms;
    if (token.kind == TokenKind::duration) ms = record::parse_duration_ms(token.text);
    if (token.kind == TokenKind::string) ms = record::parse_duration_ms(token_value(token));
    if (!ms) {
        return error(token, place_of(token) + ": expected a duration after " + std::string(what) +
                                ", such as 30s, 15m or 7d (units ms s m h d w)");
    }
    if (*ms > duration_ms_max) return error(token, std::string(what) + " may not exceed 36500d");
    advance();
    return *ms;
}

Result<std::int64_t> Cursor::integer(std::string_view what, std::int64_t least, std::int64_t greatest) {
    const Token& token = peek();
    std::int64_t value = 0;
    const char* end = token.text.data() + token.text.size();
    const auto [stop, problem] = std::from_chars(token.text.data(), end, value);
    if (token.kind != TokenKind::number || problem != std::errc{} || stop != end || value < least || value > greatest) {
        return error(token, place_of(token) + ": expected a number from " + std::to_string(least) + " to " +
                                std::to_string(greatest) + " after " + std::string(what));
    }
    advance();
    return value;
}

Result<TokenSpan> Cursor::parenthesised(std::string_view what) {
    TRY(expect_op("(", what));
    const Token& open = tokens_[at_ - 1];
    TokenSpan span{at_, at_};
    for (std::size_t depth = 1;; advance()) {
        const Token& token = peek();
        if (token.kind == TokenKind::end) return error(open, "the '(' after " + std::string(what) + " has no ')'");
        if (token.is("(")) ++depth;
        if (token.is(")") && --depth == 0) break;
    }
    span.last = at_;
    advance();
    return span;
}

Result<TokenSpan> Cursor::expression(std::string_view what) {
    TokenSpan span{at_, at_};
    bool operand = false;         // the last token ended an operand
    bool after_distinct = false;  // of IS [NOT] DISTINCT FROM
    std::size_t cases = 0;        // CASE without its END
    while (true) {
        const Token& token = peek();
        if (token.kind == TokenKind::end || token.is(",") || token.is(")") || token.is(";")) break;
        if (token.is("(")) {
            // A call, or parentheses where an operand is due; "5 (" is the end of the expression.
            const bool call = operand && peek().position > 0 && at_ > span.first && tokens_[at_ - 1].is_name();
            if (operand && !call) break;
            TRY(parenthesised(what));
            operand = true;
            continue;
        }
        if (token.kind == TokenKind::op) {
            operand = token.is("*") && !operand;  // count(*) stands in parentheses; a lone * is an operand of SELECT
            advance();
            continue;
        }
        if (token.kind == TokenKind::duration || token.kind == TokenKind::size) break;
        const bool bare = token.kind == TokenKind::word;
        if (operand) {
            if (bare && token.is_word("end") && cases > 0) {
                --cases;
            } else if (bare && is_one_of(token, postfix_words)) {
                // completes the operand
            } else if (bare && is_one_of(token, infix_words)) {
                operand = false;
            } else {
                break;
            }
        } else if (bare && token.is_word("from") && after_distinct) {
            // IS DISTINCT FROM: still waits for its right side
        } else if (bare && is_one_of(token, clause_words)) {
            break;
        } else if (bare && is_one_of(token, prefix_words)) {
            cases += token.is_word("case") ? 1 : 0;
        } else if (bare && token.is_word("when") && cases > 0) {
            // CASE WHEN: the condition is still to come
        } else if (bare &&
                   (token.is_word("in") || token.is_word("like") || token.is_word("between") || token.is_word("glob") ||
                    token.is_word("regexp") || token.is_word("match")) &&
                   at_ > span.first && tokens_[at_ - 1].is_word("not")) {
            // a NOT IN (...): still waits for its right side
        } else {
            operand = true;
        }
        after_distinct = bare && token.is_word("distinct");
        advance();
    }
    span.last = at_;
    if (span.empty() || !operand || cases > 0) {
        return error(peek(), place_of(peek()) + ": expected " + std::string(span.empty() ? "" : "the rest of ") +
                                 std::string(what));
    }
    return span;
}

std::string Cursor::text(TokenSpan span) const {
    std::string out;
    for (std::size_t i = span.first; i < span.last; ++i) {
        if (i > span.first && tokens_[i - 1].end() != tokens_[i].position) out.push_back(' ');
        out += tokens_[i].text;
    }
    return out;
}

std::string Cursor::key(TokenSpan span) const {
    std::string out;
    for (std::size_t i = span.first; i < span.last; ++i) {
        const Token& token = tokens_[i];
        // A quoted name and a bare one are the same column; the mark keeps a name and a string of one spelling apart.
        out.push_back(token.is_name() ? '\x1e' : '\x1f');
        out += token.is_name() || token.kind == TokenKind::number ? lower_ascii(token_value(token))
                                                                  : std::string(token.text);
    }
    return out;
}

Error Cursor::error(const Token& where, std::string detail) const {
    return {Errc::invalid_argument, std::move(detail), 0, static_cast<std::int64_t>(where.position)};
}

Error Cursor::unexpected(std::initializer_list<std::string_view> expected) const {
    const Token& token = peek();
    std::string detail = place_of(token) + ": expected " + joined(expected, expected.size() == 2 ? " or " : ", ");
    if (token.kind == TokenKind::word) {
        std::vector<std::string_view> words;
        for (const std::string_view word : expected) {
            if (looks_like_word(word)) words.push_back(word);
        }
        const std::string_view near = nearest_word(token.text, words);
        if (!near.empty()) detail += "; did you mean " + std::string(near) + "?";
    }
    return error(token, std::move(detail));
}

Error Cursor::unsupported(const Token& where, std::string_view what) const {
    return {Errc::unsupported, std::string(what), 0, static_cast<std::int64_t>(where.position)};
}

}  // namespace weir::sql
