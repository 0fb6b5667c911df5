#include "os/digest.h"

#include <catch2/catch_test_macros.hpp>

namespace weir::os {
namespace {

TEST_CASE("SHA-256 of the standard's examples") {
    Sha256 sha256;
    const auto is = [&](std::string_view text, const char* want) { CHECK(hex_of(sha256.of(text)) == want); };
    is("", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    is("abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    is("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
       "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
    is("abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");  // nothing is left of the one before
    is(std::string(1'000'000, 'a'), "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
}

TEST_CASE("SHA-1 of the standard's examples") {
    const auto is = [](std::string_view text, std::uint8_t first, std::uint8_t last) {
        const auto digest = sha1(text);
        CHECK(digest.front() == first);
        CHECK(digest.back() == last);
    };
    is("", 0xda, 0x09);
    is("abc", 0xa9, 0x9d);
    is("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq", 0x84, 0xf1);
}

TEST_CASE("a digest as hex digits and back") {
    Sha256 sha256;
    const Digest digest = sha256.of("abc");
    const std::string hex = hex_of(digest);
    CHECK(parse_digest(hex) == digest);
    std::string upper = hex;
    for (char& c : upper)
        c = c >= 'a' && c <= 'f' ? static_cast<char>(c - 'a' + 'A') : c;
    CHECK(parse_digest(upper) == digest);
    for (const std::string& wrong : {std::string(), hex.substr(1), hex + "0", "g" + hex.substr(1), " " + hex.substr(1)})
        CHECK_FALSE(parse_digest(wrong));
}

TEST_CASE("every bit of two digests counts when they are compared") {
    Sha256 sha256;
    const Digest digest = sha256.of("abc");
    CHECK(same_digest(digest, digest));
    for (std::size_t bit = 0; bit < 8 * digest.size(); ++bit) {
        Digest other = digest;
        other[bit / 8] = static_cast<std::uint8_t>(other[bit / 8] ^ (1u << (bit % 8)));
        CHECK_FALSE(same_digest(digest, other));
    }
}

TEST_CASE("a wiped secret is empty") {
    std::string secret = "a long secret that does not fit into the string itself";
    wipe(secret);
    CHECK(secret.empty());
}

}  // namespace
}  // namespace weir::os
