#include "query/where.h"

#include "small_shard.h"

#include <catch2/catch_test_macros.hpp>

#include <string>
#include <vector>

using namespace weir;
using namespace weir::query;
using namespace weir::query::test;

namespace {

// A stream of 2 partitions, read with expressions that the real worker evaluates.
struct Filtered {
    SmallShard shard;
    record::StreamPtr stream = shard.add_stream(5, access_statement);
    std::unique_ptr<Pool> pool;
    std::unique_ptr<EventReader> reader;
    WhereQuery query;

    Filtered() {
        for (int i = 0; i < 20; ++i)
            shard.entry(*stream, ms("2024-05-01T00:00:00Z") + i * 1000,
                        {{i % 2, {access_event(3 * i, i * 1000), access_event(3 * i + 1, i * 1000)}},
                         {1 - i % 2, {access_event(3 * i + 2, i * 1000)}}});
        shard.commit();
        PoolOptions options;
        options.program = WEIR_TEST_WORKER;
        options.shard_dir = shard.dir();
        options.workers_max = 1;
        pool = Pool::make(options);
        reader = must(EventReader::open(shard.disk(), shard.dir()));
        query.events.shard_dir = shard.dir();
        query.events.stream = stream->id;
        query.events.limit = 1000;
        query.stream = "access";
        query.timeout_ms = 20'000;
        query.now_ms = ms("2024-05-01T00:00:10Z");
    }
    // Numbers of the events, by their ids, and where the page ends.
    std::string text(const std::string& where) {
        query.where = where;
        const auto page = read_where(*reader, *pool, query);
        if (!page) return std::string(errc_name(page.error().code)) + ": " + page.error().detail;
        std::string out;
        for (const Event& event : page.value().events) {
            const std::size_t at = event.value.find(":\"e") + 3;
            out += event.value.substr(at, event.value.find('"', at) - at) + " ";
        }
        return out + "of " + std::to_string(page.value().scanned) + " next " + page.value().next.text();
    }
    std::string check(const std::string& where) {
        query.where = where;
        const Status good = check_where(*pool, query);
        if (good) return "good";
        return std::string(errc_name(good.error().code)) + "@" + std::to_string(good.error().position);
    }
};

}  // namespace

TEST_CASE("where= keeps the events that satisfy it, in log order, over all partitions") {
    Filtered f;
    CHECK(f.text("event_id = 'e7'") == "7 of 60 next 0:21:0");
    CHECK(f.text("event_id IN ('e59', 'e0', 'e31', 'e30')") == "0 30 31 59 of 60 next 0:21:0");
    CHECK(f.text("status = 299") == "of 60 next 0:21:0");
    CHECK(f.text("1 -- to the end").starts_with("0 1 2 3 4 5 "));
    // Hidden columns, time literals and the functions of queries mean what they mean in SELECT.
    CHECK(f.text("_partition = 1 AND _offset < 3") == "2 3 4 of 60 next 0:21:0");
    CHECK(f.text("_append_time >= '2024-05-01T00:00:18Z'") == "54 55 56 57 58 59 of 60 next 0:21:0");
    CHECK(f.text("_append_time > ago('1s') AND _append_time < now() + 1000") == "30 31 32 of 60 next 0:21:0");
    CHECK(f.text("ts BETWEEN '1970-01-01T00:00:02Z' AND '1970-01-01T00:00:03Z' AND path LIKE '%8'") ==
          "8 of 60 next 0:21:0");
}

TEST_CASE("where= reads in steps: what was looked at is behind the cursor, what did not fit is not") {
    Filtered f;
    for (const std::uint32_t scan : {1u, 2u, 5u, 7u, 59u, 60u}) {
        for (const std::uint32_t limit : {1u, 3u, 100u}) {
            INFO(scan << " " << limit);
            f.query.events.from = EventQuery::From::beginning;
            f.query.events.limit = limit;
            f.query.scan_max = scan;
            f.query.where = "status = 201";
            std::string all;
            std::uint64_t scanned = 0;
            for (int steps = 0; steps < 100; ++steps) {
                const EventPage page = must(read_where(*f.reader, *f.pool, f.query));
                CHECK(page.events.size() <= limit);
                for (const Event& event : page.events)
                    all += event.cursor.text() + " ";
                scanned += page.scanned;
                f.query.events.from = EventQuery::From::cursor;
                f.query.events.cursor = page.next;
                f.query.events.at = page.at;
                if (page.at_end) break;
            }
            std::string want;
            for (int i = 1; i <= 20; ++i)
                want += "0:" + std::to_string(i) + ":1 ";
            CHECK(all == want);
            CHECK(scanned == 60);
        }
    }
}

TEST_CASE("where= is one expression and nothing more") {
    Filtered f;
    CHECK(f.check("status >= 200 AND path IS NOT NULL") == "good");
    CHECK(f.check("(status)") == "good");
    CHECK(f.check("access.status = 200 /* and */ -- more") == "good");
    CHECK(f.check("1) OR (1").starts_with("invalid_argument@1"));
    CHECK(f.check("1; DROP STREAM access") == "invalid_argument@1");
    CHECK(f.check("") == "invalid_argument@0");
    CHECK(f.check("  -- nothing").starts_with("invalid_argument@"));
    CHECK(f.check("status = ?") == "invalid_argument@9");
    CHECK(f.check("(status = 1") == "invalid_argument@11");
    CHECK(f.check("'open").starts_with("invalid_argument@0"));
    CHECK(f.check("status IN (SELECT 1)") == "forbidden@11");
    CHECK(f.check("count(*) > 1").starts_with("invalid_argument"));
    CHECK(f.check("nothing_such = 1") == "not_found@0");
    CHECK(f.check("status + nothing_such = 1") == "not_found@9");
    CHECK(f.check("status = = 1").starts_with("invalid_argument@9"));
    CHECK(f.check(std::string(5000, ' ') + "1").starts_with("too_large"));
    CHECK(f.check("1 UNION ALL VALUES (1, 2)").starts_with("forbidden"));
    CHECK(f.check("load_extension('x')").starts_with("forbidden"));
}

TEST_CASE("where= over more partitions than a statement holds") {
    Filtered f;
    const auto wide = f.shard.add_stream(300, "CREATE STREAM wide (n INTEGER) PARTITIONS 40");
    std::vector<TestBatch> batches;
    for (PartitionNo p = 0; p < 40; ++p)
        batches.push_back({p, {{1, "{\"n\":" + std::to_string(p) + "}"}, {1, "{\"n\":" + std::to_string(-p) + "}"}}});
    f.shard.entry(*wide, 1, batches);
    f.shard.commit();
    f.query.events.stream = wide->id;
    f.query.stream = "wide";
    f.query.where = "n % 10 = 0 AND n > 0";
    const EventPage page = must(read_where(*f.reader, *f.pool, f.query));
    REQUIRE(page.events.size() == 3);
    CHECK(page.events[0].value == "{\"n\":10}");
    CHECK(page.events[2].cursor.ordinal == 60);
    CHECK(page.scanned == 80);
}
