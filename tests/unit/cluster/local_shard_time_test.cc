// A shard over days: what the leader lets go by append time, when, and when it does not trust its clock.
#include "apply/tables.h"
#include "life.h"

#include <catch2/catch_test_macros.hpp>

#include <string>

namespace weir::cluster::test {
namespace {

constexpr std::int64_t minute_ms = 60'000, hour_ms = 60 * minute_ms, day_ms = 24 * hour_ms;
constexpr const char* short_lived =
    "CREATE STREAM s (id TEXT, ts TIMESTAMP, EVENT TIME ts MAX FUTURE 36500d, DEDUP KEY (id) WITHIN 30m) PARTITIONS 1 "
    "RETAIN 2h";
constexpr const char* start_offset = "SELECT start_offset FROM _ends WHERE partition = 0";

Life::Start started(std::int64_t later_ms = 0) {
    Life::Start start;
    start.later_ms = later_ms;
    start.options.checkpoint_every_us = 1'000;
    return start;
}

// One event, and everything that the leader decided before it, visible.
replica::IngestOutcome poke(Life& life, std::uint64_t id) {
    auto outcome = life.ask(event(id, 1'700'000'000'000));
    if (!life.shard->wait_visible(outcome.applied_index, std::chrono::seconds(60))) std::abort();
    return outcome;
}

// The leader looks every ten seconds for what it may let go, and learns from checkpoints how old things are.
bool eventually_expired(Life& life, const std::function<bool()>& seen) {
    return eventually([&] {
        life.clock.jump_ms(11'000);
        return seen();
    });
}

}  // namespace

TEST_CASE(
    "rule: nobody sees the past: retention moves the log start at once; files go after a checkpoint and the "
    "longest read deadline",
    "[rule]") {
    weir::test::TempDir dir;
    Life life(dir.path(), started());
    life.statement(short_lived);
    CHECK(poke(life, 1).accepted == 1);
    const std::string folder = apply::partition_dir(life.shard->data_dir(), life.stream()->id, 0);
    const std::string file = folder + "/00000000000000000000.log";
    REQUIRE(std::filesystem::exists(file));
    REQUIRE(life.rows(start_offset) == "0");
    life.clock.jump_ms(3 * hour_ms);
    std::uint64_t id = 2;
    REQUIRE(eventually_expired(life, [&] {
        poke(life, id++);
        return life.rows(start_offset) == "1";
    }));
    const double checkpoints = life.number("weir_checkpoints_total");
    REQUIRE(eventually([&] { return life.number("weir_checkpoints_total") > checkpoints; }));
    CHECK(std::filesystem::exists(file));  // a reader may still be in it
    life.clock.jump_ms(16'000);
    poke(life, id);
    CHECK(eventually([&] { return !std::filesystem::exists(file); }));
    CHECK(life.rows("SELECT end_offset FROM _ends WHERE partition = 0") == std::to_string(id));
}

TEST_CASE("rule: nobody sees the past: DROP takes the name and the rows at once, the files later", "[rule]") {
    weir::test::TempDir dir;
    Life life(dir.path(), started());
    life.statement(short_lived);
    CHECK(poke(life, 1).accepted == 1);
    const std::string folder = apply::stream_dir(life.shard->data_dir(), life.stream()->id);
    life.statement("DROP STREAM s");
    CHECK(life.stream() == nullptr);
    CHECK(life.rows("SELECT count(*) FROM _objects") == "0");
    CHECK(life.rows("SELECT count(*) FROM _ends") == "0");
    const double checkpoints = life.number("weir_checkpoints_total");
    life.statement("CREATE STREAM s (id TEXT)");
    REQUIRE(eventually([&] { return life.number("weir_checkpoints_total") > checkpoints; }));
    CHECK(std::filesystem::exists(folder));
    life.clock.jump_ms(16'000);
    CHECK(poke(life, 2).accepted == 1);
    CHECK(eventually([&] { return !std::filesystem::exists(folder); }));
}

TEST_CASE("rule: expiry is an entry: ids are forgotten by append time, and stay so after a restart", "[rule]") {
    weir::test::TempDir dir;
    std::int64_t ahead_ms = 0;
    {
        Life life(dir.path(), started());
        life.statement(short_lived);
        CHECK(poke(life, 1).accepted == 1);
        life.clock.jump_ms(29 * minute_ms);
        CHECK(poke(life, 1).duplicates == 1);  // within WITHIN
        life.clock.jump_ms(6 * minute_ms);     // the last id of its bucket is older, too
        CHECK(eventually_expired(life, [&] { return poke(life, 1).accepted == 1; }));
        CHECK(poke(life, 1).duplicates == 1);
        ahead_ms = life.clock.wall_ahead_ms;
    }
    Life again(dir.path(), started(ahead_ms));
    CHECK(poke(again, 1).duplicates == 1);
    CHECK(again.rows("SELECT stored FROM _counters") == "2");
}

TEST_CASE("rule: expiry is an entry: none for a day after a start more than 30 days after the last append", "[rule]") {
    weir::test::TempDir dir;
    {
        Life life(dir.path(), started());
        life.statement(short_lived);
        CHECK(poke(life, 1).accepted == 1);
        CHECK(life.metric("weir_append_clock_alert") == "0");
    }
    Life life(dir.path(), started(31 * day_ms));
    CHECK(poke(life, 1).duplicates == 1);
    CHECK(life.metric("weir_append_clock_alert") == "1");
    std::uint64_t id = 100;
    for (int hours = 0; hours < 23; hours++) {
        life.clock.jump_ms(hour_ms);
        CHECK(poke(life, id++).accepted == 1);
        CHECK(life.rows(start_offset) == "0");
    }
    CHECK(poke(life, 1).duplicates == 1);
    CHECK(life.metric("weir_append_clock_alert") == "1");
    life.clock.jump_ms(2 * hour_ms);
    CHECK(poke(life, id++).accepted == 1);
    CHECK(life.metric("weir_append_clock_alert") == "0");
    CHECK(life.rows(start_offset) != "0");
    CHECK(poke(life, 1).accepted == 1);
}

TEST_CASE("rule: expiry is an entry: the day after a gap of 30 days is not cut short by a restart within it",
          "[rule]") {
    weir::test::TempDir dir;
    for (const std::int64_t later_ms : {std::int64_t{0}, 31 * day_ms}) {
        Life life(dir.path(), started(later_ms));
        if (later_ms == 0) life.statement(short_lived);
        poke(life, later_ms == 0 ? 1 : 2);
    }
    for (const std::int64_t hours : {1, 12, 22}) {
        Life life(dir.path(), started(31 * day_ms + hours * hour_ms));
        CHECK(life.metric("weir_append_clock_alert") == "1");
        CHECK(poke(life, static_cast<std::uint64_t>(100 + hours)).accepted == 1);
        CHECK(poke(life, 1).duplicates == 1);
        CHECK(life.rows(start_offset) == "0");
    }
    Life life(dir.path(), started(32 * day_ms + hour_ms));
    CHECK(poke(life, 200).accepted == 1);
    CHECK(life.metric("weir_append_clock_alert") == "0");
    CHECK(life.rows(start_offset) != "0");
    CHECK(poke(life, 1).accepted == 1);
}

TEST_CASE(
    "rule: append time: a wall clock an hour away raises the alert and is not followed; the log's time never goes "
    "back",
    "[rule]") {
    weir::test::TempDir dir;
    const auto last_append = [](Life& life) {
        return std::atoll(life.rows("SELECT append_time FROM _applied").c_str());
    };
    std::int64_t last = 0;
    {
        Life life(dir.path());
        life.statement(short_lived);
        poke(life, 1);
        last = last_append(life);
        CHECK(std::abs(last - life.clock.wall_ms()) < hour_ms);
        life.clock.wall_ahead_ms += 2 * hour_ms;  // somebody set it
        poke(life, 2);
        poke(life, 3);
        CHECK(life.metric("weir_append_clock_alert") == "1");
        CHECK(last_append(life) >= last);
        CHECK(last_append(life) - last < hour_ms);
        last = last_append(life);
    }
    // A wall clock that is behind the log at the start.
    Life life(dir.path(), started(-20 * minute_ms));
    poke(life, 4);
    CHECK(last_append(life) >= last);
}

}  // namespace weir::cluster::test
