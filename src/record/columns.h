// The columns of a run of events, decoded once at the door and carried to the apply thread; a replay decodes them again
// from the log into the same shape.
//
// Column c, row r: `columns[c].state[r]` says null or present; fixed-width types stand in `columns[c].number[r]`
// (INTEGER, TIMESTAMP as epoch ms, BOOLEAN 0/1; REAL as the bits of a double), the others as a slice of `bytes`
// (TEXT unescaped UTF-8, JSON the raw token as sent, BLOB decoded). Rows are appended in order and never changed.
#pragma once

#include "record/schema.h"

#include <bit>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace weir::record {

struct Slice {
    std::uint32_t offset = 0;
    std::uint32_t size = 0;
};

struct ColumnData {
    std::vector<std::uint8_t> present;  // 0 null, 1 present
    std::vector<std::int64_t> number;   // fixed-width types
    std::vector<Slice> slice;           // TEXT, JSON, BLOB: into ColumnBatch::bytes
};

struct ColumnBatch {
    std::vector<ColumnData> columns;  // one a column of the schema, all with `rows` entries in the vector of their kind
    std::string bytes;                // what slices point into
    std::vector<std::int64_t> event_time_ms;  // a row's event time (the append time's stand-in is -1 until admission)
    std::size_t rows = 0;

    std::string_view text(std::size_t column, std::size_t row) const {
        const Slice s = columns[column].slice[row];
        return std::string_view(bytes).substr(s.offset, s.size);
    }
    double real(std::size_t column, std::size_t row) const {
        return std::bit_cast<double>(columns[column].number[row]);
    }
    void reset(const Schema& schema);  // empties, keeps capacity, shapes for the schema
};

constexpr bool is_sliced(ColumnType t) {
    return t == ColumnType::text || t == ColumnType::json || t == ColumnType::blob;
}
constexpr std::int64_t event_time_is_append_time = INT64_MIN;  // in event_time_ms: "use the append time"

}  // namespace weir::record
