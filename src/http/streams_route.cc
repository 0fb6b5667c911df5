// GET below /v1 that are not SQL: streams, one stream, views, the cluster.
#include "apply/tables.h"
#include "base/limits.h"
#include "http/detail/call.h"
#include "http/detail/json_text.h"
#include "http/detail/read_wait.h"
#include "http/detail/result_writer.h"
#include "record/time.h"
#include "store/database.h"
#include "store/reader.h"

#include <algorithm>
#include <array>
#include <cstdint>

namespace weir::http {
namespace {

constexpr std::int64_t page_default = 100;
constexpr std::int64_t page_max = 1000;

Answer refused(const Error& error) {
    return answer_of(problem_of(error));
}

// Rows as objects in one array, with the last row's leading values kept for the page's `next`.
class ObjectSink : public query::ResultSink {
  public:
    bool columns(const std::vector<query::QueryColumn>& columns) override {
        for (const auto& c : columns) {
            types_.push_back(c.type);
            std::string key;
            append_json_string(key, c.name);
            keys_.push_back(key + ':');
        }
        return true;
    }
    bool row(const std::vector<store::Value>& values) override {
        if (static_cast<std::int64_t>(rows_) == rows_max) {
            more = true;  // the statement's LIMIT ends it: stopping here would cost the query its worker
            return true;
        }
        out += rows_++ == 0 ? "{" : ",{";
        for (std::size_t i = 0; i < values.size(); ++i) {
            if (i > 0) out += ',';
            out += keys_[i];
            append_json_value(out, types_[i], values[i]);
            if (keys_[i] == "\"name\":") last_name = values[i].text;
            if (keys_[i] == sort_key && values[i].type == store::ValueType::integer) last_number = values[i].integer;
        }
        out += '}';
        return true;
    }
    std::string out, last_name, sort_key;
    std::int64_t last_number = 0, rows_max = INT64_MAX;
    bool more = false;

