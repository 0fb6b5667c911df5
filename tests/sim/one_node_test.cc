// Histories of one node: see sim/one_node.h for the world and sim/history.cc for what must hold afterwards.
#include "sim/one_node.h"

#include "obs/log.h"

#include <catch2/catch_test_macros.hpp>

namespace weir::sim {
namespace {

HistoryResult must_hold(HistoryOptions options) {
    obs::set_log_level(obs::Level::error);
    auto result = run_history(options);
    INFO("seed " << options.seed);
    REQUIRE(result.violation == "");
    return result;
}

}  // namespace

TEST_CASE("rule: a derived row is the log's alone: without a crash the tables equal those of another replica",
          "[rule]") {
    for (std::uint64_t seed = 1; seed <= 10; seed++) {
        const auto result = must_hold({.seed = seed, .survival = 1.0});
        CHECK(result.stored > 500);
        CHECK(result.views == 1);
    }
}

TEST_CASE("rule: replay is silent: after power cuts at any operation the tables equal those of a replica without",
          "[rule]") {
    std::uint64_t crashes = 0, views = 0, duplicates = 0, dead_letters = 0;
    for (std::uint64_t seed = 100; seed < 140; seed++) {
        const auto result = must_hold({.seed = seed, .crash_chance = 0.004});
        crashes += result.crashes;
        views += result.views;
        duplicates += result.duplicates;
        dead_letters += result.dead_letters;
    }
    CHECK(crashes > 200);
    CHECK(views > 35);
    CHECK(duplicates > 1000);
    CHECK(dead_letters > 100);
}

TEST_CASE("rule: an acknowledged event is fsynced: none is lost where nothing unflushed survives a power cut",
          "[rule]") {
    for (std::uint64_t seed = 300; seed < 320; seed++)
        must_hold({.seed = seed, .survival = 0.0, .steps = 2500, .crash_chance = 0.004});
}

TEST_CASE("rule: expiry is an entry: hours pass, what expired goes and nothing else, the same on every replica",
          "[rule]") {
    std::uint64_t views = 0, retained = 0, runs_expired = 0, stored_again = 0;
    for (std::uint64_t seed = 500; seed < 530; seed++) {
        const auto result = must_hold({.seed = seed, .crash_chance = seed % 4 == 0 ? 0.0 : 0.004, .expiry = true});
        views += result.views;
        retained += result.retained;
        runs_expired += result.runs_expired;
        stored_again += result.stored_again;
    }
    INFO("retained " << retained << ", buckets " << runs_expired << ", stored again " << stored_again);
    CHECK(views > 25);
    CHECK(retained > 1000);
    CHECK(runs_expired > 100);
    CHECK(stored_again > 100);
}

TEST_CASE("one node: the same seed is the same history") {
    const HistoryOptions options{.seed = 4711, .crash_chance = 0.004, .expiry = true};
    const auto first = must_hold(options);
    CHECK(first.stored > 100);
    CHECK(first.tables == must_hold(options).tables);
}

}  // namespace weir::sim
