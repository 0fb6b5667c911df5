// Rows of materialized views by key, for tails of views: page by page in key order, or those of some keys. In the
// server, beside the flow; statements of our own over view.db only.
//
// A row's key is the view's `_k`: what GROUP BY made of it, encoded (stream/group_key.h). It is the row's identity and
// nothing else to readers.
#pragma once

#include "base/ids.h"
#include "base/result.h"
#include "os/disk.h"
#include "query/pool.h"
#include "store/value.h"

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace weir::query {

struct ViewShape {
    ObjectId id;
    std::vector<QueryColumn> columns;
};

// Owner: one thread.
class ViewRows {
  public:
    // Errors: not_found (no such shard), io, corrupt.
    static Result<std::unique_ptr<ViewRows>> open(os::Disk& disk, const std::string& shard_dir);
    virtual ~ViewRows() = default;

    // Errors: not_found (no view of that name), building, corrupt, io.
    virtual Result<ViewShape> shape(const std::string& name) = 0;

    // A row: its key and its values in the columns' order; null values: there is no such row (any more). Borrowed.
    // False: no more rows.
    using OnRow = std::function<bool(std::string_view key, const std::vector<store::Value>* values)>;
    // Rows with keys behind `after` (all, where `begins`), ascending, of one index, which is answered. Errors:
    // not_found (the view was dropped), io, corrupt.
    virtual Result<LogIndex> page(const ViewShape& view, bool begins, std::string_view after, const OnRow& on_row) = 0;
    // The rows of these keys, each once, in no order; of one index. Errors as page().
    virtual Result<LogIndex> rows(const ViewShape& view, const std::vector<std::string_view>& keys,
                                  const OnRow& on_row) = 0;
};

}  // namespace weir::query
