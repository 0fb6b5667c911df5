// HAVING over the rows of groups: SQLite's expressions, a batch of rows at a time. Private to stream/.
//
// The expression reads the row's slots under the names of row_term(): one column for a slot whose type the plan tells,
// else a tag and a column for each type, between which a CASE chooses.
#pragma once

#include "base/result.h"
#include "record/columns.h"
#include "store/expression.h"
#include "store/value.h"
#include "stream/tumble.h"

#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace weir::stream::detail {

class Having {
  public:
    // Errors: invalid_argument, forbidden, as store::Expression::compile.
    static Result<std::unique_ptr<Having>> compile(const record::Schema& schema, const TumblePlan& plan);

    // Copies what the expression reads.
    void add(const std::vector<store::Value>& row);
    void clear() { batch_.reset(schema_); }
    std::size_t rows() const { return batch_.rows; }
    std::size_t bytes() const { return batch_.bytes.size(); }
    // For each row added since the last call: whether it is one of the view's. Errors: io.
    Status evaluate(std::vector<bool>& passes);

  private:
    Having() = default;

    std::vector<std::optional<record::ColumnType>> slots_;  // nullopt: of any type
    record::Schema schema_;
    std::unique_ptr<store::Expression> expression_;
    record::ColumnBatch batch_;
    store::Evaluated evaluated_;
};

}  // namespace weir::stream::detail
