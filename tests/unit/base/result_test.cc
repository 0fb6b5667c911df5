#include "base/result.h"

#include <catch2/catch_test_macros.hpp>

#include <memory>
#include <set>
#include <string>

using namespace weir;

namespace {

Result<int> parse(int v) {
    if (v < 0) return Error{.code = Errc::invalid_argument, .detail = "negative", .position = 3};
    return v;
}

Status check(int v) {
    if (v == 0) return Error{Errc::conflict, "zero"};
    return {};
}

Result<std::string> chain(int v) {
    const int n = TRY(parse(v));
    TRY(check(n));
    return std::to_string(n);
}

Result<std::unique_ptr<int>> owner(int v) {
    return std::make_unique<int>(v);
}

Result<int> moved(int v) {
    std::unique_ptr<int> p = TRY(owner(v));  // move-only values pass through
    return *p;
}

}  // namespace

TEST_CASE("TRY yields the value or returns the error as it is") {
    CHECK(chain(5).value() == "5");
    const auto negative = chain(-1);
    REQUIRE(!negative);
    CHECK(negative.error().code == Errc::invalid_argument);
    CHECK(negative.error().detail == "negative");
    CHECK(negative.error().position == 3);
    CHECK(negative.error().os_errno == 0);
    const auto zero = chain(0);
    REQUIRE(!zero);
    CHECK(zero.error().code == Errc::conflict);
    CHECK(moved(9).value() == 9);
}

TEST_CASE("Status is good unless told otherwise") {
    CHECK(Status().has_value());
    CHECK(check(1).has_value());
    CHECK(!check(0));
}

TEST_CASE("every code has its own name; timed_out says what it means") {
    std::set<std::string> names;
    for (int i = 0; i <= static_cast<int>(Errc::shutting_down); i++)
        names.insert(errc_name(static_cast<Errc>(i)));
    CHECK(names.size() == static_cast<std::size_t>(Errc::shutting_down) + 1);
    CHECK(!names.contains("unknown"));
    CHECK(std::string(errc_name(Errc::timed_out)) == "outcome_unknown");
}
