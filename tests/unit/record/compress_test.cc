#include "record/compress.h"

#include "base/prng.h"

#include <catch2/catch_test_macros.hpp>

#include <lz4frame.h>
#include <string>
#include <zstd.h>

using namespace weir;
using namespace weir::record;

namespace {

std::string packed(Codec codec, std::string_view in) {
    std::string out;
    REQUIRE(deflate(codec, in, out));
    return out;
}

Errc code(Codec codec, std::string_view in, std::size_t max = 1 << 20) {
    auto out = inflate(codec, in, max);
    REQUIRE(!out);
    return out.error().code;
}

std::string noise(std::size_t n) {
    Prng prng(n);
    std::string s(n, '\0');
    for (char& c : s)
        c = static_cast<char>(prng.next());
    return s;
}

}  // namespace

TEST_CASE("each codec gives back what it got, with padding behind") {
    for (const Codec codec : {Codec::none, Codec::lz4, Codec::zstd})
        for (const std::size_t n : {0u, 1u, 15u, 16u, 4095u, 4096u, 4097u, 65'536u, 65'537u, 300'000u})
            for (const std::string& text : {std::string(n, 'a'), noise(n)}) {
                const std::string bytes = packed(codec, text);
                auto out = inflate(codec, bytes, n);  // exactly as much as is allowed
                REQUIRE(out);
                CHECK(out.value() == text);
                CHECK(out.value().capacity() >= n + inflate_padding_bytes);
                if (n > 0) CHECK(code(codec, bytes, n - 1) == Errc::too_large);
            }
}

TEST_CASE("deflate appends") {
    std::string out = "head";
    REQUIRE(deflate(Codec::lz4, "body", out));
    CHECK(out.substr(0, 4) == "head");
    auto back = inflate(Codec::lz4, std::string_view(out).substr(4), 100);
    REQUIRE(back);
    CHECK(back.value() == "body");
}

TEST_CASE("frames one after the other are one text") {
    for (const Codec codec : {Codec::lz4, Codec::zstd}) {
        auto out = inflate(codec, packed(codec, "one ") + packed(codec, "") + packed(codec, "two"), 100);
        REQUIRE(out);
        CHECK(out.value() == "one two");
    }
}

TEST_CASE("cut, trailing and foreign bytes are corrupt") {
    for (const Codec codec : {Codec::lz4, Codec::zstd}) {
        const std::string bytes = packed(codec, "some text that is long enough to be worth it, worth it, worth it");
        for (std::size_t n = 0; n < bytes.size(); n++)
            CHECK(code(codec, std::string_view(bytes).substr(0, n)) == Errc::corrupt);
        CHECK(code(codec, bytes + "x") == Errc::corrupt);
        CHECK(code(codec, "{\"not\":\"a frame\"}") == Errc::corrupt);
    }
    CHECK(code(Codec::lz4, packed(Codec::zstd, "x")) == Errc::corrupt);
}

TEST_CASE("codecs that are not offered") {
    std::string out;
    for (const Codec codec : {Codec::gzip, Codec::snappy, static_cast<Codec>(7)}) {
        CHECK(code(codec, "x") == Errc::unsupported);
        auto status = deflate(codec, "x", out);
        REQUIRE(!status);
        CHECK(status.error().code == Errc::unsupported);
    }
}

TEST_CASE("a bomb is stopped at the limit") {
    const std::string zeros(64 << 20, '\0');
    for (const Codec codec : {Codec::lz4, Codec::zstd}) {
        const std::string bytes = packed(codec, zeros);
        CHECK(bytes.size() < zeros.size() / 100);
        CHECK(code(codec, bytes, 1 << 20) == Errc::too_large);
    }
}

TEST_CASE("a zstd window far beyond the limit is refused") {
    ZSTD_CCtx* context = ZSTD_createCCtx();
    ZSTD_CCtx_setParameter(context, ZSTD_c_windowLog, 27);
    std::string out(1000, '\0');
    ZSTD_inBuffer in{"abc", 3, 0};
    ZSTD_outBuffer to{out.data(), out.size(), 0};
    ZSTD_compressStream2(context, &to, &in, ZSTD_e_continue);  // unknown size: the window goes into the header
    ZSTD_compressStream2(context, &to, &in, ZSTD_e_end);
    out.resize(to.pos);
    ZSTD_freeCCtx(context);
    CHECK(code(Codec::zstd, out, 1 << 20) == Errc::too_large);
    CHECK(inflate(Codec::zstd, out, 64 << 20));  // a limit of that order: fine
}

TEST_CASE("an LZ4 frame of linked blocks is read too") {
    LZ4F_preferences_t preferences{};
    preferences.frameInfo.blockMode = LZ4F_blockLinked;
    const std::string text = noise(1000) + std::string(200'000, 'z') + noise(1000);
    std::string out(LZ4F_compressFrameBound(text.size(), &preferences), '\0');
    out.resize(LZ4F_compressFrame(out.data(), out.size(), text.data(), text.size(), &preferences));
    auto back = inflate(Codec::lz4, out, text.size());
    REQUIRE(back);
    CHECK(back.value() == text);
}
