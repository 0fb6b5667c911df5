#include "apply/tables.h"
#include "fakes.h"
#include "store/database.h"
#include "support/temp_dir.h"

#include <catch2/catch_test_macros.hpp>

using namespace weir;
using namespace weir::http::test;

TEST_CASE("A page of streams") {
    Door door;
    door.pool.script([](const query::QueryRequest&, query::ResultSink& sink) -> Result<query::QuerySummary> {
        sink.columns({{"name", "TEXT"}, {"events", "INTEGER"}});
        for (const char* name : {"a", "b", "c"})
            if (!sink.row({store::Value::of(std::string_view(name)), store::Value::of(std::int64_t{5})}))
                return Error{Errc::cancelled, "stopped"};
        return query::QuerySummary{LogIndex(1), false, 3};
    });
    auto f = [&](std::string_view query, int status, std::string_view part) {
        const Response r = door.ask(request("GET", "/v1/streams" + std::string(query)));
        INFO(query << "\n" << r.body);
        CHECK(r.status == status);
        CHECK(has(r.body, part));
    };
    f("", 200,
      "{\"streams\":[{\"name\":\"a\",\"events\":5},{\"name\":\"b\",\"events\":5},{\"name\":\"c\",\"events\":5}],"
      "\"next\":null}");
    f("?limit=2", 200, "],\"next\":\"b\"}");
    f("?limit=2&sort=-events", 200, "],\"next\":\"5:b\"}");
    CHECK(has(door.pool.last().sql, "ORDER BY s.events DESC, s.name LIMIT 3"));
    f("?limit=2&sort=-events&after=5:b", 200, "streams");
    CHECK(has(door.pool.last().sql, "(s.events < 5 OR (s.events = 5 AND s.name > 'b'))"));
    f("?prefix=o'x&after=a", 200, "streams");
    CHECK(has(door.pool.last().sql, "substr(s.name, 1, length('o''x')) = 'o''x' AND s.name > 'a'"));
    f("?sort=name;drop", 400, "sort is");
    f("?limit=0", 400, "limit");
    f("?limit=1001", 400, "limit");
    f("?sort=events&after=b", 400, "after");
    f("?prefx=a", 400, "unknown parameter");
    door.catalog.shard.is_ready = false;
    f("", 503, "recovering");
}

TEST_CASE("Views and the cluster") {
    Door door;
    door.pool.script([](const query::QueryRequest&, query::ResultSink& sink) -> Result<query::QuerySummary> {
        sink.columns({{"name", "TEXT"}, {"progress", "REAL"}});
        sink.row({store::Value::of(std::string_view("v")), store::Value::of(1.0)});
        return query::QuerySummary{LogIndex(1), false, 1};
    });
    CHECK(door.ask(request("GET", "/v1/views")).body == "{\"views\":[{\"name\":\"v\",\"progress\":1.0}]}\n");
    const Response r = door.ask(request("GET", "/v1/cluster"));
    CHECK(has(r.body, "{\"nodes\":[{\"name\":\"n1\",\"role\":\"leader\",\"address\":\"127.0.0.1:"));
    CHECK(has(r.body, "\"shards\":[{\"shard\":0,\"leader\":\"n1\",\"ready\":true,\"committed\":7,\"visible\":7}]"));
}

TEST_CASE("One stream") {
    const weir::test::TempDir dir;
    {
        auto db = store::Database::open(dir.file("view.db"), {});
        REQUIRE(db);
        REQUIRE(db.value()->exec(apply::tables_ddl));
        const std::string id = std::to_string(ObjectId{ShardId(0), LogIndex(3)}.packed());
        REQUIRE(
            db.value()->exec("INSERT INTO _applied VALUES(1, 12, 0);"
                             "INSERT INTO _ends VALUES(" +
                             id + ", 1, 5, 25, 0, 0, 0), (" + id +
                             ", -1, 0, 3, 0, 0, 0);"
                             "INSERT INTO _counters VALUES(" +
                             id + ", 20, 3, 2, 1);"));
    }
    Door door;
    door.catalog.shard.dir = dir.path();
    const Response r = door.ask(request("GET", "/v1/streams/clicks"));
    INFO(r.body);
    CHECK(r.status == 200);
    CHECK(has(r.body, "{\"name\":\"clicks\",\"id\":\"0:3\",\"leader\":\"n1\",\"shard\":0,"));
    CHECK(has(r.body,
              "\"partitions\":[{\"partition\":0,\"leader\":\"n1\",\"start_offset\":0,\"end_offset\":0},"
              "{\"partition\":1,\"leader\":\"n1\",\"start_offset\":5,\"end_offset\":25},"));
    CHECK(has(r.body,
              "\"columns\":[{\"name\":\"event_id\",\"type\":\"TEXT\",\"path\":\"$.event_id\",\"not_null\":false}"));
    CHECK(has(r.body, "\"settings\":{\"partitions\":4,\"retain\":\"7d\""));
    CHECK(
        has(r.body, "\"counters\":{\"received\":26,\"stored\":20,\"duplicate\":3,\"dead_lettered\":2,\"refused\":1}"));
    CHECK(has(r.body, "\"applied_index\":\"0:12\""));
    CHECK(door.ask(request("GET", "/v1/streams/none")).status == 404);
    CHECK(door.ask(request("GET", "/v1/streams/%2e%2e")).status == 404);
}

TEST_CASE("What a request for events may say") {
    Door door;
    auto f = [&](std::string_view target, int status, std::string_view part) {
        const Response r = door.ask(request("GET", "/v1/streams/" + std::string(target)));
        INFO(target << "\n" << r.body);
        CHECK(r.status == status);
        CHECK(has(r.body, part));
    };
    f("none/events", 404, "not_found");
    f("clicks/events?where=a&last=3", 400, "last counts all events");
    f("clicks/events?where=(a", 400, "'(' without ')'");
    f("clicks/events?where=1;2", 400, "\"position\":1");
    f("clicks/events?from=yesterday", 400, "RFC 3339");
    f("clicks/events?from=9:1:0", 400, "another shard");
    f("clicks/events?limit=0", 400, "limit");
    f("clicks/events?limit=10001", 400, "limit");
    f("clicks/events?last=x", 400, "last");
    f("clicks/events?form=end", 400, "unknown parameter");
    door.catalog.shard.is_ready = false;
    f("clicks/events", 503, "recovering");
    // The names of what there is come with the last of the log: until then no name is unknown.
    f("none/events", 503, "recovering");
    f("none", 503, "recovering");
}
