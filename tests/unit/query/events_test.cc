#include "query/events.h"

#include "small_shard.h"

#include <catch2/catch_test_macros.hpp>

#include <string>
#include <vector>

using namespace weir;
using namespace weir::query;
using namespace weir::query::test;

namespace {

class Reading {
  public:
    explicit Reading(SmallShard& shard, const record::Stream& stream) : shard_(shard) {
        query.shard_dir = shard.dir();
        query.stream = stream.id;
    }
    EventPage page() { return must(read_events(shard_.disk(), query)); }
    // "partition/offset@cursor ..." and the next cursor.
    std::string text() {
        const EventPage p = page();
        std::string out;
        for (const Event& event : p.events) {
            out +=
                std::to_string(event.partition) + "/" + std::to_string(event.offset) + "@" + event.cursor.text() + " ";
        }
        return out + "next " + p.next.text();
    }
    EventQuery query;

  private:
    SmallShard& shard_;
};

}  // namespace

TEST_CASE("cursors as text") {
    const Cursor cursor{ShardId(3), LogIndex(17), 4};
    CHECK(cursor.text() == "3:17:4");
    const Cursor parsed = Cursor::parse("3:17:4").value();
    CHECK(parsed.shard == cursor.shard);
    CHECK(parsed.index == cursor.index);
    CHECK(parsed.ordinal == 4);
    CHECK(Cursor::parse("65535:18446744073709551615:4294967295").has_value());
    for (const char* bad : {"", "1", "1:2", "1:2:", ":2:3", "1::3", "1:2:3:4", "1:2:x", "1:2:-3", " 1:2:3", "65536:1:1",
                            "1:18446744073709551616:1", "1:1:4294967296"}) {
        INFO(bad);
        CHECK(Cursor::parse(bad).error().code == Errc::invalid_argument);
    }
}

TEST_CASE("rule: the journal holds what a batch cannot: events by cursor in log order, page by page", "[rule]") {
    SmallShard shard;
    const auto stream = shard.add_stream(5, access_statement);
    shard.entry(*stream, 100,
                {{0, {access_event(0, 1), access_event(1, 2)}}, {-1, {{1, "bad"}}}, {1, {access_event(2, 3)}}}, 10);
    shard.entry(*stream, 200, {}, 11);
    shard.entry(*stream, 300, {{1, {access_event(3, 4), access_event(4, 5)}, record::Codec::zstd}}, 20);
    shard.commit();
    Reading reading(shard, *stream);
    CHECK(reading.text() == "0/0@0:10:0 0/1@0:10:1 1/0@0:10:2 1/1@0:20:0 1/2@0:20:1 next 0:21:0");
    const EventPage page = reading.page();
    CHECK(page.events[0].value == access_event(0, 1).value);
    CHECK(page.events[4].value == access_event(4, 5).value);
    CHECK(page.events[2].append_time_ms == 100);
    CHECK(page.events[3].append_time_ms == 300);

    // Each page size gives the same events.
    for (std::uint32_t limit = 1; limit <= 6; ++limit) {
        reading.query.from = EventQuery::From::beginning;
        reading.query.limit = limit;
        std::string all;
        for (int pages = 0; pages < 10; ++pages) {
            const EventPage p = reading.page();
            if (p.events.empty()) break;
            CHECK(p.events.size() <= limit);
            for (const Event& event : p.events)
                all += event.value;
            reading.query.from = EventQuery::From::cursor;
            reading.query.cursor = p.next;
        }
        std::string want;
        for (int i = 0; i < 5; ++i)
            want += access_event(i, i + 1).value;
        CHECK(all == want);
    }
    reading.query.limit = 100;
    reading.query.bytes_max = 1;
    reading.query.from = EventQuery::From::beginning;
    CHECK(reading.text() == "0/0@0:10:0 next 0:10:1");
}

