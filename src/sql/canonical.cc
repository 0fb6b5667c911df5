#include "record/time.h"
#include "sql/detail/parse_stream.h"
#include "sql/statement.h"
#include "sql/tokens.h"

namespace weir::sql {
namespace {

std::string column_text(const record::Column& column) {
    std::string out = quoted_if_needed(column.name) + " " + std::string(record::type_name(column.type));
    if (column.not_null) out += " NOT NULL";
    if (!column.check_sql.empty()) out += " CHECK (" + column.check_sql + ")";
    if (!column.default_sql.empty()) out += " DEFAULT (" + column.default_sql + ")";
    if (column.path != std::vector<record::PathStep>{default_path_step(column.name)})
        out += " FROM " + quote_string(column.path_text);
    return out;
}

const std::string& name_of(const record::Schema& schema, int column) {
    return schema.columns[static_cast<std::size_t>(column)].name;
}

std::string aggregate_text(const ViewItem& item) {
    switch (item.aggregate) {
        case AggregateKind::count_star:
            return "count(*)";
        case AggregateKind::count:
            return "count(" + item.argument_sql + ")";
        case AggregateKind::sum:
            return "sum(" + item.argument_sql + ")";
        case AggregateKind::min:
            return "min(" + item.argument_sql + ")";
        case AggregateKind::max:
            return "max(" + item.argument_sql + ")";
        case AggregateKind::avg:
            return "avg(" + item.argument_sql + ")";
        case AggregateKind::count_distinct:
            return "count(DISTINCT " + item.argument_sql + ")";
        case AggregateKind::first:
            return "first(" + item.argument_sql + ")";
        case AggregateKind::last:
            return "last(" + item.argument_sql + ")";
    }
    return {};
}

}  // namespace

// Every default is written out: a later version's defaults must not change what an old entry means.
std::string canonical(const CreateStream& statement) {
    const record::Schema& schema = statement.schema;
    std::string out = statement.or_replace ? "CREATE OR REPLACE STREAM " : "CREATE STREAM ";
    if (statement.if_not_exists) out += "IF NOT EXISTS ";
    out += quoted_if_needed(statement.name) + " (";
    for (const record::Column& column : schema.columns) {
        if (&column != schema.columns.data()) out += ", ";
        out += column_text(column);
    }
    if (schema.event_time >= 0) {
        out += ", EVENT TIME " + quoted_if_needed(name_of(schema, schema.event_time)) + " DELAY " +
               record::format_duration(schema.delay_ms) + " MAX FUTURE " +
               record::format_duration(schema.max_future_ms);
        if (schema.idle_after_ms >= 0) out += " IDLE AFTER " + record::format_duration(schema.idle_after_ms);
    }
    if (!schema.dedup_key.empty()) {
        out += ", DEDUP KEY (";
        for (std::size_t i = 0; i < schema.dedup_key.size(); ++i) {
            out += (i == 0 ? "" : ", ") + quoted_if_needed(name_of(schema, schema.dedup_key[i]));
        }
        out += ") WITHIN " + record::format_duration(schema.dedup_within_ms);
    }
    out += ") PARTITIONS " + std::to_string(schema.partitions);
    if (schema.partition_by >= 0) out += " BY " + quoted_if_needed(name_of(schema, schema.partition_by));
    out += " RETAIN " + record::format_duration(statement.retain_ms);
    if (statement.retain_bytes >= 0) out += " MAX " + format_size(statement.retain_bytes);
    out += schema.on_error == record::OnError::dead_letter ? " ON ERROR DEAD LETTER" : " ON ERROR REJECT";
    if (schema.lenient) out += " LENIENT";
    return out;
}

std::string canonical(const CreateView& statement) {
    std::string out = statement.or_replace ? "CREATE OR REPLACE MATERIALIZED VIEW " : "CREATE MATERIALIZED VIEW ";
    if (statement.if_not_exists) out += "IF NOT EXISTS ";
    out += quoted_if_needed(statement.name) + " AS SELECT ";
    for (const ViewItem& item : statement.items) {
        if (&item != statement.items.data()) out += ", ";
        const std::string text =
            item.is_aggregate ? aggregate_text(item) : statement.keys[static_cast<std::size_t>(item.key)].sql;
        out += text + " AS " + quoted_if_needed(item.name);
    }
    out += " FROM TUMBLE(" + quoted_if_needed(statement.stream) + ", " + record::format_duration(statement.window_ms) +
           ")";
    if (statement.window_offset_ms != 0) {
        const bool negative = statement.window_offset_ms < 0;
        out += std::string(" OFFSET ") + (negative ? "-" : "") +
               record::format_duration(negative ? -statement.window_offset_ms : statement.window_offset_ms);
    }
    if (!statement.where_sql.empty()) out += " WHERE " + statement.where_sql;
    out += " GROUP BY ";
    for (std::size_t i = 0; i < statement.keys.size(); ++i)
        out += (i == 0 ? "" : ", ") + statement.keys[i].sql;
    if (!statement.having_sql.empty()) out += " HAVING " + statement.having_sql;
    out += " LATENESS " + record::format_duration(statement.lateness_ms);
    out += statement.emit == EmitMode::changes ? " EMIT CHANGES" : " EMIT FINAL";
    if (statement.emit_every_ms > 0) out += " EVERY " + record::format_duration(statement.emit_every_ms);
    if (statement.from_now) out += " FROM NOW";
    return out;
}

std::string definition(CreateStream statement) {
    statement.if_not_exists = statement.or_replace = false;
    return canonical(statement);
}

std::string definition(CreateView statement) {
    statement.if_not_exists = statement.or_replace = false;
    return canonical(statement);
}

}  // namespace weir::sql
