#include "sql/rewrite.h"

#include "record/time.h"
#include "sql/detail/cursor.h"
#include "sql/detail/scopes.h"
#include "sql/tokens.h"

#include <algorithm>
#include <array>

namespace weir::sql {
namespace {

constexpr std::array<std::string_view, 8> comparisons = {"=", "==", "<>", "!=", "<", "<=", ">", ">="};
// What binds tighter than a comparison: an operand beside one of these is part of a larger expression.
constexpr std::array<std::string_view, 13> tighter = {"+", "-",  "*",  "/",  "%",   "||", "&",
                                                      "|", "<<", ">>", "->", "->>", "~"};
// Words behind which '(' opens an operand and not a function's arguments, a list or the columns of a clause.
constexpr std::array<std::string_view, 20> before_operand = {
    "select", "distinct", "all",  "where", "and",  "or", "not",     "on",   "having", "when",
    "then",   "else",     "case", "by",    "from", "is", "between", "like", "limit",  "offset"};
constexpr std::size_t between_tokens_max = 64;  // how far the AND of a BETWEEN is looked for

bool is_comparison(const Token& token) {
    return token.kind == TokenKind::op && std::ranges::find(comparisons, token.text) != comparisons.end();
}
bool binds_tighter(const Token& token) {
    return (token.kind == TokenKind::op && std::ranges::find(tighter, token.text) != tighter.end()) ||
           token.is_word("collate");
}

// Type of a stream's columns that no CREATE STREAM names.
constexpr std::array<std::pair<std::string_view, std::string_view>, 6> hidden_columns = {{
    {"_partition", "INTEGER"},
    {"_offset", "INTEGER"},
    {"_append_time", "TIMESTAMP"},
    {"_key", "TEXT"},
    {"_headers", "JSON"},
    {"_value", "TEXT"},
}};

// One replacement in the user's text: bytes [from, to) become `text`.
struct Edit {
    std::size_t from = 0;
    std::size_t to = 0;
    std::string text;
};

// Finds literals and parameters that a TIMESTAMP is compared with, and wraps them in weir_time().
class TimeComparisons {
  public:
    TimeComparisons(const Cursor& cursor, const Scopes& scopes, std::vector<Edit>& edits)
        : cursor_(cursor), scopes_(scopes), edits_(edits) {}

    Status find() {
        for (std::size_t i = 0; token(i).kind != TokenKind::end; ++i) {
            TRY(follow_case(i));
            if (i > 0 && token(i - 1).is(".")) continue;
            TokenSpan operand = operand_at(i);
            if (operand.empty() || is_wrapped(operand) || scopes_.type_of(operand) != "TIMESTAMP") continue;
            operand = with_parentheses(operand);
            if (operand.first > 0 && binds_tighter(token(operand.first - 1))) continue;
            if (binds_tighter(token(operand.last))) continue;
            if (!cases_.empty() && cases_.back().first == operand.first && token(operand.last).is_word("when"))
                cases_.back().is_time = true;
            TRY(behind(operand.last));
            TRY(before(operand));
        }
        return {};
    }

  private:
    // A CASE that is open. With a base, `CASE ts WHEN '2015-05-18'`, each WHEN compares.
    struct Case {
        std::size_t first = 0;  // token behind CASE
        bool is_time = false;   // the base is a TIMESTAMP
    };

    const Token& token(std::size_t i) const { return cursor_.token(i); }

    // A column reference, or a whole call.
    TokenSpan operand_at(std::size_t i) const {
        const TokenSpan reference = scopes_.reference_at(i);
        if (!reference.empty() || !token(i).is_name() || !token(i + 1).is("(")) return reference;
        return {i, scopes_.closing(i + 1) + 1};
    }

    // weir_time('2015-05-18'), as wrap() makes it, has been compared already. What is beside it is left alone, so that
    // a text that was rewritten once stays as it is: a CHECK is, each time its statement is read again.
    bool is_wrapped(TokenSpan span) const {
        const TokenKind inner = span.last == span.first + 4 ? token(span.first + 2).kind : TokenKind::end;
        return token(span.first).is_word("weir_time") && (inner == TokenKind::string || inner == TokenKind::parameter);
    }

    // The operand with the parentheses that hold it and nothing else: ((ts)).
    TokenSpan with_parentheses(TokenSpan span) const {
        while (span.first > 0 && token(span.first - 1).is("(") && scopes_.closing(span.first - 1) == span.last) {
            if (span.first > 1) {
                const Token& opener = token(span.first - 2);
                const auto is_opener = [&](std::string_view word) { return opener.is_word(word); };
                if (opener.kind != TokenKind::op && std::ranges::none_of(before_operand, is_opener)) break;
            }
            span = {span.first - 1, span.last + 1};
        }
        return span;
    }

