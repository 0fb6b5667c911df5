#include "os/sim_disk.h"

#include <catch2/catch_test_macros.hpp>

#include <set>
#include <string>
#include <vector>

using namespace weir;
using namespace weir::os;

namespace {

void put(File& file, std::uint64_t offset, const std::string& bytes) {
    const std::string_view pieces[] = {bytes};
    REQUIRE(file.write_at(offset, pieces));
}

std::string content(Disk& disk, const std::string& path) {
    auto got = read_file(disk, path, 1 << 20);
    return got ? got.value() : "<" + std::string(errc_name(got.error().code)) + ">";
}

std::unique_ptr<File> durable_file(SimDisk& disk, const std::string& bytes) {
    REQUIRE(disk.make_dirs("d"));
    auto file = disk.open("d/f", OpenMode::create);
    REQUIRE(file);
    put(*file.value(), 0, bytes);
    REQUIRE(file.value()->sync());
    REQUIRE(disk.sync_dir("d"));
    return std::move(file).value();
}

// Runs `act` on a durable file of `before` with one survival probability and says what can be read after the cut.
template <class Act>
std::set<std::string> outcomes(double survival, const std::string& before, Act act) {
    std::set<std::string> seen;
    for (std::uint64_t seed = 0; seed < 200; seed++) {
        SimDisk disk(seed, {.sector_survival = survival, .name_survival = survival});
        auto file = durable_file(disk, before);
        act(disk, *file);
        disk.crash();
        seen.insert(content(disk, "d/f"));
    }
    return seen;
}

using Set = std::set<std::string>;
const std::string a2(1024, 'a');

}  // namespace

TEST_CASE("what was synced survives every cut") {
    for (double survival : {0.0, 0.5, 1.0}) {
        CHECK(outcomes(survival, a2, [](SimDisk&, File&) {}) == Set{a2});
        CHECK(outcomes(survival, a2, [](SimDisk&, File& f) {
                  put(f, 0, "b");
                  REQUIRE(f.sync());
              }) == Set{"b" + a2.substr(1)});
    }
}

TEST_CASE("an unsynced overwrite: each 512-byte sector by itself") {
    const std::string b2(1024, 'b');
    auto write = [&](SimDisk&, File& f) { put(f, 0, b2); };
    CHECK(outcomes(0, a2, write) == Set{a2});
    CHECK(outcomes(1, a2, write) == Set{b2});
    const std::string a1(512, 'a');
    const std::string b1(512, 'b');
    CHECK(outcomes(0.5, a2, write) == Set{a1 + a1, a1 + b1, b1 + a1, b1 + b1});
}

TEST_CASE("a small write across a sector's border can be torn there") {
    auto write = [](SimDisk&, File& f) { put(f, 510, "wxyz"); };
    auto with = [](const std::string& four) { return std::string(510, 'a') + four + std::string(510, 'a'); };
    CHECK(outcomes(0.5, a2, write) == Set{with("aaaa"), with("wxaa"), with("aayz"), with("wxyz")});
}

TEST_CASE("unsynced growth: a surviving sector extends the file, holes are zeros") {
    const std::string start(100, 'a');
    auto seen = outcomes(0.5, start, [](SimDisk&, File& f) { put(f, 100, std::string(1400, 'b')); });
    CHECK(seen.contains(start));
    CHECK(seen.contains(start + std::string(1400, 'b')));
    CHECK(seen.contains(start + std::string(412, '\0') + std::string(512, 'b')));  // the middle sector alone
    CHECK(seen.contains(start + std::string(924, '\0') + std::string(476, 'b')));  // the last alone
    CHECK(seen.contains(start + std::string(1400, '\0')));                         // only the size
    for (const auto& s : seen)
        CHECK(s.substr(0, 100) == start);
}

