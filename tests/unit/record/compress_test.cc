#include "record/compress.h"

#include "base/prng.h"
#include "support/packed.h"

#include <catch2/catch_test_macros.hpp>

#include <algorithm>
#include <lz4frame.h>
#include <snappy-c.h>
#include <string>
#include <zstd.h>

using namespace weir;
using namespace weir::record;
using test::gzipped;
using test::noise;

namespace {

std::string snapped(std::string_view in) {
    std::size_t size = snappy_max_compressed_length(in.size());
    std::string out(size, '\0');
    REQUIRE(snappy_compress(in.data(), in.size(), out.data(), &size) == SNAPPY_OK);
    out.resize(size);
    return out;
}

// As snappy-java's stream: blocks of `block_bytes`.
std::string framed(std::string_view in, std::size_t block_bytes = 32 << 10) {
    std::string out("\x82SNAPPY\0\0\0\0\x01\0\0\0\x01", 16);
    for (; !in.empty(); in.remove_prefix(std::min(block_bytes, in.size()))) {
        const std::string block = snapped(in.substr(0, block_bytes));
        const std::size_t n = block.size();
        for (const int shift : {24, 16, 8, 0})
            out += static_cast<char>(n >> shift);
        out += block;
    }
    return out;
}

// What this room only reads is written by the libraries themselves.
std::string packed(Codec codec, std::string_view in) {
    if (codec == Codec::gzip) return gzipped(in);
    if (codec == Codec::snappy) return snapped(in);
    std::string out;
    REQUIRE(deflate(codec, in, out));
    return out;
}

constexpr Codec all_codecs[] = {Codec::none, Codec::gzip, Codec::snappy, Codec::lz4, Codec::zstd};

Errc code(Codec codec, std::string_view in, std::size_t max = 1 << 20) {
    auto out = inflate(codec, in, max);
    REQUIRE(!out);
    return out.error().code;
}

}  // namespace

TEST_CASE("each codec gives back what it got, with padding behind") {
    for (const Codec codec : all_codecs)
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
    for (const Codec codec : {Codec::gzip, Codec::lz4, Codec::zstd}) {
        auto out = inflate(codec, packed(codec, "one ") + packed(codec, "") + packed(codec, "two"), 100);
        REQUIRE(out);
        CHECK(out.value() == "one two");
    }
}

TEST_CASE("cut, trailing and foreign bytes are corrupt") {
    for (const Codec codec : {Codec::gzip, Codec::snappy, Codec::lz4, Codec::zstd}) {
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
        auto status = deflate(codec, "x", out);
        REQUIRE(!status);
        CHECK(status.error().code == Errc::unsupported);
    }
    CHECK(code(static_cast<Codec>(7), "x") == Errc::unsupported);
}

TEST_CASE("snappy as Java's stream writes it: blocks, several streams, nothing else") {
    const std::string text = noise(1000) + std::string(100'000, 'z') + noise(1000);
    for (const std::size_t block : {1u, 7u, 1000u, 32u << 10, 1u << 20}) {
        if (block == 1 && text.size() > 200'000) continue;
        auto out = inflate(Codec::snappy, framed(text, block), text.size());
        REQUIRE(out);
        CHECK(out.value() == text);
        CHECK(out.value().capacity() >= text.size() + inflate_padding_bytes);
        CHECK(code(Codec::snappy, framed(text, block), text.size() - 1) == Errc::too_large);
    }
    // A stream of nothing is its head alone; streams follow each other, as in a file that was appended to.
    auto nothing = inflate(Codec::snappy, framed(""), 0);
    REQUIRE(nothing);
    CHECK(nothing.value().empty());
    auto both = inflate(Codec::snappy, framed("one ") + framed("") + framed("two"), 7);
    REQUIRE(both);
    CHECK(both.value() == "one two");

    const std::string bytes = framed("some text, some text, some text", 10);
    for (std::size_t n = 0; n < bytes.size(); n++) {
        const std::string_view cut = std::string_view(bytes).substr(0, n);
        auto out = inflate(Codec::snappy, cut, 1000);
        if (out)  // behind a block: a stream does not say how many it has
            CHECK(std::string_view("some text, some text, some text").starts_with(out.value()));
        else
            CHECK(out.error().code == Errc::corrupt);
    }
    CHECK(code(Codec::snappy, framed("abc") + "x") == Errc::corrupt);
    CHECK(code(Codec::snappy, framed("abc") + std::string("\0\0\0\0", 4)) == Errc::corrupt);
    CHECK(code(Codec::snappy, framed("abc") + std::string("\xff\xff\xff\xff", 4)) == Errc::corrupt);
    CHECK(code(Codec::snappy, framed("abc").substr(0, 12) + framed("abc")) == Errc::corrupt);
    std::string damaged = framed("abcabcabcabcabcabcabcabc");
    damaged.back() = '\xff';
    CHECK(code(Codec::snappy, damaged) == Errc::corrupt);
}

TEST_CASE("what a snappy block says of its length is not believed before its bytes are looked at") {
    // 4 GiB - 1 in five bytes, alone and in a stream: nothing of that size is taken.
    const std::string liar("\xff\xff\xff\xff\x0f", 5);
    CHECK(code(Codec::snappy, liar, 64 << 20) == Errc::corrupt);
    CHECK(code(Codec::snappy, framed("") + std::string("\0\0\0\x05", 4) + liar, 64 << 20) == Errc::corrupt);
    CHECK(code(Codec::snappy, liar + noise(1000), 64 << 20) == Errc::corrupt);
    // The densest that there is stays within what is believed.
    const std::string zeros(60 << 20, '\0');
    auto out = inflate(Codec::snappy, snapped(zeros), zeros.size());
    REQUIRE(out);
    CHECK(out.value() == zeros);
}

TEST_CASE("a bomb is stopped at the limit") {
    const std::string zeros(64 << 20, '\0');
    for (const Codec codec : {Codec::gzip, Codec::snappy, Codec::lz4, Codec::zstd}) {
        const std::string bytes = packed(codec, zeros);
        CHECK(bytes.size() < zeros.size() / 20);
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

TEST_CASE("random damage to any codec's bytes never does harm") {
    Prng prng(11);
    const std::string text = noise(300) + std::string(3000, 'q');
    const std::string all[] = {packed(Codec::gzip, text), packed(Codec::snappy, text), framed(text, 500),
                               packed(Codec::lz4, text), packed(Codec::zstd, text)};
    for (int round = 0; round < 3000; round++)
        for (std::string bytes : all) {
            for (int k = 0; k < 3; k++)
                bytes[prng.below(bytes.size())] = static_cast<char>(prng.next());
            for (const Codec codec : {Codec::gzip, Codec::snappy, Codec::lz4, Codec::zstd})
                if (const auto out = inflate(codec, bytes, 10'000)) CHECK(out.value().size() <= 10'000);
        }
}
