#include "node/demo.h"

#include "capture.h"
#include "support/temp_dir.h"

#include <catch2/catch_test_macros.hpp>

#include <filesystem>
#include <fstream>

namespace weir::node {
namespace {

TEST_CASE("the pace is even, and what was missed is dropped") {
    DemoPace pace(500);
    CHECK(pace.due(0) == 0);
    CHECK(pace.due(100'000) == 50);
    CHECK(pace.due(101'000) == 0);
    CHECK(pace.due(102'000) == 1);
    CHECK(pace.due(200'000) == 49);
    CHECK(pace.due(60'000'000) == 500);  // asleep for a minute
    CHECK(pace.due(60'100'000) == 50);
    DemoPace slow(1);
    CHECK(slow.due(999'999) == 0);
    CHECK(slow.due(1'000'000) == 1);
    DemoPace fast(demo_rate_max);
    fast.due(std::int64_t{1} << 60);  // 36,000 years
    CHECK(fast.due((std::int64_t{1} << 60) + 10'000) == 1000);
}

TEST_CASE("a server that does not start ends the demo with its words, and nothing stays") {
    const ::weir::test::TempDir dir;
    const std::string program = dir.path() + "/program";
    std::ofstream(program) << "#!/bin/sh\necho 'error: the disk is full' >&2\nexit 74\n";
    std::filesystem::permissions(program, std::filesystem::perms::owner_all);
    test::Capture capture;
    DemoOptions options;
    options.parent_dir = dir.path();
    options.http_listen = "127.0.0.1:0";
    options.program = program;
    CHECK(run_demo(capture.console, options) == Exit::failed);
    CHECK(capture.err().find("error: the server ended before it was ready:\nerror: the disk is full") == 0);
    CHECK(std::distance(std::filesystem::directory_iterator(dir.path()), std::filesystem::directory_iterator()) == 1);
}

}  // namespace
}  // namespace weir::node
