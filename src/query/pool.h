// User SQL in worker processes of the same binary: spawned (never forked) at the first query, niced, killed at the
// deadline and with the server. A worker opens the shard's view.db read-only and preads the segments; one query = one
// SQLite snapshot = one applied index.
//
// Thread-safe. A call blocks its (pool) thread until the result is whole or the deadline has passed.
#pragma once

#include "base/ids.h"
#include "base/result.h"
#include "store/value.h"

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace weir::query {

// A parameter or result value that owns its bytes.
struct OwnedValue {
    store::ValueType type = store::ValueType::null;
    std::int64_t integer = 0;
    double real = 0;
    std::string text;
};

using TableColumns = std::vector<std::pair<std::string, std::string>>;  // name, type as in QueryColumn

// A system table that the server's process fills.
struct ServerTable {
    std::string name;  // "sys.config"
    TableColumns columns;
    // A value a column. Called on the thread of each query that names the table: thread-safe, does not wait for
    // queries.
    std::function<std::vector<std::vector<OwnedValue>>()> rows;
};

// The same on its way to a worker.
struct TableRows {
    std::string name;
    TableColumns columns;
    std::vector<std::vector<OwnedValue>> rows;
};

struct QueryRequest {
    std::string sql;  // one SELECT; names and times as users write them
    std::vector<OwnedValue> parameters;
    std::int64_t timeout_ms = 10'000;
    std::int64_t rows_max = 10'000;
    std::int64_t now_ms = 0;        // what now() means
    std::vector<TableRows> tables;  // of the server tables that it names; the pool fills this
};

struct QueryColumn {
    std::string name;
    std::string type;  // "TEXT", "INTEGER", "REAL", "BOOLEAN", "TIMESTAMP", "JSON", "BLOB", "" unknown (dynamic)
};

struct QuerySummary {
    LogIndex applied_index;  // the index that was read
    bool truncated = false;
    std::int64_t rows = 0;
};

// Receives the result as it comes, on the calling thread. Return false to stop (the query is cancelled).
class ResultSink {
  public:
    virtual ~ResultSink() = default;
    virtual bool columns(const std::vector<QueryColumn>& columns) = 0;
    // Values in the columns' order; TIMESTAMP columns carry epoch ms as integer: the sink formats. Text is borrowed.
    virtual bool row(const std::vector<store::Value>& values) = 0;
    // Asked now and then while a query waits or computes: false stops it, as if row() had said so.
    virtual bool wanted() { return true; }
};

struct PoolOptions {
    std::string program = "/proc/self/exe";
    std::string shard_dir;
    std::string node_id = "n1";  // what system tables show as a stream's leader
    std::uint32_t workers_max = 2;
    std::uint32_t waiting_max = 64;  // above: overloaded
    std::uint64_t worker_memory_bytes = 512ull << 20;
    std::vector<ServerTable> server_tables;
};

class Pool {
  public:
    static std::unique_ptr<Pool> make(PoolOptions options);
    virtual ~Pool() = default;  // kills the workers
    // Errors: invalid_argument (position), not_found, forbidden, deadline, too_large (the worker's memory), overloaded,
    // building, cancelled (the sink stopped it; its worker is killed), shutting_down, io and corrupt (the worker
    // crashed or talked nonsense; the next query gets another one).
    virtual Result<QuerySummary> run(const QueryRequest& request, ResultSink& sink) = 0;
    virtual void stop() = 0;  // refuses new queries, kills what runs
    // While on: what runs goes on, new queries wait (waiting_max and their own deadlines bound that). For the moment
    // that SQLite's log needs without a reader. Does not block; a pool without workers of its own has nothing to hold.
    virtual void hold(bool /*on*/) {}
    virtual bool held() const { return false; }
    // Lets workers go that nobody uses; the next query gets a new one.
    virtual void rest() {}
    // Queries that have a worker or are getting one; those that wait do not count. At 0 under hold(true) no worker has
    // a snapshot open.
    virtual std::uint32_t running() const { return 0; }
};

// The child's whole life: speaks the pool's protocol on file descriptor `fd` until it closes. Returns the exit code.
int worker_main(int fd, const std::string& shard_dir);

}  // namespace weir::query
