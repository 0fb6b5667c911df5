// A shard on this node, put together: inboxes, threads and the state machines of replica/ and apply/.
//
//   door -> [inbox: queue 1] -> admission -> raft loop -> flusher -> raft loop -> door's completion
//                                                                            `-> [inbox: queue 2] -> apply ->
//                                                                            checkpoint
#pragma once

#include "apply/applier.h"
#include "base/clock.h"
#include "base/limits.h"
#include "base/result.h"
#include "log/wal.h"
#include "obs/metrics.h"
#include "os/disk.h"
#include "replica/shard.h"
#include "stream/state_store.h"

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

namespace weir::cluster {

struct LocalShardOptions {
    ShardId shard;
    std::string data_dir;  // <data>
    std::size_t dedup_memory = 128u << 20;
    std::uint64_t apply_lag_bytes = 1ull << 30;
    std::size_t inbox_bytes_max = limits::inbox_bytes_max;              // queue 1
    std::size_t apply_queue_bytes_max = limits::apply_queue_bytes_max;  // queue 2
    std::int64_t checkpoint_every_us = 5'000'000;
    std::uint64_t sqlite_log_bytes_max = 256ull << 20;  // above: hold_readers until the log is reset
    std::uint64_t disk_reserve_bytes = 96ull << 20;
    log::WalOptions wal;
    std::uint64_t state_map_bytes = 64ull << 30;
    std::uint64_t incarnation = 1;
    std::uint64_t seed = 1;
    record::FingerprintKey fingerprint_key;
    std::function<void(bool)>
        hold_readers;  // SQLite's log is too long: new queries wait; on the apply thread; may be empty
};

class LocalShard : public replica::ShardPort {
  public:
    // Opens the shard; start() starts its threads, then it answers `recovering` until ready(). `on_definitions` is
    // called on the apply thread whenever a definition changed, first when everything is recovered. Errors: corrupt,
    // io, disk_full.
    static Result<std::unique_ptr<LocalShard>> open(
        LocalShardOptions options, os::Disk& disk, Clock& clock, obs::Metrics& metrics,
        std::function<void(std::shared_ptr<const apply::Definitions>)> on_definitions);
    virtual void start() = 0;
    // Refuses what comes, waits for what is in flight, checkpoints, joins. Doors are stopped before.
    virtual void stop() = 0;
};

}  // namespace weir::cluster
