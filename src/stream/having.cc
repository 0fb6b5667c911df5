#include "stream/detail/having.h"

#include "base/check.h"

#include <bit>

namespace weir::stream {

namespace {

using record::ColumnType;

bool is_whole(ColumnType type) {
    return type == ColumnType::integer || type == ColumnType::boolean || type == ColumnType::timestamp;
}

// nullopt: an expression decides, a row at a time.
std::optional<ColumnType> slot_type(const record::Schema& schema, const TumblePlan& plan, std::size_t slot) {
    const auto input_type = [&](const Input& input) -> std::optional<ColumnType> {
        if (input.column < 0) return std::nullopt;
        return schema.columns.at(static_cast<std::size_t>(input.column)).type;
    };
    if (slot < plan.keys.size()) {
        const TumbleKey& key = plan.keys[slot];
        return key.kind == TumbleKey::Kind::input ? input_type(key.input) : ColumnType::timestamp;
    }
    const TumbleAggregate& aggregate = plan.aggregates.at(slot - plan.keys.size());
    switch (aggregate.kind) {
        case Aggregate::count_star:
        case Aggregate::count:
        case Aggregate::count_distinct:
            return ColumnType::integer;
        case Aggregate::avg:
            return ColumnType::real;
        case Aggregate::sum: {
            const std::optional<ColumnType> type = input_type(aggregate.input);
            if (type && is_whole(*type)) return ColumnType::integer;
            return type == ColumnType::real ? type : std::nullopt;
        }
        case Aggregate::min:
        case Aggregate::max:
        case Aggregate::first:
        case Aggregate::last:
            return input_type(aggregate.input);
    }
    return std::nullopt;
}

std::string slot_name(std::size_t slot, const char* part = "") {
    return "_r" + std::to_string(slot) + part;
}

}  // namespace

std::string row_term(const record::Schema& schema, const TumblePlan& plan, std::size_t slot) {
    if (slot_type(schema, plan, slot)) return slot_name(slot);
    return "(CASE " + slot_name(slot, "t") + " WHEN 1 THEN " + slot_name(slot, "i") + " WHEN 2 THEN " +
           slot_name(slot, "r") + " WHEN 3 THEN " + slot_name(slot, "s") + " WHEN 4 THEN " + slot_name(slot, "b") +
           " END)";
}

namespace detail {

using store::Value;
using store::ValueType;

namespace {

void add_null(record::ColumnData& column, ColumnType type) {
    column.present.push_back(0);
    if (record::is_sliced(type)) {
        column.slice.emplace_back();
    } else {
        column.number.push_back(0);
    }
}

}  // namespace

Result<std::unique_ptr<Having>> Having::compile(const record::Schema& schema, const TumblePlan& plan) {
    std::unique_ptr<Having> having(new Having());
    const auto add_column = [&](std::string name, ColumnType type) {
        record::Column column;
        column.name = std::move(name);
        column.type = type;
        having->schema_.columns.push_back(std::move(column));
    };
    for (std::size_t slot = 0; slot < plan.keys.size() + plan.aggregates.size(); ++slot) {
        having->slots_.push_back(slot_type(schema, plan, slot));
        if (having->slots_.back()) {
            add_column(slot_name(slot), *having->slots_.back());
            continue;
        }
        add_column(slot_name(slot, "t"), ColumnType::integer);
        add_column(slot_name(slot, "i"), ColumnType::integer);
        add_column(slot_name(slot, "r"), ColumnType::real);
        add_column(slot_name(slot, "s"), ColumnType::text);
        add_column(slot_name(slot, "b"), ColumnType::blob);
    }
    TRY(store::Expression::compile(having->schema_, {plan.having_sql}));  // alone, for the error's position
    having->expression_ = TRY(store::Expression::compile(having->schema_, {"(" + plan.having_sql + "\n) IS TRUE"}));
    having->clear();
    return having;
}

void Having::add(const std::vector<Value>& row) {
    CHECK(row.size() == slots_.size());
    std::size_t at = 0;
    const std::vector<bool>& used = expression_->columns_used();
    const auto add_value = [&](const Value& value, bool is_this) {
        const bool is_used = used[at];
        const ColumnType type = schema_.columns[at].type;
        record::ColumnData& column = batch_.columns[at++];
        if (!is_this || !is_used) {
            add_null(column, type);
            return;
        }
        column.present.push_back(1);
        if (record::is_sliced(type)) {
            column.slice.push_back(
                {static_cast<std::uint32_t>(batch_.bytes.size()), static_cast<std::uint32_t>(value.text.size())});
            batch_.bytes.append(value.text);
        } else {
            column.number.push_back(value.type == ValueType::real ? std::bit_cast<std::int64_t>(value.real)
                                                                  : value.integer);
        }
    };
    for (std::size_t slot = 0; slot < slots_.size(); ++slot) {
        const Value& value = row[slot];
        if (slots_[slot]) {
            add_value(value, value.type != ValueType::null);
            continue;
        }
        add_value(Value::of(static_cast<std::int64_t>(value.type)), true);
        for (const ValueType type : {ValueType::integer, ValueType::real, ValueType::text, ValueType::blob})
            add_value(value, value.type == type);
    }
    batch_.event_time_ms.push_back(0);
    ++batch_.rows;
}

Status Having::evaluate(std::vector<bool>& passes) {
    passes.clear();
    if (batch_.rows == 0) return {};
    Status evaluated = expression_->evaluate(batch_, {}, evaluated_);
    for (std::size_t row = 0; evaluated && row < batch_.rows; ++row)
        passes.push_back(evaluated_.values[row].integer != 0);
    clear();
    return evaluated;
}

}  // namespace detail

}  // namespace weir::stream