    Status follow_case(std::size_t i) {
        if (i > 0 && token(i - 1).is(".")) return {};  // t.end
        if (token(i).is_word("case")) cases_.push_back({i + 1, false});
        if (cases_.empty()) return {};
        if (token(i).is_word("end")) {
            cases_.pop_back();
            return {};
        }
        if (!token(i).is_word("when") || !cases_.back().is_time || token(i + 1).kind == TokenKind::end) return {};
        return token(i + 2).is_word("then") ? wrap(i + 1) : Status();
    }

    Status behind(std::size_t i) {
        if (is_comparison(token(i))) return wrap(i + 1);
        if (token(i).is_word("is")) {
            if (token(i + 1).is_word("not")) ++i;
            if (token(i + 1).is_word("distinct") && token(i + 2).is_word("from")) i += 2;
            return wrap(i + 1);
        }
        if (token(i).is_word("not")) ++i;
        if (token(i).is_word("between")) {
            TRY(wrap(i + 1));
            for (std::size_t at = i + 1; at < i + between_tokens_max && token(at).kind != TokenKind::end; ++at) {
                if (token(at).is(")") || token(at).is(",") || token(at).is_word("between")) break;
                if (token(at).is("(")) at = scopes_.closing(at);
                if (token(at).is_word("and")) return wrap(at + 1);
            }
        }
        if (token(i).is_word("in") && token(i + 1).is("(")) {
            const std::size_t close = scopes_.closing(i + 1);
            for (std::size_t at = i + 2; at < close; ++at) {
                if (token(at).is("("))
                    at = scopes_.closing(at);
                else if (token(at - 1).is("(") || token(at - 1).is(","))
                    TRY(wrap(at));
            }
        }
        return {};
    }

    Status before(TokenSpan operand) {
        const std::size_t i = operand.first;
        if (i < 2) return {};
        std::size_t literal = i - 2;
        if (token(i - 1).is_word("when")) {
            // CASE '2015-05-18' WHEN ts THEN
            if (i < 3 || !token(i - 3).is_word("case") || !token(operand.last).is_word("then")) return {};
        } else if (token(i - 1).is_word("between")) {
            if (token(literal).is_word("not") && literal > 0) --literal;
        } else if (!is_comparison(token(i - 1))) {
            return {};
        }
        if (literal > 0 && binds_tighter(token(literal - 1))) return {};
        return wrap(literal);
    }

    Status wrap(std::size_t i) {
        const Token& value = token(i);
        const bool literal = value.kind == TokenKind::string;
        if ((!literal && value.kind != TokenKind::parameter) || binds_tighter(token(i + 1))) return {};
        if (literal && !record::parse_time_literal(token_value(value))) {
            return cursor_.error(
                value, place_of(value) +
                           ": a TIMESTAMP is compared with a time, such as '2015-05-18T00:00:00Z' or '2015-05-18'");
        }
        edits_.push_back({value.position, value.end(), "weir_time(" + std::string(value.text) + ")"});
        return {};
    }

    const Cursor& cursor_;
    const Scopes& scopes_;
    std::vector<Edit>& edits_;
    std::vector<Case> cases_;  // innermost last
};

// `bucket(ts, '1h') = x` says something of ts that a scan can prune by: x <= ts < x + 1h. The comparison stays as it is
// and gets the bounds that follow from it beside it, so that no row's answer changes, NULLs included.
class BucketBounds {
  public:
    BucketBounds(const Cursor& cursor, const Scopes& scopes, std::vector<Edit>& edits)
        : cursor_(cursor), scopes_(scopes), edits_(edits) {}

    void find() {
        for (std::size_t i = 1; token(i).kind != TokenKind::end; ++i) {
            if (!token(i).is_word("bucket") || !token(i + 1).is("(") || !begins_condition(token(i - 1))) continue;
            const TokenSpan time = scopes_.reference_at(i + 2);
            if (time.empty() || scopes_.type_of(time) != "TIMESTAMP") continue;
            const std::size_t close = scopes_.closing(i + 1);
            if (!token(time.last).is(",") || token(time.last + 1).kind != TokenKind::string || close != time.last + 2)
                continue;
            const auto size_ms = record::parse_duration_ms(token_value(token(time.last + 1)));
            if (size_ms) bound(i, text(time), *size_ms, close + 1);
        }
    }

