#include "record/fingerprint.h"

#include "base/wire.h"

#include <catch2/catch_test_macros.hpp>

#include <string>

namespace weir::record {
namespace {

void murmur2_is(std::string_view key, std::int32_t want) {
    INFO(key);
    CHECK(static_cast<std::int32_t>(murmur2(key)) == want);
}

TEST_CASE("murmur2 is that of Kafka's Java client") {
    murmur2_is("21", -973932308);
    murmur2_is("foobar", -790332482);
    murmur2_is("a-little-bit-long-string", -985981536);
    murmur2_is("a-little-bit-longer-string", -1486304829);
    murmur2_is("lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58897971);
    murmur2_is("abc", 479470107);
    murmur2_is("", 275646681);
}

TEST_CASE("a fingerprint is keyed, stable and never the one of no key") {
    const Fingerprint a = fingerprint({}, "abc");
    CHECK(a == fingerprint({}, "abc"));
    CHECK(a != fingerprint({}, "abd"));
    CHECK(a != fingerprint({1}, "abc"));
    CHECK(fingerprint({}, "").has_key());
    CHECK_FALSE(Fingerprint{}.has_key());
    for (int i = 0; i < 1000; ++i)
        CHECK((fingerprint({}, std::to_string(i)).lo & 1) == 1);
}

// Golden values: they are in logs and in index files. Add to them, never edit them.
TEST_CASE("fingerprints do not change between versions") {
    const auto typed = [](std::string_view text) {
        std::string bytes;
        WireWriter writer(bytes);
        writer.u8(0);
        writer.bytes(text);
        return bytes;
    };
    const auto shown = [](const Fingerprint& f) { return std::to_string(f.hi) + "/" + std::to_string(f.lo); };
    CHECK(shown(fingerprint({}, "")) == "11072670137173121240/6918025063187695999");
    CHECK(shown(fingerprint({42}, typed("50d98a41974f2572a398f40b04"))) == "6747808855312982590/12251996789847814781");
    CHECK(shown(fingerprint({42}, typed(std::string(300, 'x')))) == "16003379335598564066/17938753738569267339");
}

}  // namespace
}  // namespace weir::record
