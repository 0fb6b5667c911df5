#include "base/prng.h"
#include "consensus/group.h"

#include <catch2/catch_test_macros.hpp>

using namespace weir;
using namespace weir::consensus;

namespace {

Membership three() {
    return {{{1, "a:7400"}, {2, "b:7400"}, {3, "c:7400"}}};
}

bool is_good(const Membership& m) {
    return m.check().has_value();
}

}  // namespace

TEST_CASE("a membership comes back") {
    auto back = Membership::decode(three().encode());
    REQUIRE(back);
    CHECK(back.value() == three());
    CHECK(back.value().contains(3));
    CHECK(!back.value().contains(4));
}

TEST_CASE("the form of a membership on disk (golden)") {
    CHECK(Membership{{{7, "x"}}}.encode() == std::string("\x01\x01\0\x07\0\0\0\0\0\0\0\x01\0\0\0x", 16));
}

TEST_CASE("check: valid and invalid memberships") {
    CHECK(is_good(three()));
    CHECK(!is_good({}));
    CHECK(!is_good({{{0, "a"}}}));
    CHECK(!is_good({{{1, ""}}}));
    CHECK(!is_good({{{1, "a"}, {1, "b"}}}));
    CHECK(!is_good({{{1, "a"}, {2, "a"}}}));
    CHECK(!is_good({{{1, std::string("a\0b", 3)}}}));
    CHECK(is_good({{{1, std::string(255, 'a')}}}));
    CHECK(!is_good({{{1, std::string(256, 'a')}}}));
    Membership many;
    for (NodeId id = 1; id <= 16; id++)
        many.voters.push_back({id, std::to_string(id)});
    CHECK(is_good(many));
    many.voters.push_back({17, "17"});
    CHECK(!is_good(many));
}

TEST_CASE("decode refuses every cut, every addition and what check() refuses") {
    const std::string bytes = three().encode();
    for (std::size_t n = 0; n < bytes.size(); n++)
        CHECK(!Membership::decode(bytes.substr(0, n)));
    CHECK(!Membership::decode(bytes + "x"));
    CHECK(!Membership::decode(Membership{}.encode()));
    std::string version = bytes;
    version[0] = 2;
    CHECK(!Membership::decode(version));
    Prng prng(5);
    for (int i = 0; i < 2000; i++) {
        std::string damaged = bytes;
        damaged[prng.below(damaged.size())] = static_cast<char>(prng.next());
        auto m = Membership::decode(damaged);
        if (m) CHECK(is_good(m.value()));
    }
}
