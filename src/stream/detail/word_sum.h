// Sums in words: integers in 128 bits over two of them, reals as the bits of one. Private to stream/.
#pragma once

#include <bit>
#include <cstdint>

namespace weir::stream::detail {

__extension__ typedef __int128 int128;
__extension__ typedef unsigned __int128 uint128;

inline int128 read128(const std::uint64_t* words) {
    return static_cast<int128>(static_cast<uint128>(words[1]) << 64 | words[0]);
}

inline void add128(std::uint64_t* words, int128 v) {
    const uint128 sum = static_cast<uint128>(read128(words)) + static_cast<uint128>(v);
    words[0] = static_cast<std::uint64_t>(sum);
    words[1] = static_cast<std::uint64_t>(sum >> 64);
}

inline void add_real(std::uint64_t& word, double v) {
    word = std::bit_cast<std::uint64_t>(std::bit_cast<double>(word) + v);
}

}  // namespace weir::stream::detail
