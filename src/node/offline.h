// A data directory without its server, for the commands that look into it: doctor and inspect.
#pragma once

#include "node/console.h"
#include "os/disk.h"
#include "os/real_disk.h"

#include <cstdint>
#include <string>

namespace weir::node {

constexpr std::uint64_t state_map_bytes = 64ull << 30;  // reserved, not used: as a server's (cluster/local_shard.h)

// Errors: not_found (no data directory: nothing is made in it), conflict (a server holds it: its pid is in detail), io.
Result<os::DirLock> lock_data_dir(os::Disk& disk, const std::string& data_dir);
// Says why, and what to do.
Exit tell_unlocked(const Console& console, const Error& why);

// Reads all of the state store in a child process: LMDB maps its file and believes it, so a page that was cut off or
// overwritten ends the process that reads it. Only where there is one thread. Errors: corrupt, io.
Status try_state(const std::string& dir);

}  // namespace weir::node
