// Properties of EMIT, HAVING and the aggregates that need more than sums, over random streams: the table agrees with a
// naive model, whatever the cut into batches, the interleaving of partitions, restarts, and however little memory.
#include "base/prng.h"
#include "unit/stream/random_log.h"
#include "unit/stream/restarts.h"
#include "unit/stream/tumble_fixture.h"
#include "unit/stream/view_model.h"

#include <catch2/catch_test_macros.hpp>

#include <string>
#include <vector>

namespace weir::stream {
namespace {

struct NamedPlan {
    std::string name;
    TumblePlan plan;
};

std::vector<NamedPlan> plans(std::uint64_t seed) {
    Prng prng(seed * 7919);
    TumblePlan base = model_plan();
    base.offset_ms = static_cast<std::int64_t>(prng.below(1999)) - 999;
    base.lateness_ms = static_cast<std::int64_t>(prng.below(3)) * 1500;
    base.delay_ms = static_cast<std::int64_t>(prng.below(3)) * 700;
    std::vector<NamedPlan> out;
    for (const bool with_having : {false, true}) {
        TumblePlan plan = base;
        if (with_having) plan.having_sql = model_having;
        const std::string having = with_having ? " having" : "";
        out.push_back({"changes" + having, plan});
        plan.emit_every_ms = 100;
        out.push_back({"every" + having, plan});
        plan.emit_every_ms = 0;
        plan.emit = Emit::final_rows;
        out.push_back({"final" + having, plan});
    }
    return out;
}

ViewModel model_of(const TumblePlan& plan, const Log& log) {
    ViewModel model(plan);
    std::int64_t offsets[partitions] = {};
    for (std::size_t i = 0; i < log.events.size(); ++i)
        model.add(log.events[i], offsets[log.events[i].partition]++, append_ms_of(i));
    return model;
}

// Batches of at most `per_batch` events of one entry.
void feed_all(ViewRun& view, const Log& log, std::size_t per_batch, Prng& prng) {
    for (std::size_t at = 0; at < log.events.size();) {
        std::size_t end = std::min(at + per_batch, log.events.size());
        end = std::min(end, (at / events_per_entry + 1) * events_per_entry);
        view.append_ms = append_ms_of(at);
        REQUIRE(view.feed(log.events, at, end));
        at = end;
        if (prng.chance(0.1)) view.take_rows();
    }
}

Seen run(const TumblePlan& plan, const Log& log, std::size_t per_batch, std::uint64_t seed) {
    Prng prng(seed);
    auto state = make_memory_store();
    ViewRun view(plan, *state);
    feed_all(view, log, per_batch, prng);
    return view.finish();
}

TEST_CASE("the table agrees with a naive model, however the log is cut") {
    for (std::uint64_t seed = 1; seed <= 6; ++seed) {
        const Log log = make_log(seed, 1500);
        for (const auto& [name, plan] : plans(seed)) {
            INFO("seed " << seed << " " << name);
            const ViewModel model = model_of(plan, log);
            const std::string wanted = model.rows();
            CHECK(wanted.size() > 500);
            for (const std::size_t per_batch : {1u, 7u, 1000u}) {
                const Seen seen = run(plan, log, per_batch, seed);
                CHECK(seen.rows() == wanted);
                CHECK(seen.counts.late == model.late);
            }
        }
    }
}

TEST_CASE("batches of 1, 37, 500 and the whole log: the same final rows") {
    for (std::uint64_t seed = 11; seed <= 14; ++seed) {
        const Log log = make_log(seed, 1500);
        for (const auto& [name, plan] : plans(seed)) {
            if (plan.emit_every_ms > 0) continue;  // depends on append times, which come with entries
            INFO("seed " << seed << " " << name);
            std::string first;
            for (const std::size_t per_batch : {1u, 37u, 500u, 1500u}) {
                auto state = make_memory_store();
                ViewRun view(plan, *state);
                for (std::size_t at = 0; at < log.events.size(); at += per_batch)
                    REQUIRE(view.feed(log.events, at, std::min(at + per_batch, log.events.size())));
                const std::string rows = view.finish().rows();
                if (per_batch == 1) first = rows;
                CHECK(rows == first);
            }
        }
    }
}

TEST_CASE("interleavings of the partitions: the same table, and EMIT FINAL writes the same rows first") {
    for (std::uint64_t seed = 1; seed <= 8; ++seed) {
        const Log log = make_log(seed + 40, 1200);
        for (const auto& [name, plan] : plans(seed + 40)) {
            if (plan.emit_every_ms > 0) continue;  // what a cut in append time finds is up to the interleaving
            INFO("seed " << seed << " " << name);
            const std::string wanted = model_of(plan, log).rows();
            std::size_t corrected = 0;
            for (std::uint64_t other = 0; other < 4; ++other) {
                const Log same = other == 0 ? Log{{}, log.events} : interleaved(log, seed * 10 + other);
                Prng prng(seed);
                auto state = make_memory_store();
                ViewRun view(plan, *state);
                feed_all(view, same, 10, prng);
                CHECK(view.finish().rows() == wanted);
                if (plan.emit != Emit::final_rows || !plan.having_sql.empty()) continue;
                const ViewModel model = model_of(plan, same);
                std::map<std::string, std::string> first_rows = model.first_rows();
                CHECK(first_rows.size() > 50);
                for (const auto& [key, rows] : view.written) {
                    const std::string group = group_of(rows.front());
                    if (first_rows.contains(group)) CHECK(first_rows.at(group) == rows.front());
                    first_rows.erase(group);
                    corrected += rows.size() > 1 ? 1 : 0;
                    if (plan.lateness_ms == 0) CHECK(rows.size() == 1);
                }
                CHECK(first_rows.empty());
            }
            if (plan.emit == Emit::final_rows && plan.having_sql.empty() && plan.lateness_ms > 0) CHECK(corrected > 0);
        }
    }
}

TEST_CASE("restarts at any place do not show, with much memory and with none") {
    int restarts = 0;
    for (std::uint64_t seed = 1; seed <= 12; ++seed) {
        const Log log = make_log(seed * 13, 1000);
        for (auto [name, plan] : plans(seed * 13)) {
            const std::string wanted = model_of(plan, log).rows();
            for (const std::uint64_t cache_bytes : {64u << 20, 20'000u, 1u}) {
                INFO("seed " << seed << " " << name << " cache " << cache_bytes);
                plan.cache_bytes = cache_bytes;
                CHECK(run_with_restarts(plan, log, seed * 3 + cache_bytes, restarts).rows() == wanted);
            }
        }
    }
    CHECK(restarts > 100);
}

}  // namespace
}  // namespace weir::stream
