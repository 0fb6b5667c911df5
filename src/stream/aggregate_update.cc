#include "stream/detail/aggregate.h"
#include "stream/detail/aggregate_value.h"
#include "stream/detail/word_sum.h"

#include <bit>

namespace weir::stream::detail {

namespace {

using record::ColumnType;
using store::Value;
using store::ValueType;

Value column_text(const record::ColumnBatch& batch, std::size_t column, std::size_t row, ColumnType type) {
    const std::string_view text = batch.text(column, row);
    return type == ColumnType::blob ? Value::of_blob(text) : Value::of(text);
}

// A value of any type into a tag, a number and a text.
void hold(const Value& value, std::uint64_t& tag, std::uint64_t& number, std::string& text, std::uint32_t group,
          GroupTable& table) {
    hold_value(value, tag, number);
    // The text of an earlier value is of no use: it would only be stored again and again.
    if (text.size() != value.text.size()) table.on_text_resize(group, text.size(), value.text.size());
    text.assign(value.text);
}

void update_extreme(bool is_min, std::uint64_t* words, std::string& text, Value value, std::uint32_t group,
                    GroupTable& table) {
    if (value.type == ValueType::null) return;
    if (value.type == ValueType::real && value.real == 0) value.real = 0.0;  // -0.0 and 0.0 are one number
    if (!replaces_extreme(is_min, value, held_value(words[0], words[1], text))) return;
    hold(value, words[0], words[1], text, group, table);
}

void update_positions(const PlannedAggregate& aggregate, const AggregateLayout& layout, const GroupedRows& rows,
                      GroupTable& table) {
    const bool is_first = aggregate.kind == Aggregate::first;
    const std::size_t stride = rows.evaluated == nullptr ? 0 : rows.evaluated->expressions;
    const record::ColumnData* column = aggregate.expression < 0 ? &rows.batch->columns[aggregate.column] : nullptr;
    for (std::size_t i = 0; i < rows.rows.size(); ++i) {
        const std::uint32_t row = rows.rows[i];
        if (column != nullptr && column->present[row] == 0) continue;
        std::uint64_t* w = rows.accumulators[i] + aggregate.word;
        if (!replaces_position(is_first, w, rows.event_times_ms[i], rows.partition, rows.offsets[i])) continue;
        if (aggregate.shape == Shape::position_number) {
            const bool is_real = aggregate.column_type == ColumnType::real;
            w[0] = static_cast<std::uint64_t>(is_real ? ValueType::real : ValueType::integer) + 1;
            w[4] = static_cast<std::uint64_t>(column->number[row]);
        } else {
            const Value value =
                column != nullptr ? column_text(*rows.batch, aggregate.column, row, aggregate.column_type)
                                  : rows.evaluated->values[i * stride + static_cast<std::size_t>(aggregate.expression)];
            if (value.type == ValueType::null) continue;
            const std::uint32_t set = rows.second.empty() || rows.second[i] == 0 ? 0 : layout.texts;
            hold(value, w[0], w[4], table.group(rows.groups[i]).texts[set + aggregate.text], rows.groups[i], table);
        }
        w[1] = static_cast<std::uint64_t>(rows.event_times_ms[i]);
        w[2] = rows.partition;
        w[3] = static_cast<std::uint64_t>(rows.offsets[i]);
    }
}

}  // namespace

void update_aggregates(const AggregateLayout& layout, const GroupedRows& rows, GroupTable& table) {
    const std::size_t count = rows.rows.size();
    const auto& columns = rows.batch->columns;
    const std::size_t stride = rows.evaluated == nullptr ? 0 : rows.evaluated->expressions;
    for (const PlannedAggregate& aggregate : layout.aggregates) {
        const std::uint32_t word = aggregate.word;
        const auto words = [&](std::size_t i) { return rows.accumulators[i] + word; };
        const auto value = [&](std::size_t i) -> const Value& {
            return rows.evaluated->values[i * stride + static_cast<std::size_t>(aggregate.expression)];
        };
        // One loop an aggregate: the branch on the shape is taken once, and the loop's body is a few instructions.
        switch (aggregate.shape) {
            case Shape::count_rows:
                for (std::size_t i = 0; i < count; ++i)
                    ++*words(i);
                break;
            case Shape::count_column: {
                const std::uint8_t* present = columns[aggregate.column].present.data();
                for (std::size_t i = 0; i < count; ++i)
                    *words(i) += present[rows.rows[i]] != 0 ? 1 : 0;
                break;
            }
            case Shape::count_value:
                for (std::size_t i = 0; i < count; ++i)
                    *words(i) += value(i).type != ValueType::null ? 1 : 0;
                break;
            case Shape::sum_whole: {
                const std::uint8_t* present = columns[aggregate.column].present.data();
                const std::int64_t* number = columns[aggregate.column].number.data();
                for (std::size_t i = 0; i < count; ++i) {
                    const std::uint32_t row = rows.rows[i];
                    if (present[row] == 0) continue;
                    ++words(i)[0];
                    add128(words(i) + 1, number[row]);
                }
                break;
            }
            case Shape::sum_real: {
                const std::uint8_t* present = columns[aggregate.column].present.data();
                for (std::size_t i = 0; i < count; ++i) {
                    const std::uint32_t row = rows.rows[i];
                    if (present[row] == 0) continue;
                    ++words(i)[0];
                    add_real(words(i)[1 + rows.partition], rows.batch->real(aggregate.column, row));
                }
                break;
            }
            case Shape::sum_value:
                for (std::size_t i = 0; i < count; ++i) {
                    const Value& v = value(i);
                    if (v.type == ValueType::integer) {
                        ++words(i)[0];
                        add128(words(i) + 2, v.integer);
                    } else if (v.type == ValueType::real) {
                        ++words(i)[0];
                        ++words(i)[1];
                        add_real(words(i)[4 + rows.partition], v.real);
                    }
                }
                break;
            case Shape::extreme_whole:
            case Shape::extreme_real: {
                const std::uint8_t* present = columns[aggregate.column].present.data();
                const std::int64_t* number = columns[aggregate.column].number.data();
                const bool is_min = aggregate.kind == Aggregate::min;
                const bool is_whole_shape = aggregate.shape == Shape::extreme_whole;
                for (std::size_t i = 0; i < count; ++i) {
                    const std::uint32_t row = rows.rows[i];
                    if (present[row] == 0) continue;
                    std::uint64_t* w = words(i);
                    std::int64_t bits = number[row];
                    bool replaces = w[0] == 0;
                    if (is_whole_shape) {
                        const auto held = static_cast<std::int64_t>(w[1]);
                        replaces = replaces || (is_min ? bits < held : bits > held);
                    } else {
                        const double v = std::bit_cast<double>(bits);
                        const double held = std::bit_cast<double>(w[1]);
                        replaces = replaces || (is_min ? v < held : v > held);
                        if (v == 0) bits = 0;  // -0.0 and 0.0 are one number
                    }
                    w[0] = 1;
                    if (replaces) w[1] = static_cast<std::uint64_t>(bits);
                }
                break;
            }
            case Shape::extreme_value:
                for (std::size_t i = 0; i < count; ++i) {
                    const std::uint32_t set = rows.second.empty() || rows.second[i] == 0 ? 0 : layout.texts;
                    std::string& text = table.group(rows.groups[i]).texts[set + aggregate.text];
                    const bool is_min = aggregate.kind == Aggregate::min;
                    if (aggregate.expression >= 0) {
                        update_extreme(is_min, words(i), text, value(i), rows.groups[i], table);
                    } else if (columns[aggregate.column].present[rows.rows[i]] != 0) {
                        // The accumulator only needs to tell text from blob; JSON compares as text.
                        const Value v = column_text(*rows.batch, aggregate.column, rows.rows[i], aggregate.column_type);
                        update_extreme(is_min, words(i), text, v, rows.groups[i], table);
                    }
                }
                break;
            case Shape::distinct:
                break;
            case Shape::position_number:
            case Shape::position_value:
                update_positions(aggregate, layout, rows, table);
                break;
        }
    }
}

}  // namespace weir::stream::detail
