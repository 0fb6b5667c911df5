#include "replica/append_clock.h"

#include "os/clock.h"

#include <catch2/catch_test_macros.hpp>

namespace weir::replica {

TEST_CASE("rule: append time: starts from the wall clock and runs on the monotonic one", "[rule]") {
    os::SimClock clock;
    AppendClock append(clock);
    CHECK(append.now_ms() == clock.wall);
    clock.advance_ms(1500);
    CHECK(append.now_ms() == clock.wall);
    CHECK(append.published_ms() == clock.wall);
    CHECK_FALSE(append.alert());
}

TEST_CASE("rule: append time: a wall clock that jumps is approached by a tenth of what passes", "[rule]") {
    auto f = [](std::int64_t jump_ms, std::int64_t passed_ms, std::int64_t want_ms) {
        os::SimClock clock;
        AppendClock append(clock);
        const std::int64_t start = append.now_ms();
        clock.wall += jump_ms;
        clock.advance_ms(passed_ms);
        CHECK(append.now_ms() - start == want_ms);
    };
    f(0, 1000, 1000);
    f(10'000, 1000, 1100);
    f(-10'000, 1000, 900);
    f(50, 1000, 1050);
}

TEST_CASE("rule: append time: a wall clock an hour away raises the alert and is not followed", "[rule]") {
    os::SimClock clock;
    AppendClock append(clock);
    const std::int64_t start = append.now_ms();
    clock.wall += AppendClock::far_ms + 1000;
    clock.advance_ms(1000);
    CHECK(append.now_ms() == start + 1000);
    CHECK(append.alert());
    CHECK(append.expiry_paused());
    clock.wall -= AppendClock::far_ms + 1000;
    CHECK(append.now_ms() >= start + 1000);
    CHECK_FALSE(append.alert());
}

TEST_CASE("rule: append time: never goes back, not behind the last append of an earlier life", "[rule]") {
    os::SimClock clock;
    AppendClock append(clock);
    const std::int64_t last = clock.wall + 20 * 60'000;
    append.begin(last);
    CHECK(append.now_ms() >= last);
    std::int64_t before = append.now_ms();
    for (int i = 0; i < 100; i++) {
        clock.wall += (i % 2 == 0 ? 1 : -1) * 400'000;
        clock.mono_us += 10'000;
        const std::int64_t now = append.now_ms();
        CHECK(now >= before);
        before = now;
    }
}

TEST_CASE("rule: append time: a start more than 30 days after the last append pauses expiry for a day", "[rule]") {
    os::SimClock clock;
    AppendClock append(clock);
    append.begin(clock.wall - AppendClock::gap_ms - 1);
    (void)append.now_ms();
    CHECK(append.alert());
    CHECK(append.expiry_paused());
    clock.advance_ms(AppendClock::pause_ms - 1);
    (void)append.now_ms();
    CHECK(append.expiry_paused());
    clock.advance_ms(2);
    (void)append.now_ms();
    CHECK_FALSE(append.expiry_paused());

    append.begin(clock.wall - AppendClock::gap_ms + 1000);
    (void)append.now_ms();
    CHECK_FALSE(append.expiry_paused());
}

TEST_CASE("rule: append time: a restart within that day leaves the rest of it", "[rule]") {
    os::SimClock clock;
    AppendClock append(clock);
    const std::int64_t hour_ms = 3'600'000;
    append.begin(clock.wall - 1000, clock.wall - 20 * hour_ms);
    (void)append.now_ms();
    CHECK(append.alert());
    clock.advance_ms(4 * hour_ms - 1);
    (void)append.now_ms();
    CHECK(append.expiry_paused());
    clock.advance_ms(2);
    (void)append.now_ms();
    CHECK_FALSE(append.expiry_paused());
    append.begin(clock.wall - 1000, clock.wall - 25 * hour_ms);
    CHECK_FALSE(append.alert());
}

}  // namespace weir::replica
