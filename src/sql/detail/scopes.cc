#include "sql/detail/scopes.h"

#include "base/check.h"

#include <algorithm>
#include <array>
#include <memory>

namespace weir::sql {
namespace {

constexpr std::array<std::string_view, 9> after_from = {"where",  "group",  "having",    "order", "limit",
                                                        "window", "offset", "returning", "fetch"};
constexpr std::array<std::string_view, 8> join_words = {"join",  "left",  "right", "full",
                                                        "inner", "outer", "cross", "natural"};
constexpr std::array<std::string_view, 4> compound_words = {"union", "intersect", "except", "all"};
constexpr std::array<std::string_view, 6> hidden_columns = {"_partition", "_offset",  "_append_time",
                                                            "_key",       "_headers", "_value"};

constexpr std::size_t tables_max = 500;  // mentions; SQLite joins 64 in one SELECT
constexpr int scope_depth_max = 64;      // how far out a column is looked for
constexpr int layers_max = 16;           // of min(max((x))) that are peeled off

template <std::size_t n>
bool is_one_of(const Token& token, const std::array<std::string_view, n>& words) {
    return std::ranges::any_of(words, [&](std::string_view word) { return token.is_word(word); });
}

bool begins_select(const Token& token) {
    return token.is_word("select") || token.is_word("with") || token.is_word("values");
}

bool touches(const Token& left, const Token& right) {
    return left.end() == right.position && right.kind != TokenKind::end;
}

}  // namespace

// One open query (a top level, or between two parentheses), or the parentheses of a join.
struct Scopes::Frame {
    enum class Kind : std::uint8_t { query, cte, from_subquery, scalar, plain } kind = Kind::query;
    enum class Part : std::uint8_t { start, with, items, from, on, rest } part = Part::start;
    int scope = -1;        // of the SELECT that is read now
    int first_scope = -1;  // the first of a compound: names the columns
    int parent = -1;       // scope outside
    std::size_t open = 0;  // its parenthesis
    std::size_t item_start = 0;
    bool expect_table = false;
    bool join_parentheses = false;  // a plain frame inside FROM: its tokens belong to the FROM clause around it
    std::string cte_name;
    Columns* cte_columns = nullptr;                      // where its outputs go
    std::vector<std::string> cte_names;                  // names given as name(a, b)
    std::vector<std::pair<std::string, Columns*>> ctes;  // visible inside this frame
};

class Scopes::Builder {
  public:
    Builder(Scopes& scopes, const Find& find) : out_(scopes), cursor_(*scopes.cursor_), scan_(cursor_), find_(find) {}

    Status build() {
        frames_.emplace_back();
        std::size_t at = 0;
        while (cursor_.token(at).kind != TokenKind::end) {
            out_.scope_of_[at] = frames_.back().scope;
            at = TRY(step(at));
        }
        end_scope(at);
        return {};
    }

  private:
    Frame& top() { return frames_.back(); }
    // The frame whose FROM clause the present token may belong to: parentheses of a join are transparent.
    Frame& query() {
        std::size_t i = frames_.size() - 1;
        while (i > 0 && frames_[i].join_parentheses)
            --i;
        return frames_[i];
    }

    // Handles the token at `at` and returns the next one to look at.
    Result<std::size_t> step(std::size_t at) {
        const Token& token = cursor_.token(at);
        if (token.is("(")) return open(at);
        if (token.is(")")) return close(at);
        Frame& frame = query();
        if (frame.kind == Frame::Kind::plain) return at + 1;
        if (frame.part == Frame::Part::with) return with(frame, at);
        if (frame.expect_table && token.is_name()) return table(frame, at);
        if (token.is(",")) {
            if (frame.part == Frame::Part::items) {
                end_item(frame, at);
                frame.item_start = at + 1;
            } else if (frame.part == Frame::Part::from || frame.part == Frame::Part::on) {
                frame.part = Frame::Part::from;
                frame.expect_table = true;
            }
            return at + 1;
        }
        if (token.kind == TokenKind::word) keyword(frame, token, at);
        return at + 1;
    }

