// A stream's journal: what the log knows and a Kafka batch cannot hold. One record an entry that touched the stream.
//
//   <dir>/<first index, 20 digits>.jnl
//   record: length u32 | crc u32 | index u64 | append_time i64 | definition_version u32 | kind u8 | batch count u32 |
//           {partition i32 | count u32 | base_offset i64}...
//   kind: 0 data; 1 tick (no batches); 2 flush of a view: one "batch" of partition journal_view_mark and count 0, whose
//   base_offset is the view's ObjectId::packed()
//   little-endian; length counts what follows the crc, and the crc (CRC-32C) covers it.
// Indexes ascend; the records of one index (a data entry that is also a tick, say) are neighbours in one file.
// Same rules of checkpoint, cut and ownership as log/partition.h.
#pragma once

#include "base/ids.h"
#include "base/result.h"
#include "os/disk.h"

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace weir::log {

enum class JournalKind : std::uint8_t { data = 0, tick = 1, flush = 2 };
// In the place of a partition: readers of partitions pass it by, as it is none.
constexpr PartitionNo journal_view_mark = INT32_MIN;

struct JournalBatch {
    PartitionNo partition = 0;
    std::uint32_t count = 0;
    std::int64_t base_offset = 0;
};

struct JournalRecord {
    LogIndex index;
    std::int64_t append_time_ms = 0;
    std::uint32_t definition_version = 0;
    JournalKind kind = JournalKind::data;
    std::vector<JournalBatch> batches;
};

struct JournalFileState {
    LogIndex first_index;
    std::uint64_t bytes = 0;
    std::int64_t first_append_ms = 0;  // append time of its first record (roll by age)
    std::int64_t last_append_ms = 0;   // latest append time of its records (retention)
};
struct JournalState {
    std::vector<JournalFileState> files;  // ascending; none is empty
    LogIndex last_index;                  // of the last record ever; 0 when there was none
    // Of the first record that is still there; nullopt: there is none.
    std::optional<LogIndex> first_index() const;
    std::string encode() const;
    static Result<JournalState> decode(std::string_view bytes);
};

// Where files end decides what retention can cut, so replicas of one log must agree on both.
struct JournalOptions {
    std::uint64_t file_bytes = 16ull << 20;
    // A record of a new index begins a new file when it is appended this long or longer after the open file's first
    // record. Less than 1 counts as 1.
    std::int64_t file_ms = INT64_MAX;
};

class Journal {
  public:
    static Result<std::unique_ptr<Journal>> open(os::Disk& disk, std::string dir, const JournalState& state,
                                                 JournalOptions options = {});
    virtual ~Journal() = default;
    // Queued until flush(). Errors (nothing is queued): invalid_argument (an index of 0 or below the last; the last
    // index once more after advance_before() gave up its record, as its file's name may not come back), too_large.
    virtual Status append(const JournalRecord& record) = 0;
    // For what is appended from here on. Flush before: what is queued is cut when it is written.
    virtual void set_options(const JournalOptions& options) = 0;
    virtual Status
    flush() = 0;  // page cache. On an error state() is as before, the queue is kept: a later flush() tries again
    virtual Status sync() = 0;  // fdatasync of what was flushed since the last sync; new files' folder too
    virtual const JournalState& state() const = 0;                          // as of the last flush()
    virtual std::vector<std::shared_ptr<os::File>> take_dirty_files() = 0;  // as PartitionLog's
    // Paths of files all of whose records are of an index below `index`; forgotten here, the caller unlinks them later.
    // The last file stays.
    virtual std::vector<std::string> advance_start(LogIndex index) = 0;
    // Paths of the files at the front all of whose records were appended before `append_ms`; forgotten here, the caller
    // unlinks them after the next checkpoint. The last file may be among them: the next record begins a new one. Flush
    // before: while records are queued the last file stays.
    virtual std::vector<std::string> advance_before(std::int64_t append_ms) = 0;
};

// Where a reader stands, so that a later one goes on there without a search through the file. No promise: where the
// file has gone meanwhile the later one searches.
struct JournalPlace {
    LogIndex file;  // its first index; 0: no place
    std::uint64_t position = 0;
};

// Reads records from the first with index >= `from`, up to the journal's state (bound by files and bytes). Where
// retention took the front, that is the first record left: a journal may begin later than what the partitions hold.
class JournalReader {
  public:
    // `place` is the place() of a reader of this journal whose records before it were all of an index below `from`.
    static Result<std::unique_ptr<JournalReader>> open(os::Disk& disk, std::string dir, const JournalState& bound,
                                                       LogIndex from, JournalPlace place = {});
    virtual ~JournalReader() = default;
    virtual JournalPlace place() const = 0;  // of the record that next() will give
    // nullopt at the end. Errors: corrupt (file, position), io, not_found (a file was unlinked: the read was too slow);
    // after one of them the reader is at its end.
    virtual Result<std::optional<JournalRecord>> next() = 0;
};

}  // namespace weir::log
