#include "log/journal.h"

#include "base/prng.h"
#include "os/sim_disk.h"
#include "support/ok.h"
#include "support/power_cut.h"

#include <catch2/catch_test_macros.hpp>

#include <algorithm>
#include <initializer_list>
#include <string>
#include <utility>
#include <vector>

using namespace weir;
using log::Journal;
using log::JournalKind;
using log::JournalOptions;
using log::JournalReader;
using log::JournalRecord;
using log::JournalState;
using test::ok;

namespace {

const std::string dir = "/data/streams/0_1/journal";
constexpr JournalOptions small_files{.file_bytes = 400};

// Indexes with holes, some of them twice.
std::vector<JournalRecord> make_records(std::uint64_t seed, int count) {
    Prng prng(seed);
    std::vector<JournalRecord> records;
    std::uint64_t index = 0;
    std::int64_t offset = 0;
    for (int i = 0; i < count; i++) {
        index += i == 0 ? 1 : prng.below(4);
        JournalRecord record{LogIndex(index), 1000 + i, 1, static_cast<JournalKind>(prng.below(3)), {}};
        if (record.kind == JournalKind::data)
            for (std::uint64_t k = 0; k <= prng.below(4); k++) {
                record.batches.push_back({static_cast<PartitionNo>(k) - 1, static_cast<std::uint32_t>(k + 1), offset});
                offset += 5;
            }
        records.push_back(std::move(record));
    }
    return records;
}

std::string text(const JournalRecord& record) {
    std::string out = std::to_string(record.index.value) + "@" + std::to_string(record.append_time_ms) + "v" +
                      std::to_string(record.definition_version) + "k" + std::to_string(static_cast<int>(record.kind));
    for (const auto& batch : record.batches)
        out += " " + std::to_string(batch.partition) + ":" + std::to_string(batch.base_offset) + "+" +
               std::to_string(batch.count);
    return out + "\n";
}
std::string text(const std::vector<JournalRecord>& records, std::size_t count, std::uint64_t from = 0) {
    std::string out;
    for (std::size_t i = 0; i < count; i++)
        if (records[i].index.value >= from) out += text(records[i]);
    return out;
}

Result<std::string> read_all(os::Disk& disk, const JournalState& bound, std::uint64_t from = 0) {
    auto reader = TRY(JournalReader::open(disk, dir, bound, LogIndex(from)));
    std::string out;
    while (auto record = TRY(reader->next()))
        out += text(*record);
    return out;
}

struct Made {
    os::SimDisk disk{1, {}};
    std::vector<JournalRecord> records;
    std::unique_ptr<Journal> journal;
    explicit Made(int count = 100) : records(make_records(3, count)) {
        journal = ok(Journal::open(disk, dir, {}, small_files));
        for (std::size_t i = 0; i < records.size(); i++) {
            ok(journal->append(records[i]));
            if (i % 5 == 0) ok(journal->flush());
        }
        ok(journal->flush());
    }
    std::string file(std::size_t i) const {
        std::string digits = std::to_string(journal->state().files[i].first_index.value);
        return dir + "/" + std::string(20 - digits.size(), '0') + digits + ".jnl";
    }
};

}  // namespace

TEST_CASE("a journal is read whole and from any index") {
    Made m;
    CHECK(m.journal->state().files.size() > 3);
    CHECK(m.journal->state().last_index == m.records.back().index);
    for (std::uint64_t from = 0; from <= m.records.back().index.value + 1; from++)
        CHECK(ok(read_all(m.disk, m.journal->state(), from)) == text(m.records, m.records.size(), from));
}

