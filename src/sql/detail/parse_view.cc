#include "base/limits.h"
#include "sql/detail/parse_having.h"
#include "sql/detail/parse_stream.h"
#include "sql/detail/view_aggregates.h"

#include <algorithm>

namespace weir::sql {
namespace {

// One SELECT item before GROUP BY is known.
struct Item {
    TokenSpan span;
    std::string alias;  // empty: none
    std::optional<AggregateCall> aggregate;
};

class ViewParser {
  public:
    explicit ViewParser(Cursor& cursor) : cursor_(cursor) {}

    Result<CreateView> parse() {
        TRY(parse_new_name(cursor_, "VIEW", view_.name, view_.if_not_exists));
        TRY(cursor_.expect({"AS"}));
        const Token& select = cursor_.peek();
        if (cursor_.sees({"WITH"})) return cursor_.unsupported(select, "WITH in a view is not built yet");
        TRY(cursor_.expect({"SELECT"}));
        if (cursor_.sees({"DISTINCT"}))
            return cursor_.unsupported(cursor_.peek(),
                                       "SELECT DISTINCT in a view is not built yet: GROUP BY makes rows distinct");
        do {
            TRY(item());
        } while (cursor_.accept_op(","));
        if (!cursor_.sees({"FROM"})) return cursor_.unexpected({"FROM", "','"});
        cursor_.advance();
        TRY(window());
        if (cursor_.accept({"WHERE"}))
            view_.where_sql = cursor_.text(TRY(cursor_.expression("the condition after WHERE")));
        TRY(group_by(select));
        TRY(trailing());
        TRY(resolve_items());
        TRY(resolve_having());
        return std::move(view_);
    }

  private:
    Status item() {
        Item item;
        const Token& where = cursor_.peek();
        if (where.is("*"))
            return cursor_.error(where, "SELECT * in a windowed view: name the GROUP BY terms and aggregates");
        item.span = TRY(cursor_.expression("an expression after SELECT"));
        if (cursor_.sees({"OVER"}) || cursor_.sees({"FILTER"})) {
            return cursor_.unsupported(cursor_.peek(), lower_ascii(cursor_.peek().text) == "over"
                                                           ? "OVER (window functions) in a view is not built yet"
                                                           : "FILTER in a view is not built yet: use WHERE");
        }
        TRY(classify(item));
        if (cursor_.accept({"AS"})) {
            item.alias = TRY(cursor_.name("a name after AS"));
        } else if (cursor_.peek().is_name() && !cursor_.sees({"FROM"}) && !slip_of_from()) {
            item.alias = TRY(cursor_.name("a name"));
        }
        if (item.alias.size() > limits::name_bytes_max)
            return cursor_.error(where, "a column's name has at most 249 bytes");
        if (items_.size() == limits::columns_max) return cursor_.error(where, "a view has at most 200 columns");
        items_.push_back(std::move(item));
        return {};
    }

    // "SELECT a FORM TUMBLE(": an alias does not stand before a window.
    bool slip_of_from() const {
        const Token& token = cursor_.peek();
        return token.kind == TokenKind::word && cursor_.peek(1).is_word("TUMBLE") &&
               !nearest_word(token.text, {"FROM"}).empty();
    }

    // An item is an aggregate as a whole, or has none in it.
    Status classify(Item& item) {
        const auto call = TRY(aggregate_at(cursor_, item.span.first));
        if (!call || call->last != item.span.last) return refuse_aggregates(cursor_, item.span);
        item.aggregate = call;
        return {};
    }

