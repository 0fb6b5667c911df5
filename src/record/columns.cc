#include "record/columns.h"

namespace weir::record {

void ColumnBatch::reset(const Schema& schema) {
    columns.resize(schema.columns.size());
    for (ColumnData& column : columns) {
        column.present.clear();
        column.number.clear();
        column.slice.clear();
    }
    bytes.clear();
    event_time_ms.clear();
    rows = 0;
}

}  // namespace weir::record
