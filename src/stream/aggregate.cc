#include "stream/detail/aggregate.h"

#include "base/check.h"
#include "base/wire.h"
#include "store/database.h"

#include <bit>
#include <cmath>

namespace weir::stream::detail {

namespace {

using record::ColumnType;
using store::Value;
using store::ValueType;

__extension__ typedef __int128 int128;
__extension__ typedef unsigned __int128 uint128;

constexpr std::uint8_t state_version = 1;

bool is_whole(ColumnType type) {
    return type == ColumnType::integer || type == ColumnType::boolean || type == ColumnType::timestamp;
}

void add128(std::uint64_t* words, std::int64_t v) {
    uint128 sum = static_cast<uint128>(words[1]) << 64 | words[0];
    sum += static_cast<uint128>(static_cast<int128>(v));
    words[0] = static_cast<std::uint64_t>(sum);
    words[1] = static_cast<std::uint64_t>(sum >> 64);
}

int128 read128(const std::uint64_t* words) {
    return static_cast<int128>(static_cast<uint128>(words[1]) << 64 | words[0]);
}

void add_real(std::uint64_t& word, double v) {
    word = std::bit_cast<std::uint64_t>(std::bit_cast<double>(word) + v);
}

// Words of a shape, and whether it keeps a text.
std::uint32_t words_of(Shape shape, std::uint32_t partitions) {
    switch (shape) {
        case Shape::count_rows:
        case Shape::count_column:
        case Shape::count_value:
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
    }
    return planned;
}

// Integer against real without rounding the integer.
int compare_whole_real(std::int64_t whole, double real) {
    if (real >= 9223372036854775808.0) return -1;
    if (real < -9223372036854775808.0) return 1;
    const auto floor = static_cast<std::int64_t>(std::floor(real));
    if (whole != floor) return whole < floor ? -1 : 1;
    return real > std::floor(real) ? -1 : 0;
}

template <class T>
int order(T a, T b) {
    return a < b ? -1 : a > b ? 1 : 0;
}

// An extreme of anything: read from and written to its two words and its text.
Value read_extreme(const std::uint64_t* words, const std::string& text) {
    if (words[0] == 0) return Value::null();
    switch (static_cast<ValueType>(words[0] - 1)) {
        case ValueType::integer:
            return Value::of(static_cast<std::int64_t>(words[1]));
        case ValueType::real:
            return Value::of(std::bit_cast<double>(words[1]));
        case ValueType::text:
            return Value::of(std::string_view(text));
        case ValueType::blob:
            return Value::of_blob(std::string_view(text));
        case ValueType::null:
            break;
    }
    return Value::null();
}

void update_extreme(const PlannedAggregate& aggregate, std::uint64_t* words, std::string& text, Value value,
                    GroupTable& table) {
    if (value.type == ValueType::null) return;
    if (value.type == ValueType::real && value.real == 0) value.real = 0.0;  // -0.0 and 0.0 are one number
    const Value present = read_extreme(words, text);
    if (present.type != ValueType::null) {
        int compared = compare_values(value, present);
        if (compared == 0) return;
        const bool is_number = value.type <= ValueType::real && present.type <= ValueType::real;
        // Equal numbers of two types: the integer stays or comes, for min as for max.
        if (is_number && value.type != present.type) {
            const std::int64_t whole = value.type == ValueType::integer ? value.integer : present.integer;
            const double real = value.type == ValueType::real ? value.real : present.real;
            if (compare_whole_real(whole, real) == 0) {
                if (value.type == ValueType::real) return;
                compared = aggregate.kind == Aggregate::min ? -1 : 1;
            }
        }
        if ((aggregate.kind == Aggregate::min) != (compared < 0)) return;
    }
    words[0] = static_cast<std::uint64_t>(value.type) + 1;
    words[1] = value.type == ValueType::real ? std::bit_cast<std::uint64_t>(value.real)
                                             : static_cast<std::uint64_t>(value.integer);
    if (value.type == ValueType::text || value.type == ValueType::blob) {
        table.on_text_resize(text.size(), value.text.size());
        text.assign(value.text);
        words[1] = 0;
    }
}

Value column_text(const record::ColumnBatch& batch, std::size_t column, std::size_t row, ColumnType type) {
    const std::string_view text = batch.text(column, row);
    return type == ColumnType::blob ? Value::of_blob(text) : Value::of(text);
}

Value sum_of(const PlannedAggregate& aggregate, const std::uint64_t* words, std::uint32_t partitions) {
    const std::uint64_t n = words[0];
    if (n == 0) return Value::null();
    const bool has_whole = aggregate.shape != Shape::sum_real;
    const bool has_real = aggregate.shape != Shape::sum_whole;
    const std::uint64_t* whole_words = aggregate.shape == Shape::sum_whole ? words + 1 : words + 2;
    const std::uint64_t* real_words = aggregate.shape == Shape::sum_real ? words + 1 : words + 4;
    const int128 whole = has_whole ? read128(whole_words) : int128{0};
    const bool is_real = aggregate.shape == Shape::sum_real || (has_real && words[1] > 0);

    double real = static_cast<double>(whole);
    if (is_real) {
        double reals = 0;
        for (std::uint32_t p = 0; p < partitions; ++p)
            reals += std::bit_cast<double>(real_words[p]);
        real = has_whole ? real + reals : reals;
    }
    if (aggregate.kind == Aggregate::avg) real /= static_cast<double>(n);
    if (aggregate.kind == Aggregate::avg || is_real) return std::isnan(real) ? Value::null() : Value::of(real);
    // A sum that does not fit is NULL: a wrong number would be worse, and an error would stop the view.
    if (whole < int128{INT64_MIN} || whole > int128{INT64_MAX}) return Value::null();
    return Value::of(static_cast<std::int64_t>(whole));
}

}  // namespace

int compare_values(const Value& a, const Value& b) {
    const auto rank = [](const Value& v) { return v.type == ValueType::text ? 1 : v.type == ValueType::blob ? 2 : 0; };
    if (rank(a) != rank(b)) return order(rank(a), rank(b));
    if (rank(a) > 0) {
        const int compared = a.text.compare(b.text);
        return order(compared, 0);
    }
    if (a.type == b.type) return a.type == ValueType::integer ? order(a.integer, b.integer) : order(a.real, b.real);
    const int compared =
        a.type == ValueType::integer ? compare_whole_real(a.integer, b.real) : -compare_whole_real(b.integer, a.real);
    if (compared != 0) return compared;
    return a.type == ValueType::integer ? -1 : 1;
}

Result<AggregateLayout> plan_aggregates(const record::Schema& schema, const TumblePlan& plan,
                                        std::vector<std::string>& expressions) {
    AggregateLayout layout;
    layout.partitions = static_cast<std::uint32_t>(plan.partitions);
    for (const TumbleAggregate& wanted : plan.aggregates) {
        PlannedAggregate planned = TRY(plan_one(schema, wanted, expressions));
        planned.word = layout.words;
        layout.words += words_of(planned.shape, layout.partitions);
        if (planned.shape == Shape::extreme_value) planned.text = layout.texts++;
        layout.aggregates.push_back(planned);
    }
    return layout;
}

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
                    std::string& text = table.group(rows.groups[i]).texts[aggregate.text];
                    if (aggregate.expression >= 0) {
                        update_extreme(aggregate, words(i), text, value(i), table);
                    } else if (columns[aggregate.column].present[rows.rows[i]] != 0) {
                        // The accumulator only needs to tell text from blob; JSON compares as text.
                        const Value v = column_text(*rows.batch, aggregate.column, rows.rows[i], aggregate.column_type);
                        update_extreme(aggregate, words(i), text, v, table);
                    }
                }
                break;
        }
    }
}

