// A group's key as bytes that sort like its values: the window first, then the keys in plan order. Private to stream/.
//
//   window    8 bytes   start in ms, big-endian, sign flipped
//   value     05                                        NULL
//             10 | 8 bytes big-endian, sign flipped     integer of a column that holds only integers
//             11 | 8 bytes                              real of a column that holds only reals
//             12 | 8 bytes | 2 bytes | 00 or 01         number of an expression: nearest real, what the integer differs
//                                                       from it (biased by 32768), 00 integer or 01 real
//             20 | bytes, 00 as 00 FF | 00 00           text
//             30 | the same                             blob
//
// A real is its IEEE 754 bits, all flipped when negative, else only the sign; -0.0 is 0.0. NULL < numbers < text <
// blobs, as SQLite orders them. An expression's 1 and 1.0 sort together and are two groups: which of them one group
// would show could depend on who came first.
#pragma once

#include "base/wire.h"
#include "store/value.h"

#include <bit>
#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>
#include <vector>

namespace weir::stream::detail {

constexpr std::size_t window_bytes = 8;

enum class KeyTag : std::uint8_t { null = 0x05, whole = 0x10, real = 0x11, number = 0x12, text = 0x20, blob = 0x30 };

inline std::uint64_t flip_sign(std::int64_t v) {
    return static_cast<std::uint64_t>(v) ^ (std::uint64_t{1} << 63);
}

inline std::uint64_t ordered_bits(double v) {
    const auto bits = std::bit_cast<std::uint64_t>(v == 0 ? 0.0 : v);
    return bits >> 63 != 0 ? ~bits : bits ^ (std::uint64_t{1} << 63);
}
inline double from_ordered_bits(std::uint64_t bits) {
    return std::bit_cast<double>(bits >> 63 != 0 ? bits ^ (std::uint64_t{1} << 63) : ~bits);
}

// Builds one key after the other in one buffer. The fixed-width writers are on the hot path: 1 to 2 ns each.
class KeyWriter {
  public:
    KeyWriter() : bytes_(64, '\0') {}
    std::string_view key() const { return {bytes_.data(), size_}; }
    // Begins a key of this window.
    void begin(std::int64_t window_start_ms) {
        store(0, flip_sign(window_start_ms));
        size_ = window_bytes;
    }
    // Begins another key of the same window.
    void begin_same_window() { size_ = window_bytes; }
    void add_null() { tag(KeyTag::null, 1); }
    void add_whole(std::int64_t v) {
        tag(KeyTag::whole, 9);
        store(size_ - 8, flip_sign(v));
    }
    void add_real(double v) {
        tag(KeyTag::real, 9);
        store(size_ - 8, ordered_bits(v));
    }
    void add_text(std::string_view text) { add_escaped(KeyTag::text, text); }
    // Plain big-endian numbers, without a tag: what tells them apart has to be known.
    void add_raw64(std::uint64_t v) {
        grow(8);
        store(size_ - 8, v);
    }
    void add_raw16(std::uint16_t v) {
        grow(2);
        bytes_[size_ - 2] = static_cast<char>(v >> 8);
        bytes_[size_ - 1] = static_cast<char>(v & 0xff);
    }
    // Of any type, as expressions yield them.
    void add_value(const store::Value& value);

  private:
    void grow(std::size_t bytes) {
        if (size_ + bytes > bytes_.size()) [[unlikely]]
            bytes_.resize(2 * (size_ + bytes));
        size_ += bytes;
    }
    void tag(KeyTag tag, std::size_t bytes) {
        grow(bytes);
        bytes_[size_ - bytes] = static_cast<char>(tag);
    }
    void store(std::size_t at, std::uint64_t v) {
        const beu64 wire(v);
        std::memcpy(bytes_.data() + at, &wire, sizeof wire);
    }
    void add_escaped(KeyTag kind, std::string_view text);

    std::string bytes_;
    std::size_t size_ = 0;
};

std::int64_t key_window_start(std::string_view key);

// The values of a key, without the window. Text points into `key` or into `scratch`, both of which must live on.
// False: not a key.
bool decode_key(std::string_view key, std::vector<store::Value>& values, std::vector<std::string>& scratch);

// 64 bits of a key, for the table. Not keyed: who can choose group keys can slow his own view down, no more.
inline std::uint64_t hash_key(std::string_view key) {
    __extension__ typedef unsigned __int128 uint128;
    constexpr std::uint64_t odd = 0x9E3779B97F4A7C15ull;
    const auto fold = [](std::uint64_t a, std::uint64_t b) {
        const uint128 product = static_cast<uint128>(a) * b;
        return static_cast<std::uint64_t>(product) ^ static_cast<std::uint64_t>(product >> 64);
    };
    std::uint64_t hash = key.size() ^ 0xD6E8FEB86659FD93ull;
    const char* at = key.data();
    std::size_t left = key.size();
    for (; left >= 8; left -= 8, at += 8) {
        std::uint64_t word;
        std::memcpy(&word, at, 8);
        hash = fold(hash ^ word, odd);
    }
    if (left > 0) {
        std::uint64_t word = 0;
        std::memcpy(&word, at, left);
        hash = fold(hash ^ word, odd);
    }
    return fold(hash ^ odd, 0xBF58476D1CE4E5B9ull);
}

}  // namespace weir::stream::detail
