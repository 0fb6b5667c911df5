#include "os/real_disk.h"

#include "os/sim_disk.h"
#include "support/temp_dir.h"

#include <catch2/catch_test_macros.hpp>

#include <fcntl.h>
#include <string>
#include <sys/mman.h>
#include <unistd.h>
#include <vector>

using namespace weir;
using namespace weir::os;

namespace {

std::string read_all(File& file, std::uint64_t offset, std::size_t bytes) {
    std::string out(bytes, '?');
    auto got = file.read_at(offset, out);
    REQUIRE(got);
    out.resize(got.value());
    return out;
}

// What both disks promise alike.
void contract(Disk& disk, const std::string& dir) {
    const std::string path = dir + "/f";
    CHECK(disk.open(path, OpenMode::read).error().code == Errc::not_found);
    CHECK(disk.open(path, OpenMode::write).error().code == Errc::not_found);
    CHECK(disk.open(dir + "/no/f", OpenMode::create).error().code == Errc::not_found);
    auto file = disk.open(path, OpenMode::create_new);
    REQUIRE(file);
    CHECK(disk.open(path, OpenMode::create_new).error().code == Errc::already_exists);
    REQUIRE(disk.open(path, OpenMode::create));
    File& f = *file.value();

    const std::vector<std::string_view> pieces = {"", "abc", "", "de", "f", ""};
    REQUIRE(f.write_at(3, pieces));
    CHECK(f.size().value() == 9);
    CHECK(read_all(f, 0, 100) == std::string("\0\0\0abcdef", 9));
    CHECK(read_all(f, 7, 1) == "e");
    CHECK(read_all(f, 9, 10).empty());
    CHECK(read_all(f, 900, 10).empty());
    REQUIRE(f.write_at(0, {}));
    REQUIRE(f.truncate(5));
    CHECK(read_all(f, 0, 100) == std::string("\0\0\0ab", 5));
    REQUIRE(f.truncate(7));
    CHECK(read_all(f, 0, 100) == std::string("\0\0\0ab\0\0", 7));
    REQUIRE(f.allocate(6));
    CHECK(f.size().value() == 7);
    REQUIRE(f.allocate(5000));
    CHECK(f.size().value() == 5000);
    CHECK(read_all(f, 3, 4) == std::string("ab\0\0", 4));
    REQUIRE(f.sync());
    f.write_behind(0, 5000);
    f.drop_cache(0, 5000);
    std::string aside(4, '?');
    CHECK(f.read_aside(1, aside).value() == 4);
    CHECK(aside == read_all(f, 1, 4));
    CHECK(read_all(f, 3, 2) == "ab");

    // More pieces than one system call takes.
    std::vector<std::string> bits;
    std::vector<std::string_view> many;
    std::string whole;
    for (int i = 0; i < 3000; i++)
        bits.push_back(std::string(static_cast<std::size_t>(i % 7), static_cast<char>('a' + i % 26)));
    for (const auto& bit : bits) {
        many.push_back(bit);
        whole += bit;
    }
    REQUIRE(f.write_at(100, many));
    CHECK(read_all(f, 100, whole.size()) == whole);

    REQUIRE(disk.make_dirs(dir + "/x/y/z"));
    REQUIRE(disk.make_dirs(dir + "/x/y/z"));
    CHECK(disk.exists(dir + "/x/y").value());
    CHECK_FALSE(disk.exists(dir + "/x/q").value());
    CHECK_FALSE(disk.exists(dir + "/f/q").value());
    REQUIRE(disk.rename(path, dir + "/x/g"));
    CHECK(disk.rename(path, dir + "/x/g").error().code == Errc::not_found);
    CHECK(disk.list(dir).value() == std::vector<std::string>{"x"});
    CHECK(disk.list(dir + "/x").value() == std::vector<std::string>{"g", "y"});
    CHECK(disk.list(dir + "/q").error().code == Errc::not_found);
    REQUIRE(disk.sync_dir(dir + "/x"));
    CHECK(disk.sync_dir(dir + "/q").error().code == Errc::not_found);
    // An open file outlives its name.
    REQUIRE(disk.remove(dir + "/x/g"));
    CHECK(disk.remove(dir + "/x/g").error().code == Errc::not_found);
    CHECK(read_all(f, 3, 2) == "ab");
    REQUIRE(disk.open(dir + "/x/y/z/h", OpenMode::create));
    REQUIRE(disk.remove_tree(dir + "/x"));
    REQUIRE(disk.remove_tree(dir + "/x"));
    CHECK(disk.list(dir).value().empty());
    CHECK(disk.free_bytes(dir).value() > 0);
}

}  // namespace