  private:
    const Token& token(std::size_t i) const { return cursor_.token(i); }
    std::string text(TokenSpan span) const { return cursor_.text(span); }

    static bool begins_condition(const Token& before) {
        return before.is("(") || before.is_word("where") || before.is_word("and") || before.is_word("or") ||
               before.is_word("on");
    }
    bool ends_condition(const Token& behind) const {
        if (behind.kind == TokenKind::end || behind.is(")")) return true;
        for (const std::string_view word : {"and", "or", "group", "order", "limit", "having", "union", "window"}) {
            if (behind.is_word(word)) return true;
        }
        return false;
    }

    // The other side at `at`: a literal, now() or ago('..'). Empty: something else, of which nothing is known.
    TokenSpan other_side(std::size_t at) const {
        if (token(at).kind == TokenKind::string) return {at, at + 1};
        if ((token(at).is_word("now") || token(at).is_word("ago")) && token(at + 1).is("("))
            return {at, scopes_.closing(at + 1) + 1};
        return {at, at};
    }

    void bound(std::size_t first, const std::string& time, std::int64_t size_ms, std::size_t comparison) {
        const TokenSpan other = other_side(comparison + 1);
        if (other.empty() || !is_comparison(token(comparison)) || !ends_condition(token(other.last))) return;
        const std::string_view how = token(comparison).text;
        std::string value = text(other);
        if (token(other.first).kind == TokenKind::string) value = "weir_time(" + value + ")";
        std::string bounds;
        if (how == "=" || how == "==" || how == ">=" || how == ">") bounds += " AND " + time + " >= " + value;
        if (how == "=" || how == "==" || how == "<=" || how == "<")
            bounds += " AND " + time + " < " + value + " + " + std::to_string(size_ms);
        if (bounds.empty()) return;
        edits_.push_back({token(first).position, token(first).position, "("});
        const std::size_t end = token(other.last - 1).end();
        edits_.push_back({end, end, bounds + ")"});
    }

