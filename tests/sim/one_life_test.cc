// One node, driven by hand without power cuts, where a rule needs the whole way from admission to the checkpoint.
#include "apply/tables.h"
#include "base/limits.h"
#include "dedup/index.h"
#include "obs/log.h"
#include "sim/one_node.h"
#include "unit/dedup/ids.h"

#include <catch2/catch_test_macros.hpp>

#include <algorithm>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

namespace weir::sim {
namespace {

constexpr const char* stream_sql =
    "CREATE STREAM s (id TEXT, n INTEGER, ts TIMESTAMP, EVENT TIME ts MAX FUTURE 36500d, DEDUP KEY (id) WITHIN 16h) "
    "PARTITIONS 2 RETAIN 7d";
constexpr const char* view_sql =
    "CREATE MATERIALIZED VIEW v AS SELECT window_start, count(*) AS c, sum(n) AS total FROM TUMBLE(s, 1m) GROUP BY "
    "window_start LATENESS 1d EMIT CHANGES";
constexpr std::int64_t first_event_ms = 1'700'000'000'000;

struct Life {
    World world{1, {}};
    std::unique_ptr<Node> node;
    std::uint64_t next_id = 1;

    Life() {
        obs::set_log_level(obs::Level::error);
        world.queue_full_chance = 0;
    }
    void open() {
        node = std::make_unique<Node>(world);
        const auto opened = node->open();
        INFO((opened ? "" : opened.error().detail));
        REQUIRE(opened);
        quiet();
    }
    void quiet() {
        node->run_until_quiet();
        REQUIRE(world.violation == "");
    }
    // kill -9, and the next life.
    void reopen() {
        world.real_disk.kill_process();
        node.reset();
        open();
    }
    void create(log::ObjectKind kind, const char* name, const char* sql) {
        node->control(log::CatalogPut{kind, name, sql}, true);
        quiet();
        node->define_loose();
        quiet();
    }
    // `count` events with ids of their own, one a second of event time.
    std::string events(std::uint64_t count) {
        std::string lines;
        for (std::uint64_t i = 0; i < count; i++, next_id++) {
            lines += "{\"id\":\"e" + std::to_string(next_id) +
                     "\",\"n\":1,\"ts\":" + std::to_string(first_event_ms + static_cast<std::int64_t>(next_id) * 1000) +
                     "}\n";
        }
        return lines;
    }
    replica::IngestOutcome ingest(const std::string& lines) {
        std::optional<replica::IngestOutcome> answer;
        node->send(lines, [&](replica::IngestOutcome&& outcome) { answer = std::move(outcome); });
        for (std::uint64_t i = 0; !answer && i < 100'000; i++)
            REQUIRE(node->step(i));
        REQUIRE(answer.has_value());
        REQUIRE(answer->status);
        return std::move(*answer);
    }
    std::uint64_t bytes_in(const std::string& dir) {
        std::uint64_t bytes = 0;
        const auto names = world.disk.list(dir).value();
        for (const auto& name : names)
            bytes += world.disk.open(dir + "/" + name, os::OpenMode::read).value()->size().value();
        return bytes;
    }
};

}  // namespace

TEST_CASE("parse once: columns travel from validation to apply; a replay and a full queue decode again") {
    Life life;
    life.world.tune = [](auto&, auto&, apply::ApplyOptions& options) {
        options.checkpoint_every_us = INT64_MAX / 4;  // none: the next life replays everything
    };
    life.open();
    life.create(log::ObjectKind::stream, "s", stream_sql);
    life.create(log::ObjectKind::view, "v", view_sql);
    for (int i = 0; i < 20; i++)
        life.ingest(life.events(37));
    life.quiet();
    const auto& counters = life.node->applier->counters();
    CHECK(counters.records == 20 * 37);
    CHECK(counters.from_wal == 0);
    CHECK(counters.decoded_again == 0);
    const auto live = life.node->applier->digest().value();

    life.reopen();
    const auto& replayed = life.node->applier->counters();
    CHECK(replayed.records == 20 * 37);
    CHECK(replayed.decoded_again == 20 * 37);
    CHECK(life.node->applier->digest().value() == live);

    life.world.queue_full_chance = 1;
    life.ingest(life.events(5));
    life.quiet();
    CHECK(life.node->applier->counters().decoded_again == 20 * 37 + 5);
    CHECK(life.node->applier->counters().from_wal > replayed.entries / 2);
}

TEST_CASE(
    "rule: one write-ahead log, reused files: above wal_bytes the shard that pins the oldest file is checkpointed, "
    "busy or idle",
    "[rule]") {
    Life life;
    std::uint64_t wal_bytes = 0, file_bytes = 0;
    life.world.tune = [&](auto&, log::WalOptions& wal, apply::ApplyOptions& options) {
        wal_bytes = wal.wal_bytes;
        file_bytes = wal.file_bytes;
        options.checkpoint_every_us = INT64_MAX / 4;  // nothing but the log's length asks for one
    };
    life.open();
    life.create(log::ObjectKind::stream, "s", stream_sql);
    std::uint64_t sent = 0;
    while (sent < 10 * wal_bytes) {  // busy
        const auto lines = life.events(100);
        sent += lines.size();
        life.ingest(lines);
        REQUIRE(life.bytes_in(wal_dir) <= wal_bytes + 4 * file_bytes);
    }
    const auto checkpoints = life.node->applier->counters().checkpoints.load();
    CHECK(checkpoints >= 5);
    while (life.node->flusher->counters().wal_bytes <= wal_bytes)
        life.ingest(life.events(100));
    life.quiet();  // idle: nobody sends any more
    for (std::uint64_t i = 0; i < 1000; i++)
        REQUIRE(life.node->step(i));
    CHECK(life.node->applier->counters().checkpoints > checkpoints);
    CHECK(life.node->flusher->counters().wal_bytes <= wal_bytes);
}

TEST_CASE(
    "rule: time buckets of sorted runs: memory stays below 4 MiB whatever the window holds, and nothing is "
    "forgotten",
    "[rule]") {
    constexpr std::uint64_t buckets = 15, ids_a_bucket = 200'000;
    static_assert(buckets * ids_a_bucket * 5 / 2 > 3 * limits::dedup_memory_min / 2);  // of filters
    Life life;
    life.world.tune = [](replica::AdmissionOptions& admission, log::WalOptions& wal, apply::ApplyOptions& options) {
        admission.dedup_memory = options.dedup_memory = limits::dedup_memory_min;
        options.checkpoint_every_us = INT64_MAX / 4;  // only the number of new ids asks for one
        wal = {};
        options.partition = {};
    };
    life.open();
    life.create(log::ObjectKind::stream, "s", stream_sql);
    REQUIRE(life.node->checkpoint());

    // A window's worth of ids that came earlier, in the runs that a checkpoint would list.
    const auto stream = life.node->stream();
    const std::string dir = apply::stream_dir(shard_dir, stream->id) + "/dedup";
    REQUIRE(life.world.disk.make_dirs(dir));
    const auto key = apply::object_key('s', stream->id);
    auto record = apply::StreamRecord::decode(*life.node->state->get(key).value()).value();
    const auto now_bucket =
        dedup::bucket_of(life.node->admission->append_clock().published_ms(), stream->schema.dedup_within_ms);
    for (std::uint64_t b = 0; b < buckets; b++) {
        const dedup::RunState state{now_bucket - static_cast<std::int64_t>(buckets - b), record.next_run++,
                                    ids_a_bucket};
        REQUIRE(dedup::write_run(life.world.disk, dedup::run_path(dir, state.number),
                                 dedup_testing::entries(b * ids_a_bucket, (b + 1) * ids_a_bucket)));
        record.runs.push_back(state);
    }
    REQUIRE(life.node->state->commit({{key, record.encode()}}));

    // Every run that anybody holds, from the moment that the checkpoint hands it over.
    std::set<std::weak_ptr<const dedup::Run>, std::owner_less<>> held;
    life.world.on_runs = [&](const auto& runs) { held.insert(runs.begin(), runs.end()); };
    std::size_t most = 0, most_runs = 0;
    auto measure = [&] {
        most = std::max<std::size_t>(most, life.node->admission->counters().dedup_memory_bytes);
        std::size_t runs_bytes = 0;
        for (const auto& weak : held) {
            if (const auto run = weak.lock()) runs_bytes += run->memory_bytes();
        }
        most_runs = std::max(most_runs, runs_bytes);
    };
    life.reopen();
    measure();
    for (int i = 0; i < 200; i++) {
        // The next bucket: what the one before has in runs is merged, and its parts are in memory until that is
        // adopted.
        if (i == 150) life.world.clock.advance_ms(stream->schema.dedup_within_ms / 16);
        const auto answer = life.ingest(life.events(1000));
        REQUIRE(answer.accepted == 1000);
        life.world.clock.advance_ms(500);  // admission counts its memory twice a second
        for (std::uint64_t k = 0; k < 12; k++) {
            REQUIRE(life.node->step(k));
            measure();
        }
    }
    life.quiet();
    measure();
    INFO("at most " << most << " bytes counted, " << most_runs << " of runs");
    CHECK(life.node->applier->counters().checkpoints > 5);
    CHECK(most > limits::dedup_memory_min / 2);
    CHECK(most <= limits::dedup_memory_min);
    CHECK(most_runs <= dedup::run_memory(limits::dedup_memory_min).bytes_max);  // more than half is for the tables
    // The filters are those of the newest runs.
    std::map<std::int64_t, bool> filter_in_bucket;
    for (const auto& weak : held) {
        if (const auto run = weak.lock()) filter_in_bucket[run->state().bucket] |= run->has_filter();
    }
    CHECK(filter_in_bucket.size() == buckets + 2);
    CHECK(filter_in_bucket.at(now_bucket + 1));
    CHECK(filter_in_bucket.at(now_bucket));
    CHECK_FALSE(filter_in_bucket.at(now_bucket - static_cast<std::int64_t>(buckets)));
    CHECK(std::ranges::is_sorted(filter_in_bucket, {}, [](const auto& bucket) { return bucket.second; }));
    // What came while it was all full, the first of it too, is known.
    life.next_id = 1;
    for (int i = 0; i < 200; i += 10) {
        CHECK(life.ingest(life.events(1000)).duplicates == 1000);
        life.next_id += 9000;
    }
}

}  // namespace weir::sim
