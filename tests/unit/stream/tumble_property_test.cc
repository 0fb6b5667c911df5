// Properties over random streams: the view agrees with a naive model, does not depend on how records were cut into
// batches, nor on restarts, nor on how little memory it has.
#include "base/prng.h"
#include "unit/stream/random_log.h"
#include "unit/stream/restarts.h"
#include "unit/stream/tumble_fixture.h"

#include <catch2/catch_test_macros.hpp>

#include <memory>

namespace weir::stream {
namespace {

TumblePlan make_plan(Prng& prng) {
    TumblePlan plan;
    plan.size_ms = 1000;
    plan.offset_ms = static_cast<std::int64_t>(prng.below(1999)) - 999;
    plan.lateness_ms = static_cast<std::int64_t>(prng.below(3)) * 1500;
    plan.delay_ms = static_cast<std::int64_t>(prng.below(3)) * 700;
    plan.partitions = partitions;
    if (prng.chance(0.3)) plan.where_sql = "status < 400 OR path IS NULL";
    plan.keys = {{TumbleKey::Kind::window_start, {}}, {TumbleKey::Kind::window_end, {}}};
    if (prng.chance(0.6)) plan.keys.push_back({TumbleKey::Kind::input, {0, ""}});
    if (prng.chance(0.5)) plan.keys.push_back({TumbleKey::Kind::input, {3, ""}});
    if (prng.chance(0.3))
        plan.keys.push_back({TumbleKey::Kind::input, {-1, "CASE WHEN bytes % 3 = 0 THEN price ELSE bytes % 2 END"}});
    plan.aggregates = {{Aggregate::count_star, {}},
                       {Aggregate::count, {3, ""}},
                       {Aggregate::sum, {1, ""}},
                       {Aggregate::avg, {1, ""}},
                       {Aggregate::sum, {2, ""}},
                       {Aggregate::avg, {2, ""}},
                       {Aggregate::min, {3, ""}},
                       {Aggregate::max, {3, ""}},
                       {Aggregate::min, {2, ""}},
                       {Aggregate::max, {1, ""}},
                       {Aggregate::sum, {-1, "CASE WHEN bytes % 2 THEN price ELSE status END"}},
                       {Aggregate::max, {-1, "coalesce(path, status)"}}};
    return plan;
}

Seen run(const TumblePlan& plan, const Log& log, std::size_t per_batch) {
    auto state = make_memory_store();
    ViewRun view(plan, *state);
    for (std::size_t at = 0; at < log.events.size(); at += per_batch) {
        REQUIRE(view.feed(log.events, at, std::min(at + per_batch, log.events.size())));
        if (at % 5 == 0) view.take_rows();
    }
    return view.finish();
}

TEST_CASE("rule: a derived row is the log's alone: results do not depend on how records are cut into batches",
          "[rule]") {
    for (std::uint64_t seed = 1; seed <= 12; ++seed) {
        INFO("seed " << seed);
        Prng prng(seed);
        const TumblePlan plan = make_plan(prng);
        const Log log = make_log(seed, 1200);
        const Seen whole = run(plan, log, log.events.size());
        CHECK(whole.counts.seen == 1200);
        CHECK(whole.counts.seen == whole.counts.filtered + whole.counts.windowed + whole.counts.late);
        for (const std::size_t per_batch : {1u, 37u, 500u}) {
            INFO("batches of " << per_batch);
            CHECK(same(run(plan, log, per_batch), whole));
        }
    }
}

TEST_CASE("count, sum and lateness agree with a naive model") {
    for (std::uint64_t seed = 1; seed <= 10; ++seed) {
        INFO("seed " << seed);
        Prng prng(seed + 100);
        TumblePlan plan = make_plan(prng);
        plan.keys = {{TumbleKey::Kind::window_start, {}}, {TumbleKey::Kind::input, {0, ""}}};
        plan.aggregates = {{Aggregate::count_star, {}}, {Aggregate::count, {1, ""}}};
        plan.where_sql = "status IS NULL OR status <> 300";
        const Log log = make_log(seed + 100, 2000);

        std::map<std::pair<std::int64_t, std::int64_t>, std::pair<int, int>> model;  // (start, status or -1) -> counts
        std::uint64_t late = 0;
        std::uint64_t filtered = 0;
        std::int64_t highest[partitions] = {INT64_MIN, INT64_MIN, INT64_MIN};
        for (const Event& event : log.events) {
            std::int64_t& high = highest[event.partition];
            const bool any = high != INT64_MIN;
            std::int64_t start = event.time_ms - plan.offset_ms;
            start = start - ((start % 1000) + 1000) % 1000 + plan.offset_ms;
            const Value& status = event.values[0];
            if (status.type != store::ValueType::null && status.integer == 300) {
                ++filtered;
            } else if (any && start + 1000 + plan.lateness_ms <= high - plan.delay_ms) {
                ++late;
            } else {
                auto& counts = model[{start, status.type == store::ValueType::null ? -1 : status.integer}];
                ++counts.first;
                counts.second += event.values[1].type == store::ValueType::null ? 0 : 1;
            }
            high = std::max(high, event.time_ms);
        }
        std::string expected;
        for (const auto& [key, counts] : model) {
            expected += (expected.empty() ? "" : " | ") + std::to_string(key.first) + "," +
                        (key.second < 0 ? "null" : std::to_string(key.second)) + "," + std::to_string(counts.first) +
                        "," + std::to_string(counts.second);
        }
        const Seen seen = run(plan, log, 64);
        CHECK(seen.rows() == expected);
        CHECK(seen.counts.late == late);
        CHECK(seen.counts.filtered == filtered);
        CHECK(seen.late.size() == late);
    }
}

TEST_CASE("restarts from a checkpoint do not show, with much memory and with none") {
    int restarts = 0;
    for (std::uint64_t seed = 1; seed <= 25; ++seed) {
        INFO("seed " << seed);
        Prng prng(seed * 31);
        TumblePlan plan = make_plan(prng);
        const Log log = make_log(seed * 31, 1000);
        const Seen whole = run(plan, log, log.events.size());
        for (const std::uint64_t cache_bytes : {64u << 20, 20'000u, 1u}) {
            INFO("cache " << cache_bytes);
            plan.cache_bytes = cache_bytes;
            CHECK(same(run_with_restarts(plan, log, seed * 7 + cache_bytes, restarts), whole));
        }
    }
    CHECK(restarts > 100);
}

TEST_CASE(
    "rule: apply never reads SQLite: groups are a bounded cache over the state store, one of nothing keeps nothing "
    "clean",
    "[rule]") {
    Prng prng(4);
    TumblePlan plan = make_plan(prng);
    plan.lateness_ms = 1'000'000;
    plan.cache_bytes = 1;
    const Log log = make_log(4, 500);
    struct CountingStore final : StateStore {
        std::unique_ptr<StateStore> inner = make_memory_store();
        int gets = 0;
        Result<std::optional<std::string>> get(std::string_view key) override {
            ++gets;
            return inner->get(key);
        }
        Status scan(std::string_view prefix,
                    const std::function<bool(std::string_view, std::string_view)>& on_item) override {
            return inner->scan(prefix, on_item);
        }
        Status commit(const std::vector<StateChange>& changes) override { return inner->commit(changes); }
    } store;
    ViewRun view(plan, store);
    REQUIRE(view.feed(log.events, 0, 400));
    CHECK(store.gets == 1);  // the meta record: a miss needs no read while nothing was left behind
    view.take_rows();
    view.collect();
    view.commit();
    for (int i = 0; i < 3; ++i)
        REQUIRE(view.feed(log.events, 400, 401));  // the eviction hand comes by
    const int before = store.gets;
    REQUIRE(view.feed(log.events, 0, 400));
    CHECK(store.gets > before + 50);
}

}  // namespace
}  // namespace weir::stream
