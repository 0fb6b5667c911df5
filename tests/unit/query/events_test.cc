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

TEST_CASE("events in log order, page by page") {
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
