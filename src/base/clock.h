// Time as an interface: only os/ may ask the real clocks (os/clock.h); simulation has its own twin.
#pragma once

#include <cstdint>

namespace weir {

class Clock {
  public:
    virtual ~Clock() = default;
    virtual std::int64_t wall_ms() = 0;       // Unix epoch, milliseconds; may jump
    virtual std::int64_t monotonic_us() = 0;  // microseconds since some start; never goes back
};

}  // namespace weir