TEST_CASE("events from the end, a time, a cursor, and the last ones") {
    SmallShard shard;
    const auto stream = shard.add_stream(5, access_statement);
    shard.entry(*stream, 100, {{0, {access_event(0, 1), access_event(1, 2)}}}, 10);
    shard.entry(*stream, 200, {{1, {access_event(2, 3), access_event(3, 4)}}}, 12);
    shard.entry(*stream, 300, {{0, {access_event(4, 5)}}}, 15);
    shard.commit();
    Reading reading(shard, *stream);
    reading.query.from = EventQuery::From::end;
    CHECK(reading.text() == "next 0:16:0");
    reading.query.from = EventQuery::From::append_time;
    reading.query.append_time_ms = 200;
    CHECK(reading.text() == "1/0@0:12:0 1/1@0:12:1 0/2@0:15:0 next 0:16:0");
    reading.query.append_time_ms = 301;
    CHECK(reading.text() == "next 0:16:0");
    reading.query.from = EventQuery::From::cursor;
    reading.query.cursor = {ShardId(0), LogIndex(11), 7};
    CHECK(reading.text() == "1/0@0:12:0 1/1@0:12:1 0/2@0:15:0 next 0:16:0");
    reading.query.cursor = {ShardId(0), LogIndex(12), 1};
    CHECK(reading.text() == "1/1@0:12:1 0/2@0:15:0 next 0:16:0");
    reading.query.cursor = {ShardId(0), LogIndex(12), 99};
    CHECK(reading.text() == "0/2@0:15:0 next 0:16:0");
    reading.query.cursor = {ShardId(0), LogIndex(99), 5};
    CHECK(reading.text() == "next 0:99:5");
    reading.query.cursor = {ShardId(1), LogIndex(1), 0};
    CHECK(read_events(shard.disk(), reading.query).error().code == Errc::invalid_argument);

    reading.query.from = EventQuery::From::beginning;
    for (const auto& [last, want] : std::vector<std::pair<std::int64_t, std::string>>{
             {0, "next 0:16:0"},
             {1, "0/2@0:15:0 next 0:16:0"},
             {2, "1/1@0:12:1 0/2@0:15:0 next 0:16:0"},
             {3, "1/0@0:12:0 1/1@0:12:1 0/2@0:15:0 next 0:16:0"},
             {4, "0/1@0:10:1 1/0@0:12:0 1/1@0:12:1 0/2@0:15:0 next 0:16:0"},
             {99, "0/0@0:10:0 0/1@0:10:1 1/0@0:12:0 1/1@0:12:1 0/2@0:15:0 next 0:16:0"}}) {
        INFO(last);
        reading.query.last = last;
        CHECK(reading.text() == want);
    }
}

TEST_CASE("events: what retention took is passed over, what is missing is said") {
    SmallShard shard({1, 1});
    const auto stream = shard.add_stream(5, access_statement);
    shard.entry(*stream, 100, {{0, {access_event(0, 1)}}, {1, {access_event(1, 2)}}}, 10);
    shard.entry(*stream, 200, {{0, {access_event(2, 3)}}}, 11);
    shard.retain(*stream, 0, 1);
    shard.commit();
    Reading reading(shard, *stream);
    CHECK(reading.text() == "1/0@0:10:1 0/1@0:11:0 next 0:12:0");
    reading.query.last = 2;
    CHECK(reading.text() == "1/0@0:10:1 0/1@0:11:0 next 0:12:0");
    reading.query.last = -1;
    reading.query.stream = {ShardId(0), LogIndex(99)};
    CHECK(read_events(shard.disk(), reading.query).error().code == Errc::not_found);
    reading.query.shard_dir += "/none";
    CHECK(read_events(shard.disk(), reading.query).error().code == Errc::not_found);
}

TEST_CASE("events: an empty stream, and more partitions than readers are kept") {
    SmallShard shard;
    const auto empty = shard.add_stream(5, access_statement);
    const auto wide = shard.add_stream(6, "CREATE STREAM wide (a TEXT) PARTITIONS 40");
    for (int round = 0; round < 3; ++round) {
        std::vector<TestBatch> batches;
        for (PartitionNo p = 0; p < 40; ++p)
            batches.push_back({p, {{round, "{\"a\":\"" + std::to_string(round * 40 + p) + "\"}"}}});
        shard.entry(*wide, round, batches);
    }
    shard.commit();
    CHECK(Reading(shard, *empty).text() == "next 0:4:0");
    Reading reading(shard, *wide);
    reading.query.limit = 1000;
    const EventPage page = reading.page();
    REQUIRE(page.events.size() == 120);
    for (int i = 0; i < 120; ++i)
        CHECK(page.events[static_cast<std::size_t>(i)].value == "{\"a\":\"" + std::to_string(i) + "\"}");
}

