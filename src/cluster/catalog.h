// Names: which streams and views there are, and the statements that make and drop them. A snapshot is immutable and
// cheap to take on every request; a change is a log entry and blocks its caller until it is applied.
//
// CREATE is two entries: shard 0's catalog entry decides, carrying the statement and giving the id (shard:index); then
// the stream's shard gets the definition proposed from it, again after every crash until it is there. DROP in reverse.
#pragma once

#include "base/ids.h"
#include "base/result.h"
#include "record/stream.h"
#include "replica/shard.h"
#include "sql/statement.h"

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace weir::cluster {

struct ViewDefinition {
    ObjectId id;
    std::string name;
    ObjectId stream;
    std::string statement;
    std::string state;  // "live", "building", "stopped: ..."
};
using ViewPtr = std::shared_ptr<const ViewDefinition>;

struct CatalogSnapshot {
    std::map<std::string, record::StreamPtr, std::less<>> streams;
    std::map<std::string, ViewPtr, std::less<>> views;
    record::StreamPtr stream(std::string_view name) const;  // null: none
    ViewPtr view(std::string_view name) const;
};

struct Changed {
    bool did = false;  // false: IF [NOT] EXISTS made it a no-op
    ObjectId id;
    LogIndex index;  // applied at
};

// What a stream that nobody declared is made for.
enum class Undeclared : std::uint8_t { events, cloudevents };

// Thread-safe. Blocking calls are for pool threads.
class Catalog {
  public:
    virtual ~Catalog() = default;
    virtual std::shared_ptr<const CatalogSnapshot> snapshot() const = 0;
    virtual replica::ShardPort& shard_of(const record::Stream& stream) = 0;
    virtual replica::ShardPort& home() = 0;  // shard 0

    // Errors: already_exists, invalid_argument, conflict, not_found, timed_out, overloaded, recovering.
    virtual Result<Changed> create(const sql::CreateStream& statement) = 0;
    virtual Result<Changed> create(const sql::CreateView& statement) = 0;
    // One entry of the stream's shard, with the whole new definition. Errors: also building.
    virtual Result<Changed> alter(const sql::AlterStream& statement) = 0;
    virtual Result<Changed> drop(const sql::DropObject& statement) = 0;
    // Moves the view's watermarks to the highest event time it has seen, minus DELAY. Errors: also building.
    virtual Result<Changed> flush(const sql::FlushView& statement) = 0;
    // The stream of this name, made undeclared when absent and `undeclared` is allowed. `kind` is that of its first
    // event. Errors as create; not_found.
    virtual Result<record::StreamPtr> ensure_stream(std::string_view name, Undeclared kind) = 0;
};

// What an undeclared stream looks like: event_id, event_type, event_time, key, payload; lenient. Where its first event
// is a CloudEvent, these are of the attributes id, type, time, partitionkey and the whole event; event_source stands
// beside them, (event_source, event_id) is the DEDUP KEY, as the specification has it, and key decides the partition.
sql::CreateStream undeclared_stream(std::string_view name, Undeclared kind);

}  // namespace weir::cluster
