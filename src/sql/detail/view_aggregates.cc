#include "sql/detail/view_aggregates.h"

#include <algorithm>
#include <array>
#include <utility>

namespace weir::sql {
namespace {

constexpr std::array<std::pair<std::string_view, AggregateKind>, 7> aggregates = {{
    {"count", AggregateKind::count},
    {"sum", AggregateKind::sum},
    {"min", AggregateKind::min},
    {"max", AggregateKind::max},
    {"avg", AggregateKind::avg},
    {"first", AggregateKind::first},
    {"last", AggregateKind::last},
}};
// Aggregates of SQLite and of the dialect's plan that views do not have yet.
constexpr std::array<std::string_view, 9> other_aggregates = {
    "total",  "group_concat",     "string_agg",        "arg_max",        "arg_min",
    "median", "json_group_array", "json_group_object", "approx_quantile"};

bool is_call(const Cursor& cursor, std::size_t at) {
    return cursor.token(at).kind == TokenKind::word && cursor.token(at + 1).is("(");
}

// Commas of the outermost level.
std::size_t commas_in(const Cursor& cursor, TokenSpan span) {
    std::size_t depth = 0, commas = 0;
    for (std::size_t i = span.first; i < span.last; ++i) {
        if (cursor.token(i).is("(")) ++depth;
        if (cursor.token(i).is(")")) --depth;
        if (cursor.token(i).is(",") && depth == 0) ++commas;
    }
    return commas;
}

}  // namespace

std::string_view aggregate_names() {
    return "count, sum, min, max, avg, first and last";
}

std::size_t closing_of(const Cursor& cursor, std::size_t open) {
    std::size_t depth = 0;
    std::size_t i = open;
    for (; cursor.token(i).kind != TokenKind::end; ++i) {
        if (cursor.token(i).is("(")) ++depth;
        if (cursor.token(i).is(")") && --depth == 0) break;
    }
    return i;
}

Result<std::optional<AggregateCall>> aggregate_at(const Cursor& cursor, std::size_t at) {
    if (!is_call(cursor, at)) return std::optional<AggregateCall>();
    const Token& name = cursor.token(at);
    const auto* found = std::ranges::find_if(aggregates, [&](const auto& a) { return name.is_word(a.first); });
    if (found == aggregates.end()) return std::optional<AggregateCall>();

    AggregateCall call;
    call.kind = found->second;
    call.last = closing_of(cursor, at + 1) + 1;
    call.argument = {at + 2, call.last - 1};
    const Token& argument = cursor.token(call.argument.first);
    const std::string written = lower_ascii(name.text);
    if (argument.is_word("DISTINCT") && !call.argument.empty()) {
        if (call.kind != AggregateKind::count) {
            return cursor.unsupported(argument, written + "(DISTINCT ...) in a view is not built yet");
        }
        call.kind = AggregateKind::count_distinct;
        ++call.argument.first;
    }
    const std::size_t commas = commas_in(cursor, call.argument);
    const Token& first = cursor.token(call.argument.first);
    // min(a, b) is the smaller of two values of one row: an expression, not an aggregate.
    if (commas > 0 && (call.kind == AggregateKind::min || call.kind == AggregateKind::max))
        return std::optional<AggregateCall>();
    if (commas > 0) return cursor.error(first, written + "() takes one argument");
    const bool star = first.is("*") && call.argument.last == call.argument.first + 1;
    if (call.kind == AggregateKind::count && (star || call.argument.empty())) {
        call.kind = AggregateKind::count_star;
        call.argument = {};
        return std::optional(call);
    }
    if (star || call.argument.empty()) {
        return cursor.error(first, written + "() needs an expression over the stream's columns");
    }
    TRY(refuse_aggregates(cursor, call.argument));
    return std::optional(call);
}

Status refuse_aggregates(const Cursor& cursor, TokenSpan span) {
    for (std::size_t i = span.first; i + 1 < span.last; ++i) {
        if (!is_call(cursor, i)) continue;
        const Token& token = cursor.token(i);
        for (const std::string_view name : other_aggregates) {
            if (token.is_word(name)) {
                return cursor.unsupported(token, std::string(name) +
                                                     "() in a view is not built yet: the aggregates are " +
                                                     std::string(aggregate_names()));
            }
        }
        // min and max of one row's values are no aggregates.
        for (const std::string_view name : {"count", "sum", "avg", "first", "last"}) {
            if (!token.is_word(name)) continue;
            return cursor.unsupported(token, "an expression over aggregates is not built yet: select " +
                                                 std::string(name) +
                                                 "() by itself and compute when you query the view");
        }
    }
    return {};
}

}  // namespace weir::sql
