#include "sql/detail/parse_having.h"

#include "base/limits.h"
#include "sql/detail/view_aggregates.h"

#include <algorithm>
#include <array>

namespace weir::sql {
namespace {

// Words of an expression that name nothing. They are names where they stand in quotes.
constexpr std::array<std::string_view, 32> expression_words = {
    "and",  "or",    "not",      "is",   "null",   "in",     "between", "like", "glob", "match",   "regexp",
    "case", "when",  "then",     "else", "end",    "isnull", "notnull", "cast", "as",   "collate", "escape",
    "true", "false", "distinct", "from", "exists", "select", "where",   "all",  "over", "filter"};

class HavingResolver {
  public:
    HavingResolver(const Cursor& cursor, HavingNames names, CreateView& view)
        : cursor_(cursor), names_(std::move(names)), view_(view) {}

    Status resolve(TokenSpan span) {
        for (std::size_t i = span.first; i < span.last;) {
            const Token& token = cursor_.token(i);
            if (!token.is_name() || is_word_of_expression(token)) {
                i = copy(i, span);
                continue;
            }
            if (cursor_.token(i + 1).is(".") || (i > span.first && cursor_.token(i - 1).is("."))) {
                return cursor_.error(token, place_of(token) +
                                                ": HAVING knows a view's values by their plain names: GROUP BY terms, "
                                                "names given with AS, aggregates");
            }
            i = cursor_.token(i + 1).is("(") ? TRY(call(i)) : TRY(name(i));
        }
        flush();
        return {};
    }

  private:
    static bool is_word_of_expression(const Token& token) {
        return token.kind == TokenKind::word &&
               std::ranges::any_of(expression_words, [&](std::string_view word) { return token.is_word(word); });
    }

    // Copies what names nothing; answers where the next token is.
    std::size_t copy(std::size_t i, TokenSpan span) {
        const Token& token = cursor_.token(i);
        text(i, i + 1);
        if (token.is_word("collate") && i + 1 < span.last) {
            text(i + 1, i + 2);
            return i + 2;
        }
        if (!token.is_word("as")) return i + 1;
        // CAST(x AS type): up to the parenthesis that closes the CAST.
        std::size_t depth = 0;
        std::size_t at = i + 1;
        for (; at < span.last; ++at) {
            if (cursor_.token(at).is("(")) ++depth;
            if (cursor_.token(at).is(")") && depth-- == 0) break;
            text(at, at + 1);
        }
        return at;
    }

    Result<std::size_t> call(std::size_t i) {
        const auto aggregate = TRY(aggregate_at(cursor_, i));
        if (aggregate) {
            TRY(add_aggregate(*aggregate));
            return aggregate->last;
        }
        const TokenSpan whole{i, closing_of(cursor_, i + 1) + 1};
        if (const int key = key_of(whole); key >= 0) {
            add({{}, key, -1});
            return whole.last;
        }
        TRY(refuse_aggregates(cursor_, {i, i + 2}));
        text(i, i + 1);
        return i + 1;
    }

    Result<std::size_t> name(std::size_t i) {
        const Token& token = cursor_.token(i);
        const std::string value = token_value(token);
        int key = key_of({i, i + 1});
        int aggregate = -1;
        if (key < 0) {
            int aggregates = 0;
            for (const ViewItem& item : view_.items) {
                if (same_word(item.name, value)) {
                    key = item.is_aggregate ? -1 : item.key;
                    aggregate = item.is_aggregate ? aggregates : -1;
                    break;
                }
                aggregates += item.is_aggregate ? 1 : 0;
            }
        }
        if (key < 0 && aggregate < 0 && (same_word(value, "window_start") || same_word(value, "window_end"))) {
            key = names_.add_bound({i, i + 1});
            names_.keys.push_back(cursor_.key({i, i + 1}));
        }
        if (key < 0 && aggregate < 0) {
            return cursor_.error(token, place_of(token) + ": HAVING knows GROUP BY terms, names given with AS and " +
                                            "aggregates (" + std::string(aggregate_names()) + ")");
        }
        add({{}, key, aggregate});
        return i + 1;
    }

    int key_of(TokenSpan span) const {
        const auto found = std::ranges::find(names_.keys, cursor_.key(span));
        return found == names_.keys.end() ? -1 : static_cast<int>(found - names_.keys.begin());
    }

    Status add_aggregate(const AggregateCall& call) {
        const std::string key = call.key(cursor_);
        auto found = std::ranges::find(names_.aggregates, key);
        if (found == names_.aggregates.end()) {
            if (view_.having_aggregates.size() == limits::columns_max) {
                return cursor_.error(cursor_.token(call.argument.first),
                                     "HAVING has at most 200 aggregates of its own");
            }
            ViewItem item;
            item.is_aggregate = true;
            item.aggregate = call.kind;
            item.argument_sql = cursor_.text(call.argument);
            view_.having_aggregates.push_back(std::move(item));
            names_.aggregates.push_back(key);
            found = names_.aggregates.end() - 1;
        }
        add({{}, -1, static_cast<int>(found - names_.aggregates.begin())});
        return {};
    }

    void text(std::size_t first, std::size_t last) {
        if (!text_.empty()) text_ += ' ';
        text_ += cursor_.text({first, last});
    }
    void flush() {
        if (!text_.empty()) view_.having.push_back({std::exchange(text_, {}), -1, -1});
    }
    void add(HavingPiece piece) {
        flush();
        view_.having.push_back(std::move(piece));
    }

    const Cursor& cursor_;
    HavingNames names_;
    CreateView& view_;
    std::string text_;
};

}  // namespace

Status resolve_having(const Cursor& cursor, TokenSpan span, HavingNames names, CreateView& view) {
    return HavingResolver(cursor, std::move(names), view).resolve(span);
}

}  // namespace weir::sql
