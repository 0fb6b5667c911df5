#include "apply/view_plan.h"

#include "store/expression.h"

#include <cctype>
#include <utility>

namespace weir::apply {
namespace {

// The column that a text names and nothing else ("status", "\"a.b\""), or -1.
int plain_column(const record::Schema& schema, std::string_view sql) {
    while (!sql.empty() && std::isspace(static_cast<unsigned char>(sql.front())))
        sql.remove_prefix(1);
    while (!sql.empty() && std::isspace(static_cast<unsigned char>(sql.back())))
        sql.remove_suffix(1);
    if (sql.size() >= 2 && sql.front() == '"' && sql.back() == '"') {
        sql = sql.substr(1, sql.size() - 2);
        if (sql.find('"') != std::string_view::npos) return -1;
    }
    return schema.column(sql);
}

stream::Aggregate aggregate_of(sql::AggregateKind kind) {
    switch (kind) {
        case sql::AggregateKind::count_star:
            return stream::Aggregate::count_star;
        case sql::AggregateKind::count:
            return stream::Aggregate::count;
        case sql::AggregateKind::sum:
            return stream::Aggregate::sum;
        case sql::AggregateKind::min:
            return stream::Aggregate::min;
        case sql::AggregateKind::max:
            return stream::Aggregate::max;
        case sql::AggregateKind::avg:
            return stream::Aggregate::avg;
        case sql::AggregateKind::count_distinct:
            return stream::Aggregate::count_distinct;
        case sql::AggregateKind::first:
            return stream::Aggregate::first;
        case sql::AggregateKind::last:
            return stream::Aggregate::last;
    }
    return stream::Aggregate::count_star;
}

// Type of an aggregate over an argument of this type; "" where an expression decides a row at a time.
std::string aggregate_type(sql::AggregateKind kind, const std::string& argument) {
    switch (kind) {
        case sql::AggregateKind::count_star:
        case sql::AggregateKind::count:
        case sql::AggregateKind::count_distinct:
            return "INTEGER";
        case sql::AggregateKind::avg:
            return "REAL";
        case sql::AggregateKind::sum:
            return argument == "INTEGER" || argument == "BOOLEAN" ? "INTEGER" : argument == "REAL" ? "REAL" : "";
        case sql::AggregateKind::min:
        case sql::AggregateKind::max:
        case sql::AggregateKind::first:
        case sql::AggregateKind::last:
            return argument;
    }
    return "";
}

// HAVING as an expression over the operator's row; times are compared in time.
Result<std::string> having_sql(const record::Schema& schema, const stream::TumblePlan& plan,
                               const sql::CreateView& statement, const std::vector<std::string>& slot_types) {
    sql::TableShape row;
    std::string text;
    for (const auto& piece : statement.having) {
        text += text.empty() ? "" : " ";
        if (piece.key < 0 && piece.aggregate < 0) {
            text += piece.text;
            continue;
        }
        const auto slot = piece.key >= 0 ? static_cast<std::size_t>(piece.key)
                                         : plan.keys.size() + static_cast<std::size_t>(piece.aggregate);
        const std::string term = stream::row_term(schema, plan, slot);
        row.columns.emplace_back(term, slot_types.at(slot));
        text += term;
    }
    return sql::rewrite_expression(text, row);
}

}  // namespace

sql::TableShape stream_shape(const record::Stream& stream) {
    sql::TableShape shape;
    shape.name = stream.name;
    for (const auto& column : stream.schema.columns) {
        shape.columns.emplace_back(column.name, std::string(record::type_name(column.type)));
    }
    shape.columns.emplace_back("_partition", "INTEGER");
    shape.columns.emplace_back("_offset", "INTEGER");
    shape.columns.emplace_back("_append_time", "TIMESTAMP");
    shape.columns.emplace_back("_key", "TEXT");
    shape.columns.emplace_back("_headers", "TEXT");
    shape.columns.emplace_back("_value", "TEXT");
    return shape;
}

Result<ViewPlan> plan_view(const record::Stream& stream, const sql::CreateView& statement) {
    const auto shape = stream_shape(stream);
    ViewPlan plan;
    auto& tumble = plan.tumble;
    tumble.size_ms = statement.window_ms;
    tumble.offset_ms = statement.window_offset_ms;
    tumble.lateness_ms = statement.lateness_ms;
    tumble.delay_ms = stream.schema.delay_ms;
    tumble.partitions = stream.schema.partitions;

    std::vector<std::string> expressions;  // compiled once here, to refuse what does not
    auto input_of = [&](const std::string& sql, std::string& type) -> Result<stream::Input> {
        stream::Input input;
        input.column = plain_column(stream.schema, sql);
        if (input.column >= 0) {
            type = record::type_name(stream.schema.columns[static_cast<std::size_t>(input.column)].type);
            return input;
        }
        input.sql = TRY(sql::rewrite_expression(sql, shape));
        expressions.push_back(input.sql);
        return input;
    };

    std::vector<std::string> slot_types;
    for (const auto& key : statement.keys) {
        stream::TumbleKey tumble_key;
        std::string type = "TIMESTAMP";
        switch (key.kind) {
            case sql::ViewKey::Kind::window_start:
                tumble_key.kind = stream::TumbleKey::Kind::window_start;
                break;
            case sql::ViewKey::Kind::window_end:
                tumble_key.kind = stream::TumbleKey::Kind::window_end;
                break;
            case sql::ViewKey::Kind::expression:
                tumble_key.kind = stream::TumbleKey::Kind::input;
                type.clear();
                tumble_key.input = TRY(input_of(key.sql, type));
                break;
        }
        tumble.keys.push_back(std::move(tumble_key));
        slot_types.push_back(std::move(type));
    }
    auto add_aggregate = [&](const sql::ViewItem& item) -> Status {
        stream::TumbleAggregate aggregate;
        aggregate.kind = aggregate_of(item.aggregate);
        std::string type;
        if (item.aggregate != sql::AggregateKind::count_star) aggregate.input = TRY(input_of(item.argument_sql, type));
        tumble.aggregates.push_back(std::move(aggregate));
        slot_types.push_back(aggregate_type(item.aggregate, type));
        return {};
    };
    for (const auto& item : statement.items) {
        ViewColumn column;
        column.name = item.name;
        column.slot = item.is_aggregate ? slot_types.size() : static_cast<std::size_t>(item.key);
        if (item.is_aggregate) TRY(add_aggregate(item));
        column.type = slot_types.at(column.slot);
        plan.columns.push_back(std::move(column));
    }
    for (const auto& item : statement.having_aggregates)
        TRY(add_aggregate(item));
    if (!statement.where_sql.empty()) {
        tumble.where_sql = TRY(sql::rewrite_expression(statement.where_sql, shape));
        expressions.push_back(tumble.where_sql);
    }
    if (!expressions.empty()) TRY(store::Expression::compile(stream.schema, expressions));
    tumble.emit = statement.emit == sql::EmitMode::final_only ? stream::Emit::final_rows : stream::Emit::changes;
    tumble.emit_every_ms = statement.emit_every_ms;
    plan.row_per_group =
        tumble.emit == stream::Emit::changes && tumble.emit_every_ms == 0 && statement.having_sql.empty();
    if (!statement.having_sql.empty()) {
        tumble.having_sql = TRY(having_sql(stream.schema, tumble, statement, slot_types));
        auto checked = stream::check_having(stream.schema, tumble);
        // Its places are those of the rewritten text.
        if (!checked) return Error{checked.error().code, "HAVING: " + checked.error().detail};
    }
    return plan;
}

}  // namespace weir::apply