    Status window() {
        const Token& where = cursor_.peek();
        for (const std::string_view other : {"HOP", "SESSION", "CUMULATE"}) {
            if (where.is_word(other) && cursor_.peek(1).is("(")) {
                return cursor_.unsupported(
                    where, std::string(other) + " windows are not built yet: the window is TUMBLE(stream, size)");
            }
        }
        if (where.is("("))
            return cursor_.unsupported(
                where, "a subquery in a view's FROM is not built yet: the source is TUMBLE(stream, size)");
        if (!where.is_word("TUMBLE") || !cursor_.peek(1).is("(")) {
            if (where.is_name() && !cursor_.peek(1).is("(")) {
                return cursor_.error(where, place_of(where) + ": a view reads a stream through a window: FROM TUMBLE(" +
                                                std::string(where.text.substr(0, 250)) + ", 1h)");
            }
            return cursor_.unexpected({"TUMBLE"});
        }
        cursor_.advance();
        TRY(cursor_.expect_op("(", "TUMBLE"));
        view_.stream = TRY(cursor_.name("a stream after TUMBLE("));
        if (cursor_.peek().is("-") || cursor_.peek().is(".")) {
            return cursor_.error(cursor_.peek(), place_of(cursor_.peek()) +
                                                     ": a name that holds '-' or '.' is written in double quotes");
        }
        TRY(cursor_.expect_op(",", "the stream in TUMBLE"));
        const Token& size = cursor_.peek();
        view_.window_ms = TRY(cursor_.duration("the stream in TUMBLE"));
        if (view_.window_ms == 0) return cursor_.error(size, "a window of no length");
        TRY(cursor_.expect_op(")", "the window's size"));
        return more_sources();
    }

    // Between the window and GROUP BY: OFFSET is ours, the rest is named and refused.
    Status more_sources() {
        const Token& where = cursor_.peek();
        if (cursor_.accept({"OFFSET"})) return offset(where);
        if (where.is(",")) return cursor_.unsupported(where, "a second source in a view is not built yet");
        for (const std::string_view word : {"JOIN", "LEFT", "INNER", "CROSS", "NATURAL", "FULL", "RIGHT"}) {
            if (where.is_word(word))
                return cursor_.unsupported(where, "JOIN in a view is not built yet: join when you query");
        }
        if (where.is_word("ZONE"))
            return cursor_.unsupported(where, "ZONE is not built yet: windows are cut in UTC; OFFSET shifts them");
        if (where.is_word("AS"))
            return cursor_.unsupported(where, "an alias of the window is not built yet: leave it out");
        return {};
    }

    Status offset(const Token& where) {
        if (has_offset_) return cursor_.error(where, "OFFSET stands twice");
        has_offset_ = true;
        const bool negative = cursor_.accept_op("-");
        const Token& token = cursor_.peek();
        const std::int64_t ms = TRY(cursor_.duration("OFFSET"));
        if (ms >= view_.window_ms) return cursor_.error(token, "OFFSET must be shorter than the window");
        view_.window_offset_ms = negative ? -ms : ms;
        return {};
    }

    Status group_by(const Token& select) {
        if (!cursor_.sees({"GROUP"})) {
            const Token& where = cursor_.peek();
            if (where.kind == TokenKind::word && !cursor_.sees({"LATENESS"}) && !cursor_.sees({"EMIT"})) {
                TRY(refuse_clause());
                return cursor_.unexpected({"GROUP", view_.where_sql.empty() ? "WHERE" : "LATENESS", "OFFSET", "EMIT"});
            }
            return cursor_.error(where.kind == TokenKind::end ? select : where,
                                 "a windowed view needs GROUP BY window_start: each row is one window's");
        }
        const Token& where = cursor_.peek();
        TRY(cursor_.expect({"GROUP", "BY"}));
        do {
            TRY(group_term());
        } while (cursor_.accept_op(","));
        const bool windowed =
            std::ranges::any_of(view_.keys, [](const ViewKey& key) { return key.kind != ViewKey::Kind::expression; });
        if (!windowed) {
            return cursor_.error(where,
                                 "GROUP BY must hold window_start or window_end: without it the groups would have no "
                                 "end and grow for ever");
        }
        return {};
    }

    Status group_term() {
        const Token& where = cursor_.peek();
        if (view_.keys.size() == limits::columns_max) {
            return cursor_.error(where, "GROUP BY has at most 200 terms");
        }
        TokenSpan span = TRY(cursor_.expression("a term after GROUP BY"));
        if (span.last == span.first + 1) {
            if (where.kind == TokenKind::number) {
                const Item* item = TRY(ordinal(where));
                span = item->span;
            } else if (where.is_name()) {
                span = by_alias(span);
            }
        }
        TRY(refuse_aggregates(cursor_, span));
        if (span.last == span.first + 1 && !cursor_.token(span.first).is_name())
            return cursor_.error(where, "GROUP BY a constant makes one group");
        const std::string key = cursor_.key(span);
        if (std::ranges::find(key_texts_, key) != key_texts_.end())
            return cursor_.error(where, "GROUP BY names this term twice");
        add_key(span, key);
        return {};
    }

