// SQL expressions over a batch of decoded events: compiled once by SQLite over a virtual table of the batch, evaluated
// a batch at a time (26 to 81 ns a row). Views, CHECK and DEFAULT use it, so that an expression means the same
// everywhere. Functions come from an allow-list: no clock, no chance, no locale, nothing whose result could differ
// between replicas. Not on it: printf and its kin, quote and the JSON builders (they write REAL as text), the date
// functions (a text 'now' or 'localtime' in an event would read the host; bucket, epoch_ms and rfc3339 serve), libm
// beyond what is exact.
//
// No REAL becomes text, because its digits depend on the version of SQLite. Where SQLite would write a number as text
// (`||`, CAST AS TEXT or BLOB, LIKE, GLOB, text and JSON functions, TEXT compared with what has no affinity)
//   - a REAL column, a literal such as 1.5, round(), and what is computed from them are refused: `price || ''`
//   - what is REAL for some events only (json_extract, `->>`, sums of integers or text) counts as NULL there
// `CASE WHEN price > 1.5 THEN lower(path) END` is fine, for no text is made of price; so is
// `CAST(round(price) AS INTEGER) || ''`.
//
// A row whose evaluation fails (malformed JSON in json_extract, overflow in abs, a result over 20 MiB) has NULL for the
// expressions that failed: an event must not stop a view.
// Owner of an Expression: one thread.
#pragma once

#include "base/result.h"
#include "record/columns.h"
#include "record/json.h"
#include "record/schema.h"
#include "store/value.h"

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

namespace weir::store {

// Row-major results: row r of expression e is values[r * expressions + e]. Text points into `bytes` of this object.
struct Evaluated {
    std::size_t expressions = 0;
    std::vector<Value> values;
    std::string bytes;
};

class Expression {
  public:
    // `sql[i]` are expressions over the schema's columns (quoted where needed), at least one. Errors: invalid_argument
    // with SQLite's message and position (bytes into sql[i]), forbidden (a function or construct that is not
    // deterministic, a subquery, a REAL as text).
    static Result<std::unique_ptr<Expression>> compile(const record::Schema& schema,
                                                       const std::vector<std::string>& sql);
    virtual ~Expression() = default;
    // Rows `rows` of the batch, in that order; an empty span means every row (who selected nothing does not call). The
    // batch must have the schema's columns. `out` is overwritten. Errors: none in practice (io: SQLite broke).
    virtual Status evaluate(const record::ColumnBatch& batch, std::span<const std::uint32_t> rows, Evaluated& out) = 0;
    // Columns that the expressions read (by the authoriser): what must be decoded.
    virtual const std::vector<bool>& columns_used() const = 0;
};

// The value of an expression that reads no column, as a literal that SQL reads: 'it''s', -7, 0.5, x'00ff', NULL. A REAL
// in the shortest form that reads as the same number. Errors: as compile().
Result<std::string> constant_literal(const std::string& sql);

// The CHECK expressions of a schema as the decoder wants them; null when the schema has none. Simple forms
// (`c op integer`, `c BETWEEN a AND b`, joined by AND) are evaluated natively with SQLite's meaning, the rest by
// SQLite.
Result<std::unique_ptr<record::ColumnCheck>> compile_checks(const record::Schema& schema);

}  // namespace weir::store
