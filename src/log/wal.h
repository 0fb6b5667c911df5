// The node's write-ahead log: one sequence of records for all shards, in preallocated files that are used again.
//
// File  <dir>/<slot>.wal, limits::wal_file_bytes long (longer for an append that would not fit):
//   file header, twice: magic, format version, sequence number, the oldest file still needed, where and with which crc
//   the file before was left, crc; then one `shard start` record a shard (incarnation, term, vote, membership,
//   checkpoint index and term), then records.
// Record: length u32 | crc u32 | type u8 | entry_type u8 | shard u16 | index u64 | term u64 | payload.
//   crc = CRC-32C seeded with the file's header and chained to the CRC of the record before, so that what a
//   reused file held earlier never reads as valid. A later record for the same shard and index supersedes the tail.
//   Types: entry, shard start, tombstone, and marks (what was durable when; see log/detail/wal_format.h for the bytes).
// Torn tail: the log ends at the first record that does not check, in the newest file, unless a mark further on
//   proves that the record was durable once: then the log is corrupt. A file that is not the newest must check up to
//   the point at which its successor's header was written, else the log is corrupt.
// Reuse: a file is needed while it, or an older one, holds an entry above its shard's checkpoint; once the header of
//   a newer file that says so is durable it may be used again (at most two spare files are kept).
//
// Owner: the flusher thread (append, sync): one call at a time; which thread makes it may change under a lock of the
// caller's. read_entry() is free of state and may be called from any thread; so may bytes_in_use() and
// wants_checkpoint().
#pragma once

#include "base/ids.h"
#include "base/result.h"
#include "os/disk.h"

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace weir::log {

// Where a record stands: enough to pread and check it alone.
struct WalPlace {
    std::uint32_t slot = 0;      // file
    std::uint64_t sequence = 0;  // of the file at that time; a reused file has another
    std::uint64_t offset = 0;    // of the record
    std::uint32_t length = 0;    // of the payload
    std::uint32_t previous_crc = 0;
};

// What each file opens with, a shard.
struct ShardStart {
    std::uint64_t incarnation = 0;
    Term term;
    std::uint64_t vote = 0;
    std::string membership;  // consensus' encoding, opaque here
    LogIndex checkpoint_index;
    Term checkpoint_term;
};

struct WalEntry {
    ShardId shard;
    LogIndex index;
    Term term;
    std::uint8_t entry_type = 0;            // consensus' type, opaque here
    std::vector<std::string_view> payload;  // gathered; valid during append()
};

struct RecoveredEntry {
    LogIndex index;
    Term term;
    std::uint8_t entry_type = 0;
    WalPlace place;
};

struct RecoveredShard {
    ShardStart start;                     // latest hard state and checkpoint
    std::vector<RecoveredEntry> entries;  // contiguous, the first right above the checkpoint
};

struct WalOptions {
    std::uint64_t file_bytes = 64ull << 20;
    std::uint64_t wal_bytes = 1ull << 30;  // above: oldest_shard() wants a checkpoint
};

class Wal {
  public:
    // Opens or makes the log in the folder `dir` and reads it whole; what it found is durable when it returns. Shards
    // that it does not know get their first ShardStart from append_start(). Errors: corrupt (with file, offset, what
    // and what to do), unsupported (a later format), io, disk_full.
    static Result<std::unique_ptr<Wal>> open(os::Disk& disk, std::string dir, WalOptions options);
    virtual ~Wal() = default;  // syncs, and notes that all is durable

    virtual const std::map<ShardId, RecoveredShard>& recovered() const = 0;
    virtual void forget_recovered() = 0;  // frees it after the start

    // Writes entries (page cache); durable only after sync(). An index at or below one that is there supersedes from
    // there. `places` gets one place an entry. All entries of a call go to one file, in one gathered write; a full file
    // is left first, which costs two flushes. Errors: disk_full or io; then nothing of this call counts, but the file
    // may hold part of it: the next append writes over it, and until then a restart may find the first of its entries.
    // (disk_full is recoverable; io is not: the caller ends the process.) invalid_argument (a shard without a start, an
    // index at or below the checkpoint or beyond the next), too_large (limits::entry_bytes_max): nothing was written.
    virtual Status append(const std::vector<WalEntry>& entries, std::vector<WalPlace>& places) = 0;
    // Hard state and checkpoint of a shard: a record of the same log, and what later files open with. Entries above the
    // checkpoint stay where the log's own entry at its index has its term, else (a checkpoint installed from elsewhere,
    // or another incarnation) the shard's entries go. Errors: as append(); invalid_argument where the checkpoint goes
    // back within one incarnation; too_large (membership above 256 KiB).
    virtual Status append_start(ShardId shard, const ShardStart& start) = 0;
    virtual Status append_tombstone(ShardId shard) = 0;  // the shard is gone; not_found where it is not there
    // fdatasync of what was written since the last sync. An error must end the process.
    virtual Status sync() = 0;

    virtual std::uint64_t bytes_in_use() const = 0;  // files that may not be reused yet
    virtual bool wants_checkpoint(
        ShardId& which) const = 0;  // bytes_in_use() > wal_bytes: the shard that pins the oldest file
};

// Reads one entry's payload and checks its CRC. Errors: corrupt, io, not_found (the file was used again).
Result<std::string> read_entry(os::Disk& disk, const std::string& dir, const WalPlace& place);

}  // namespace weir::log
