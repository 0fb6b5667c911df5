// Views over events that are there already, built beside the entries that go on coming in.
#include "os/sim_disk.h"
#include "unit/apply/bench.h"

#include <catch2/catch_test_macros.hpp>

namespace weir::apply {
namespace {

constexpr const char* idle_stream_sql =
    "CREATE STREAM s (id TEXT, n INTEGER, ts TIMESTAMP, EVENT TIME ts IDLE AFTER 10s, DEDUP KEY (id) WITHIN 1h) "
    "PARTITIONS 2";

std::string state_of(Bench& b, const char* view) {
    for (const auto& v : b.definitions->views) {
        if (v.name == view) return v.state;
    }
    return "none";
}

// The rows of the view and of its late table without ids, and the watermarks.
std::string rows_of(Bench& b) {
    const auto text = b.digest();
    std::string out;
    for (std::size_t at = text.find("SELECT * FROM \"v"); at != std::string::npos;
         at = text.find("SELECT * FROM", at)) {
        at = text.find('\n', at);
        out += text.substr(at, text.find("SELECT * FROM", at) - at);
    }
    return out;
}

// Batches of both partitions, ticks and late events between them.
std::vector<std::vector<log::Section>> history(Bench& b, ObjectId stream, std::vector<std::string>& keep) {
    std::vector<std::vector<log::Section>> entries;
    std::int64_t next[2] = {0, 0};
    auto batch = [&](PartitionNo p, int count, std::int64_t first_ms) {
        auto section = b.batch(stream, p, next[p], count, first_ms);
        next[p] += count;
        keep.push_back(b.batch_bytes);
        return section;
    };
    keep.reserve(1000);
    for (int i = 0; i < 30; i++) {
        std::vector<log::Section> entry;
        if (i % 7 == 3) entry.push_back(log::Tick{stream});
        if (i < 10 || i % 3 != 0) entry.push_back(batch(0, 5, t0 + i * 20'000 - (i % 4) * 90'000));
        if (i > 12) entry.push_back(batch(1, 3, t0 + i * 5'000));
        if (i % 5 == 4) entry.push_back(log::CountsSection{stream, 1, 0});
        entries.push_back(std::move(entry));
    }
    // b.batch() keeps its bytes in one place: each section gets its own.
    std::size_t at = 0;
    for (auto& entry : entries) {
        for (auto& section : entry) {
            if (auto* s = std::get_if<log::BatchSection>(&section)) s->batch = keep[at++];
        }
    }
    return entries;
}

// `entries` of a thousand events each, one after the other, the first event of each `step_ms` later. The next offset.
std::int64_t add_thousands(Bench& b, ObjectId stream, int entries, std::int64_t step_ms) {
    for (int i = 0; i < entries; i++) {
        REQUIRE(b.add({b.batch(stream, 0, i * 1000, 1000, t0 + i * step_ms)}).has_value());
        b.settle();
    }
    return entries * 1000;
}

}  // namespace

TEST_CASE("build: ticks and flushes count where they stand in the log") {
    // The view's own entries move the append times of what follows as a whole; only differences count.
    auto run = [](bool view_first, bool ticks) {
        Bench b;
        b.step_ms = 20'000;
        b.settle();
        const auto id = b.make(log::ObjectKind::stream, "s", idle_stream_sql);
        if (view_first) b.make(log::ObjectKind::view, "v", view_sql, id);
        std::vector<std::string> keep;
        for (auto& entry : history(b, id, keep)) {
            if (!ticks) std::erase_if(entry, [](const auto& s) { return std::holds_alternative<log::Tick>(s); });
            REQUIRE(b.add(entry).has_value());
            b.settle();
        }
        if (!view_first) {
            b.make(log::ObjectKind::view, "v", view_sql, id);
            b.make_live();
        }
        return rows_of(b);
    };
    CHECK(run(true, true) == run(false, true));
    CHECK(run(true, true) != run(true, false));
}

TEST_CASE("build: a view is building with progress until its entry, and is read from there on") {
    Bench b;
    b.settle();
    const auto id = b.make(log::ObjectKind::stream, "s", stream_sql);
    const std::int64_t next = add_thousands(b, id, 60, 1000);
    const auto view = b.make(log::ObjectKind::view, "v", view_sql, id);
    CHECK(state_of(b, "v") == "building");
    CHECK(b.needs.at(id).second);
    // More comes in while it is built, and is in it once.
    REQUIRE(b.add({b.batch(id, 0, next, 500, t0)}).has_value());
    b.make_live();
    CHECK(state_of(b, "v") == "live");
    CHECK_FALSE(b.needs.at(id).second);
    CHECK(b.digest().find("1:60500:") != std::string::npos);  // _views: seen
    // A second entry, as after a crash between the proposal and its answer, changes nothing.
    REQUIRE(b.add({log::ViewLive{view}}).has_value());
    b.settle();
    CHECK(state_of(b, "v") == "live");
}

TEST_CASE("build: a crash anywhere goes on from the cursor, and replay comes to the same rows") {
    for (int crash_after : {1, 2, 3, 5}) {
        for (const bool live_before : {false, true}) {
            INFO(crash_after << " " << live_before);
            Bench b;
            b.settle();
            const auto id = b.make(log::ObjectKind::stream, "s", stream_sql);
            std::int64_t next = 0;
            std::vector<int> counts;
            auto feed = [&](int count) {
                counts.push_back(count);
                REQUIRE(b.add({b.batch(id, static_cast<PartitionNo>(0), next, count, t0 + next * 10)}).has_value());
                next += count;
                b.settle();
            };
            for (int i = 0; i < 20; i++)
                feed(2000);
            b.checkpoint();
            b.make(log::ObjectKind::view, "v", view_sql, id);
            for (int i = 0; i < crash_after; i++) {
                feed(300);
                if (i % 2 == 1) b.checkpoint();
            }
            if (live_before) {
                b.make_live();
                feed(100);
            }
            const std::string before = live_before ? b.digest() : "";
            b.open(LogIndex(b.entries.size()));
            b.caught_up.clear();
            for (std::uint64_t index = 1; index <= b.entries.size(); index++)
                REQUIRE(b.apply_bytes(index, b.entries[index - 1], false).has_value());
            b.settle();
            if (live_before)
                CHECK(b.digest() == before);
            else
                b.make_live();
            feed(50);
            Bench fresh;
            fresh.settle();
            const auto same = fresh.make(log::ObjectKind::stream, "s", stream_sql);
            fresh.make(log::ObjectKind::view, "v", view_sql, same);
            std::int64_t at = 0;
            for (const int count : counts) {
                REQUIRE(fresh.add({fresh.batch(same, 0, at, count, t0 + at * 10)}).has_value());
                at += count;
            }
            const bool equal = rows_of(b) == rows_of(fresh);  // the texts are too long to print
            CHECK(equal);
        }
    }
}

TEST_CASE("build: retention waits for the view, then goes on") {
    Bench b;
    b.settle();
    const auto id = b.make(log::ObjectKind::stream, "s", stream_sql);
    add_thousands(b, id, 40, 1000);
    b.make(log::ObjectKind::view, "v", view_sql, id);
    REQUIRE(b.add({log::Retain{id, INT64_MAX, -1, INT64_MIN}}).has_value());
    b.settle();
    REQUIRE(state_of(b, "v") == "building");
    b.make_live();
    CHECK(b.digest().find("1:40000:") != std::string::npos);
    REQUIRE(b.add({log::Retain{id, INT64_MAX, -1, INT64_MIN}}).has_value());
    b.settle();
    // _ends: start = end; the view's rows stay.
    CHECK(b.digest().find("|1:40000:0.000000:|1:40000:0.000000:|") != std::string::npos);
    CHECK(b.digest().find("1:40000:") != std::string::npos);
}

TEST_CASE("build: FROM NOW takes nothing from before, and is live at once") {
    Bench b;
    b.settle();
    const auto id = b.make(log::ObjectKind::stream, "s", stream_sql);
    REQUIRE(b.add({b.batch(id, 0, 0, 100, t0)}).has_value());
    const std::string sql = std::string(view_sql) + " FROM NOW";
    b.make(log::ObjectKind::view, "v", sql.c_str(), id);
    CHECK(state_of(b, "v") == "live");
    REQUIRE(b.add({b.batch(id, 0, 100, 7, t0)}).has_value());
    b.settle();
    CHECK(rows_of(b).find("1:7:") != std::string::npos);
    CHECK(rows_of(b).find("1:107:") == std::string::npos);
}

TEST_CASE("build: a view that is dropped while it is built is gone, and retention goes on") {
    Bench b;
    b.settle();
    const auto id = b.make(log::ObjectKind::stream, "s", stream_sql);
    add_thousands(b, id, 40, 0);
    const auto view = b.make(log::ObjectKind::view, "v", view_sql, id);
    REQUIRE(b.add({log::DropView{view}, log::ViewLive{view}}).has_value());
    b.settle();
    CHECK(b.definitions->views.empty());
    CHECK_FALSE(b.needs.at(id).second);
}

TEST_CASE("FLUSH: through an entry; a view that is being built refuses") {
    Bench b;
    b.settle();
    const auto id = b.make(log::ObjectKind::stream, "s", stream_sql);
    REQUIRE(b.add({b.batch(id, 0, 0, 100, t0)}).has_value());
    const auto view = b.make(log::ObjectKind::view, "v", view_sql, id);
    b.answers.clear();
    REQUIRE(b.add({log::Flush{view}}, true).has_value());
    b.settle();
    REQUIRE(b.answers.size() == 1);
    CHECK(b.answers[0].error().code == Errc::building);
    b.make_live();
    REQUIRE(b.add({log::Flush{view}}, true).has_value());
    b.settle();
    REQUIRE(b.answers.size() == 2);
    CHECK(b.answers[1].has_value());
    // Both partitions, the one without a record too.
    const auto text = b.digest();
    const auto watermark = "1:" + std::to_string(t0 + 99'000) + ":";
    const auto at = text.find("SELECT * FROM _watermarks");
    const auto first = text.find(watermark, at);
    CHECK(text.find(watermark, first + 1) != std::string::npos);
    REQUIRE(b.add({log::Flush{ObjectId{ShardId(0), LogIndex(999)}}}, true).has_value());
    b.settle();
    CHECK(b.answers.back().error().code == Errc::not_found);
}

TEST_CASE("tick: apply tells when one is due, and again after it") {
    Bench b;
    b.settle();
    const auto id = b.make(log::ObjectKind::stream, "s", idle_stream_sql);
    b.make(log::ObjectKind::view, "v", view_sql, id);
    REQUIRE(b.add({b.batch(id, 0, 0, 1, t0)}).has_value());
    b.settle();
    const std::int64_t append_ms = b.append_ms;
    // Partition 1 has no record: 30 s; partition 0 needs a minute of event time beyond 10 s of quiet.
    CHECK(b.needs.at(id) == std::pair<std::int64_t, bool>(append_ms + 30'000, false));
    REQUIRE(b.add({log::Tick{id}}).has_value());
    b.settle();
    CHECK(b.needs.at(id).first >= append_ms + 30'000);
}

}  // namespace weir::apply
