// A stream as a table: its partitions' segments scanned in place, nothing copied into SQLite.
//
// Columns: those of CREATE STREAM, then hidden _partition, _offset, _append_time, _key, _headers, _value. Pruned by
// _partition, _offset and the EVENT TIME column. What a query does not use is not decoded; a bare count(*), and one by
// _partition or _offset, reads no segment at all: offsets are dense between the bounds. _append_time reads the journal
// too, and only then.
#pragma once

#include "base/ids.h"
#include "base/result.h"
#include "log/journal.h"
#include "log/partition.h"
#include "os/disk.h"
#include "record/stream.h"
#include "store/table_source.h"

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace weir::query {

struct PartitionBound {
    PartitionNo partition = 0;
    log::ReadBound bound;
};

// What scans did, for tests and EXPLAIN.
struct ScanCounters {
    std::uint64_t batches = 0;  // batches looked at
    std::uint64_t records = 0;  // records walked
    std::uint64_t decoded = 0;  // records decoded from JSON
};

struct StreamTableParts {
    os::Disk* disk = nullptr;  // outlives the table
    std::string shard_dir;
    record::StreamPtr stream;
    std::vector<PartitionBound> partitions;  // as of one applied index, in order
    log::JournalState journal;               // of the same index
    bool aside = false;                      // leaves the page cache as it is
    std::shared_ptr<ScanCounters> counters;  // may be null
};

std::shared_ptr<store::TableSource> make_stream_table(StreamTableParts parts);

}  // namespace weir::query
