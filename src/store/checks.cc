// CHECK expressions as the decoder wants them: the common shapes by comparison of integers, the rest by SQLite.
#include "store/detail/lexer.h"
#include "store/expression.h"

#include <algorithm>
#include <charconv>
#include <optional>

namespace weir::store {

namespace {

using detail::Lexer;
using detail::same_name;
using detail::Token;
using detail::TokenKind;

// The row fails when the column is present and its value lies outside of [low, high] (`inside` fails: inside of it).
struct Term {
    std::size_t column = 0;  // that is read
    std::int64_t low = INT64_MIN;
    std::int64_t high = INT64_MAX;
    bool inside_fails = false;
};

bool is_whole_number(record::ColumnType type) {
    return type == record::ColumnType::integer || type == record::ColumnType::boolean ||
           type == record::ColumnType::timestamp;
}

// Reads `c op n AND c BETWEEN a AND b ...`, parentheses around terms included. Nothing: another shape, or one whose
// meaning this reader would have to argue about.
class NativeReader {
  public:
    NativeReader(const record::Schema& schema, std::string_view sql) : schema_(schema), lexer_(sql) { advance(); }

    std::optional<std::vector<Term>> read() {
        std::vector<Term> terms;
        int open = 0;
        while (true) {
            while (take_symbol("("))
                ++open;
            const auto term = read_term();
            if (!term) return std::nullopt;
            terms.push_back(*term);
            // Only AND joins terms, so parentheses change nothing as long as they balance.
            while (open > 0 && take_symbol(")"))
                --open;
            if (token_.kind == TokenKind::end) break;
            if (!take_word("and")) return std::nullopt;
        }
        if (open != 0) return std::nullopt;
        return terms;
    }

  private:
    void advance() { token_ = lexer_.next(); }
    bool take_symbol(std::string_view symbol) {
        if (token_.kind != TokenKind::symbol || token_.text != symbol) return false;
        advance();
        return true;
    }
    bool take_word(std::string_view word) {
        if (token_.kind != TokenKind::name || !same_name(token_.text, word)) return false;
        advance();
        return true;
    }

    // Plain decimal digits with an optional sign, within int64.
    std::optional<std::int64_t> read_integer() {
        const bool negative = take_symbol("-");
        if (token_.kind != TokenKind::number) return std::nullopt;
        std::string digits = negative ? "-" : "";
        digits += token_.text;
        std::int64_t value = 0;
        const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), value);
        if (error != std::errc() || end != digits.data() + digits.size()) return std::nullopt;
        // SQLite reads -9223372036854775808 as an integer only in this very form; leave that edge to it.
        if (value == INT64_MIN) return std::nullopt;
        advance();
        return value;
    }

    std::optional<Term> read_term() {
        if (token_.kind != TokenKind::name && token_.kind != TokenKind::quoted_name) return std::nullopt;
        const std::string name = detail::unquote(token_);
        const auto found = std::find_if(schema_.columns.begin(), schema_.columns.end(),
                                        [&](const record::Column& c) { return same_name(c.name, name); });
        if (found == schema_.columns.end() || !is_whole_number(found->type)) return std::nullopt;
        Term term;
        term.column = static_cast<std::size_t>(found - schema_.columns.begin());
        advance();
        if (take_word("between")) {
            const auto low = read_integer();
            if (!low || !take_word("and")) return std::nullopt;
            const auto high = read_integer();
            if (!high) return std::nullopt;
            term.low = *low;
            term.high = *high;
            return term;
        }
        if (token_.kind != TokenKind::symbol) return std::nullopt;
        const std::string op(token_.text);
        advance();
        const auto n = read_integer();
        if (!n) return std::nullopt;
        // read_integer excludes INT64_MIN; n - 1 fits, n + 1 needs care.
        if (op == "=" || op == "==") {
            term.low = term.high = *n;
        } else if (op == "<>" || op == "!=") {
            term.low = term.high = *n;
            term.inside_fails = true;
        } else if (op == "<") {
            term.high = *n - 1;
        } else if (op == "<=") {
            term.high = *n;
        } else if (op == ">=") {
            term.low = *n;
        } else if (op == ">") {
            if (*n == INT64_MAX) {
                term.inside_fails = true;  // nothing is greater: everything fails
            } else {
                term.low = *n + 1;
            }
        } else {
            return std::nullopt;
        }
        return term;
    }