TEST_CASE("unsynced truncation and extension") {
    CHECK(outcomes(0, a2, [](SimDisk&, File& f) { REQUIRE(f.truncate(512)); }) == Set{a2});
    CHECK(outcomes(0.5, a2, [](SimDisk&, File& f) { REQUIRE(f.truncate(512)); }) == Set{a2, a2.substr(512)});
    CHECK(outcomes(0.5, a2, [](SimDisk&, File& f) { REQUIRE(f.allocate(2048)); }) ==
          Set{a2, a2 + std::string(1024, '\0')});
    CHECK(outcomes(1, a2, [](SimDisk&, File& f) {
              REQUIRE(f.truncate(0));
              put(f, 0, "xy");
          }) == Set{"xy"});
    // Cut and grown again: the zeros may be missing on disk.
    auto seen = outcomes(0.5, a2, [](SimDisk&, File& f) {
        REQUIRE(f.truncate(512));
        REQUIRE(f.allocate(1024));
    });
    CHECK(seen == Set{a2, a2.substr(512) + std::string(512, '\0')});
    CHECK(outcomes(0, a2, [](SimDisk&, File& f) {
              REQUIRE(f.truncate(10));
              REQUIRE(f.sync());
          }) == Set{std::string(10, 'a')});
}

TEST_CASE("write-back: an older version of a sector may be what survives") {
    Set seen;
    for (std::uint64_t seed = 0; seed < 200; seed++) {
        SimDisk disk(seed, {.sector_survival = 0.5, .write_back = 0.5});
        auto file = durable_file(disk, "a");
        put(*file, 0, "b");
        put(*file, 0, "c");
        disk.crash();
        seen.insert(content(disk, "d/f"));
    }
    CHECK(seen == Set{"a", "b", "c"});
}

TEST_CASE("names are pending until their folder is synced; File::sync makes none durable") {
    auto create = [](SimDisk& disk, File&) {
        auto g = disk.open("d/g", OpenMode::create);
        REQUIRE(g);
        put(*g.value(), 0, "new");
        REQUIRE(g.value()->sync());
    };
    auto look = [&](double survival, auto act) {
        Set seen;
        for (std::uint64_t seed = 0; seed < 100; seed++) {
            SimDisk disk(seed, {.name_survival = survival});
            auto file = durable_file(disk, "old");
            act(disk, *file);
            disk.crash();
            seen.insert(content(disk, "d/f") + " " + content(disk, "d/g"));
        }
        return seen;
    };
    CHECK(look(0, create) == Set{"old <not_found>"});
    CHECK(look(0.5, create) == Set{"old <not_found>", "old new"});
    CHECK(look(0, [&](SimDisk& disk, File& f) {
              create(disk, f);
              REQUIRE(disk.sync_dir("d"));
          }) == Set{"old new"});
    CHECK(look(0, [&](SimDisk& disk, File& f) {
              create(disk, f);
              REQUIRE(disk.sync_dir("."));  // another folder
          }) == Set{"old <not_found>"});
    auto rename = [&](SimDisk& disk, File& f) {
        create(disk, f);
        REQUIRE(disk.rename("d/g", "d/f"));
    };
    CHECK(look(0, rename) == Set{"old <not_found>"});
    CHECK(look(1, rename) == Set{"new <not_found>"});
    CHECK(look(0.5, rename) == Set{"old <not_found>", "old new", "new <not_found>"});
    CHECK(look(0.5, [](SimDisk& disk, File&) { REQUIRE(disk.remove("d/f")); }) ==
          Set{"old <not_found>", "<not_found> <not_found>"});
    CHECK(look(0, [](SimDisk& disk, File&) {
              REQUIRE(disk.remove("d/f"));
              REQUIRE(disk.sync_dir("d"));
          }) == Set{"<not_found> <not_found>"});
    CHECK(look(0, [](SimDisk& disk, File&) {
              REQUIRE(disk.remove_tree("d"));
              CHECK_FALSE(disk.exists("d").value());
          }) == Set{"old <not_found>"});
    CHECK(look(0, [](SimDisk& disk, File&) {
              REQUIRE(disk.remove_tree("d"));
              REQUIRE(disk.sync_dir("."));
          }) == Set{"<not_found> <not_found>"});
}

TEST_CASE("a created file whose content was not synced may come back empty or torn") {
    Set seen;
    for (std::uint64_t seed = 0; seed < 100; seed++) {
        SimDisk disk(seed, {});
        REQUIRE(disk.make_dirs("d"));
        auto file = disk.open("d/f", OpenMode::create);
        REQUIRE(file);
        put(*file.value(), 0, "x");
        REQUIRE(disk.sync_dir("d"));
        disk.crash();
        seen.insert(content(disk, "d/f"));
    }
    CHECK(seen == Set{"", std::string(1, '\0'), "x"});
}

