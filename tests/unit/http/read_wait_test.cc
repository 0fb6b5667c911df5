#include "http/detail/read_wait.h"

#include <catch2/catch_test_macros.hpp>

using namespace weir;
using namespace weir::http;

TEST_CASE("parse_min_index") {
    auto f = [](std::string_view text, std::size_t want) {
        const auto parsed = parse_min_index(text);
        INFO(text);
        CHECK((parsed ? parsed.value().size() : 0) == want);
    };
    f("0:17", 1);
    f("0:17,1:3", 2);
    f("65535:9223372036854775807", 1);
    f("65536:1", 0);
    f("0:9223372036854775808", 0);
    f("", 0);
    f("17", 0);
    f("0:", 0);
    f(":1", 0);
    f("0:1,", 0);
    f("0:1 ", 0);
    f("0:-1", 0);
    f("0:+1", 0);
    const auto one = parse_min_index("2:17");
    REQUIRE(one);
    CHECK(one.value()[0] == ShardIndex{ShardId(2), LogIndex(17)});
}

TEST_CASE("parse_unsigned") {
    CHECK(parse_unsigned("0", 10) == 0);
    CHECK(parse_unsigned("10", 10) == 10);
    CHECK_FALSE(parse_unsigned("11", 10));
    CHECK_FALSE(parse_unsigned("", 10));
    CHECK_FALSE(parse_unsigned("1x", 10));
    CHECK_FALSE(parse_unsigned("-1", 10));
    CHECK_FALSE(parse_unsigned("99999999999999999999", INT64_MAX));
}

TEST_CASE("Unknown parameters are named") {
    CHECK_FALSE(check_known({{"a", "1"}}, {"a", "b"}));
    const auto problem = check_known({{"a", "1"}, {"c", "2"}}, {"a", "b"});
    REQUIRE(problem);
    CHECK(problem->status == 400);
    CHECK(problem->detail == "unknown parameter c; this route takes a, b");
}
