#include "record/inflate.h"

#include "base/prng.h"
#include "support/packed.h"

#include <catch2/catch_test_macros.hpp>

#include <string>
#include <zstd.h>

using namespace weir;
using namespace weir::record;
using test::gzipped;
using test::noise;

namespace {

std::string pack_zstd(std::string_view in) {
    std::string out(ZSTD_compressBound(in.size()), '\0');
    out.resize(ZSTD_compress(out.data(), out.size(), in.data(), in.size(), 3));
    return out;
}

template <class F>
Errc code(F inflater, std::string_view in, std::size_t max = 1 << 20) {
    auto out = inflater(in, max);
    REQUIRE(!out);
    return out.error().code;
}

}  // namespace

TEST_CASE("gzip and zstd bodies come back within their limit, with padding behind") {
    for (const std::size_t n : {0u, 1u, 15u, 4095u, 4096u, 4097u, 32'769u, 1'000'000u})
        for (const std::string& text : {std::string(n, 'a'), noise(n)}) {
            const std::string gz = gzipped(text), zs = pack_zstd(text);
            auto a = gunzip(gz, n);
            REQUIRE(a);
            CHECK(a.value() == text);
            CHECK(a.value().capacity() >= n + 64);
            auto b = unzstd(zs, n);
            REQUIRE(b);
            CHECK(b.value() == text);
            CHECK(b.value().capacity() >= n + 64);
            if (n == 0) continue;
            CHECK(code(gunzip, gz, n - 1) == Errc::too_large);
            CHECK(code(unzstd, zs, n - 1) == Errc::too_large);
        }
}

TEST_CASE("members and frames one after the other are one body") {
    auto a = gunzip(gzipped("one ") + gzipped("") + gzipped("two"), 7);
    REQUIRE(a);
    CHECK(a.value() == "one two");
    CHECK(code(gunzip, gzipped("one ") + gzipped("two"), 6) == Errc::too_large);
    auto b = unzstd(pack_zstd("one ") + pack_zstd("two"), 7);
    REQUIRE(b);
    CHECK(b.value() == "one two");
}

TEST_CASE("what is not a whole body is the sender's fault") {
    const std::string gz = gzipped("a text, a text, a text"), zs = pack_zstd("a text, a text, a text");
    for (std::size_t n = 0; n < gz.size(); n++)
        CHECK(code(gunzip, std::string_view(gz).substr(0, n)) == Errc::invalid_argument);
    for (std::size_t n = 0; n < zs.size(); n++)
        CHECK(code(unzstd, std::string_view(zs).substr(0, n)) == Errc::invalid_argument);
    CHECK(code(gunzip, gz + "x") == Errc::invalid_argument);
    CHECK(code(unzstd, zs + "x") == Errc::invalid_argument);
    CHECK(code(gunzip, "{\"a\":1}") == Errc::invalid_argument);
    CHECK(code(unzstd, "{\"a\":1}") == Errc::invalid_argument);
    CHECK(code(gunzip, gzipped("zlib, not gzip", 6, 15)) == Errc::invalid_argument);
    std::string bad = gz;
    bad[bad.size() - 6] = static_cast<char>(bad[bad.size() - 6] + 1);  // in the CRC
    CHECK(code(gunzip, bad) == Errc::invalid_argument);
}

TEST_CASE("bombs stop at the limit") {
    const std::string zeros(64 << 20, '\0');
    CHECK(code(gunzip, gzipped(zeros), 1 << 20) == Errc::too_large);
    CHECK(code(unzstd, pack_zstd(zeros), 1 << 20) == Errc::too_large);
}

TEST_CASE("bodies of very many members or frames end, and stay within the limit") {
    std::string gz, zs, skippable;
    const std::string empty_member = gzipped(""), empty_frame = pack_zstd("");
    const std::string skip("\x50\x2a\x4d\x18\0\0\0\0", 8);
    while (gz.size() < 1 << 20)
        gz += empty_member;
    while (zs.size() < 1 << 20) {
        zs += empty_frame;
        skippable += skip;
    }
    auto a = gunzip(gz + gzipped("x"), 1);
    REQUIRE(a);
    CHECK(a.value() == "x");
    auto b = unzstd(zs + pack_zstd("x"), 1);
    REQUIRE(b);
    CHECK(b.value() == "x");
    auto c = unzstd(skippable + pack_zstd("x") + skippable, 1);
    REQUIRE(c);
    CHECK(c.value() == "x");
    CHECK(code(unzstd, zs + "x") == Errc::invalid_argument);
    CHECK(code(unzstd, skippable + skip.substr(0, 7)) == Errc::invalid_argument);
    // A skippable frame that says more than there is.
    CHECK(code(unzstd, std::string("\x50\x2a\x4d\x18\xff\xff\xff\xff", 8) + "x") == Errc::invalid_argument);
    // Many small ones are a bomb, too.
    std::string small;
    const std::string frame = pack_zstd(std::string(1000, '\0'));
    for (int i = 0; i < 1001; i++)
        small += frame;
    CHECK(code(unzstd, small, 1'000'000) == Errc::too_large);
}

TEST_CASE("a zstd body whose window is above 8 MiB is too large, however little comes out") {
    const auto with_window = [](int log) {
        ZSTD_CCtx* context = ZSTD_createCCtx();
        ZSTD_CCtx_setParameter(context, ZSTD_c_windowLog, log);
        std::string out(1000, '\0');
        ZSTD_inBuffer in{"abc", 3, 0};
        ZSTD_outBuffer to{out.data(), out.size(), 0};
        ZSTD_compressStream2(context, &to, &in, ZSTD_e_continue);  // unknown size: the window goes into the header
        ZSTD_compressStream2(context, &to, &in, ZSTD_e_end);
        out.resize(to.pos);
        ZSTD_freeCCtx(context);
        return out;
    };
    CHECK(unzstd(with_window(23), 100));
    CHECK(code(unzstd, with_window(24)) == Errc::too_large);
    CHECK(code(unzstd, with_window(27)) == Errc::too_large);
    CHECK(code(unzstd, pack_zstd("x") + with_window(24)) == Errc::too_large);
}

TEST_CASE("random damage to a compressed body never does harm") {
    Prng prng(7);
    const std::string gz = gzipped(noise(300) + std::string(3000, 'q')),
                      zs = pack_zstd(noise(300) + std::string(3000, 'q'));
    for (int round = 0; round < 3000; round++) {
        std::string a = gz, b = zs;
        for (int k = 0; k < 3; k++) {
            a[prng.below(a.size())] = static_cast<char>(prng.next());
            b[prng.below(b.size())] = static_cast<char>(prng.next());
        }
        (void)gunzip(a, 10'000);
        (void)unzstd(b, 10'000);
    }
}
