// Admission: decides what is new, gives offsets and the append time, and builds the next entry while the last one is
// being flushed. Everything that came in during a flush becomes one entry; one flush covers all streams and partitions.
//
// A state machine without threads: messages go in through on_message(), step() does the work, proposals come out
// through the callbacks. The admission thread drives it; simulation drives the same code by hand. Owner: the admission
// thread.
#pragma once

#include "base/clock.h"
#include "base/ids.h"
#include "base/result.h"
#include "dedup/index.h"
#include "log/committed.h"
#include "log/entry.h"
#include "record/batch.h"
#include "replica/append_clock.h"
#include "replica/ingest.h"

#include <atomic>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <string>
#include <unordered_map>
#include <variant>
#include <vector>

namespace weir::replica {

// A request's answer, ready but for the fate of the entry it rests on.
struct Waiter {
    std::function<void(IngestOutcome&&)> done;
    IngestOutcome outcome;
};

// One entry to commit.
struct Proposal {
    LogIndex index;  // where it will stand
    std::shared_ptr<log::EntryBuffer> buffer;
    std::vector<Waiter> waiters;
    std::vector<log::ControlDone> controls;  // one a control section
};

// What admission must know of a stream: sent when it is defined, and for every stream after recovery.
struct StreamAdmission {
    record::StreamPtr stream;
    std::vector<std::int64_t> end_offsets;  // a partition, everything committed counted
    std::int64_t dead_end_offset = 0;
    std::vector<std::shared_ptr<const dedup::Run>> runs;
    std::vector<dedup::RunEntry> recent;        // ids in the log that the runs lack
    LogIndex recent_index;                      // highest entry that `recent` covers
    std::int64_t oldest_append_ms = INT64_MAX;  // last append of the oldest segment
    std::int64_t oldest_bucket = INT64_MAX;     // oldest dedup bucket with a run
};

namespace message {
struct Control {
    std::string section;
    log::ControlDone applied;
    bool alone = false;  // the entry's index becomes an id: nothing else may give one
};
struct Leading {  // the raft loop: this node leads from here
    LogIndex next_index;
    Term term;
    LogIndex committed;
};
struct Recovered {  // apply: everything before this term is applied
    std::vector<StreamAdmission> streams;
    std::int64_t last_append_ms = INT64_MIN;
    std::int64_t after_gap_ms = INT64_MIN;  // the last append that came 30 days after the one before
};
struct StreamDefined {
    StreamAdmission stream;
};
struct StreamAltered {  // the same stream by another definition; offsets and ids are admission's own
    StreamAdmission stream;
};
struct StreamDropped {
    ObjectId id;
};
struct CommittedUpTo {  // the raft loop
    LogIndex index;
};
struct AppliedUpTo {  // apply, after its rows are committed
    LogIndex index;
};
struct RunsAdopted {  // checkpoint: these runs hold every id up to `covered`
    ObjectId stream;
    std::vector<std::shared_ptr<const dedup::Run>> runs;
    LogIndex covered;
    std::int64_t oldest_append_ms = INT64_MAX;
    std::int64_t oldest_bucket = INT64_MAX;
    std::int64_t bytes = 0;  // of the stream's segments
};
struct StreamNeeds {  // apply: what the stream would have proposed
    ObjectId stream;
    std::int64_t tick_due_ms = INT64_MAX;  // a tick at this append time or later; INT64_MAX: none
    bool keep_log = false;                 // a view is being built from it: RETAIN waits
};
struct CheckpointBegan {};
struct DiskState {  // the flusher
    bool full = false;
};
struct Stop {};
}  // namespace message

using AdmissionMessage =
    std::variant<IngestRequest, message::Control, message::Leading, message::Recovered, message::StreamDefined,
                 message::StreamAltered, message::StreamDropped, message::CommittedUpTo, message::AppliedUpTo,
                 message::RunsAdopted, message::StreamNeeds, message::CheckpointBegan, message::DiskState,
                 message::Stop>;

struct AdmissionOptions {
    ShardId shard;
    std::size_t dedup_memory = 128u << 20;
    std::uint64_t apply_lag_bytes = 1ull << 30;
};

struct AdmissionCounters {  // read by metrics, written here
    std::atomic<std::uint64_t> entries{0}, entry_bytes{0}, accepted{0}, duplicates{0}, dead_lettered{0}, refused{0},
        answered_again{0}, busy{0};
    std::atomic<std::uint64_t> dedup_memory_bytes{0}, dedup_table_ids{0};
};

class Admission {
  public:
    struct Outputs {
        std::function<void(Proposal&&)> propose;          // to the raft loop
        std::function<void(LogIndex, Waiter&&)> wait_on;  // done when the index is committed
        std::function<void(const Error&)> fatal;          // the dedup index cannot be read: must not return
    };
    Admission(AdmissionOptions options, Clock& clock, Outputs outputs);
    ~Admission();

