// Aggregates over groups: where their accumulators lie, how rows change them, what they read as, how they are stored.
// Private to stream/.
//
// Every accumulator commutes, so that the order in which partitions meet does not show: integers add in 128 bits, REAL
// sums have a word a partition and are merged in partition order when read, min and max of equal numbers prefer the
// integer, first and last go by (event time, partition, offset), which no two records share, and distinct values are a
// set (distinct.h), of which the accumulator is the size. NULLs count for count(*) alone.
//
//   count            n
//   count(DISTINCT)  n
//   sum, avg of a column of integers        n | sum low | sum high
//   sum, avg of a REAL column               n | a double for each partition
//   sum, avg of an expression               n | reals among them | sum low | sum high | a double for each partition
//   min, max of a column of numbers         n | value
//   min, max of anything else               type + 1 | number, and a text
//   first, last                             type + 1 | event time | partition | offset | number, and a text unless of a
//                                           column of numbers
#pragma once

#include "base/result.h"
#include "record/columns.h"
#include "record/schema.h"
#include "store/expression.h"
#include "store/value.h"
#include "stream/detail/group_table.h"
#include "stream/detail/key_plan.h"
#include "stream/tumble.h"

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace weir::stream::detail {

enum class Shape : std::uint8_t {
    count_rows,
    count_column,
    count_value,
    sum_whole,
    sum_real,
    sum_value,
    extreme_whole,
    extreme_real,
    extreme_value,
    distinct,
    position_number,
    position_value,
};

struct PlannedAggregate {
    Aggregate kind = Aggregate::count_star;
    Shape shape = Shape::count_rows;
    std::size_t column = 0;  // of the batch, where the shape reads a column
    record::ColumnType column_type = record::ColumnType::text;
    int expression = -1;     // of the evaluated ones; -1: reads `column`
    std::uint32_t word = 0;  // first word of its accumulator
    std::uint32_t text = 0;  // its text, where the shape has one
};

struct AggregateLayout {
    std::vector<PlannedAggregate> aggregates;
    std::uint32_t words = 0;
    std::uint32_t texts = 0;
    std::uint32_t partitions = 1;
    bool has_positions = false;  // first or last: rows need their offsets and event times
};

// Expressions that the aggregates need are appended to `expressions`. Errors: invalid_argument (no such column).
Result<AggregateLayout> plan_aggregates(const record::Schema& schema, const TumblePlan& plan,
                                        std::vector<std::string>& expressions);

// Rows of one batch and partition with the group that each falls in.
struct GroupedRows {
    const record::ColumnBatch* batch = nullptr;
    std::span<const std::uint32_t> rows;           // of the batch
    std::span<const std::uint32_t> groups;         // rows[i] falls in groups[i] of the table
    std::span<std::uint64_t* const> accumulators;  // words of groups[i]
    const store::Evaluated* evaluated = nullptr;   // row i of it belongs to rows[i]; null: no expressions
    std::uint32_t partition = 0;
    std::span<const std::int64_t> event_times_ms;  // where the layout has positions
    std::span<const std::int64_t> offsets;         // likewise
    std::span<const std::uint8_t> second;          // 1: the row's texts are of the group's second set. Empty: none has
};

// All shapes but `distinct`. Cost: about 1 to 2 ns a row and aggregate for columns, 5 for expressions.
void update_aggregates(const AggregateLayout& layout, const GroupedRows& rows, GroupTable& table);

// One set of a group's accumulators.
struct Accumulators {
    const std::uint64_t* words = nullptr;
    const std::string* texts = nullptr;
};

// Appends what the aggregates read as. Text points into `from`.
void read_aggregates(const AggregateLayout& layout, Accumulators from, std::vector<store::Value>& values);

// What one set would be that had seen the rows of both.
struct MergedAccumulators {
    std::vector<std::uint64_t> words;
    std::vector<std::string> texts;
};
void merge_aggregates(const AggregateLayout& layout, Accumulators a, Accumulators b, MergedAccumulators& out);

// False: no rows of this layout could have made these words.
bool is_sound(const AggregateLayout& layout, const std::uint64_t* words);

// As SQLite orders values: numbers by value, then text, then blobs by bytes. Of equal numbers an integer comes first.
// NULL is not asked for.
int compare_values(const store::Value& a, const store::Value& b);

}  // namespace weir::stream::detail
