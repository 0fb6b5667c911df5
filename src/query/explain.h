// EXPLAIN: what a query would read and how, in lines for people; nothing of a stream is read for it.
//
//   scan access: partitions 1 of 4, batches with event times from 2015-05-18T00:00:00.000Z: at most 2500 events; ...
//   SCAN access                                   the engine's own plan, indented by its levels
//     USE TEMP B-TREE FOR GROUP BY
#pragma once

#include "base/result.h"
#include "store/reader.h"
#include "store/table_source.h"

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace weir::query {

// What EXPLAIN stands before; EXPLAIN QUERY PLAN is no such statement, the engine answers that itself.
struct ExplainStatement {
    bool is_view = false;
    std::string text;  // the query, its word EXPLAIN blanked so that positions stay; or the view's name
};
std::optional<ExplainStatement> read_explain(std::string_view statement);

// Scans of it have no rows, and note once what they would have read. `notes` outlives it.
std::shared_ptr<store::TableSource> make_explained_source(std::string name, std::shared_ptr<store::TableSource> source,
                                                          std::vector<std::string>& notes);

// The lines for a query whose tables are added: runs it over scans without rows, which fills `notes`, then asks the
// engine for its plan. Errors: as Reader::run, positions in `sql`.
Result<std::vector<std::string>> explain_query(store::Reader& reader, const std::string& sql,
                                               const std::vector<store::Value>& parameters,
                                               const store::ReadLimits& limits, const std::vector<std::string>& notes);

}  // namespace weir::query
