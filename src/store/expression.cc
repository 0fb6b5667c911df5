#include "store/expression.h"

#include "base/check.h"
#include "base/limits.h"
#include "store/database.h"
#include "store/detail/lexer.h"
#include "store/detail/real_text.h"
#include "store/detail/sqlite.h"
#include "store/functions.h"

#include <algorithm>
#include <array>
#include <bit>
#include <charconv>
#include <iterator>

namespace weir::store {

namespace {

using detail::Connection;
using detail::Prepared;
using detail::Token;
using detail::TokenKind;

constexpr int result_bytes_max = 20 << 20;  // above the largest event; replace() and || could grow without it
constexpr int expression_depth_max = 200;   // an OR of 200 terms is this deep; guards may double it

// Around what may be REAL where text is wanted. Made known only after the caller's texts compiled: not theirs to call.
constexpr const char* guard_name = "weir_not_real";

void not_real(sqlite3_context* context, int, sqlite3_value** arguments) {
    if (sqlite3_value_type(arguments[0]) != SQLITE_FLOAT) sqlite3_result_value(context, arguments[0]);
}

// What the virtual table reads during one evaluation.
struct BatchSource {
    std::vector<record::Column> columns;  // of the schema; names and types
    const record::ColumnBatch* batch = nullptr;
    const std::uint32_t* rows = nullptr;  // null: row i is i
    std::size_t begin = 0;                // positions [begin, end) of `rows`
    std::size_t end = 0;
};

struct BatchTable : sqlite3_vtab {
    BatchSource* source = nullptr;
};

struct BatchCursor : sqlite3_vtab_cursor {
    const BatchSource* source = nullptr;
    std::size_t at = 0;
};

// The declared type decides the affinity in comparisons: INTEGER for numbers that are whole, TEXT for JSON.
std::string_view declared_type(record::ColumnType type) {
    switch (type) {
        case record::ColumnType::text:
        case record::ColumnType::json:
            return "TEXT";
        case record::ColumnType::integer:
        case record::ColumnType::boolean:
        case record::ColumnType::timestamp:
            return "INTEGER";
        case record::ColumnType::real:
            return "REAL";
        case record::ColumnType::blob:
            return "BLOB";
    }
    return "";
}

int batch_connect(sqlite3* db, void* user_data, int, const char* const*, sqlite3_vtab** out, char**) {
    auto* source = static_cast<BatchSource*>(user_data);
    std::string sql = "CREATE TABLE batch(";
    for (std::size_t i = 0; i < source->columns.size(); ++i) {
        if (i > 0) sql += ", ";
        sql += quote_name(source->columns[i].name);
        sql += ' ';
        sql += declared_type(source->columns[i].type);
    }
    // A table needs a column; one without a name that anybody would write.
    if (source->columns.empty()) sql += "\"\x01\" INTEGER";
    sql += ")";
    const int code = sqlite3_declare_vtab(db, sql.c_str());
    if (code != SQLITE_OK) return code;
    auto* table = new BatchTable{};
    table->source = source;
    *out = table;
    return SQLITE_OK;
}

int batch_disconnect(sqlite3_vtab* table) {
    delete static_cast<BatchTable*>(table);
    return SQLITE_OK;
}

int batch_best_index(sqlite3_vtab*, sqlite3_index_info* plan) {
    plan->estimatedCost = 1e6;
    plan->estimatedRows = 1'000'000;
    return SQLITE_OK;
}

int batch_open(sqlite3_vtab* table, sqlite3_vtab_cursor** out) {
    auto* cursor = new BatchCursor{};
    cursor->source = static_cast<BatchTable*>(table)->source;
    *out = cursor;
    return SQLITE_OK;
}

int batch_close(sqlite3_vtab_cursor* cursor) {
    delete static_cast<BatchCursor*>(cursor);
    return SQLITE_OK;
}

int batch_filter(sqlite3_vtab_cursor* raw, int, const char*, int, sqlite3_value**) {
    auto* cursor = static_cast<BatchCursor*>(raw);
    cursor->at = cursor->source->begin;
    return SQLITE_OK;
}

int batch_next(sqlite3_vtab_cursor* raw) {
    ++static_cast<BatchCursor*>(raw)->at;
    return SQLITE_OK;
}

int batch_eof(sqlite3_vtab_cursor* raw) {
    const auto* cursor = static_cast<BatchCursor*>(raw);
    return cursor->at >= cursor->source->end ? 1 : 0;
}

int batch_column(sqlite3_vtab_cursor* raw, sqlite3_context* context, int index) {
    const auto* cursor = static_cast<BatchCursor*>(raw);
    const BatchSource& source = *cursor->source;
    const std::size_t row = source.rows == nullptr ? cursor->at : source.rows[cursor->at];
    const auto c = static_cast<std::size_t>(index);
    if (c >= source.batch->columns.size()) return SQLITE_OK;
    const record::ColumnData& column = source.batch->columns[c];
    if (column.present[row] == 0) return SQLITE_OK;  // NULL is what a context begins with
    // STATIC: the batch outlives the evaluation, and nothing stays in the statement after it.
    switch (source.columns[c].type) {
        case record::ColumnType::integer:
        case record::ColumnType::boolean:
        case record::ColumnType::timestamp:
            sqlite3_result_int64(context, column.number[row]);
            return SQLITE_OK;
        case record::ColumnType::real:
            sqlite3_result_double(context, std::bit_cast<double>(column.number[row]));
            return SQLITE_OK;
        case record::ColumnType::text:
        case record::ColumnType::json: {
            const std::string_view text = source.batch->text(c, row);
            sqlite3_result_text(context, text.data(), static_cast<int>(text.size()), SQLITE_STATIC);
            return SQLITE_OK;
        }
        case record::ColumnType::blob: {
            const std::string_view bytes = source.batch->text(c, row);
            sqlite3_result_blob(context, bytes.data(), static_cast<int>(bytes.size()), SQLITE_STATIC);
            return SQLITE_OK;
        }
    }
    return SQLITE_OK;
}

int batch_rowid(sqlite3_vtab_cursor*, sqlite3_int64* out) {
    *out = 0;  // a row's place in its batch must not reach an expression
    return SQLITE_OK;
}

// Eponymous only (no xCreate): the table `batch` is there without a CREATE.
constexpr sqlite3_module batch_module = {
    1,           nullptr,     batch_connect, batch_best_index, batch_disconnect, nullptr,
    batch_open,  batch_close, batch_filter,  batch_next,       batch_eof,        batch_column,
    batch_rowid, nullptr,     nullptr,       nullptr,          nullptr,          nullptr,
    nullptr,     nullptr,     nullptr,       nullptr,          nullptr,          nullptr,
};

// Why a text is not one expression, with the position; SQLite finds everything else. Parentheses that close more than
// they open would end the ones that this room puts around the text.
Status check_shape(std::string_view sql) {
    detail::Lexer lexer(sql);
    int open = 0;
    std::size_t tokens = 0;
    for (Token t = lexer.next(); t.kind != TokenKind::end; t = lexer.next()) {
        ++tokens;
        const auto fail = [&](const char* why) {
            return Error{Errc::invalid_argument, why, 0, static_cast<std::int64_t>(t.position)};
        };
        if (t.kind == TokenKind::broken) return fail("a quote or comment is not closed");
        if (t.kind != TokenKind::symbol) continue;
        if (t.text == ";") return fail("an expression holds no ';'");
        if (t.text == "?" || t.text == ":" || t.text == "@" || t.text == "#" || t.text == "$") {
            return fail("an expression holds no parameters");
        }
        if (t.text == "(") ++open;
        if (t.text == ")" && --open < 0) return fail("')' without '('");
    }
    if (open > 0) return Error{Errc::invalid_argument, "'(' without ')'", 0, static_cast<std::int64_t>(sql.size())};
    if (tokens == 0) return Error{Errc::invalid_argument, "an empty expression", 0, 0};
    return {};
}

class SqliteExpression final : public Expression {
  public:
    explicit SqliteExpression(const record::Schema& schema, const std::vector<std::string>& sql)
        : sql_(sql), columns_used_(schema.columns.size(), false) {
        source_.columns = schema.columns;
    }

