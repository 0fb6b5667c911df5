// LMDB and its twin behave alike; LMDB keeps what was committed.
#include "stream/state_store.h"

#include "base/prng.h"
#include "support/temp_dir.h"

#include <catch2/catch_test_macros.hpp>

#include <filesystem>
#include <fstream>
#include <map>
#include <thread>

namespace weir::stream {
namespace {

constexpr std::uint64_t map_bytes = 64u << 20;

std::string get(StateStore& store, const std::string& key) {
    auto value = store.get(key);
    REQUIRE(value);
    return value.value().value_or("(none)");
}

std::string keys(StateStore& store, const std::string& prefix, std::size_t most = SIZE_MAX) {
    std::string out;
    std::size_t count = 0;
    REQUIRE(store.scan(prefix, [&](std::string_view key, std::string_view value) {
        out += std::string(key) + "=" + std::string(value) + " ";
        return ++count < most;
    }));
    return out;
}

void behaves(StateStore& store) {
    CHECK(get(store, "a") == "(none)");
    CHECK(keys(store, "") == "");
    REQUIRE(store.commit({{"a2", "y"}, {"a1", "x"}, {"b", ""}, {"a", "0"}}));
    CHECK(get(store, "a1") == "x");
    CHECK(get(store, "b") == "");
    CHECK(keys(store, "a") == "a=0 a1=x a2=y ");
    CHECK(keys(store, "a", 2) == "a=0 a1=x ");
    CHECK(keys(store, "c") == "");
    CHECK(keys(store, "") == "a=0 a1=x a2=y b= ");
    REQUIRE(store.commit({{"a1", std::nullopt}, {"nothing", std::nullopt}, {"a2", "z"}}));
    CHECK(keys(store, "a") == "a=0 a2=z ");
    // The last change of a key wins.
    REQUIRE(store.commit({{"k", "1"}, {"k", std::nullopt}, {"k", "2"}}));
    CHECK(get(store, "k") == "2");
    REQUIRE(store.commit({}));

    // Around the length where keys are hashed.
    std::string all;
    for (const std::size_t size : {479u, 480u, 481u, 500u, 5000u}) {
        const std::string key = "L" + std::string(size - 1, 'x');
        REQUIRE(store.commit({{key, std::to_string(size)}}));
        CHECK(get(store, key) == std::to_string(size));
        CHECK(get(store, key + "y") == "(none)");
    }
    const std::string twin = "L" + std::string(4998, 'x') + "y";  // shares 480 bytes with the longest
    REQUIRE(store.commit({{twin, "twin"}}));
    CHECK(get(store, twin) == "twin");
    std::map<std::string, std::string> found;
    REQUIRE(store.scan("Lxxx", [&](std::string_view key, std::string_view value) {
        found.emplace(key, value);
        return true;
    }));
    CHECK(found.size() == 6);
    CHECK(found[twin] == "twin");
    found.clear();
    REQUIRE(store.scan("L" + std::string(4000, 'x'), [&](std::string_view key, std::string_view value) {
        found.emplace(key, value);
        return true;
    }));
    CHECK(found.size() == 2);
    REQUIRE(store.commit({{twin, std::nullopt}}));
    CHECK(get(store, twin) == "(none)");
}

TEST_CASE("the memory store") {
    behaves(*make_memory_store());
}

TEST_CASE("the LMDB store, and again after a restart") {
    const test::TempDir dir;
    std::string before;
    {
        auto store = open_lmdb(dir.file("deep/state"), map_bytes);
        REQUIRE(store);
        behaves(*store.value());
        before = keys(*store.value(), "");
    }
    auto store = open_lmdb(dir.file("deep/state"), map_bytes);
    REQUIRE(store);
    CHECK(keys(*store.value(), "") == before);
    CHECK(before.size() > 5000);
}

TEST_CASE("a commit on another thread, reads on this one") {
    const test::TempDir dir;
    auto store = open_lmdb(dir.file("state"), map_bytes);
    REQUIRE(store);
    REQUIRE(store.value()->commit({{"a", "1"}}));
    std::thread writer([&] {
        for (int i = 0; i < 20; ++i) {
            if (!store.value()->commit({{"a", std::to_string(i)}, {"b", std::to_string(i)}})) std::abort();
        }
    });
    for (int i = 0; i < 200; ++i)
        (void)get(*store.value(), "a");
    writer.join();
    CHECK(get(*store.value(), "a") == "19");
    CHECK(get(*store.value(), "b") == "19");
}

TEST_CASE("a full map refuses the commit and keeps what was") {
    const test::TempDir dir;
    auto store = open_lmdb(dir.file("state"), 256 << 10);
    REQUIRE(store);
    REQUIRE(store.value()->commit({{"a", "1"}}));
    const Status full = store.value()->commit({{"a", "2"}, {"big", std::string(1 << 20, 'x')}});
    REQUIRE_FALSE(full);
    CHECK(full.error().code == Errc::disk_full);
    CHECK(get(*store.value(), "a") == "1");
}

TEST_CASE("flipped bits are corrupt, not values") {
    const test::TempDir dir;
    {
        auto store = open_lmdb(dir.file("state"), map_bytes);
        REQUIRE(store);
        REQUIRE(store.value()->commit({{"key", std::string(100, 'v')}}));
    }
    const std::string path = dir.file("state/data.mdb");
    std::string bytes(std::filesystem::file_size(path), '\0');
    std::ifstream(path, std::ios::binary).read(bytes.data(), static_cast<std::streamsize>(bytes.size()));
    const std::size_t at = bytes.find(std::string(100, 'v'));
    REQUIRE(at != std::string::npos);
    bytes[at + 50] = 'w';
    std::ofstream(path, std::ios::binary).write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
    auto store = open_lmdb(dir.file("state"), map_bytes);
    REQUIRE(store);
    CHECK(store.value()->get("key").error().code == Errc::corrupt);
    CHECK(store.value()->scan("", [](std::string_view, std::string_view) { return true; }).error().code ==
          Errc::corrupt);
    std::ofstream(path, std::ios::binary) << std::string(8192, 'x');
    store.value().reset();
    CHECK(open_lmdb(dir.file("state"), map_bytes).error().code == Errc::corrupt);
}

}  // namespace
}  // namespace weir::stream
