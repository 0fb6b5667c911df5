#include "record/fingerprint.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

namespace weir::record {

Fingerprint fingerprint(const FingerprintKey& key, std::string_view typed_key_bytes) {
    const XXH128_hash_t hash = XXH3_128bits_withSeed(typed_key_bytes.data(), typed_key_bytes.size(), key.seed);
    return {hash.high64, hash.low64 | 1};  // lo = 0 is kept for "no key"
}

std::uint32_t murmur2(std::string_view key) {
    constexpr std::uint32_t multiplier = 0x5bd1e995;
    const char* at = key.data();
    std::size_t left = key.size();
    std::uint32_t hash = 0x9747b28cu ^ static_cast<std::uint32_t>(left);
    for (; left >= 4; at += 4, left -= 4) {
        std::uint32_t word = static_cast<std::uint8_t>(at[0]) |
                             static_cast<std::uint32_t>(static_cast<std::uint8_t>(at[1])) << 8 |
                             static_cast<std::uint32_t>(static_cast<std::uint8_t>(at[2])) << 16 |
                             static_cast<std::uint32_t>(static_cast<std::uint8_t>(at[3])) << 24;
        word *= multiplier;
        word ^= word >> 24;
        word *= multiplier;
        hash = hash * multiplier ^ word;
    }
    if (left > 0) {
        for (std::size_t i = left; i-- > 0;)
            hash ^= static_cast<std::uint32_t>(static_cast<std::uint8_t>(at[i])) << (8 * i);
        hash *= multiplier;
    }
    hash ^= hash >> 13;
    hash *= multiplier;
    return hash ^ hash >> 15;
}

}  // namespace weir::record
