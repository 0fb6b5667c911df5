#include "query/catalog_reader.h"

#include "apply/tables.h"
#include "query/dead_letter_table.h"
#include "query/explain.h"
#include "query/row_source.h"
#include "sql/tokens.h"
#include "store/database.h"

#include <algorithm>
#include <array>
#include <utility>

namespace weir::query {
namespace {

using store::Value;
using Row = std::vector<Value>;

constexpr std::size_t kept_streams_max = 1'000;
constexpr std::string_view dead_letters_suffix = "_dead_letters";
constexpr std::string_view late_suffix = "_late";

// Columns and, where the table is SQL over internal tables, its text. A stream's or view's name comes by join: rows of
// what was dropped a moment ago are not shown.
struct SystemTable {
    const char* name;
    std::vector<std::pair<std::string, std::string>> columns;
    const char* select;
};

const std::array<SystemTable, 5>& system_tables() {
    static const std::array<SystemTable, 5> tables = {{
        {"sys.streams",
         {{"name", "TEXT"},
          {"id", "TEXT"},
          {"shard", "INTEGER"},
          {"leader", "TEXT"},
          {"partitions", "INTEGER"},
          {"events", "INTEGER"},
          {"bytes", "INTEGER"},
          {"created_at", "TIMESTAMP"}},
         nullptr},
        {"sys.counters",
         {{"stream", "TEXT"},
          {"received", "INTEGER"},
          {"stored", "INTEGER"},
          {"duplicate", "INTEGER"},
          {"dead_lettered", "INTEGER"},
          {"refused", "INTEGER"}},
         "SELECT o.name AS stream, coalesce(c.stored + c.duplicate + c.dead_lettered + c.refused, 0) AS received, "
         "coalesce(c.stored, 0) AS stored, coalesce(c.duplicate, 0) AS duplicate, coalesce(c.dead_lettered, 0) AS "
         "dead_lettered, "
         "coalesce(c.refused, 0) AS refused FROM main._objects o LEFT JOIN main._counters c ON c.stream = o.id WHERE "
         "o.kind = 'stream'"},
        {"sys.views",
         {{"name", "TEXT"},
          {"stream", "TEXT"},
          {"state", "TEXT"},
          {"progress", "REAL"},
          {"rows", "INTEGER"},
          {"seen", "INTEGER"},
          {"filtered", "INTEGER"},
          {"windowed", "INTEGER"},
          {"late", "INTEGER"}},
         "SELECT o.name AS name, s.name AS stream, o.state AS state, o.progress AS progress, coalesce(v.row_count, 0) "
         "AS rows, "
         "coalesce(v.seen, 0) AS seen, coalesce(v.filtered, 0) AS filtered, coalesce(v.windowed, 0) AS windowed, "
         "coalesce(v.late, 0) AS late FROM main._objects o LEFT JOIN main._objects s ON s.id = o.stream "
         "LEFT JOIN main._views v ON v.view = o.id WHERE o.kind = 'view'"},
        {"sys.watermarks",
         {{"view", "TEXT"},
          {"partition", "INTEGER"},
          {"watermark", "TIMESTAMP"},
          {"max_event_time", "TIMESTAMP"},
          {"idle", "BOOLEAN"}},
         "SELECT o.name AS view, w.partition AS partition, w.watermark AS watermark, w.max_event_time AS "
         "max_event_time, w.idle AS idle "
         "FROM main._watermarks w JOIN main._objects o ON o.id = w.view"},
        // Final: the least watermark has passed its end; what LATENESS still lets in corrects it.
        {"sys.open_windows",
         {{"view", "TEXT"},
          {"window_start", "TIMESTAMP"},
          {"window_end", "TIMESTAMP"},
          {"groups", "INTEGER"},
          {"state", "TEXT"}},
         "SELECT o.name AS view, n.window_start AS window_start, n.window_end AS window_end, n.groups AS groups, "
         "CASE WHEN n.window_end <= l.least THEN 'final' ELSE 'open' END AS state FROM main._windows n JOIN "
         "main._objects o ON o.id = n.view LEFT JOIN (SELECT view, CASE WHEN count(*) = count(watermark) THEN "
         "min(watermark) END AS least FROM main._watermarks GROUP BY view) l ON l.view = n.view WHERE o.state NOT LIKE "
         "'stopped%'"},
    }};
    return tables;
}

const SystemTable* system_table(std::string_view name) {
    for (const SystemTable& table : system_tables()) {
        if (sql::same_word(table.name, name)) return &table;
    }
    return nullptr;
}

std::string id_text(ObjectId id) {
    return std::to_string(static_cast<std::int64_t>(id.packed()));
}
ObjectId id_of(const Value& value) {
    return ObjectId::from_packed(static_cast<std::uint64_t>(value.integer));
}

// "access" for "access_late"; empty: another kind of name.
std::string_view stem(std::string_view name, std::string_view suffix) {
    if (name.size() <= suffix.size()) return {};
    const std::string_view end = name.substr(name.size() - suffix.size());
    return sql::same_word(end, suffix) ? name.substr(0, name.size() - suffix.size()) : std::string_view();
}

OwnedValue text_value(std::string text) {
    return {store::ValueType::text, 0, 0, std::move(text)};
}
OwnedValue integer_value(std::int64_t v) {
    return {store::ValueType::integer, v, 0, {}};
}

}  // namespace

Status CatalogReader::begin(std::vector<TableRows> tables) {
    status_ = {};
    notes_ = nullptr;
    server_tables_ = std::move(tables);
    tables_.clear();
    if (streams_.size() > kept_streams_max) streams_.clear();
    applied_ = LogIndex(0);
    return reader_.query_internal("SELECT idx FROM main._applied", [&](const Row& row) {
        applied_ = LogIndex(static_cast<std::uint64_t>(row[0].integer));
    });
}

const sql::TableShape* CatalogReader::find(std::string_view name) {
    auto known = tables_.find(name);
    if (known == tables_.end()) {
        auto looked = look_up(name);
        if (!looked) {
            if (status_) status_ = std::move(looked).error();
            return nullptr;
        }
        known = tables_.emplace(std::string(name), std::move(looked).value()).first;
    }
    return known->second ? &known->second->shape : nullptr;
}

Result<std::optional<CatalogReader::Table>> CatalogReader::look_up(std::string_view name) {
    if (const SystemTable* system = system_table(name)) {
        Table table;
        table.kind = Kind::system;
        table.shape = {system->name, system->columns};
        return std::optional<Table>(std::move(table));
    }
    for (const TableRows& server : server_tables_) {
        if (!sql::same_word(server.name, name)) continue;
        Table table;
        table.kind = Kind::server;
        table.shape = {server.name, server.columns};
        return std::optional<Table>(std::move(table));
    }
    // Streams and views, exact before case-insensitive; then the tables that come with them.
    const auto named = [&](std::string_view wanted) -> Result<std::optional<Object>> {
        const std::string equal = "name = " + store::quote_text(wanted);
        auto exact = TRY(object_where(equal));
        if (exact) return exact;
        return object_where(equal + " COLLATE NOCASE ORDER BY name");
    };
    if (auto object = TRY(named(name))) return std::optional<Table>(TRY(table_of(std::move(*object))));
    if (const std::string_view stream = stem(name, dead_letters_suffix); !stream.empty()) {
        auto object = TRY(named(stream));
        if (!object || object->is_view) return std::optional<Table>();
        Table table;
        table.kind = Kind::dead_letters;
        table.stream = TRY(stream_of(*object));
        table.shape.name = object->name + std::string(dead_letters_suffix);
        for (const store::SourceColumn& column : dead_letter_columns())
            table.shape.columns.emplace_back(column.name, column.sql_type);
        table.object = std::move(*object);
        return std::optional<Table>(std::move(table));
    }
    if (const std::string_view view = stem(name, late_suffix); !view.empty()) {
        auto object = TRY(named(view));
        if (!object || !object->is_view) return std::optional<Table>();
        Table table;
        table.kind = Kind::late;
        table.shape = {object->name + std::string(late_suffix),
                       {{"partition", "INTEGER"},
                        {"offset", "INTEGER"},
                        {"window_start", "TIMESTAMP"},
                        {"event_time", "TIMESTAMP"},
                        {"raw", "TEXT"}}};
        table.object = std::move(*object);
        return std::optional<Table>(std::move(table));
    }
    return std::optional<Table>();
}

Result<std::optional<CatalogReader::Object>> CatalogReader::object_where(const std::string& condition) {
    std::optional<Object> object;
    TRY(reader_.query_internal(
        "SELECT id, kind, name, stream, version, statement, created_at, state, progress FROM main._objects WHERE " +
            condition + " LIMIT 1",
        [&](const Row& row) {
            object.emplace();
            object->id = id_of(row[0]);
            object->is_view = row[1].text == "view";
            object->name = row[2].text;
            object->stream = id_of(row[3]);
            object->version = static_cast<std::uint32_t>(row[4].integer);
            object->statement = row[5].text;
            object->created_at_ms = row[6].integer;
            object->state = row[7].text;
            object->progress =
                row[8].type == store::ValueType::integer ? static_cast<double>(row[8].integer) : row[8].real;
        }));
    return object;
}

Result<record::StreamPtr> CatalogReader::stream_of(const Object& object) {
    const auto known = streams_.find(object.id);
    if (known != streams_.end() && known->second->version == object.version) return known->second;
    auto parsed = sql::parse(object.statement);
    auto* create = parsed ? std::get_if<sql::CreateStream>(&parsed.value()) : nullptr;
    if (create == nullptr)
        return Error{Errc::corrupt, "the definition of stream " + object.name + " is not readable by this version"};
    auto stream = std::make_shared<record::Stream>();
    stream->id = object.id;
    stream->name = object.name;
    stream->version = object.version;
    stream->schema = std::move(create->schema);
    stream->retain_ms = create->retain_ms;
    stream->retain_bytes = create->retain_bytes;
    stream->statement = object.statement;
    stream->created_at_ms = object.created_at_ms;
    record::StreamPtr shared = std::move(stream);
    streams_[object.id] = shared;
    return shared;
}

Result<CatalogReader::Table> CatalogReader::table_of(Object object) {
    Table table;
    if (!object.is_view) {
        table.kind = Kind::stream;
        table.stream = TRY(stream_of(object));
        table.shape = sql::stream_shape(object.name, table.stream->schema);
    } else {
        table.kind = Kind::view;
        const auto source = TRY(object_where("id = " + id_text(object.stream)));
        auto parsed = sql::parse(object.statement);
        auto* create = parsed ? std::get_if<sql::CreateView>(&parsed.value()) : nullptr;
        if (create == nullptr || !source || source->is_view)
            return Error{Errc::corrupt, "the definition of view " + object.name + " is not readable by this version"};
        table.stream = TRY(stream_of(*source));
        table.shape = sql::view_shape(*create, table.stream->schema);
        table.shape.name = object.name;
    }
    table.object = std::move(object);
    return table;
}

// All streams of the query count together: one UNION of many would otherwise sweep the cache.
Status CatalogReader::decide_caching(const std::vector<std::string>& names) {
    aside_ = false;
    if (cached_bytes_max_ == UINT64_MAX) return {};
    std::string ids;
    for (const std::string& name : names) {
        if (find(name) == nullptr) continue;
        const Table& table = *tables_.find(name)->second;
        if (table.kind != Kind::stream && table.kind != Kind::dead_letters) continue;
        ids += (ids.empty() ? "" : ",") + id_text(table.object.id);
    }
    if (ids.empty()) return {};
    return reader_.query_internal(
        "SELECT sum(bytes) FROM main._ends WHERE stream IN (" + ids + ")",
        [&](const Row& row) { aside_ = static_cast<std::uint64_t>(row[0].integer) > cached_bytes_max_; });
}

Status CatalogReader::add_tables(const std::vector<std::string>& names) {
    TRY(decide_caching(names));
    for (const std::string& name : names) {
        if (find(name) == nullptr) continue;
        TRY(add(*tables_.find(name)->second));
    }
    return status_;
}

Status CatalogReader::add(const Table& table) {
    switch (table.kind) {
        case Kind::stream:
            return add_stream(table);
        case Kind::dead_letters:
            return add_dead_letters(table);
        case Kind::view:
        case Kind::late:
            return add_view(table);
        case Kind::server: {
            const auto server = std::ranges::find(server_tables_, table.shape.name, &TableRows::name);
            return add_rows(server->name, server->columns, server->rows);
        }
        case Kind::system:
            break;
    }
    const SystemTable* system = system_table(table.shape.name);
    if (system->select == nullptr) return add_streams_table();
    return reader_.add_view(system->name, system->select);
}

Status CatalogReader::add_stream(const Table& table) {
    StreamTableParts parts;
    parts.disk = &disk_;
    parts.shard_dir = shard_dir_;
    parts.stream = table.stream;
    parts.aside = aside_;
    parts.counters = counters_;
    const std::string id = id_text(table.object.id);
    TRY(reader_.query_internal(
        "SELECT partition, start_offset, end_offset, last_segment, last_bytes FROM main._ends WHERE stream = " + id +
            " AND partition >= 0 ORDER BY partition",
        [&](const Row& row) {
            const log::ReadBound bound{row[1].integer, row[2].integer, row[3].integer,
                                       static_cast<std::uint64_t>(row[4].integer)};
            parts.partitions.push_back({static_cast<PartitionNo>(row[0].integer), bound});
        }));
    std::string journal;
    TRY(reader_.query_internal("SELECT state FROM main._journals WHERE stream = " + id,
                               [&](const Row& row) { journal = row[0].text; }));
    if (!journal.empty()) parts.journal = TRY(log::JournalState::decode(journal));
    return add_source(table.shape.name, make_stream_table(std::move(parts)));
}

Status CatalogReader::add_dead_letters(const Table& table) {
    log::ReadBound bound;
    TRY(reader_.query_internal(
        "SELECT start_offset, end_offset, last_segment, last_bytes FROM main._ends WHERE partition = -1 AND stream = " +
            id_text(table.object.id),
        [&](const Row& row) {
            bound = {row[0].integer, row[1].integer, row[2].integer, static_cast<std::uint64_t>(row[3].integer)};
        }));
    const std::string dir = apply::partition_dir(shard_dir_, table.object.id, dead_letter_partition);
    return add_source(table.shape.name, make_dead_letter_table(disk_, dir, bound, aside_));
}

Status CatalogReader::add_view(const Table& table) {
    const Object& view = table.object;
    // A stopped view keeps the rows it had.
    if (view.state == "building") {
        return Error{Errc::building, "view " + view.name + " is being built (" +
                                         std::to_string(static_cast<int>(view.progress * 100)) + " %)"};
    }
    if (table.kind == Kind::late) {
        return reader_.add_view(table.shape.name,
                                "SELECT partition, \"offset\", window_start, event_time, raw FROM main." +
                                    store::quote_name(apply::late_table(view.id)));
    }
    std::string select = "SELECT ";
    for (std::size_t i = 0; i < table.shape.columns.size(); ++i) {
        if (i > 0) select += ", ";
        select += "c" + std::to_string(i) + " AS " + store::quote_name(table.shape.columns[i].first);
    }
    return reader_.add_view(table.shape.name, select + " FROM main." + store::quote_name(apply::view_table(view.id)));
}

// As rows, for the number of partitions stands in each stream's statement only.
Status CatalogReader::add_streams_table() {
    struct Size {
        std::int64_t events = 0, bytes = 0;
    };
    std::unordered_map<ObjectId, Size> sizes;
    TRY(
        reader_.query_internal("SELECT stream, sum(CASE WHEN partition >= 0 THEN end_offset - start_offset ELSE 0 "
                               "END), sum(bytes) FROM main._ends GROUP BY stream",
                               [&](const Row& row) {
                                   sizes[id_of(row[0])] = {row[1].integer, row[2].integer};
                               }));
    std::vector<Object> objects;
    TRY(reader_.query_internal(
        "SELECT id, name, version, statement, created_at FROM main._objects WHERE kind = 'stream' ORDER BY name",
        [&](const Row& row) {
            Object object;
            object.id = id_of(row[0]);
            object.name = row[1].text;
            object.version = static_cast<std::uint32_t>(row[2].integer);
            object.statement = row[3].text;
            object.created_at_ms = row[4].integer;
            objects.push_back(std::move(object));
        }));
    std::vector<std::vector<OwnedValue>> rows;
    for (const Object& object : objects) {
        const record::StreamPtr stream = TRY(stream_of(object));
        const Size size = sizes[object.id];
        rows.push_back({text_value(object.name), text_value(object.id.text()), integer_value(object.id.shard.value),
                        text_value(node_), integer_value(stream->schema.partitions), integer_value(size.events),
                        integer_value(size.bytes), integer_value(object.created_at_ms)});
    }
    return add_rows("sys.streams", system_table("sys.streams")->columns, std::move(rows));
}

Status CatalogReader::add_source(const std::string& name, std::shared_ptr<store::TableSource> source) {
    if (notes_ != nullptr) source = make_explained_source(name, std::move(source), *notes_);
    return reader_.add_source(name, std::move(source));
}

Status CatalogReader::add_rows(const std::string& name, const TableColumns& columns,
                               std::vector<std::vector<OwnedValue>> rows) {
    std::vector<store::SourceColumn> source;
    for (const auto& [column, type] : columns)
        source.push_back({column, type, false});
    return reader_.add_source(name, make_row_source(std::move(source), std::move(rows)));
}

}  // namespace weir::query
