#include "dedup/run.h"

#include "base/crc32c.h"
#include "os/sim_disk.h"
#include "unit/dedup/ids.h"

#include <catch2/catch_test_macros.hpp>

#include <algorithm>
#include <map>
#include <set>
#include <string>
#include <vector>

using namespace weir;
using namespace weir::dedup;
using dedup_testing::entries;
using dedup_testing::id_of;
using dedup_testing::ok;

namespace {

struct Disk {
    os::SimDisk disk{1, {}};
    std::uint64_t next = 1;
    Disk() { ok(disk.make_dirs("/d")); }

    std::shared_ptr<const Run> run(std::uint64_t from, std::uint64_t to, std::int64_t bucket = 0,
                                   bool with_filter = true) {
        const RunState state{bucket, next++, to - from};
        ok(write_run(disk, run_path("/d", state.number), entries(from, to)));
        return ok(Run::open(disk, run_path("/d", state.number), state, with_filter));
    }
};

std::vector<std::uint64_t> numbers(const std::vector<RunState>& runs) {
    std::vector<std::uint64_t> out;
    for (const RunState& run : runs)
        out.push_back(run.number);
    std::ranges::sort(out);
    return out;
}

}  // namespace

TEST_CASE("a run knows its ids and no others") {
    Disk d;
    for (std::uint64_t count : {0u, 1u, 2u, 169u, 170u, 171u, 340u, 341u, 5000u}) {
        for (bool with_filter : {true, false}) {
            INFO(count << " ids, filter " << with_filter);
            auto run = d.run(1000, 1000 + count, 0, with_filter);
            CHECK(run->has_filter() == with_filter);
            CHECK(run->page_count() == (count + 169) / 170);
            std::size_t passed = 0;
            for (std::uint64_t n = 1000; n < 1000 + count; n++) {
                CHECK(run->may_hold(id_of(n)));
                auto place = ok(run->find(id_of(n)));
                REQUIRE(place);
                CHECK(place->partition() == 3);
                CHECK(place->offset() == static_cast<std::int64_t>(n));
            }
            for (std::uint64_t n = 100'000; n < 102'000; n++) {
                CHECK(!ok(run->find(id_of(n))));
                passed += run->may_hold(id_of(n)) ? 1 : 0;
            }
            if (with_filter)
                CHECK(passed <= 10);  // 20 bits an id: about one in 2000
            else
                CHECK(passed == 2000);
        }
    }
}

TEST_CASE(
    "rule: time buckets of sorted runs: 4 KiB pages of 170 entries, a fence a page in memory, 20 bits of filter an id",
    "[rule]") {
    Disk d;
    auto run = d.run(0, 341);
    const std::string bytes = ok(os::read_file(d.disk, run->path(), 1 << 20));
    auto number = [&](std::size_t at, int size) {
        std::uint64_t value = 0;
        for (int i = size - 1; i >= 0; i--)
            value = value << 8 | static_cast<unsigned char>(bytes.at(at + static_cast<std::size_t>(i)));
        return value;
    };
    const std::size_t lines = 341 * 20 / 512 + 1;
    REQUIRE(bytes.size() == 3 * 4096 + 3 * 8 + lines * 64 + 128);
    auto sorted = entries(0, 341);
    std::ranges::sort(sorted, {}, [](const RunEntry& entry) { return std::pair(entry.id.hi, entry.id.lo); });
    for (std::size_t page = 0; page < 3; page++) {
        const std::size_t count = page < 2 ? 170 : 1;
        CHECK(number(page * 4096 + 4, 4) == count);
        CHECK(number(page * 4096, 4) == crc32c(static_cast<std::uint32_t>(page), bytes.substr(page * 4096 + 4, 4092)));
        CHECK(number(3 * 4096 + page * 8, 8) == sorted[page * 170].id.hi);  // its fence
        for (std::size_t i = 0; i < count; i++) {
            const std::size_t at = page * 4096 + 16 + i * 24;  // 24 bytes an id: which, and where its first one stands
            REQUIRE(number(at, 8) == sorted[page * 170 + i].id.hi);
            REQUIRE(number(at + 8, 8) == sorted[page * 170 + i].id.lo);
            REQUIRE(number(at + 16, 8) == sorted[page * 170 + i].place.packed);
        }
    }
    CHECK(bytes.substr(bytes.size() - 128, 8) == "WEIRRUN1");
    CHECK(run->memory_bytes() == 3 * 8 + lines * 64);
    run->drop_filter();
    CHECK(run->memory_bytes() == 3 * 8);
}

