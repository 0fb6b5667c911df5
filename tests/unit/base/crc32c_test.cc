#include "base/crc32c.h"

#include "base/prng.h"

#include <catch2/catch_test_macros.hpp>

#include <string>

using weir::crc32c;

namespace {

// One bit at a time, straight from the definition.
std::uint32_t slow(std::string_view bytes) {
    std::uint32_t c = 0xffffffffu;
    for (const char ch : bytes) {
        c ^= static_cast<unsigned char>(ch);
        for (int k = 0; k < 8; k++)
            c = (c >> 1) ^ ((c & 1u) ? 0x82F63B78u : 0u);
    }
    return ~c;
}

std::string noise(std::size_t n) {
    weir::Prng prng(n + 1);
    std::string s(n, '\0');
    for (char& c : s)
        c = static_cast<char>(prng.next());
    return s;
}

}  // namespace

TEST_CASE("crc32c: known vectors (RFC 3720 B.4)") {
    CHECK(crc32c(0, "") == 0);
    CHECK(crc32c(0, "123456789") == 0xe3069283u);
    CHECK(crc32c(0, std::string(32, '\0')) == 0x8a9136aau);
    CHECK(crc32c(0, std::string(32, '\xff')) == 0x62a8ab43u);
    std::string up, down;
    for (int i = 0; i < 32; i++) {
        up.push_back(static_cast<char>(i));
        down.insert(down.begin(), static_cast<char>(i));
    }
    CHECK(crc32c(0, up) == 0x46dd794eu);
    CHECK(crc32c(0, down) == 0x113fdb5cu);
}

TEST_CASE("crc32c: lengths around the blocks agree with the definition") {
    for (const std::size_t n :
         {1u, 7u, 8u, 9u, 1023u, 1024u, 3071u, 3072u, 3073u, 3080u, 6143u, 6144u, 6145u, 20'000u}) {
        const std::string bytes = noise(n);
        CHECK(crc32c(0, bytes) == slow(bytes));
        CHECK(crc32c(0, std::string_view(bytes).substr(1)) == slow(std::string_view(bytes).substr(1)));
    }
}

TEST_CASE("crc32c: a split anywhere gives the same sum") {
    const std::string bytes = noise(10'000);
    const std::uint32_t whole = crc32c(0, bytes);
    const std::string_view view = bytes;
    for (const std::size_t at : {0u, 1u, 8u, 100u, 3071u, 3072u, 3073u, 5000u, 6928u, 9999u, 10'000u})
        CHECK(crc32c(crc32c(0, view.substr(0, at)), view.substr(at)) == whole);
}
