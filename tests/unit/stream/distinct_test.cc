// count(DISTINCT x): exact sets, their bounds, and where they are kept.
#include "stream/detail/distinct.h"

#include "base/prng.h"
#include "unit/stream/tumble_fixture.h"

#include <catch2/catch_test_macros.hpp>

namespace weir::stream {
namespace {

TumblePlan distinct_plan(const Input& input) {
    TumblePlan plan = simple_plan();
    plan.aggregates = {{Aggregate::count_distinct, input}};
    return plan;
}

std::string rows_of(const TumblePlan& plan, const std::vector<Event>& log) {
    auto state = make_memory_store();
    ViewRun run(plan, *state);
    REQUIRE(run.feed(log, 0, log.size()));
    return run.finish().rows();
}

Event with_bytes(std::int64_t bytes, std::int64_t status = 200, std::int64_t time_ms = 0) {
    return {0, time_ms, {n(status), n(bytes)}};
}

TEST_CASE("count(DISTINCT): by column, NULLs left out, one set a group") {
    const TumblePlan bytes = distinct_plan({1, ""});
    CHECK(rows_of(bytes, {with_bytes(1),
                          with_bytes(2),
                          with_bytes(1),
                          {0, 0, {n(200), Value::null()}},
                          with_bytes(1, 404),
                          with_bytes(-1, 404),
                          with_bytes(1, 200, 1000)}) == "0,200,2 | 0,404,2 | 1000,200,1");
    CHECK(rows_of(bytes, {{0, 0, {n(200), Value::null()}}}) == "0,200,0");
    const auto path = [](std::string_view text) { return Event{0, 0, {n(200), n(1), Value::of(0.5), t(text)}}; };
    CHECK(rows_of(distinct_plan({3, ""}),
                  {path("a"), path("A"), path(""), path("a"), path(std::string_view("a\0", 2))}) == "0,200,4");
    const auto price = [](double real) { return Event{0, 0, {n(200), n(1), Value::of(real)}}; };
    CHECK(rows_of(distinct_plan({2, ""}), {price(0.0), price(-0.0), price(1.5), price(1.5)}) == "0,200,2");
}

TEST_CASE("count(DISTINCT): of an expression 1 and 1.0 are one value, text and blob are two") {
    const auto of = [](const std::string& sql, int events) {
        std::vector<Event> log;
        for (int i = 0; i < events; ++i)
            log.push_back(with_bytes(i));
        return rows_of(distinct_plan({-1, sql}), log);
    };
    CHECK(of("CASE bytes WHEN 0 THEN 1 WHEN 1 THEN 1.0 ELSE '1' END", 3) == "0,200,2");
    CHECK(of("CASE bytes WHEN 0 THEN '1' ELSE CAST('1' AS BLOB) END", 2) == "0,200,2");
    CHECK(of("CASE bytes WHEN 0 THEN 9007199254740993 WHEN 1 THEN 9007199254740992.0 ELSE 9007199254740992 END", 3) ==
          "0,200,2");
    CHECK(of("CASE bytes WHEN 0 THEN 9223372036854775807 ELSE 9223372036854775808.0 END", 2) == "0,200,2");
    CHECK(of("nullif(bytes % 3, 1)", 9) == "0,200,2");
}

TEST_CASE("count(DISTINCT): several of them beside other aggregates") {
    TumblePlan plan = simple_plan();
    plan.aggregates = {{Aggregate::count_distinct, {1, ""}},
                       {Aggregate::count_star, {}},
                       {Aggregate::count_distinct, {-1, "bytes % 2"}},
                       {Aggregate::count_distinct, {3, ""}}};
    std::vector<Event> log;
    for (int i = 0; i < 10; ++i)
        log.push_back({0, i, {n(200), n(i % 5), Value::null(), i == 7 ? t("x") : Value::null()}});
    CHECK(rows_of(plan, log) == "0,200,5,10,2,1");
}

TEST_CASE("count(DISTINCT): a checkpoint writes the values that are new, and sets go with their window") {
    auto state = make_memory_store();
    ViewRun run(distinct_plan({1, ""}), *state);
    std::vector<Event> log;
    for (int i = 0; i < 100; ++i)
        log.push_back(with_bytes(i));
    log.push_back(with_bytes(5));
    log.push_back(with_bytes(1000));
    log.push_back(with_bytes(1, 200, 5000));
    const auto items = [&](const std::string& prefix) {
        int count = 0;
        REQUIRE(state->scan(prefix, [&](std::string_view, std::string_view) { return ++count > 0; }));
        return count;
    };
    REQUIRE(run.feed(log, 0, 100));
    CHECK(run.view->distinct_values() == 100);
    CHECK(run.view->dirty_bytes() > 100 * 27);
    run.take_rows();
    run.collect();
    run.commit();
    CHECK(items("v1/d") == 100);
    CHECK(run.view->dirty_bytes() == 0);
    run.open();
    CHECK(run.view->distinct_values() == 100);
    REQUIRE(run.feed(log, 100, 101));  // known: read back from the store
    run.take_rows();
    run.collect();
    CHECK(run.pending.size() == 2);  // the group, meta
    run.commit();
    REQUIRE(run.feed(log, 101, 102));
    run.take_rows();
    CHECK(run.seen.rows() == "0,200,101");
    run.collect();
    CHECK(run.pending.size() == 4);  // a value, its window's record, the group, meta
    run.commit();
    REQUIRE(run.feed(log, 102, 103));
    CHECK(run.view->distinct_values() == 1);
    run.take_rows();
    run.collect();
    run.commit();
    CHECK(items("v1/d") == 1);
    CHECK(items("v1/e") == 1);
    CHECK(run.finish().rows() == "0,200,101 | 5000,200,1");
}

TEST_CASE("count(DISTINCT): memory holds as much as its bound, the store the rest") {
    TumblePlan plan = distinct_plan({1, ""});
    plan.cache_bytes = 100'000;
    auto state = make_memory_store();
    ViewRun run(plan, *state);
    Prng prng(3);
    std::vector<bool> seen(20'000);
    std::size_t distinct = 0;
    for (int round = 0; round < 60; ++round) {
        std::vector<Event> log;
        for (int i = 0; i < 500; ++i) {
            const auto value = prng.below(seen.size());
            distinct += seen[value] ? 0 : 1;
            seen[value] = true;
            log.push_back(with_bytes(static_cast<std::int64_t>(value)));
        }
        REQUIRE(run.feed(log, 0, log.size()));
        run.take_rows();
        if (round % 3 != 0) continue;
        run.collect();
        run.commit();
    }
    CHECK(run.finish().rows() == "0,200," + std::to_string(distinct));
    CHECK(run.view->distinct_values() == distinct);
}

TEST_CASE("count(DISTINCT): too many values stop the batch, which then counts for nothing") {
    TumblePlan plan = distinct_plan({1, ""});
    plan.distinct_max = 3;
    auto state = make_memory_store();
    ViewRun run(plan, *state);
    const std::vector<Event> log = {with_bytes(1), with_bytes(2), with_bytes(2),
                                    with_bytes(3), with_bytes(4), with_bytes(3)};
    REQUIRE(run.feed(log, 0, 3));
    const Status full = run.feed(log, 3, 6);
    REQUIRE_FALSE(full);
    CHECK(full.error().code == Errc::too_large);
    CHECK(full.error().detail.find("3 distinct values in count(DISTINCT)") != std::string::npos);
    CHECK(run.view->distinct_values() == 2);
    CHECK(run.view->counts().seen == 3);
    REQUIRE(run.feed(log, 3, 4));
    CHECK(run.finish().rows() == "0,200,3");
}

TEST_CASE("the state of a view has a bound in bytes: keys, values and texts") {
    const std::string long_text(10'000, 'x');
    TumblePlan plan = simple_plan();
    plan.state_bytes_max = 50'000;
    plan.aggregates = {{Aggregate::last, {3, ""}}};
    const auto event = [&](std::int64_t status, std::int64_t time_ms) {
        return Event{0, time_ms, {n(status), n(1), Value::null(), t(long_text)}};
    };
    auto state = make_memory_store();
    ViewRun run(plan, *state);
    std::vector<Event> log;
    for (int i = 0; i < 8; ++i)
        log.push_back(event(i, i));
    log.push_back(event(0, 10'000));
    std::size_t fed = 0;
    while (fed < 8 && run.feed(log, fed, fed + 1))
        ++fed;
    CHECK(fed == 5);  // the sixth group is one too many
    CHECK(run.view->state_bytes() > 50'000);
    const Status full = run.feed(log, 5, 6);
    CHECK(full.error().code == Errc::too_large);
    CHECK(full.error().detail.find("50000 bytes") != std::string::npos);
    REQUIRE(run.feed(log, 0, 1));  // groups that are there go on
    // After a restart it weighs the same.
    const std::uint64_t bytes = run.view->state_bytes();
    run.take_rows();
    run.collect();
    run.commit();
    run.open();
    CHECK(run.view->state_bytes() == bytes);
    CHECK(run.feed(log, 6, 7).error().code == Errc::too_large);
    // A window that goes takes its state along.
    run.view->raise_watermark(0, 5000);
    CHECK(run.view->state_bytes() == 0);
    REQUIRE(run.feed(log, 8, 9));
    // Long keys weigh too.
    TumblePlan keyed = simple_plan();
    keyed.keys[1].input = {3, ""};
    keyed.state_bytes_max = 15'000;
    auto other = make_memory_store();
    ViewRun by_key(keyed, *other);
    const std::string one = long_text + "1", two = long_text + "2", three = long_text + "3";
    const std::vector<Event> keys = {{0, 0, {n(1), n(1), Value::null(), t(one)}},
                                     {0, 0, {n(1), n(1), Value::null(), t(two)}},
                                     {0, 0, {n(1), n(1), Value::null(), t(three)}}};
    CHECK(by_key.feed(keys, 0, 3).error().code == Errc::too_large);
    CHECK(by_key.view->state_bytes() == 0);
    REQUIRE(by_key.feed(keys, 0, 2));
}

}  // namespace
}  // namespace weir::stream
