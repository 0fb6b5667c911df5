#include "os/clock.h"

#include "base/check.h"

#include <cerrno>
#include <sys/random.h>
#include <time.h>

namespace weir::os {

std::int64_t RealClock::wall_ms() {
    timespec now{};
    CHECK(clock_gettime(CLOCK_REALTIME, &now) == 0);
    return std::int64_t{now.tv_sec} * 1000 + now.tv_nsec / 1'000'000;
}

std::int64_t RealClock::monotonic_us() {
    timespec now{};
    CHECK(clock_gettime(CLOCK_MONOTONIC, &now) == 0);
    return std::int64_t{now.tv_sec} * 1'000'000 + now.tv_nsec / 1000;
}

std::uint64_t random_u64() {
    std::uint64_t value = 0;
    ssize_t got = 0;
    do {
        got = getrandom(&value, sizeof value, 0);
    } while (got < 0 && errno == EINTR);
    CHECK(got == ssize_t{sizeof value});  // eight bytes are never cut short once the pool is seeded
    return value;
}

}  // namespace weir::os