    Status compile() {
        if (sql_.empty()) return Error{Errc::invalid_argument, "no expression"};
        db_ = TRY(detail::open_connection(":memory:", SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, ""));
        sqlite3* db = db_.get();
        sqlite3_db_config(db, SQLITE_DBCONFIG_DQS_DML, 0, nullptr);
        sqlite3_db_config(db, SQLITE_DBCONFIG_DEFENSIVE, 1, nullptr);
        sqlite3_db_config(db, SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0, nullptr);
        sqlite3_limit(db, SQLITE_LIMIT_LENGTH, result_bytes_max);
        sqlite3_limit(db, SQLITE_LIMIT_SQL_LENGTH, result_bytes_max);  // many expressions stand in one statement
        sqlite3_limit(db, SQLITE_LIMIT_EXPR_DEPTH, expression_depth_max);
        sqlite3_limit(db, SQLITE_LIMIT_LIKE_PATTERN_LENGTH, 100);
        sqlite3_limit(db, SQLITE_LIMIT_ATTACHED, 0);
        TRY(register_functions(db, nullptr));
        const int code = sqlite3_create_module_v2(db, "batch", &batch_module, &source_, nullptr);
        if (code != SQLITE_OK) return detail::error_of(db, code, "register batch");
        // The first use makes the table, which the authoriser would take for a CREATE.
        TRY(detail::execute(db, "SELECT 1 FROM batch LIMIT 0"));
        sqlite3_set_authorizer(db, authorise, this);

        for (const std::string& sql : sql_) {
            if (sql.size() > limits::sql_bytes_max) return Error{Errc::too_large, "the expression is too long"};
            TRY(check_shape(sql));
            // In a WHERE aggregates and window functions are errors by themselves.
            Prepared tested = TRY(prepare("SELECT 1 FROM batch WHERE (", sql, "\n)"));
            guarded_.push_back(TRY(detail::guard_real_text(source_.columns, sql, guard_name)));
        }

        constexpr int flags = SQLITE_UTF8 | SQLITE_DETERMINISTIC | SQLITE_INNOCUOUS;
        const int made =
            sqlite3_create_function_v2(db, guard_name, 1, flags, nullptr, not_real, nullptr, nullptr, nullptr);
        if (made != SQLITE_OK) return detail::error_of(db, made, "register function");
        sqlite3_limit(db, SQLITE_LIMIT_EXPR_DEPTH, 2 * expression_depth_max);
        std::string all = "SELECT ";
        for (std::size_t i = 0; i < sql_.size(); ++i) {
            if (i > 0) all += ", ";
            all += "(" + guarded_[i] + "\n)";  // the line break ends a comment
        }
        all += " FROM batch";
        all_ = TRY(prepare(all, "", ""));
        CHECK(sqlite3_column_count(all_.get()) == static_cast<int>(sql_.size()));
        return {};
    }