    // An item's own text goes before another item's alias, so that SELECT lower(a) AS b, b AS c can be grouped by both.
    TokenSpan by_alias(TokenSpan term) const {
        const std::string key = cursor_.key(term);
        if (std::ranges::any_of(items_, [&](const Item& item) { return cursor_.key(item.span) == key; })) return term;
        const std::string name = token_value(cursor_.token(term.first));
        for (const Item& item : items_) {
            if (!item.alias.empty() && !item.aggregate && same_word(item.alias, name)) return item.span;
        }
        return term;
    }

    Result<const Item*> ordinal(const Token& where) {
        std::size_t number = 0;
        for (const char c : where.text.substr(0, 6))
            number = c >= '0' && c <= '9' ? number * 10 + static_cast<std::size_t>(c - '0') : items_.size() + 1;
        if (number == 0 || number > items_.size()) {
            return cursor_.error(where, "GROUP BY " + std::string(where.text.substr(0, 20)) + ": there are " +
                                            std::to_string(items_.size()) + " items");
        }
        const Item& item = items_[number - 1];
        if (item.aggregate)
            return cursor_.error(
                where, "GROUP BY " + std::string(where.text) + " is an aggregate: rows cannot be grouped by it");
        return &item;
    }

    void add_key(TokenSpan span, const std::string& text) {
        ViewKey key;
        key.sql = cursor_.text(span);
        key.name = key.sql;
        if (span.last == span.first + 1) {
            const Token& token = cursor_.token(span.first);
            if (token.is_name()) key.name = token_value(token);
            if (token.is_name() && same_word(key.name, "window_start")) key.kind = ViewKey::Kind::window_start;
            if (token.is_name() && same_word(key.name, "window_end")) key.kind = ViewKey::Kind::window_end;
        }
        view_.keys.push_back(std::move(key));
        key_texts_.push_back(text);
    }

    Status refuse_clause() {
        const Token& where = cursor_.peek();
        if (cursor_.sees({"HAVING"})) return cursor_.error(where, "HAVING stands behind GROUP BY");
        if (cursor_.sees({"ORDER"}) || cursor_.sees({"LIMIT"})) {
            return cursor_.unsupported(
                where, "ORDER BY and LIMIT in a view are not built yet: use them when you query the view");
        }
        if (cursor_.sees({"KEEP"})) return cursor_.unsupported(where, "KEEP is not built yet: a view's rows stay");
        if (cursor_.sees({"LATE", "TO"}))
            return cursor_.unsupported(where, "LATE TO is not built yet: late rows are in " + view_.name + "_late");
        if (cursor_.sees({"ZONE"}))
            return cursor_.unsupported(where, "ZONE is not built yet: windows are cut in UTC; OFFSET shifts them");
        if (cursor_.sees({"FROM"}))
            return cursor_.unsupported(where, "a view begins at the log's start, or with FROM NOW at this statement");
        if (cursor_.sees({"UNION"}) || cursor_.sees({"WINDOW"}))
            return cursor_.unsupported(where, std::string(where.text) + " in a view is not built yet");
        return {};
    }

    Status trailing() {
        bool has_lateness = false, has_emit = false;
        while (cursor_.peek().kind != TokenKind::end && !cursor_.peek().is(";")) {
            const Token& where = cursor_.peek();
            if (cursor_.accept({"LATENESS"})) {
                if (has_lateness) return cursor_.error(where, "LATENESS stands twice");
                has_lateness = true;
                view_.lateness_ms = TRY(cursor_.duration("LATENESS"));
            } else if (cursor_.accept({"HAVING"})) {
                if (!having_.empty()) return cursor_.error(where, "HAVING stands twice");
                having_ = TRY(cursor_.expression("the condition after HAVING"));
                view_.having_sql = cursor_.text(having_);
            } else if (cursor_.accept({"EMIT"})) {
                if (has_emit) return cursor_.error(where, "EMIT stands twice");
                has_emit = true;
                TRY(emit());
            } else if (cursor_.accept({"OFFSET"})) {
                TRY(offset(where));
            } else if (cursor_.accept({"FROM", "NOW"})) {
                if (view_.from_now) return cursor_.error(where, "FROM NOW stands twice");
                view_.from_now = true;
            } else {
                TRY(refuse_clause());
                return cursor_.unexpected(
                    {"LATENESS", "EMIT", "FROM NOW", "OFFSET", "HAVING", "or the end of the statement"});
            }
        }
        return {};
    }

