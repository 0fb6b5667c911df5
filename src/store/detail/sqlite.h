// What the files of this room share about SQLite's C interface: handles that close themselves, error mapping, values.
// Private to store/: SQLite's types end here.
#pragma once

#include "base/result.h"
#include "store/value.h"

#include <sqlite3.h>

#include <memory>
#include <string>
#include <string_view>

namespace weir::store::detail {

struct CloseConnection {
    void operator()(sqlite3* db) const { sqlite3_close_v2(db); }
};
using Connection = std::unique_ptr<sqlite3, CloseConnection>;

struct FinalizeStatement {
    void operator()(sqlite3_stmt* statement) const { sqlite3_finalize(statement); }
};
using Prepared = std::unique_ptr<sqlite3_stmt, FinalizeStatement>;

// Opens with no mutex (one owner) and extended result codes. `vfs` empty: the default. Errors: not_found (absent and
// not to be made), io, disk_full, corrupt.
Result<Connection> open_connection(const std::string& path, int flags, const std::string& vfs);

// What a result code of `db` means to a caller. `doing` opens the detail: "commit". Reads the message and the error
// offset of the last call on `db`, so nothing may run on `db` in between.
Error error_of(sqlite3* db, int code, std::string_view doing);

// Runs statements of our own; rows are dropped.
Status execute(sqlite3* db, const std::string& sql);

// The first statement of `sql`, which must be one of our own.
Result<Prepared> prepare_own(sqlite3* db, std::string_view sql);

// Text and blobs are borrowed for as long as SQLite's value is. Takes text as bytes, which spares the copy that a
// terminating zero costs.
Value value_of(sqlite3_value* value);

// `lives_on`: the bytes outlive the statement; otherwise SQLite copies them.
void set_result(sqlite3_context* context, const Value& value, bool lives_on);

// Text must live until the statement is reset or bound again.
int bind_value(sqlite3_stmt* statement, int parameter, const Value& value);

}  // namespace weir::store::detail
