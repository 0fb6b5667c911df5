#include "os/disk.h"

#include "os/real_disk.h"
#include "os/sim_disk.h"
#include "support/power_cut.h"
#include "support/temp_dir.h"

#include <catch2/catch_test_macros.hpp>

#include <set>
#include <string>

using namespace weir;
using namespace weir::os;

TEST_CASE("parent_of names the folder of a path") {
    auto gives = [](const char* path, const char* want) { CHECK(parent_of(path) == want); };
    gives("a", ".");
    gives("a/b", "a");
    gives("a/b/c", "a/b");
    gives("/a", "/");
    gives("/a/b", "/a");
}

namespace {

void whole_files(Disk& disk, const std::string& dir) {
    const std::string path = dir + "/whole";
    CHECK(read_file(disk, path, 100).error().code == Errc::not_found);
    for (const std::string& content : {std::string("one"), std::string(), std::string(5000, 'x'), std::string("2")}) {
        REQUIRE(replace_file(disk, path, content));
        auto got = read_file(disk, path, 5000);
        REQUIRE(got);
        CHECK(got.value() == content);
        CHECK(disk.list(dir).value() == std::vector<std::string>{"whole"});
    }
    REQUIRE(replace_file(disk, path, "12345"));
    CHECK(read_file(disk, path, 5).value() == "12345");
    CHECK(read_file(disk, path, 4).error().code == Errc::too_large);
    CHECK(replace_file(disk, dir + "/no/such", "x").error().code == Errc::not_found);
}

}  // namespace

TEST_CASE("read_file and replace_file") {
    test::TempDir dir;
    auto real = make_real_disk();
    whole_files(*real, dir.path());
    SimDisk sim(1, {});
    REQUIRE(sim.make_dirs("d"));
    whole_files(sim, "d");
}

TEST_CASE("replace_file is atomic: a power cut at any operation leaves the old or the new content") {
    std::set<std::string> seen;
    for (std::uint64_t seed = 0; seed < 40; seed++) {
        const auto round = [&](test::PowerCut& power) {
            SimDisk& disk = power.disk;
            REQUIRE(disk.make_dirs("d"));
            REQUIRE(replace_file(disk, "d/f", std::string(3000, 'a')));
            power.arm();
            bool done = replace_file(disk, "d/f", std::string(2000, 'b')).has_value();
            power.restart();
            auto got = read_file(disk, "d/f", 10000);
            REQUIRE(got);
            if (done) CHECK(got.value() == std::string(2000, 'b'));
            CHECK((got.value() == std::string(3000, 'a') || got.value() == std::string(2000, 'b')));
            seen.insert(got.value().substr(0, 1) + (done ? "!" : "?"));
        };
        test::cut_power_at_every_operation({}, round, seed * 100);
    }
    CHECK(seen == std::set<std::string>{"a?", "b?", "b!"});
}

TEST_CASE("replace_file on a full disk keeps the old content") {
    SimDisk disk(7, {});
    REQUIRE(disk.make_dirs("d"));
    REQUIRE(replace_file(disk, "d/f", "old"));
    disk.set_capacity(disk.used_bytes() + 10);
    CHECK(replace_file(disk, "d/f", std::string(11, 'n')).error().code == Errc::disk_full);
    CHECK(read_file(disk, "d/f", 100).value() == "old");
    CHECK(disk.list("d").value() == std::vector<std::string>{"f"});
    CHECK(replace_file(disk, "d/f", std::string(10, 'n')));
}