    void keyword(Frame& frame, const Token& token, std::size_t at) {
        if (frame.part == Frame::Part::start) {
            if (token.is_word("with")) frame.part = Frame::Part::with;
            if (token.is_word("select")) begin_scope(frame, at);
            if (token.is_word("values")) frame.part = Frame::Part::rest;
            return;
        }
        if (is_one_of(token, compound_words) && !token.is_word("all")) {
            end_scope(at);
            frame.part = Frame::Part::start;
            return;
        }
        const bool from_distinct = at > 0 && cursor_.token(at - 1).is_word("distinct") && at > 1 &&
                                   (cursor_.token(at - 2).is_word("is") || cursor_.token(at - 2).is_word("not"));
        if (frame.part == Frame::Part::items) {
            if (!token.is_word("from") || from_distinct) return;
            end_item(frame, at);
            frame.part = Frame::Part::from;
            frame.expect_table = true;
            return;
        }
        if (frame.part != Frame::Part::from && frame.part != Frame::Part::on) return;
        if (token.is_word("natural") || token.is_word("using"))
            out_.scopes_[static_cast<std::size_t>(frame.scope)].using_join = true;
        if (token.is_word("join")) {
            frame.part = Frame::Part::from;
            frame.expect_table = true;
        } else if (token.is_word("on") || token.is_word("using")) {
            frame.part = Frame::Part::on;
            frame.expect_table = false;
        } else if (is_one_of(token, after_from)) {
            frame.part = Frame::Part::rest;
            frame.expect_table = false;
            if (frame.scope >= 0) finish_types(frame.scope);
        }
    }

    void begin_scope(Frame& frame, std::size_t at) {
        frame.scope = static_cast<int>(out_.scopes_.size());
        if (frame.first_scope < 0) frame.first_scope = frame.scope;
        out_.scopes_.emplace_back();
        out_.scopes_.back().parent = frame.parent;
        out_.scope_of_[at] = frame.scope;
        frame.part = Frame::Part::items;
        frame.item_start = at + 1;
        const Token& next = cursor_.token(at + 1);
        if (next.is_word("distinct") || next.is_word("all")) ++frame.item_start;
    }

    // The SELECT that is read now ends before `at`.
    void end_scope(std::size_t at) {
        Frame& frame = query();
        if (frame.scope < 0) return;
        if (frame.part == Frame::Part::items) end_item(frame, at);
        finish_types(frame.scope);
        if (frame.scope == frame.first_scope &&
            !std::exchange(out_.scopes_[static_cast<std::size_t>(frame.scope)].finished, true)) {
            make_outputs(frame.scope);
            if (frame.cte_columns != nullptr) hand_on(frame, *frame.cte_columns);
        }
        frame.expect_table = false;
    }

    void hand_on(const Frame& frame, Columns& columns) {
        const Scope& scope = out_.scopes_[static_cast<std::size_t>(frame.first_scope)];
        columns = scope.outputs;
        for (std::size_t i = 0; i < columns.size() && i < frame.cte_names.size(); ++i)
            columns[i].first = frame.cte_names[i];
        if (!scope.outputs_exact && !frame.cte_names.empty()) columns.clear();
    }

    void end_item(Frame& frame, std::size_t at) {
        if (at <= frame.item_start || frame.scope < 0) return;
        Item item;
        TokenSpan rest{frame.item_start, at};
        const Token& last = cursor_.token(at - 1);
        if (last.is("*") &&
            (rest.last == rest.first + 1 || (rest.last == rest.first + 3 && cursor_.token(rest.first + 1).is(".")))) {
            item.star = rest.last == rest.first + 1 ? "*" : lower_ascii(token_value(cursor_.token(rest.first)));
        } else {
            scan_.back_to(rest.first);
            auto span = scan_.expression("an expression");
            const std::size_t end = span ? std::min(span.value().last, at) : rest.first;
            const std::size_t alias_at = behind_window(end, at);
            const std::size_t name_at = cursor_.token(alias_at).is_word("as") ? alias_at + 1 : alias_at;
            // Anything else behind the expression, such as "OVER () + 1", makes another type of it.
            if (alias_at == at || name_at + 1 == at) item.span = {rest.first, end};
            if (last.is_name()) item.name = token_value(last);  // an alias, or a, t.a
        }
        out_.scopes_[static_cast<std::size_t>(frame.scope)].items.push_back(std::move(item));
    }

