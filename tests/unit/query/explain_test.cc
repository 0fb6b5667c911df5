#include "query/explain.h"

#include "query/pool.h"
#include "small_shard.h"

#include <catch2/catch_test_macros.hpp>

#include <string>

using namespace weir;
using namespace weir::query;
using namespace weir::query::test;

namespace {

struct Lines final : ResultSink {
    bool columns(const std::vector<QueryColumn>& columns) override {
        CHECK((columns.size() == 1 && columns[0].name == "plan" && columns[0].type == "TEXT"));
        return true;
    }
    bool row(const std::vector<store::Value>& values) override {
        all += std::string(values[0].text) + "\n";
        return true;
    }
    std::string all;
};

struct Explained {
    SmallShard shard;
    record::StreamPtr access = shard.add_stream(5, access_statement);
    std::unique_ptr<Pool> pool;
    Explained() {
        for (int i = 0; i < 300; ++i)
            shard.entry(*access, 1000 + i, {{i % 2, {access_event(i, 60'000 * i)}}});
        shard.add_view(400, *access,
                       "CREATE MATERIALIZED VIEW v AS SELECT window_start, count(*) AS n FROM TUMBLE(access, 1h) "
                       "GROUP BY 1 LATENESS 2h");
        shard.exec("INSERT INTO v0_400 VALUES (x'01', 0, 60), (x'02', 3600000, 60)");
        shard.exec("UPDATE _objects SET state = 'live', progress = 1 WHERE name = 'v'");
        shard.exec("INSERT OR REPLACE INTO _views VALUES (400, 2, 13, 1, 10, 2, 7)");
        shard.exec("INSERT INTO _windows VALUES (400, 0, 3600000, 3), (400, 3600000, 7200000, 4)");
        shard.commit();
        PoolOptions options;
        options.program = WEIR_TEST_WORKER;
        options.shard_dir = shard.dir();
        pool = Pool::make(options);
    }
    // The lines, or "error_name position: detail".
    std::string explain(const std::string& text) {
        QueryRequest request;
        request.sql = text;
        request.now_ms = 1'000'000;
        Lines lines;
        const auto ran = pool->run(request, lines);
        if (ran) return lines.all;
        return std::string(errc_name(ran.error().code)) + " " + std::to_string(ran.error().position) + ": " +
               ran.error().detail;
    }
};

}  // namespace

TEST_CASE("EXPLAIN is told from EXPLAIN QUERY PLAN and EXPLAIN VIEW") {
    CHECK_FALSE(read_explain("SELECT 1"));
    CHECK_FALSE(read_explain("explain query plan SELECT 1"));
    CHECK_FALSE(read_explain("EXPLAIN"));
    CHECK_FALSE(read_explain("EXPLAIN 'x"));
    CHECK(read_explain("Explain /* x */ SELECT 1")->text == "        /* x */ SELECT 1");
    CHECK(read_explain("EXPLAIN VIEW \"my-view\"")->is_view);
    CHECK(read_explain("EXPLAIN VIEW \"my-view\"")->text == "my-view");
}

TEST_CASE("EXPLAIN: partitions, offsets and times that a scan is cut to") {
    Explained e;
    const auto tells = [&](const std::string& query, const std::string& want) {
        const std::string got = e.explain("EXPLAIN SELECT " + query);
        INFO(got);
        CHECK(got.substr(0, got.find('\n')) == "scan access: " + want);
    };
    tells("path FROM access", "all 2 partitions: at most 300 events; decodes path");
    tells("count(*) FROM access",
          "all 2 partitions: at most 300 events, counted by their offsets without reading the log");
    tells("_value FROM access", "all 2 partitions: at most 300 events, whose JSON is not decoded");
    tells("status, path FROM access WHERE _partition = 1",
          "partitions 1 of 2: at most 150 events; decodes status, path");
    tells("path FROM access WHERE _offset BETWEEN 10 AND 19",
          "all 2 partitions, offset 10 to 19: at most 20 events; decodes path");
    tells("path FROM access WHERE _offset >= 149 AND _partition = 0",
          "partitions 0 of 2, offset from 149: at most 1 events; decodes path");
    tells("path FROM access WHERE ts < '1970-01-01T01:00:00Z'",
          "all 2 partitions, batches with event times up to 1970-01-01T00:59:59.999Z: at most 300 events; decodes "
          "path, ts");
    tells("path FROM access WHERE ts >= ago('15m')",
          "all 2 partitions, batches with event times from 1970-01-01T00:01:40.000Z: at most 300 events; decodes path, "
          "ts");
    tells("path FROM access WHERE _partition = 7",
          "reads nothing: no partition, offset or time satisfies the conditions");
    tells("path FROM access WHERE status = 200", "all 2 partitions: at most 300 events; decodes status, path");
}

TEST_CASE("EXPLAIN: the engine's plan follows, and a query that cannot run says why") {
    Explained e;
    const std::string grouped = e.explain("EXPLAIN SELECT status, count(*) FROM access a GROUP BY status");
    CHECK(grouped.find("\nSCAN a\nUSE TEMP B-TREE FOR GROUP BY\n") != std::string::npos);
    CHECK(grouped.find("VIRTUAL") == std::string::npos);
    const std::string view = e.explain("EXPLAIN SELECT n FROM v WHERE window_start > '2015-05-18'");
    CHECK(view.starts_with("SCAN "));
    CHECK(view.find("w_") == std::string::npos);  // the names behind views are nobody's business
    CHECK(e.explain("EXPLAIN VALUES (1)") == "SCAN CONSTANT ROW\n");
    CHECK(e.explain("EXPLAIN SELECT zzz FROM access").starts_with("not_found 15: "));
    CHECK(e.explain("EXPLAIN SELECT * FROM nowhere").starts_with("not_found"));
    CHECK(e.explain("EXPLAIN SELECT * FROM _objects").starts_with("not_found"));
    CHECK(e.explain("EXPLAIN EXPLAIN SELECT 1").starts_with("invalid_argument"));
    CHECK(e.explain("EXPLAIN WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c) SELECT count(*) FROM c")
              .find("RECURSIVE STEP") != std::string::npos);
}

TEST_CASE("EXPLAIN VIEW: state, watermarks, and why a window is not final") {
    Explained e;
    e.shard.exec("INSERT INTO _watermarks VALUES (400, 0, 7000000, 8800000, 0), (400, 1, NULL, NULL, 1)");
    const std::string head =
        "v: live, over stream access\n"
        "windows of 1h, LATENESS 2h, EMIT CHANGES\n"
        "2 rows; seen 13 = filtered 1 + windowed 10 + late 2\n";
    const std::string waits = e.explain("EXPLAIN VIEW v");
    INFO(waits);
    CHECK(waits.starts_with(head + "state: 7 groups in 2 windows, 0 of them final and kept for LATENESS\n"));
    CHECK(waits.find("watermark: none yet, the least of 2 partitions") != std::string::npos);
    CHECK(waits.find("  partition 1: watermark none, highest event time none, idle\n") != std::string::npos);
    CHECK(waits.find("not final: partition 1 has no record yet") != std::string::npos);
    e.shard.exec("UPDATE _watermarks SET watermark = 3600000, max_event_time = 5400000 WHERE partition = 1");
    const std::string slow = e.explain("EXPLAIN VIEW V");
    INFO(slow);
    CHECK(slow.starts_with(head + "state: 7 groups in 2 windows, 1 of them final and kept for LATENESS\n"));
    CHECK(slow.find("watermark: 1970-01-01T01:00:00.000Z, the least of 2 partitions") != std::string::npos);
    CHECK(
        slow.find("the window 1970-01-01T01:00:00.000Z to 1970-01-01T02:00:00.000Z is not final: partition 1 holds the "
                  "watermark back, 1h before its end\n") != std::string::npos);
    CHECK(slow.find("FLUSH v") != std::string::npos);
    e.shard.exec("UPDATE _watermarks SET watermark = 7200000");
    const std::string done = e.explain("EXPLAIN VIEW v");
    CHECK(done.find("2 of them final") != std::string::npos);
    CHECK(done.find("not final") == std::string::npos);
    CHECK(e.explain("EXPLAIN VIEW access").starts_with("not_found"));
    CHECK(e.explain("EXPLAIN VIEW nowhere").starts_with("not_found"));
    e.shard.exec("DELETE FROM _watermarks; DELETE FROM _windows");
    CHECK(e.explain("EXPLAIN VIEW v").ends_with("no event yet: no watermark, no window\n"));
}
