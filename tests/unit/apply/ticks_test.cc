#include "apply/detail/ticks.h"

#include "unit/stream/tumble_fixture.h"

#include <catch2/catch_test_macros.hpp>

#include <vector>

namespace weir::apply {
namespace {

using stream::Event;
using stream::n;
using stream::ViewRun;

constexpr std::int64_t never = INT64_MAX;

Event at(std::int64_t time_ms, PartitionNo partition = 0) {
    return {partition, time_ms, {n(200), n(1)}};
}

stream::TumblePlan plan_of(std::int32_t partitions, std::int64_t lateness_ms = 0, std::int64_t delay_ms = 0) {
    auto plan = stream::simple_plan();
    plan.partitions = partitions;
    plan.lateness_ms = lateness_ms;
    plan.delay_ms = delay_ms;
    return plan;
}

struct Ticked {
    explicit Ticked(stream::TumblePlan of)
        : plan(std::move(of)), state(stream::make_memory_store()), run(plan, *state) {
        arrivals.last_ms.assign(static_cast<std::size_t>(plan.partitions), INT64_MIN);
    }
    void add(Event event, std::int64_t append_ms) {
        arrivals.on_records(event.partition, append_ms);
        log.push_back(std::move(event));
        REQUIRE(run.feed(log, log.size() - 1, log.size()));
    }
    void tick(std::int64_t append_ms, std::int64_t idle_ms = -1) {
        tick_view(*run.view, plan, arrivals, idle_ms, append_ms);
    }
    std::int64_t due(std::int64_t idle_ms = -1) const { return tick_due_ms(*run.view, plan, arrivals, idle_ms); }
    std::int64_t watermark(PartitionNo p) const { return run.view->watermark_ms(p); }

