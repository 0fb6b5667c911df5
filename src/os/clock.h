// The real clocks and real chance. Only this room asks them.
#pragma once

#include "base/clock.h"

#include <cstdint>

namespace weir::os {

class RealClock : public Clock {
  public:
    std::int64_t wall_ms() override;
    std::int64_t monotonic_us() override;
};

class SimClock : public Clock {
  public:
    std::int64_t wall = 1'700'000'000'000;
    std::int64_t mono_us = 0;
    std::int64_t wall_ms() override { return wall; }
    std::int64_t monotonic_us() override { return mono_us; }
    void advance_ms(std::int64_t ms) {
        wall += ms;
        mono_us += ms * 1000;
    }
};

std::uint64_t random_u64();  // getrandom(2)

}  // namespace weir::os
