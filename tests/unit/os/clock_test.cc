#include "os/clock.h"

#include <catch2/catch_test_macros.hpp>

#include <set>

using namespace weir;

TEST_CASE("the real clock moves forward and is of this century") {
    os::RealClock clock;
    CHECK(clock.wall_ms() > 1'700'000'000'000);
    auto before = clock.monotonic_us();
    for (int i = 0; i < 1000; i++) {
        auto now = clock.monotonic_us();
        REQUIRE(now >= before);
        before = now;
    }
}

TEST_CASE("the simulated clock stands still until it is moved") {
    os::SimClock clock;
    auto wall = clock.wall_ms();
    clock.advance_ms(5);
    CHECK(clock.wall_ms() == wall + 5);
    CHECK(clock.monotonic_us() == 5000);
}

TEST_CASE("random_u64 does not repeat itself") {
    std::set<std::uint64_t> seen;
    for (int i = 0; i < 100; i++)
        seen.insert(os::random_u64());
    CHECK(seen.size() == 100);
}
