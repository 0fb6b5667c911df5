#include "log/partition.h"

#include "base/prng.h"
#include "os/sim_disk.h"
#include "record/batch.h"

#include <catch2/catch_test_macros.hpp>

#include <algorithm>
#include <string>
#include <vector>

using namespace weir;
using log::PartitionLog;
using log::PartitionOptions;
using log::PartitionReader;
using log::PartitionState;
using log::ReadBound;
using log::ReadRange;

namespace {

const std::string dir = "/data/streams/0_1/p0";

struct Batch {
    std::string bytes;
    std::int64_t base = 0, min_ms = INT64_MAX, max_ms = INT64_MIN, append_ms = 0;
    std::int32_t count = 0;
    std::int64_t next() const { return base + count; }
};

Batch make_batch(std::int64_t base, std::vector<std::int64_t> times, std::size_t value_bytes, std::int64_t append_ms) {
    record::BatchBuilder builder;
    Batch batch;
    batch.base = base;
    batch.append_ms = append_ms;
    for (std::int64_t time : times) {
        builder.add(time, std::nullopt, std::string(value_bytes, static_cast<char>('a' + time % 26)));
        batch.min_ms = std::min(batch.min_ms, time);
        batch.max_ms = std::max(batch.max_ms, time);
        batch.count++;
    }
    builder.finish(base, 1);
    batch.bytes = builder.take();
    return batch;
}

// Some hundred batches of 1 to 4 records, whose times go roughly upward.
std::vector<Batch> make_batches(std::uint64_t seed, int count) {
    Prng prng(seed);
    std::vector<Batch> batches;
    std::int64_t base = 0;
    for (int i = 0; i < count; i++) {
        std::vector<std::int64_t> times;
        for (std::uint64_t k = 0; k <= prng.below(4); k++)
            times.push_back(1000 * i + static_cast<std::int64_t>(prng.below(5000)) - 2500 + 10'000);
        batches.push_back(make_batch(base, times, prng.below(200), i));
        base = batches.back().next();
    }
    return batches;
}

constexpr PartitionOptions small_options{.segment_bytes = 6000, .index_interval = 700};

template <class T>
T ok(Result<T> result) {
    if (!result) FAIL(errc_name(result.error().code) << ": " << result.error().detail);
    return std::move(result).value();
}
void ok(Status status) {
    if (!status) FAIL(errc_name(status.error().code) << ": " << status.error().detail);
}

Status append(PartitionLog& log, const Batch& b) {
    return log.append(b.bytes, b.base, b.count, b.min_ms, b.max_ms, b.append_ms);
}

Result<std::string> read_all(os::Disk& disk, const ReadBound& bound, const ReadRange& range = {},
                             bool check_crc = true) {
    auto reader = TRY(PartitionReader::open(disk, dir, bound, range, check_crc));
    std::string out;
    while (auto batch = TRY(reader->next()))
        out += *batch;
    return out;
}

std::string join(const std::vector<Batch>& batches, std::size_t count, std::int64_t from = 0,
                 std::int64_t to = INT64_MAX) {
    std::string out;
    for (std::size_t i = 0; i < count; i++)
        if (batches[i].next() > from && batches[i].base < to) out += batches[i].bytes;
    return out;
}

struct Made {
    os::SimDisk disk{1, {}};
    std::vector<Batch> batches;
    std::unique_ptr<PartitionLog> log;
    explicit Made(int count = 100, PartitionOptions options = small_options) : batches(make_batches(7, count)) {
        log = ok(PartitionLog::open(disk, dir, {}, options));
        for (std::size_t i = 0; i < batches.size(); i++) {
            ok(append(*log, batches[i]));
            if (i % 3 == 0) ok(log->flush());
        }
        ok(log->flush());
    }
    ReadBound bound() const { return read_bound(log->state()); }
    std::string segment(std::size_t i, const char* suffix) const {
        std::string digits = std::to_string(log->state().segments[i].base_offset);
        return dir + "/" + std::string(20 - digits.size(), '0') + digits + suffix;
    }
};

Errc code_of(const Result<std::string>& result) {
    REQUIRE(!result);
    return result.error().code;
}

}  // namespace

TEST_CASE("what is appended is read, whole and from any offset to any other") {
    Made m;
    CHECK(m.log->state().segments.size() > 3);
    CHECK(m.log->end_offset() == m.batches.back().next());
    CHECK(m.log->bytes() == join(m.batches, m.batches.size()).size());
    CHECK(ok(read_all(m.disk, m.bound())) == join(m.batches, m.batches.size()));
    for (std::int64_t from = 0; from <= m.log->end_offset(); from += 7)
        for (std::int64_t to = from; to <= m.log->end_offset() + 5; to += 13) {
            INFO(from << " to " << to);
            CHECK(ok(read_all(m.disk, m.bound(), {.from_offset = from, .to_offset = to})) ==
                  (from == to ? "" : join(m.batches, m.batches.size(), from, to)));
        }
}

TEST_CASE("an empty partition reads as empty, whether it has a folder or not") {
    os::SimDisk disk(1, {});
    CHECK(ok(read_all(disk, ReadBound{})).empty());
    auto log = ok(PartitionLog::open(disk, dir, {}, small_options));
    ok(log->flush());
    ok(log->sync());
    CHECK(ok(read_all(disk, read_bound(log->state()))).empty());
    CHECK(log->state().segments.empty());
}

TEST_CASE("a partition may begin at any offset") {
    os::SimDisk disk(1, {});
    PartitionState state;
    state.start_offset = state.end_offset = 5000;
    auto log = ok(PartitionLog::open(disk, dir, state, small_options));
    const Batch batch = make_batch(5000, {1, 2}, 10, 0);
    ok(append(*log, batch));
    ok(log->flush());
    CHECK(log->state().segments.at(0).base_offset == 5000);
    CHECK(ok(read_all(disk, read_bound(log->state()))) == batch.bytes);
}

TEST_CASE("time ranges leave out what the index knows to lie outside, and nothing else") {
    Made m;
    const std::string all = join(m.batches, m.batches.size());
    std::size_t least = SIZE_MAX;
    for (std::int64_t from = 0; from < 120'000; from += 9'000) {
        const ReadRange range{.min_time_ms = from, .max_time_ms = from + 5'000};
        const std::string got = ok(read_all(m.disk, m.bound(), range));
        least = std::min(least, got.size());
        for (const Batch& batch : m.batches)
            if (batch.max_ms >= range.min_time_ms && batch.min_ms <= range.max_time_ms)
                CHECK(got.find(batch.bytes) != std::string::npos);
    }
    CHECK(least < all.size() / 5);
}

TEST_CASE("a batch's first time is not its least") {
    os::SimDisk disk(1, {});
    auto log = ok(PartitionLog::open(disk, dir, {}, {.segment_bytes = 1 << 20, .index_interval = 1}));
    const Batch first = make_batch(0, {100, 5, 50}, 10, 0), second = make_batch(3, {100}, 10, 0);
    ok(append(*log, first));
    ok(append(*log, second));
    ok(log->flush());
    CHECK(ok(read_all(disk, read_bound(log->state()), {.min_time_ms = 0, .max_time_ms = 10})) == first.bytes);
    CHECK(log->state().segments[0].min_time_ms == 5);
    CHECK(log->state().segments[0].max_time_ms == 100);
}

TEST_CASE("one read sees one bound while the log grows") {
    os::SimDisk disk(1, {});
    const auto batches = make_batches(3, 120);
    auto log = ok(PartitionLog::open(disk, dir, {}, small_options));
    std::vector<std::pair<ReadBound, std::size_t>> bounds;
    for (std::size_t i = 0; i < batches.size(); i++) {
        ok(append(*log, batches[i]));
        if (i % 4 == 3) {
            ok(log->flush());
            bounds.emplace_back(read_bound(log->state()), i + 1);
        }
    }
    for (const auto& [bound, count] : bounds) {
        CHECK(ok(read_all(disk, bound)) == join(batches, count));
        // With the index, which reaches further than the bound.
        const std::int64_t from = bound.end_offset / 2;
        CHECK(ok(read_all(disk, bound, {.from_offset = from})) == join(batches, count, from));
    }
}

TEST_CASE("batches larger than a block have readable bytes behind them") {
    os::SimDisk disk(1, {});
    auto log = ok(PartitionLog::open(disk, dir, {}, {}));
    std::vector<Batch> batches;
    for (std::size_t bytes : std::vector<std::size_t>{10, 3'000'000, 100, 1'048'576 - 70, 1'048'576, 5'000'000, 1})
        batches.push_back(make_batch(batches.empty() ? 0 : batches.back().next(), {1}, bytes, 0));
    for (const Batch& batch : batches)
        ok(append(*log, batch));
    ok(log->flush());
    auto reader = ok(PartitionReader::open(disk, dir, read_bound(log->state()), {}, true));
    unsigned sum = 0;
    for (const Batch& batch : batches) {
        auto got = ok(reader->next());
        REQUIRE(got);
        CHECK(*got == batch.bytes);
        for (std::size_t i = 0; i < 64; i++)
            sum += static_cast<unsigned char>(got->data()[got->size() + i]);
    }
    CHECK(!ok(reader->next()));
    CHECK(!ok(reader->next()));
    CHECK(sum < 7 * 64 * 256);
}

TEST_CASE("append refuses what is not the next batch") {
    os::SimDisk disk(1, {});
    auto log = ok(PartitionLog::open(disk, dir, {}, small_options));
    const Batch batch = make_batch(0, {1}, 10, 0);
    CHECK(!log->append(batch.bytes, 1, 1, 1, 1, 0));
    CHECK(!log->append(batch.bytes, 0, 0, 1, 1, 0));
    CHECK(!log->append("short", 0, 1, 1, 1, 0));
    CHECK(log->end_offset() == 0);
    ok(append(*log, batch));
    CHECK(!append(*log, batch));
    CHECK(log->end_offset() == 1);
    CHECK(log->state().end_offset == 0);  // until the flush
    ok(log->flush());
    CHECK(log->state().end_offset == 1);
}

TEST_CASE("a full disk leaves the state as it was, and a later flush succeeds") {
    const auto batches = make_batches(5, 60);
    for (std::uint64_t room = 0; room < 16'000; room += 500) {
        os::SimDisk disk(room + 1, {});
        auto log = ok(PartitionLog::open(disk, dir, {}, small_options));
        for (std::size_t i = 0; i < 10; i++)
            ok(append(*log, batches[i]));
        ok(log->flush());
        const std::string before = log->state().encode();
        disk.set_capacity(disk.used_bytes() + room);
        for (std::size_t i = 10; i < batches.size(); i++)
            ok(append(*log, batches[i]));
        auto full = log->flush();
        REQUIRE(!full);
        CHECK(full.error().code == Errc::disk_full);
        CHECK(log->state().encode() == before);
        CHECK(ok(read_all(disk, read_bound(log->state()))) == join(batches, 10));
        CHECK(!log->flush());
        disk.set_capacity(UINT64_MAX);
        ok(log->flush());
        CHECK(ok(read_all(disk, read_bound(log->state()))) == join(batches, batches.size()));
        CHECK(ok(read_all(disk, read_bound(log->state()), {.from_offset = 50})) == join(batches, batches.size(), 50));
        // The checkpoint's account includes what the failed attempts touched.
        ok(log->sync());
        const PartitionState state = log->state();
        disk.crash();
        log = ok(PartitionLog::open(disk, dir, state, small_options));
        CHECK(ok(read_all(disk, read_bound(state))) == join(batches, batches.size()));
    }
}

TEST_CASE("after a power cut at any operation the checkpoint's content is there and replay gives the same bytes") {
    const auto batches = make_batches(11, 60);
    const std::string want = join(batches, batches.size());
    bool finished = false;
    std::uint64_t crashes = 0;
    for (std::uint64_t at = 1; !finished; at++) {
        INFO("power cut at operation " << at);
        os::SimDisk disk(at, {.write_back = 0.3});
        std::uint64_t left = at;
        disk.on_operation([&] { return left == 0 || --left > 0; });
        // Stands for the state that LMDB keeps: written after the sync, atomically.
        PartitionState checkpoint;
        std::uint64_t gone_before = 0;
        auto run = [&](bool crash_again) -> Status {
            auto log = TRY(PartitionLog::open(disk, dir, checkpoint, small_options));
            std::size_t done = 0;
            while (done < batches.size() && batches[done].base < checkpoint.end_offset)
                done++;
            if (ok(read_all(disk, read_bound(checkpoint))) != join(batches, done))
                FAIL("the checkpoint's content is not there");
            for (std::size_t i = done; i < batches.size(); i++) {
                TRY(append(*log, batches[i]));
                if (i % 3 == 0) TRY(log->flush());
                if (i % 10 == 9 || i + 1 == batches.size()) {
                    TRY(log->flush());
                    if (i % 20 == 9) {
                        TRY(log->sync());
                    } else {
                        for (const auto& file : log->take_dirty_files())
                            TRY(file->sync());
                    }
                    checkpoint = ok(PartitionState::decode(log->state().encode()));
                }
                if (crash_again && i == done + 15) return Error{Errc::io, "once more"};
            }
            gone_before = log->state().segments.size();
            return {};
        };
        auto first = run(false);
        finished = static_cast<bool>(first);
        while (!first) {
            crashes++;
            disk.on_operation(nullptr);
            disk.crash();
            first = run(crashes % 3 != 0);
        }
        CHECK(ok(read_all(disk, read_bound(checkpoint))) == want);
        CHECK(ok(read_all(disk, read_bound(checkpoint), {.from_offset = 70})) == join(batches, batches.size(), 70));
        disk.crash();
        auto log = ok(PartitionLog::open(disk, dir, checkpoint, small_options));
        CHECK(ok(read_all(disk, read_bound(log->state()))) == want);
        CHECK(ok(disk.list(dir)).size() == 2 * gone_before);
    }
    CHECK(crashes > 50);
}

TEST_CASE("opening removes what the checkpoint does not know and touches no other name") {
    Made m;
    PartitionState state = m.log->state();
    state.segments.pop_back();
    state.end_offset = m.log->state().segments.back().base_offset;
    state.open_index = {0, state.segments.back().log_bytes, INT64_MAX, INT64_MIN};
    const std::string removed = m.segment(m.log->state().segments.size() - 1, ".log");
    for (const char* name : {"/README", "/0001.log", "/00000000000000000009.txt"})
        ok(m.disk.open(dir + name, os::OpenMode::create));
    auto log = ok(PartitionLog::open(m.disk, dir, state, small_options));
    CHECK(!ok(m.disk.exists(removed)));
    for (const char* name : {"/README", "/0001.log", "/00000000000000000009.txt"})
        CHECK(ok(m.disk.exists(dir + name)));
    CHECK(ok(read_all(m.disk, read_bound(log->state()))) == join(m.batches, m.batches.size(), 0, state.end_offset));
}

TEST_CASE("opening reports a file that is missing or shorter than listed") {
    for (const char* suffix : {".log", ".idx"}) {
        Made m;
        const PartitionState state = m.log->state();
        const std::string path = m.segment(1, suffix);
        auto file = ok(m.disk.open(path, os::OpenMode::write));
        ok(file->truncate(ok(file->size()) - 1));
        auto shorter = PartitionLog::open(m.disk, dir, state, small_options);
        REQUIRE(!shorter);
        CHECK(shorter.error().code == Errc::corrupt);
        CHECK(shorter.error().detail.find(path) != std::string::npos);
        ok(m.disk.remove(path));
        auto missing = PartitionLog::open(m.disk, dir, state, small_options);
        REQUIRE(!missing);
        CHECK(missing.error().code == Errc::corrupt);
    }
}

TEST_CASE("a reader tells a removed segment from a damaged log") {
    Made m;
    const ReadBound bound = m.bound();
    SECTION("first segment removed") {
        ok(m.disk.remove(m.segment(0, ".log")));
        CHECK(code_of(read_all(m.disk, bound)) == Errc::not_found);
    }
    SECTION("removed while it is read") {
        auto reader = ok(PartitionReader::open(m.disk, dir, bound, {}, true));
        CHECK(ok(reader->next()));
        ok(m.disk.remove(m.segment(1, ".log")));
        auto result = reader->next();
        while (result && result.value())
            result = reader->next();
        REQUIRE(!result);
        CHECK(result.error().code == Errc::not_found);
        CHECK(!ok(reader->next()));
    }
    SECTION("last segment removed") {
        ok(m.disk.remove(m.segment(m.log->state().segments.size() - 1, ".log")));
        CHECK(code_of(read_all(m.disk, bound)) == Errc::not_found);
    }
    SECTION("a gap") {
        ok(m.disk.remove(m.segment(1, ".log")));
        CHECK(code_of(read_all(m.disk, bound)) == Errc::corrupt);
    }
    SECTION("a sealed segment cut at a batch") {
        auto file = ok(m.disk.open(m.segment(1, ".log"), os::OpenMode::write));
        ok(file->truncate(m.batches[0].bytes.size()));
        CHECK(code_of(read_all(m.disk, bound)) == Errc::corrupt);
    }
    SECTION("an empty segment") {
        auto file = ok(m.disk.open(m.segment(1, ".log"), os::OpenMode::write));
        ok(file->truncate(0));
        CHECK(code_of(read_all(m.disk, bound)) == Errc::corrupt);
    }
    SECTION("the last segment shorter than the bound") {
        auto file = ok(m.disk.open(m.segment(m.log->state().segments.size() - 1, ".log"), os::OpenMode::write));
        ok(file->truncate(bound.last_bytes - 1));
        CHECK(code_of(read_all(m.disk, bound)) == Errc::corrupt);
    }
    SECTION("a bound that says more than there is") {
        ReadBound wrong = bound;
        wrong.end_offset++;
        CHECK(code_of(read_all(m.disk, wrong)) == Errc::corrupt);
    }
    SECTION("index files removed: slower, not wrong") {
        for (std::size_t i = 0; i < m.log->state().segments.size(); i++)
            ok(m.disk.remove(m.segment(i, ".idx")));
        CHECK(ok(read_all(m.disk, bound, {.from_offset = 70})) == join(m.batches, m.batches.size(), 70));
    }
}

TEST_CASE("a flipped bit of the log is reported with file and place") {
    Made m(24);
    const ReadBound bound = m.bound();
    const std::string path = m.segment(0, ".log");
    const std::uint64_t bytes = m.log->state().segments[0].log_bytes;
    std::size_t in_batch = 0, batch = 0;
    for (std::uint64_t at = 0; at < bytes; at++, in_batch++) {
        if (in_batch == m.batches[batch].bytes.size()) in_batch = 0, batch++;
        if (in_batch >= 12 && in_batch < 16) continue;  // leader_epoch: set by the leader, no checksum covers it
        m.disk.flip_bit(path, at * 8 + at % 8);
        auto result = read_all(m.disk, bound);
        INFO("byte " << at);
        REQUIRE(!result);
        CHECK(result.error().code == Errc::corrupt);
        CHECK(result.error().detail.find(path + " at byte ") != std::string::npos);
        m.disk.flip_bit(path, at * 8 + at % 8);
    }
}

TEST_CASE("a flipped bit of an index never makes an answer wrong") {
    Made m(40);
    const std::string path = m.segment(0, ".idx");
    for (std::uint64_t bit = 0; bit < m.log->state().segments[0].index_bytes * 8; bit += 3) {
        m.disk.flip_bit(path, bit);
        for (std::int64_t from : {3, 9})
            CHECK(ok(read_all(m.disk, m.bound(), {.from_offset = from})) == join(m.batches, m.batches.size(), from));
        m.disk.flip_bit(path, bit);
    }
}

TEST_CASE("retention moves the start over whole segments") {
    Made m;
    const auto segments = m.log->state().segments;
    const std::string first_log = m.segment(0, ".log");
    CHECK(m.log->offset_before(0) == 0);
    CHECK(m.log->offset_before(segments[0].last_append_ms) == 0);
    CHECK(m.log->offset_before(segments[0].last_append_ms + 1) == segments[1].base_offset);
    CHECK(m.log->offset_before(INT64_MAX) == m.log->end_offset());
    CHECK(m.log->advance_start(segments[1].base_offset - 1).empty());
    const std::uint64_t before = m.log->bytes();
    auto gone = m.log->advance_start(segments[2].base_offset + 1);
    REQUIRE(gone.size() == 4);
    CHECK(gone[0] == first_log);
    CHECK(m.log->bytes() == before - segments[0].log_bytes - segments[1].log_bytes);
    CHECK(m.log->start_offset() == segments[2].base_offset + 1);
    CHECK(m.log->advance_start(5).empty());  // never back
    CHECK(m.log->start_offset() == segments[2].base_offset + 1);
    // The caller unlinks later; reads begin at the start already.
    CHECK(ok(read_all(m.disk, m.bound())) == join(m.batches, m.batches.size(), m.log->start_offset()));
    for (const std::string& path : gone)
        ok(m.disk.remove(path));
    CHECK(ok(read_all(m.disk, m.bound())) == join(m.batches, m.batches.size(), m.log->start_offset()));
    // All of it: the last segment stays.
    m.log->advance_start(INT64_MAX);
    CHECK(m.log->state().segments.size() == 1);
    CHECK(m.log->start_offset() == m.log->end_offset());
    CHECK(ok(read_all(m.disk, m.bound())).empty());
    auto log = ok(PartitionLog::open(m.disk, dir, ok(PartitionState::decode(m.log->state().encode())), small_options));
    CHECK(ok(m.disk.list(dir)).size() == 2);
}

TEST_CASE("a state survives encoding, and no bytes make decoding fail but as corrupt") {
    Made m;
    const std::string bytes = m.log->state().encode();
    CHECK(ok(PartitionState::decode(bytes)).encode() == bytes);
    CHECK(ok(PartitionState::decode(PartitionState{}.encode())).segments.empty());
    for (std::size_t i = 0; i < bytes.size(); i++)
        CHECK(!PartitionState::decode(std::string_view(bytes).substr(0, i)));
    CHECK(!PartitionState::decode(bytes + "x"));
    Prng prng(1);
    for (int i = 0; i < 20'000; i++) {
        std::string hostile = bytes;
        for (std::uint64_t k = 0; k <= prng.below(4); k++)
            hostile[prng.below(hostile.size())] = static_cast<char>(prng.next());
        (void)PartitionState::decode(hostile);
    }
    PartitionState state = m.log->state();
    std::swap(state.segments[0], state.segments[1]);
    CHECK(!PartitionState::decode(state.encode()));
    state = m.log->state();
    state.open_index.position = state.segments.back().log_bytes + 1;
    CHECK(!PartitionState::decode(state.encode()));
    state = m.log->state();
    state.start_offset = state.end_offset + 1;
    CHECK(!PartitionState::decode(state.encode()));
}
