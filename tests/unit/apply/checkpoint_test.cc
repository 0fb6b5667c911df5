#include "apply/checkpoint.h"

#include "dedup/run.h"
#include "os/sim_disk.h"

#include <catch2/catch_test_macros.hpp>

#include <string>

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

    AppliedRecord applied{LogIndex(5), Term(6), 7, "3.40.1"};
    CHECK(AppliedRecord::decode(applied.encode()).value().append_time_ms == 7);
    ViewRecord view{{ShardId(0), LogIndex(3)}, "v", "text", 4, "live"};
    CHECK(ViewRecord::decode(view.encode()).value().state == "live");
    CatalogRecord entry{log::ObjectKind::view, "v", "text", true};
    CHECK(CatalogRecord::decode(entry.encode()).value().was_defined);
}

TEST_CASE("a checkpoint record that is cut is corrupt") {
    auto f = [](const std::string& bytes, auto decode) {
        for (std::size_t n = 0; n < bytes.size(); n++)
            CHECK_FALSE(decode(std::string_view(bytes).substr(0, n)).has_value());
    };
    f(a_record().encode(), &StreamRecord::decode);
    f(AppliedRecord{}.encode(), &AppliedRecord::decode);
    f(ViewRecord{}.encode(), &ViewRecord::decode);
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

}  // namespace weir::apply
