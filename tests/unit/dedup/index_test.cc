#include "dedup/index.h"

#include "base/prng.h"
#include "os/sim_disk.h"
#include "unit/dedup/ids.h"

#include <catch2/catch_test_macros.hpp>

#include <algorithm>
#include <map>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

using namespace weir;
using namespace weir::dedup;
using dedup_testing::entries;
using dedup_testing::id_of;
using dedup_testing::ok;
using record::Fingerprint;

namespace {

constexpr std::int64_t within_ms = 16'000;

bool insert(Index& index, std::uint64_t n, std::uint64_t entry, Index::Found* found = nullptr) {
    Index::Found ignored;
    return index.insert_if_new(id_of(n), Place::of(1, static_cast<std::int64_t>(n)), LogIndex(entry),
                               found ? *found : ignored);
}
Index::Found look_up(Index& index, std::uint64_t n) {
    std::vector<Index::Found> out;
    ok(index.look_up({id_of(n)}, out));
    return out.at(0);
}

struct Folder {
    os::SimDisk disk{1, {}};
    std::uint64_t next = 1;
    Folder() { ok(disk.make_dirs("/d")); }
    std::shared_ptr<const Run> run(std::vector<RunEntry> list, std::int64_t bucket, bool with_filter = true) {
        const RunState state{bucket, next++, list.size()};
        ok(write_run(disk, run_path("/d", state.number), std::move(list)));
        return ok(Run::open(disk, run_path("/d", state.number), state, with_filter));
    }
};

}  // namespace

