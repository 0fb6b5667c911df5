#include "apply/checkpoint.h"

#include "base/prng.h"
#include "dedup/run.h"
#include "os/sim_disk.h"
#include "support/lying_disk.h"
#include "support/power_cut.h"
#include "support/sim_state_store.h"
#include "support/sync_vfs.h"
#include "unit/apply/bench.h"

#include <algorithm>
#include <string>
#include <vector>

namespace weir::apply {
namespace {

StreamRecord a_record() {
    StreamRecord record;
    record.version = 3;
    record.name = "s";
    record.statement = "CREATE STREAM s (a TEXT)";
    record.created_at_ms = 77;
    record.partitions.resize(2);
    record.partitions[1].end_offset = 9;
    record.partitions[1].segments.push_back({0, 100, 40, 1, 2, 3});
    record.counters = {1, 2, 3, 4};
    record.runs = {{5, 6, 7}};
    record.next_run = 8;
    record.expired_bucket = -9;
    return record;
}

}  // namespace

TEST_CASE("checkpoint records come back as they were") {
    const auto record = a_record();
    const auto read = StreamRecord::decode(record.encode());
    REQUIRE(read.has_value());
    CHECK(read.value().encode() == record.encode());
    CHECK(read.value().partitions[1].segments[0].log_bytes == 100);
    CHECK(read.value().runs[0].count == 7);

    AppliedRecord applied{LogIndex(5), Term(6), 7, "3.40.1", 6};
    CHECK(AppliedRecord::decode(applied.encode()).value().append_time_ms == 7);
    CHECK(AppliedRecord::decode(applied.encode()).value().after_gap_ms == 6);
    ViewRecord view{{ShardId(0), LogIndex(3)}, "v", "text", 4, "live"};
    CHECK(ViewRecord::decode(view.encode()).value().state == "live");
    CatalogRecord entry{log::ObjectKind::view, "v", "text", true};
    CHECK(CatalogRecord::decode(entry.encode()).value().was_defined);
}

TEST_CASE("a checkpoint record that is cut is corrupt") {
    // `older`: bytes at the end that records of an earlier version lack, and that may be absent as a whole.
    auto f = [](const std::string& bytes, auto decode, std::size_t older = 0) {
        for (std::size_t n = 0; n < bytes.size(); n++)
            CHECK(decode(std::string_view(bytes).substr(0, n)).has_value() == (older > 0 && n == bytes.size() - older));
    };
    f(a_record().encode(), &StreamRecord::decode, 16 + 8 * a_record().partitions.size());
    f(AppliedRecord{}.encode(), &AppliedRecord::decode, 8);
    f(ViewRecord{}.encode(), &ViewRecord::decode, 8);
    f(CatalogRecord{}.encode(), &CatalogRecord::decode);
}

TEST_CASE("a checkpoint writes runs and then lists them; merged runs are told as replaced") {
    os::SimDisk disk(1, {});
    auto state = stream::make_memory_store();
    REQUIRE(disk.make_dirs("s").has_value());
    std::vector<std::shared_ptr<const dedup::Run>> runs;
    std::uint64_t next_run = 1, replaced = 0;
    for (std::uint64_t round = 0; round < 12; round++) {
        CheckpointJob job;
        job.applied = {LogIndex(round + 1), Term(1), 0, "3"};
        StreamRuns stream;
        stream.id = {ShardId(0), LogIndex(1)};
        stream.dir = "s/dedup";
        stream.runs = runs;
        stream.record = a_record();
        stream.record.next_run = next_run;
        StreamRuns::NewIds ids;
        ids.bucket = 1;
        for (std::uint64_t i = 0; i < 10; i++)
            ids.entries.push_back({{round * 10 + i, 1}, dedup::Place::of(0, static_cast<std::int64_t>(i))});
        stream.fresh.push_back(std::move(ids));
        job.streams.push_back(std::move(stream));
        auto done = run_checkpoint(disk, *state, std::move(job));
        REQUIRE(done.has_value());
        runs = done.value().streams.at(0).runs;
        next_run = done.value().streams.at(0).next_run;
        replaced += done.value().replaced_runs.size();
        CHECK(runs.size() <= dedup::runs_per_bucket_max);
        const auto stored = state->get(object_key('s', {ShardId(0), LogIndex(1)}));
        REQUIRE(stored.value().has_value());
        CHECK(StreamRecord::decode(*stored.value()).value().runs.size() == runs.size());
    }
    CHECK(replaced > 0);
    for (std::uint64_t i = 0; i < 120; i++) {
        bool found = false;
        for (const auto& run : runs)
            found = found || run->find({i, 1}).value().has_value();
        CHECK(found);
    }
}

TEST_CASE("rule: a checkpoint is one act: a power cut at any of its operations leaves the one before or itself, whole",
          "[rule]") {
    const ObjectId id{ShardId(0), LogIndex(1)};
    auto job_of = [&](os::Disk& disk, std::uint64_t index, const std::vector<std::shared_ptr<const dedup::Run>>& runs,
                      std::uint64_t next_run) {
        CheckpointJob job;
        job.applied = {LogIndex(index), Term(1), 0, "3"};
        const std::string kilobyte(1000, static_cast<char>('a' + index));
        const std::string_view pieces[] = {kilobyte};
        std::shared_ptr<os::File> file = disk.open("s/p0/0.log", os::OpenMode::create).value();
        REQUIRE(file->write_at((index - 1) * 1000, pieces));
        job.files = {file};
        job.dirs = {"s/p0"};
        job.changes.push_back({"x", std::to_string(index)});
        StreamRuns stream;
        stream.id = id;
        stream.dir = "s/dedup";
        stream.runs = runs;
        stream.record.next_run = next_run;
        stream.fresh.push_back({static_cast<std::int64_t>(index), {}});
        for (std::uint64_t i = 0; i < 300; i++)
            stream.fresh.back().entries.push_back({{mix64(index * 1000 + i), 1}, dedup::Place::of(0, 7)});
        job.streams.push_back(std::move(stream));
        return job;
    };
    int before = 0, after = 0;
    const auto round = [&](test::PowerCut& power) {
        os::SimDisk& disk = power.disk;
        for (const char* dir : {"s/p0", "s/dedup"})
            REQUIRE(disk.make_dirs(dir));
        auto state = test::open_sim_state_store(disk, "s/state").value();
        auto first = run_checkpoint(disk, *state, job_of(disk, 1, {}, 1));
        REQUIRE(first);
        auto job = job_of(disk, 2, first.value().streams[0].runs, first.value().streams[0].next_run);
        power.arm();
        const bool done = run_checkpoint(disk, *state, std::move(job)).has_value();
        power.restart();
        auto kept = test::open_sim_state_store(disk, "s/state");
        REQUIRE(kept);
        const auto index = AppliedRecord::decode(*kept.value()->get(applied_key).value()).value().index.value;
        (index == 1 ? before : after)++;
        CHECK(index <= 2);
        if (done) CHECK(index == 2);
        CHECK(kept.value()->get("x").value() == std::to_string(index));
        const auto bytes = os::read_file(disk, "s/p0/0.log", 1 << 20).value();
        REQUIRE(bytes.size() >= index * 1000);
        for (std::uint64_t i = 0; i < index * 1000; i++)
            REQUIRE(bytes[i] == static_cast<char>('a' + 1 + i / 1000));
        const auto record = StreamRecord::decode(*kept.value()->get(object_key('s', id)).value()).value();
        REQUIRE(record.runs.size() == index);
        const auto runs = dedup::open_runs(disk, "s/dedup", record.runs, {}, SIZE_MAX);
        REQUIRE(runs);
        for (std::uint64_t i = 0; i < 300; i++)
            REQUIRE(runs.value()[index - 1]->find({mix64(index * 1000 + i), 1}).value().has_value());
    };
    test::cut_power_at_every_operation({.sector_survival = 0.4, .name_survival = 0.4}, round);
    CHECK(before > 5);
    CHECK(after > 1);
}

TEST_CASE(
    "rule: a checkpoint is one act: segments, journal and runs synced, SQLite durable, then the state, then the log is "
    "cut",
    "[rule]") {
    std::vector<std::string> acts;
    class RecordingStore final : public stream::StateStore {
      public:
        explicit RecordingStore(std::vector<std::string>& told) : acts_(told) {}
        Result<std::optional<std::string>> get(std::string_view key) override { return items_->get(key); }
        Status scan(std::string_view prefix,
                    const std::function<bool(std::string_view, std::string_view)>& on_item) override {
            return items_->scan(prefix, on_item);
        }
        Status commit(const std::vector<stream::StateChange>& changes) override {
            acts_.push_back("state");
            return items_->commit(changes);
        }

      private:
        std::vector<std::string>& acts_;
        std::unique_ptr<stream::StateStore> items_ = stream::make_memory_store();
    };
    const test::SyncVfs vfs([&](const std::string&) { acts.push_back("sqlite"); });
    Bench b([](ApplyOptions& options) { options.database.vfs = test::SyncVfs::name(); });
    b.applier.reset();
    const auto real = std::move(b.disk);
    b.disk = std::make_unique<test::LyingDisk>(*real, [&](test::LyingDisk::Call call, const std::string& path) {
        if (call == test::LyingDisk::Call::sync) acts.push_back(path.substr(path.rfind('.')));
        if (call == test::LyingDisk::Call::sync_dir) acts.push_back("names");
        return false;
    });
    b.state = std::make_unique<RecordingStore>(acts);
    b.open();
    b.settle();
    const auto id = b.make(log::ObjectKind::stream, "s", stream_sql);
    REQUIRE(b.add({b.batch(id, 0, 0, 20, t0), b.batch(id, 1, 0, 20, t0),
                   b.batch_of(id, dead_letter_partition, 0, {{1, "bad"}})}));
    acts.clear();
    b.applier->want_checkpoint();
    b.settle();
    REQUIRE(b.jobs.size() == 1);
    CHECK(acts == std::vector<std::string>{"sqlite"});  // durable before there is a checkpoint to write
    CHECK(b.checkpointed.empty());
    auto done = run_checkpoint(*b.disk, *b.state, std::move(b.jobs[0]));
    REQUIRE(done);
    CHECK(b.checkpointed.empty());  // nobody may cut the log yet
    CHECK(acts.back() == "state");
    CHECK(std::ranges::count(acts, "state") == 1);
    CHECK(std::ranges::count(acts, ".log") == 3);  // two partitions and the dead letters
    CHECK(std::ranges::count(acts, ".idx") == 3);
    CHECK(std::ranges::count(acts, ".jnl") == 1);
    CHECK(std::ranges::count(acts, ".dd") == 1);
    CHECK(std::ranges::count(acts, "names") >= 5);
    b.jobs.clear();
    b.applier->checkpoint_done(std::move(done).value());
    CHECK(b.checkpointed == std::vector<LogIndex>{b.applier->applied()});
}

}  // namespace weir::apply
