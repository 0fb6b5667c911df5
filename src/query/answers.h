// The answers to requests with an Idempotency-Key (log::answers_stream), one by its offset. Any thread; blocks on
// files.
#pragma once

#include "base/ids.h"
#include "base/result.h"
#include "os/disk.h"

#include <cstdint>
#include <string>

namespace weir::query {

// The bytes that were kept at `offset`; the entry that brought them is visible. Errors: not_found (retention has taken
// them), io, corrupt.
Result<std::string> read_answer(os::Disk& disk, const std::string& shard_dir, ShardId shard, std::int64_t offset);

}  // namespace weir::query