  private:
    std::vector<std::string> types_, keys_;
    std::size_t rows_ = 0;
};

Result<query::QuerySummary> read_rows(const RouteContext& context, std::string sql, ObjectSink& sink) {
    TRY(check_ready(context));
    query::QueryRequest request;
    request.sql = std::move(sql);
    request.rows_max = page_max + 1;
    request.now_ms = context.parts.clock.wall_ms();
    return context.parts.queries.run(request, sink);
}

struct StreamState {
    std::vector<std::pair<std::int64_t, std::int64_t>> offsets;  // a partition: start, end
    std::array<std::int64_t, 4> counters{};                      // stored, duplicate, dead_lettered, refused
    LogIndex applied;
};

// Ends and counters of one stream, in one snapshot.
Result<StreamState> read_stream_state(const RouteContext& context, const record::Stream& stream) {
    StreamState state;
    state.offsets.resize(static_cast<std::size_t>(std::max(stream.schema.partitions, 0)));
    Clock& clock = context.parts.clock;
    auto reader = TRY(store::Reader::open(context.parts.catalog.shard_of(stream).data_dir() + "/view.db",
                                          [&clock] { return clock.monotonic_us(); }));
    TRY(reader->begin_snapshot());
    const std::string id = std::to_string(static_cast<std::int64_t>(stream.id.packed()));
    TRY(reader->query_internal(
        "SELECT partition, start_offset, end_offset FROM _ends WHERE partition >= 0 AND stream = " + id,
        [&](const std::vector<store::Value>& row) {
            const auto p = static_cast<std::size_t>(row[0].integer);
            if (p < state.offsets.size()) state.offsets[p] = {row[1].integer, row[2].integer};
        }));
    TRY(reader->query_internal("SELECT stored, duplicate, dead_lettered, refused FROM _counters WHERE stream = " + id,
                               [&](const std::vector<store::Value>& row) {
                                   for (std::size_t i = 0; i < 4; ++i)
                                       state.counters[i] = row[i].integer;
                               }));
    TRY(reader->query_internal("SELECT idx FROM _applied", [&](const std::vector<store::Value>& row) {
        state.applied = LogIndex(static_cast<std::uint64_t>(row[0].integer));
    }));
    reader->end_snapshot();
    return state;
}

void append_settings(std::string& out, const record::Stream& stream) {
    const record::Schema& schema = stream.schema;
    auto column = [&](int c) { return schema.columns[static_cast<std::size_t>(c)].name; };
    append_name(out, "settings");
    out += '{';
    append_member(out, "partitions", schema.partitions);
    if (schema.partition_by >= 0) append_member(out, "partition_by", column(schema.partition_by));
    append_member(out, "retain", record::format_duration(stream.retain_ms));
    if (stream.retain_bytes >= 0) append_member(out, "retain_bytes", stream.retain_bytes);
    if (schema.event_time >= 0) {
        append_member(out, "event_time", column(schema.event_time));
        append_member(out, "delay", record::format_duration(schema.delay_ms));
        if (schema.idle_after_ms >= 0) append_member(out, "idle_after", record::format_duration(schema.idle_after_ms));
        append_member(out, "max_future", record::format_duration(schema.max_future_ms));
    }
    if (!schema.dedup_key.empty()) {
        out += ",\"dedup_key\":[";
        for (std::size_t i = 0; i < schema.dedup_key.size(); ++i) {
            if (i > 0) out += ',';
            append_json_string(out, column(schema.dedup_key[i]));
        }
        out += ']';
        append_member(out, "dedup_within", record::format_duration(schema.dedup_within_ms));
    }
    append_member(out, "on_error", schema.on_error == record::OnError::dead_letter ? "DEAD LETTER" : "REJECT");
    append_flag(out, "undeclared", schema.lenient);
    append_member(out, "statement", stream.statement);
    out += '}';
}

void append_columns(std::string& out, const record::Schema& schema) {
    append_name(out, "columns");
    out += '[';
    for (const record::Column& c : schema.columns) {
        append_comma(out);
        out += '{';
        append_member(out, "name", c.name);
        append_member(out, "type", record::type_name(c.type));
        append_member(out, "path", c.path_text);
        append_flag(out, "not_null", c.not_null);
        if (!c.check_sql.empty()) append_member(out, "check", c.check_sql);
        if (!c.default_sql.empty()) append_member(out, "default", c.default_sql);
        out += '}';
    }
    out += ']';
}

record::StreamPtr find_stream(const RouteContext& context, const std::string& name) {
    const auto snapshot = context.parts.catalog.snapshot();
    const auto found = snapshot->streams.find(name);
    return found == snapshot->streams.end() ? nullptr : found->second;
}

// How a page of streams is sorted: by a column of sys.streams, names break ties.
struct Sort {
    std::string column = "name";
    bool descending = false;
    bool by_name() const { return column == "name"; }
};

std::optional<Sort> parse_sort(std::string_view text) {
    Sort sort;
    if (text.starts_with('-')) {
        sort.descending = true;
        text.remove_prefix(1);
    }
    for (const std::string_view known : {"name", "events", "bytes", "created_at"})
        if (text == known) {
            sort.column = known;
            return sort;
        }
    return std::nullopt;
}

// The condition "behind `after`" in this order. `after` is a page's `next`: a name, or number:name.
std::optional<std::string> after_sql(const Sort& sort, std::string_view after) {
    const std::string op = sort.descending ? "<" : ">";
    if (sort.by_name()) return "s.name " + op + " " + store::quote_text(after);
    const std::size_t colon = after.find(':');
    if (colon == std::string_view::npos) return std::nullopt;
    const auto number = parse_unsigned(after.substr(0, colon), INT64_MAX);
    if (!number) return std::nullopt;
    // created_at is a TIMESTAMP: compared with a number it is compared as epoch milliseconds.
    const std::string column = "s." + sort.column, value = std::to_string(*number);
    return "(" + column + " " + op + " " + value + " OR (" + column + " = " + value + " AND s.name > " +
           store::quote_text(after.substr(colon + 1)) + "))";
}

}  // namespace

Answer handle_streams(const RouteContext& context, const Parameters& parameters) {
    if (auto problem = check_known(parameters, {"prefix", "sort", "after", "limit"})) return answer_of(*problem);
    const auto sort = parse_sort(parameter(parameters, "sort").value_or("name"));
    if (!sort)
        return answer_of(bad_parameter("sort is name, events, bytes or created_at, with - in front for descending"));
    std::int64_t limit = page_default;
    if (const auto text = parameter(parameters, "limit")) {
        const auto value = parse_unsigned(*text, page_max);
        if (!value || *value == 0) return answer_of(bad_parameter("limit is a number from 1 to 1000"));
        limit = *value;
    }
    std::string where;
    if (const auto prefix = parameter(parameters, "prefix"); prefix && !prefix->empty())
        where = " WHERE substr(s.name, 1, length(" + store::quote_text(*prefix) + ")) = " + store::quote_text(*prefix);
    if (const auto after = parameter(parameters, "after"); after && !after->empty()) {
        const auto condition = after_sql(*sort, *after);
        if (!condition) return answer_of(bad_parameter("after is the `next` of a page in the same order"));
        where += (where.empty() ? " WHERE " : " AND ") + *condition;
    }
    const std::string order =
        " ORDER BY s." + sort->column + (sort->descending ? " DESC" : "") + (sort->by_name() ? "" : ", s.name");
    ObjectSink sink;
    sink.rows_max = limit;
    sink.sort_key = '"' + sort->column + "\":";
    const auto summary = read_rows(
        context,
        "SELECT s.name AS name, s.id AS id, s.shard AS shard, s.leader AS leader, s.partitions AS partitions,"
        " s.events AS events, s.bytes AS bytes, s.created_at AS created_at, c.received AS received,"
        " c.stored AS stored, c.duplicate AS duplicate, c.dead_lettered AS dead_lettered, c.refused AS refused"
        " FROM sys.streams AS s LEFT JOIN sys.counters AS c ON c.stream = s.name" +
            where + order + " LIMIT " + std::to_string(limit + 1),
        sink);
    if (!summary) return refused(summary.error());
    Answer answer;
    answer.body = "{\"streams\":[" + sink.out + "],\"next\":";
    if (!sink.more)
        answer.body += "null";
    else if (sort->by_name())
        append_json_string(answer.body, sink.last_name);
    else
        append_json_string(answer.body, std::to_string(sink.last_number) + ':' + sink.last_name);
    answer.body += "}\n";
    return answer;
}

Answer handle_views(const RouteContext& context) {
    ObjectSink sink;
    sink.rows_max = page_max;
    const auto summary = read_rows(context, "SELECT * FROM sys.views ORDER BY name", sink);
    if (!summary) return refused(summary.error());
    Answer answer;
    answer.body = "{\"views\":[" + sink.out + "]}\n";
    return answer;
}

Answer handle_stream(const RouteContext& context, const Call& call) {
    // Before the name: a node that is still reading its log does not know its streams.
    if (const Status ready = check_ready(context); !ready) return refused(ready.error());
    const auto stream = find_stream(context, call.parameter);
    if (!stream) return refused({Errc::not_found, "there is no stream " + call.parameter});
    replica::ShardPort& shard = context.parts.catalog.shard_of(*stream);
    [[maybe_unused]] const bool seen = wait_visible(context, shard, call.committed, own_writes_wait_ms);
    const auto read = read_stream_state(context, *stream);
    if (!read) return refused(read.error());
    const StreamState& state = read.value();
    const std::string& node = context.options.node_id;
    Answer answer;
    std::string& out = answer.body;
    out += '{';
    append_member(out, "name", stream->name);
    append_member(out, "id", stream->id.text());
    append_member(out, "leader", node);
    append_member(out, "shard", static_cast<std::int64_t>(shard.id().value));
    append_member(out, "version", static_cast<std::int64_t>(stream->version));
    append_member(out, "created_at", record::format_rfc3339(stream->created_at_ms));
    out += ",\"partitions\":[";
    for (std::size_t p = 0; p < state.offsets.size(); ++p) {
        append_comma(out);
        out += '{';
        append_member(out, "partition", static_cast<std::int64_t>(p));
        append_member(out, "leader", node);
        append_member(out, "start_offset", state.offsets[p].first);
        append_member(out, "end_offset", state.offsets[p].second);
        out += '}';
    }
    out += ']';
    append_columns(out, stream->schema);
    append_settings(out, *stream);
    const auto& [stored, duplicate, dead_lettered, refused_count] = state.counters;
    out += ",\"counters\":{";
    append_member(out, "received", stored + duplicate + dead_lettered + refused_count);
    append_member(out, "stored", stored);
    append_member(out, "duplicate", duplicate);
    append_member(out, "dead_lettered", dead_lettered);
    append_member(out, "refused", refused_count);
    out += '}';
    append_member(out, "applied_index", index_text(shard.id(), state.applied));
    out += "}\n";
    return answer;
}

Answer handle_cluster(const RouteContext& context) {
    replica::ShardPort& shard = context.parts.catalog.home();
    Answer answer;
    std::string& out = answer.body;
    out += "{\"nodes\":[{";
    append_member(out, "name", context.options.node_id);
    append_member(out, "role", "leader");
    append_member(out, "address", context.address);
    append_member(out, "version", context.options.version);
    out += "}],\"shards\":[{";
    append_member(out, "shard", shard.id().value);
    append_member(out, "leader", context.options.node_id);
    append_flag(out, "ready", shard.ready());
    append_member(out, "committed", static_cast<std::int64_t>(shard.committed().value));
    append_member(out, "visible", static_cast<std::int64_t>(shard.visible().value));
    out += "}]}\n";
    return answer;
}

}  // namespace weir::http
