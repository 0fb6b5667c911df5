#include "store/database.h"

#include "base/check.h"
#include "store/detail/sqlite.h"
#include "store/functions.h"

#include <optional>

namespace weir::store {

namespace {

using detail::Connection;
using detail::error_of;
using detail::Prepared;

constexpr int busy_timeout_ms = 5'000;                  // for recovery after a crash beside a reader that does the same
constexpr const char* journal_size_limit = "67108864";  // a log that once grew is cut to 64 MiB when it is reset

class SqliteStatement final : public Statement {
  public:
    SqliteStatement(sqlite3* db, Prepared statement) : db_(db), statement_(std::move(statement)) {}

    void bind(int parameter, const Value& value) override {
        // A statement that was stepped and not reset refuses to bind; that is the caller's mistake.
        CHECK(detail::bind_value(statement_.get(), parameter, value) == SQLITE_OK);
    }

    Result<bool> step() override {
        const int code = sqlite3_step(statement_.get());
        if (code == SQLITE_ROW) return true;
        if (code == SQLITE_DONE) {
            sqlite3_reset(statement_.get());
            return false;
        }
        Error error = error_of(db_, code, "step");
        sqlite3_reset(statement_.get());
        return error;
    }

    Value column(int index) const override { return detail::value_of(sqlite3_column_value(statement_.get(), index)); }
    int columns() const override { return sqlite3_column_count(statement_.get()); }
    void reset() override { sqlite3_reset(statement_.get()); }

  private:
    sqlite3* db_;
    Prepared statement_;
};

class SqliteDatabase final : public Database {
  public:
    explicit SqliteDatabase(Connection db) : db_(std::move(db)) {}

    Status set_up(const DatabaseOptions& options) {
        sqlite3* db = db_.get();
        sqlite3_busy_timeout(db, busy_timeout_ms);
        sqlite3_db_config(db, SQLITE_DBCONFIG_DQS_DML, 0, nullptr);
        sqlite3_db_config(db, SQLITE_DBCONFIG_DQS_DDL, 0, nullptr);
        // Before the first access: only then does WAL do without shared memory.
        if (options.exclusive) TRY(detail::execute(db, "PRAGMA locking_mode=EXCLUSIVE"));
        Prepared mode = TRY(detail::prepare_own(db, "PRAGMA journal_mode=WAL"));
        const int code = sqlite3_step(mode.get());
        if (code != SQLITE_ROW) return error_of(db, code, "journal_mode=WAL");
        if (detail::value_of(sqlite3_column_value(mode.get(), 0)).text != "wal") {
            return Error{Errc::io, "SQLite cannot keep a write-ahead log here (journal_mode=WAL was refused)"};
        }
        mode.reset();
        TRY(detail::execute(db,
                            "PRAGMA synchronous=NORMAL; PRAGMA wal_autocheckpoint=0; PRAGMA secure_delete=OFF;"
                            "PRAGMA mmap_size=0; PRAGMA temp_store=MEMORY; PRAGMA trusted_schema=OFF;"
                            "PRAGMA cache_size=-" +
                                std::to_string(options.cache_kib) +
                                "; PRAGMA journal_size_limit=" + journal_size_limit));
        // The first page is read here, so that what is not a database says so now.
        TRY(detail::execute(db, "SELECT count(*) FROM sqlite_schema"));
        Prepared page_size = TRY(detail::prepare_own(db, "PRAGMA page_size"));
        if (sqlite3_step(page_size.get()) == SQLITE_ROW) {
            page_bytes_ = static_cast<std::uint64_t>(sqlite3_column_int64(page_size.get(), 0));
        }
        return register_functions(db, nullptr);
    }

    Status exec(const std::string& sql) override { return detail::execute(db_.get(), sql); }

    Result<std::unique_ptr<Statement>> prepare(std::string_view sql) override {
        Prepared statement = TRY(detail::prepare_own(db_.get(), sql));
        return std::unique_ptr<Statement>(std::make_unique<SqliteStatement>(db_.get(), std::move(statement)));
    }

