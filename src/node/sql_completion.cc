#include "node/sql_completion.h"

#include "sql/tokens.h"

#include <algorithm>
#include <array>

namespace weir::node {
namespace {

constexpr std::size_t named_max = 8;

constexpr auto keywords = std::to_array<std::string_view>(
    {"ADD",        "ALL",        "ALTER",   "AND",      "AS",        "ASC",     "BETWEEN", "BY",      "CASCADE",
     "CASE",       "CAST",       "CHANGES", "CHECK",    "COLUMN",    "COUNT",   "CREATE",  "CROSS",   "DEAD",
     "DEDUP",      "DEFAULT",    "DELAY",   "DESC",     "DISTINCT",  "DROP",    "ELSE",    "EMIT",    "END",
     "ERROR",      "EVENT",      "EVERY",   "EXCEPT",   "EXISTS",    "EXPLAIN", "FINAL",   "FLUSH",   "FROM",
     "FUTURE",     "GROUP",      "HAVING",  "IDLE",     "IF",        "IN",      "INNER",   "INTEGER", "INTERSECT",
     "IS",         "JOIN",       "KEY",     "LATENESS", "LEFT",      "LETTER",  "LIKE",    "LIMIT",   "MATERIALIZED",
     "MAX",        "NONE",       "NOT",     "NOW",      "NULL",      "OFFSET",  "ON",      "OR",      "ORDER",
     "PARTITIONS", "REAL",       "REJECT",  "REPLACE",  "RETAIN",    "SELECT",  "SET",     "SHOW",    "STREAM",
     "STREAMS",    "TEXT",       "THEN",    "TIME",     "TIMESTAMP", "TUMBLE",  "UNION",   "USING",   "VIEW",
     "VIEWS",      "WATERMARKS", "WHEN",    "WHERE",    "WITH",      "WITHIN"});
constexpr auto functions = std::to_array<std::string_view>(
    {"abs(",    "ago(",   "avg(", "bucket(", "coalesce(", "count(", "epoch_ms(", "first(",  "ifnull(", "last(",
     "length(", "lower(", "max(", "min(",    "now()",     "round(", "rfc3339(",  "substr(", "sum(",    "upper("});
constexpr auto hidden_columns =
    std::to_array<std::string_view>({"_append_time", "_headers", "_key", "_offset", "_partition", "_value"});
// Behind these stands a table.
constexpr auto before_table = std::to_array<std::string_view>({"FROM", "JOIN", "FLUSH", "STREAM", "VIEW"});

bool is_word_byte(char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
           static_cast<unsigned char>(c) >= 0x80;
}

// Whether the text stops in the middle of a string, a quoted name or a comment.
bool is_inside(std::string_view text) {
    // A token put behind it that is not seen as itself was swallowed.
    const std::string probe = std::string(text) + " \x01";
    std::size_t at = 0;
    while (true) {
        const sql::Token token = sql::next_token(probe, at);
        if (token.kind == sql::TokenKind::end) return true;
        if (token.position == probe.size() - 1) return false;
        if (token.end() >= probe.size()) return true;
        at = token.end();
    }
}

std::vector<sql::Token> tokens_of(std::string_view text) {
    std::vector<sql::Token> tokens;
    for (std::size_t at = 0;;) {
        const sql::Token token = sql::next_token(text, at);
        if (token.kind == sql::TokenKind::end) return tokens;
        if (token.is(";")) {
            tokens.clear();  // of the statement that is being typed
        } else {
            tokens.push_back(token);
        }
        at = token.end();
    }
}

bool wants_table(const std::vector<sql::Token>& before) {
    if (before.empty()) return false;
    const sql::Token& last = before.back();
    if (std::ranges::any_of(before_table, [&](std::string_view word) { return last.is_word(word); })) return true;
    return last.is("(") && before.size() > 1 && before[before.size() - 2].is_word("TUMBLE");
}

bool begins_like(std::string_view word, std::string_view beginning) {
    return word.size() >= beginning.size() && sql::same_word(word.substr(0, beginning.size()), beginning);
}

}  // namespace

std::vector<std::string> tables_named(std::string_view text, const SqlCatalog& catalog) {
    std::vector<std::string> named;
    for (const sql::Token& token : tokens_of(text)) {
        if (!token.is_name() || named.size() == named_max) continue;
        const std::string name = sql::token_value(token);
        const auto found =
            std::ranges::find_if(catalog.tables, [&](const std::string& table) { return sql::same_word(table, name); });
        if (found != catalog.tables.end() && std::ranges::find(named, *found) == named.end()) named.push_back(*found);
    }
    return named;
}

SqlCompletion complete_sql(std::string_view text, const SqlCatalog& catalog) {
    SqlCompletion completion;
    completion.from = text.size();
    if (is_inside(text)) return completion;
    std::size_t from = text.size();
    while (from > 0 && is_word_byte(text[from - 1]))
        --from;
    // sys.streams is one word here, a column behind a table's alias is not.
    if (from >= 4 && sql::same_word(text.substr(from - 4, 4), "sys.") && (from == 4 || !is_word_byte(text[from - 5]))) {
        from -= 4;
    }
    completion.from = from;
    const std::string_view word = text.substr(from);
    const std::vector<sql::Token> before = tokens_of(text.substr(0, from));
    const bool in_lower = std::ranges::any_of(word, [](char c) { return c >= 'a' && c <= 'z'; });

    std::vector<std::string>& candidates = completion.candidates;
    const auto offer = [&](std::string_view candidate, bool is_keyword) {
        if (!begins_like(candidate, word)) return;
        candidates.push_back(is_keyword && in_lower ? sql::lower_ascii(candidate) : std::string(candidate));
    };
    // In quotes where it needs them, found by what it is.
    const auto offer_name = [&](const std::string& name) {
        if (begins_like(name, word)) candidates.push_back(sql::quoted_if_needed(name));
    };
    if (wants_table(before)) {
        for (const std::string& table : catalog.tables) {
            if (table.starts_with("sys.")) {
                offer(table, false);
            } else {
                offer_name(table);
            }
        }
        if (!word.empty()) {
            for (const std::string_view keyword : {"IF", "TUMBLE"})
                offer(keyword, true);
        }
    } else if (!before.empty() || !word.empty()) {
        for (const std::string& table : tables_named(text, catalog)) {
            const auto columns = catalog.columns.find(table);
            if (columns == catalog.columns.end()) continue;
            for (const std::string& column : columns->second)
                offer_name(column);
        }
        if (!word.empty()) {
            for (const std::string_view keyword : keywords)
                offer(keyword, true);
            for (const std::string_view function : functions)
                offer(function, false);
            if (word.front() == '_') {
                for (const std::string_view column : hidden_columns)
                    offer(column, false);
            }
        }
    }
    std::ranges::sort(candidates);
    candidates.erase(std::unique(candidates.begin(), candidates.end()), candidates.end());
    return completion;
}

bool ends_statement(std::string_view text) {
    bool ended = false;
    for (std::size_t at = 0;;) {
        const sql::Token token = sql::next_token(text, at);
        if (token.kind == sql::TokenKind::end) return ended;
        ended = token.is(";");
        at = token.end();
    }
}

std::string common_beginning(const std::vector<std::string>& words) {
    if (words.empty()) return {};
    std::string common = words.front();
    for (const std::string& word : words) {
        const auto [end, other] = std::ranges::mismatch(common, word);
        common.erase(end, common.end());
    }
    return common;
}

}  // namespace weir::node