void read_aggregates(const AggregateLayout& layout, GroupTable& table, std::uint32_t group,
                     std::vector<Value>& values) {
    for (const PlannedAggregate& aggregate : layout.aggregates) {
        const std::uint64_t* words = table.words(group) + aggregate.word;
        switch (aggregate.shape) {
            case Shape::count_rows:
            case Shape::count_column:
            case Shape::count_value:
                values.push_back(Value::of(static_cast<std::int64_t>(words[0])));
                break;
            case Shape::sum_whole:
            case Shape::sum_real:
            case Shape::sum_value:
                values.push_back(sum_of(aggregate, words, layout.partitions));
                break;
            case Shape::extreme_whole:
                values.push_back(words[0] == 0 ? Value::null() : Value::of(static_cast<std::int64_t>(words[1])));
                break;
            case Shape::extreme_real:
                values.push_back(words[0] == 0 ? Value::null() : Value::of(std::bit_cast<double>(words[1])));
                break;
            case Shape::extreme_value:
                values.push_back(read_extreme(words, table.group(group).texts[aggregate.text]));
                break;
        }
    }
}

void encode_state(const AggregateLayout& layout, GroupTable& table, std::uint32_t group, std::string& out) {
    WireWriter writer(out);
    writer.u8(state_version);
    const std::uint64_t* words = table.words(group);
    for (std::uint32_t w = 0; w < layout.words; ++w)
        writer.u64(words[w]);
    for (std::uint32_t t = 0; t < layout.texts; ++t)
        writer.bytes(table.group(group).texts[t]);
}

Status decode_state(const AggregateLayout& layout, std::string_view bytes, GroupTable& table, std::uint32_t group) {
    WireReader reader(bytes);
    const Error corrupt{Errc::corrupt, "a group's state is not of this view's shape"};
    if (reader.u8() != state_version) return corrupt;
    std::uint64_t* words = table.words(group);
    for (std::uint32_t w = 0; w < layout.words; ++w)
        words[w] = reader.u64();
    for (std::uint32_t t = 0; t < layout.texts; ++t) {
        const std::string_view text = reader.bytes();
        table.on_text_resize(table.group(group).texts[t].size(), text.size());
        table.group(group).texts[t].assign(text);
    }
    if (!reader.ok() || !reader.at_end()) return corrupt;
    for (const PlannedAggregate& aggregate : layout.aggregates) {
        const bool is_any = aggregate.shape == Shape::extreme_value;
        if (is_any && words[aggregate.word] > static_cast<std::uint64_t>(ValueType::blob) + 1) return corrupt;
    }
    return {};
}

}  // namespace weir::stream::detail