TEST_CASE("after a crash or the process' death old handles answer io") {
    for (bool power : {true, false}) {
        SimDisk disk(1, {.sector_survival = 0, .name_survival = 0});
        auto file = durable_file(disk, "old");
        put(*file, 0, "new");
        if (power) {
            disk.crash();
        } else {
            disk.kill_process();
        }
        char buffer[4];
        const std::string_view pieces[] = {"x"};
        CHECK(file->read_at(0, buffer).error().code == Errc::io);
        CHECK(file->write_at(0, pieces).error().code == Errc::io);
        CHECK(file->sync().error().code == Errc::io);
        CHECK(file->size().error().code == Errc::io);
        CHECK(file->truncate(0).error().code == Errc::io);
        CHECK(content(disk, "d/f") == (power ? "old" : "new"));
    }
}

TEST_CASE("the hook counts operations and cuts the power in the midst of one") {
    Set seen;
    for (std::uint64_t seed = 0; seed < 50; seed++) {
        SimDisk disk(seed, {});
        auto file = durable_file(disk, "old");
        const std::uint64_t before = disk.operations();
        disk.on_operation([&] { return disk.operations() < before + 2; });
        put(*file, 0, "new");
        const std::string_view pieces[] = {"!!"};
        CHECK(file->write_at(1, pieces).error().code == Errc::io);
        CHECK(disk.operations() == before + 2);
        CHECK(file->sync().error().code == Errc::io);
        CHECK(disk.open("d/f", OpenMode::read).error().code == Errc::io);
        CHECK(disk.list("d").error().code == Errc::io);
        disk.on_operation({});
        disk.crash();
        seen.insert(content(disk, "d/f"));
    }
    CHECK(seen == Set{"old", "n!!"});
}

TEST_CASE("capacity: beyond it disk_full, in place still possible; a full copy-on-write disk refuses both") {
    SimDisk disk(5, {.capacity_bytes = 1000});
    auto file = durable_file(disk, std::string(600, 'a'));
    CHECK(disk.used_bytes() == 600);
    CHECK(disk.free_bytes("d").value() == 400);
    CHECK(file->allocate(1001).error().code == Errc::disk_full);
    CHECK(disk.used_bytes() == 600);
    const std::string more(401, 'b');
    const std::string_view pieces[] = {more};
    CHECK(file->write_at(600, pieces).error().code == Errc::disk_full);
    CHECK(disk.used_bytes() == 1000);
    CHECK(file->write_at(0, pieces));
    disk.set_full(true);
    CHECK(file->write_at(0, pieces).error().code == Errc::disk_full);
    CHECK(disk.open("d/g", OpenMode::create).error().code == Errc::disk_full);
    disk.set_full(false);
    disk.set_capacity(2000);
    CHECK(file->write_at(600, pieces));
    CHECK(disk.used_bytes() == 1001);
}

TEST_CASE("a failed sync: readers see what the disk does not have, until the cache is dropped") {
    Set seen;
    for (std::uint64_t seed = 0; seed < 100; seed++) {
        SimDisk disk(seed, {});
        auto file = durable_file(disk, a2);
        put(*file, 0, std::string(1024, 'b'));
        disk.fail_next_sync();
        CHECK(file->sync().error().code == Errc::io);
        CHECK(file->sync());  // says fine, and wrote nothing
        disk.kill_process();
        CHECK(content(disk, "d/f") == std::string(1024, 'b'));
        auto again = disk.open("d/f", OpenMode::write);
        REQUIRE(again);
        again.value()->drop_cache(0, 0);
        std::string truth = content(disk, "d/f");
        disk.crash();
        CHECK(content(disk, "d/f") == truth);
        seen.insert(truth);
    }
    CHECK(seen.size() == 4);
}

TEST_CASE("flip_bit changes what is durable too") {
    SimDisk disk(1, {});
    auto file = durable_file(disk, "abc");
    disk.flip_bit("d/f", 8);
    CHECK(content(disk, "d/f") == "acc");
    disk.crash();
    CHECK(content(disk, "d/f") == "acc");
}

TEST_CASE("one seed, one fate") {
    auto run = [](std::uint64_t seed) {
        SimDisk disk(seed, {});
        auto file = durable_file(disk, a2);
        for (std::uint64_t i = 0; i < 20; i++)
            put(*file, i * 400, std::string(500, static_cast<char>('a' + i)));
        disk.crash();
        return content(disk, "d/f");
    };
    for (std::uint64_t seed = 0; seed < 20; seed++)
        CHECK(run(seed) == run(seed));
    CHECK(run(1) != run(2));
}
