#include "node/doctor.h"

#include "capture.h"
#include "support/temp_dir.h"

#include <catch2/catch_test_macros.hpp>

#include <filesystem>
#include <fstream>

namespace weir::node {
namespace {

// What the checks find is in tests/system/test_doctor.py, on directories that a server has filled.
TEST_CASE("a folder without data is no data directory, and nothing is made in it") {
    const ::weir::test::TempDir dir;
    test::Capture capture;
    CHECK(run_doctor(capture.console, dir.path(), OutputFormat::table) == Exit::not_found);
    CHECK(capture.err().find("is no data directory of weir") != std::string::npos);
    CHECK(std::filesystem::is_empty(dir.path()));
}

TEST_CASE("a directory whose server never got beyond its identity has nothing to check") {
    const ::weir::test::TempDir dir;
    std::ofstream(dir.path() + "/weir.identity") << "weirhouse data directory, format 1\nid " << std::string(32, 'a')
                                                 << "\nhash_seed " << std::string(16, '1') << "\n";
    const auto checks = examine(dir.path());
    REQUIRE(checks);
    REQUIRE(checks.value().size() == 5);
    CHECK(checks.value()[0].result == CheckResult::ok);
    for (std::size_t i = 1; i < checks.value().size(); ++i) {
        INFO(checks.value()[i].name);
        CHECK(checks.value()[i].result == CheckResult::skipped);
    }
    test::Capture capture;
    CHECK(run_doctor(capture.console, dir.path(), OutputFormat::json) == Exit::ok);
    CHECK(capture.out().find("\"healthy\":true") != std::string::npos);
    CHECK_FALSE(std::filesystem::exists(dir.path() + "/wal"));
    CHECK_FALSE(std::filesystem::exists(dir.path() + "/shards"));
}

TEST_CASE("a failed check is told with what to do, and the others go on") {
    const ::weir::test::TempDir dir;
    std::ofstream(dir.path() + "/weir.identity") << "not one";
    test::Capture capture;
    CHECK(run_doctor(capture.console, dir.path(), OutputFormat::csv) == Exit::failed);
    CHECK(capture.out().find("check,result,found,advice\nidentity,failed,") == 0);
    CHECK(capture.out().find("\ntables,skipped,") != std::string::npos);
    CHECK(capture.err().find("error: identity: ") == 0);
    CHECK(capture.err().find("  try: restore the data directory from a backup") != std::string::npos);
    CHECK(capture.err().find("1 check failed") != std::string::npos);
}

}  // namespace
}  // namespace weir::node
