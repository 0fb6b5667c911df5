// Chance from a seed: xoshiro256** (Blackman, Vigna 2018) seeded by splitmix64. Only os/ seeds one from the machine.
#pragma once

#include <cstdint>

namespace weir {

class Prng {
  public:
    explicit Prng(std::uint64_t seed);
    std::uint64_t next();
    // Uniform in [0, bound); bound > 0. The bias of the multiply-shift is below 2^-32 for bounds below 2^32.
    std::uint64_t below(std::uint64_t bound);
    bool chance(double probability);  // true with this probability (0 never, 1 always)

  private:
    std::uint64_t s_[4];
};

// splitmix64's output function: a good 64-bit mix of a counter.
constexpr std::uint64_t mix64(std::uint64_t x) {
    x += 0x9E3779B97F4A7C15ull;
    x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9ull;
    x = (x ^ (x >> 27)) * 0x94D049BB133111EBull;
    return x ^ (x >> 31);
}

}  // namespace weir
