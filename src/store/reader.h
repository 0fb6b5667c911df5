// SQLite, the reading side, for user SQL: read-only, authorised, limited in length, rows and time. Lives in a worker
// process.
#pragma once

#include "base/result.h"
#include "store/table_source.h"
#include "store/value.h"

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

namespace weir::store {

struct ReadLimits {
    std::int64_t deadline_us = 0;    // of the monotonic clock that `now_us` reads; 0: none
    std::int64_t rows_max = 10'000;  // then `truncated`
};

struct ResultColumn {
    std::string name;
    std::string declared_type;  // "TIMESTAMP" when the column comes unchanged from one, else "" (expression)
};

// Receives a result. Return false to stop.
class RowSink {
  public:
    virtual ~RowSink() = default;
    virtual bool columns(const std::vector<ResultColumn>& columns) = 0;
    virtual bool row(const std::vector<Value>& values) = 0;
};

class Reader {
  public:
    // Opens view.db read-only. Errors: not_found, io, corrupt.
    static Result<std::unique_ptr<Reader>> open(const std::string& path, std::function<std::int64_t()> now_us);
    virtual ~Reader() = default;

    // One snapshot for everything until end_snapshot().
    virtual Status begin_snapshot() = 0;
    virtual void end_snapshot() = 0;
    // Trusted statement of our own (catalog, ends) inside the snapshot; `parameters` are its ?1, ?2 ...
    Status query_internal(const std::string& sql, const std::function<void(const std::vector<Value>&)>& on_row,
                          const std::vector<Value>& parameters = {}) {
        const auto every = [&on_row](const std::vector<Value>& row) {
            on_row(row);
            return true;
        };
        return query_while(sql, every, parameters);
    }
    // The same, as long as `on_row` answers true.
    virtual Status query_while(const std::string& sql, const std::function<bool(const std::vector<Value>&)>& on_row,
                               const std::vector<Value>& parameters) = 0;
    // Names that the user's statement may use, beside nothing else (json_each and json_tree excepted): a source as a
    // table, and SQL text of a view over our internal tables. Dropped by clear_names(). A name shadows an internal
    // table, so the view's text qualifies what it reads: `SELECT c0 AS window_start FROM main."v0_17"`; it holds no
    // WITH. Errors: already_exists, invalid_argument (the text).
    virtual Status add_source(const std::string& name, std::shared_ptr<TableSource> source) = 0;
    virtual Status add_view(const std::string& name, const std::string& select_sql) = 0;
    virtual void clear_names() = 0;
    // One SELECT (or WITH, VALUES, EXPLAIN QUERY PLAN). Errors: invalid_argument with position (bytes into `sql`),
    // not_found (no such table, column or function), forbidden, deadline, cancelled (interrupt), too_large (the
    // statement, a value, or memory), and whatever a source's scan answers. Returns whether rows were cut at rows_max.
    virtual Result<bool> run(const std::string& sql, const std::vector<Value>& parameters, const ReadLimits& limits,
                             RowSink& sink) = 0;
    virtual void set_now_ms(std::int64_t now_ms) = 0;  // what now() and ago() mean in the next run
    // Stops the run in progress (it answers cancelled); without one, nothing. From any thread while the reader lives.
    virtual void interrupt() = 0;
};

}  // namespace weir::store