    // Past FILTER (...) and OVER (...) or OVER name: max(ts) OVER () is a time as max(ts) is.
    std::size_t behind_window(std::size_t from, std::size_t to) const {
        while (from + 1 < to && (cursor_.token(from).is_word("filter") || cursor_.token(from).is_word("over"))) {
            from = out_.partner_[from + 1] + 1;
        }
        return from;
    }

    void finish_types(int index) {
        Scope& scope = out_.scopes_[static_cast<std::size_t>(index)];
        if (!scope.alias_types.empty()) return;
        for (const Item& item : scope.items) {
            if (!item.star.empty() || item.name.empty()) continue;
            std::string type = out_.type_of_in(item.span, index);
            if (!type.empty()) scope.alias_types.emplace(lower_ascii(item.name), std::move(type));
        }
    }

    void make_outputs(int index) {
        Scope& scope = out_.scopes_[static_cast<std::size_t>(index)];
        for (const Item& item : scope.items) {
            if (item.star.empty()) {
                scope.outputs.emplace_back(item.name, out_.type_of_in(item.span, index));
                continue;
            }
            if (scope.using_join) inexact(scope);
            bool any = false;
            for (const Table& table : scope.tables) {
                if (item.star != "*" && table.qualifier != item.star) continue;
                any = true;
                if (table.ordered == nullptr) {
                    inexact(scope);
                    continue;
                }
                for (const auto& column : *table.ordered) {
                    if (scope.outputs.size() > 4096) break;  // SQLite allows 2000 columns of a result
                    const bool hidden = std::ranges::find(hidden_columns, column.first) != hidden_columns.end();
                    if (!hidden) scope.outputs.push_back(column);
                }
            }
            if (!any) inexact(scope);
        }
        if (scope.outputs_exact) scope.exact_count = scope.outputs.size();
    }

    // From here on a column's position is not known.
    static void inexact(Scope& scope) {
        if (scope.outputs_exact) scope.exact_count = scope.outputs.size();
        scope.outputs_exact = false;
    }

    Result<std::size_t> open(std::size_t at) {
        Frame& around = query();
        const Token& next = cursor_.token(at + 1);
        Frame frame;
        frame.open = at;
        frame.parent = around.scope;
        frame.scope = around.scope;
        const bool from_here = around.expect_table;
        if (around.part == Frame::Part::with && around.kind != Frame::Kind::plain) {
            if (begins_select(next) && !pending_cte_.empty()) {
                frame.kind = Frame::Kind::cte;
                frame.scope = -1;
                frame.cte_name = std::exchange(pending_cte_, {});
                frame.cte_names = std::exchange(pending_names_, {});
                out_.shapes_.push_back(std::make_unique<Columns>());
                frame.cte_columns = out_.shapes_.back().get();
                around.ctes.emplace_back(lower_ascii(frame.cte_name), frame.cte_columns);
            } else {
                frame.kind = Frame::Kind::plain;
                for (std::size_t i = at + 1; i < out_.partner_[at]; ++i) {
                    if (cursor_.token(i).is_name()) pending_names_.push_back(token_value(cursor_.token(i)));
                }
            }
        } else if (begins_select(next)) {
            frame.kind = from_here ? Frame::Kind::from_subquery : Frame::Kind::scalar;
            frame.scope = -1;
            around.expect_table = false;
        } else {
            frame.kind = Frame::Kind::plain;
            frame.join_parentheses = from_here;
        }
        out_.scope_of_[at] = around.scope;
        frames_.push_back(std::move(frame));
        return at + 1;
    }

