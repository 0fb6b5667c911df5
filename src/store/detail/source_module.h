// The SQLite module behind TableSource: one virtual table a source. Private to store/.
#pragma once

#include "base/result.h"
#include "store/detail/sqlite.h"
#include "store/table_source.h"

#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace weir::store::detail {

// What the module knows of a connection's sources. `CREATE VIRTUAL TABLE temp.x USING weir_source(i)` makes sources[i]
// a table. Must outlive the connection.
struct SourceRegistry {
    std::vector<std::shared_ptr<TableSource>> sources;
    // The error of the last failed scan: SQLite passes on only a message.
    std::optional<Error> error;
};

Status register_source_module(sqlite3* db, SourceRegistry* registry);

}  // namespace weir::store::detail
