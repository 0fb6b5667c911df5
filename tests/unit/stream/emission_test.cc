// When rows are written: EMIT CHANGES, EVERY and FINAL, and HAVING.
#include "stream/detail/emission.h"

#include "unit/stream/tumble_fixture.h"

#include <catch2/catch_test_macros.hpp>

namespace weir::stream {
namespace {

Event at(std::int64_t time_ms, std::int64_t status = 200, std::int64_t bytes = 1, PartitionNo partition = 0) {
    return {partition, time_ms, {n(status), n(bytes)}};
}

// A view that is fed one event after the other, each in an entry of its own.
struct Feed {
    std::unique_ptr<StateStore> state = make_memory_store();
    ViewRun run;
    std::vector<Event> log;

    explicit Feed(const TumblePlan& plan) : run(plan, *state) {}
    Feed& add(Event event, std::int64_t append_ms = 0) {
        log.push_back(std::move(event));
        run.append_ms = append_ms;
        REQUIRE(run.feed(log, log.size() - 1, log.size()));
        return *this;
    }
    std::string rows() {
        run.take_rows();
        return run.seen.rows();
    }
};

TumblePlan final_plan(std::int64_t lateness_ms = 0, std::int32_t partitions = 1) {
    TumblePlan plan = simple_plan();
    plan.emit = Emit::final_rows;
    plan.lateness_ms = lateness_ms;
    plan.partitions = partitions;
    return plan;
}

TumblePlan every_plan() {
    TumblePlan plan = simple_plan();
    plan.emit_every_ms = 100;
    plan.lateness_ms = 10'000;
    return plan;
}

TEST_CASE("EMIT FINAL: a window's rows come once, when the least watermark has passed its end") {
    Feed feed(final_plan(0, 2));
    CHECK(feed.add(at(0)).add(at(10, 404)).rows() == "");
    CHECK_FALSE(feed.run.view->has_dirty_rows());
    CHECK(feed.add(at(1000)).rows() == "");  // the other partition has not begun
    CHECK(feed.add(at(500, 200, 5, 1)).rows() == "");
    CHECK(feed.add(at(999, 200, 7, 1)).rows() == "");  // not yet: the end is 1000
    CHECK(feed.add(at(1000, 200, 1, 1)).rows() == "0,200,3,13 | 0,404,1,1");
    CHECK(feed.run.history() == "0,200,3,13 | 0,404,1,1");
    CHECK(feed.add(at(5000)).add(at(5000, 200, 1, 1)).rows() == "0,200,3,13 | 0,404,1,1 | 1000,200,2,2");
    CHECK(feed.run.history() == "0,200,3,13 | 0,404,1,1 | 1000,200,2,2");
    CHECK(feed.run.view->open_groups() == 1);
}

TEST_CASE("EMIT FINAL: DELAY and a raised watermark count, records need not come") {
    TumblePlan plan = final_plan();
    plan.delay_ms = 300;
    Feed feed(plan);
    CHECK(feed.add(at(0)).add(at(1299)).rows() == "");
    feed.run.view->raise_watermark(0, 999);
    CHECK(feed.rows() == "");
    feed.run.view->raise_watermark(0, 1000);
    CHECK(feed.run.view->has_dirty_rows());
    CHECK(feed.rows() == "0,200,1,1");
}

TEST_CASE("EMIT FINAL with LATENESS: what comes in time is told apart from what corrects, whoever is ahead") {
    // Partition 0 is past the end of window 0 and takes a late row before partition 1 has got that far.
    Feed feed(final_plan(5000, 2));
    feed.add(at(0, 200, 1)).add(at(1500, 200, 2));
    feed.add(at(10, 200, 100));  // late and allowed
    feed.add(at(20, 404, 100));  // its group has nothing else
    feed.add(at(30, 200, 4, 1)).add(at(1000, 200, 8, 1));
    CHECK(feed.rows() == "0,200,3,105 | 0,404,1,100");
    CHECK(feed.run.history() == "0,200,2,5 > 0,200,3,105 | 0,404,1,100");
    // From then on a correction comes as it is.
    feed.add(at(40, 200, 1000, 1));
    CHECK(feed.rows() == "0,200,4,1105 | 0,404,1,100");
    // Nothing in time, nothing late: no row of the next window yet.
    CHECK(feed.run.view->open_groups() == 3);
}

TEST_CASE("EMIT FINAL with LATENESS: the state goes at end and lateness, after the last correction") {
    Feed feed(final_plan(500));
    feed.add(at(0)).add(at(1000)).add(at(999)).add(at(1499)).add(at(998));
    CHECK(feed.rows() == "0,200,3,3");
    feed.add(at(1500)).add(at(997));
    CHECK(feed.run.view->counts().late == 1);
    CHECK(feed.rows() == "0,200,3,3");
    // Correction and end in one batch: the correction is not lost.
    Feed both(final_plan(500));
    both.log = {at(0), at(1000), at(1), at(9000)};
    REQUIRE(both.run.feed(both.log, 0, 4));
    CHECK(both.rows() == "0,200,2,2 | 1000,200,1,1");
    // Final and corrected before the rows are taken: one row, as there is one partition.
    Feed twice(final_plan(5000));
    CHECK(twice.add(at(0)).add(at(1000)).add(at(1)).rows() == "0,200,2,2");
    CHECK(twice.run.history() == "0,200,2,2");
}

TEST_CASE("EMIT FINAL: rows of groups that only the state store has") {
    TumblePlan plan = final_plan(1000);
    plan.cache_bytes = 1;
    Feed feed(plan);
    for (int i = 0; i < 50; ++i)
        feed.add(at(i, i));
    feed.run.take_rows();
    feed.run.collect();
    feed.run.commit();
    for (int i = 0; i < 4; ++i)
        feed.add(at(60, 7));  // the eviction hand comes by
    feed.add(at(1000, 0));
    feed.run.take_rows();
    CHECK(feed.run.seen.table.size() == 50);
    CHECK(feed.run.seen.rows().find("0,7,5,5") != std::string::npos);
    CHECK(feed.run.seen.rows().find("0,49,1,1") != std::string::npos);
    // And once only.
    for (const auto& [key, rows] : feed.run.written)
        CHECK(rows.size() == 1);
}

TEST_CASE("EMIT FINAL: a checkpoint that is collected before the rows are taken leaves what they are made of") {
    TumblePlan plan = final_plan();
    plan.cache_bytes = 1;
    Feed feed(plan);
    for (int i = 0; i < 20; ++i)
        feed.add(at(i, i));
    feed.run.collect();
    feed.run.commit();
    for (int i = 0; i < 4; ++i)
        feed.add(at(60, 7));
    feed.add(at(1000, 0));  // window 0 is over, and most of it is not in memory
    feed.run.collect();
    feed.run.commit();
    feed.run.take_rows();
    CHECK(feed.run.seen.table.size() == 20);
    feed.run.collect();
    feed.run.commit();
    int left = 0;
    REQUIRE(feed.state->scan("v1/g", [&](std::string_view, std::string_view) { return ++left > 0; }));
    CHECK(left == 1);
}

TEST_CASE("EMIT CHANGES EVERY: rows come as the cut in append time found them") {
    Feed feed(every_plan());
    feed.add(at(0), 1000).add(at(1), 1099);
    CHECK_FALSE(feed.run.view->has_dirty_rows());
    CHECK(feed.rows() == "");
    CHECK(feed.run.view->rows_due_at_ms() == 1100);
    feed.add(at(2), 1100);  // behind the cut: what it adds is not seen
    CHECK(feed.rows() == "0,200,2,2");
    feed.add(at(3), 1199);
    CHECK(feed.rows() == "0,200,2,2");
    // Two cuts at once, and rows that were due and not yet taken.
    feed.add(at(4, 404), 1250);
    feed.add(at(5, 404), 1260);
    feed.add(at(6, 404), 1333);
    CHECK(feed.rows() == "0,200,4,4 | 0,404,2,2");
    CHECK(feed.run.history() == "0,200,2,2 > 0,200,4,4 | 0,404,2,2");
    CHECK(feed.run.view->rows_due_at_ms() == 1400);
    // The log may come to a cut without a record.
    CHECK_FALSE(feed.run.view->on_append_time(1399));
    CHECK(feed.run.view->on_append_time(1400));
    CHECK_FALSE(feed.run.view->on_append_time(1400));
    CHECK(feed.rows() == "0,200,4,4 | 0,404,3,3");
    CHECK(feed.run.view->rows_due_at_ms() == INT64_MAX);
    CHECK_FALSE(feed.run.view->on_append_time(5000));  // nothing changed since
}

TEST_CASE("EMIT CHANGES EVERY: a window that is over has its last rows written at once") {
    TumblePlan plan = every_plan();
    plan.lateness_ms = 0;
    Feed feed(plan);
    feed.add(at(0), 1000).add(at(1, 404), 1010).add(at(1000), 1020);
    CHECK(feed.run.view->open_groups() == 1);
    CHECK(feed.run.view->has_dirty_rows());
    CHECK(feed.rows() == "0,200,1,1 | 0,404,1,1");
    CHECK_FALSE(feed.run.view->has_dirty_rows());
    feed.add(at(1001), 1100);
    CHECK(feed.rows() == "0,200,1,1 | 0,404,1,1 | 1000,200,1,1");
}

TEST_CASE("EMIT CHANGES EVERY: a view that caught up shows all of it") {
    Feed feed(every_plan());
    feed.add(at(0), 1000);
    feed.run.view->release_rows();
    feed.add(at(1), 1001);  // after it
    CHECK(feed.rows() == "0,200,1,1");
    feed.add(at(2), 1100);
    CHECK(feed.rows() == "0,200,2,2");
}

TEST_CASE("EMIT CHANGES EVERY: what is held back outlives restarts and leaves memory") {
    TumblePlan plan = every_plan();
    plan.cache_bytes = 1;
    Feed feed(plan);
    for (int i = 0; i < 30; ++i)
        feed.add(at(i, i), 1000);
    feed.run.take_rows();
    feed.run.collect();
    feed.run.commit();
    for (int i = 0; i < 5; ++i)
        feed.add(at(60, 7), 1001);
    feed.run.take_rows();
    feed.run.collect();
    feed.run.commit();
    CHECK(feed.run.seen.table.empty());
    feed.run.open();
    CHECK(feed.run.view->rows_due_at_ms() == 1100);
    CHECK_FALSE(feed.run.view->has_dirty_rows());
    feed.add(at(61, 3), 1100);
    feed.run.take_rows();
    CHECK(feed.run.seen.table.size() == 30);
    CHECK(feed.run.seen.rows().find("0,7,6,6") != std::string::npos);
    CHECK(feed.run.seen.rows().find("0,3,1,1") != std::string::npos);
    // The next cut writes what changed since, no more.
    feed.run.written.clear();
    feed.add(at(62, 9), 1200);
    feed.run.take_rows();
    CHECK(feed.run.history() == "0,3,2,2");
}

TEST_CASE("HAVING: a row that stops to satisfy it is gone, and comes back when it does again") {
    TumblePlan plan = simple_plan();
    plan.having_sql = "_r2 > 1 AND _r3 < 100";
    Feed feed(plan);
    CHECK(feed.add(at(0)).rows() == "");
    CHECK(feed.add(at(1)).rows() == "0,200,2,2");
    CHECK(feed.add(at(2, 200, 200)).rows() == "");
    CHECK(feed.add(at(3, 200, -200)).rows() == "0,200,4,2");
    CHECK(feed.run.history() == "gone > 0,200,2,2 > gone > 0,200,4,2");
    // NULL does not satisfy it.
    Event null = at(4, 500);
    null.values[1] = Value::null();
    CHECK(feed.add(null).add(null).rows() == "0,200,4,2");
}

TEST_CASE("HAVING: typed slots and slots of any type") {
    TumblePlan plan = simple_plan();
    plan.keys.push_back({TumbleKey::Kind::input, {-1, "CASE WHEN bytes > 5 THEN 'big' ELSE bytes END"}});
    plan.aggregates = {{Aggregate::max, {3, ""}}, {Aggregate::avg, {2, ""}}, {Aggregate::first, {-1, "price"}}};
    const auto passes = [&](const std::string& having) {
        plan.having_sql = having;
        Feed feed(plan);
        feed.add({0, 0, {n(200), n(9), Value::of(1.5), t("/a")}});
        feed.add({0, 1, {n(200), n(2), Value::of(2.5), t("/b")}});
        feed.add({0, 2, {n(404), n(2), Value::null(), Value::null()}});
        feed.rows();
        std::string out;
        for (const auto& [key, row] : feed.run.seen.table)
            out += row.substr(0, row.find(',', row.find(',', 2) + 1)) + " ";
        return out;
    };
    const record::Schema& schema = events_schema();
    const std::string any_key = row_term(schema, plan, 2), first = row_term(schema, plan, 5);
    CHECK(row_term(schema, plan, 0) == "_r0");
    CHECK(any_key.find("CASE") != std::string::npos);
    CHECK(passes("_r1 = 200") == "0,200,2 0,200,'big' ");
    CHECK(passes(any_key + " = 'big'") == "0,200,'big' ");
    CHECK(passes(any_key + " = 2") == "0,200,2 0,404,2 ");
    CHECK(passes("typeof(" + any_key + ") = 'integer'") == "0,200,2 0,404,2 ");
    CHECK(passes("_r3 >= '/b'") == "0,200,2 ");
    CHECK(passes("_r3 IS NULL") == "0,404,2 ");
    CHECK(passes("_r4 < 2") == "0,200,'big' ");
    CHECK(passes(first + " > 2") == "0,200,2 ");
    CHECK(passes("1") == "0,200,2 0,200,'big' 0,404,2 ");
    CHECK(passes("NULL") == "");
}

TEST_CASE("HAVING: what it refuses, and a plan that mixes EVERY with FINAL") {
    auto state = make_memory_store();
    const auto open = [&](TumblePlan plan) {
        auto view = Tumble::open(events_schema(), plan, *state, "v1/");
        return view ? std::string("ok") : std::string(errc_name(view.error().code));
    };
    TumblePlan plan = simple_plan();
    for (const auto& [having, wanted] :
         std::vector<std::pair<const char*, const char*>>{{"_r2 > 1", "ok"},
                                                          {"_r2 >", "invalid_argument"},
                                                          {"nothing_such > 1", "invalid_argument"},
                                                          {"random() > 0", "forbidden"},
                                                          {"_r2 IN (SELECT 1)", "forbidden"}}) {
        INFO(having);
        plan.having_sql = having;
        CHECK(open(plan) == wanted);
        CHECK(check_having(events_schema(), plan).has_value() == (std::string(wanted) == "ok"));
    }
    plan = simple_plan();
    plan.aggregates = {{Aggregate::avg, {2, ""}}};
    plan.having_sql = "_r2 || 'x' = '1x'";
    CHECK(open(plan) == "forbidden");  // REAL as text
    plan = simple_plan();
    plan.emit = Emit::final_rows;
    plan.emit_every_ms = 5;
    CHECK(open(plan) == "invalid_argument");
    plan.emit = Emit::changes;
    plan.emit_every_ms = -5;
    CHECK(open(plan) == "invalid_argument");
}

TEST_CASE("HAVING: many rows are judged in order, also when taking them fails once") {
    TumblePlan plan = simple_plan();
    plan.having_sql = "_r1 % 2 = 0";
    Feed feed(plan);
    std::vector<Event> log;
    for (int i = 0; i < 1000; ++i)
        log.push_back(at(i % 1000, i));
    REQUIRE(feed.run.feed(log, 0, log.size()));
    int asked = 0;
    const Status failed = feed.run.view->take_dirty_rows(
        [&](std::string_view, const std::vector<Value>&) -> Status {
            if (++asked == 300) return Error{Errc::disk_full, "no room"};
            return {};
        },
        [](std::string_view) -> Status { return {}; });
    CHECK(failed.error().code == Errc::disk_full);
    feed.run.take_rows();
    CHECK(feed.run.seen.table.size() == 500);
    CHECK(feed.run.written.size() == 1000);
    for (const auto& [key, row] : feed.run.seen.table)
        CHECK(std::stoi(row.substr(2)) % 2 == 0);
}

}  // namespace
}  // namespace weir::stream
