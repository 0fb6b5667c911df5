// One shard on this node, whole: inbox, admission, raft loop, flusher, apply. The doors and the catalog see this page
// only.
#pragma once

#include "base/ids.h"
#include "base/result.h"
#include "log/changes.h"
#include "replica/ingest.h"

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>

namespace weir::replica {

// A control section of an entry (log/entry.h): definitions, drops, retention.
struct Control {
    std::string section;  // encoded
    // The entry's index and how applying it ended, after its effects are visible to reads. On an apply thread.
    std::function<void(LogIndex, Status)> applied;
    bool gives_id = false;  // a catalog put: its entry's index becomes the object's id
};

// Thread-safe.
class ShardPort {
  public:
    virtual ~ShardPort() = default;
    virtual ShardId id() const = 0;
    // Queue 1. False: full; nothing was taken and `request` is untouched.
    virtual bool submit(IngestRequest&& request) = 0;
    virtual bool propose(Control&& control) = 0;
    // The append clock, milliseconds of the epoch, monotone: what future_event_time is measured against.
    virtual std::int64_t append_clock_ms() const = 0;
    virtual record::FingerprintKey fingerprint_key() const = 0;
    virtual bool ready() const = 0;      // leads, and everything committed before the start is applied
    virtual bool disk_full() const = 0;  // events are turned away until there is room; reads go on
    virtual LogIndex committed() const = 0;
    virtual LogIndex visible() const = 0;  // applied and committed in SQLite
    // Blocks until visible() >= index or `timeout`; false: timeout.
    virtual bool wait_visible(LogIndex index, std::chrono::milliseconds timeout) = 0;
    // Who looks on from here on, in the place of who did. A port that nobody can look on at ignores it.
    virtual void watch(log::Watch&& /*watch*/) {}
    virtual std::string data_dir() const = 0;  // <data>/shards/<n>: view.db, streams/
};

}  // namespace weir::replica
