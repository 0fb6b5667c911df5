// One node in a simulated world: the real write-ahead log, consensus, admission, apply and SQLite on a disk that loses,
// tears and reorders what was not flushed; power cuts at any operation; one seed = one history, bit for bit.
//
// World is what outlives a process, Node is one life of it: the state machines of replica/ and apply/ with queues
// between them, driven by hand. Guard names what a test takes away to see that the simulation misses it.
#pragma once

#include "apply/applier.h"
#include "base/prng.h"
#include "log/wal.h"
#include "os/clock.h"
#include "os/sim_disk.h"
#include "replica/admission.h"
#include "replica/flusher.h"
#include "replica/raft_loop.h"
#include "stream/state_store.h"
#include "support/lying_disk.h"
#include "support/sim_vfs.h"

#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

namespace weir::sim {

enum class Guard {
    none,                // nothing is taken away
    wal_flush,           // the write-ahead log's fdatasync
    segment_flush,       // the checkpoint's fdatasync of segments ...
    journal_flush,       // ... of journals
    run_flush,           // ... of dedup runs
    sqlite_flush,        // ... of SQLite's log
    state_flush,         // ... of the state store
    folder_flush,        // names of new files: fdatasync of folders
    files_before_state,  // the state store is committed after the files are synced
    state_before_cut,    // the write-ahead log is cut after the state store is committed
    flush_before_answer,
    ids_above_the_runs,        // recovery tells admission the ids that no run holds yet
    ids_in_the_runs,           // a checkpoint hands its runs to admission
    checkpoint_before_unlink,  // a run's file goes after a checkpoint that does not list it
    unlink,                    // run files that nothing lists are removed
};

constexpr const char* data_dir = "d";
constexpr const char* wal_dir = "d/wal";
constexpr const char* shard_dir = "d/shards/0";

struct World {
    Prng prng;
    os::SimClock clock;
    os::SimDisk real_disk;
    test::LyingDisk disk;
    test::SimVfs vfs;
    Guard off = Guard::none;
    std::uint64_t cut_at = 0;                        // the power is cut at this operation of the disk; 0: not
    bool dead = false;                               // the process has ended; its parts must be thrown away
    std::string violation;                           // the first claim that did not hold
    std::map<std::uint64_t, std::string> committed;  // index -> entry bytes, as first told
    // What a test may want otherwise.
    std::function<void(replica::AdmissionOptions&, log::WalOptions&, apply::ApplyOptions&)> tune;
    double queue_full_chance = 0.2;  // that queue 2 was full: apply reads the entry back from the write-ahead log
    std::function<void(const std::vector<std::shared_ptr<const dedup::Run>>&)> on_runs;

    World(std::uint64_t seed, os::SimDiskOptions options, Guard guard_off = Guard::none);
    bool power_is_cut() const { return cut_at > 0 && real_disk.operations() >= cut_at; }
    void fail(std::string what) {
        if (violation.empty()) violation = std::move(what);
        dead = true;
    }
    // An error without a power cut is a finding.
    void on_error(const char* where, const Error& error) {
        dead = true;
        if (!power_is_cut()) fail(std::string(where) + ": " + error.detail);
    }
};

struct Node {
    using Answer = std::function<void(replica::IngestOutcome&&)>;

    World& world;
    std::unique_ptr<stream::StateStore> state;
    std::deque<replica::AdmissionMessage> to_admission;
    std::deque<replica::RaftMessage> to_raft;
    std::deque<replica::FlushJob> to_flusher;
    std::deque<log::Committed> to_apply;
    std::deque<apply::CheckpointJob> to_checkpoint;
    std::unique_ptr<replica::Admission> admission;
    std::unique_ptr<replica::RaftLoop> raft;
    std::unique_ptr<replica::Flusher> flusher;
    std::unique_ptr<apply::Applier> applier;
    std::shared_ptr<const apply::Definitions> definitions;

    explicit Node(World& w) : world(w) {}
    Status open();
    // One piece of work; `choice` says whose. False: the process has ended.
    bool step(std::uint64_t choice);
    bool ready() const { return admission->ready() && applier->recovered(); }
    // Nothing is on its way, what is committed is visible, and no view is being built.
    bool quiet() const;
    record::StreamPtr stream() const;
    void send(const std::string& ndjson, Answer answer);
    void control(const log::Section& section, bool alone = false);
    // Takes the catalog's part: proposes the definitions of what is in the catalog and not there yet.
    void define_loose();
    // Steps round robin until quiet. False (and a violation): it does not come to rest.
    bool run_until_quiet(int steps_max = 200'000);
    // A checkpoint of everything applied, and the unlinks that it allows. Quiet before.
    bool checkpoint();

  private:
    Status open_log(log::RecoveredShard& recovered);
    apply::Applier::Outputs applier_outputs();
    void on_committed(log::Committed&& entry);
    void run_checkpoint_job();
    void unlink_too_early(const log::Entry& entry);
};

struct HistoryOptions {
    std::uint64_t seed = 1;
    double survival = 0.5;  // chance that an unsynced sector or name survives a power cut
    int steps = 3000;
    double crash_chance = 0;  // a step
    bool expiry = false;      // hours pass: retention and dedup expiry are at work
    Guard off = Guard::none;
};
struct HistoryResult {
    std::string violation;  // empty: everything held
    std::string tables;     // at the end
    std::uint64_t crashes = 0, views = 0, stored = 0, dead_letters = 0, duplicates = 0;
    std::uint64_t stored_again = 0;  // ids that came back after their bucket was forgotten
    std::uint64_t retained = 0;      // records that retention took
    std::uint64_t runs_expired = 0;  // dedup buckets forgotten by an entry
};
// What must hold after every history: nothing acknowledged is lost; no id is stored twice within WITHIN; each
// acknowledged duplicate points at the stored event; offsets are dense; retention takes nothing that is younger than
// RETAIN; counters add up; files are those that the checkpoint lists; the tables equal those of a replica that applied
// the same committed entries without any crash.
HistoryResult run_history(const HistoryOptions& options);

}  // namespace weir::sim
