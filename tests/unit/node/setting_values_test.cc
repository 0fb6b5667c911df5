#include "node/setting_values.h"

#include <catch2/catch_test_macros.hpp>

namespace weir::node {
namespace {

void size_is(const char* text, std::uint64_t want) {
    INFO(text);
    const auto got = parse_size(text);
    REQUIRE(got);
    CHECK(got.value() == want);
}

TEST_CASE("sizes with units") {
    size_is("0", 0);
    size_is("4096", 4096);
    size_is("1KB", 1000);
    size_is("1KiB", 1024);
    size_is("512MiB", 512ull << 20);
    size_is("1.5 GiB", 3ull << 29);
    size_is(" 2GB ", 2'000'000'000);
    size_is("1TiB", 1ull << 40);
    for (const char* text : {"", "MiB", "-1", "1kb", "1 XB", "1e3", "nan", "inf", "5000000TiB", "1MiB2"}) {
        INFO(text);
        CHECK_FALSE(parse_size(text));
    }
}

TEST_CASE("addresses") {
    const auto is = [](const char* text, const char* host, std::uint16_t port) {
        INFO(text);
        const auto got = parse_host_port(text);
        REQUIRE(got);
        CHECK(got.value().host == host);
        CHECK(got.value().port == port);
    };
    is("127.0.0.1:8080", "127.0.0.1", 8080);
    is("localhost:0", "localhost", 0);
    is("[::1]:65535", "::1", 65535);
    for (const char* text :
         {"", "8080", ":8080", "a:", "a:65536", "a:-1", "::1:80", "[::1]", "[]:80", "a b:1", "http://a:1", "a:1x"}) {
        INFO(text);
        CHECK_FALSE(parse_host_port(text));
    }
    for (const char* host : {"127.0.0.1", "127.9.8.7", "::1", "localhost"})
        CHECK(is_loopback(host));
    for (const char* host : {"0.0.0.0", "::", "10.0.0.1", "127.evil.example", "127.0.0.1.example", "example.com", ""}) {
        INFO(host);
        CHECK_FALSE(is_loopback(host));
    }
}

TEST_CASE("words and lists") {
    for (const char* yes : {"true", "yes", "on", "1"})
        CHECK(parse_bool(yes).value());
    for (const char* no : {"false", "no", "off", "0"})
        CHECK_FALSE(parse_bool(no).value());
    for (const char* neither : {"", "maybe", "TRUE", "2"})
        CHECK_FALSE(parse_bool(neither));
    CHECK(parse_list(" a , b,,c ") == std::vector<std::string>{"a", "b", "c"});
    CHECK(parse_list(" , ").empty());
    CHECK(trimmed("\t a b ") == "a b");
}

}  // namespace
}  // namespace weir::node
