#include "base/prng.h"

#include <catch2/catch_test_macros.hpp>

#include <array>

using namespace weir;

TEST_CASE("a seed gives one sequence, another seed another") {
    Prng a(1), b(1), c(2);
    bool differs = false;
    for (int i = 0; i < 100; i++) {
        const std::uint64_t v = a.next();
        CHECK(v == b.next());
        differs |= v != c.next();
    }
    CHECK(differs);
}

TEST_CASE("splitmix64 as published") {
    // The first outputs of the reference generator for the seeds 0 and 1234567.
    CHECK(mix64(0) == 0xe220a8397b1dcdafull);
    CHECK(mix64(1234567) == 6457827717110365317ull);
}

TEST_CASE("below stays below and reaches every value") {
    Prng prng(3);
    CHECK(prng.below(1) == 0);
    std::array<int, 7> hits{};
    for (int i = 0; i < 7000; i++)
        hits[prng.below(7)]++;
    for (const int n : hits)
        CHECK((n > 800 && n < 1200));
    for (int i = 0; i < 100; i++)
        CHECK(prng.below(UINT64_MAX) < UINT64_MAX);
}

TEST_CASE("chance never, always and in between") {
    Prng prng(4);
    int hits = 0;
    for (int i = 0; i < 10'000; i++) {
        CHECK(!prng.chance(0.0));
        CHECK(prng.chance(1.0));
        hits += prng.chance(0.25) ? 1 : 0;
    }
    CHECK((hits > 2300 && hits < 2700));
}