    void on_message(AdmissionMessage&& message);
    // Works off what came, proposes what may be proposed. Returns microseconds until it wants to be called again.
    std::int64_t step();

    const AppendClock& append_clock() const { return clock_; }
    const AdmissionCounters& counters() const { return counters_; }
    bool ready() const { return ready_; }
    bool disk_full() const { return disk_full_; }
    // Nothing is being built or in flight: after Stop, everything that was taken has been answered.
    bool idle() const { return idle_; }
    // Requests that were taken and are in no entry yet: while there are any, the owner leaves the rest in queue 1,
    // whose bound in bytes then holds.
    bool has_backlog() const { return !requests_.empty(); }

  private:
    struct PartitionTail;
    struct StreamState;
    struct Pending;

    void admit(IngestRequest&& request);
    void admit_events(StreamState& state, IngestRequest& request, IngestOutcome& outcome, LogIndex& wait_on);
    bool was_answered(IngestRequest& request);
    void keep_answer(const RequestKey& key, const IngestOutcome& outcome);
    void add_control(message::Control&& control);
    void open_pending();
    void begin_bucket(StreamState& state);
    bool may_propose() const;
    void seal_and_propose();
    void expire();
    void tick();
    void refuse(IngestRequest&& request, Errc code, std::string detail);
    std::size_t ids_max() const;          // in tables, whatever the streams: what dedup_memory has room for
    std::size_t request_ids_max() const;  // above: too_large
    void share_dedup_memory();
    StreamState* find(ObjectId id);
    void define(StreamAdmission&& admission);
    void alter(StreamState& state, StreamAdmission&& altered);

    AdmissionOptions options_;
    Clock& raw_clock_;
    AppendClock clock_;
    Outputs outputs_;
    AdmissionCounters counters_;

    std::deque<IngestRequest> requests_;  // arrived, not yet in an entry
    std::deque<message::Control> controls_;
    std::unordered_map<ObjectId, std::unique_ptr<StreamState>> streams_;
    std::unique_ptr<Pending> pending_;
    std::vector<StreamState*> touched_;  // have records in the pending entry

    bool leading_ = false, recovered_ = false, stopping_ = false;
    std::atomic<bool> ready_{false}, idle_{true}, disk_full_{false};
    Term term_;
    LogIndex next_index_;  // of the pending entry
    LogIndex committed_, applied_;
    std::deque<std::pair<LogIndex, std::uint64_t>> unapplied_;  // proposed entries and their bytes
    std::uint64_t unapplied_bytes_ = 0;
    std::deque<std::pair<LogIndex, std::uint64_t>>
        unsealed_ids_;  // dedup ids of proposed entries that no run holds yet
    std::uint64_t unsealed_id_count_ = 0, pending_ids_ = 0;
    std::int64_t counts_since_us_ = -1;  // since when counts wait without an entry
    std::int64_t next_expiry_us_ = 0;
    bool expiry_paused_ = false;
    std::int64_t next_tick_ms_ = INT64_MAX;  // the least of the streams' tick_due_ms
    std::int64_t next_share_us_ = 0;
};

}  // namespace weir::replica
