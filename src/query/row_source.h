// A table whose rows are all there: a system table that is put together for one query.
#pragma once

#include "query/pool.h"
#include "store/table_source.h"

#include <memory>
#include <string>
#include <vector>

namespace weir::query {

// Owned to borrowed; valid while `value` is.
store::Value borrow(const OwnedValue& value);
OwnedValue own(const store::Value& value);

// Each row has one value a column. Scans share ownership of the rows.
std::shared_ptr<store::TableSource> make_row_source(std::vector<store::SourceColumn> columns,
                                                    std::vector<std::vector<OwnedValue>> rows);

}  // namespace weir::query
