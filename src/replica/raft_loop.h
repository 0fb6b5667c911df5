// The raft loop: drives consensus, hands what must be durable to the flusher, and tells everybody what is committed. It
// does no I/O and takes no page fault of the dedup index: a slow look-up must not cost an election. A state machine
// without threads (see admission.h). Owner: the raft loop's thread.
#pragma once

#include "base/clock.h"
#include "base/ids.h"
#include "consensus/group.h"
#include "log/committed.h"
#include "log/wal.h"
#include "replica/admission.h"

#include <atomic>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <variant>
#include <vector>

namespace weir::replica {

// What the flusher has to make durable, in this order.
struct FlushJob {
    ShardId shard;
    bool hard_state = false;  // a shard start: term, vote, checkpoint
    log::ShardStart start;
    struct Item {
        LogIndex index;
        Term term;
        std::uint8_t entry_type = 0;
        std::shared_ptr<const log::EntryBuffer> buffer;  // commands
        std::string own;                                 // consensus' own entries
    };
    std::vector<Item> items;
};

namespace message {
struct Propose {
    Proposal proposal;
};
struct WaitOn {
    LogIndex index;
    Waiter waiter;
};
struct Persisted {  // the flusher
    LogIndex index;
    std::vector<std::pair<LogIndex, log::WalPlace>> places;
};
struct Checkpointed {  // apply: everything up to here is in the checkpoint
    LogIndex index;
    Term term;
};
}  // namespace message

using RaftMessage = std::variant<message::Propose, message::WaitOn, message::Persisted, message::Checkpointed>;

class RaftLoop {
  public:
    struct Outputs {
        std::function<void(FlushJob&&)> flush;              // to the flusher
        std::function<void(log::Committed&&)> committed;    // to the apply inbox (queue 2)
        std::function<void(AdmissionMessage&&)> admission;  // to admission
    };
    struct Options {
        ShardId shard;
        std::uint64_t incarnation = 1;  // of a shard that is made now
        std::uint64_t seed = 1;
    };
    // `recovered`: what the write-ahead log holds of this shard.
    // Errors: corrupt (a hole in the log, an unreadable membership).
    static Result<std::unique_ptr<RaftLoop>> start(Options options, Clock& clock, os::Disk& disk,
                                                   const std::string& wal_dir, const log::RecoveredShard& recovered,
                                                   Outputs outputs);

    void on_message(RaftMessage&& message);
    // Fires timers. Returns microseconds until the next one.
    std::int64_t step();

    LogIndex committed() const { return LogIndex(committed_.load()); }
    bool leads() const { return leads_; }
    // The last entry that the log held at the start: reads wait until it is applied.
    LogIndex last_at_start() const { return last_at_start_; }

  private:
    RaftLoop(Options options, Clock& clock, Outputs outputs)
        : options_(options), clock_(clock), outputs_(std::move(outputs)) {}
    std::uint64_t now_ms();
    void carry_out(consensus::Effects&& effects, const std::shared_ptr<const log::EntryBuffer>& command);
    void deliver_committed(LogIndex up_to);

    struct InFlight {
        LogIndex index;
        Term term;
        bool is_command = true;
        std::shared_ptr<const log::EntryBuffer> buffer;
        log::WalPlace place;
        std::vector<Waiter> waiters;
        std::vector<log::ControlDone> controls;
    };

    Options options_;
    Clock& clock_;
    Outputs outputs_;
    std::unique_ptr<consensus::Group> group_;
    log::ShardStart start_;
    std::deque<InFlight> in_flight_;  // appended, not yet committed, by index
    std::atomic<std::uint64_t> committed_{0};
    std::atomic<bool> leads_{false};
    bool leading_told_ = false;
    LogIndex last_at_start_;
};

}  // namespace weir::replica
