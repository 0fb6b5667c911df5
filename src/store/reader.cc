#include "store/reader.h"

#include "base/limits.h"
#include "store/database.h"
#include "store/detail/lexer.h"
#include "store/detail/source_module.h"
#include "store/detail/sqlite.h"
#include "store/functions.h"

#include <atomic>
#include <cctype>
#include <cstring>
#include <map>
#include <set>

namespace weir::store {

namespace {

using detail::Connection;
using detail::lower_ascii;
using detail::Prepared;

constexpr int value_bytes_max = 16 << 20;  // above the largest event, so that _value can be read
constexpr int progress_every_ops = 1'000;  // about 20 us between looks at the clock
constexpr int busy_timeout_ms = 1'000;

// Limits of a user's statement. VDBE_OP bounds the compiled program; a wide UNION of joins needs some thousands.
constexpr struct {
    int id;
    int value;
} statement_limits[] = {
    {SQLITE_LIMIT_LENGTH, value_bytes_max},
    {SQLITE_LIMIT_SQL_LENGTH, static_cast<int>(limits::sql_bytes_max)},
    {SQLITE_LIMIT_COLUMN, 500},      // two streams of 200 columns joined by SELECT *
    {SQLITE_LIMIT_EXPR_DEPTH, 250},  // an OR of 250 terms is this deep
    {SQLITE_LIMIT_COMPOUND_SELECT, 20},
    {SQLITE_LIMIT_VDBE_OP, 100'000},
    {SQLITE_LIMIT_FUNCTION_ARG, 32},
    {SQLITE_LIMIT_LIKE_PATTERN_LENGTH, 100},
    {SQLITE_LIMIT_VARIABLE_NUMBER, 100},
    {SQLITE_LIMIT_TRIGGER_DEPTH, 0},
    {SQLITE_LIMIT_ATTACHED, 0},
    {SQLITE_LIMIT_WORKER_THREADS, 0},
};

// Functions that reach outside, or into SQLite's insides. What merely allocates is bounded by LIMIT_LENGTH.
bool is_denied_function(std::string_view name) {
    if (name == "load_extension" || name == "readfile" || name == "writefile" || name == "edit") return true;
    for (const std::string_view prefix : {"sqlite_", "fts", "rtree", "icu_"}) {
        if (name.substr(0, prefix.size()) == prefix) return true;
    }
    // Full-text functions work on a table's hidden column and mean nothing here.
    for (const std::string_view one : {"snippet", "offsets", "matchinfo", "optimize", "bm25", "highlight", "changes",
                                       "total_changes", "last_insert_rowid"}) {
        if (name == one) return true;
    }
    return false;
}

// Tables that SQLite itself offers. json_each and json_tree only look at their argument.
bool is_engine_table(std::string_view name) {
    for (const std::string_view prefix : {"sqlite_", "pragma_", "fts", "rtree", "dbstat", "bytecode", "tables_used"}) {
        if (name.substr(0, prefix.size()) == prefix) return true;
    }
    return false;
}

void replace_all(std::string& text, std::string_view from, std::string_view to) {
    for (std::size_t at = text.find(from); at != std::string::npos; at = text.find(from, at + to.size())) {
        text.replace(at, from.size(), to);
    }
}

// Why views hide behind a second, random name: SQLite tells the authoriser, for each column read, the name of the
// innermost view. A user's `WITH v AS (SELECT * FROM _internal)` looks the same as the view v. So a view v is `SELECT *
// FROM temp.<random>`, the text lives in the view <random>, and only what is read in that name's context passes.
class SqliteReader final : public Reader {
  public:
    explicit SqliteReader(std::function<std::int64_t()> now_us) : now_us_(std::move(now_us)) {}

    Status set_up(const std::string& path) {
        db_ = TRY(detail::open_connection(path, SQLITE_OPEN_READONLY, ""));
        sqlite3* db = db_.get();
        sqlite3_busy_timeout(db, busy_timeout_ms);
        sqlite3_db_config(db, SQLITE_DBCONFIG_DEFENSIVE, 1, nullptr);
        sqlite3_db_config(db, SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0, nullptr);
        sqlite3_db_config(db, SQLITE_DBCONFIG_DQS_DML, 0, nullptr);
        sqlite3_db_config(db, SQLITE_DBCONFIG_DQS_DDL, 0, nullptr);
        sqlite3_db_config(db, SQLITE_DBCONFIG_ENABLE_TRIGGER, 0, nullptr);
        for (const auto& limit : statement_limits)
            sqlite3_limit(db, limit.id, limit.value);
        TRY(register_functions(db, &clock_));
        TRY(detail::register_source_module(db, &registry_));
        TRY(detail::execute(db, "PRAGMA temp_store=MEMORY; PRAGMA mmap_size=0; PRAGMA cache_size=-4096"));
        TRY(detail::execute(db, "SELECT count(*) FROM sqlite_schema"));  // what is not a database says so now
        // The first use makes these tables, which the authoriser would take for a CREATE.
        TRY(detail::execute(db, "SELECT 1 FROM json_each('[]'), json_tree('[]')"));
        // Names of views are random ones, and the first takes its seed from a file, which later may not be opened.
        char seed = 0;
        sqlite3_randomness(1, &seed);
        TRY(detail::execute(db, "PRAGMA query_only=ON"));
        sqlite3_set_authorizer(db, authorise, this);
        sqlite3_progress_handler(db, progress_every_ops, progress, this);
        return {};
    }

    Status begin_snapshot() override {
        const Trusted trusted(*this);
        TRY(detail::execute(db_.get(), "BEGIN"));
        Status read = load_internal_names();  // the first read takes the snapshot
        if (!read) end_snapshot();
        return read;
    }

    void end_snapshot() override {
        const Trusted trusted(*this);
        // COMMIT, not ROLLBACK: the temporary names made in between stay. Nothing was written, so it cannot fail.
        if (sqlite3_get_autocommit(db_.get()) == 0) (void)detail::execute(db_.get(), "COMMIT");
    }

    Status query_while(const std::string& sql, const std::function<bool(const std::vector<Value>&)>& on_row,
                       const std::vector<Value>& parameters) override {
        const Trusted trusted(*this);
        Prepared statement = TRY(detail::prepare_own(db_.get(), sql));
        for (std::size_t i = 0; i < parameters.size(); ++i) {
            const int code = detail::bind_value(statement.get(), static_cast<int>(i) + 1, parameters[i]);
            if (code != SQLITE_OK) return detail::error_of(db_.get(), code, "internal query");
        }
        std::vector<Value> values(static_cast<std::size_t>(sqlite3_column_count(statement.get())));
        while (true) {
            const int code = sqlite3_step(statement.get());
            if (code == SQLITE_DONE) return {};
            if (code != SQLITE_ROW) return detail::error_of(db_.get(), code, "internal query");
            read_row(statement.get(), values);
            if (!on_row(values)) return {};
        }
    }

    Status add_source(const std::string& name, std::shared_ptr<TableSource> source) override {
        const std::string key = lower_ascii(name);
        if (names_.contains(key)) return Error{Errc::already_exists, "the name " + name + " is added already"};
        registry_.sources.push_back(std::move(source));
        const std::string sql = "CREATE VIRTUAL TABLE temp." + quote_name(name) + " USING weir_source(" +
                                std::to_string(registry_.sources.size() - 1) + ")";
        TRY(change_names(sql));
        names_.emplace(key, Name{name, "", {}});
        return {};
    }

    Status add_view(const std::string& name, const std::string& select_sql) override {
        const std::string key = lower_ascii(name);
        if (names_.contains(key)) return Error{Errc::already_exists, "the name " + name + " is added already"};
        const std::string hidden = random_name();
        TRY(change_names("CREATE TEMP VIEW " + hidden + " AS " + select_sql));
        auto [added, inserted] = names_.emplace(key, Name{name, hidden, {}});
        Status made = change_names("CREATE TEMP VIEW " + quote_name(name) + " AS SELECT * FROM temp." + hidden);
        // Compiling it shows that the text is sound and which tables it stands on.
        if (made) {
            const Trusted trusted(*this);
            collecting_ = &added->second;
            const auto tested = detail::prepare_own(db_.get(), "SELECT * FROM temp." + hidden);
            collecting_ = nullptr;
            if (!tested) made = tested.error();
        }
        if (!made) {
            drop(added->second);
            names_.erase(added);
        }
        return made;
    }

    void clear_names() override {
        for (const auto& [key, name] : names_)
            drop(name);
        names_.clear();
        registry_.sources.clear();
    }

    Result<bool> run(const std::string& sql, const std::vector<Value>& parameters, const ReadLimits& limits,
                     RowSink& sink) override {
        interrupted_.store(false, std::memory_order_relaxed);
        deadline_passed_ = false;
        registry_.error.reset();
        // Inside a snapshot the names are those of its beginning.
        if (sqlite3_get_autocommit(db_.get()) != 0) TRY(load_internal_names());
        deadline_us_ = limits.deadline_us;
        Result<bool> result = run_statement(sql, parameters, limits.rows_max, sink);
        deadline_us_ = 0;
        interrupted_.store(false, std::memory_order_relaxed);
        return result;
    }

    void set_now_ms(std::int64_t now_ms) override { clock_.now_ms = now_ms; }

    void interrupt() override {
        interrupted_.store(true, std::memory_order_relaxed);
        sqlite3_interrupt(db_.get());
    }

  private:
    struct Name {
        std::string name;              // as added
        std::string hidden;            // of the view that has the text; empty for a source
        std::set<std::string> tables;  // internal ones that the view reads, lower case
    };

    // While one lives, statements are our own: the authoriser lets everything pass and no deadline counts.
    class Trusted {
      public:
        explicit Trusted(SqliteReader& reader) : reader_(reader) { ++reader_.trusted_; }
        ~Trusted() { --reader_.trusted_; }
        Trusted(const Trusted&) = delete;
        Trusted& operator=(const Trusted&) = delete;

      private:
        SqliteReader& reader_;
    };

    Result<bool> run_statement(const std::string& sql, const std::vector<Value>& parameters, std::int64_t rows_max,
                               RowSink& sink) {
        Prepared statement = TRY(prepare_user(sql));
        const int wanted = sqlite3_bind_parameter_count(statement.get());
        if (static_cast<std::size_t>(wanted) != parameters.size()) {
            return Error{Errc::invalid_argument, "the statement has " + std::to_string(wanted) + " parameters, but " +
                                                     std::to_string(parameters.size()) + " values came with it"};
        }
        for (int i = 0; i < wanted; ++i) {
            const int code = detail::bind_value(statement.get(), i + 1, parameters[static_cast<std::size_t>(i)]);
            if (code != SQLITE_OK) return user_error(code);
        }

        const auto count = static_cast<std::size_t>(sqlite3_column_count(statement.get()));
        std::vector<ResultColumn> columns(count);
        for (std::size_t c = 0; c < count; ++c) {
            const char* name = sqlite3_column_name(statement.get(), static_cast<int>(c));
            const char* type = sqlite3_column_decltype(statement.get(), static_cast<int>(c));
            columns[c] = {name == nullptr ? "" : name, type == nullptr ? "" : type};
        }
        if (!sink.columns(columns)) return false;

        const bool is_plan = sqlite3_stmt_isexplain(statement.get()) != 0;
        std::vector<Value> values(count);
        for (std::int64_t rows = 0;; ++rows) {
            const int code = sqlite3_step(statement.get());
            if (code == SQLITE_DONE) return false;
            if (code != SQLITE_ROW) return user_error(code);
            if (rows >= rows_max) return true;
            read_row(statement.get(), values);
            std::vector<std::string> shown;
            if (is_plan) show_names(values, shown);
            if (!sink.row(values)) return false;
        }
    }

    Result<Prepared> prepare_user(const std::string& sql) {
        if (sql.size() > limits::sql_bytes_max) return Error{Errc::too_large, "the statement is too long"};
        refused_ = {};
        sqlite3_stmt* raw = nullptr;
        const char* tail = nullptr;
        int code = sqlite3_prepare_v3(db_.get(), sql.data(), static_cast<int>(sql.size()), 0, &raw, &tail);
        Prepared statement(raw);
        if (code != SQLITE_OK) {
            Error error = user_error(code);
            // SQLite names no place for what is missing at the end.
            if (error.position < 0 && error.detail == "incomplete input")
                error.position = static_cast<std::int64_t>(sql.size());
            return error;
        }
        if (statement == nullptr) return Error{Errc::invalid_argument, "there is no statement", 0, 0};
        detail::Lexer rest(std::string_view(sql).substr(static_cast<std::size_t>(tail - sql.data())));
        for (detail::Token t = rest.next(); t.kind != detail::TokenKind::end; t = rest.next()) {
            if (t.text == ";") continue;
            return Error{Errc::invalid_argument, "one statement at a time", 0,
                         static_cast<std::int64_t>(static_cast<std::size_t>(tail - sql.data()) + t.position)};
        }
        // The authoriser sees to both; these are the second lock.
        if (sqlite3_stmt_readonly(raw) == 0 || sqlite3_column_count(raw) == 0) {
            return Error{Errc::forbidden, "only SELECT, WITH, VALUES and EXPLAIN QUERY PLAN can be run here"};
        }
        if (sqlite3_stmt_isexplain(raw) == 1) {
            return Error{Errc::forbidden, "EXPLAIN shows the engine's program; use EXPLAIN QUERY PLAN"};
        }
        return statement;
    }

    // The last call on the connection failed under the user's statement.
    Error user_error(int code) {
        Error error = detail::error_of(db_.get(), code, "");
        for (const auto& [key, name] : names_) {
            if (!name.hidden.empty()) replace_all(error.detail, name.hidden, name.name);
        }
        if (!refused_.detail.empty()) {
            error.code = refused_.code;
            error.detail = refused_.detail;
            return error;
        }
        if ((code & 0xff) == SQLITE_INTERRUPT) {
            error.code = deadline_passed_ ? Errc::deadline : Errc::cancelled;
            error.detail = deadline_passed_ ? "the query ran out of time" : "the query was interrupted";
            return error;
        }
        if (registry_.error) {
            Error from_source = *registry_.error;
            from_source.position = -1;
            // The table was found: what is missing now was removed while the query read it.
            if (from_source.code == Errc::not_found)
                return Error{
                    Errc::deadline,
                    "retention removed a part of the log while the query read it; ask for less at once, or for "
                    "newer events"};
            return from_source;
        }
        for (const std::string_view missing : {"no such table", "no such column", "no such function"}) {
            if (error.detail.rfind(missing, 0) == 0) error.code = Errc::not_found;
        }
        return error;
    }

    void read_row(sqlite3_stmt* statement, std::vector<Value>& values) {
        for (std::size_t c = 0; c < values.size(); ++c) {
            values[c] = detail::value_of(sqlite3_column_value(statement, static_cast<int>(c)));
        }
    }

    // A query plan names the hidden views; the user must not learn what makes them trusted.
    void show_names(std::vector<Value>& values, std::vector<std::string>& shown) {
        shown.reserve(values.size());
        for (Value& value : values) {
            if (value.type != ValueType::text) continue;
            shown.emplace_back(value.text);
            for (const auto& [key, name] : names_) {
                if (!name.hidden.empty()) replace_all(shown.back(), name.hidden, name.name);
            }
            value.text = shown.back();
        }
    }

    Status change_names(const std::string& sql) {
        const Trusted trusted(*this);
        TRY(detail::execute(db_.get(), "PRAGMA query_only=OFF"));
        Status changed = detail::execute(db_.get(), sql);
        TRY(detail::execute(db_.get(), "PRAGMA query_only=ON"));
        return changed;
    }

    void drop(const Name& name) {
        const std::string quoted = quote_name(name.name);
        // Nothing refers to a temporary name but statements, and none is open: dropping cannot fail.
        if (name.hidden.empty()) {
            (void)change_names("DROP TABLE IF EXISTS temp." + quoted);
        } else {
            (void)change_names("DROP VIEW IF EXISTS temp." + quoted);
            (void)change_names("DROP VIEW IF EXISTS temp." + name.hidden);
        }
    }

    static std::string random_name() {
        unsigned char bytes[16];
        sqlite3_randomness(sizeof bytes, bytes);
        std::string name = "w_";
        constexpr char hex[] = "0123456789abcdef";
        for (const unsigned char b : bytes) {
            name.push_back(hex[b >> 4]);
            name.push_back(hex[b & 15]);
        }
        return name;
    }

    // The names of the internal tables, read again when the schema has changed.
    Status load_internal_names() {
        std::int64_t version = -1;
        TRY(query_internal("PRAGMA main.schema_version",
                           [&](const std::vector<Value>& row) { version = row[0].integer; }));
        if (version == schema_version_) {
            // The pragma alone may answer from memory; this reads a page, which takes the snapshot.
            return query_internal("SELECT 1 FROM main.sqlite_schema LIMIT 1", [](const std::vector<Value>&) {});
        }
        internal_tables_.clear();
        TRY(query_internal("SELECT name FROM main.sqlite_schema WHERE type IN ('table', 'view')",
                           [&](const std::vector<Value>& row) { internal_tables_.insert(lower_ascii(row[0].text)); }));
        schema_version_ = version;
        return {};
    }

    static int progress(void* self) {
        auto& reader = *static_cast<SqliteReader*>(self);
        if (reader.trusted_ > 0) return 0;
        if (reader.interrupted_.load(std::memory_order_relaxed)) return 1;
        if (reader.deadline_us_ == 0 || reader.now_us_() < reader.deadline_us_) return 0;
        reader.deadline_passed_ = true;
        return 1;
    }

    static int authorise(void* self, int action, const char* first, const char* second, const char* schema,
                         const char* view) {
        const auto text = [](const char* s) { return std::string_view(s == nullptr ? "" : s); };
        auto& reader = *static_cast<SqliteReader*>(self);
        return reader.allow(action, text(first), text(second), text(schema), text(view)) ? SQLITE_OK : SQLITE_DENY;
    }

    bool allow(int action, std::string_view first, std::string_view second, std::string_view schema,
               std::string_view view) {
        if (trusted_ > 0) {
            if (collecting_ != nullptr && action == SQLITE_READ && schema == "main") {
                collecting_->tables.insert(lower_ascii(first));
            }
            return true;
        }
        switch (action) {
            case SQLITE_SELECT:
            case SQLITE_RECURSIVE:
                return true;
            case SQLITE_FUNCTION:
                if (!is_denied_function(lower_ascii(second))) return true;
                refused_ = {Errc::forbidden, "function " + std::string(second) + "() is not allowed"};
                return false;
            case SQLITE_READ:
                if (may_read(lower_ascii(first), second, schema, view)) return true;
                refused_ = {Errc::not_found, "no such table: " + std::string(first)};
                return false;
            default:
                refused_ = {Errc::forbidden, "only SELECT, WITH, VALUES and EXPLAIN QUERY PLAN can be run here"};
                return false;
        }
    }

    bool may_read(const std::string& table, std::string_view column, std::string_view schema, std::string_view view) {
        // Inside the text of a view of ours.
        for (const auto& [key, name] : names_) {
            if (!name.hidden.empty() && (view == name.hidden || table == name.hidden)) return true;
        }
        const bool is_main = schema == "main";
        if (!is_main && names_.contains(table)) return true;
        if (table == "json_each" || table == "json_tree") return true;
        // No column of it is read: `count(*)`. SQLite says this of tables of a view that it merged into the statement,
        // and of a WITH, without telling which. The number of rows of a table that an added view stands on is no
        // secret.
        if (!column.empty()) return false;
        for (const auto& [key, name] : names_) {
            if (name.tables.contains(table)) return true;
        }
        return !is_main && !internal_tables_.contains(table) && !is_engine_table(table);
    }

    std::function<std::int64_t()> now_us_;
    QueryClock clock_;  // these two before db_: functions and module point to them
    detail::SourceRegistry registry_;
    Connection db_;
    std::map<std::string, Name> names_;      // lower case -> what was added
    std::set<std::string> internal_tables_;  // of main, lower case
    std::int64_t schema_version_ = -1;
    Name* collecting_ = nullptr;  // notes the tables that a view being added reads
    int trusted_ = 0;
    Error refused_;  // what the authoriser said of the last statement; empty detail: nothing
    std::int64_t deadline_us_ = 0;
    bool deadline_passed_ = false;
    std::atomic<bool> interrupted_{false};
};

}  // namespace

Result<std::unique_ptr<Reader>> Reader::open(const std::string& path, std::function<std::int64_t()> now_us) {
    auto reader = std::make_unique<SqliteReader>(std::move(now_us));
    TRY(reader->set_up(path));
    return std::unique_ptr<Reader>(std::move(reader));
}

}  // namespace weir::store