    Result<std::size_t> close(std::size_t at) {
        if (top().kind != Frame::Kind::plain) end_scope(at);
        const Frame frame = std::move(frames_.back());
        frames_.pop_back();
        Frame& around = query();
        out_.scope_of_[at] = around.scope;
        if (frame.join_parentheses) around.expect_table = false;
        const Scope* scope = frame.kind != Frame::Kind::plain && frame.first_scope >= 0
                                 ? &out_.scopes_[static_cast<std::size_t>(frame.first_scope)]
                                 : nullptr;
        if (frame.kind == Frame::Kind::scalar && scope != nullptr && !scope->outputs.empty()) {
            out_.subquery_types_.emplace(frame.open, scope->outputs[0].second);
        }
        if (frame.kind != Frame::Kind::from_subquery || around.scope < 0) return at + 1;
        std::string name;
        const std::size_t next = alias(at + 1, name);
        out_.shapes_.push_back(std::make_unique<Columns>());
        if (scope != nullptr) *out_.shapes_.back() = scope->outputs;
        add_table(around.scope, name, out_.shapes_.back().get(), scope != nullptr && scope->outputs_exact);
        return next;
    }

    // [AS] name behind a table; returns the token behind it.
    std::size_t alias(std::size_t at, std::string& name) {
        const int scope = query().scope;
        std::size_t to = at;
        if (cursor_.token(to).is_word("as")) ++to;
        const Token& token = cursor_.token(to);
        const bool keyword = is_one_of(token, after_from) || is_one_of(token, join_words) ||
                             is_one_of(token, compound_words) || token.is_word("on") || token.is_word("using") ||
                             token.is_word("indexed") || token.is_word("not");
        if (!token.is_name() || (to == at && keyword)) return at;
        name = lower_ascii(token_value(token));
        for (std::size_t i = at; i <= to; ++i)
            out_.scope_of_[i] = scope;
        return to + 1;
    }

    void add_table(int scope, std::string qualifier, const Columns* columns, bool exact) {
        Table table;
        table.qualifier = std::move(qualifier);
        for (const auto& [column, type] : *columns)
            table.types.emplace(lower_ascii(column), type);
        table.ordered = exact ? columns : nullptr;
        out_.scopes_[static_cast<std::size_t>(scope)].tables.push_back(std::move(table));
    }

    // WITH name [(columns)] AS [NOT MATERIALIZED] ( ... ), ...: parentheses are handled by open().
    Result<std::size_t> with(Frame& frame, std::size_t at) {
        const Token& token = cursor_.token(at);
        if (token.is_word("select")) {
            frame.part = Frame::Part::start;
            keyword(frame, token, at);
        } else if (token.is_word("values")) {
            frame.part = Frame::Part::rest;
        } else if (token.is_name() && !token.is_word("as") && !token.is_word("recursive") &&
                   !token.is_word("materialized") && !token.is_word("not")) {
            pending_cte_ = token_value(token);
            pending_names_.clear();
        }
        return at + 1;
    }

    const Columns* cte(std::string_view name) {
        const std::string folded = lower_ascii(name);
        for (auto frame = frames_.rbegin(); frame != frames_.rend(); ++frame) {
            for (auto known = frame->ctes.rbegin(); known != frame->ctes.rend(); ++known) {
                if (known->first == folded) return known->second;
            }
        }
        return nullptr;
    }

