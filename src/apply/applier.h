// Committed entries to segments, journals, windows and tables: one after the other, on every replica alike. What apply
// does is a function of the entries alone; it never reads SQLite and never asks a clock for a decision.
//
// One SQLite transaction carries the rows, the log ends, the counters and the applied index, so that a reader's
// snapshot is one index. After a crash the state store stands at L and SQLite at S >= L: from L to S state is rebuilt
// and segments are written again, silently; rows are written from S on.
//
// A state machine without threads: apply() and settle() by the apply thread, run_checkpoint() elsewhere,
// checkpoint_done() here. Owner: the apply thread.
#pragma once

#include "apply/change_notes.h"
#include "apply/checkpoint.h"
#include "apply/view_plan.h"
#include "base/clock.h"
#include "base/ids.h"
#include "base/result.h"
#include "dedup/index.h"
#include "log/committed.h"
#include "log/entry.h"
#include "os/disk.h"
#include "record/stream.h"
#include "store/database.h"
#include "stream/state_store.h"

#include <atomic>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

namespace weir::apply {

// A name as the catalog compares it: SQL does not tell names apart by case, so neither may the catalog.
std::string folded(std::string name);

// What admission has to know of a stream.
struct StreamFacts {
    record::StreamPtr stream;
    std::vector<std::int64_t> end_offsets;
    std::int64_t dead_end_offset = 0;
    std::vector<std::shared_ptr<const dedup::Run>> runs;
    std::vector<dedup::RunEntry> recent;  // ids newer than the runs
    LogIndex recent_index;
    std::int64_t oldest_append_ms = INT64_MAX;  // last append of the oldest segment
    std::int64_t oldest_bucket = INT64_MAX;
    std::int64_t bytes = 0;
};

// What there is, for the catalog. Immutable once handed out.
struct Definitions {
    struct View {
        ObjectId id;
        std::string name;
        ObjectId stream;
        std::string statement;
        std::string state;
    };
    struct Loose {  // a catalog entry whose other half is not there (yet, or any more)
        ObjectId id;
        log::ObjectKind kind = log::ObjectKind::stream;
        std::string name;
        std::string statement;
        bool dropping = false;
    };
    LogIndex index;
    std::vector<record::StreamPtr> streams;
    std::vector<View> views;
    std::vector<Loose> loose;
};

struct ApplyOptions {
    ShardId shard;
    std::string dir;  // of the shard: view.db, streams/
    std::string wal_dir;
    store::DatabaseOptions database;
    log::PartitionOptions partition;
    std::size_t dedup_memory = 128u << 20;
    std::int64_t rows_every_us = 20'000;  // between SQLite transactions
    std::int64_t checkpoint_every_us = 5'000'000;
    std::uint64_t checkpoint_dirty_bytes = 32u << 20;
    std::int64_t unlink_after_us = 15'000'000;  // the longest read deadline: readers may still hold the list of files
    LogIndex last_at_start;                     // the log's end at the start: until it is applied nobody may read
    std::uint64_t disk_min_bytes = 0;           // less free: rows and checkpoints wait
    std::uint64_t sqlite_log_bytes_max = 256u << 20;  // above: new reads wait until the log can be reset
    LogIndex wal_checkpoint;                          // the checkpoint that the log was cut at
    std::uint64_t groups_max = 10'000'000;
};

struct ApplyCounters {  // read by metrics
    std::atomic<std::uint64_t> entries{0}, records{0}, decoded_again{0}, from_wal{0}, row_commits{0}, rows{0},
        checkpoints{0};
    std::atomic<std::uint64_t> late{0}, checkpoint_us{0}, checkpoint_index{0};
};

class Applier {
  public:
    struct Outputs {
        std::function<void(std::shared_ptr<const Definitions>)> definitions;
        std::function<void(std::vector<StreamFacts>&&)> recovered;  // once
        std::function<void(StreamFacts&&)> stream_defined;
        std::function<void(ObjectId)> stream_dropped;
        std::function<void(LogIndex)> applied;  // after each row commit
        std::function<void()> checkpoint_began;
        std::function<void(StreamFacts&&, LogIndex covered)> runs_adopted;  // recent is empty here
        std::function<void(LogIndex, Term)> checkpointed;
        std::function<void(bool)> hold_readers;               // SQLite's log is too long: new queries wait
        std::function<void(CheckpointJob&&)> run_checkpoint;  // answers with checkpoint_done()
        // A stream's wishes changed: an entry "tick" at this append time or later (INT64_MAX: none), and whether its
        // log must be kept for a view that is being built. Neither decides anything here before it is an entry.
        std::function<void(ObjectId, std::int64_t tick_due_ms, bool keep_log)> stream_needs = {};
        std::function<void(ObjectId)> view_caught_up = {};  // an entry "view live" is due; said again after a start
        std::function<void(StreamFacts&&)> stream_altered = {};  // has another definition; recent is empty here
    };

