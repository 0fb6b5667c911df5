#include "stream/tumble.h"

#include "unit/stream/tumble_fixture.h"

#include <catch2/catch_test_macros.hpp>

namespace weir::stream {
namespace {

Event at(std::int64_t time_ms, std::int64_t status = 200, std::int64_t bytes = 1, PartitionNo partition = 0) {
    return {partition, time_ms, {n(status), n(bytes)}};
}

Seen run(const TumblePlan& plan, const std::vector<Event>& log) {
    auto state = make_memory_store();
    ViewRun view(plan, *state);
    REQUIRE(view.feed(log, 0, log.size()));
    return view.finish();
}

TEST_CASE("a window's start, by floor division") {
    CHECK(window_start(0, 1000, 0) == 0);
    CHECK(window_start(999, 1000, 0) == 0);
    CHECK(window_start(1000, 1000, 0) == 1000);
    CHECK(window_start(-1, 1000, 0) == -1000);
    CHECK(window_start(-1000, 1000, 0) == -1000);
    CHECK(window_start(-1001, 1000, 0) == -2000);
    CHECK(window_start(100, 1000, 250) == -750);
    CHECK(window_start(250, 1000, 250) == 250);
    CHECK(window_start(100, 1000, -250) == -250);
    CHECK(window_start(750, 1000, -250) == 750);
    CHECK(window_start(INT64_MIN, 1000, 0) == INT64_MIN);
    CHECK(window_start(INT64_MAX, 1000, 0) == INT64_MAX - 807);
}

TEST_CASE("events fall in windows and groups") {
    CHECK(run(simple_plan(), {at(0), at(999, 404, 5), at(500, 200, 10), at(1000)}).rows() ==
          "0,200,2,11 | 0,404,1,5 | 1000,200,1,1");
    // Sorted by window, then key; NULL first.
    std::vector<Event> log = {at(1500, -3), at(1500, 7), at(-1, 5), at(1500, 0)};
    log[3].values = {Value::null(), Value::null()};
    TumblePlan plan = simple_plan();
    plan.lateness_ms = 10'000;
    CHECK(run(plan, log).rows() == "-1000,5,1,1 | 1000,null,1,null | 1000,-3,1,1 | 1000,7,1,1");
}

TEST_CASE("keys and aggregates come in the plan's order") {
    TumblePlan plan = simple_plan();
    plan.offset_ms = 100;
    plan.keys = {{TumbleKey::Kind::input, {3, ""}},
                 {TumbleKey::Kind::window_end, {}},
                 {TumbleKey::Kind::input, {-1, "status / 100"}},
                 {TumbleKey::Kind::window_start, {}}};
    plan.aggregates = {{Aggregate::max, {3, ""}}, {Aggregate::avg, {2, ""}}, {Aggregate::sum, {-1, "bytes * 2"}}};
    const std::vector<Event> log = {{0, 150, {n(204), n(3), Value::of(1.5), t("/a")}},
                                    {0, 1099, {n(200), n(4), Value::of(2.5), t("/a")}},
                                    {0, 160, {n(404), n(5), Value::null(), t("/a")}}};
    CHECK(run(plan, log).rows() == "'/a',1100,2,100,'/a',2.000000,14 | '/a',1100,4,100,'/a',null,10");
}

TEST_CASE("a view without keys or aggregates of its own") {
    TumblePlan plan = simple_plan();
    plan.keys.clear();
    CHECK(run(plan, {at(0), at(1)}).rows() == "2,2");
    plan.aggregates.clear();
    plan.keys = {{TumbleKey::Kind::window_start, {}}};
    plan.lateness_ms = 5000;
    CHECK(run(plan, {at(0), at(1), at(1000)}).rows() == "0 | 1000");
}

TEST_CASE("late: the watermark of the own partition, before the record") {
    TumblePlan plan = simple_plan();
    plan.lateness_ms = 500;
    plan.delay_ms = 100;
    // The watermark is 1499: 1000 + 500 > 1499, so window 0 still takes rows; one more millisecond and it does not.
    Seen open = run(plan, {at(1599), at(0)});
    CHECK(open.counts.late == 0);
    Seen late = run(plan, {at(1600), at(0), at(1200)});
    CHECK(late.counts.late == 1);
    CHECK(late.late.at({0, 1}) == "0 0");
    CHECK(late.rows() == "1000,200,2,2");
    CHECK(late.watermarks[0] == 1500);
    // A record's own time counts only after its own test: far ahead is never late.
    CHECK(run(plan, {at(1'000'000)}).counts.late == 0);
}

TEST_CASE("partitions do not make each other late, and a silent one holds the least watermark back") {
    TumblePlan plan = simple_plan();
    plan.partitions = 2;
    auto state = make_memory_store();
    ViewRun run(plan, *state);
    const std::vector<Event> log = {at(10'000, 1, 1, 0), at(0, 1, 1, 1), at(20'000, 1, 1, 1)};
    REQUIRE(run.feed(log, 0, 1));
    CHECK(run.view->least_watermark_ms() == INT64_MIN);
    CHECK(run.view->watermark_ms(1) == INT64_MIN);
    CHECK_FALSE(run.view->partitions()[1].any);
    REQUIRE(run.feed(log, 1, 3));
    CHECK(run.view->counts().late == 0);
    CHECK(run.view->least_watermark_ms() == 10'000);
    // Window 0 is over for both; 10 s is open for partition 0.
    CHECK(run.view->open_groups() == 2);
    CHECK(run.view->groups_created() == 3);
    CHECK(run.finish().rows() == "0,1,1,1 | 10000,1,1,1 | 20000,1,1,1");
}

TEST_CASE("filtered and late records move the watermark too") {
    TumblePlan plan = simple_plan();
    plan.where_sql = "status < 400";
    const Seen filtered = run(plan, {at(5000, 404), at(0, 200), at(6000, 500), at(4999, 200)});
    CHECK(filtered.counts.seen == 4);
    CHECK(filtered.counts.filtered == 2);
    CHECK(filtered.counts.late == 2);
    CHECK(filtered.counts.windowed == 0);
    CHECK(filtered.watermarks[0] == 6000);
    // What WHERE drops is filtered, not late; NULL drops.
    std::vector<Event> log = {at(5000), at(0, 404), at(5001)};
    log[2].values[0] = Value::null();
    const Seen seen = run(plan, log);
    CHECK(seen.counts.filtered == 2);
    CHECK(seen.counts.late == 0);
}

TEST_CASE("a raised watermark closes windows, never falls, and is kept") {
    auto state = make_memory_store();
    ViewRun run(simple_plan(), *state);
    const std::vector<Event> log = {at(500), at(500), at(600), at(3500)};
    REQUIRE(run.feed(log, 0, 1));
    run.view->raise_watermark(0, 200);  // below: nothing
    CHECK(run.view->watermark_ms(0) == 500);
    CHECK(run.view->open_groups() == 1);
    run.view->raise_watermark(0, 2000);
    run.view->raise_watermark(0, 1500);
    CHECK(run.view->watermark_ms(0) == 2000);
    CHECK(run.view->open_groups() == 0);
    run.take_rows();
    CHECK(run.seen.rows() == "0,200,1,1");  // dropped after its row was taken note of
    run.collect();
    run.commit();
    run.open();
    CHECK(run.view->watermark_ms(0) == 2000);
    REQUIRE(run.feed(log, 1, 3));
    CHECK(run.view->counts().late == 2);
    REQUIRE(run.feed(log, 3, 4));
    CHECK(run.view->watermark_ms(0) == 3500);
}

TEST_CASE("times at the ends of int64") {
    TumblePlan plan = simple_plan();
    plan.delay_ms = 1000;
    plan.lateness_ms = 1000;
    const Seen seen =
        run(plan, {at(INT64_MIN), at(INT64_MIN + 5000), at(INT64_MIN + 1), at(INT64_MAX), at(INT64_MAX - 1)});
    CHECK(seen.counts.seen == 5);
    CHECK(seen.watermarks[0] == INT64_MAX - 1000);
}

TEST_CASE("too many groups stop the batch, which then counts for nothing") {
    TumblePlan plan = simple_plan();
    plan.groups_max = 3;
    auto state = make_memory_store();
    ViewRun run(plan, *state);
    const std::vector<Event> log = {at(0, 1), at(0, 2), at(900, 2), at(0, 3), at(901, 4), at(950, 1)};
    REQUIRE(run.feed(log, 0, 2));
    const Status full = run.feed(log, 2, 6);
    REQUIRE_FALSE(full);
    CHECK(full.error().code == Errc::too_large);
    CHECK(run.view->open_groups() == 2);
    CHECK(run.view->counts().seen == 2);
    CHECK(run.view->watermark_ms(0) == 0);
    CHECK(run.finish().rows() == "0,1,1,1 | 0,2,1,1");
    REQUIRE(run.feed(log, 2, 4));
    CHECK(run.finish().rows() == "0,1,1,1 | 0,2,2,2 | 0,3,1,1");
}

TEST_CASE("dirty rows: taken once, discarded on demand, kept when the taker fails") {
    auto state = make_memory_store();
    ViewRun run(simple_plan(), *state);
    const std::vector<Event> log = {at(0, 1), at(0, 2), at(1, 1)};
    CHECK_FALSE(run.view->has_dirty_rows());
    REQUIRE(run.feed(log, 0, 2));
    CHECK(run.view->has_dirty_rows());
    int asked = 0;
    const Status failed = run.view->take_dirty_rows(
        [&](std::string_view, const std::vector<Value>&) -> Status {
            if (++asked == 2) return Error{Errc::disk_full, "no room"};
            return {};
        },
        [](std::string_view) -> Status { return {}; });
    CHECK(failed.error().code == Errc::disk_full);
    CHECK(run.view->has_dirty_rows());
    run.take_rows();
    CHECK(run.seen.table.size() == 2);
    REQUIRE(run.feed(log, 2, 3));
    run.seen.table.clear();
    run.take_rows();
    CHECK(run.seen.rows() == "0,1,2,2");  // only what changed
    REQUIRE(run.feed(log, 2, 3));
    run.view->discard_dirty_rows();
    CHECK_FALSE(run.view->has_dirty_rows());
    run.seen.table.clear();
    run.take_rows();
    CHECK(run.seen.table.empty());
}

TEST_CASE("changed windows: each with its groups, once; gone ones with none") {
    TumblePlan plan = simple_plan();
    auto state = make_memory_store();
    ViewRun run(plan, *state);
    const auto changed = [&] {
        std::string all;
        const Status taken = run.view->take_changed_windows([&](std::int64_t start_ms, std::uint64_t groups) -> Status {
            all += (all.empty() ? "" : " ") + std::to_string(start_ms) + ":" + std::to_string(groups);
            return {};
        });
        REQUIRE(taken);
        return all;
    };
    const std::vector<Event> log = {at(100, 1), at(200, 2), at(300, 1), at(400, 1), at(1500, 1), at(5000, 9)};
    REQUIRE(run.feed(log, 0, 3));
    CHECK(changed() == "0:2");
    REQUIRE(run.feed(log, 3, 4));  // a group that is there
    CHECK(changed().empty());
    REQUIRE(run.feed(log, 4, 6));  // the first two windows end, one of them was never told of
    CHECK(changed() == "0:0 1000:0 5000:1");
    // What the taker refuses is told again; replay forgets it.
    const std::vector<Event> more = {at(5100, 1)};
    REQUIRE(run.feed(more, 0, 1));
    CHECK_FALSE(run.view->take_changed_windows([](auto, auto) -> Status { return Error{Errc::io, "no"}; }));
    CHECK(changed() == "5000:2");
    const std::vector<Event> replayed = {at(5200, 2)};
    REQUIRE(run.feed(replayed, 0, 1));
    run.view->discard_dirty_rows();
    CHECK(changed().empty());
}

TEST_CASE("a checkpoint writes what changed, and what changed since the collect stays dirty") {
    auto state = make_memory_store();
    ViewRun run(simple_plan(), *state);
    const std::vector<Event> log = {at(0, 1), at(0, 2), at(1, 1), at(2, 3)};
    REQUIRE(run.feed(log, 0, 2));
    CHECK(run.view->dirty_bytes() > 0);
    run.collect();
    CHECK(run.pending.size() == 4);  // two groups, a window, the meta record
    CHECK(run.view->dirty_bytes() == 0);
    REQUIRE(run.feed(log, 2, 3));  // between collect and done
    CHECK(run.view->dirty_bytes() > 0);
    run.commit();
    run.collect();
    CHECK(run.pending.size() == 2);  // group 1, meta: the window has as many groups as before
    // Not declared done: what it held goes along with the next.
    REQUIRE(run.feed(log, 3, 4));
    run.collect();
    CHECK(run.pending.size() == 4);  // groups 1 and 3, the window, meta
    run.commit();
    run.collect();
    CHECK(run.pending.empty());
    run.open();
    CHECK(run.view->open_groups() == 3);
    CHECK(run.view->groups_created() == 3);
    CHECK(run.view->counts().seen == 4);
    const std::vector<Event> more = {at(3, 1)};
    REQUIRE(run.feed(more, 0, 1));
    CHECK(run.finish().rows() == "0,1,3,3");
}

TEST_CASE("dropped windows leave the state store") {
    auto state = make_memory_store();
    ViewRun run(simple_plan(), *state);
    const std::vector<Event> log = {at(0, 1), at(0, 2), at(1000, 1), at(5000, 1), at(5001, 1)};
    const auto items = [&] {
        int count = 0;
        REQUIRE(state->scan("", [&](std::string_view, std::string_view) { return ++count > 0; }));
        return count;
    };
    REQUIRE(run.feed(log, 0, 2));
    run.take_rows();
    run.collect();
    run.commit();
    CHECK(items() == 4);
    REQUIRE(run.feed(log, 2, 3));  // window 0 is dropped
    CHECK(run.view->open_groups() == 1);
    run.take_rows();
    run.collect();
    REQUIRE(run.feed(log, 3, 4));  // window 1000 is dropped while it is being stored
    run.commit();
    CHECK(items() == 3);  // window 1000 with its group, meta
    run.take_rows();
    run.collect();
    run.commit();
    CHECK(items() == 3);  // window 5000 with its group, meta
    run.open();
    CHECK(run.view->open_groups() == 1);
    REQUIRE(run.feed(log, 4, 5));
    CHECK(run.finish().rows() == "0,1,1,1 | 0,2,1,1 | 1000,1,1,1 | 5000,1,2,2");
}

TEST_CASE("a plan that makes no sense, an expression that is not allowed, a state of another shape") {
    auto state = make_memory_store();
    const auto open = [&](const TumblePlan& plan) {
        auto view = Tumble::open(events_schema(), plan, *state, "v1/");
        return view ? std::string("ok") : std::string(errc_name(view.error().code));
    };
    CHECK(open(simple_plan()) == "ok");
    TumblePlan plan = simple_plan();
    plan.size_ms = 0;
    CHECK(open(plan) == "invalid_argument");
    plan = simple_plan();
    plan.offset_ms = 1000;
    CHECK(open(plan) == "invalid_argument");
    plan.offset_ms = -999;
    CHECK(open(plan) == "ok");
    plan = simple_plan();
    plan.partitions = 0;
    CHECK(open(plan) == "invalid_argument");
    plan = simple_plan();
    plan.where_sql = "status >";
    CHECK(open(plan) == "invalid_argument");
    plan.where_sql = "random() > 0";
    CHECK(open(plan) == "forbidden");
    plan = simple_plan();
    plan.keys[1].input = {-1, "nothing_such"};
    CHECK(open(plan) == "invalid_argument");
    plan.keys[1].input = {9, ""};
    CHECK(open(plan) == "invalid_argument");
    plan = simple_plan();
    plan.aggregates[1].input = {9, ""};
    CHECK(open(plan) == "invalid_argument");

    ViewRun run(simple_plan(), *state);
    REQUIRE(run.feed({at(0)}, 0, 1));
    run.collect();
    run.commit();
    plan = simple_plan();
    plan.aggregates.push_back({Aggregate::count_star, {}});
    CHECK(open(plan) == "corrupt");
    plan = simple_plan();
    plan.partitions = 2;
    CHECK(open(plan) == "corrupt");
    plan = simple_plan();
    plan.emit = Emit::final_rows;
    CHECK(open(plan) == "corrupt");
    plan = simple_plan();
    plan.emit_every_ms = 1000;
    CHECK(open(plan) == "corrupt");
    REQUIRE(state->commit({{"v1/m", "junk"}}));
    CHECK(open(simple_plan()) == "corrupt");
}

std::string from_hex(std::string_view hex) {
    std::string out;
    for (std::size_t i = 0; i + 1 < hex.size(); i += 2)
        out.push_back(static_cast<char>(std::stoi(std::string(hex.substr(i, 2)), nullptr, 16)));
    return out;
}

TEST_CASE("golden: a state that version 0.1 wrote is read, goes on, and is written as it was") {
    const std::vector<std::pair<std::string, std::string>> items = {
        {"76312f6780000000000000001080000000000000c8",
         "01020000000000000002000000000000000c0000000000000000000000000000000200000000000000000000000000f83f00000000000"
         "00440"
         "04000000000000000000000000000000020000002f62"},
        {"76312f678000000000000000108000000000000194",
         "0101000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000"
         "0000000"
         "00000000000000000000000000000000000000"},
        {"76312f6780000000000003e81080000000000000c8",
         "0101000000000000000100000000000000ffffffffffffffffffffffffffffffff0100000000000000000000000000d03f00000000000"
         "00000"
         "04000000000000000000000000000000020000002f63"},
        {"76312f6d",
         "011c000000e80300000000000000000000000000000100000000000203050404080400000000000000000000000000000004000000000"
         "00000"
         "000000000000000003000000000000000200000001e8030000000000000000000000000080010a00000000000000000000000000008"
         "0"},
        {"76312f778000000000000000", "0200000000000000"},
        {"76312f7780000000000003e8", "0100000000000000"}};
    auto state = make_memory_store();
    std::vector<StateChange> changes;
    for (const auto& [key, value] : items)
        changes.push_back({from_hex(key), from_hex(value)});
    REQUIRE(state->commit(changes));

    TumblePlan plan = simple_plan();
    plan.partitions = 2;
    plan.lateness_ms = 500;
    plan.delay_ms = 100;
    plan.aggregates = {
        {Aggregate::count_star, {}}, {Aggregate::sum, {1, ""}}, {Aggregate::avg, {2, ""}}, {Aggregate::max, {3, ""}}};
    ViewRun run(plan, *state);
    CHECK(run.view->open_groups() == 3);
    CHECK(run.view->groups_created() == 3);
    CHECK(run.view->counts().seen == 4);
    CHECK(run.view->watermark_ms(0) == 900);
    CHECK(run.view->watermark_ms(1) == -90);
    // A row that changes nothing but the counts, and then what it wrote again.
    const std::vector<Event> log = {{1, 5, {n(200), n(0), Value::of(0.0), t("")}},
                                    {0, 1001, {n(200), n(1), Value::of(0.5), t("/d")}}};
    REQUIRE(run.feed(log, 0, 1));
    CHECK(run.finish().rows() == "0,200,3,12,1.333333,'/b'");
    run.collect();
    run.commit();
    std::string group = from_hex(items[0].second);
    group[1] = 3;          // count(*)
    group[1 + 8] = 3;      // values in sum
    group[1 + 4 * 8] = 3;  // in avg
    CHECK((*state->get(from_hex(items[0].first)).value() == group));
    CHECK((*state->get(from_hex(items[1].first)).value() == from_hex(items[1].second)));
    CHECK((state->get("v1/m").value()->substr(0, 33) == from_hex(items[3].second).substr(0, 33)));  // the shape
    run.open();
    REQUIRE(run.feed(log, 1, 2));
    CHECK(run.finish().rows() == "0,200,3,12,1.333333,'/b' | 1000,200,2,0,0.375000,'/d'");
}

TEST_CASE("a group that cannot be read stops the view without counting") {
    auto state = make_memory_store();
    ViewRun run(simple_plan(), *state);
    const std::vector<Event> log = {at(0, 1), at(1, 2), at(2, 1)};
    REQUIRE(run.feed(log, 0, 1));
    run.collect();
    run.commit();
    std::string group;
    REQUIRE(state->scan("v1/g", [&](std::string_view key, std::string_view) {
        group = std::string(key);
        return false;
    }));
    REQUIRE(state->commit({{group, "junk"}}));
    run.open();
    const Status broken = run.feed(log, 1, 3);
    REQUIRE_FALSE(broken);
    CHECK(broken.error().code == Errc::corrupt);
    CHECK(run.view->counts().seen == 1);
    CHECK_FALSE(run.view->has_dirty_rows());
}

}  // namespace
}  // namespace weir::stream
