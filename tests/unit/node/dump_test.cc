#include "node/dump.h"

#include "base/prng.h"
#include "capture.h"
#include "support/temp_dir.h"

#include <catch2/catch_test_macros.hpp>

#include <fstream>

namespace weir::node {
namespace {

// What is shown of directories that a server has filled is in tests/system/test_doctor.py.
TEST_CASE("a file that is no segment is told apart, whatever its bytes") {
    const ::weir::test::TempDir dir;
    const std::string path = dir.path() + "/x.log";
    Prng chance(7);
    for (const std::size_t size : {1u, 11u, 60u, 61u, 200u, 5000u}) {
        for (const char fill : {'\0', '\xff', 'r'}) {
            std::string bytes(size, fill);
            if (fill == 'r') {
                for (char& c : bytes)
                    c = static_cast<char>(chance.below(256));
            }
            if (size > 16) bytes[16] = 2;  // the magic of a batch
            std::ofstream(path, std::ios::trunc) << bytes;
            test::Capture capture;
            INFO(size << " of " << static_cast<int>(fill));
            CHECK(run_dump_segment(capture.console, path, OutputFormat::ndjson) != Exit::ok);
            CHECK(capture.out().empty());
            CHECK(capture.err().find("error: " + path + ", byte 0 of ") == 0);
        }
    }
    std::ofstream(path, std::ios::trunc) << "";
    test::Capture capture;
    CHECK(run_dump_segment(capture.console, path, OutputFormat::ndjson) == Exit::ok);
    CHECK(run_dump_segment(capture.console, dir.path() + "/none", OutputFormat::ndjson) == Exit::not_found);
}

TEST_CASE("a folder that is no data directory is not made one") {
    const ::weir::test::TempDir dir;
    for (const DumpWhat what : {DumpWhat::wal, DumpWhat::checkpoint, DumpWhat::state}) {
        test::Capture capture;
        CHECK(run_dump(capture.console, dir.path(), what, OutputFormat::table) == Exit::not_found);
        CHECK(capture.err().find("is no data directory of weir") != std::string::npos);
    }
}

}  // namespace
}  // namespace weir::node
