#include "node/raw_json.h"

#include <catch2/catch_test_macros.hpp>

#include <string>

namespace weir::node {
namespace {

TEST_CASE("members keep their bytes") {
    const auto members = raw_members(R"( { "a" : 1.50 , "b":{"x": [1, "]}"]}, "c":"q\"\\" ,"d":null} )");
    REQUIRE(members);
    REQUIRE(members.value().size() == 4);
    CHECK(raw_member(members.value(), "a") == "1.50");
    CHECK(raw_member(members.value(), "b") == R"({"x": [1, "]}"]})");
    CHECK(raw_member(members.value(), "c") == R"("q\"\\")");
    CHECK(raw_member(members.value(), "d") == "null");
    CHECK(raw_member(members.value(), "e").empty());
    CHECK(raw_members("{}").value().empty());
}

TEST_CASE("items of an array") {
    const auto items = raw_items(R"([1, {"a":[2]} ,"x,y"])");
    REQUIRE(items);
    REQUIRE(items.value().size() == 3);
    CHECK(items.value()[1] == R"({"a":[2]})");
    CHECK(items.value()[2] == R"("x,y")");
    CHECK(raw_items(" [ ] ").value().empty());
}

TEST_CASE("what is cut off or another shape is refused") {
    for (const char* text : {"", "[", "{", "{\"a\"", "{\"a\":", "{\"a\":1", "{\"a\":1,}", "{1:2}", "[1,2}", "\"",
                             "{\"a\":\"", "{\"a\":[}"}) {
        INFO(text);
        CHECK_FALSE((raw_members(text) || raw_items(text)));
    }
    // Depth costs nothing: there is no recursion.
    CHECK(raw_items("[" + std::string(100'000, '[') + std::string(100'000, ']') + "]"));
    CHECK_FALSE(raw_items(std::string(100'000, '[')));
}

}  // namespace
}  // namespace weir::node
