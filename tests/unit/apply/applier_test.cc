// The applier on a simulated disk: entries in, tables and files out; crashes between.
#include "apply/applier.h"

#include "os/sim_disk.h"
#include "record/json.h"
#include "unit/apply/bench.h"

#include <catch2/catch_test_macros.hpp>

#include <memory>
#include <string>
#include <vector>

namespace weir::apply {

TEST_CASE("apply: a name is taken once; the id is the entry's; an answer comes after the rows are visible") {
    Bench b;
    b.settle();
    const auto id = b.make(log::ObjectKind::stream, "s", stream_sql);
    REQUIRE(b.answers.size() == 2);
    CHECK(b.answers[0].has_value());
    REQUIRE(b.add({log::CatalogPut{log::ObjectKind::view, "s", view_sql}}, true).has_value());
    CHECK(b.answers.size() == 2);
    b.settle();
    REQUIRE(b.answers.size() == 3);
    CHECK(b.answers[2].error().code == Errc::already_exists);
    REQUIRE(b.definitions != nullptr);
    REQUIRE(b.definitions->streams.size() == 1);
    CHECK(b.definitions->streams[0]->id == id);
    CHECK(b.defined.size() == 1);
}

TEST_CASE("rule: CREATE over two groups: a definition proposed twice, as after a crash, is applied once", "[rule]") {
    Bench b;
    b.settle();
    const auto id = b.make(log::ObjectKind::stream, "s", stream_sql);
    REQUIRE(b.add({b.batch(id, 0, 0, 5, t0)}).has_value());
    REQUIRE(b.add({log::DefineStream{id, 1, "s", stream_sql}}).has_value());
    REQUIRE(b.add({b.batch(id, 0, 5, 5, t0)}).has_value());
    b.settle();
    CHECK(b.digest().find("1:10:") != std::string::npos);
}

TEST_CASE(
    "rule: CREATE over two groups: a catalog entry without its other half is told as loose, until that is there or "
    "gone",
    "[rule]") {
    Bench b;
    b.settle();
    REQUIRE(b.add({log::CatalogPut{log::ObjectKind::stream, "s", stream_sql}}).has_value());
    b.settle();
    REQUIRE(b.definitions->loose.size() == 1);
    CHECK_FALSE(b.definitions->loose[0].dropping);
    const ObjectId id{ShardId(0), LogIndex(1)};
    REQUIRE(b.add({log::DefineStream{id, 1, "s", stream_sql}}).has_value());
    b.settle();
    CHECK(b.definitions->loose.empty());
    REQUIRE(b.add({log::DropStream{id}}).has_value());
    b.settle();
    REQUIRE(b.definitions->loose.size() == 1);
    CHECK(b.definitions->loose[0].dropping);  // the other half of a DROP is missing
    REQUIRE(b.add({log::CatalogDrop{id}}).has_value());
    b.settle();
    CHECK(b.definitions->loose.empty());
    CHECK(b.dropped.size() == 1);
}

TEST_CASE("apply: a view over events that are there has the rows of one from the start") {
    auto run = [](bool view_first) {
        Bench b;
        b.settle();
        const auto id = b.make(log::ObjectKind::stream, "s", stream_sql);
        if (view_first) b.make(log::ObjectKind::view, "v", view_sql, id);
        REQUIRE(b.add({b.batch(id, 0, 0, 100, t0)}).has_value());
        REQUIRE(b.add({b.batch(id, 1, 0, 100, t0 - 3'600'000)}).has_value());
        REQUIRE(b.add({b.batch(id, 0, 100, 50, t0 - 1'800'000)}).has_value());  // late by its own partition
        if (!view_first) {
            b.make(log::ObjectKind::view, "v", view_sql, id);
            b.make_live();
        }
        b.settle();
        const auto text = b.digest();
        // The rows of the view and of its late table, which hold no ids.
        return text.substr(text.find("SELECT * FROM \"v"))
            .substr(text.substr(text.find("SELECT * FROM \"v")).find('\n'));
    };
    auto strip = [](std::string text) {
        const auto at = text.find("SELECT * FROM \"l");
        const auto end = text.find('\n', at);
        return text.erase(at, end - at);
    };
    const auto first = strip(run(true)), later = strip(run(false));
    CHECK(first == later);
    CHECK(first.find("1:60:") != std::string::npos);
}

TEST_CASE("rule: replay is silent: from any checkpoint and any row commit the tables come out the same", "[rule]") {
    for (int checkpoint_after : {1, 3, 5, 8, 100}) {
        for (int crash_after : {6, 9, 12}) {
            Bench b;
            b.settle();
            const auto id = b.make(log::ObjectKind::stream, "s", stream_sql);    // entries 1, 2
            const auto view = b.make(log::ObjectKind::view, "v", view_sql, id);  // entries 3, 4
            (void)view;
            std::vector<std::string> batches;
            auto feed = [&](int i) {
                auto section = b.batch(id, i % 2, (i / 2) * 20, 20, t0 + i * 30'000 - (i % 5) * 100'000);
                return std::vector<log::Section>{section, log::CountsSection{id, 1, 0}};
            };
            if (checkpoint_after == 1) b.checkpoint();
            for (int i = 0; i < crash_after; i++) {
                REQUIRE(b.add(feed(i)).has_value());
                if (i % 2 == 0) b.settle();
                if (i + 1 == checkpoint_after) b.checkpoint();
            }
            b.settle();
            const auto before = b.digest();
            // The process dies; the log is replayed from the checkpoint on (and from the start where there was none).
            b.reopen_and_replay();
            CHECK(b.digest() == before);
            // And goes on as if nothing had happened.
            for (int i = crash_after; i < crash_after + 4; i++)
                REQUIRE(b.add(feed(i)).has_value());
            b.settle();
            CHECK(b.digest() != before);
        }
    }
}

TEST_CASE(
    "rule: a new leader answers when the index is whole: admission learns the ends, the runs and the ids that they "
    "lack",
    "[rule]") {
    Bench b;
    b.settle();
    const auto id = b.make(log::ObjectKind::stream, "s", stream_sql);
    REQUIRE(b.add({b.batch(id, 0, 0, 10, t0)}).has_value());
    b.checkpoint();
    REQUIRE(b.add({b.batch(id, 1, 0, 7, t0)}).has_value());
    b.settle();
    b.open(LogIndex(b.entries.size()));
    for (std::uint64_t index = 1; index <= b.entries.size(); index++)
        REQUIRE(b.apply_bytes(index, b.entries[index - 1], false).has_value());
    b.settle();
    REQUIRE(b.recovered.size() == 1);
    CHECK(b.recovered[0].end_offsets == std::vector<std::int64_t>{10, 7});
    CHECK(b.recovered[0].recent.size() == 7);
    REQUIRE(b.recovered[0].runs.size() == 1);
    CHECK(b.recovered[0].runs[0]->find({3, 1}).value()->offset() == 3);
}

TEST_CASE(
    "rule: nobody sees the past: retention moves the log start at once, the unlink waits for checkpoint and longest "
    "read",
    "[rule]") {
    Bench b;
    b.settle();
    const auto id = b.make(log::ObjectKind::stream, "s", stream_sql);
    for (int i = 0; i < 40; i++)
        REQUIRE(b.add({b.batch(id, 0, i * 20, 20, t0)}).has_value());
    b.checkpoint();
    const auto dir = partition_dir(b.dir.path() + "/shard", id, 0);
    const auto before = b.disk->list(dir).value().size();
    REQUIRE(b.add({log::Retain{id, 1'700'000'000'000 + 20 * 1000, -1, INT64_MIN}}).has_value());
    b.settle();
    CHECK(b.disk->list(dir).value().size() == before);
    b.clock.advance_ms(10'000);
    b.settle();
    CHECK(b.disk->list(dir).value().size() == before);  // no checkpoint knows of it yet
    b.checkpoint();
    b.clock.advance_ms(10'000);
    b.settle();
    CHECK(b.disk->list(dir).value().size() < before);
    b.open(LogIndex(b.entries.size()));
    b.settle();
    CHECK(b.recovered.at(0).end_offsets[0] == 800);
}

TEST_CASE("rule: replay is silent: files that no checkpoint lists go at the start, foreign ones stay", "[rule]") {
    Bench b;
    b.settle();
    const auto id = b.make(log::ObjectKind::stream, "s", stream_sql);
    b.checkpoint();
    const std::string streams = b.dir.path() + "/shard/streams";
    REQUIRE(b.disk->make_dirs(streams + "/0_99/p0").has_value());
    REQUIRE(b.disk->make_dirs(streams + "/mine").has_value());
    REQUIRE(b.disk->make_dirs(stream_dir(b.dir.path() + "/shard", id) + "/dedup").has_value());
    REQUIRE(os::replace_file(*b.disk, stream_dir(b.dir.path() + "/shard", id) + "/dedup/run77.dd", "x").has_value());
    b.open(LogIndex(b.entries.size()));
    b.settle();
    const auto names = b.disk->list(streams).value();
    CHECK(names == std::vector<std::string>{id.file_text(), "mine"});
    CHECK(b.disk->list(stream_dir(b.dir.path() + "/shard", id) + "/dedup").value().empty());
}

TEST_CASE("rule: replay is silent: SQLite behind the checkpoint is corruption, said with what to do", "[rule]") {
    Bench b;
    b.settle();
    b.make(log::ObjectKind::stream, "s", stream_sql);
    b.checkpoint();
    b.applier.reset();
    for (const char* name : {"/shard/view.db", "/shard/view.db-wal", "/shard/view.db-shm"})
        (void)b.disk->remove(b.dir.path() + name);
    ApplyOptions options;
    options.dir = b.dir.path() + "/shard";
    auto opened = Applier::open(options, *b.disk, b.clock, *b.state,
                                {[](auto) {}, [](auto&&) {}, [](auto&&) {}, [](auto) {}, [](auto) {}, [] {},
                                 [](auto&&, auto) {}, [](auto, auto) {}, [](bool) {}, [](auto&&) {}});
    REQUIRE_FALSE(opened.has_value());
    CHECK(opened.error().code == Errc::corrupt);
    CHECK(opened.error().detail.find("backup") != std::string::npos);
}

TEST_CASE("rule: replay is silent: a log or state store that was lost is corruption, before any file is removed",
          "[rule]") {
    Bench b;
    b.settle();
    const auto id = b.make(log::ObjectKind::stream, "s", stream_sql);
    REQUIRE(b.add({b.batch(id, 0, 0, 20, t0)}).has_value());
    b.settle();
    b.applier.reset();
    auto refused = [&](LogIndex last_at_start, LogIndex wal_checkpoint) {
        ApplyOptions options;
        options.dir = b.dir.path() + "/shard";
        options.last_at_start = last_at_start;
        options.wal_checkpoint = wal_checkpoint;
        auto opened = Applier::open(options, *b.disk, b.clock, *b.state,
                                    {[](auto) {}, [](auto&&) {}, [](auto&&) {}, [](auto) {}, [](auto) {}, [] {},
                                     [](auto&&, auto) {}, [](auto, auto) {}, [](bool) {}, [](auto&&) {}});
        REQUIRE_FALSE(opened.has_value());
        CHECK(opened.error().code == Errc::corrupt);
        CHECK(b.disk->list(stream_dir(b.dir.path() + "/shard", id) + "/p0").value().size() == 2);
    };
    refused(LogIndex(0), LogIndex(0));                 // the log is gone; SQLite has seen three entries
    refused(LogIndex(b.entries.size()), LogIndex(2));  // the log was cut at a checkpoint that the state store lacks
}

TEST_CASE("apply: names that differ only in case are one name") {
    Bench b;
    b.settle();
    b.make(log::ObjectKind::stream, "raw", stream_sql);
    REQUIRE(b.add({log::CatalogPut{log::ObjectKind::stream, "RAW", stream_sql}}, true).has_value());
    b.settle();
    CHECK(b.answers.back().error().code == Errc::already_exists);
}

TEST_CASE("apply: an idle stream is retained down to nothing; late rows and the journal go with the events") {
    Bench b;
    b.settle();
    const auto id = b.make(log::ObjectKind::stream, "s", stream_sql);
    b.make(log::ObjectKind::view, "v", view_sql, id);
    REQUIRE(b.add({b.batch(id, 0, 0, 20, t0)}).has_value());
    REQUIRE(b.add({b.batch(id, 0, 20, 20, t0 - 3'600'000)}).has_value());  // late
    b.settle();
    CHECK(b.digest().find("0-25") != std::string::npos);
    REQUIRE(b.add({log::Retain{id, 1'800'000'000'000, -1, INT64_MIN}}).has_value());
    b.settle();
    CHECK(b.digest().find("0-25") == std::string::npos);
    b.checkpoint();
    b.clock.advance_ms(10'000);
    b.settle();
    CHECK(b.disk->list(partition_dir(b.dir.path() + "/shard", id, 0)).value().empty());
    CHECK(b.disk->list(stream_dir(b.dir.path() + "/shard", id) + "/journal").value().empty());
    // And goes on at the next offset, also after a restart.
    b.open(LogIndex(b.entries.size()));
    b.settle();
    CHECK(b.recovered.at(0).end_offsets[0] == 40);
    REQUIRE(b.add({b.batch(id, 0, 40, 5, t0)}).has_value());
    b.settle();
    b.checkpoint();
}

TEST_CASE("apply: a stream that a view needs is not dropped; afterwards its folder goes") {
    Bench b;
    b.settle();
    const auto id = b.make(log::ObjectKind::stream, "s", stream_sql);
    const auto view = b.make(log::ObjectKind::view, "v", view_sql, id);
    b.answers.clear();
    REQUIRE(b.add({log::DropStream{id}}, true).has_value());
    b.settle();
    REQUIRE(b.answers.size() == 1);
    CHECK(b.answers[0].error().code == Errc::conflict);
    REQUIRE(b.add({log::DropView{view}}, true).has_value());
    REQUIRE(b.add({log::DropStream{id}}, true).has_value());
    b.settle();
    b.checkpoint();
    b.clock.advance_ms(5000);
    b.settle();
    CHECK(b.disk->list(b.dir.path() + "/shard/streams").value().empty());
    std::size_t left = 0;
    REQUIRE(b.state
                ->scan("",
                       [&](std::string_view key, std::string_view) {
                           left += key != applied_key && key[0] != 'c' ? 1 : 0;
                           return true;
                       })
                .has_value());
    CHECK(left == 0);
}

}  // namespace weir::apply
