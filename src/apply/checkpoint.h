// The checkpoint is one act: segments, journals and dedup runs synced, SQLite durable, then the state store committed
// with the applied index; only then may the write-ahead log be cut below it.
//
// What a checkpoint remembers (state store keys; all strings of bytes):
//   "applied"          index u64 | term u64 | append_time i64 | format u32 | SQLite version | after_gap i64
//   "s" id(8, big)     a stream: definition, segments, journal, counters, dedup runs (StreamRecord)
//   "v" id(8, big)     a view: definition, state (ViewRecord)
//   "c" id(8, big)     a catalog entry (CatalogRecord)
//   "o" id(8, big) ... a view's operator state (stream::Tumble)
#pragma once

#include "base/ids.h"
#include "base/result.h"
#include "dedup/index.h"
#include "log/entry.h"
#include "log/journal.h"
#include "log/partition.h"
#include "os/disk.h"
#include "stream/state_store.h"

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace weir::apply {

constexpr std::uint32_t checkpoint_format = 1;

struct AppliedRecord {
    LogIndex index;
    Term term;
    std::int64_t append_time_ms = INT64_MIN;
    std::string engine;                     // SQLite's version: what expressions mean is part of the replicated state
    std::int64_t after_gap_ms = INT64_MIN;  // the last append that came limits::append_gap_ms after the one before
    std::string encode() const;
    static Result<AppliedRecord> decode(std::string_view bytes);
};

struct StreamCounters {
    std::uint64_t stored = 0, duplicate = 0, dead_lettered = 0, refused = 0;
};

struct StreamRecord {
    std::uint32_t version = 1;
    std::string name;
    std::string statement;
    std::int64_t created_at_ms = 0;
    std::vector<log::PartitionState> partitions;
    log::PartitionState dead;
    log::JournalState journal;
    StreamCounters counters;
    std::vector<dedup::RunState> runs;
    std::uint64_t next_run = 1;
    std::int64_t expired_bucket = INT64_MIN;
    // Append times for ticks; absent in records of before there were any.
    std::int64_t first_arrival_ms = INT64_MIN, last_tick_ms = INT64_MIN;
    std::vector<std::int64_t> last_arrival_ms;  // by partition
    std::string encode() const;
    static Result<StreamRecord> decode(std::string_view bytes);
};

struct ViewRecord {
    ObjectId stream;
    std::string name;
    std::string statement;
    std::int64_t created_at_ms = 0;
    std::string state;          // "live", "building", "stopped: ..."
    LogIndex built_up_to = {};  // while building: the last index that the operator's state has seen
    std::string encode() const;
    static Result<ViewRecord> decode(std::string_view bytes);
};

struct CatalogRecord {
    log::ObjectKind kind = log::ObjectKind::stream;
    std::string name;
    std::string statement;
    bool was_defined = false;  // the definition has been applied once: absent now means that it is being dropped
    std::string encode() const;
    static Result<CatalogRecord> decode(std::string_view bytes);
};

constexpr std::string_view applied_key = "applied";
std::string object_key(char kind, ObjectId id);

// One stream's new dedup ids and what its runs are now.
struct StreamRuns {
    ObjectId id;
    std::string dir;  // the stream's dedup folder
    struct NewIds {
        std::int64_t bucket = 0;
        std::vector<dedup::RunEntry> entries;
    };
    std::vector<NewIds> fresh;
    std::vector<std::shared_ptr<const dedup::Run>> runs;  // before
    StreamRecord record;                                  // runs and next_run are filled in by run_checkpoint
    std::size_t kept_bytes = SIZE_MAX;                    // of fences and filters, that admission keeps
};

struct CheckpointJob {
    AppliedRecord applied;
    std::vector<std::shared_ptr<os::File>> files;  // to sync
    std::vector<std::string> dirs;                 // to sync: new names in them
    std::vector<stream::StateChange> changes;      // everything but the streams below
    std::vector<StreamRuns> streams;               // whose records change
    std::size_t run_bytes_held = 0;                // fences and filters of all streams' runs, now
    std::size_t run_bytes_max = SIZE_MAX;          // what loading filters may bring that to
};

struct CheckpointDone {
    AppliedRecord applied;
    struct Stream {
        ObjectId id;
        std::vector<std::shared_ptr<const dedup::Run>> runs;  // after
        std::uint64_t next_run = 1;
    };
    std::vector<Stream> streams;
    std::vector<std::string> replaced_runs;  // files that nothing lists any more
};

// Runs the whole act; on the checkpoint thread. An error means that the process must end: durable state is unknown.
Result<CheckpointDone> run_checkpoint(os::Disk& disk, stream::StateStore& state, CheckpointJob&& job);

}  // namespace weir::apply
