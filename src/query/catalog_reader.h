// What the names in a query stand for, read from view.db inside the query's snapshot: streams as scans of their
// segments, views and late rows as SQL over the internal tables, dead letters, system tables. Owner: the worker's main
// thread.
#pragma once

#include "base/ids.h"
#include "base/result.h"
#include "os/disk.h"
#include "query/pool.h"
#include "query/stream_table.h"
#include "record/stream.h"
#include "sql/rewrite.h"
#include "sql/statement.h"
#include "store/reader.h"

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace weir::query {

class CatalogReader {
  public:
    // All outlive this object. `node`: the name that system tables show as a stream's leader.
    CatalogReader(store::Reader& reader, os::Disk& disk, std::string shard_dir, std::string node)
        : reader_(reader), disk_(disk), shard_dir_(std::move(shard_dir)), node_(std::move(node)) {}

    // Behind begin_snapshot(): forgets the query before and reads the applied index. `tables`: what came with the
    // query. Errors: io, corrupt.
    Status begin(std::vector<TableRows> tables = {});
    LogIndex applied() const { return applied_; }

    // A name's columns; null: there is none, or status() says what went wrong. Valid until begin().
    const sql::TableShape* find(std::string_view name);
    const Status& status() const { return status_; }

    // From here to begin(): scans read nothing and write into `notes` what they would read, "access: ...".
    void explain_into(std::vector<std::string>* notes) { notes_ = notes; }

    // What EXPLAIN VIEW says, line by line. Errors: not_found, corrupt, io.
    Result<std::vector<std::string>> explain_view(std::string_view name);

    // Hands the names to the reader. Errors: building (a view that is not ready), corrupt, io.
    Status add_tables(const std::vector<std::string>& names);

    // A query over streams of more bytes than these leaves the page cache as it was (os::File::read_aside).
    void set_cached_bytes_max(std::uint64_t bytes) { cached_bytes_max_ = bytes; }

    void set_counters(std::shared_ptr<ScanCounters> counters) { counters_ = std::move(counters); }  // for tests

  private:
    enum class Kind : std::uint8_t { stream, view, dead_letters, late, system, server };
    struct Object {  // a row of _objects
        ObjectId id;
        std::string name;
        bool is_view = false;
        ObjectId stream;  // of a view
        std::uint32_t version = 0;
        std::string statement;
        std::int64_t created_at_ms = 0;
        std::string state;
        double progress = 0;
    };
    struct Table {
        Kind kind = Kind::stream;
        Object object;
        record::StreamPtr stream;  // of a stream or dead letters, or what a view reads
        sql::TableShape shape;
    };

    Result<std::optional<Table>> look_up(std::string_view name);
    Result<std::optional<Object>> object_where(const std::string& condition);
    Result<record::StreamPtr> stream_of(const Object& object);
    Result<Table> table_of(Object object);
    Status add(const Table& table);
    Status decide_caching(const std::vector<std::string>& names);
    Status add_stream(const Table& table);
    Status add_dead_letters(const Table& table);
    Status add_view(const Table& table);
    Status add_streams_table();
    Status add_source(const std::string& name, std::shared_ptr<store::TableSource> source);
    Status add_rows(const std::string& name, const TableColumns& columns, std::vector<std::vector<OwnedValue>> rows);

    store::Reader& reader_;
    os::Disk& disk_;
    std::string shard_dir_;
    std::string node_;
    std::vector<std::string>* notes_ = nullptr;
    std::uint64_t cached_bytes_max_ = UINT64_MAX;
    bool aside_ = false;  // of the present query
    LogIndex applied_;
    Status status_;
    std::map<std::string, std::optional<Table>, std::less<>> tables_;  // by the name that was asked for
    std::vector<TableRows> server_tables_;
    // Parsed definitions, kept from query to query: by id, checked by version.
    std::unordered_map<ObjectId, record::StreamPtr> streams_;
    std::shared_ptr<ScanCounters> counters_;
};

}  // namespace weir::query