    const record::Schema& schema_;
    Lexer lexer_;
    Token token_;
};

class SchemaCheck final : public record::ColumnCheck {
  public:
    struct Native {
        std::int32_t column = 0;  // whose CHECK this is
        std::vector<Term> terms;
    };

    std::vector<Native> native;
    std::vector<std::int32_t> by_sqlite;  // columns whose CHECK is expression i
    std::unique_ptr<Expression> expression;

    Status evaluate(const record::ColumnBatch& batch, std::vector<std::int32_t>& failed) override {
        failed.assign(batch.rows, -1);
        if (batch.rows == 0) return {};
        for (const Native& check : native) {
            for (const Term& term : check.terms)
                evaluate_term(batch, term, check.column, failed);
        }
        if (expression == nullptr) return {};
        TRY(expression->evaluate(batch, {}, evaluated_));
        for (std::size_t row = 0; row < batch.rows; ++row) {
            for (std::size_t e = 0; e < by_sqlite.size(); ++e) {
                // `(...) IS NOT FALSE` is 0 or 1; NULL means that the evaluation failed, which no value survives.
                const Value& value = evaluated_.values[row * by_sqlite.size() + e];
                const bool passes = value.type == ValueType::integer && value.integer != 0;
                if (!passes) fail(failed[row], by_sqlite[e]);
            }
        }
        return {};
    }

  private:
    static void fail(std::int32_t& first, std::int32_t column) {
        if (first < 0 || column < first) first = column;
    }

    // NULL passes: a comparison with it is NULL, and `NULL AND x` is false only where x is.
    static void evaluate_term(const record::ColumnBatch& batch, const Term& term, std::int32_t owner,
                              std::vector<std::int32_t>& failed) {
        const record::ColumnData& column = batch.columns[term.column];
        for (std::size_t row = 0; row < batch.rows; ++row) {
            const std::int64_t v = column.number[row];
            const bool is_inside = v >= term.low && v <= term.high;
            if (is_inside == term.inside_fails && column.present[row] != 0) [[unlikely]]
                fail(failed[row], owner);
        }
    }

    Evaluated evaluated_;
};

}  // namespace

Result<std::unique_ptr<record::ColumnCheck>> compile_checks(const record::Schema& schema) {
    auto check = std::make_unique<SchemaCheck>();
    std::vector<std::string> sql;
    for (std::size_t i = 0; i < schema.columns.size(); ++i) {
        const record::Column& column = schema.columns[i];
        if (column.check_sql.empty()) continue;
        const auto owner = static_cast<std::int32_t>(i);
        if (auto terms = NativeReader(schema, column.check_sql).read()) {
            check->native.push_back({owner, std::move(*terms)});
            continue;
        }
        // Alone first, so that an error's position counts in the text as written.
        auto alone = Expression::compile(schema, {column.check_sql});
        if (!alone) {
            Error error = alone.error();
            error.detail = "CHECK of column " + column.name + ": " + error.detail;
            return error;
        }
        sql.push_back("(" + column.check_sql + "\n) IS NOT FALSE");
        check->by_sqlite.push_back(owner);
    }
    if (check->native.empty() && sql.empty()) return std::unique_ptr<record::ColumnCheck>();
    if (!sql.empty()) check->expression = TRY(Expression::compile(schema, sql));
    return std::unique_ptr<record::ColumnCheck>(std::move(check));
}

}  // namespace weir::store