    // A table's name in FROM.
    Result<std::size_t> table(Frame& frame, std::size_t at) {
        const Token& token = cursor_.token(at);
        if (is_one_of(token, join_words) || token.is_word("select")) return at + 1;
        frame.expect_table = false;
        if (cursor_.token(at + 1).is("(")) {
            for (const std::string_view window : {"tumble", "hop", "session"}) {
                if (token.is_word(window)) {
                    return cursor_.unsupported(
                        token,
                        std::string(token.text) +
                            "() stands in CREATE MATERIALIZED VIEW only: query the view, or GROUP BY bucket(ts, '1h')");
                }
            }
            return after_table_function(frame, at);
        }
        std::size_t next = at + 1;
        const Columns* columns = cte(token_value(token));
        std::string qualifier = lower_ascii(token_value(token));
        if (columns == nullptr) {
            std::size_t behind = at + 1;
            const TableShape* shape = longest_name(at, behind);
            if (shape != nullptr) {
                next = behind;
                qualifier = lower_ascii(shape->name);
                if (out_.table_names_.size() == tables_max) {
                    return cursor_.error(token, "a query names at most " + std::to_string(tables_max) + " tables");
                }
                out_.table_names_.push_back({{at, behind}, quoted_if_needed(shape->name)});
                if (std::ranges::find(out_.tables_, shape->name) == out_.tables_.end())
                    out_.tables_.push_back(shape->name);
                // The catalog's answer may not outlive the next question.
                out_.shapes_.push_back(std::make_unique<Columns>(shape->columns));
                columns = out_.shapes_.back().get();
            }
        }
        for (std::size_t i = at; i < next; ++i)
            out_.scope_of_[i] = frame.scope;
        next = alias(next, qualifier);
        if (columns != nullptr) {
            // A CTE that is being read (recursion) has no columns yet: then nothing can be said of `*`.
            add_table(frame.scope, qualifier, columns, !columns->empty());
        } else {
            out_.scopes_[static_cast<std::size_t>(frame.scope)].tables.push_back({qualifier, {}, nullptr});
        }
        return next;
    }

    std::size_t after_table_function(Frame& frame, std::size_t at) {
        out_.scopes_[static_cast<std::size_t>(frame.scope)].tables.push_back(
            {lower_ascii(token_value(cursor_.token(at))), {}, nullptr});
        return at + 1;
    }

    // "my-stream", sys.streams, my-stream: the longest run of touching tokens that the catalog has.
    const TableShape* longest_name(std::size_t at, std::size_t& behind) {
        const Token& first = cursor_.token(at);
        std::string joined = token_value(first);
        std::string found = find_(joined) == nullptr ? "" : joined;
        behind = at + 1;
        for (std::size_t i = at; joined.size() < 260; ++i) {
            const Token& next = cursor_.token(i + 1);
            if (!touches(cursor_.token(i), next)) break;
            const bool mark = next.is(".") || next.is("-");
            const bool part = next.is_name() || next.kind == TokenKind::number || next.kind == TokenKind::duration ||
                              next.kind == TokenKind::size;
            if (!mark && !part) break;
            joined += token_value(next);
            if (!part || find_(joined) == nullptr) continue;
            found = joined;
            behind = i + 2;
        }
        return found.empty() ? nullptr : find_(found);
    }