TEST_CASE("rule: time buckets of sorted runs: at most 16 buckets per WITHIN, floor for times before the epoch",
          "[rule]") {
    CHECK(bucket_width_ms(1) == 1);
    CHECK(bucket_width_ms(16) == 1);
    CHECK(bucket_width_ms(17) == 2);
    CHECK(bucket_width_ms(16'000) == 1000);
    CHECK(bucket_width_ms(7LL * 86'400'000) == 37'800'000);
    CHECK(bucket_width_ms(INT64_MAX) == INT64_MAX / 16 + 1);
    CHECK(bucket_of(0, 16'000) == 0);
    CHECK(bucket_of(999, 16'000) == 0);
    CHECK(bucket_of(1000, 16'000) == 1);
    CHECK(bucket_of(-1, 16'000) == -1);
    CHECK(bucket_of(-1000, 16'000) == -1);
    CHECK(bucket_of(-1001, 16'000) == -2);
    for (std::int64_t within : {1, 15, 16, 17, 100, 12345})
        CHECK((within - 1) / bucket_width_ms(within) < 16);
}

TEST_CASE("a place keeps partition and offset") {
    CHECK(Place::of(255, (1LL << 48) - 1).partition() == 255);
    CHECK(Place::of(255, (1LL << 48) - 1).offset() == (1LL << 48) - 1);
    CHECK(Place::of(0, 0).packed == 0);
}

TEST_CASE(
    "rule: an entry carries fingerprints: what is in flight is in the index, an id names the entry and place of its "
    "first",
    "[rule]") {
    Index index(within_ms);
    CHECK(!look_up(index, 1).duplicate);
    CHECK(insert(index, 1, 10));
    Index::Found found;
    CHECK(!insert(index, 1, 11, &found));
    for (const Index::Found& each : {found, look_up(index, 1)}) {
        CHECK(each.duplicate);
        CHECK(each.in_flight == LogIndex(10));
        CHECK(each.place.offset() == 1);
    }
    CHECK(index.table_count() == 1);
}

TEST_CASE("an event without a key is never a duplicate") {
    Index index(within_ms);
    std::vector<Index::Found> out(5);
    ok(index.look_up({Fingerprint{}, id_of(1), Fingerprint{}}, out));
    REQUIRE(out.size() == 3);
    for (const auto& found : out)
        CHECK(!found.duplicate);
    ok(index.look_up({}, out));
    CHECK(out.empty());
}

TEST_CASE(
    "rule: a new leader answers when the index is whole: what a truncated entry carried is forgotten, what came before "
    "it is not",
    "[rule]") {
    Index index(within_ms);
    for (std::uint64_t n = 0; n < 1000; n++)
        insert(index, n, 1 + n / 10);
    index.begin_generation();
    for (std::uint64_t n = 1000; n < 2000; n++)
        insert(index, n, 1 + n / 10);
    index.forget_from(LogIndex(51));  // in the older generation
    CHECK(index.table_count() == 500);
    for (std::uint64_t n = 0; n < 2000; n++)
        REQUIRE(look_up(index, n).duplicate == (n < 500));
    CHECK(insert(index, 700, 51));
    CHECK(look_up(index, 700).in_flight == LogIndex(51));
    index.forget_from(LogIndex(1));
    CHECK(index.table_count() == 0);
    CHECK(!look_up(index, 0).duplicate);
}

TEST_CASE("rule: time buckets of sorted runs: a checkpoint's runs take over from the tables", "[rule]") {
    Folder folder;
    Index index(within_ms);
    for (std::uint64_t n = 0; n < 1000; n++)
        insert(index, n, 1 + n / 100);
    // The checkpoint covers entry 8; 9 and 10 are in flight.
    index.begin_generation();
    for (std::uint64_t n = 1000; n < 1200; n++)
        insert(index, n, 11);
    index.adopt({folder.run(entries(0, 800), 0)}, LogIndex(8));
    CHECK(index.table_count() == 400);
    CHECK(index.run_count() == 1);
    for (std::uint64_t n = 0; n < 1300; n++) {
        auto found = look_up(index, n);
        REQUIRE(found.duplicate == (n < 1200));
        if (n < 1200) REQUIRE(found.in_flight.value == (n < 800 ? 0 : n < 1000 ? 1 + n / 100 : 11));
        if (n < 1200) REQUIRE(found.place.offset() == static_cast<std::int64_t>(n));
    }
    index.forget_from(LogIndex(10));
    CHECK(index.table_count() == 100);
    CHECK(look_up(index, 899).duplicate);
    CHECK(!look_up(index, 900).duplicate);
    CHECK(!look_up(index, 1100).duplicate);
}

TEST_CASE("adopting without a closed generation covers the same") {
    Folder folder;
    Index index(within_ms);
    for (std::uint64_t n = 0; n < 100; n++)
        insert(index, n, 1 + n);
    index.adopt({}, LogIndex(40));
    CHECK(index.table_count() == 60);
    index.adopt({}, LogIndex(100));
    CHECK(index.table_count() == 0);
    CHECK(index.memory_bytes() < 10'000);
}

TEST_CASE(
    "rule: time buckets of sorted runs: an expired bucket is forgotten and does not come back with a late checkpoint",
    "[rule]") {
    Folder folder;
    Index index(within_ms);
    auto old = folder.run(entries(0, 100), 1), newer = folder.run(entries(100, 200), 2);
    index.adopt({newer, old}, LogIndex(1));
    CHECK(look_up(index, 5).duplicate);
    index.expire_through(1);
    CHECK(!look_up(index, 5).duplicate);
    CHECK(look_up(index, 105).duplicate);
    index.adopt({old, newer}, LogIndex(1));
    CHECK(!look_up(index, 5).duplicate);
    CHECK(index.run_count() == 1);
    CHECK(insert(index, 5, 9));
    CHECK(look_up(index, 5).in_flight == LogIndex(9));
}

TEST_CASE("ids that are still in the tables expire with their bucket") {
    Index index(within_ms);
    index.begin_bucket(1, LogIndex(1));
    insert(index, 1, 3);
    index.begin_bucket(2, LogIndex(5));
    insert(index, 2, 5);
    index.begin_generation();
    insert(index, 3, 6);
    index.expire_through(0);
    CHECK(look_up(index, 1).duplicate);
    index.expire_through(1);
    CHECK(!look_up(index, 1).duplicate);
    CHECK(look_up(index, 2).duplicate);
    CHECK(insert(index, 1, 7));
    CHECK(look_up(index, 1).in_flight == LogIndex(7));
    index.begin_bucket(5, LogIndex(9));
    insert(index, 4, 9);
    index.expire_through(4);
    CHECK(!look_up(index, 1).duplicate);
    CHECK(!look_up(index, 3).duplicate);
    CHECK(look_up(index, 4).duplicate);
    index.expire_through(9);
    CHECK(!look_up(index, 4).duplicate);
    CHECK(insert(index, 4, 10));
    CHECK(look_up(index, 4).duplicate);
}

TEST_CASE("after a truncation no id expires before its bucket") {
    Index index(within_ms);
    index.begin_bucket(1, LogIndex(1));
    insert(index, 1, 1);
    index.begin_bucket(2, LogIndex(10));
    insert(index, 2, 10);
    index.forget_from(LogIndex(5));
    insert(index, 3, 5);  // of bucket 2 at least
    index.expire_through(1);
    CHECK(!look_up(index, 1).duplicate);
    CHECK(look_up(index, 3).duplicate);
}

TEST_CASE("rule: time buckets of sorted runs: beyond the memory filters go, oldest first, and no answer changes",
          "[rule]") {
    Folder folder;
    Index index(within_ms);
    std::vector<std::shared_ptr<const Run>> runs;
    for (std::int64_t bucket = 0; bucket < 8; bucket++) {
        const auto from = static_cast<std::uint64_t>(bucket) * 1000;
        runs.push_back(folder.run(entries(from, from + 1000), bucket));
    }
    index.adopt(runs, LogIndex(1));
    const std::size_t tables = index.memory_bytes() - 8 * (fences_bytes(1000) + filter_bytes(1000));
    for (std::size_t budget : {std::size_t{30'000}, std::size_t{10'000}, 8 * fences_bytes(1000), std::size_t{0}}) {
        index.set_memory_budget(budget);
        CHECK(index.memory_bytes() - tables <= std::max(budget, 8 * fences_bytes(1000)));
        std::vector<Fingerprint> ids;
        for (std::uint64_t n = 0; n < 10'000; n += 3)
            ids.push_back(id_of(n));
        std::vector<Index::Found> out;
        ok(index.look_up(ids, out));
        for (std::size_t i = 0; i < ids.size(); i++) {
            REQUIRE(out[i].duplicate == (i * 3 < 8000));
            if (i * 3 < 8000) REQUIRE(out[i].place.offset() == static_cast<std::int64_t>(i * 3));
        }
        if (budget == 10'000) {
            CHECK(runs[7]->has_filter());
            CHECK(!runs[0]->has_filter());
        }
    }
    // What a checkpoint opens with filters meanwhile falls under the budget too.
    auto more = folder.run(entries(90'000, 99'000), 9);
    runs.push_back(more);
    index.adopt(runs, LogIndex(2));
    CHECK(!more->has_filter());
    CHECK(look_up(index, 95'000).duplicate);
}

TEST_CASE("rule: time buckets of sorted runs: the newest runs' filters have the memory, also where they have none yet",
          "[rule]") {
    Folder folder;
    Index index(within_ms);
    std::vector<std::shared_ptr<const Run>> runs;
    for (std::int64_t bucket = 0; bucket < 4; bucket++)
        runs.push_back(folder.run(entries(0, 1000), bucket));
    const std::size_t fences = fences_bytes(1000), filter = filter_bytes(1000);
    index.set_memory_budget(4 * (fences + filter) + fences);
    index.adopt(runs, LogIndex(1));
    CHECK(std::ranges::all_of(runs, [](const auto& run) { return run->has_filter(); }));
    // The memory was full when the checkpoint opened this one.
    auto newest = folder.run(entries(0, 1000), 4, false);
    runs.push_back(newest);
    index.adopt(runs, LogIndex(2));
    CHECK_FALSE(runs[0]->has_filter());
    CHECK(runs[1]->has_filter());
    // The next checkpoint finds the room, and what it loads stays.
    std::size_t held = 5 * fences + 3 * filter;
    ok(load_filters(folder.disk, runs, 5 * fences + 4 * filter, 6 * fences + 4 * filter, held));
    CHECK(held == 6 * fences + 4 * filter);
    CHECK(runs[4] != newest);
    index.adopt(runs, LogIndex(3));
    std::string has;
    for (const auto& run : runs)
        has += run->has_filter() ? '1' : '0';
    CHECK(has == "01111");
    newest.reset();
    CHECK(look_up(index, 5).duplicate);
}

TEST_CASE("dedup memory: the tables have their half, and who wants little of the rest leaves it to the others") {
    const auto memory = run_memory(4 << 20);
    CHECK(memory.kept_bytes < memory.bytes_max);
    CHECK(memory.bytes_max < 2 << 20);
    CHECK(run_memory_level(100, {}) == 100);
    CHECK(run_memory_level(100, {0, 40, 60}) == 100);  // all have all
    CHECK(run_memory_level(100, {70, 10, 40}) == 50);
    CHECK(run_memory_level(100, {70, 70, 70}) == 33);
    CHECK(run_memory_level(100, {101}) == 100);
}

TEST_CASE("a large generation is swept while look-ups go on, and every answer is right meanwhile") {
    constexpr std::uint64_t count = 200'000, covered = 190'000, later = 200'500;
    for (int variant = 0; variant < 3; variant++) {
        Folder folder;
        Index index(within_ms);
        for (std::uint64_t n = 0; n < count; n++)
            insert(index, n, 1 + n);
        index.begin_generation();
        for (std::uint64_t n = count; n < later; n++)
            insert(index, n, 1 + n);
        index.adopt({folder.run(entries(0, covered), 0)}, LogIndex(covered));
        CHECK(index.memory_bytes() > count * 32);
        CHECK(index.table_count() == later - count);
        std::uint64_t end = later;
        Prng prng(static_cast<std::uint64_t>(variant));
        for (int block = 0; block < 400; block++) {
            if (variant == 1 && block == 100) index.forget_from(LogIndex(1 + (end = 195'000)));
            if (variant == 2 && block == 100) index.begin_generation();
            std::vector<Fingerprint> ids;
            std::vector<std::uint64_t> numbers;
            for (int i = 0; i < 64; i++) {
                numbers.push_back(prng.chance(0.3) ? covered + prng.below(later + 1000 - covered) : prng.below(later));
                ids.push_back(id_of(numbers.back()));
            }
            std::vector<Index::Found> found;
            ok(index.look_up(ids, found));
            for (std::size_t i = 0; i < ids.size(); i++) {
                REQUIRE(found[i].duplicate == (numbers[i] < end));
                if (numbers[i] < end) REQUIRE(found[i].in_flight.value == (numbers[i] < covered ? 0 : 1 + numbers[i]));
            }
        }
        CHECK(index.table_count() == end - covered);
        CHECK(index.memory_bytes() < count * 10);
    }
}

TEST_CASE("tables give their memory back") {
    Index index(within_ms);
    for (std::uint64_t n = 0; n < 100'000; n++)
        insert(index, n, 1);
    CHECK(index.memory_bytes() > 100'000 * 32);
    CHECK(index.memory_bytes() < 100'000 * 32 * 3);
    index.adopt({}, LogIndex(1));
    CHECK(index.memory_bytes() < 10'000);
}

TEST_CASE("damage in a run refuses the whole look-up") {
    Folder folder;
    Index index(within_ms);
    auto run = folder.run(entries(0, 100), 0);
    index.adopt({run}, LogIndex(1));
    folder.disk.flip_bit(run->path(), 1000);
    std::vector<Index::Found> out;
    auto result = index.look_up({id_of(5000), id_of(5)}, out);
    REQUIRE(!result);
    CHECK(result.error().code == Errc::corrupt);
}

// Everything at once against a plain map: bursts of events, checkpoints that finish later, merges, expiry, truncation.
TEST_CASE("the index answers as a plain map does") {
    for (std::uint64_t seed = 1; seed <= 12; seed++) {
        INFO("seed " << seed);
        Prng prng(seed);
        Folder folder;
        Index index(within_ms);
        if (seed % 3 == 0) index.set_memory_budget(20'000);
        struct Known {
            std::uint64_t entry = 0, place = 0;
            std::int64_t bucket = 0;
        };
        std::unordered_map<std::uint64_t, Known> known;
        std::vector<RunState> states;
        std::vector<std::shared_ptr<const Run>> runs;
        struct Checkpoint {
            std::vector<std::shared_ptr<const Run>> runs;
            std::uint64_t covered = 0;
        };
        std::optional<Checkpoint> under_way;
        std::uint64_t entry = 0, committed = 0, written_through = 0, next_place = 0;
        std::int64_t bucket = 0, expired = -1;
        for (int step = 0; step < 400; step++) {
            const std::uint64_t what = prng.below(20);
            if (what < 12) {  // an entry with some events
                entry++;
                if (prng.chance(0.2))
                    index.begin_bucket(++bucket, LogIndex(entry));
                else if (entry == 1)
                    index.begin_bucket(bucket, LogIndex(entry));
                std::vector<std::uint64_t> events;
                std::vector<Fingerprint> ids;
                for (std::uint64_t i = 0; i < prng.below(200); i++) {
                    events.push_back(prng.below(20'000));
                    ids.push_back(id_of(events.back()));
                }
                std::vector<Index::Found> found;
                ok(index.look_up(ids, found));
                for (std::size_t i = 0; i < events.size(); i++) {
                    if (!found[i].duplicate &&
                        !index.insert_if_new(ids[i], Place{next_place}, LogIndex(entry), found[i]))
                        REQUIRE(found[i].duplicate);
                    auto it = known.find(events[i]);
                    REQUIRE(found[i].duplicate == (it != known.end()));
                    if (it != known.end()) {
                        REQUIRE(found[i].place.packed == it->second.place);
                        if (it->second.entry > committed) REQUIRE(found[i].in_flight.value == it->second.entry);
                        REQUIRE((found[i].in_flight.value == 0 || found[i].in_flight.value == it->second.entry));
                    } else {
                        known[events[i]] = {entry, next_place++, bucket};
                    }
                }
            } else if (what < 15) {
                committed += prng.below(entry - committed + 1);
            } else if (what < 17) {  // truncation, only of what is not committed
                const std::uint64_t from = committed + 1 + prng.below(entry - committed + 1);
                index.forget_from(LogIndex(from));
                // Ids of a truncated entry keep the newest bucket: the test's map does as the index may.
                std::erase_if(known, [&](const auto& item) { return item.second.entry >= from; });
                entry = std::min(entry, from - 1);
            } else if (what < 18) {
                if (bucket - 4 > expired) {
                    expired = bucket - 4;
                    index.expire_through(expired);
                    std::erase_if(known, [&](const auto& item) { return item.second.bucket <= expired; });
                    std::erase_if(runs, [&](const auto& run) { return run->state().bucket <= expired; });
                }
            } else if (!under_way) {  // a checkpoint begins
                index.begin_generation();
                std::map<std::int64_t, std::vector<RunEntry>> fresh;
                for (const auto& [n, k] : known)
                    if (k.entry > written_through && k.entry <= committed)
                        fresh[k.bucket].push_back({id_of(n), {k.place}});
                written_through = committed;
                for (auto& [of, list] : fresh)
                    runs.push_back(folder.run(std::move(list), of, prng.chance(0.8)));
                std::vector<RunState> all;
                for (const auto& run : runs)
                    all.push_back(run->state());
                for (const auto& group : plan_merges(all)) {
                    std::vector<std::shared_ptr<const Run>> parts;
                    RunState merged{group[0].bucket, folder.next++, 0};
                    for (const RunState& part : group) {
                        auto it = std::ranges::find_if(
                            runs, [&](const auto& run) { return run->state().number == part.number; });
                        parts.push_back(*it);
                        merged.count += part.count;
                        runs.erase(it);
                    }
                    ok(merge_runs(folder.disk, run_path("/d", merged.number), parts));
                    for (const auto& part : parts)
                        ok(folder.disk.remove(part->path()));
                    runs.push_back(ok(Run::open(folder.disk, run_path("/d", merged.number), merged, true)));
                }
                under_way = Checkpoint{runs, committed};
            } else {
                index.adopt(under_way->runs, LogIndex(under_way->covered));
                under_way.reset();
            }
        }
        CHECK(index.table_count() <= known.size() + 20'000);
    }
}

TEST_CASE("rule: time buckets of sorted runs: with a wider WITHIN nothing is forgotten before its time", "[rule]") {
    Prng prng(5);
    for (int i = 0; i < 20'000; i++) {
        const auto from = static_cast<std::int64_t>(1 + prng.below(1u << (1 + prng.below(30))));
        const auto to = from + static_cast<std::int64_t>(prng.below(1u << (1 + prng.below(30))));
        const auto at = static_cast<std::int64_t>(prng.below(1ull << 41)) - (std::int64_t{1} << 40);
        const std::int64_t bucket = bucket_of(at, from);
        const std::int64_t moved = rebucketed(bucket, from, to);
        REQUIRE(moved >= bucket_of(at, to));  // no earlier than its own time
        REQUIRE((moved - 1) * bucket_width_ms(to) < (bucket + 1) * bucket_width_ms(from));
        // What had expired before the bucket stays so, and the bucket does not go with it.
        REQUIRE(expired_rebucketed(bucket - 1, from, to) < moved);
        REQUIRE((expired_rebucketed(bucket, from, to) + 1) * bucket_width_ms(to) <=
                (bucket + 1) * bucket_width_ms(from));
    }
    CHECK(rebucketed(INT64_MAX, 1'000'000, 16) == INT64_MAX);
    CHECK(expired_rebucketed(INT64_MIN + 1, 1'000'000, 16) > INT64_MIN);
}

TEST_CASE("rule: time buckets of sorted runs: an index whose WITHIN becomes wider remembers what it remembered",
          "[rule]") {
    Folder folder;
    Index index(within_ms);
    index.adopt({folder.run(entries(0, 10), 3), folder.run(entries(10, 20), 5)}, LogIndex(0));
    index.begin_bucket(7, LogIndex(1));  // append times 7000 to 7999
    REQUIRE(insert(index, 100, 1));
    index.begin_bucket(9, LogIndex(2));
    REQUIRE(insert(index, 101, 2));
    index.expire_through(2);
    index.change_within(within_ms, 4 * within_ms);  // a bucket is 4 s: 3 is in 0, 5 and 7 in 1, 9 in 2
    index.expire_through(0);
    CHECK_FALSE(look_up(index, 1).duplicate);
    CHECK(look_up(index, 11).duplicate);
    CHECK(look_up(index, 100).duplicate);
    index.expire_through(1);
    CHECK_FALSE(look_up(index, 11).duplicate);
    CHECK_FALSE(look_up(index, 100).duplicate);
    CHECK(look_up(index, 101).duplicate);
    // Runs of the checkpoint come counted anew; what expired does not come back with them.
    auto old = folder.run(entries(20, 30), 6);
    index.adopt(
        {in_bucket(old, rebucketed(6, within_ms, 4 * within_ms)), in_bucket(folder.run(entries(30, 40), 11), 2)},
        LogIndex(1));
    CHECK_FALSE(look_up(index, 21).duplicate);
    CHECK(look_up(index, 31).duplicate);
    CHECK(old->state().bucket == 6);
}