TEST_CASE("events: what retention took behind a cursor is counted, and said where it cannot be counted") {
    SmallShard shard({1, 1});
    const auto stream = shard.add_stream(5, access_statement);
    shard.entry(*stream, 100, {{0, {access_event(0, 1), access_event(1, 1)}}, {1, {access_event(2, 2)}}}, 10);
    shard.entry(*stream, 200, {{0, {access_event(3, 3)}}}, 11);
    shard.entry(*stream, 300, {{1, {access_event(4, 4)}}}, 12);
    shard.retain(*stream, 0, 2);
    shard.commit();
    Reading reading(shard, *stream);
    CHECK_FALSE(reading.page().skipped.any());  // the beginning is where retention left it
    reading.query.from = EventQuery::From::cursor;
    reading.query.cursor = {ShardId(0), LogIndex(10), 1};
    CHECK(reading.text() == "1/0@0:10:2 0/2@0:11:0 1/1@0:12:0 next 0:13:0");
    CHECK(reading.page().skipped.events == 1);
    CHECK_FALSE(reading.page().skipped.uncounted);
    reading.query.cursor = {ShardId(0), LogIndex(10), 2};
    CHECK_FALSE(reading.page().skipped.any());
    // Within the entry of the cursor, too, each event's place stays what it was.
    reading.query.cursor = {ShardId(0), LogIndex(5), 0};
    CHECK(reading.page().skipped.events == 2);

    shard.retain(*stream, 0, 3);
    shard.cut_journal(*stream, 1000);
    shard.entry(*stream, 2000, {{0, {access_event(5, 5)}}}, 20);
    shard.commit();
    CHECK(reading.text() == "0/3@0:20:0 next 0:21:0");
    CHECK(reading.page().skipped.uncounted);
    reading.query.cursor = {ShardId(0), LogIndex(20), 0};
    CHECK_FALSE(reading.page().skipped.any());
    reading.query.cursor = {ShardId(0), LogIndex(21), 0};
    CHECK_FALSE(reading.page().skipped.any());
    reading.query.cursor = {ShardId(0), LogIndex(0), 0};
    CHECK_FALSE(reading.page().skipped.any());
}

TEST_CASE("events: one reader goes on from page to page as others would") {
    SmallShard shard;
    const auto stream = shard.add_stream(5, access_statement);
    for (int i = 0; i < 30; ++i)
        shard.entry(*stream, 100 + i, {{i % 2, {access_event(2 * i, i), access_event(2 * i + 1, i)}}});
    shard.commit();
    auto reader = must(EventReader::open(shard.disk(), shard.dir()));
    Reading fresh(shard, *stream);
    EventQuery query = fresh.query;
    query.limit = 7;
    std::string all;
    int events = 0;
    for (int pages = 0; pages < 30; ++pages) {
        const EventPage page = must(reader->read(query));
        for (const Event& event : page.events) {
            all += event.value;
            ++events;
        }
        CHECK(page.scanned == page.events.size());
        query.from = EventQuery::From::cursor;
        query.cursor = page.next;
        query.at = page.at;
        if (page.at_end && events == 60) break;
        if (page.at_end) {
            shard.entry(*stream, 200, {{0, {access_event(events, 1)}}});
            shard.commit();
        }
    }
    fresh.query.limit = 1000;
    std::string want;
    for (const Event& event : fresh.page().events)
        want += event.value;
    CHECK(all == want);
    // A time is looked for in the journal alone.
    query.from = EventQuery::From::append_time;
    query.append_time_ms = 128;
    query.limit = 100;
    CHECK(must(reader->read(query)).events.size() == 4);
}

TEST_CASE("events: a plan is what a page would be made of") {
    SmallShard shard;
    const auto stream = shard.add_stream(5, access_statement);
    shard.entry(*stream, 100, {{0, {access_event(0, 1), access_event(1, 2)}}, {1, {access_event(2, 3)}}}, 10);
    shard.entry(*stream, 300, {{1, {access_event(3, 4), access_event(4, 5)}}}, 20);
    shard.commit();
    auto reader = must(EventReader::open(shard.disk(), shard.dir()));
    EventQuery query = Reading(shard, *stream).query;
    query.limit = 4;
    const EventPlan plan = must(reader->plan(query));
    CHECK(plan.events == 4);
    REQUIRE(plan.batches.size() == 3);
    CHECK(plan.batches[2].from_offset == 1);
    CHECK(plan.batches[2].to_offset == 2);
    CHECK(plan.page.next.text() == "0:20:1");
    CHECK_FALSE(plan.page.at_end);
    auto text = [&](const std::vector<std::uint64_t>& chosen, std::uint32_t limit) {
        query.limit = limit;
        const EventPage page = must(reader->read_planned(query, plan, chosen));
        std::string out;
        for (const Event& event : page.events)
            out += event.cursor.text() + "=" + std::to_string(event.offset) + " ";
        return out + "next " + page.next.text() + " of " + std::to_string(page.scanned);
    };
    CHECK(text({}, 10) == "next 0:20:1 of 4");
    CHECK(text({1, 3}, 10) == "0:10:1=1 0:20:0=1 next 0:20:1 of 4");
    CHECK(text({1, 2, 3}, 1) == "0:10:1=1 next 0:10:2 of 2");
    query.limit = 100;
    CHECK(must(reader->plan(query)).page.at_end);
}