    // Opens the shard at its checkpoint. Errors: corrupt (says what and what to do), io, disk_full.
    static Result<std::unique_ptr<Applier>> open(ApplyOptions options, os::Disk& disk, Clock& clock,
                                                 stream::StateStore& state, Outputs outputs);
    ~Applier();

    // Applies one entry; entries at or below applied() are skipped. Errors: io, corrupt, disk_full: the process must
    // end.
    Status apply(log::Committed&& entry);
    // Writes what is due: rows, checkpoint, unlinks. Returns microseconds until the next time. `force`: rows now.
    Result<std::int64_t> settle(bool force);
    void checkpoint_done(CheckpointDone&& done);
    void want_checkpoint() { checkpoint_wanted_ = true; }
    void watch(log::Watch&& watch) { changes_.watch(std::move(watch), visible()); }
    bool checkpoint_running() const { return checkpoint_running_; }
    bool checkpoint_is_current() const { return checkpointed_ == applied_; }

    LogIndex applied() const { return applied_; }
    LogIndex visible() const { return LogIndex(visible_.load()); }
    std::int64_t last_append_ms() const { return last_append_ms_; }
    // Of the last entry that came limits::append_gap_ms after the one before it; INT64_MIN: there is none.
    std::int64_t after_gap_ms() const { return after_gap_ms_; }
    bool recovered() const { return recovered_; }
    const ApplyCounters& counters() const { return counters_; }
    // Everything that the log decides, as SQLite has it, as text: equal on every replica and after every replay. For
    // tests and doctor.
    Result<std::string> digest();

  private:
    struct Stream;
    struct View;
    struct PendingLate;
    class Build;

    Applier(ApplyOptions options, os::Disk& disk, Clock& clock, stream::StateStore& state, Outputs outputs);
    Status recover();
    Status recover_streams();
    Status recover_views();
    Status check_parts_agree() const;
    Status check_engine(const std::string& engine) const;
    Status remove_unlisted_files();
    Status open_database();

    Status apply_entry(const log::Entry& entry, const log::EntryBuffer* buffer, std::vector<log::ControlDone>& done);
    Status apply_batch(const log::BatchSection& section, const log::EntryBuffer::Part* part, std::int64_t append_ms);
    Status feed_views(Stream& stream, const log::BatchSection& section, const log::EntryBuffer::Part* part,
                      std::int64_t append_ms);
    Status feed_view(View& view, PartitionNo partition, std::int64_t base_offset, const record::ColumnBatch& columns,
                     std::span<const std::uint32_t> rows, std::int64_t append_ms, std::string_view batch);
    Status decode_batch(const Stream& stream, std::string_view batch, std::int64_t append_ms, record::ColumnBatch& out);
    Status apply_retain(const log::Retain& retain);
    // definitions.cc
    Status put_catalog(const log::CatalogPut& put);
    void drop_catalog(ObjectId id);
    Status define_stream(const log::DefineStream& define, std::int64_t append_ms);
    Status alter_stream(Stream& stream, const log::DefineStream& define);
    void change_within(Stream& stream, std::int64_t from_ms, std::int64_t to_ms);
    Status define_view(const log::DefineView& define, std::int64_t append_ms);
    View* view_named(const std::string& name) const;
    Status check_replaceable(const View& view, const Stream& stream, const sql::CreateView& create) const;
    Status drop_stream(ObjectId id, bool with_views);
    Status drop_view(ObjectId id);
    Status apply_tick(Stream& stream, std::int64_t append_ms);
    Status apply_flush(View& view);
    Status apply_view_live(View& view);
    Status run_builds();
    void count_builds();
    void tell_needs(Stream& stream);
    void stop_view(View& view, std::string why);

