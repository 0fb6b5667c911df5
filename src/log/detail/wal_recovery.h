// Reads a write-ahead log as it stands on disk and says what it holds, where it ends, and which files may be used
// again. Writes nothing.
#pragma once

#include "base/ids.h"
#include "base/result.h"
#include "log/detail/wal_format.h"
#include "log/wal.h"
#include "os/disk.h"

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

namespace weir::log::detail {

// A file that holds, or held, a part of the log.
struct LiveFile {
    std::uint32_t slot = 0;
    std::uint64_t sequence = 0;
    std::uint64_t bytes = 0;              // its length
    std::map<ShardId, LogIndex> highest;  // of the entries in it that count; absent: none
};
struct SpareFile {
    std::uint32_t slot = 0;
    std::uint64_t bytes = 0;
};

struct Recovery {
    std::map<ShardId, RecoveredShard> shards;
    std::vector<LiveFile> files;  // oldest first; the last is the one to continue. Empty: a new log
    std::vector<SpareFile> spares;
    std::uint64_t sequence_max = 0;
    std::uint32_t slots = 0;  // all slots in use are below
    std::uint64_t boot = 0;   // the highest seen
    // Of the newest file:
    std::unique_ptr<os::File> file;
    FileHeader header;
    bool header_damaged = false;  // one of the two copies
    std::uint64_t end = 0;
    std::uint32_t crc = 0;
    std::uint64_t proven = 0;  // up to here marks prove that it was synced
};

// Errors: corrupt, io.
Result<Recovery> recover(os::Disk& disk, const std::string& dir);

}  // namespace weir::log::detail