    Status emit() {
        if (cursor_.accept({"FINAL"})) {
            view_.emit = EmitMode::final_only;
            if (cursor_.sees({"EVERY"}))
                return cursor_.error(cursor_.peek(),
                                     "EVERY belongs to EMIT CHANGES: EMIT FINAL writes a row when its "
                                     "window has ended");
            return {};
        }
        if (!cursor_.accept({"CHANGES"})) return cursor_.unexpected({"CHANGES", "FINAL"});
        if (cursor_.accept({"EVERY"})) {
            const Token& token = cursor_.peek();
            view_.emit_every_ms = TRY(cursor_.duration("EVERY"));
            if (view_.emit_every_ms == 0) return cursor_.error(token, "EVERY needs a duration above zero");
        }
        if (cursor_.sees({"THEN"}))
            return cursor_.unsupported(cursor_.peek(), "EMIT CHANGES THEN FINAL is not built yet");
        return {};
    }

    // Each item is an aggregate or one of the keys.
    Status resolve_items() {
        for (Item& item : items_) {
            const Token& where = cursor_.token(item.span.first);
            ViewItem out;
            out.name = !item.alias.empty() ? item.alias : plain_name(item.span);
            if (item.aggregate) {
                out.is_aggregate = true;
                out.aggregate = item.aggregate->kind;
                out.argument_sql = cursor_.text(item.aggregate->argument);
            } else {
                const std::string key = cursor_.key(item.span);
                auto found = std::ranges::find(key_texts_, key);
                if (found == key_texts_.end()) {
                    if (!is_window_bound(where, item.span)) {
                        return cursor_.error(where, "'" + cursor_.text(item.span).substr(0, 60) +
                                                        "' is neither an aggregate (" + std::string(aggregate_names()) +
                                                        ") nor in GROUP BY");
                    }
                    // The window's other bound: the one in GROUP BY determines it.
                    add_key(item.span, key);
                    found = key_texts_.end() - 1;
                }
                out.key = static_cast<int>(found - key_texts_.begin());
                view_.keys[static_cast<std::size_t>(out.key)].name = out.name;
            }
            if (out.name.size() > limits::name_bytes_max)
                return cursor_.error(where, "this column needs a name: write AS name behind it");
            for (const ViewItem& other : view_.items) {
                if (same_word(other.name, out.name))
                    return cursor_.error(
                        where, "two columns of the view are called " + out.name + "; give one another name with AS");
            }
            view_.items.push_back(std::move(out));
        }
        return {};
    }

    Status resolve_having() {
        if (having_.empty()) return {};
        HavingNames names;
        names.keys = key_texts_;
        for (const Item& item : items_) {
            if (item.aggregate) names.aggregates.push_back(item.aggregate->key(cursor_));
        }
        names.add_bound = [this](TokenSpan span) {
            add_key(span, cursor_.key(span));
            return static_cast<int>(view_.keys.size()) - 1;
        };
        return sql::resolve_having(cursor_, having_, std::move(names), view_);
    }

    static bool is_window_bound(const Token& token, TokenSpan span) {
        if (span.last != span.first + 1 || !token.is_name()) return false;
        const std::string name = token_value(token);
        return same_word(name, "window_start") || same_word(name, "window_end");
    }

    std::string plain_name(TokenSpan span) const {
        const Token& token = cursor_.token(span.first);
        return span.last == span.first + 1 && token.is_name() ? token_value(token) : cursor_.text(span);
    }

    Cursor& cursor_;
    CreateView view_;
    std::vector<Item> items_;
    std::vector<std::string> key_texts_;  // Cursor::key of each of view_.keys
    TokenSpan having_;
    bool has_offset_ = false;
};

}  // namespace

Result<CreateView> parse_create_view(Cursor& cursor) {
    return ViewParser(cursor).parse();
}

}  // namespace weir::sql