    Scopes& out_;
    const Cursor& cursor_;
    Cursor scan_;  // finds where an item's expression ends
    const Find& find_;
    std::vector<Frame> frames_;
    std::string pending_cte_;
    std::vector<std::string> pending_names_;
};

Status Scopes::match_parentheses() {
    std::vector<std::size_t> open;
    for (std::size_t i = 0;; ++i) {
        const Token& token = cursor_->token(i);
        partner_.push_back(i);
        scope_of_.push_back(-1);
        if (token.kind == TokenKind::end) break;
        if (token.is("(")) open.push_back(i);
        if (!token.is(")")) continue;
        if (open.empty()) return cursor_->error(token, "this ')' closes nothing");
        partner_[i] = open.back();
        partner_[open.back()] = i;
        open.pop_back();
    }
    if (!open.empty()) return cursor_->error(cursor_->token(open.back()), "this '(' has no ')'");
    return {};
}

Result<Scopes> Scopes::of_query(const Cursor& cursor, const Find& find) {
    Scopes scopes(cursor);
    TRY(scopes.match_parentheses());
    TRY(Builder(scopes, find).build());
    return scopes;
}

Result<Scopes> Scopes::of_expression(const Cursor& cursor, const TableShape& shape) {
    Scopes scopes(cursor);
    TRY(scopes.match_parentheses());
    std::ranges::fill(scopes.scope_of_, 0);
    Table table;
    table.qualifier = lower_ascii(shape.name);
    for (const auto& [column, type] : shape.columns)
        table.types.emplace(lower_ascii(column), type);
    scopes.scopes_.emplace_back();
    scopes.scopes_.back().tables.push_back(std::move(table));
    return scopes;
}

std::string Scopes::column_type(int scope, std::string_view qualifier, std::string_view column) const {
    const std::string name = lower_ascii(column), table_name = lower_ascii(qualifier);
    for (int depth = 0; scope >= 0 && depth < scope_depth_max; ++depth) {
        const Scope& here = scopes_[static_cast<std::size_t>(scope)];
        for (const Table& table : here.tables) {
            if (!qualifier.empty() && table.qualifier != table_name) continue;
            const auto found = table.types.find(name);
            if (found != table.types.end()) return found->second;
            if (!qualifier.empty()) return {};
        }
        if (qualifier.empty()) {
            const auto alias = here.alias_types.find(name);
            if (alias != here.alias_types.end()) return alias->second;
        }
        scope = here.parent;
    }
    return {};
}

TokenSpan Scopes::reference_at(std::size_t token) const {
    if (!cursor_->token(token).is_name()) return {token, token};
    std::size_t last = token + 1;
    while (last < token + 5 && cursor_->token(last).is(".") && cursor_->token(last + 1).is_name())
        last += 2;
    if (cursor_->token(last).is("(")) return {token, token};
    return {token, last};
}

std::string Scopes::type_of(TokenSpan span) const {
    return type_of_in(span, scope_of_[span.first]);
}

std::string Scopes::type_of_in(TokenSpan span, int scope) const {
    // min(max((ts))): each turn peels one layer off.
    for (int layer = 0; !span.empty() && layer < layers_max; ++layer) {
        const Token& first = cursor_->token(span.first);
        if (first.is("(") && partner_[span.first] + 1 == span.last) {
            const auto subquery = subquery_types_.find(span.first);
            if (subquery != subquery_types_.end()) return subquery->second;
            span = {span.first + 1, span.last - 1};
            continue;
        }
        if (!first.is_name()) return {};
        const TokenSpan reference = reference_at(span.first);
        if (!reference.empty()) {
            if (reference.last != span.last) return {};
            const std::string column = token_value(cursor_->token(reference.last - 1));
            std::string qualifier;
            for (std::size_t i = reference.first; i + 2 < reference.last; ++i)
                qualifier += token_value(cursor_->token(i));
            return column_type(scope, qualifier, column);
        }
        const bool whole_call = cursor_->token(span.first + 1).is("(") && partner_[span.first + 1] + 1 == span.last;
        if (!whole_call) return {};
        for (const std::string_view name : {"bucket", "now", "ago", "weir_time"}) {
            if (first.is_word(name)) return "TIMESTAMP";
        }
        if (first.is_word("count") || first.is_word("epoch_ms") || first.is_word("length")) return "INTEGER";
        if (first.is_word("rfc3339")) return "TEXT";
        if (first.is_word("avg")) return "REAL";
        if (!first.is_word("min") && !first.is_word("max")) return {};
        span = {span.first + 2, span.last - 1};
        // Of one argument; of several only the first would be looked at.
        for (std::size_t i = span.first; i < span.last; ++i) {
            if (cursor_->token(i).is("("))
                i = partner_[i];
            else if (cursor_->token(i).is(","))
                return {};
        }
    }
    return {};
}

Columns Scopes::result_columns() const {
    // The first SELECT outside of all parentheses: the bodies of WITH stand inside some.
    for (std::size_t i = 0; cursor_->token(i).kind != TokenKind::end; ++i) {
        if (cursor_->token(i).is("(")) {
            i = partner_[i];
        } else if (cursor_->token(i).is_word("select") && scope_of_[i] >= 0) {
            const Scope& scope = scopes_[static_cast<std::size_t>(scope_of_[i])];
            return {scope.outputs.begin(), scope.outputs.begin() + static_cast<std::ptrdiff_t>(scope.exact_count)};
        }
    }
    return {};
}

}  // namespace weir::sql