TEST_CASE("ids with one high half are found wherever pages cut them") {
    Disk d;
    std::vector<RunEntry> list;
    for (std::uint64_t lo = 1; lo < 2000; lo += 2)
        list.push_back({{lo < 100 ? 5u : lo < 1900 ? 77u : 90u, lo}, {lo}});
    const RunState state{0, 9, list.size()};
    std::ranges::reverse(list);
    ok(write_run(d.disk, run_path("/d", 9), std::vector<RunEntry>(list)));
    auto run = ok(Run::open(d.disk, run_path("/d", 9), state, true));
    for (const RunEntry& entry : list)
        CHECK(ok(run->find(entry.id)).value().packed == entry.place.packed);
    for (std::uint64_t lo = 0; lo < 2000; lo += 2)
        CHECK(!ok(run->find({77, lo})));
    CHECK(!ok(run->find({4, 1})));
    CHECK(!ok(run->find({UINT64_MAX, 1})));
}

TEST_CASE("the filter can be given back, and the run still answers") {
    Disk d;
    auto run = d.run(0, 1000);
    CHECK(run->memory_bytes() == fences_bytes(1000) + filter_bytes(1000));
    CHECK(filter_bytes(1000) >= 2500);
    CHECK(filter_bytes(1000) < 2600);
    run->drop_filter();
    CHECK(run->memory_bytes() == fences_bytes(1000));
    CHECK(!run->has_filter());
    CHECK(!run->filter());
    CHECK(run->may_hold(id_of(5000)));
    CHECK(ok(run->find(id_of(7))));
    run->prefetch(id_of(7));
}

TEST_CASE("rule: time buckets of sorted runs: a run that was unlinked answers on for whoever has it open", "[rule]") {
    Disk d;
    auto run = d.run(0, 1000);
    ok(d.disk.remove(run->path()));
    CHECK(ok(run->find(id_of(999))));
}

TEST_CASE("rule: time buckets of sorted runs: a run is fsynced when it is written, before a checkpoint can list it",
          "[rule]") {
    for (std::uint64_t seed = 0; seed < 20; seed++) {
        os::SimDisk disk(seed, {});
        ok(disk.make_dirs("/d"));
        ok(disk.sync_dir("/"));
        ok(write_run(disk, "/d/run1.dd", entries(0, 1000)));
        disk.crash();
        auto run = ok(Run::open(disk, "/d/run1.dd", {0, 1, 1000}, true));
        CHECK(ok(run->find(id_of(999))));
    }
}

TEST_CASE("what an earlier attempt left at the path does no harm") {
    Disk d;
    d.run(0, 5000);
    d.next = 1;
    auto run = d.run(0, 100);
    CHECK(ok(run->find(id_of(99))));
    CHECK(!ok(run->find(id_of(100))));
}

TEST_CASE("a full disk is told") {
    Disk d;
    for (std::uint64_t room = 0; room < 50'000; room += 5000) {
        if (room > 0) ok(d.disk.remove("/d/run1.dd"));
        d.disk.set_capacity(d.disk.used_bytes() + room);
        auto full = write_run(d.disk, "/d/run1.dd", entries(0, 2000));
        REQUIRE(!full);
        CHECK(full.error().code == Errc::disk_full);
        d.disk.set_capacity(UINT64_MAX);
        ok(write_run(d.disk, "/d/run1.dd", entries(0, 2000)));
        auto run = ok(Run::open(d.disk, "/d/run1.dd", {0, 1, 2000}, true));
        CHECK(ok(run->find(id_of(1999))));
    }
}