TEST_CASE("the real and the simulated disk keep one contract") {
    test::TempDir dir;
    auto real = make_real_disk();
    contract(*real, dir.path());
    SimDisk sim(3, {});
    REQUIRE(sim.make_dirs("/data/d"));
    contract(sim, "/data/d");
    REQUIRE(sim.make_dirs("rel"));
    contract(sim, "rel");
}

namespace {

// Pages of the file that are in memory, as "1100".
std::string pages_in_memory(const std::string& path, std::size_t pages) {
    const auto page = static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
    const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
    void* mapped = ::mmap(nullptr, pages * page, PROT_READ, MAP_SHARED, fd, 0);
    REQUIRE(mapped != MAP_FAILED);
    std::vector<unsigned char> in(pages);
    REQUIRE(::mincore(mapped, pages * page, in.data()) == 0);
    ::munmap(mapped, pages * page);
    ::close(fd);
    std::string out;
    for (const unsigned char one : in)
        out += (one & 1) != 0 ? '1' : '0';
    return out;
}

}  // namespace

TEST_CASE("what is read aside leaves the page cache as it was") {
    const test::TempDir dir;
    const auto page = static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
    const std::string path = dir.path() + "/f";
    const auto disk = make_real_disk();
    {
        const auto file = disk->open(path, OpenMode::create).value();
        const std::string bytes(8 * page, 'x');
        const std::string_view piece = bytes;
        REQUIRE(file->write_at(0, std::span(&piece, 1)));
        REQUIRE(file->sync());
        file->drop_cache(0, 0);
    }
    if (pages_in_memory(path, 8) != "00000000") SKIP("this file system keeps its pages");
    const auto file = disk->open(path, OpenMode::read).value();
    std::string some(2 * page, '?');
    // Somebody's page, read without read-ahead.
    const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
    ::posix_fadvise(fd, 0, 0, POSIX_FADV_RANDOM);
    REQUIRE(::pread(fd, some.data(), 1, static_cast<off_t>(3 * page)) == 1);
    ::close(fd);
    REQUIRE(pages_in_memory(path, 8) == "00010000");
    std::string all(8 * page, '?');
    CHECK(file->read_aside(0, all).value() == 8 * page);
    CHECK(all == std::string(8 * page, 'x'));
    CHECK(pages_in_memory(path, 8) == "00010000");
    CHECK(file->read_aside(page + 1, some).value() == 2 * page);
    CHECK(pages_in_memory(path, 8) == "00010000");
    CHECK(file->read_at(0, all).value() == 8 * page);
    CHECK(pages_in_memory(path, 8) == "11111111");
}

TEST_CASE("make_dirs refuses a path through a file") {
    test::TempDir dir;
    auto real = make_real_disk();
    REQUIRE(real->open(dir.path() + "/f", OpenMode::create));
    CHECK_FALSE(real->make_dirs(dir.path() + "/f"));
    CHECK_FALSE(real->make_dirs(dir.path() + "/f/g"));
    REQUIRE(real->make_dirs(dir.path() + "/a//b/"));
    CHECK(real->exists(dir.path() + "/a/b").value());
}

TEST_CASE("DirLock: one holder at a time, and it says who") {
    test::TempDir dir;
    {
        auto first = DirLock::take(dir.path());
        REQUIRE(first);
        auto second = DirLock::take(dir.path());
        REQUIRE_FALSE(second);
        CHECK(second.error().code == Errc::conflict);
        CHECK(second.error().detail.find(std::to_string(::getpid())) != std::string::npos);
        DirLock moved = std::move(first).value();
        CHECK_FALSE(DirLock::take(dir.path()));
    }
    CHECK(DirLock::take(dir.path()));
    CHECK(DirLock::take(dir.path() + "/no").error().code == Errc::io);
}