TEST_CASE("a journal reader goes on where another one stood, also in a file that has grown") {
    Made m;
    const JournalState half = m.journal->state();
    auto whole = ok(JournalReader::open(m.disk, dir, half, LogIndex(0)));
    for (std::size_t read = 0;; read++) {
        const log::JournalPlace place = whole->place();
        const LogIndex next = read < m.records.size() ? m.records[read].index : LogIndex(1'000'000);
        auto rest = ok(JournalReader::open(m.disk, dir, half, next, place));
        std::size_t count = 0;
        while (ok(rest->next()))
            count++;
        CHECK(count == m.records.size() - read);
        if (!ok(whole->next())) break;
    }
    const log::JournalPlace end = whole->place();
    const LogIndex later(m.records.back().index.value + 5);
    for (int i = 0; i < 20; i++) {
        ok(m.journal->append({LogIndex(later.value + static_cast<std::uint64_t>(i)), i, 1, JournalKind::data, {}}));
        ok(m.journal->flush());
    }
    auto grown = ok(JournalReader::open(m.disk, dir, m.journal->state(), later, end));
    CHECK(ok(grown->next())->index == later);
    // A place in a file that has gone is none.
    auto lost = ok(JournalReader::open(m.disk, dir, m.journal->state(), later, {LogIndex(987'654), 3}));
    CHECK(ok(lost->next())->index == later);
}

TEST_CASE("an empty journal reads as empty") {
    os::SimDisk disk(1, {});
    CHECK(ok(read_all(disk, {})).empty());
    auto journal = ok(Journal::open(disk, dir, {}, small_files));
    ok(journal->flush());
    ok(journal->sync());
    CHECK(ok(read_all(disk, journal->state())).empty());
}

TEST_CASE("records of one index stay in one file") {
    os::SimDisk disk(1, {});
    auto journal = ok(Journal::open(disk, dir, {}, {.file_bytes = 100}));
    for (int i = 0; i < 30; i++) {
        ok(journal->append({LogIndex(7), i, 1, JournalKind::tick, {}}));
        if (i % 2 == 0) ok(journal->flush());
    }
    ok(journal->append({LogIndex(8), 0, 1, JournalKind::tick, {}}));
    ok(journal->flush());
    CHECK(journal->state().files.size() == 2);
    CHECK(journal->state().files[1].first_index == LogIndex(8));
}

TEST_CASE("an index never goes back") {
    os::SimDisk disk(1, {});
    auto journal = ok(Journal::open(disk, dir, {}, small_files));
    CHECK(!journal->append({LogIndex(0), 0, 1, JournalKind::tick, {}}));
    ok(journal->append({LogIndex(5), 0, 1, JournalKind::tick, {}}));
    CHECK(!journal->append({LogIndex(4), 0, 1, JournalKind::tick, {}}));
    ok(journal->append({LogIndex(5), 0, 1, JournalKind::flush, {}}));
    ok(journal->flush());
    journal = ok(Journal::open(disk, dir, journal->state(), small_files));
    CHECK(!journal->append({LogIndex(4), 0, 1, JournalKind::tick, {}}));
}

TEST_CASE("a journal's full disk leaves the state as it was, and a later flush succeeds") {
    const auto records = make_records(5, 60);
    for (std::uint64_t room = 0; room < 1200; room += 50) {
        os::SimDisk disk(room + 1, {});
        auto journal = ok(Journal::open(disk, dir, {}, small_files));
        for (std::size_t i = 0; i < 10; i++)
            ok(journal->append(records[i]));
        ok(journal->flush());
        const std::string before = journal->state().encode();
        disk.set_capacity(disk.used_bytes() + room);
        for (std::size_t i = 10; i < records.size(); i++)
            ok(journal->append(records[i]));
        auto full = journal->flush();
        REQUIRE(!full);
        CHECK(full.error().code == Errc::disk_full);
        CHECK(journal->state().encode() == before);
        CHECK(ok(read_all(disk, journal->state())) == text(records, 10));
        disk.set_capacity(UINT64_MAX);
        ok(journal->flush());
        CHECK(ok(read_all(disk, journal->state())) == text(records, records.size()));
    }
}

TEST_CASE("a journal survives a power cut at any operation") {
    const auto records = make_records(9, 50);
    const std::uint64_t cuts = test::cut_power_at_every_operation({.write_back = 0.3}, [&](test::PowerCut& power) {
        os::SimDisk& disk = power.disk;
        JournalState checkpoint;
        std::size_t checkpoint_count = 0;
        auto run = [&]() -> Status {
            auto journal = TRY(Journal::open(disk, dir, checkpoint, small_files));
            if (ok(read_all(disk, checkpoint)) != text(records, checkpoint_count))
                FAIL("the checkpoint's content is not there");
            for (std::size_t i = checkpoint_count; i < records.size(); i++) {
                TRY(journal->append(records[i]));
                if (i % 3 == 0) TRY(journal->flush());
                if (i % 8 == 7 || i + 1 == records.size()) {
                    TRY(journal->flush());
                    if (i % 16 == 7) {
                        TRY(journal->sync());
                    } else {
                        for (const auto& file : journal->take_dirty_files())
                            TRY(file->sync());
                    }
                    checkpoint = ok(JournalState::decode(journal->state().encode()));
                    checkpoint_count = i + 1;
                }
            }
            return {};
        };
        power.live(run);
        power.restart();
        auto journal = ok(Journal::open(disk, dir, checkpoint, small_files));
        CHECK(ok(read_all(disk, journal->state())) == text(records, records.size()));
        CHECK(ok(disk.list(dir)).size() == checkpoint.files.size());
    });
    CHECK(cuts > 30);
}

TEST_CASE("a flipped bit of a journal is reported with file and place") {
    Made m(12);
    const JournalState state = m.journal->state();
    for (std::uint64_t at = 0; at < state.files[0].bytes; at++) {
        m.disk.flip_bit(m.file(0), at * 8 + at % 8);
        auto result = read_all(m.disk, state);
        INFO("byte " << at);
        REQUIRE(!result);
        CHECK(result.error().code == Errc::corrupt);
        CHECK(result.error().detail.find(m.file(0) + " at byte ") != std::string::npos);
        m.disk.flip_bit(m.file(0), at * 8 + at % 8);
    }
}

TEST_CASE("a journal's reader tells removed from damaged") {
    Made m;
    const JournalState state = m.journal->state();
    auto code = [&] {
        auto result = read_all(m.disk, state);
        REQUIRE(!result);
        return result.error().code;
    };
    SECTION("removed") {
        ok(m.disk.remove(m.file(1)));
        CHECK(code() == Errc::not_found);
        CHECK(Journal::open(m.disk, dir, state, small_files).error().code == Errc::corrupt);
    }
    SECTION("shorter") {
        auto file = ok(m.disk.open(m.file(1), os::OpenMode::write));
        ok(file->truncate(state.files[1].bytes - 1));
        CHECK(code() == Errc::corrupt);
        CHECK(Journal::open(m.disk, dir, state, small_files).error().code == Errc::corrupt);
    }
}

TEST_CASE("files below an index are given up, the last one never so") {
    Made m;
    const auto files = m.journal->state().files;
    const std::string first = m.file(0), second = m.file(1);
    CHECK(m.journal->advance_start(LogIndex(files[1].first_index.value - 1)).empty());
    CHECK(m.journal->advance_start(files[2].first_index) == std::vector<std::string>{first, second});
    CHECK(ok(read_all(m.disk, m.journal->state())) == text(m.records, m.records.size(), files[2].first_index.value));
    m.journal->advance_start(LogIndex(UINT64_MAX));
    CHECK(m.journal->state().files.size() == 1);
}

TEST_CASE("a journal's file ends when its first record is old enough, however records are flushed") {
    struct Row {
        std::int64_t file_ms;
        std::vector<std::pair<std::uint64_t, std::int64_t>> records;  // index, append time
        std::vector<std::uint64_t> want;                              // first indexes of the files
    };
    const Row table[] = {
        {INT64_MAX, {{1, 0}, {2, 1'000'000}}, {1}},
        {100, {{1, 0}, {2, 99}}, {1}},
        {100, {{1, 0}, {2, 100}, {3, 199}, {4, 200}}, {1, 2, 4}},
        {100, {{1, 0}, {1, 100}, {2, 100}}, {1, 2}},  // one index stays together
        {100, {{1, 500}, {2, 400}, {3, 599}, {4, 600}, {5, 0}}, {1, 4}},
        {0, {{1, 7}, {2, 7}, {3, 8}}, {1, 3}},
        {100, {{1, INT64_MIN}, {2, INT64_MAX}, {3, INT64_MIN}}, {1, 2}},
    };
    for (const Row& row : table)
        for (std::size_t flush_each : std::initializer_list<std::size_t>{1, 2, 100}) {
            INFO("file_ms " << row.file_ms << ", flush each " << flush_each);
            os::SimDisk disk(1, {});
            const JournalOptions options{.file_ms = row.file_ms};
            auto journal = ok(Journal::open(disk, dir, {}, options));
            for (std::size_t i = 0; i < row.records.size(); i++) {
                ok(journal->append({LogIndex(row.records[i].first), row.records[i].second, 1, JournalKind::tick, {}}));
                if ((i + 1) % flush_each != 0) continue;
                ok(journal->flush());
                journal = ok(Journal::open(disk, dir, ok(JournalState::decode(journal->state().encode())), options));
            }
            ok(journal->flush());
            std::vector<std::uint64_t> got;
            for (const auto& file : journal->state().files)
                got.push_back(file.first_index.value);
            CHECK(got == row.want);
            CHECK(journal->state().first_index() == LogIndex(1));
        }
}

TEST_CASE("files whose records are all old are given up, the last one too") {
    // Files of the indexes {1, 2}, {3, 4} and {5}, appended at 10 times their index.
    auto make = [](os::Disk& disk) {
        auto journal = ok(Journal::open(disk, dir, {}, {.file_ms = 20}));
        for (std::uint64_t i = 1; i <= 5; i++)
            ok(journal->append({LogIndex(i), static_cast<std::int64_t>(i) * 10, 1, JournalKind::tick, {}}));
        ok(journal->flush());
        REQUIRE(journal->state().files.size() == 3);
        return journal;
    };
    SECTION("by append time") {
        const std::pair<std::int64_t, std::uint64_t> table[] = {{INT64_MIN, 1}, {20, 1}, {21, 3}, {40, 3},
                                                                {41, 5},        {50, 5}, {51, 0}, {INT64_MAX, 0}};
        for (const auto& [append_ms, want] : table) {
            INFO("append_ms " << append_ms);
            os::SimDisk disk(1, {});
            auto journal = make(disk);
            const auto gone = journal->advance_before(append_ms);
            CHECK(gone.size() == 3 - journal->state().files.size());
            CHECK(journal->state().first_index().value_or(LogIndex(0)) == LogIndex(want));
            CHECK(journal->state().last_index == LogIndex(5));
            for (const std::string& path : gone)
                ok(disk.remove(path));
            // Readers begin with what is left, wherever they want to begin.
            for (std::uint64_t from : std::initializer_list<std::uint64_t>{0, 1, 2, 5, 6}) {
                auto reader = ok(JournalReader::open(disk, dir, journal->state(), LogIndex(from)));
                const auto first = ok(reader->next());
                const std::uint64_t first_want = want == 0 || from > 5 ? 0 : std::max(from, want);
                CHECK((first ? first->index.value : 0) == first_want);
            }
        }
    }
    SECTION("the next record begins a file") {
        for (bool reopen : {false, true}) {
            os::SimDisk disk(1, {});
            auto journal = make(disk);
            CHECK(journal->advance_before(1000).size() == 3);
            if (reopen) {
                journal = ok(Journal::open(disk, dir, ok(JournalState::decode(journal->state().encode()))));
                CHECK(ok(disk.list(dir)).empty());
            }
            CHECK(journal->advance_before(INT64_MAX).empty());
            CHECK(journal->advance_start(LogIndex(100)).empty());
            ok(journal->flush());
            for (std::uint64_t index :
                 std::initializer_list<std::uint64_t>{4, 5})  // the name of a file that the caller has yet to unlink
                CHECK(journal->append({LogIndex(index), 60, 1, JournalKind::data, {}}).error().code ==
                      Errc::invalid_argument);
            ok(journal->append({LogIndex(6), 60, 1, JournalKind::tick, {}}));
            ok(journal->append({LogIndex(6), 60, 1, JournalKind::flush, {}}));
            ok(journal->flush());
            CHECK(journal->state().first_index() == LogIndex(6));
            CHECK(ok(read_all(disk, journal->state())) == "6@60v1k1\n6@60v1k2\n");
        }
    }
    SECTION("not with queued records") {
        os::SimDisk disk(1, {});
        auto journal = make(disk);
        ok(journal->append({LogIndex(5), 51, 1, JournalKind::flush, {}}));
        CHECK(journal->advance_before(1000).size() == 2);
        ok(journal->flush());
        CHECK(ok(read_all(disk, journal->state())) == "5@50v1k1\n5@51v1k2\n");
        CHECK(journal->advance_before(51).empty());
        CHECK(journal->advance_before(52).size() == 1);
    }
}

TEST_CASE("a journal's rolls by age and cuts survive a power cut at any operation") {
    auto records = make_records(21, 48);
    for (std::size_t i = 0; i < records.size(); i++)  // one index has one time
        records[i].append_time_ms = i > 0 && records[i].index == records[i - 1].index
                                        ? records[i - 1].append_time_ms
                                        : static_cast<std::int64_t>(records[i].index.value * 30 + i / 16 * 10'000);
    constexpr JournalOptions options{.file_bytes = 300, .file_ms = 100};
    // Before record i, which is of a later index then.
    auto is_cut = [&](std::size_t i) { return i % 4 == 0 && i > 0 && records[i].index != records[i - 1].index; };
    auto cut_before = [&](std::size_t i) { return records[i].append_time_ms - 150; };
    std::vector<std::string> want;
    bool was_cut_whole = false;
    {
        os::SimDisk disk(1, {});
        auto journal = ok(Journal::open(disk, dir, {}, options));
        for (std::size_t i = 0; i < records.size(); i++) {
            if (is_cut(i)) journal->advance_before(cut_before(i));
            was_cut_whole = was_cut_whole || (i > 0 && journal->state().files.empty());
            want.push_back(journal->state().encode());
            ok(journal->append(records[i]));
            ok(journal->flush());
        }
        want.push_back(journal->state().encode());
    }
    REQUIRE(was_cut_whole);

    const std::uint64_t cuts = test::cut_power_at_every_operation({.write_back = 0.3}, [&](test::PowerCut& power) {
        os::SimDisk& disk = power.disk;
        JournalState checkpoint;
        std::size_t done = 0;
        auto check = [&] {
            const auto first = checkpoint.first_index();
            if (ok(read_all(disk, checkpoint)) != (first ? text(records, done, first->value) : ""))
                FAIL("the checkpoint's content is not there");
        };
        auto run = [&]() -> Status {
            auto journal = TRY(Journal::open(disk, dir, checkpoint, options));
            check();
            std::vector<std::string> gone;
            for (std::size_t i = done;; i++) {
                const bool ends = i == records.size();
                if (!ends && is_cut(i)) {
                    TRY(journal->flush());
                    for (std::string& path : journal->advance_before(cut_before(i)))
                        gone.push_back(std::move(path));
                }
                if (ends || i % 8 == 0 || i % 8 == 3) {
                    TRY(journal->flush());
                    TRY(journal->sync());
                    if (journal->state().encode() != want[i]) FAIL("another state at record " << i);
                    checkpoint = ok(JournalState::decode(journal->state().encode()));
                    done = i;
                    for (const std::string& path : gone)
                        TRY(disk.remove(path));
                    gone.clear();
                    check();
                }
                if (ends) return {};
                TRY(journal->append(records[i]));
                if (i % 3 == 0) TRY(journal->flush());
            }
        };
        power.live(run);
        CHECK(checkpoint.encode() == want.back());
        power.restart();
        auto journal = ok(Journal::open(disk, dir, checkpoint, options));
        check();
        CHECK(ok(disk.list(dir)).size() == checkpoint.files.size());
    });
    CHECK(cuts > 50);
}

TEST_CASE("a journal's state survives encoding, and no bytes make decoding fail but as corrupt") {
    Made m;
    const std::string bytes = m.journal->state().encode();
    CHECK(ok(JournalState::decode(bytes)).encode() == bytes);
    for (std::size_t i = 0; i < bytes.size(); i++)
        CHECK(!JournalState::decode(std::string_view(bytes).substr(0, i)));
    CHECK(!JournalState::decode(bytes + "x"));
    Prng prng(1);
    for (int i = 0; i < 20'000; i++) {
        std::string hostile = bytes;
        hostile[prng.below(hostile.size())] = static_cast<char>(prng.next());
        (void)JournalState::decode(hostile);
    }
    JournalState state = m.journal->state();
    std::swap(state.files[0], state.files[1]);
    CHECK(!JournalState::decode(state.encode()));
    state = m.journal->state();
    state.files.back().bytes = 0;
    CHECK(!JournalState::decode(state.encode()));
    state.files.clear();  // all was cut
    CHECK(!ok(JournalState::decode(state.encode())).first_index());
}
