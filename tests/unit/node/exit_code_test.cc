#include "node/exit_code.h"

#include <catch2/catch_test_macros.hpp>

#include <string>

namespace weir::node {
namespace {

TEST_CASE("the numbers that scripts rely on") {
    CHECK(code_of(Exit::ok) == 0);
    CHECK(code_of(Exit::failed) == 1);
    CHECK(code_of(Exit::usage) == 2);
    CHECK(code_of(Exit::unreachable) == 3);
    CHECK(code_of(Exit::unauthorised) == 4);
    CHECK(code_of(Exit::not_found) == 5);
    CHECK(code_of(Exit::conflict) == 6);
    CHECK(code_of(Exit::partial) == 7);
    CHECK(code_of(Exit::disk) == 74);
    CHECK(code_of(Exit::timeout) == 124);
}

TEST_CASE("errors to exit codes") {
    CHECK(exit_of(Errc::not_found) == Exit::not_found);
    CHECK(exit_of(Errc::already_exists) == Exit::conflict);
    CHECK(exit_of(Errc::disk_full) == Exit::disk);
    CHECK(exit_of(Errc::timed_out) == Exit::timeout);
    CHECK(exit_of(Errc::forbidden) == Exit::unauthorised);
}

TEST_CASE("the help names every code") {
    const std::string text = exit_codes_text();
    for (const char* code : {"  0 ", "  1 ", "  2 ", "  3 ", "  4 ", "  5 ", "  6 ", "  7 ", " 74 ", "124 ", "130 "}) {
        CHECK(text.find(code) != std::string::npos);
    }
}

}  // namespace
}  // namespace weir::node