    Status begin() override { return detail::execute(db_.get(), "BEGIN IMMEDIATE"); }

    Status commit(bool durable) override {
        Status done = detail::execute(db_.get(), "COMMIT");
        if (!done) {
            rollback();
            return done;
        }
        return durable ? sync_log() : done;
    }

    void rollback() override {
        // Some errors have rolled back already; a rollback that fails leaves nothing to do but to close.
        if (sqlite3_get_autocommit(db_.get()) == 0) (void)detail::execute(db_.get(), "ROLLBACK");
    }

    Result<std::uint64_t> checkpoint_passive() override {
        int frames = 0;
        int copied = 0;
        const int code = sqlite3_wal_checkpoint_v2(db_.get(), "main", SQLITE_CHECKPOINT_PASSIVE, &frames, &copied);
        // BUSY: somebody else is checkpointing. Passive means that this is no trouble.
        if (code != SQLITE_OK && (code & 0xff) != SQLITE_BUSY) return error_of(db_.get(), code, "checkpoint");
        constexpr std::uint64_t log_header_bytes = 32;
        constexpr std::uint64_t frame_header_bytes = 24;
        if (frames <= 0) return std::uint64_t{0};
        return log_header_bytes + static_cast<std::uint64_t>(frames) * (frame_header_bytes + page_bytes_);
    }

    Result<bool> checkpoint_truncate() override {
        sqlite3* db = db_.get();
        // The busy handler would have this connection's thread sleep until the readers are gone.
        sqlite3_busy_timeout(db, 0);
        const int code = sqlite3_wal_checkpoint_v2(db, "main", SQLITE_CHECKPOINT_TRUNCATE, nullptr, nullptr);
        Result<bool> emptied = code == SQLITE_OK;
        if (code != SQLITE_OK && (code & 0xff) != SQLITE_BUSY) emptied = error_of(db, code, "checkpoint");
        sqlite3_busy_timeout(db, busy_timeout_ms);
        return emptied;
    }

  private:
    // What synchronous=FULL adds to a commit in WAL mode is one sync of the log. The pragma may not change inside a
    // transaction, and callers know only at its end what they want: so the log's file is synced after the COMMIT.
    // Until that returns, readers may see what a power cut could still take away; they re-read after a restart.
    Status sync_log() {
        sqlite3_file* log = nullptr;
        const int found = sqlite3_file_control(db_.get(), "main", SQLITE_FCNTL_JOURNAL_POINTER, &log);
        if (found != SQLITE_OK) return error_of(db_.get(), found, "find the log");
        if (log == nullptr || log->pMethods == nullptr) return {};  // nothing was ever written
        const int code = log->pMethods->xSync(log, SQLITE_SYNC_NORMAL);
        if (code != SQLITE_OK) {
            Error error = error_of(db_.get(), code, "sync the log");
            error.code = (code & 0xff) == SQLITE_FULL ? Errc::disk_full : Errc::io;
            return error;
        }
        return {};
    }

    Connection db_;
    std::uint64_t page_bytes_ = 4096;
};

}  // namespace

Result<std::unique_ptr<Database>> Database::open(const std::string& path, const DatabaseOptions& options) {
    Connection db = TRY(detail::open_connection(path, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, options.vfs));
    auto database = std::make_unique<SqliteDatabase>(std::move(db));
    TRY(database->set_up(options));
    return std::unique_ptr<Database>(std::move(database));
}

std::string Database::engine_version() {
    return sqlite3_libversion();
}

namespace {

std::string quoted(std::string_view text, char quote) {
    std::string out(1, quote);
    for (const char c : text) {
        if (c == quote) out.push_back(quote);
        out.push_back(c);
    }
    out.push_back(quote);
    return out;
}

}  // namespace

std::string quote_name(std::string_view name) {
    return quoted(name, '"');
}
std::string quote_text(std::string_view text) {
    return quoted(text, '\'');
}

}  // namespace weir::store
