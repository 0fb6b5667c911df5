#include "base/prng.h"

#include "base/check.h"

#include <bit>

namespace weir {

__extension__ using Wide = unsigned __int128;  // g++ calls it an extension under -Wpedantic

Prng::Prng(std::uint64_t seed) {
    for (auto& word : s_) {
        word = mix64(seed);
        seed += 0x9E3779B97F4A7C15ull;
    }
}

std::uint64_t Prng::next() {
    const std::uint64_t result = std::rotl(s_[1] * 5, 7) * 9;
    const std::uint64_t t = s_[1] << 17;
    s_[2] ^= s_[0];
    s_[3] ^= s_[1];
    s_[1] ^= s_[2];
    s_[0] ^= s_[3];
    s_[2] ^= t;
    s_[3] = std::rotl(s_[3], 45);
    return result;
}

std::uint64_t Prng::below(std::uint64_t bound) {
    CHECK(bound > 0);
    return static_cast<std::uint64_t>((static_cast<Wide>(next()) * bound) >> 64);
}

bool Prng::chance(double probability) {
    return static_cast<double>(next() >> 11) * 0x1.0p-53 < probability;
}

}  // namespace weir