    const Cursor& cursor_;
    const Scopes& scopes_;
    std::vector<Edit>& edits_;
};

// Column references whose table's name needs quotes where it did not have them: sys.streams.name.
void quote_qualifiers(const Cursor& cursor, const Scopes& scopes, std::vector<Edit>& edits) {
    std::vector<std::string> dotted;
    for (const std::string& table : scopes.tables()) {
        if (table.find('.') != std::string::npos) dotted.push_back(lower_ascii(table));
    }
    if (dotted.empty()) return;
    for (std::size_t i = 0; cursor.token(i).kind != TokenKind::end; ++i) {
        if (i > 0 && cursor.token(i - 1).is(".")) continue;
        const TokenSpan reference = scopes.reference_at(i);
        // sys.streams.name, or the qualifier of sys.streams.*
        const bool star = reference.last == reference.first + 3 && cursor.token(reference.last).is(".") &&
                          cursor.token(reference.last + 1).is("*");
        if (reference.last != reference.first + 5 && !star) continue;
        const std::string name = token_value(cursor.token(i)) + "." + token_value(cursor.token(i + 2));
        if (std::ranges::find(dotted, lower_ascii(name)) == dotted.end()) continue;
        edits.push_back({cursor.token(i).position, cursor.token(i + 2).end(), quoted_if_needed(name)});
    }
}

// Applies edits in order of place; two for one place (a literal between two times) count once.
std::string apply(std::string_view text, std::size_t from, std::size_t to, std::vector<Edit>& edits,
                  std::vector<std::pair<std::size_t, std::size_t>>* positions) {
    std::ranges::stable_sort(edits, {}, &Edit::from);
    std::string out;
    std::size_t at = from;
    const auto mark = [&](std::size_t user) {
        if (positions != nullptr) positions->emplace_back(out.size(), user);
    };
    mark(at);
    for (const Edit& edit : edits) {
        if (edit.from < at || edit.to > to) continue;
        out.append(text.substr(at, edit.from - at));
        mark(edit.from);
        out += edit.text;
        at = edit.to;
        mark(at);
    }
    out.append(text.substr(at, to - at));
    return out;
}

}  // namespace

std::size_t RewrittenQuery::user_position(std::size_t rewritten) const {
    const auto behind = std::ranges::upper_bound(positions, rewritten, {}, [](const auto& pair) { return pair.first; });
    if (behind == positions.begin()) return rewritten;
    const auto& [start, user] = *(behind - 1);
    const std::size_t position = user + (rewritten - start);
    // Inside of a replacement: not beyond what it replaced.
    return behind == positions.end() ? position : std::min(position, behind->second);
}

Result<RewrittenQuery> rewrite_query(std::string_view text,
                                     const std::function<const TableShape*(std::string_view name)>& find) {
    std::vector<Token> tokens = TRY(tokenize(text));
    while (tokens.size() > 1 && tokens[tokens.size() - 2].is(";"))
        tokens.erase(tokens.end() - 2);
    const std::size_t from = tokens.front().position;
    const std::size_t to = tokens.size() > 1 ? tokens[tokens.size() - 2].end() : from;
    std::size_t first = 0;
    const bool explain =
        tokens[0].is_word("explain") && tokens.size() > 3 && tokens[1].is_word("query") && tokens[2].is_word("plan");
    if (explain) first = 3;
    Cursor cursor(std::vector<Token>(tokens.begin() + static_cast<std::ptrdiff_t>(first), tokens.end()));
    const Token& begin = cursor.token(0);
    if (!begin.is_word("select") && !begin.is_word("with") && !begin.is_word("values"))
        return cursor.unexpected({"SELECT", "WITH", "VALUES"});
    for (std::size_t i = 0; cursor.token(i).kind != TokenKind::end; ++i) {
        if (cursor.token(i).is(";"))
            return cursor.error(cursor.token(i), "one statement at a time: text follows the ';'");
    }
    const Scopes scopes = TRY(Scopes::of_query(cursor, find));
    std::vector<Edit> edits;
    for (const Scopes::TableName& name : scopes.table_names()) {
        edits.push_back({cursor.token(name.span.first).position, cursor.token(name.span.last - 1).end(), name.text});
    }
    TRY(TimeComparisons(cursor, scopes, edits).find());
    BucketBounds(cursor, scopes, edits).find();
    quote_qualifiers(cursor, scopes, edits);
    RewrittenQuery out;
    out.sql = apply(text, from, to, edits, &out.positions);
    out.tables = scopes.tables();
    if (explain) return out;
    for (auto& column : scopes.result_columns())
        out.column_types.push_back(std::move(column.second));
    return out;
}

TableShape stream_shape(const std::string& name, const record::Schema& schema) {
    TableShape shape;
    shape.name = name;
    for (const record::Column& column : schema.columns)
        shape.columns.emplace_back(column.name, record::type_name(column.type));
    for (const auto& [column, type] : hidden_columns)
        shape.columns.emplace_back(column, type);
    return shape;
}

namespace {

std::string expression_type(const std::string& text, const TableShape& shape) {
    auto tokens = tokenize(text);
    if (!tokens) return {};
    const Cursor cursor(std::move(tokens).value());
    const auto scopes = Scopes::of_expression(cursor, shape);
    std::size_t last = 0;
    while (cursor.token(last).kind != TokenKind::end)
        ++last;
    return scopes && last > 0 ? scopes.value().type_of({0, last}) : std::string();
}

}  // namespace

TableShape view_shape(const CreateView& view, const record::Schema& schema) {
    const TableShape stream = stream_shape(view.stream, schema);
    TableShape shape;
    shape.name = view.name;
    for (const ViewItem& item : view.items) {
        std::string type;
        if (!item.is_aggregate) {
            const ViewKey& key = view.keys[static_cast<std::size_t>(item.key)];
            type = key.kind == ViewKey::Kind::expression ? expression_type(key.sql, stream) : "TIMESTAMP";
        } else if (item.aggregate == AggregateKind::count_star || item.aggregate == AggregateKind::count ||
                   item.aggregate == AggregateKind::count_distinct) {
            type = "INTEGER";
        } else if (item.aggregate == AggregateKind::avg) {
            type = "REAL";
        } else {
            type = expression_type(item.argument_sql, stream);
            const bool number = type == "INTEGER" || type == "REAL";
            if (item.aggregate == AggregateKind::sum && !number) type.clear();
        }
        shape.columns.emplace_back(item.name, std::move(type));
    }
    return shape;
}

Result<std::string> rewrite_expression(std::string_view text, const TableShape& shape) {
    Cursor cursor(TRY(tokenize(text)));
    const Scopes scopes = TRY(Scopes::of_expression(cursor, shape));
    std::vector<Edit> edits;
    TRY(TimeComparisons(cursor, scopes, edits).find());
    return apply(text, 0, text.size(), edits, nullptr);
}

}  // namespace weir::sql
