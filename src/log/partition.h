// A partition's segments: Kafka batches one after the other in files, with a sparse offset and time index beside each.
//
//   <dir>/<base offset, 20 digits>.log    batches as they were accepted
//   <dir>/<base offset, 20 digits>.idx    40-byte entries, one each index_interval bytes of log or so, little-endian:
//         base_offset i64 | position u64 | min_time i64 | max_time i64 | bytes u32 | crc u32
//         An entry covers `bytes` of the log from its position, up to the next entry's; min and max are the least and
//         greatest record timestamp in it (a batch's base time is only its first). crc: CRC-32C of the 36 bytes before.
// The index may lag behind the log, and is only an aid: a reader uses the entries that check and scans what they do not
// cover. The checkpoint decides what exists: open() cuts files to the lengths it names and removes files of these names
// that it does not know. Log bytes after a cut are the same again, because they are a function of the entries that are
// replayed. Owner of PartitionLog: the apply thread. Readers open the files by themselves (PartitionReader), in any
// thread or process.
#pragma once

#include "base/result.h"
#include "os/disk.h"

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace weir::log {

struct SegmentState {
    std::int64_t base_offset = 0;
    std::uint64_t log_bytes = 0;
    std::uint64_t index_bytes = 0;
    std::int64_t min_time_ms = INT64_MAX, max_time_ms = INT64_MIN;  // over its records
    std::int64_t last_append_ms = 0;                                // latest append time of its batches (retention)
    std::int64_t first_append_ms = 0;                               // append time of its first batch (roll by age)
};

// The part of the last segment that has no index entry yet, from `position` to the segment's end.
struct OpenIndexRange {
    std::int64_t base_offset = 0;
    std::uint64_t position = 0;
    std::int64_t min_time_ms = INT64_MAX, max_time_ms = INT64_MIN;
};

// What a checkpoint remembers of a partition.
struct PartitionState {
    std::int64_t start_offset = 0;  // log start: records below are gone
    std::int64_t end_offset = 0;
    // Ascending; dense: each begins where the one before ends, the last one ends at end_offset; none is empty. There
    // are none before the first append and after all was cut: start_offset == end_offset then, and the next segment
    // begins there.
    std::vector<SegmentState> segments;
    OpenIndexRange open_index;
    std::string encode() const;
    static Result<PartitionState> decode(std::string_view bytes);  // corrupt
};

// Where segments end decides what retention can cut, so replicas of one log must agree on segment_bytes and segment_ms.
struct PartitionOptions {
    std::uint64_t segment_bytes = 128ull << 20;
    // A batch begins a new segment when it is appended this long or longer after the open segment's first batch: append
    // times of the entries, no clock, and independent of when flush() runs. Less than 1 counts as 1.
    std::int64_t segment_ms = INT64_MAX;
    std::uint32_t index_interval = 32u << 10;
};

class PartitionLog {
  public:
    // Makes `dir` real up to `state`: cuts, removes what is not listed. Errors: corrupt (a file is shorter than
    // listed), io.
    static Result<std::unique_ptr<PartitionLog>> open(os::Disk& disk, std::string dir, const PartitionState& state,
                                                      PartitionOptions options);
    virtual ~PartitionLog() = default;

    // Queues one whole batch (offsets set; base = end_offset()). The bytes must stay valid until a flush() succeeds.
    // Errors (nothing is queued): invalid_argument (not base = end_offset(), no records, not a batch), too_large.
    virtual Status append(std::string_view batch, std::int64_t base_offset, std::int32_t count,
                          std::int64_t min_time_ms, std::int64_t max_time_ms, std::int64_t append_ms) = 0;
    // Writes what is queued (page cache), one gathered write a segment and one for its index. On an error (disk_full,
    // io) nothing of it counts: state() is as before and the queue is kept, so that a later flush() tries the whole of
    // it again.
    virtual Status flush() = 0;
    // For what is appended from here on. Flush before: what is queued is cut when it is written.
    virtual void set_options(const PartitionOptions& options) = 0;
    virtual Status sync() = 0;  // fdatasync of what was flushed since the last sync; new files' folder too
    virtual std::int64_t start_offset() const = 0;
    virtual std::int64_t end_offset() const = 0;      // what is queued included
    virtual std::uint64_t bytes() const = 0;          // of the log in all segments, as of the last flush()
    virtual const PartitionState& state() const = 0;  // as of the last flush()
    // What a checkpoint of state() must sync, on any thread: open handles that stay valid. Where names changed (a new
    // file or folder) one of them stands for the folders, and its sync() makes the names durable.
    virtual std::vector<std::shared_ptr<os::File>> take_dirty_files() = 0;
    // Moves the log start to `offset` (never back, never beyond the end) and returns the paths of segments that lie
    // wholly below it; the caller unlinks them after the next checkpoint. At end_offset() the last segment goes too:
    // the next append begins a new one at that offset, whose name no path returned here ever has. Flush before: while
    // batches are queued the start goes no further than the last flush()'s end and the last segment stays, so where
    // segments begin would depend on when flush() ran.
    virtual std::vector<std::string> advance_start(std::int64_t offset) = 0;
    // The offset below which retention may cut: the end of the last segment of those at the front whose records' append
    // times are all before `append_ms` (end_offset() when that is all of them); start_offset() when there is none. What
    // is queued does not count.
    virtual std::int64_t offset_before(std::int64_t append_ms) const = 0;
};

// Where a reader may read up to: written with the applied index, so that one read sees one index.
struct ReadBound {
    std::int64_t start_offset = 0;
    std::int64_t end_offset = 0;
    std::int64_t last_segment = 0;  // base offset of the segment that holds the end
    std::uint64_t last_bytes = 0;   // its length at that index
};
ReadBound read_bound(const PartitionState& state);

struct ReadRange {
    std::int64_t from_offset = 0;
    std::int64_t to_offset = INT64_MAX;                             // exclusive
    std::int64_t min_time_ms = INT64_MIN, max_time_ms = INT64_MAX;  // inclusive; batches wholly outside may be skipped
    bool aside = false;  // leaves the page cache as it is (os::File::read_aside)
};

// Reads batches in offset order; one object a scan. Uses pread in blocks of about 1 MiB; each batch it yields has at
// least 64 readable bytes behind it. Checks each batch's CRC the first time it is read when `check_crc`.
class PartitionReader {
  public:
    static Result<std::unique_ptr<PartitionReader>> open(os::Disk& disk, std::string dir, const ReadBound& bound,
                                                         const ReadRange& range, bool check_crc);
    virtual ~PartitionReader() = default;
    // The next batch that may hold records of the range; nullopt at the end. The view is valid until the next call.
    // Errors: corrupt (file, position), io, not_found (a segment was unlinked: the read was too slow). After an error
    // the reader is at its end.
    virtual Result<std::optional<std::string_view>> next() = 0;
};

}  // namespace weir::log
