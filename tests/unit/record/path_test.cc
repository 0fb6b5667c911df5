#include "record/path.h"

#include "base/limits.h"

#include <catch2/catch_test_macros.hpp>

namespace weir::record {
namespace {

PathStep name(std::string text) {
    return {std::move(text), -1};
}
PathStep at(std::int32_t index) {
    return {"", index};
}

void path_is(std::string_view text, const std::vector<PathStep>& want) {
    INFO(text);
    const Result<std::vector<PathStep>> got = parse_path(text);
    REQUIRE(got);
    CHECK(got.value() == want);
}

void no_path(std::string_view text, std::int64_t position) {
    INFO(text);
    const Result<std::vector<PathStep>> got = parse_path(text);
    REQUIRE_FALSE(got);
    CHECK(got.error().code == Errc::invalid_argument);
    CHECK(got.error().position == position);
}

TEST_CASE("paths are members and elements") {
    path_is("$", {});
    path_is("$.a", {name("a")});
    path_is("$.properties.status", {name("properties"), name("status")});
    path_is("$.a-b_c9", {name("a-b_c9")});
    path_is("$.\xC3\xA9t\xC3\xA9", {name("\xC3\xA9t\xC3\xA9")});
    path_is("$.\"a.b\"", {name("a.b")});
    path_is("$.\"a \\\"b\\\" \\\\ [0]\".c", {name("a \"b\" \\ [0]"), name("c")});
    path_is("$.\"\"", {name("")});
    path_is("$[0]", {at(0)});
    path_is("$[12][3].x[2147483647]", {at(12), at(3), name("x"), at(2147483647)});
}

TEST_CASE("what is not a path is refused with its place") {
    no_path("", 0);
    no_path("a", 0);
    no_path(" $", 0);
    no_path("$a", 1);
    no_path("$ ", 1);
    no_path("$.", 2);
    no_path("$..a", 2);
    no_path("$.a.", 4);
    no_path("$.a b", 3);
    no_path("$.*", 2);
    no_path("$.a]", 3);
    no_path("$.a(b", 3);
    no_path("$.\"a", 2);
    no_path("$.\"a\\n\"", 5);
    no_path("$.\"a\\", 5);
    no_path("$.\"a\"b", 5);
    no_path("$[", 2);
    no_path("$[]", 2);
    no_path("$[-1]", 2);
    no_path("$[01]", 2);
    no_path("$[1", 3);
    no_path("$[1 ]", 3);
    no_path("$['a']", 2);
    no_path("$[2147483648]", 11);
}

TEST_CASE("a path has a maximum of steps") {
    std::string text = "$";
    for (std::size_t i = 0; i < limits::path_steps_max; ++i)
        text += "[1]";
    CHECK(parse_path(text));
    no_path(text + ".a", static_cast<std::int64_t>(text.size()));
}

}  // namespace
}  // namespace weir::record
