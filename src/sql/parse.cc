#include "base/limits.h"
#include "sql/detail/cursor.h"
#include "sql/detail/parse_stream.h"
#include "sql/rewrite.h"
#include "sql/statement.h"
#include "sql/tokens.h"

#include <algorithm>
#include <array>

namespace weir::sql {
namespace {

bool ends_with_word(std::string_view name, std::string_view suffix) {
    return name.size() >= suffix.size() && same_word(name.substr(name.size() - suffix.size()), suffix);
}

// Statements that are understood and not offered, and what to do in their place.
struct Refused {
    std::string_view word;
    std::string_view why;
};
constexpr std::array<Refused, 17> refused = {{
    {"INSERT", "INSERT: events come in over POST /v1/streams/{stream}/events"},
    {"REPLACE", "REPLACE: events come in over POST /v1/streams/{stream}/events"},
    {"UPDATE", "UPDATE: a stream is a log and a view follows it; neither is changed by hand"},
    {"DELETE", "DELETE: events leave by RETAIN only"},
    {"TRUNCATE", "TRUNCATE: events leave by RETAIN only; DROP removes a stream"},
    {"BEGIN", "BEGIN: each query reads one snapshot by itself"},
    {"COMMIT", "COMMIT: each query reads one snapshot by itself"},
    {"ROLLBACK", "ROLLBACK: each query reads one snapshot by itself"},
    {"SAVEPOINT", "SAVEPOINT: each query reads one snapshot by itself"},
    {"PRAGMA", "PRAGMA is not offered"},
    {"ATTACH", "ATTACH is not offered"},
    {"DETACH", "DETACH is not offered"},
    {"VACUUM", "VACUUM is not offered"},
    {"ANALYZE", "ANALYZE is not offered"},
    {"REINDEX", "REINDEX is not offered"},
    {"TEST", "TEST MATERIALIZED VIEW is not built yet"},
    {"SET", "SET: what changes a meaning stands in its statement"},
}};

constexpr std::array<std::string_view, 12> created_elsewhere = {
    "TABLE", "VIEW", "SINK", "ALERT", "INDEX", "TRIGGER", "TOPIC", "USER", "SCHEMA", "TEMP", "VIRTUAL", "UNIQUE"};

// The tokens between the parentheses of the next CHECK of a CREATE STREAM that was parsed without error and has one
// more. `cursor` moves behind it.
Result<TokenSpan> next_check(Cursor& cursor) {
    // A column may be called check, but no '(' stands behind a column's name.
    while (cursor.peek().kind != TokenKind::end && !(cursor.sees({"CHECK"}) && cursor.peek(1).is("(")))
        cursor.advance();
    cursor.advance();
    return cursor.parenthesised("CHECK");
}

// In each CHECK a TIMESTAMP is compared in time. Here and not where a CHECK is read, for it may name columns behind it.
// `first` is the statement's first token behind STREAM. The canonical text has the rewritten CHECKs, which read as they
// are when it is parsed again.
Status rewrite_checks(Cursor& cursor, std::size_t first, CreateStream& stream) {
    const std::size_t behind = cursor.at();
    const TableShape shape = stream_shape(stream.name, stream.schema);
    cursor.back_to(first);
    for (record::Column& column : stream.schema.columns) {
        stream.check_positions.push_back(-1);
        if (column.check_sql.empty()) continue;
        const TokenSpan span = TRY(next_check(cursor));
        stream.check_positions.back() = static_cast<std::int64_t>(cursor.token(span.first).position);
        auto rewritten = rewrite_expression(column.check_sql, shape);
        if (!rewritten) {
            // The position counts in text without its gaps; its tokens are the statement's, one by one.
            Error error = std::move(rewritten).error();
            std::size_t token = span.first;
            for (const Token& t : TRY(tokenize(column.check_sql)))
                token += t.kind != TokenKind::end && static_cast<std::int64_t>(t.position) < error.position ? 1 : 0;
            error.position = static_cast<std::int64_t>(cursor.token(token).position);
            return error;
        }
        column.check_sql = std::move(rewritten).value();
    }
    cursor.back_to(behind);
    return {};
}

Result<Statement> parse_create(Cursor& cursor) {
    const bool or_replace = cursor.accept({"OR", "REPLACE"});
    if (!or_replace && cursor.accept({"OR"})) return cursor.unexpected({"REPLACE"});
    const Token& where = cursor.peek();
    // Before the rest is read: the second of the two that is wrong.
    const auto check_both = [&]() -> Status {
        const Token& second = cursor.peek();
        if (!or_replace || !second.is_word("IF")) return {};
        return cursor.error(second,
                            "OR REPLACE and IF NOT EXISTS exclude each other: the one changes what is there, "
                            "the other leaves it");
    };
    if (cursor.accept({"STREAM"})) {
        TRY(check_both());
        const std::size_t first = cursor.at();
        CreateStream stream = TRY(parse_create_stream(cursor));
        stream.or_replace = or_replace;
        TRY(rewrite_checks(cursor, first, stream));
        // The log's entry holds this text, which every replica must be able to parse; it may be longer than what came.
        if (canonical(stream).size() > limits::sql_bytes_max)
            return Error{Errc::too_large, "the statement has, with its defaults and times written out, more than " +
                                              std::to_string(limits::sql_bytes_max) + " bytes"};
        return Statement(std::move(stream));
    }
    if (cursor.accept({"MATERIALIZED"})) {
        TRY(cursor.expect({"VIEW"}));
        TRY(check_both());
        CreateView view = TRY(parse_create_view(cursor));
        view.or_replace = or_replace;
        return Statement(std::move(view));
    }
    for (const std::string_view word : created_elsewhere) {
        if (!where.is_word(word)) continue;
        const std::string hint =
            where.is_word("VIEW") ? "write CREATE MATERIALIZED VIEW" : "there are streams and materialized views";
        return cursor.unsupported(where, "CREATE " + std::string(word) + " is not offered: " + hint);
    }
    return cursor.unexpected({"STREAM", "MATERIALIZED"});
}

Result<Statement> parse_drop(Cursor& cursor) {
    DropObject drop;
    if (cursor.accept({"STREAM"})) {
        drop.is_view = false;
    } else if (cursor.accept({"VIEW"}) || cursor.accept({"MATERIALIZED", "VIEW"})) {
        drop.is_view = true;
    } else if (cursor.accept({"MATERIALIZED"})) {
        return cursor.unexpected({"VIEW"});
    } else {
        return cursor.unexpected({"STREAM", "MATERIALIZED", "VIEW"});
    }
    drop.if_exists = cursor.accept({"IF", "EXISTS"});
    if (!drop.if_exists && cursor.accept({"IF"})) return cursor.unexpected({"EXISTS"});
    drop.name = TRY(cursor.name("a name"));
    drop.cascade = cursor.accept({"CASCADE"});
    if (!drop.cascade) cursor.accept({"RESTRICT"});  // what DROP does anyway
    return Statement(std::move(drop));
}

Result<Statement> parse_alter(Cursor& cursor) {
    const Token& what = cursor.peek();
    if (cursor.accept({"STREAM"})) return Statement(TRY(parse_alter_stream(cursor)));
    if (what.is_word("MATERIALIZED") || what.is_word("VIEW"))
        return cursor.unsupported(what, "ALTER of a view: CREATE OR REPLACE MATERIALIZED VIEW makes its rows anew");
    return cursor.unexpected({"STREAM"});
}

Result<Statement> parse_show(Cursor& cursor) {
    if (cursor.accept({"STREAMS"})) return Statement(Show{Show::What::streams});
    if (cursor.accept({"VIEWS"}) || cursor.accept({"MATERIALIZED", "VIEWS"})) return Statement(Show{Show::What::views});
    if (cursor.accept({"WATERMARKS"})) return Statement(Show{Show::What::watermarks});
    return cursor.unexpected({"STREAMS", "VIEWS", "WATERMARKS"});
}

bool begins_query(const Cursor& cursor) {
    return cursor.sees({"SELECT"}) || cursor.sees({"WITH"}) || cursor.sees({"VALUES"});
}

// Up to the ';' or the end; SQLite parses the rest.
Result<Statement> parse_query(Cursor& cursor, std::string_view text) {
    const std::size_t from = cursor.peek().position;
    if (cursor.accept({"EXPLAIN"})) {
        if (cursor.accept({"VIEW"})) {
            TRY(cursor.name("a view after EXPLAIN VIEW"));
            return Statement(Select{std::string(text.substr(from, cursor.token(cursor.at() - 1).end() - from))});
        } else {
            (void)cursor.accept({"QUERY", "PLAN"});
            if (!begins_query(cursor)) return cursor.unexpected({"SELECT", "WITH", "VALUES", "VIEW"});
        }
    }
    std::size_t to = from;
    while (cursor.peek().kind != TokenKind::end && !cursor.peek().is(";")) {
        to = cursor.peek().end();
        cursor.advance();
    }
    return Statement(Select{std::string(text.substr(from, to - from))});
}

Result<Statement> parse_first(Cursor& cursor, std::string_view text) {
    const Token& first = cursor.peek();
    if (first.kind == TokenKind::end) return cursor.error(first, "the statement is empty");
    if (cursor.accept({"CREATE"})) return parse_create(cursor);
    if (cursor.accept({"ALTER"})) return parse_alter(cursor);
    if (cursor.accept({"DROP"})) return parse_drop(cursor);
    if (cursor.accept({"SHOW"})) return parse_show(cursor);
    if (cursor.accept({"FLUSH"})) return Statement(FlushView{TRY(cursor.name("a view after FLUSH"))});
    if (begins_query(cursor) || cursor.sees({"EXPLAIN"})) return parse_query(cursor, text);
    for (const Refused& statement : refused) {
        if (first.is_word(statement.word)) return cursor.unsupported(first, statement.why);
    }
    return cursor.unexpected({"SELECT", "CREATE", "ALTER", "DROP", "SHOW", "WITH", "VALUES", "EXPLAIN"});
}

}  // namespace

Result<Statement> parse(std::string_view text) {
    Cursor cursor(TRY(tokenize(text)));
    Statement statement = TRY(parse_first(cursor, text));
    while (cursor.accept_op(";")) {
    }
    if (cursor.peek().kind != TokenKind::end) {
        return cursor.error(cursor.peek(), place_of(cursor.peek()) + ": expected the end of the statement");
    }
    return statement;
}

std::vector<std::string> split_statements(std::string_view script) {
    std::vector<std::string> statements;
    std::size_t from = 0, at = 0;
    bool blank = true;
    while (true) {
        const Token token = next_token(script, at);
        if (token.kind == TokenKind::end || token.is(";")) {
            if (!blank) statements.emplace_back(script.substr(from, token.position - from));
            if (token.kind == TokenKind::end) return statements;
            from = token.end();
            blank = true;
        } else {
            if (blank) from = token.position;  // comments in front are not part of the statement
            blank = false;
        }
        at = token.end();
    }
}

std::string show_sql(const Show& statement) {
    switch (statement.what) {
        case Show::What::streams:
            return "SELECT * FROM sys.streams ORDER BY name";
        case Show::What::views:
            return "SELECT * FROM sys.views ORDER BY name";
        case Show::What::watermarks:
            return "SELECT * FROM sys.watermarks ORDER BY view, partition";
    }
    return {};
}

std::string depends_text(const std::string& stream, std::vector<std::string> views) {
    constexpr std::size_t named_max = 5;
    std::ranges::sort(views);
    std::string text = views.size() > 1 ? "views " : "view ";
    for (std::size_t i = 0; i < std::min(views.size(), named_max); ++i)
        text += (i == 0 ? "" : ", ") + views[i];
    if (views.size() > named_max) text += " and " + std::to_string(views.size() - named_max) + " more";
    return text + (views.size() > 1 ? " depend on " : " depends on ") + stream + ": drop " +
           (views.size() > 1 ? "them" : "it") + " first, or write DROP STREAM " + quoted_if_needed(stream) +
           " CASCADE, which drops " + (views.size() > 1 ? "them" : "it") + " too";
}

Status check_name(std::string_view name) {
    const auto refuse = [&](const std::string& why) {
        return Error{Errc::invalid_argument, "'" + std::string(name.substr(0, 60)) + "' cannot be a name: " + why};
    };
    if (name.empty()) return refuse("it is empty");
    if (name.size() > limits::name_bytes_max)
        return refuse("it has more than " + std::to_string(limits::name_bytes_max) + " bytes");
    const auto is_letter = [](char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_'; };
    if (!is_letter(name[0])) return refuse("it must begin with a letter or _");
    for (const char c : name) {
        if (!is_letter(c) && !(c >= '0' && c <= '9') && c != '.' && c != '-') {
            return refuse("it may hold letters, digits, '_', '.' and '-' only");
        }
    }
    if (same_word(name, "sys") || same_word(name.substr(0, 4), "sys."))
        return refuse("sys is reserved for system tables");
    if (same_word(name.substr(0, 7), "sqlite_")) return refuse("names that begin with sqlite_ are reserved");
    for (const std::string_view suffix : {"_dead_letters", "_late"}) {
        if (ends_with_word(name, suffix))
            return refuse("names that end in " + std::string(suffix) +
                          " are reserved for tables that come with a stream or view");
    }
    return {};
}

Status parse_new_name(Cursor& cursor, std::string_view what, std::string& name, bool& if_not_exists) {
    if_not_exists = cursor.accept({"IF", "NOT", "EXISTS"});
    if (!if_not_exists && cursor.accept({"IF"})) return cursor.unexpected({"NOT EXISTS"});
    const Token& where = cursor.peek();
    name = TRY(cursor.name("a name after " + std::string(what)));
    auto checked = check_name(name);
    if (!checked) {
        Error problem = std::move(checked).error();
        problem.position = static_cast<std::int64_t>(where.position);
        return problem;
    }
    if (cursor.peek().is("-") || cursor.peek().is(".")) {
        return cursor.error(cursor.peek(),
                            place_of(cursor.peek()) + ": a name that holds '-' or '.' is written in double quotes");
    }
    return {};
}

}  // namespace weir::sql
