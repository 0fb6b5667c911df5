// A shard whose queues are full: what it answers, what it keeps, and that it goes on.
#include "life.h"

#include <catch2/catch_test_macros.hpp>

#include <string>
#include <vector>

namespace weir::cluster::test {
namespace {

constexpr std::int64_t t0 = 1'700'000'040'000;  // a whole minute
constexpr std::size_t pad = 50'000;

// Sends one event of 50 KB after the other until one is not answered although admission has seen it: it waits, and
// what comes now stays in queue 1. Returns the next id.
std::uint64_t send_until_one_waits(Life& life, Answers& answers, std::uint64_t id) {
    const auto stream = life.stream();
    while (answers.answered == id) {
        REQUIRE(life.send(stream, event(id, t0, pad), answers));
        id++;
        life.settle_admission(stream->id);
    }
    REQUIRE(answers.answered == id - 1);
    return id;
}

}  // namespace

TEST_CASE("rule: queue 1 full: the door is told at once, nothing of it is stored, what waits is stored, counters agree",
          "[rule]") {
    weir::test::TempDir dir;
    Life::Start start;
    start.options.inbox_bytes_max = 4 * pad;
    start.options.apply_lag_bytes = 2 * pad;
    Life life(dir.path(), std::move(start));
    life.statement(stream_s);
    life.statement(view_v);
    REQUIRE(life.see_everything());
    const auto stream = life.stream();
    Answers answers;
    life.disk.apply.close();
    std::uint64_t id = send_until_one_waits(life, answers, 0);
    while (life.send(stream, event(id, t0, pad), answers))
        id++;
    CHECK(id >= 5);
    // Full is full: for the next one too, after admission has looked again, and the caller keeps what was not taken.
    life.settle_admission(stream->id);
    auto refused = life.request(stream, event(id, t0, pad), answers.one());
    CHECK_FALSE(life.shard->submit(std::move(refused)));
    CHECK(refused.body == event(id, t0, pad));
    REQUIRE(refused.events != nullptr);
    CHECK(refused.events->raw.size() == 1);
    CHECK(life.number("weir_requests_turned_away_total") == 2);
    CHECK(life.number("weir_admission_queue_bytes") > 0);
    CHECK(life.number("weir_admission_queue_bytes") <= 4 * pad);

    life.disk.apply.open();
    REQUIRE(answers.wait_for(id));
    CHECK(answers.accepted == id);
    CHECK(answers.failed == 0);
    // Had anything of it been taken, this would be a duplicate.
    REQUIRE(life.shard->submit(std::move(refused)));
    REQUIRE(answers.wait_for(id + 1));
    CHECK(answers.accepted == id + 1);
    CHECK(answers.duplicates == 0);
    REQUIRE(life.see_everything());
    const std::string count = std::to_string(id + 1);
    CHECK(life.rows("SELECT stored, duplicate, dead_lettered, refused FROM _counters") == count + "|0|0|0");
    CHECK(life.rows("SELECT sum(end_offset - start_offset) FROM _ends WHERE partition >= 0") == count);
    CHECK(life.rows("SELECT seen, filtered, windowed, late FROM _views") == count + "|0|" + count + "|0");
    CHECK(life.metric("weir_events_total{result=\"stored\"}") == count);
    CHECK(life.number("weir_requests_turned_away_total") == 2);
}

TEST_CASE("rule: queue 2 full: apply reads on from the write-ahead log and decodes again, and the tables are the same",
          "[rule]") {
    // Late and dead-lettered events, duplicates and two partitions: everything that apply makes of an entry.
    const auto feed = [](Life& life) {
        std::uint64_t accepted = 0;
        for (std::uint64_t i = 0; i < 40; i++) {
            const std::int64_t at = t0 + static_cast<std::int64_t>(i) * 20'000 - (i % 7 == 6 ? 600'000 : 0);
            const auto outcome = life.ask(event(i * 2, at, 3000) + event(i * 2 + 1, at + 1, 3000) + event(i, at) +
                                          (i % 5 == 0 ? "{\"id\":null}\n" : ""));
            REQUIRE(outcome.status.has_value());
            accepted += outcome.accepted;
        }
        return accepted;
    };
    const std::vector<std::string> what = {"SELECT partition, start_offset, end_offset FROM _ends ORDER BY 1",
                                           "SELECT stored, duplicate, dead_lettered, refused FROM _counters",
                                           "SELECT seen, filtered, windowed, late, row_count FROM _views",
                                           "SELECT * FROM _watermarks ORDER BY 1, 2"};
    const auto run = [&](Life& life, bool held) {
        life.statement(stream_s);
        life.statement(view_v);
        REQUIRE(life.see_everything());
        if (held) life.disk.apply.close();
        const auto accepted = feed(life);
        if (held) {
            life.disk.apply.wait_for_somebody();
            CHECK(life.number("weir_apply_queue_bytes") <= 32'000);
            life.disk.apply.open();
        }
        REQUIRE(life.see_everything());
        CHECK(life.metric("weir_events_total{result=\"stored\"}") == std::to_string(accepted));
        // The counts of the last second's duplicates come with an entry of their own.
        life.clock.jump_ms(1500);
        const std::string settled = "SELECT duplicate = 40 FROM _counters";
        REQUIRE(eventually([&] { return life.rows(settled) == "1"; }));
        std::vector<std::string> tables;
        for (const auto& sql : what)
            tables.push_back(life.rows(sql));
        const std::string id = life.catalog->snapshot()->view("v")->id.file_text();
        tables.push_back(life.rows("SELECT * FROM v" + id + " ORDER BY 1"));
        tables.push_back(life.rows("SELECT * FROM l" + id + " ORDER BY 1, 2, 3"));
        return tables;
    };
    weir::test::TempDir wide_dir, narrow_dir;
    Life wide(wide_dir.path());
    const auto want = run(wide, false);
    CHECK(wide.metric("weir_apply_entries_from_wal_total") == "0");
    CHECK(wide.metric("weir_apply_records_decoded_again_total") == "0");

    Life::Start start;
    start.options.apply_queue_bytes_max = 32'000;
    Life narrow(narrow_dir.path(), std::move(start));
    const auto got = run(narrow, true);
    CHECK(narrow.number("weir_apply_entries_from_wal_total") > 20);
    CHECK(narrow.number("weir_apply_records_decoded_again_total") > 40);
    for (std::size_t i = 0; i < want.size(); i++) {
        INFO(i);
        CHECK_FALSE(want[i].empty());
        CHECK(got[i] == want[i]);
    }
}

TEST_CASE("rule: queue 2 full: more than apply_lag_bytes behind, proposals wait, and go on afterwards", "[rule]") {
    weir::test::TempDir dir;
    Life::Start start;
    start.options.apply_lag_bytes = 4 * pad;
    Life life(dir.path(), std::move(start));
    life.statement(stream_s);
    REQUIRE(life.see_everything());
    Answers answers;
    life.disk.apply.close();
    const std::uint64_t sent = send_until_one_waits(life, answers, 0);
    CHECK(sent == 5);  // three were within the bound, the fourth passed it
    // Small ones wait too: it is about what apply has to do already.
    REQUIRE(life.send(life.stream(), event(sent, t0), answers));
    life.settle_admission(life.stream()->id);
    CHECK(answers.answered == sent - 1);
    life.disk.apply.open();
    REQUIRE(answers.wait_for(sent + 1));
    CHECK(answers.accepted == sent + 1);
    const auto more = life.ask(event(sent + 1, t0, pad));
    CHECK(more.accepted == 1);
    REQUIRE(life.see_everything());
    CHECK(life.rows("SELECT stored FROM _counters") == std::to_string(sent + 2));
}

}  // namespace weir::cluster::test
