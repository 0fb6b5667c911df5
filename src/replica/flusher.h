// The flusher: writes what the raft loop hands over to the node's write-ahead log, one fdatasync for everything that
// came in meanwhile, and watches the disk. An error of a flush ends the process: what the page cache dropped cannot be
// known. A state machine without threads (see admission.h). Owner: the flusher's thread.
#pragma once

#include "base/clock.h"
#include "log/wal.h"
#include "os/disk.h"
#include "replica/raft_loop.h"

#include <atomic>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <string>
#include <vector>

namespace weir::replica {

struct FlusherCounters {
    std::atomic<std::uint64_t> flushes{0}, bytes{0}, flush_us{0}, wal_bytes{0};
    std::atomic<bool> disk_full{false};
};

class Flusher {
  public:
    struct Outputs {
        std::function<void(ShardId, message::Persisted&&)> persisted;  // to the shard's raft loop
        std::function<void(bool full)> disk_full;                      // to every admission
        std::function<void(ShardId)> wants_checkpoint;                 // to the shard's apply thread
        std::function<void(std::int64_t us)> flushed;                  // for the histogram; may be empty
        std::function<void(const Error&)> fatal;  // a write or flush failed: must not return in a server
    };
    Flusher(std::unique_ptr<log::Wal> wal, os::Disk& disk, std::string data_dir, std::uint64_t disk_reserve_bytes,
            Clock& clock, Outputs outputs);

    void on_job(FlushJob&& job);
    // Writes and syncs what is there. Returns microseconds until it wants to be called again without a job.
    std::int64_t step();
    const FlusherCounters& counters() const { return counters_; }

  private:
    void watch_disk();

    std::unique_ptr<log::Wal> wal_;
    os::Disk& disk_;
    std::string data_dir_;
    std::uint64_t disk_reserve_bytes_;
    Clock& clock_;
    Outputs outputs_;
    FlusherCounters counters_;
    std::deque<FlushJob> jobs_;
    bool full_ = false;
    std::int64_t next_watch_us_ = 0;
    std::uint64_t bytes_since_watch_ = 0;
};

}  // namespace weir::replica
