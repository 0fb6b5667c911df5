#include "cluster/local_shard.h"

#include "base/check.h"
#include "base/limits.h"
#include "obs/log.h"
#include "os/inbox.h"
#include "os/progress.h"
#include "os/thread.h"
#include "replica/admission.h"
#include "replica/flusher.h"
#include "replica/raft_loop.h"

#include <atomic>
#include <cstdlib>
#include <thread>
#include <utility>
#include <variant>

namespace weir::cluster {
namespace {

struct CheckpointFinished {
    apply::CheckpointDone done;
};
struct WantCheckpoint {};
using ApplyMessage = std::variant<log::Committed, CheckpointFinished, WantCheckpoint, log::Watch>;

constexpr std::chrono::milliseconds drain_max{5'000};
constexpr std::chrono::milliseconds final_checkpoint_max{20'000};

// A disk error: exit code 74 at once, so that nothing is acknowledged after it. The log replays what was durable.
[[noreturn]] void end_process(const char* what, const Error& error) {
    obs::log(obs::Level::error, "disk_error",
             {{"what", what},
              {"code", errc_name(error.code)},
              {"error", error.detail},
              {"errno", std::to_string(error.os_errno)}});
    std::_Exit(74);
}

replica::StreamAdmission admission_of(apply::StreamFacts&& facts) {
    replica::StreamAdmission admission;
    admission.stream = std::move(facts.stream);
    admission.end_offsets = std::move(facts.end_offsets);
    admission.dead_end_offset = facts.dead_end_offset;
    admission.runs = std::move(facts.runs);
    admission.recent = std::move(facts.recent);
    admission.recent_index = facts.recent_index;
    admission.oldest_append_ms = facts.oldest_append_ms;
    admission.oldest_bucket = facts.oldest_bucket;
    return admission;
}

class Shard final : public LocalShard {
  public:
    Shard(LocalShardOptions options, os::Disk& disk, Clock& clock)
        : options_(std::move(options)),
          disk_(disk),
          clock_(clock),
          dir_(options_.data_dir + "/shards/" + std::to_string(options_.shard.value)),
          wal_dir_(options_.data_dir + "/wal"),
          request_inbox_(options_.inbox_bytes_max),
          admission_inbox_(SIZE_MAX),
          raft_inbox_(SIZE_MAX),
          flusher_inbox_(SIZE_MAX),
          apply_inbox_(options_.apply_queue_bytes_max),
          checkpoint_inbox_(SIZE_MAX) {}

    ~Shard() override { stop(); }

    Status open(obs::Metrics& metrics, std::function<void(std::shared_ptr<const apply::Definitions>)> on_definitions);
    void start() override;
    void stop() override;

    ShardId id() const override { return options_.shard; }
    bool submit(replica::IngestRequest&& request) override {
        const std::size_t bytes = request.body.size() + request.events->raw.size() * 100 + 1;
        if (request_inbox_.post(std::move(request), bytes)) return true;
        turned_away_.fetch_add(1, std::memory_order_relaxed);
        return false;
    }
    bool propose(replica::Control&& control) override {
        replica::message::Control message;
        message.section = std::move(control.section);
        message.applied = std::move(control.applied);
        message.alone = control.gives_id;
        return admission_inbox_.post(std::move(message));
    }
    std::int64_t append_clock_ms() const override { return admission_->append_clock().published_ms(); }
    record::FingerprintKey fingerprint_key() const override { return options_.fingerprint_key; }
    bool ready() const override { return admission_->ready(); }
    bool disk_full() const override { return admission_->disk_full(); }
    LogIndex committed() const override { return raft_->committed(); }
    LogIndex visible() const override { return LogIndex(visible_.value()); }
    bool wait_visible(LogIndex index, std::chrono::milliseconds timeout) override {
        return visible_.wait_for(index.value, timeout);
    }
    void watch(log::Watch&& watch) override { (void)apply_inbox_.post(ApplyMessage(std::move(watch))); }
    std::string data_dir() const override { return dir_; }

  private:
    void admission_thread();
    void raft_thread();
    void flusher_thread();
    void apply_thread();
    void checkpoint_thread();
    void register_metrics(obs::Metrics& metrics);

    LocalShardOptions options_;
    os::Disk& disk_;
    Clock& clock_;
    std::string dir_, wal_dir_;

    os::Inbox<replica::IngestRequest> request_inbox_;       // queue 1
    os::Inbox<replica::AdmissionMessage> admission_inbox_;  // what the shard's own threads tell admission
    os::Inbox<replica::RaftMessage> raft_inbox_;
    os::Inbox<replica::FlushJob> flusher_inbox_;
    os::Inbox<ApplyMessage> apply_inbox_;
    os::Inbox<apply::CheckpointJob> checkpoint_inbox_;
    os::Progress visible_;
    std::atomic<std::uint64_t> turned_away_{0};  // by queue 1
    std::atomic<bool> recovered_{false}, finish_{false}, checkpoint_current_{false};
    bool started_ = false, stopped_ = false;

    std::unique_ptr<stream::StateStore> state_;
    std::unique_ptr<replica::Admission> admission_;
    std::unique_ptr<replica::Flusher> flusher_;
    std::unique_ptr<replica::RaftLoop> raft_;
    std::unique_ptr<apply::Applier> applier_;
    obs::Histogram flush_seconds_;

    std::jthread threads_[5];
};

Status Shard::open(obs::Metrics& metrics,
                   std::function<void(std::shared_ptr<const apply::Definitions>)> on_definitions) {
    TRY(disk_.make_dirs(dir_));
    request_inbox_.set_wake([this] { admission_inbox_.interrupt(); });
    flush_seconds_ = metrics.histogram("weir_wal_flush_seconds", "Time of one fdatasync of the write-ahead log.",
                                       {0.0001, 0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.5, 1, 5});
    auto wal = TRY(log::Wal::open(disk_, wal_dir_, options_.wal));
    state_ = TRY(stream::open_lmdb(dir_ + "/state", options_.state_map_bytes));

    replica::AdmissionOptions admission;
    admission.shard = options_.shard;
    admission.dedup_memory = options_.dedup_memory;
    admission.apply_lag_bytes = options_.apply_lag_bytes;
    admission_ = std::make_unique<replica::Admission>(
        admission, clock_,
        replica::Admission::Outputs{[this](replica::Proposal&& proposal) {
                                        (void)raft_inbox_.post(replica::message::Propose{std::move(proposal)});
                                    },
                                    [this](LogIndex index, replica::Waiter&& waiter) {
                                        (void)raft_inbox_.post(replica::message::WaitOn{index, std::move(waiter)});
                                    },
                                    [](const Error& error) { end_process("dedup index", error); }});

    replica::RaftLoop::Options raft{options_.shard, options_.incarnation, options_.seed};
    log::RecoveredShard recovered;
    if (const auto it = wal->recovered().find(options_.shard); it != wal->recovered().end()) recovered = it->second;
    wal->forget_recovered();
    raft_ = TRY(replica::RaftLoop::start(
        raft, clock_, disk_, wal_dir_, recovered,
        replica::RaftLoop::Outputs{
            [this](replica::FlushJob&& job) { (void)flusher_inbox_.post(std::move(job)); },
            [this](log::Committed&& entry) {
                const std::size_t bytes = entry.buffer ? entry.buffer->bytes + entry.buffer->carried_bytes : 0;
                ApplyMessage message(std::move(entry));
                if (apply_inbox_.post(std::move(message), bytes)) return;
                // Queue 2 is full: apply reads this one from the write-ahead log when it gets there.
                auto& late = std::get<log::Committed>(message);
                late.buffer.reset();
                (void)apply_inbox_.post(std::move(message));
            },
            [this](replica::AdmissionMessage&& message) { (void)admission_inbox_.post(std::move(message)); }}));
    const LogIndex wal_checkpoint = recovered.start.checkpoint_index;
    recovered = {};

    flusher_ = std::make_unique<replica::Flusher>(
        std::move(wal), disk_, options_.data_dir, options_.disk_reserve_bytes, clock_,
        replica::Flusher::Outputs{
            [this](ShardId, replica::message::Persisted&& told) { (void)raft_inbox_.post(std::move(told)); },
            [this](bool full) { (void)admission_inbox_.post(replica::message::DiskState{full}); },
            [this](ShardId) { (void)apply_inbox_.post(WantCheckpoint{}); },
            [this](std::int64_t us) { flush_seconds_.observe(static_cast<double>(us) / 1e6); },
            [](const Error& error) { end_process("write-ahead log", error); }});

    apply::ApplyOptions apply;
    apply.shard = options_.shard;
    apply.dir = dir_;
    apply.wal_dir = wal_dir_;
    apply.dedup_memory = options_.dedup_memory;
    apply.last_at_start = raft_->last_at_start();
    apply.wal_checkpoint = wal_checkpoint;
    apply.disk_min_bytes = options_.disk_reserve_bytes / 6;
    apply.checkpoint_every_us = options_.checkpoint_every_us;
    apply.sqlite_log_bytes_max = options_.sqlite_log_bytes_max;
    applier_ = TRY(apply::Applier::open(
        apply, disk_, clock_, *state_,
        apply::Applier::Outputs{
            std::move(on_definitions),
            [this](std::vector<apply::StreamFacts>&& facts) {
                replica::message::Recovered recovered_message;
                recovered_message.last_append_ms = applier_->last_append_ms();
                recovered_message.after_gap_ms = applier_->after_gap_ms();
                for (auto& stream : facts)
                    recovered_message.streams.push_back(admission_of(std::move(stream)));
                (void)admission_inbox_.post(std::move(recovered_message));
            },
            [this](apply::StreamFacts&& facts) {
                (void)admission_inbox_.post(replica::message::StreamDefined{admission_of(std::move(facts))});
            },
            [this](ObjectId gone) { (void)admission_inbox_.post(replica::message::StreamDropped{gone}); },
            [this](LogIndex index) {
                visible_.advance(index.value);
                (void)admission_inbox_.post(replica::message::AppliedUpTo{index});
            },
            [this] { (void)admission_inbox_.post(replica::message::CheckpointBegan{}); },
            [this](apply::StreamFacts&& facts, LogIndex covered) {
                replica::message::RunsAdopted adopted;
                adopted.stream = facts.stream->id;
                adopted.runs = std::move(facts.runs);
                adopted.covered = covered;
                adopted.oldest_append_ms = facts.oldest_append_ms;
                adopted.oldest_bucket = facts.oldest_bucket;
                adopted.bytes = facts.bytes;
                (void)admission_inbox_.post(std::move(adopted));
            },
            [this](LogIndex index, Term term) {
                (void)raft_inbox_.post(replica::message::Checkpointed{index, term});
            },
            [this](bool on) {
                if (options_.hold_readers) options_.hold_readers(on);
            },
            [this](apply::CheckpointJob&& job) { (void)checkpoint_inbox_.post(std::move(job)); },
            [this](ObjectId stream, std::int64_t tick_due_ms, bool keep_log) {
                (void)admission_inbox_.post(replica::message::StreamNeeds{stream, tick_due_ms, keep_log});
            },
            [this](ObjectId view) {
                replica::message::Control live;
                live.section = log::encode_section(log::ViewLive{view});
                live.applied = [](LogIndex, const Status&) {};
                live.alone = true;  // the build reads whole entries
                (void)admission_inbox_.post(std::move(live));
            },
            [this](apply::StreamFacts&& facts) {
                (void)admission_inbox_.post(replica::message::StreamAltered{admission_of(std::move(facts))});
            }}));
    register_metrics(metrics);
    return {};
}

void Shard::start() {
    started_ = true;
    threads_[0] = os::start_thread("weir-apply", [this] { apply_thread(); });
    threads_[1] = os::start_thread("weir-checkpoint", [this] { checkpoint_thread(); });
    threads_[2] = os::start_thread("weir-flusher", [this] { flusher_thread(); });
    threads_[3] = os::start_thread("weir-raft", [this] { raft_thread(); });
    threads_[4] = os::start_thread("weir-admission", [this] { admission_thread(); });
}

void Shard::admission_thread() {
    std::vector<replica::AdmissionMessage> messages;
    std::vector<replica::IngestRequest> requests;
    std::int64_t wait_us = 0;
    while (!finish_) {
        admission_inbox_.wait_for(std::chrono::microseconds(wait_us));
        // Requests are taken out before messages and looked at after them: a stream is told here before the catalog
        // shows it, so whatever a request speaks of has been told by then. The other way round the first request to a
        // new stream could be answered that there is none.
        // What admission cannot use yet stays in the queue, so that its bound in bytes holds.
        const bool had_backlog = admission_->has_backlog();
        requests.clear();
        if (!had_backlog) request_inbox_.drain(requests);
        messages.clear();
        admission_inbox_.drain(messages);
        for (auto& message : messages)
            admission_->on_message(std::move(message));
        for (auto& request : requests)
            admission_->on_message(std::move(request));
        wait_us = admission_->step();
        if (had_backlog && !admission_->has_backlog()) wait_us = 0;  // what was left in the queue may come now
    }
}

void Shard::raft_thread() {
    std::vector<replica::RaftMessage> messages;
    std::int64_t wait_us = 0;
    while (!finish_) {
        raft_inbox_.wait_for(std::chrono::microseconds(wait_us));
        messages.clear();
        raft_inbox_.drain(messages);
        for (auto& message : messages)
            raft_->on_message(std::move(message));
        wait_us = raft_->step();
    }
}

void Shard::flusher_thread() {
    std::vector<replica::FlushJob> jobs;
    std::int64_t wait_us = 0;
    while (!finish_) {
        flusher_inbox_.wait_for(std::chrono::microseconds(wait_us));
        jobs.clear();
        flusher_inbox_.drain(jobs);
        for (auto& job : jobs)
            flusher_->on_job(std::move(job));
        wait_us = flusher_->step();
    }
}

void Shard::apply_thread() {
    std::vector<ApplyMessage> messages;
    std::int64_t wait_us = 0;
    while (!finish_) {
        apply_inbox_.wait_for(std::chrono::microseconds(wait_us));
        messages.clear();
        apply_inbox_.drain(messages);
        for (auto& message : messages) {
            if (auto* entry = std::get_if<log::Committed>(&message)) {
                const auto applied = applier_->apply(std::move(*entry));
                if (!applied) end_process("apply", applied.error());
                // Rows are due every few ms however many entries are waiting.
                const auto settled = applier_->settle(false);
                if (!settled) end_process("apply", settled.error());
            } else if (auto* finished = std::get_if<CheckpointFinished>(&message)) {
                applier_->checkpoint_done(std::move(finished->done));
            } else if (auto* watch = std::get_if<log::Watch>(&message)) {
                applier_->watch(std::move(*watch));
            } else {
                applier_->want_checkpoint();
            }
        }
        const auto settled = applier_->settle(false);
        if (!settled) end_process("apply", settled.error());
        checkpoint_current_ = applier_->checkpoint_is_current();
        recovered_ = applier_->recovered();
        wait_us = settled.value();
    }
}

void Shard::checkpoint_thread() {
    std::vector<apply::CheckpointJob> jobs;
    while (!finish_) {
        checkpoint_inbox_.wait_for(std::chrono::seconds(1));
        jobs.clear();
        checkpoint_inbox_.drain(jobs);
        for (auto& job : jobs) {
            auto done = apply::run_checkpoint(disk_, *state_, std::move(job));
            if (!done) end_process("checkpoint", done.error());
            (void)apply_inbox_.post(CheckpointFinished{std::move(done).value()});
        }
    }
}

void Shard::stop() {
    if (!started_ || stopped_) return;
    stopped_ = true;
    (void)admission_inbox_.post(replica::message::Stop{});
    // In small steps: the condition is another thread's, and a stop is not a hot path.
    auto wait_until = [this](auto condition, std::chrono::milliseconds most) {
        const std::int64_t until_us = clock_.monotonic_us() + most.count() * 1000;
        os::Progress never;
        while (!condition() && clock_.monotonic_us() < until_us)
            (void)never.wait_for(1, std::chrono::milliseconds(2));
    };
    // A shard that is still reading its log took nothing, and its checkpoint is the one it started from.
    if (recovered_) {
        wait_until(
            [this] {
                return !admission_->ready() && admission_->idle() && visible_.value() >= raft_->committed().value;
            },
            drain_max);
        (void)apply_inbox_.post(WantCheckpoint{});
        wait_until([this] { return checkpoint_current_.load(); }, final_checkpoint_max);
    }
    finish_ = true;
    admission_inbox_.interrupt();
    raft_inbox_.interrupt();
    flusher_inbox_.interrupt();
    apply_inbox_.interrupt();
    checkpoint_inbox_.interrupt();
    for (auto& thread : threads_) {
        if (thread.joinable()) thread.join();
    }
}

void Shard::register_metrics(obs::Metrics& metrics) {
    auto one = [&metrics](const char* name, const char* help, bool is_counter, auto read) {
        metrics.on_scrape(name, help, is_counter, [read] {
            return std::vector<obs::Metrics::Sample>{{{}, static_cast<double>(read())}};
        });
    };
    const auto& admission = admission_->counters();
    const auto& flusher = flusher_->counters();
    const auto& apply = applier_->counters();
    metrics.on_scrape("weir_events_total", "Events that were answered, by what became of them.", true, [&admission] {
        auto sample = [](const char* result, std::uint64_t value) {
            return obs::Metrics::Sample{{{"result", result}}, static_cast<double>(value)};
        };
        return std::vector<obs::Metrics::Sample>{
            sample("stored", admission.accepted), sample("duplicate", admission.duplicates),
            sample("dead_lettered", admission.dead_lettered), sample("refused", admission.refused)};
    });
    one("weir_entries_total", "Entries proposed to consensus.", true,
        [&admission] { return admission.entries.load(); });
    one("weir_entry_bytes_total", "Bytes of the entries proposed.", true,
        [&admission] { return admission.entry_bytes.load(); });
    one("weir_requests_turned_away_total",
        "Ingest requests that queue 1 or admission turned away; nothing of them was stored.", true,
        [this, &admission] { return turned_away_.load() + admission.busy.load(); });
    one("weir_idempotent_replays_total", "Requests whose Idempotency-Key was known: answered again, nothing done.",
        true, [&admission] { return admission.answered_again.load(); });
    one("weir_dedup_memory_bytes", "Memory of the dedup index: tables, filters and fences.", false,
        [&admission] { return admission.dedup_memory_bytes.load(); });
    one("weir_dedup_table_ids", "Dedup ids that are newer than the runs on disk.", false,
        [&admission] { return admission.dedup_table_ids.load(); });
    one("weir_wal_flushes_total", "fdatasync calls of the write-ahead log.", true,
        [&flusher] { return flusher.flushes.load(); });
    one("weir_wal_bytes_total", "Bytes written to the write-ahead log.", true,
        [&flusher] { return flusher.bytes.load(); });
    one("weir_wal_bytes_in_use", "Write-ahead log files that may not be reused yet.", false,
        [&flusher] { return flusher.wal_bytes.load(); });
    one("weir_disk_full", "1 while the disk is below its reserve and events are turned away.", false,
        [&flusher] { return flusher.disk_full.load() ? 1 : 0; });
    one("weir_applied_entries_total", "Entries applied.", true, [&apply] { return apply.entries.load(); });
    one("weir_applied_records_total", "Records applied, dead letters included.", true,
        [&apply] { return apply.records.load(); });
    one("weir_apply_entries_from_wal_total", "Entries that apply read back from the write-ahead log.", true,
        [&apply] { return apply.from_wal.load(); });
    one("weir_apply_records_decoded_again_total", "Records decoded again because their columns were not carried.", true,
        [&apply] { return apply.decoded_again.load(); });
    one("weir_row_commits_total", "SQLite transactions of view rows.", true,
        [&apply] { return apply.row_commits.load(); });
    one("weir_view_rows_written_total", "View rows written.", true, [&apply] { return apply.rows.load(); });
    one("weir_late_events_total", "Events late for a window.", true, [&apply] { return apply.late.load(); });
    one("weir_checkpoints_total", "Checkpoints made.", true, [&apply] { return apply.checkpoints.load(); });
    one("weir_committed_index", "Highest committed log index.", false, [this] { return raft_->committed().value; });
    one("weir_visible_index", "Highest log index that queries see.", false, [this] { return visible_.value(); });
    one("weir_apply_lag_entries", "Entries that are committed and that queries do not see yet.", false, [this] {
        const std::uint64_t visible = visible_.value(), committed = raft_->committed().value;
        return committed > visible ? committed - visible : 0;
    });
    one("weir_append_clock_alert",
        "1 while the wall clock is an hour away from the append clock, or after a gap of 30 days.", false,
        [this] { return admission_->append_clock().alert() ? 1 : 0; });
    one("weir_admission_queue_bytes", "Bytes waiting in queue 1.", false, [this] { return request_inbox_.bytes(); });
    one("weir_apply_queue_bytes", "Bytes waiting in queue 2.", false, [this] { return apply_inbox_.bytes(); });
}

}  // namespace

Result<std::unique_ptr<LocalShard>> LocalShard::open(
    LocalShardOptions options, os::Disk& disk, Clock& clock, obs::Metrics& metrics,
    std::function<void(std::shared_ptr<const apply::Definitions>)> on_definitions) {
    auto shard = std::make_unique<Shard>(std::move(options), disk, clock);
    TRY(shard->open(metrics, std::move(on_definitions)));
    return std::unique_ptr<LocalShard>(std::move(shard));
}

}  // namespace weir::cluster