    Status flush_logs();
    Status commit_rows(bool durable);
    Status write_rows();
    Status begin_rows();
    Status spill_late();
    Status write_stream_rows(Stream& stream);
    Status write_view_rows(View& view);
    Status write_windows(View& view);
    Status begin_checkpoint();
    bool has_room();
    void touch(Stream& stream);
    StreamFacts facts_of(const Stream& stream, bool with_recent) const;
    StreamRecord record_of(const Stream& stream) const;
    std::size_t kept_run_bytes() const;
    void publish_definitions();
    void drop_late_rows(const Stream& stream, PartitionNo partition, std::int64_t start_offset);
    log::PartitionOptions partition_options(const record::Stream& stream) const;
    log::JournalOptions journal_options(const record::Stream& stream) const;
    void unlink_later(std::vector<std::string> paths, bool tree);
    // Replay below SQLite's index is silent. A view that is being built may have rows where nothing was replayed.
    bool writes_rows() const { return applied_ > rows_index_ || recovered_; }

    ApplyOptions options_;
    os::Disk& disk_;
    Clock& clock_;
    stream::StateStore& state_;
    Outputs outputs_;
    std::unique_ptr<store::Database> database_;
    ApplyCounters counters_;
    ChangeNotes changes_;

    std::map<ObjectId, std::unique_ptr<Stream>> streams_;
    std::map<ObjectId, std::unique_ptr<View>> views_;
    std::map<ObjectId, CatalogRecord> catalog_;
    std::map<std::string, ObjectId, std::less<>> names_;  // of catalog_
    std::vector<Stream*> touched_;                        // since the last row commit
    std::vector<ObjectId> catalog_changed_;               // since the last checkpoint
    std::vector<ObjectId> dropped_views_;                 // likewise
    std::vector<stream::StateChange> removed_;            // keys to delete at the next checkpoint

    LogIndex applied_, rows_index_, checkpointed_;  // rows_index_: SQLite's at the start (S)
    Term applied_term_;
    std::int64_t last_append_ms_ = INT64_MIN, after_gap_ms_ = INT64_MIN;
    std::atomic<std::uint64_t> visible_{0};
    bool recovered_ = false, definitions_changed_ = true;
    std::vector<std::function<Status()>> row_changes_;  // definition changes for the next row commit
    std::vector<PendingLate> late_;
    std::size_t late_bytes_ = 0;
    bool readers_held_ = false;
    bool had_room_ = true;
    bool in_transaction_ = false;  // late rows were spilled: the next row commit closes it
    std::vector<std::pair<LogIndex, std::vector<std::pair<log::ControlDone, Status>>>>
        answers_;                                                // told after the next row commit
    std::vector<std::shared_ptr<const log::EntryBuffer>> held_;  // bytes that queued appends point into
    std::vector<std::shared_ptr<std::string>> held_strings_;
    std::size_t held_bytes_ = 0;
    std::int64_t last_rows_us_ = 0, last_checkpoint_us_ = 0;
    bool unsettled_ = false, checkpoint_wanted_ = false, checkpoint_running_ = false;
    std::uint64_t recent_ids_ = 0;
    std::int64_t next_build_us_ = 0;  // when a view that is being built may go on
    std::size_t builds_ = 0;          // views that have not told that they caught up
    bool busy_ = false;               // an entry was applied since the last slice of a build
    struct Unlink {
        std::int64_t due_us = 0;
        LogIndex after;  // once a checkpoint at or past this index is durable
        std::string path;
        bool tree = false;
    };
    std::deque<Unlink> unlinks_;
    std::unique_ptr<store::Statement> put_applied_, put_ends_, put_journal_, put_counters_, put_view_, put_watermark_,
        put_window_, delete_window_;
    record::ColumnBatch scratch_;
};

}  // namespace weir::apply
