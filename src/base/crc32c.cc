#include "base/crc32c.h"

#include <array>
#include <cstddef>
#include <cstring>

#ifdef __SSE4_2__
#include <nmmintrin.h>
#endif

namespace weir {
namespace {

constexpr std::uint32_t polynomial = 0x82F63B78u;  // reflected

#ifdef __SSE4_2__

// The instruction takes three cycles and starts one a cycle, so three blocks are summed side by side. Joining them
// needs "the CRC register after block_bytes zero bytes", a linear map: four tables of 256 words.
constexpr std::size_t block_bytes = 1024;

constexpr std::uint32_t after_zero_bytes(std::uint32_t crc, std::size_t count) {
    for (std::size_t i = 0; i < count * 8; i++)
        crc = (crc >> 1) ^ ((crc & 1u) ? polynomial : 0u);
    return crc;
}

struct ShiftTables {
    std::array<std::array<std::uint32_t, 256>, 4> t{};
    ShiftTables() {
        // The map is linear: build it from the 32 images of single bits.
        std::array<std::uint32_t, 32> image{};
        for (unsigned bit = 0; bit < 32; bit++)
            image[bit] = after_zero_bytes(1u << bit, block_bytes);
        for (unsigned byte = 0; byte < 4; byte++)
            for (unsigned value = 0; value < 256; value++)
                for (unsigned bit = 0; bit < 8; bit++)
                    if (value >> bit & 1u) t[byte][value] ^= image[byte * 8 + bit];
    }
    std::uint32_t shift(std::uint32_t crc) const {
        return t[0][crc & 255u] ^ t[1][crc >> 8 & 255u] ^ t[2][crc >> 16 & 255u] ^ t[3][crc >> 24];
    }
};

std::uint64_t load(const char* p) {
    std::uint64_t v;
    std::memcpy(&v, p, sizeof v);
    return v;
}

#else

struct ByteTable {
    std::array<std::uint32_t, 256> t{};
    ByteTable() {
        for (unsigned i = 0; i < 256; i++) {
            std::uint32_t c = i;
            for (int k = 0; k < 8; k++)
                c = (c >> 1) ^ ((c & 1u) ? polynomial : 0u);
            t[i] = c;
        }
    }
};

#endif

}  // namespace

std::uint32_t crc32c(std::uint32_t crc, std::string_view bytes) {
    const char* p = bytes.data();
    std::size_t n = bytes.size();
#ifdef __SSE4_2__
    std::uint64_t c = ~crc & 0xffffffffu;
    if (n >= 3 * block_bytes) {
        static const ShiftTables tables;
        do {
            std::uint64_t a = c, b = 0, d = 0;
            for (std::size_t i = 0; i < block_bytes; i += 8) {
                a = _mm_crc32_u64(a, load(p + i));
                b = _mm_crc32_u64(b, load(p + block_bytes + i));
                d = _mm_crc32_u64(d, load(p + 2 * block_bytes + i));
            }
            c = tables.shift(tables.shift(static_cast<std::uint32_t>(a)) ^ static_cast<std::uint32_t>(b)) ^
                static_cast<std::uint32_t>(d);
            p += 3 * block_bytes;
            n -= 3 * block_bytes;
        } while (n >= 3 * block_bytes);
    }
    for (; n >= 8; p += 8, n -= 8)
        c = _mm_crc32_u64(c, load(p));
    for (; n > 0; p++, n--)
        c = _mm_crc32_u8(static_cast<std::uint32_t>(c), static_cast<unsigned char>(*p));
    return ~static_cast<std::uint32_t>(c);
#else
    static const ByteTable table;
    std::uint32_t c = ~crc;
    for (std::size_t i = 0; i < n; i++)
        c = table.t[(c ^ static_cast<unsigned char>(p[i])) & 255u] ^ (c >> 8);
    return ~c;
#endif
}

}  // namespace weir
