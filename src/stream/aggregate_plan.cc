#include "base/wire.h"
#include "store/database.h"
#include "stream/detail/aggregate.h"
#include "stream/detail/aggregate_value.h"

namespace weir::stream::detail {

namespace {

using record::ColumnType;

bool is_whole(ColumnType type) {
    return type == ColumnType::integer || type == ColumnType::boolean || type == ColumnType::timestamp;
}

std::uint32_t words_of(Shape shape, std::uint32_t partitions) {
    switch (shape) {
        case Shape::count_rows:
        case Shape::count_column:
        case Shape::count_value:
        case Shape::distinct:
            return 1;
        case Shape::sum_whole:
            return 3;
        case Shape::sum_real:
            return 1 + partitions;
        case Shape::sum_value:
            return 4 + partitions;
        case Shape::extreme_whole:
        case Shape::extreme_real:
        case Shape::extreme_value:
            return 2;
        case Shape::position_number:
        case Shape::position_value:
            return position_words;
    }
    return 0;
}

// The argument of an aggregate as SQL text, where no fast path reads the column.
std::string argument_sql(const record::Schema& schema, const Input& input, bool as_number) {
    std::string sql = input.column >= 0 ? store::quote_name(schema.columns[static_cast<std::size_t>(input.column)].name)
                                        : "(" + input.sql + "\n)";
    // Text counts as the number it begins with, as in SQLite's sum().
    if (as_number) sql += " + 0";
    return sql;
}

Result<PlannedAggregate> plan_one(const record::Schema& schema, const TumbleAggregate& wanted,
                                  std::vector<std::string>& expressions) {
    PlannedAggregate planned;
    planned.kind = wanted.kind;
    if (wanted.kind == Aggregate::count_star) return planned;

    const int column = wanted.input.column;
    if (column >= static_cast<int>(schema.columns.size())) {
        return Error{Errc::invalid_argument,
                     "an aggregate reads column " + std::to_string(column) + ", which the stream does not have"};
    }
    const bool is_column = column >= 0;
    if (is_column) planned.column = static_cast<std::size_t>(column);
    const ColumnType type = is_column ? schema.columns[planned.column].type : ColumnType::text;
    planned.column_type = type;
    const auto evaluate = [&](bool as_number) {
        planned.expression = static_cast<int>(expressions.size());
        expressions.push_back(argument_sql(schema, wanted.input, as_number));
    };
    switch (wanted.kind) {
        case Aggregate::count_star:
        case Aggregate::count:
            planned.shape = is_column ? Shape::count_column : Shape::count_value;
            if (!is_column) evaluate(false);
            break;
        case Aggregate::sum:
        case Aggregate::avg:
            planned.shape = is_column && is_whole(type)             ? Shape::sum_whole
                            : is_column && type == ColumnType::real ? Shape::sum_real
                                                                    : Shape::sum_value;
            if (planned.shape == Shape::sum_value) evaluate(true);
            break;
        case Aggregate::min:
        case Aggregate::max:
            planned.shape = is_column && is_whole(type)             ? Shape::extreme_whole
                            : is_column && type == ColumnType::real ? Shape::extreme_real
                                                                    : Shape::extreme_value;
            if (!is_column) evaluate(false);
            break;
        case Aggregate::count_distinct:
            planned.shape = Shape::distinct;
            if (!is_column) evaluate(false);
            break;
        case Aggregate::first:
        case Aggregate::last:
            planned.shape = is_column && !record::is_sliced(type) ? Shape::position_number : Shape::position_value;
            if (!is_column) evaluate(false);
            break;
    }
    return planned;
}

}  // namespace

Result<AggregateLayout> plan_aggregates(const record::Schema& schema, const TumblePlan& plan,
                                        std::vector<std::string>& expressions) {
    AggregateLayout layout;
    layout.partitions = static_cast<std::uint32_t>(plan.partitions);
    for (const TumbleAggregate& wanted : plan.aggregates) {
        PlannedAggregate planned = TRY(plan_one(schema, wanted, expressions));
        planned.word = layout.words;
        layout.words += words_of(planned.shape, layout.partitions);
        const bool is_position = planned.shape == Shape::position_number || planned.shape == Shape::position_value;
        layout.has_positions = layout.has_positions || is_position;
        if (planned.shape == Shape::extreme_value || planned.shape == Shape::position_value)
            planned.text = layout.texts++;
        layout.aggregates.push_back(planned);
    }
    return layout;
}

bool is_sound(const AggregateLayout& layout, const std::uint64_t* words) {
    for (const PlannedAggregate& aggregate : layout.aggregates) {
        const bool is_tagged = aggregate.shape == Shape::extreme_value || aggregate.shape == Shape::position_number ||
                               aggregate.shape == Shape::position_value;
        if (is_tagged && words[aggregate.word] > held_tag_max) return false;
    }
    return true;
}

}  // namespace weir::stream::detail
