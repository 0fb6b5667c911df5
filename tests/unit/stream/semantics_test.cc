// The semantics of windows, rule by rule (stream-sql.md 3.1), as far as a tumbling view shows them. S1, S2 and S5 are
// the door's and admission's: tests/system. S7's ticks: tests/unit/apply.
#include "base/prng.h"
#include "unit/stream/random_log.h"
#include "unit/stream/tumble_fixture.h"

#include <catch2/catch_test_macros.hpp>

namespace weir::stream {
namespace {

Event at(std::int64_t time_ms, PartitionNo partition = 0) {
    return {partition, time_ms, {n(200), n(1)}};
}

TumblePlan plan_of(std::int64_t lateness_ms, std::int64_t delay_ms = 0, std::int32_t partitions = 1) {
    TumblePlan plan = simple_plan();
    plan.lateness_ms = lateness_ms;
    plan.delay_ms = delay_ms;
    plan.partitions = partitions;
    return plan;
}

// A view fed with one event an entry.
struct View {
    std::unique_ptr<StateStore> state = make_memory_store();
    ViewRun run;
    std::vector<Event> log;

    explicit View(const TumblePlan& plan) : run(plan, *state) {}
    View& add(const std::vector<Event>& events) {
        for (const Event& event : events) {
            log.push_back(event);
            REQUIRE(run.feed(log, log.size() - 1, log.size()));
        }
        return *this;
    }
    std::string rows() {
        run.take_rows();
        return run.seen.rows();
    }
    std::uint64_t late() const { return run.view->counts().late; }
};

TEST_CASE("S3: out of order is not late: behind the highest event time seen, in a window that is open") {
    View view(plan_of(0, 0));
    view.add({at(900), at(100), at(500)});
    CHECK(view.late() == 0);
    CHECK(view.rows() == "0,200,3,3");
}

TEST_CASE("S4: a partition's watermark is its highest event time minus DELAY, and excludes itself") {
    View view(plan_of(0, 250));
    view.add({at(1249)});
    CHECK(view.run.view->watermark_ms(0) == 999);
    CHECK(view.add({at(999)}).late() == 0);   // the window's end is 1000, the watermark 999
    CHECK(view.add({at(1250)}).late() == 0);  // the watermark is 1000 behind this record
    CHECK(view.run.view->watermark_ms(0) == 1000);
    CHECK(view.add({at(999)}).late() == 1);
    CHECK(view.add({at(1000)}).late() == 1);  // at the watermark: on time
}

TEST_CASE("S5: a record in the far future makes late only what comes behind it, in its own partition") {
    // The door turns it away (MAX FUTURE); what it lets pass is taken at its word, and does no more than that.
    View view(plan_of(0, 0, 2));
    view.add({at(500, 1), at(1'000'000, 0), at(600, 1), at(700, 0)});
    CHECK(view.late() == 1);
    CHECK(view.rows() == "0,200,2,2 | 1000000,200,1,1");
}

TEST_CASE("S6: the view's watermark is the least of all partitions', none left out") {
    View view(plan_of(0, 0, 3));
    view.add({at(9000, 0), at(5000, 1)});
    CHECK(view.run.view->least_watermark_ms() == INT64_MIN);
    CHECK(view.run.view->open_groups() == 2);
    view.add({at(7000, 2)});
    CHECK(view.run.view->least_watermark_ms() == 5000);
    view.add({at(8000, 1)});
    CHECK(view.run.view->least_watermark_ms() == 7000);
    CHECK(view.run.view->open_groups() == 3);  // 7000 is open, 8000 and 9000 too
}

TEST_CASE("S7: a watermark moves without a record when the log says so, and keeps its distance") {
    // What the log says, a tick, is apply's; the view takes it per partition.
    View view(plan_of(0, 100, 2));
    view.add({at(900, 0), at(100, 1)});
    view.run.view->raise_watermark(1, 1000);
    CHECK(view.run.view->watermark_ms(0) == 800);
    CHECK(view.run.view->watermark_ms(1) == 1000);
    CHECK(view.run.view->least_watermark_ms() == 800);
    CHECK(view.add({at(200, 1)}).late() == 1);
    CHECK(view.add({at(200, 0)}).late() == 1);
    CHECK(view.add({at(200, 0)}).rows() == "0,200,4,4");
}

TEST_CASE("S8: windows are [start, end), by floor division, shifted by OFFSET, also below zero") {
    TumblePlan plan = plan_of(1'000'000);
    CHECK(View(plan).add({at(0), at(999), at(1000), at(-1), at(-1000), at(-1001)}).rows() ==
          "-2000,200,1,1 | -1000,200,2,2 | 0,200,2,2 | 1000,200,1,1");
    plan.offset_ms = 250;
    CHECK(View(plan).add({at(0), at(249), at(250), at(-750), at(-751)}).rows() ==
          "-1750,200,1,1 | -750,200,3,3 | 250,200,1,1");
    plan.offset_ms = -250;
    CHECK(View(plan).add({at(749), at(750), at(-250), at(-251)}).rows() ==
          "-1250,200,1,1 | -250,200,2,2 | 750,200,1,1");
}

TEST_CASE("S10: OFFSET counts wherever a window's end is computed: late, final, dropped") {
    TumblePlan plan = plan_of(0);
    plan.offset_ms = 250;
    plan.emit = Emit::final_rows;
    View view(plan);
    view.add({at(300), at(1249)});
    CHECK(view.rows() == "");
    CHECK(view.add({at(400)}).late() == 0);
    CHECK(view.add({at(1250)}).rows() == "250,200,3,3");
    CHECK(view.add({at(1249)}).late() == 1);
    CHECK(view.run.view->open_groups() == 1);
}

TEST_CASE("S13: late is said of a record and its window, not of a record below the watermark") {
    View view(plan_of(500));
    view.add({at(1400), at(100)});  // far below the watermark of 1400; window 0 is open until 1500
    CHECK(view.late() == 0);
    view.add({at(1500), at(100)});
    CHECK(view.late() == 1);
    CHECK(view.run.seen.late.at({0, 3}) == "0 100");
    CHECK(view.add({at(1001)}).late() == 1);  // the same watermark, another window
    CHECK(view.rows() == "0,200,1,1 | 1000,200,3,3");
}

TEST_CASE("S13: late is said by the record's own partition, whatever the others have seen") {
    View view(plan_of(0, 0, 2));
    view.add({at(9000, 0), at(100, 1), at(200, 1)});
    CHECK(view.late() == 0);
    CHECK(view.add({at(300, 0)}).late() == 1);
}

TEST_CASE("S14: a window is final once; what LATENESS lets in corrects its row until the state goes") {
    TumblePlan plan = plan_of(1000);
    plan.emit = Emit::final_rows;
    View view(plan);
    view.add({at(0)});
    CHECK(view.rows() == "");
    CHECK(view.add({at(1000)}).rows() == "0,200,1,1");
    CHECK(view.add({at(1)}).rows() == "0,200,2,2");
    CHECK(view.add({at(2), at(3)}).rows() == "0,200,4,4");
    // The last correction and the end of the state come together: it is written all the same.
    CHECK(view.add({at(4), at(2000), at(5)}).rows() == "0,200,5,5 | 1000,200,1,1");
    CHECK(view.late() == 1);
    CHECK(view.run.history() == "0,200,1,1 > 0,200,2,2 > 0,200,4,4 > 0,200,5,5 | 1000,200,1,1");
}

TEST_CASE("S15: the first row of a group after the window's end is a correction like any other") {
    TumblePlan plan = plan_of(1000);
    plan.emit = Emit::final_rows;
    View view(plan);
    view.add({at(1500)});
    CHECK(view.rows() == "");  // window 0 is past, and empty windows have no rows
    Event other = at(10);
    other.values[0] = n(404);
    CHECK(view.add({at(5)}).rows() == "0,200,1,1");
    CHECK(view.add({other}).rows() == "0,200,1,1 | 0,404,1,1");
}

TEST_CASE("S16: a window that is restored knows the watermark: late stays late, final stays final") {
    TumblePlan plan = plan_of(1000);
    plan.emit = Emit::final_rows;
    View view(plan);
    Event other = at(1);
    other.values[0] = n(404);
    view.add({at(0), other, at(1000)});
    view.run.take_rows();
    view.run.collect();
    view.run.commit();
    view.run.open();
    CHECK(view.run.view->watermark_ms(0) == 1000);
    CHECK_FALSE(view.run.view->has_dirty_rows());  // it was written before the checkpoint
    view.run.written.clear();
    view.add({at(1)});
    CHECK(view.rows() == "0,200,2,2 | 0,404,1,1");
    CHECK(view.run.history() == "0,200,2,2");  // the other one is not written again
    view.add({at(2000)});
    view.run.take_rows();
    view.run.collect();
    view.run.commit();
    view.run.open();
    CHECK(view.add({at(2)}).late() == 1);
}

TEST_CASE("S17: a watermark never falls, whatever moves it") {
    View view(plan_of(0, 0, 2));
    std::int64_t highest[2] = {INT64_MIN, INT64_MIN};
    Prng prng(17);
    for (int i = 0; i < 2000; ++i) {
        const auto p = static_cast<PartitionNo>(prng.below(2));
        const auto time_ms = static_cast<std::int64_t>(prng.below(1'000'000)) - 500'000;
        if (prng.chance(0.5)) {
            view.run.view->raise_watermark(p, time_ms);
        } else {
            record::ColumnBatch batch;
            batch.reset(events_schema());
            store::add_row(events_schema(), batch, {n(1), n(1)});
            batch.event_time_ms.back() = time_ms;
            const std::uint32_t rows[] = {0};
            std::vector<LateRow> late;
            REQUIRE(view.run.view->process({p, i, &batch, rows, i}, late));
        }
        const std::int64_t now = view.run.view->watermark_ms(p);
        REQUIRE(now >= highest[p]);
        REQUIRE(now >= time_ms);
        highest[p] = now;
        if (i % 100 == 99) {
            view.run.take_rows();
            view.run.collect();
            view.run.commit();
            view.run.open();
            REQUIRE(view.run.view->watermark_ms(p) == now);
        }
    }
}

TEST_CASE("S17: a watermark does not fall when DELAY becomes longer, and rises at once when it becomes shorter") {
    View view(plan_of(0, 100));
    view.add({at(1500)});
    REQUIRE(view.run.view->watermark_ms(0) == 1400);
    view.run.view->set_delay(1000);
    CHECK(view.run.view->watermark_ms(0) == 1400);
    CHECK(view.add({at(2000)}).run.view->watermark_ms(0) == 1400);  // 2000 - 1000 is less
    CHECK(view.add({at(2500)}).run.view->watermark_ms(0) == 1500);
    view.run.take_rows();
    view.run.collect();
    view.run.commit();
    view.run.view->set_delay(200);
    CHECK(view.run.view->watermark_ms(0) == 2300);
    CHECK(view.add({at(1999)}).late() == 1);  // its window's end is behind the watermark that rose without a record
    CHECK(view.add({at(2000)}).late() == 1);
}

TEST_CASE("S18: a watermark is computed a record at a time: the cut into batches does not show") {
    const Log log = make_log(18, 600);
    TumblePlan plan = plan_of(500, 300, partitions);
    std::string first;
    for (const std::size_t per_batch : {1u, 37u, 500u, 600u}) {
        auto state = make_memory_store();
        ViewRun run(plan, *state);
        for (std::size_t i = 0; i < log.events.size(); i += per_batch)
            REQUIRE(run.feed(log.events, i, std::min(i + per_batch, log.events.size())));
        const Seen seen = run.finish();
        std::string all = seen.rows();
        for (const auto& [place, what] : seen.late)
            all += " late " + std::to_string(place.first) + "@" + std::to_string(place.second) + " " + what;
        for (const std::int64_t watermark : seen.watermarks)
            all += " wm " + std::to_string(watermark);
        CHECK(seen.late.size() > 20);
        if (per_batch == 1) first = all;
        CHECK(all == first);
    }
}

TEST_CASE("S20: EMIT FINAL is one row a group and window, ever, where LATENESS is 0; there is no row without events") {
    const Log log = make_log(20, 800);
    TumblePlan plan = plan_of(0, 500, partitions);
    plan.emit = Emit::final_rows;
    auto state = make_memory_store();
    ViewRun run(plan, *state);
    for (std::size_t i = 0; i < log.events.size(); ++i) {
        REQUIRE(run.feed(log.events, i, i + 1));
        run.take_rows();
        for (const auto& [key, row] : run.seen.table)
            REQUIRE(std::stoll(row) + 1000 <= run.view->least_watermark_ms());
    }
    CHECK(run.written.size() > 50);
    for (const auto& [key, rows] : run.written)
        CHECK(rows.size() == 1);
}

TEST_CASE("S20: EMIT CHANGES is one row a group and window, the latest; a row has its columns and no revision") {
    View view(plan_of(0));
    CHECK(view.add({at(0)}).rows() == "0,200,1,1");
    CHECK(view.add({at(1)}).rows() == "0,200,2,2");
    CHECK(view.add({at(2), at(3)}).rows() == "0,200,4,4");
}

TEST_CASE("S21: EVERY writes at the first entry whose append time is at or behind the next boundary") {
    TumblePlan plan = plan_of(10'000);
    plan.emit_every_ms = 1000;
    View view(plan);
    const auto add = [&](std::int64_t append_ms) {
        view.run.append_ms = append_ms;
        return view.add({at(0)}).rows();
    };
    CHECK(add(5'400) == "");
    CHECK(add(5'999) == "");
    CHECK(add(6'000) == "0,200,2,2");
    CHECK(add(6'700) == "0,200,2,2");
    CHECK(add(9'100) == "0,200,4,4");
}

TEST_CASE("S22: aggregates do not depend on the order in which partitions meet") {
    Log log = make_log(22, 900);
    TumblePlan plan = plan_of(2000, 100, partitions);
    plan.keys = {{TumbleKey::Kind::window_start, {}}};
    plan.aggregates = {
        {Aggregate::sum, {2, ""}},   {Aggregate::avg, {2, ""}},
        {Aggregate::first, {3, ""}}, {Aggregate::last, {3, ""}},
        {Aggregate::min, {3, ""}},   {Aggregate::count_distinct, {3, ""}},
        {Aggregate::max, {1, ""}},   {Aggregate::last, {-1, "CASE WHEN bytes % 2 THEN price ELSE path END"}}};
    std::string first;
    for (std::uint64_t seed = 0; seed < 5; ++seed) {
        const Log same = seed == 0 ? Log{{}, log.events} : interleaved(log, seed);
        auto state = make_memory_store();
        ViewRun run(plan, *state);
        REQUIRE(run.feed(same.events, 0, 450));
        REQUIRE(run.feed(same.events, 450, 900));
        const std::string rows = run.finish().rows();
        if (seed == 0) first = rows;
        CHECK(rows == first);
    }
}

}  // namespace
}  // namespace weir::stream
