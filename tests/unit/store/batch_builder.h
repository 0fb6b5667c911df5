// Schemas and batches for tests of this room, written in a line.
#pragma once

#include "record/columns.h"
#include "record/schema.h"
#include "store/value.h"

#include <bit>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace weir::store {

inline record::Schema make_schema(const std::vector<std::pair<std::string, record::ColumnType>>& columns) {
    record::Schema schema;
    for (const auto& [name, type] : columns) {
        record::Column column;
        column.name = name;
        column.type = type;
        schema.columns.push_back(column);
    }
    return schema;
}

// Appends a row; a value of another kind than the column's is a null.
inline void add_row(const record::Schema& schema, record::ColumnBatch& batch, const std::vector<Value>& values) {
    if (batch.columns.size() != schema.columns.size()) batch.reset(schema);
    for (std::size_t c = 0; c < schema.columns.size(); ++c) {
        record::ColumnData& column = batch.columns[c];
        const Value value = c < values.size() ? values[c] : Value::null();
        column.present.push_back(value.type == ValueType::null ? 0 : 1);
        if (record::is_sliced(schema.columns[c].type)) {
            column.slice.push_back(
                {static_cast<std::uint32_t>(batch.bytes.size()), static_cast<std::uint32_t>(value.text.size())});
            batch.bytes.append(value.text);
        } else {
            column.number.push_back(value.type == ValueType::real ? std::bit_cast<std::int64_t>(value.real)
                                                                  : value.integer);
        }
    }
    batch.event_time_ms.push_back(0);
    ++batch.rows;
}

// A value as a test reads it: null, 42, 1.5, 'text', x'hex'.
inline std::string show(const Value& value) {
    switch (value.type) {
        case ValueType::null:
            return "null";
        case ValueType::integer:
            return std::to_string(value.integer);
        case ValueType::real:
            return std::to_string(value.real);
        case ValueType::text:
            return "'" + std::string(value.text) + "'";
        case ValueType::blob:
            return "x'" + std::string(value.text) + "'";
    }
    return "?";
}

}  // namespace weir::store
