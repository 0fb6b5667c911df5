#include "stream/detail/group_table.h"

#include "base/prng.h"

#include <catch2/catch_test_macros.hpp>

#include <map>

namespace weir::stream::detail {
namespace {

TEST_CASE("a group is found until it is unlinked, and keeps its state until it is released") {
    GroupTable table(2, 1);
    Window window;
    const std::string key(100, 'k');
    const std::uint64_t hash = hash_key(key);
    CHECK(table.find(hash, key) == no_group);
    const std::uint32_t index = table.insert(hash, key, window);
    CHECK(table.find(hash, key) == index);
    CHECK(table.group(index).key() == key);
    CHECK(window.in_memory == 1);
    CHECK(window.first == index);
    table.words(index)[1] = 7;
    table.group(index).texts[0] = "text";
    table.on_text_resize(index, 0, 4);
    CHECK(window.bytes == 4);
    CHECK(table.take_text_growth() == 4);
    const std::size_t full = table.bytes();
    table.unlink(index);
    CHECK(table.find(hash, key) == no_group);
    CHECK(window.in_memory == 0);
    CHECK(window.first == no_group);
    CHECK(table.words(index)[1] == 7);
    CHECK(table.bytes() == full);
    table.release(index);
    CHECK(table.bytes() == 0);
    // The place is used again, clean.
    const std::uint32_t again = table.insert(hash_key("x"), "x", window);
    CHECK(again == index);
    CHECK(table.words(again)[1] == 0);
    CHECK(table.group(again).texts[0].empty());
}

TEST_CASE("equal hashes are told apart by their keys") {
    GroupTable table(1, 0);
    Window window;
    const std::uint32_t a = table.insert(42, "a", window);
    const std::uint32_t b = table.insert(42, "b", window);
    CHECK(table.find(42, "a") == a);
    CHECK(table.find(42, "b") == b);
    CHECK(table.find(42, "c") == no_group);
    table.unlink(a);
    CHECK(table.find(42, "b") == b);
}

TEST_CASE("random inserts and removals against a map") {
    Prng prng(21);
    GroupTable table(1, 0);
    std::map<std::int64_t, Window> windows;
    std::map<std::string, std::uint32_t> model;
    for (int step = 0; step < 60'000; ++step) {
        const bool growing = step / 10'000 % 2 == 0;
        const std::string key = std::to_string(prng.below(6'000)) + std::string(prng.below(2) * 40, 'x');
        // Few low bits: long runs of slots, which removal must close.
        const std::uint64_t hash = hash_key(key) & ~std::uint64_t{0xf};
        const auto found = model.find(key);
        REQUIRE(table.find(hash, key) == (found == model.end() ? no_group : found->second));
        if (found == model.end()) {
            if (growing || prng.chance(0.3)) {
                const std::uint32_t index = table.insert(hash, key, windows[static_cast<std::int64_t>(key.size() % 5)]);
                table.words(index)[0] = hash;
                model[key] = index;
            }
        } else if (!growing || prng.chance(0.3)) {
            REQUIRE(table.words(found->second)[0] == hash);
            table.unlink(found->second);
            table.release(found->second);
            model.erase(found);
        }
    }
    for (const auto& [key, index] : model)
        REQUIRE(table.find(hash_key(key) & ~std::uint64_t{0xf}, key) == index);
    CHECK(table.size() == model.size());
    std::size_t listed = 0;
    std::size_t counted = 0;
    for (const auto& [id, window] : windows) {
        counted += window.in_memory;
        for (std::uint32_t at = window.first; at != no_group; at = table.group(at).next) {
            REQUIRE(table.group(at).window == &window);
            ++listed;
        }
    }
    CHECK(listed == model.size());
    CHECK(counted == model.size());
}

}  // namespace
}  // namespace weir::stream::detail
