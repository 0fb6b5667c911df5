// SQLite, the writing side: one connection, one thread. WAL mode; NORMAL between checkpoints, FULL for the commit that
// a checkpoint rests on. Owner: the apply thread.
#pragma once

#include "base/result.h"
#include "store/value.h"

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

namespace weir::store {

// A prepared statement. Parameters count from 1, columns from 0. Text handed to bind must live until step().
class Statement {
  public:
    virtual ~Statement() = default;
    virtual void bind(int parameter, const Value& value) = 0;
    virtual Result<bool>
    step() = 0;  // true: a row; false: done (and reset). Errors: io, disk_full, corrupt, invalid_argument
    virtual Value column(int index) const = 0;  // valid until the next step or reset
    virtual int columns() const = 0;
    virtual void reset() = 0;
};

struct DatabaseOptions {
    std::string vfs;         // SQLite VFS name; empty: the operating system's. Simulation has its own
    bool exclusive = false;  // locking_mode=EXCLUSIVE: no shared memory file (simulation)
    int cache_kib = 8192;
};

class Database {
  public:
    // Opens or makes the file. Errors: corrupt (not a database), io, disk_full.
    static Result<std::unique_ptr<Database>> open(const std::string& path, const DatabaseOptions& options);
    virtual ~Database() = default;
    virtual Status exec(const std::string& sql) = 0;  // DDL and friends; several statements
    virtual Result<std::unique_ptr<Statement>> prepare(std::string_view sql) = 0;
    virtual Status begin() = 0;  // IMMEDIATE
    // `durable`: synchronous=FULL for this commit (syncs SQLite's log whatever readers do). After an error the
    // transaction is rolled back. Errors: disk_full, io.
    virtual Status commit(bool durable) = 0;
    virtual void rollback() = 0;
    // wal_checkpoint(PASSIVE): never waits for readers. Returns bytes of SQLite's log afterwards.
    virtual Result<std::uint64_t> checkpoint_passive() = 0;
    // wal_checkpoint(TRUNCATE) without waiting for anybody. True: all is in the database and the log is empty. False:
    // somebody reads or checkpoints; what could be copied was, and the log keeps its size. Outside of a transaction and
    // with no statement half stepped. Errors: conflict (inside of one), io, disk_full.
    virtual Result<bool> checkpoint_truncate() = 0;
    static std::string engine_version();  // "3.40.1"
};

// "name" with double quotes doubled, and 'text' with single quotes doubled: for generated SQL.
std::string quote_name(std::string_view name);
std::string quote_text(std::string_view text);

}  // namespace weir::store
