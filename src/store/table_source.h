// A table that is not in SQLite: a pruned scan that others implement (a stream over its segments, rows of a sys table).
#pragma once

#include "base/result.h"
#include "store/value.h"

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace weir::store {

struct SourceColumn {
    std::string name;
    std::string sql_type;  // "INTEGER", "TEXT", "TIMESTAMP" ...: what decltype says
    bool hidden = false;
};

enum class Comparison : std::uint8_t { eq, gt, ge, lt, le };

// column <op> value, joined by AND. The value has the column's type: an integer for INTEGER, TIMESTAMP and BOOLEAN, a
// real for REAL, text for TEXT and JSON, a blob for BLOB. What does not fit is widened (c > 10.5 arrives as c >= 10) or
// not handed down; NULL never arrives, nor a comparison of text under another collation than BINARY.
struct Constraint {
    int column = 0;
    Comparison op = Comparison::eq;
    Value value;  // valid during open_scan
};

class Scan {
  public:
    virtual ~Scan() = default;
    virtual Result<bool> next() = 0;      // moves to the next row; false at the end
    virtual Value column(int index) = 0;  // of the present row, valid until next()
};

class TableSource {
  public:
    virtual ~TableSource() = default;
    virtual const std::vector<SourceColumn>& columns() const = 0;
    // Columns worth handing down as constraints (others stay with SQLite). SQLite checks every constraint again.
    virtual bool can_prune(int column, Comparison op) const = 0;
    // `used[c]`: column c will be asked for. Errors: anything a read can hit.
    virtual Result<std::unique_ptr<Scan>> open_scan(const std::vector<bool>& used,
                                                    const std::vector<Constraint>& constraints) = 0;
    virtual std::int64_t estimated_rows() const = 0;
    // What open_scan would read, in words, for EXPLAIN: "partitions 0, 1 of 4; ...". Empty: nothing worth telling.
    virtual std::string describe(const std::vector<bool>& /*used*/, const std::vector<Constraint>&) const { return {}; }
};

}  // namespace weir::store