    stream::TumblePlan plan;
    std::unique_ptr<stream::StateStore> state;
    ViewRun run;
    Arrivals arrivals;
    std::vector<Event> log;
};

}  // namespace

TEST_CASE("tick: a partition without a record takes the least watermark of the others, 30 s after the first record") {
    Ticked view(plan_of(3));
    CHECK(view.due() == never);
    view.add(at(5'500, 0), 1'000'000);
    view.add(at(9'000, 1), 1'020'000);
    CHECK(view.due() == 1'030'000);
    view.tick(1'029'999);
    CHECK(view.watermark(2) == INT64_MIN);
    view.tick(1'030'000);
    CHECK(view.watermark(2) == 5'500);
    CHECK(view.run.view->least_watermark_ms() == 5'500);
    // Partitions with records are left alone.
    CHECK(view.watermark(0) == 5'500);
    CHECK(view.watermark(1) == 9'000);
    // From here on it holds nobody back for long: the next tick is due when the others have passed a boundary.
    CHECK(view.due() == never);  // partition 0 has not passed 6,000
    view.add(at(6'000, 0), 1'031'000);
    CHECK(view.due() == 1'030'000);
    view.tick(1'031'000);
    CHECK(view.watermark(2) == 6'000);
}

TEST_CASE("tick: its first record ends that a partition follows the others; older than its watermark it is late") {
    Ticked view(plan_of(2));
    view.add(at(5'500, 0), 0);
    view.tick(30'000);
    view.add(at(900, 1), 30'001);
    CHECK(view.run.view->counts().late == 1);
    CHECK(view.watermark(1) == 5'500);
    view.add(at(8'000, 0), 30'002);
    view.tick(99'000);
    CHECK(view.watermark(1) == 5'500);
}

TEST_CASE("tick: without a record in the view, or before 30 s, nothing moves") {
    Ticked view(plan_of(2));
    view.tick(1'000'000, 0);
    CHECK(view.watermark(0) == INT64_MIN);
    CHECK(view.watermark(1) == INT64_MIN);
    CHECK(view.due(0) == never);
}

TEST_CASE("S7: an idle partition's watermark goes on with append time, its lag kept") {
    Ticked view(plan_of(1, 0, 300));
    view.add(at(5'500), 1'000'000);
    CHECK(view.watermark(0) == 5'200);
    view.tick(1'009'999, 10'000);
    CHECK(view.watermark(0) == 5'200);
    // 10 s of quiet are free; what is beyond them moves the watermark.
    view.tick(1'010'250, 10'000);
    CHECK(view.watermark(0) == 5'450);
    // An earlier tick does not take it back, nor does a record of an older time.
    view.tick(1'010'100, 10'000);
    CHECK(view.watermark(0) == 5'450);
    view.add(at(5'400), 1'011'000);
    CHECK(view.watermark(0) == 5'450);
    // The record ended the quiet.
    CHECK_FALSE(is_idle(view.arrivals, 0, 10'000, 1'020'999));
    CHECK(is_idle(view.arrivals, 0, 10'000, 1'021'000));
    CHECK_FALSE(is_idle(view.arrivals, 0, -1, never));
}

TEST_CASE("S7: all partitions idle: windows close all the same") {
    Ticked view(plan_of(2));
    view.add(at(5'500, 0), 1'000'000);
    view.add(at(7'900, 1), 1'000'500);
    CHECK(view.run.view->open_groups() == 2);
    // Window 5 ends at 6,000: partition 0 must gain 500 ms after 10 s of quiet; partition 1 is beyond it.
    CHECK(view.due(10'000) == 1'010'500);
    view.tick(view.due(10'000), 10'000);
    CHECK(view.run.view->least_watermark_ms() == 6'000);
    CHECK(view.run.view->open_groups() == 1);
    // The next boundary, 7,000, a second later; and 8,000 closes the last one.
    CHECK(view.due(10'000) == 1'011'500);
    view.tick(1'012'500, 10'000);
    CHECK(view.run.view->least_watermark_ms() == 8'000);
    CHECK(view.run.view->open_groups() == 0);
    CHECK(view.due(10'000) == never);  // nothing open: no ticks
}

TEST_CASE("tick: due at the end of a window and again at end plus lateness") {
    Ticked view(plan_of(1, 2'300));
    view.add(at(5'500), 0);
    CHECK(view.due(0) == 500);  // 6,000: window 5 is final
    view.tick(500, 0);
    CHECK(view.due(0) == 800);  // 6,300: the end of a window, plus lateness
    CHECK(view.run.view->open_groups() == 1);
    for (std::int64_t due = view.due(0); due != never; due = view.due(0)) {
        REQUIRE(due <= 2'800);
        view.tick(due, 0);
    }
    CHECK(view.run.view->open_groups() == 0);
    CHECK(view.watermark(0) == 8'300);
}

TEST_CASE("tick: without IDLE AFTER a partition that waits for records makes no tick useful") {
    Ticked view(plan_of(2));
    view.add(at(5'500, 0), 0);
    view.add(at(9'000, 1), 0);
    CHECK(view.due() == never);
}

TEST_CASE("tick: times at the ends of the range neither overflow nor go back") {
    Ticked view(plan_of(2, 0, 1'000));
    view.add(at(INT64_MAX - 10, 0), INT64_MAX - 5);
    view.add(at(INT64_MIN + 10, 1), INT64_MAX - 5);
    (void)view.due(INT64_MAX);
    (void)view.due(0);
    view.tick(INT64_MAX, 0);
    view.tick(INT64_MIN + 1, 0);
    CHECK(view.watermark(0) >= INT64_MAX - 1'010);
}

TEST_CASE("FLUSH: every watermark goes to the highest event time seen minus DELAY, used partition or not") {
    Ticked view(plan_of(3, 0, 500));
    flush_view(*view.run.view, view.plan);
    CHECK(view.watermark(0) == INT64_MIN);
    view.add(at(5'500, 0), 0);
    view.add(at(9'400, 1), 0);
    flush_view(*view.run.view, view.plan);
    for (PartitionNo p = 0; p < 3; p++)
        CHECK(view.watermark(p) == 8'900);
    CHECK(view.run.view->open_groups() == 1);  // the window of 9,400
    view.add(at(5'600, 0), 0);
    CHECK(view.run.view->counts().late == 1);
}

}  // namespace weir::apply
