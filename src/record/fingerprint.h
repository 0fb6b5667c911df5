// A keyed 128-bit fingerprint of a dedup key (XXH3-128 with a secret that the data directory keeps): followers, replay
// and the dedup index use it in place of the key. Keyed, so that nobody outside can craft two keys that collide.
#pragma once

#include <array>
#include <compare>
#include <cstdint>
#include <string_view>

namespace weir::record {

struct Fingerprint {
    std::uint64_t hi = 0;
    std::uint64_t lo = 0;  // 0 only in "no key": a hash has its lowest bit set
    auto operator<=>(const Fingerprint&) const = default;
    bool has_key() const { return lo != 0; }
};

struct FingerprintKey {
    std::uint64_t seed = 0;  // random, made when the data directory is made, part of the log (every replica has it)
};

// The bytes are the typed key columns, each as {u8 type, u32 size, bytes}, concatenated in declaration order.
Fingerprint fingerprint(const FingerprintKey& key, std::string_view typed_key_bytes);

// Kafka's murmur2 of a key's bytes; the partition is (murmur2 & 0x7fffffff) % partitions, as its Java client computes
// it.
std::uint32_t murmur2(std::string_view key);

}  // namespace weir::record