    Status evaluate(const record::ColumnBatch& batch, std::span<const std::uint32_t> rows, Evaluated& out) override {
        const std::size_t count = rows.empty() ? batch.rows : rows.size();
        const std::size_t expressions = sql_.size();
        source_.batch = &batch;
        source_.rows = rows.empty() ? nullptr : rows.data();
        source_.begin = 0;
        source_.end = count;
        out.expressions = expressions;
        out.values.resize(count * expressions);
        out.bytes.clear();
        texts_.clear();

        std::size_t row = 0;
        while (true) {
            const int code = sqlite3_step(all_.get());
            if (code == SQLITE_ROW) {
                CHECK(row < count);
                Value* values = out.values.data() + row * expressions;
                for (std::size_t e = 0; e < expressions; ++e) {
                    keep(sqlite3_column_value(all_.get(), static_cast<int>(e)), values[e], out);
                }
                ++row;
                continue;
            }
            sqlite3_reset(all_.get());
            if (code == SQLITE_DONE) break;
            // This row fails in one of its expressions: find out in which, then go on behind it.
            CHECK(row < count && (code & 0xff) != SQLITE_NOMEM);
            TRY(evaluate_apart(row, out));
            source_.begin = ++row;
            if (row == count) break;
        }
        CHECK(row == count);
        for (const std::size_t index : texts_) {  // `bytes` no longer moves
            Value& value = out.values[index];
            value.text = std::string_view(out.bytes).substr(static_cast<std::size_t>(value.integer), value.text.size());
            value.integer = 0;
        }
        source_.batch = nullptr;
        return {};
    }

    const std::vector<bool>& columns_used() const override { return columns_used_; }

  private:
    // Text waits as an offset into out.bytes (in Value::integer) until all of it is there.
    void keep(sqlite3_value* from, Value& to, Evaluated& out) {
        to = detail::value_of(from);
        if (to.type != ValueType::text && to.type != ValueType::blob) return;
        to.integer = static_cast<std::int64_t>(out.bytes.size());
        out.bytes.append(to.text);
        texts_.push_back(static_cast<std::size_t>(&to - out.values.data()));
    }

    Status evaluate_apart(std::size_t row, Evaluated& out) {
        if (apart_.empty()) {
            for (const std::string& sql : guarded_)
                apart_.push_back(TRY(prepare("SELECT (", sql, "\n) FROM batch")));
        }
        const std::size_t end = source_.end;
        source_.begin = row;
        source_.end = row + 1;
        for (std::size_t e = 0; e < sql_.size(); ++e) {
            Value& value = out.values[row * sql_.size() + e];
            value = Value::null();
            if (sqlite3_step(apart_[e].get()) == SQLITE_ROW) keep(sqlite3_column_value(apart_[e].get(), 0), value, out);
            sqlite3_reset(apart_[e].get());
        }
        source_.end = end;
        return {};
    }