TEST_CASE("merging runs gives the run of all their ids") {
    Disk d;
    std::vector<std::shared_ptr<const Run>> parts = {d.run(0, 3000), d.run(3000, 3001), d.run(3001, 3001),
                                                     d.run(5000, 70'000, 0, false)};
    const RunState state{0, 50, 68'001};
    ok(merge_runs(d.disk, run_path("/d", 50), parts));
    auto run = ok(Run::open(d.disk, run_path("/d", 50), state, true));
    for (std::uint64_t n = 0; n < 70'100; n++) {
        auto place = ok(run->find(id_of(n)));
        REQUIRE(place.has_value() == (n < 3001 || (n >= 5000 && n < 70'000)));
        if (place) REQUIRE(place->offset() == static_cast<std::int64_t>(n));
        if (place) REQUIRE(run->may_hold(id_of(n)));
    }
    // The same bytes as if it had been written at once: a run is a function of its ids.
    std::vector<RunEntry> all = entries(0, 3001);
    for (const RunEntry& entry : entries(5000, 70'000))
        all.push_back(entry);
    ok(write_run(d.disk, run_path("/d", 51), std::move(all)));
    CHECK(ok(os::read_file(d.disk, run_path("/d", 50), 10'000'000)) ==
          ok(os::read_file(d.disk, run_path("/d", 51), 10'000'000)));
}

TEST_CASE("of an id in two runs the older place is kept in front") {
    Disk d;
    auto older = d.run(0, 10);
    std::vector<RunEntry> later = entries(0, 10);
    for (RunEntry& entry : later)
        entry.place = Place::of(1, 999);
    ok(write_run(d.disk, run_path("/d", 7), std::move(later)));
    auto newer = ok(Run::open(d.disk, run_path("/d", 7), {0, 7, 10}, true));
    ok(merge_runs(d.disk, run_path("/d", 8), {newer, older}));
    auto run = ok(Run::open(d.disk, run_path("/d", 8), {0, 8, 20}, true));
    for (std::uint64_t n = 0; n < 10; n++)
        CHECK(ok(run->find(id_of(n))).value().offset() == static_cast<std::int64_t>(n));
}

TEST_CASE(
    "rule: time buckets of sorted runs: pages, fences and filter are checksummed: no flipped bit makes an answer wrong",
    "[rule]") {
    Disk d;
    const RunState state{0, 1, 400};
    d.run(0, 400);
    const std::string path = run_path("/d", 1);
    const std::uint64_t bytes = ok(os::read_file(d.disk, path, 1 << 20)).size();
    std::size_t told = 0;
    for (std::uint64_t at = 0; at < bytes; at++) {
        d.disk.flip_bit(path, at * 8 + at % 8);
        auto run = Run::open(d.disk, path, state, true);
        if (!run) {
            REQUIRE(run.error().code == Errc::corrupt);
            REQUIRE(run.error().detail.find(path) != std::string::npos);
            told++;
        } else {
            bool damaged = false;
            for (std::uint64_t n = 0; n < 800; n += at % 64 == 0 ? 1 : 57) {
                REQUIRE((n >= 400 || run.value()->may_hold(id_of(n))));
                auto place = run.value()->find(id_of(n));
                if (!place) {
                    REQUIRE(place.error().code == Errc::corrupt);
                    damaged = true;
                } else {
                    REQUIRE(place.value().has_value() == (n < 400));
                    if (n < 400) REQUIRE(place.value()->offset() == static_cast<std::int64_t>(n));
                }
            }
            // Merging reads every page.
            auto merged = merge_runs(d.disk, "/d/merged", {run.value()});
            REQUIRE(!merged);
            REQUIRE(merged.error().code == Errc::corrupt);
            told += damaged ? 1 : 0;
        }
        d.disk.flip_bit(path, at * 8 + at % 8);
    }
    CHECK(told > bytes / 2);
}

TEST_CASE("a run that is cut or of another count is refused") {
    Disk d;
    auto run = d.run(0, 400);
    const std::string bytes = ok(os::read_file(d.disk, run->path(), 1 << 20));
    auto code = [&](std::string content, std::uint64_t count) {
        ok(os::replace_file(d.disk, "/d/x", content));
        auto opened = Run::open(d.disk, "/d/x", {0, 1, count}, true);
        return opened ? Errc::cancelled : opened.error().code;
    };
    CHECK(code(bytes, 400) == Errc::cancelled);  // it opens
    CHECK(code(bytes, 401) == Errc::corrupt);
    CHECK(code(bytes, UINT64_MAX) == Errc::corrupt);
    for (std::size_t size : {std::size_t{0}, std::size_t{1}, std::size_t{127}, std::size_t{128}, bytes.size() - 1})
        CHECK(code(bytes.substr(0, size), 400) == Errc::corrupt);
    CHECK(code(bytes.substr(1), 400) == Errc::corrupt);
    CHECK(code(std::string(4096, 'x'), 400) == Errc::corrupt);
    CHECK(code(bytes.substr(4096, 4096) + bytes.substr(0, 4096) + bytes.substr(8192), 400) == Errc::cancelled);
    auto swapped =
        ok(Run::open(d.disk, "/d/x", {0, 1, 400}, true));  // pages in each other's place are met when they are read
    CHECK(!swapped->find(id_of(1)));
    auto missing = Run::open(d.disk, "/d/none", {0, 1, 400}, true);
    REQUIRE(!missing);
    CHECK(missing.error().code == Errc::not_found);
}

TEST_CASE("rule: time buckets of sorted runs: at most 4 runs a bucket after merging, like merged with like", "[rule]") {
    auto f = [](std::vector<RunState> runs, std::vector<std::vector<std::uint64_t>> want) {
        std::vector<std::vector<std::uint64_t>> got;
        for (const auto& group : plan_merges(runs))
            got.push_back(numbers(group));
        CHECK(got == want);
    };
    f({}, {});
    f({{1, 1, 10}}, {});
    f({{1, 1, 10}, {1, 2, 10}, {1, 3, 10}, {1, 4, 10}}, {});
    f({{1, 1, 10}, {1, 2, 10}, {1, 3, 10}, {1, 4, 10}, {1, 5, 10}}, {{1, 2, 3, 4, 5}});
    f({{1, 1, 200}, {1, 2, 10}, {1, 3, 10}, {1, 4, 10}, {1, 5, 10}}, {{2, 3, 4, 5}});
    f({{1, 1, 100}, {1, 2, 50}, {1, 3, 20}, {1, 4, 2}, {1, 5, 1}}, {{4, 5}});
    // Only the newest bucket still grows: the others become one run.
    f({{1, 1, 10}, {1, 2, 10}, {2, 3, 10}, {2, 4, 10}}, {{1, 2}});
    f({{1, 1, 10}, {2, 2, 10}, {3, 3, 10}}, {});
}

TEST_CASE("tiers keep the number of times that an id is written low") {
    std::vector<RunState> runs;
    std::uint64_t number = 0, written = 0, added = 0;
    for (int checkpoint = 0; checkpoint < 1000; checkpoint++) {
        runs.push_back({0, ++number, 1000});
        added += 1000;
        written += 1000;
        for (const auto& group : plan_merges(runs)) {
            RunState merged{0, ++number, 0};
            for (const RunState& run : group) {
                merged.count += run.count;
                std::erase_if(runs, [&](const RunState& other) { return other.number == run.number; });
            }
            written += merged.count;
            runs.push_back(merged);
        }
        REQUIRE(runs.size() <= runs_per_bucket_max);
    }
    INFO("written " << written << " of " << added);
    CHECK(written < added * 10);
}

TEST_CASE("open_runs loads filters newest first within the memory and keeps what is open") {
    Disk d;
    std::vector<RunState> states;
    for (std::int64_t bucket = 0; bucket < 4; bucket++)
        states.push_back(d.run(0, 1000, bucket)->state());
    const std::size_t fences = 4 * fences_bytes(1000), one = filter_bytes(1000);
    auto filters = [](const std::vector<std::shared_ptr<const Run>>& runs) {
        std::string out;
        for (const auto& run : runs)
            out += run->has_filter() ? '1' : '0';
        return out;
    };
    CHECK(filters(ok(open_runs(d.disk, "/d", states, {}, 0))) == "0000");
    CHECK(filters(ok(open_runs(d.disk, "/d", states, {}, fences + one - 1))) == "0000");
    CHECK(filters(ok(open_runs(d.disk, "/d", states, {}, fences + one))) == "0001");
    CHECK(filters(ok(open_runs(d.disk, "/d", states, {}, fences + 3 * one))) == "0111");
    auto cold = ok(open_runs(d.disk, "/d", states, {}, 0));
    auto some = ok(open_runs(d.disk, "/d", states, cold, fences + 2 * one));
    CHECK(filters(some) == "0011");
    CHECK(some[0] == cold[0]);
    CHECK(some[3] != cold[3]);
    auto all = ok(open_runs(d.disk, "/d", states, some, SIZE_MAX));
    CHECK(filters(all) == "1111");
    CHECK(all[3] == some[3]);
    ok(d.disk.remove(run_path("/d", states[2].number)));
    auto missing = open_runs(d.disk, "/d", states, {}, SIZE_MAX);
    REQUIRE(!missing);
    CHECK(missing.error().code == Errc::corrupt);
}

TEST_CASE("only run files that no checkpoint lists are removed") {
    Disk d;
    const RunState listed = d.run(0, 10)->state();
    d.run(0, 10);
    for (const char* name : {"/d/run1.dd.old", "/d/run01.dd", "/d/run.dd", "/d/other"})
        ok(d.disk.open(name, os::OpenMode::create));
    ok(remove_unlisted_runs(d.disk, "/d", {listed}));
    CHECK(ok(d.disk.list("/d")) == std::vector<std::string>{"other", "run.dd", "run01.dd", "run1.dd", "run1.dd.old"});
    ok(remove_unlisted_runs(d.disk, "/new/folder", {}));
}

TEST_CASE("a list of runs survives encoding") {
    const std::vector<RunState> runs = {{-3, 1, 100}, {7, UINT64_MAX, 0}};
    const std::string bytes = encode_runs(runs);
    auto decoded = ok(decode_runs(bytes));
    REQUIRE(decoded.size() == 2);
    CHECK(decoded[0].bucket == -3);
    CHECK(decoded[1].number == UINT64_MAX);
    CHECK(ok(decode_runs(encode_runs({}))).empty());
    for (std::size_t i = 0; i < bytes.size(); i++)
        CHECK(!decode_runs(std::string_view(bytes).substr(0, i)));
    CHECK(!decode_runs(bytes + "x"));
    CHECK(!decode_runs(encode_runs({{0, 0, UINT64_MAX}})));
}
