// A group's key from a row of columns, and the key's values back. Private to stream/.
#pragma once

#include "base/result.h"
#include "record/columns.h"
#include "record/schema.h"
#include "store/expression.h"
#include "store/value.h"
#include "stream/detail/group_key.h"
#include "stream/tumble.h"

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace weir::stream::detail {

// A value that a key or a set is made of: a column as it is, or the result of an expression.
struct KeyPart {
    enum class Source : std::uint8_t { whole, real, text, blob, expression } source = Source::whole;
    std::size_t column = 0;
    std::size_t expression = 0;  // of the evaluated ones
};

KeyPart column_part(const record::Schema& schema, int column);

// Appends row `row` of the batch, which is row `i` of `evaluated` (null where no part is an expression). Cost: 2 to 5
// ns.
inline void write_part(KeyWriter& writer, const KeyPart& part, const record::ColumnBatch& batch, std::uint32_t row,
                       const store::Evaluated* evaluated, std::size_t i) {
    if (part.source == KeyPart::Source::expression) {
        writer.add_value(evaluated->values[i * evaluated->expressions + part.expression]);
        return;
    }
    const record::ColumnData& column = batch.columns[part.column];
    if (column.present[row] == 0) {
        writer.add_null();
        return;
    }
    switch (part.source) {
        case KeyPart::Source::whole:
            writer.add_whole(column.number[row]);
            return;
        case KeyPart::Source::real:
            writer.add_real(batch.real(part.column, row));
            return;
        case KeyPart::Source::text:
            writer.add_text(batch.text(part.column, row));
            return;
        case KeyPart::Source::blob:
            writer.add_value(store::Value::of_blob(batch.text(part.column, row)));
            return;
        case KeyPart::Source::expression:
            return;
    }
}

class KeyPlan {
  public:
    // Expressions that the keys need are appended to `expressions`. Errors: invalid_argument (no such column).
    static Result<KeyPlan> make(const record::Schema& schema, const TumblePlan& plan,
                                std::vector<std::string>& expressions);

    const std::vector<KeyPart>& parts() const { return parts_; }
    // Appends the plan's keys, window bounds included, in its order. Text lives until the next call, or as `key` does.
    void read(std::string_view key, std::vector<store::Value>& row);

  private:
    std::vector<TumbleKey::Kind> kinds_;
    std::vector<KeyPart> parts_;  // of the kinds that are inputs
    std::int64_t size_ms_ = 0;
    std::vector<store::Value> values_;
    std::vector<std::string> texts_;
};

}  // namespace weir::stream::detail