    Result<Prepared> prepare(std::string_view prefix, std::string_view expression, std::string_view suffix) {
        const std::string sql = std::string(prefix) + std::string(expression) + std::string(suffix);
        selects_ = 0;
        refused_.clear();
        sqlite3_stmt* raw = nullptr;
        const int code = sqlite3_prepare_v3(db_.get(), sql.data(), static_cast<int>(sql.size()),
                                            SQLITE_PREPARE_PERSISTENT, &raw, nullptr);
        Prepared statement(raw);
        if (code == SQLITE_OK && statement != nullptr && sqlite3_bind_parameter_count(raw) > 0) {
            return Error{Errc::invalid_argument, "an expression holds no parameters"};
        }
        if (code == SQLITE_OK && statement != nullptr) return statement;
        Error error = detail::error_of(db_.get(), code, "");
        error.position -= static_cast<std::int64_t>(prefix.size());
        if (error.position < 0 || error.position > static_cast<std::int64_t>(expression.size())) error.position = -1;
        if (!refused_.empty()) {
            error.code = Errc::forbidden;
            error.detail = refused_;
        } else if (error.detail == "no such function: now" || error.detail == "no such function: ago") {
            error.code = Errc::forbidden;
            error.detail += " (here the clock may not decide; now() and ago() are for queries)";
        }
        return error;
    }

    static int authorise(void* self, int action, const char* first, const char* second, const char*, const char*) {
        return static_cast<SqliteExpression*>(self)->allow(action, first, second) ? SQLITE_OK : SQLITE_DENY;
    }

    bool allow(int action, const char* first, const char* second) {
        switch (action) {
            case SQLITE_SELECT:
                if (++selects_ == 1) return true;
                refused_ = "a subquery is not allowed here: only columns of the event";
                return false;
            case SQLITE_READ: {
                const std::string_view column = second == nullptr ? "" : second;
                if (first == nullptr || std::string_view(first) != "batch") {
                    refused_ = "only columns of the event can be read here";
                    return false;
                }
                for (std::size_t i = 0; i < source_.columns.size(); ++i) {
                    if (source_.columns[i].name == column) columns_used_[i] = true;
                }
                return true;
            }
            case SQLITE_FUNCTION: {
                const std::string name = detail::lower_ascii(second == nullptr ? "" : second);
                if (detail::is_allowed_function(name) || name == guard_name) return true;
                refused_ = "function " + name +
                           "() is not allowed here: its result could differ between replicas, or it "
                           "is an aggregate";
                return false;
            }
            default:
                refused_ = "this construct is not allowed in an expression";
                return false;
        }
    }

    BatchSource source_;  // before db_: the module holds a pointer to it
    std::vector<std::string> sql_;
    std::vector<std::string> guarded_;  // the same with guards, which is what runs
    std::vector<bool> columns_used_;
    int selects_ = 0;
    std::string refused_;
    Connection db_;
    Prepared all_;
    std::vector<Prepared> apart_;     // each expression alone, made when the first row fails
    std::vector<std::size_t> texts_;  // indices of text and blob values of this evaluation
};

}  // namespace

Result<std::unique_ptr<Expression>> Expression::compile(const record::Schema& schema,
                                                        const std::vector<std::string>& sql) {
    auto expression = std::make_unique<SqliteExpression>(schema, sql);
    TRY(expression->compile());
    return std::unique_ptr<Expression>(std::move(expression));
}

Result<std::string> constant_literal(const std::string& sql) {
    const record::Schema no_columns;
    auto expression = TRY(Expression::compile(no_columns, {sql}));
    record::ColumnBatch one_row;
    one_row.rows = 1;
    Evaluated result;
    TRY(expression->evaluate(one_row, {}, result));
    const Value& value = result.values.at(0);
    switch (value.type) {
        case ValueType::null:
            break;
        case ValueType::integer:
            return std::to_string(value.integer);
        case ValueType::real: {
            std::array<char, 32> digits;
            const auto written = std::to_chars(digits.data(), digits.data() + digits.size(), value.real);
            return std::string(digits.data(), written.ptr);
        }
        case ValueType::text:
            return quote_text(value.text);
        case ValueType::blob: {
            constexpr std::string_view hex = "0123456789abcdef";
            std::string text = "x'";
            for (const char c : value.text) {
                text += hex[static_cast<unsigned char>(c) >> 4];
                text += hex[static_cast<unsigned char>(c) & 15];
            }
            return text + "'";
        }
    }
    return std::string("NULL");
}

}  // namespace weir::store
