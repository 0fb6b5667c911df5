#include "fakes.h"

#include <catch2/catch_test_macros.hpp>

#include <atomic>
#include <thread>

using namespace weir;
using namespace weir::http::test;

namespace {

std::string ask_sql(std::string_view statement, std::string_view query = {}) {
    return request("POST", "/v1/sql" + std::string(query), "Content-Type: text/plain\r\n", statement);
}

}  // namespace

TEST_CASE("A SELECT in every format") {
    Door door;
    auto f = [&](std::string_view query, std::string_view type, std::string_view want) {
        const Response r = door.ask(ask_sql("SELECT n, t FROM clicks", query));
        INFO(query << r.head << r.body);
        CHECK(r.status == 200);
        CHECK(r.field("Content-Type").starts_with(type));
        CHECK(r.body == want);
    };
    f("", "application/json",
      "{\"columns\":[{\"name\":\"n\",\"type\":\"INTEGER\"},{\"name\":\"t\",\"type\":\"TIMESTAMP\"}],"
      "\"rows\":[[9007199254740993,\"2015-05-17T10:05:04.000Z\"]],\"truncated\":false,\"applied_index\":\"0:17\","
      "\"elapsed_ms\":0.000}\n");
    f("?format=ndjson", "application/x-ndjson", "{\"n\":9007199254740993,\"t\":\"2015-05-17T10:05:04.000Z\"}\n");
    f("?format=csv", "text/csv", "n,t\n9007199254740993,2015-05-17T10:05:04.000Z\n");
    f("?format=JSON", "application/json",
      "{\"meta\":[{\"name\":\"n\",\"type\":\"INTEGER\"},{\"name\":\"t\",\"type\":\"TIMESTAMP\"}],"
      "\"data\":[{\"n\":9007199254740993,\"t\":\"2015-05-17T10:05:04.000Z\"}],\"rows\":1,\"truncated\":false,"
      "\"applied_index\":\"0:17\",\"statistics\":{\"elapsed\":0.000}}\n");
    CHECK(door.pool.last().sql == "SELECT n, t FROM clicks");
    CHECK(door.pool.last().timeout_ms == 10'000);
    CHECK(door.pool.last().rows_max == 10'000);
}

TEST_CASE("The statement as JSON") {
    Door door;
    const Response r =
        door.ask(request("POST", "/v1/sql", "Content-Type: application/json\r\n",
                         R"({"query":"SELECT ?1","params":["a"],"min_index":"0:7","timeout_ms":500,"max_rows":3})"));
    CHECK(r.status == 200);
    CHECK(door.pool.last().sql == "SELECT ?1");
    REQUIRE(door.pool.last().parameters.size() == 1);
    CHECK(door.pool.last().parameters[0].text == "a");
    CHECK(door.pool.last().timeout_ms == 500);
    CHECK(door.pool.last().rows_max == 3);
    CHECK(door.ask(request("POST", "/v1/sql", "Content-Type: application/json\r\n", R"({"query":"SELECT 1","x":1})"))
              .status == 400);
    CHECK(door.ask(request("POST", "/v1/sql", "Content-Type: text/html\r\n", "SELECT 1")).status == 415);
    CHECK(door.ask(request("POST", "/v1/sql", "Content-Type: application/x-www-form-urlencoded\r\n", "SELECT 1 + 1"))
              .status == 200);
    CHECK(door.pool.last().sql == "SELECT 1 + 1");
}

TEST_CASE("Errors of a query") {
    Door door;
    auto f = [&](Errc code, std::int64_t position, int status, std::string_view part) {
        door.pool.script([=](const query::QueryRequest&, query::ResultSink&) -> Result<query::QuerySummary> {
            return Error{code, "why", 0, position};
        });
        const Response r = door.ask(ask_sql("SELECT a\nFROM b"));
        INFO(errc_name(code) << r.body);
        CHECK(r.status == status);
        CHECK(has(r.body, part));
        CHECK(r.field("Retry-After").empty() == (status != 503));
    };
    f(Errc::invalid_argument, 9, 400, "\"code\":\"sql_error\"");
    f(Errc::invalid_argument, 9, 400, "\"position\":9,\"line\":2,\"column\":1");
    f(Errc::not_found, -1, 404, "not_found");
    f(Errc::deadline, -1, 408, "deadline");
    f(Errc::forbidden, -1, 400, "sql_error");
    f(Errc::building, -1, 503, "building");
    f(Errc::overloaded, -1, 503, "overloaded");
    f(Errc::too_large, -1, 413, "too_large");
    CHECK(door.ask(ask_sql("SELEC 1")).status == 400);
    CHECK(door.ask(ask_sql("")).status == 400);
    CHECK(door.ask(ask_sql(std::string(100'001, ' '))).status == 413);
    door.catalog.shard.is_ready = false;
    CHECK(has(door.ask(ask_sql("SELECT 1")).body, "\"code\":\"recovering\""));
}

TEST_CASE("Definitions go to the catalog") {
    Door door;
    auto f = [&](std::string_view statement, int status, std::string_view part) {
        const Response r = door.ask(ask_sql(statement));
        INFO(statement << "\n" << r.body);
        CHECK(r.status == status);
        CHECK(has(r.body, part));
    };
    f("CREATE STREAM s (a TEXT);", 200,
      "{\"columns\":[],\"rows\":[],\"truncated\":false,\"applied_index\":\"0:21\",\"elapsed_ms\":0.000}");
    f("CREATE STREAM taken (a TEXT)", 409, "already_exists");
    f("CREATE STREAM IF NOT EXISTS taken (a TEXT)", 200, "\"applied_index\":\"0:7\"");
    f("DROP STREAM absent", 404, "not_found");
    f("DROP STREAM needed", 409, "conflict");
    f("DROP STREAM s", 200, "\"applied_index\":\"0:22\"");
    f("ALTER STREAM s ADD COLUMN b TEXT", 200, "\"applied_index\":\"0:24\"");
    f("ALTER STREAM absent SET RETAIN 1d", 404, "not_found");
    f("SHOW STREAMS", 200, "\"columns\"");
    CHECK(has(door.pool.last().sql, "sys.streams"));
    f("CREATE STREAM s (a TEXT); DROP STREAM s", 400, "sql_error");
}

TEST_CASE("Reads wait for their own writes, and for min_index") {
    Door door;
    door.catalog.shard.committed_index = 9;
    CHECK(door.ask(ask_sql("SELECT 1")).status == 200);
    CHECK(door.catalog.shard.waited_ms == 1000);  // then the old state is good enough
    door.catalog.shard.waited_ms = 0;
    const Response r = door.ask(ask_sql("SELECT 1", "?min_index=0:8&timeout_ms=250"));
    CHECK(r.status == 408);
    CHECK(has(r.body, "\"code\":\"deadline\""));
    CHECK(door.catalog.shard.waited_ms == 250);
    door.catalog.shard.visible_index = 9;
    CHECK(door.ask(ask_sql("SELECT 1", "?min_index=0:8")).status == 200);
    CHECK(door.ask(ask_sql("SELECT 1", "?min_index=3:8")).status == 400);
    CHECK(door.ask(ask_sql("SELECT 1", "?min_index=x")).status == 400);
}

TEST_CASE("Large results are streamed at the client's pace") {
    Door door;
    std::atomic<std::int64_t> produced{0};
    constexpr std::int64_t rows = 3000;
    door.pool.script([&](const query::QueryRequest&, query::ResultSink& sink) -> Result<query::QuerySummary> {
        produced = 0;
        sink.columns({{"s", "TEXT"}});
        const std::string text(10'000, 'x');
        for (std::int64_t i = 0; i < rows; ++i) {
            if (!sink.row({store::Value::of(std::string_view(text))})) return Error{Errc::cancelled, "gone"};
            ++produced;
        }
        return query::QuerySummary{LogIndex(3), false, rows};
    });
    for (const char* format : {"", "?format=ndjson", "?format=csv", "?format=JSON"}) {
        Client client = door.client();
        const Response r = client.ask(ask_sql("SELECT 1", format));
        INFO(format);
        CHECK(r.status == 200);
        CHECK(r.whole);
        CHECK(r.field("Transfer-Encoding") == "chunked");
        CHECK(r.body.size() > 30'000'000);
        CHECK(client.ask(request("GET", "/livez")).status == 200);
    }
    // HTTP/1.0: ended by the end of the connection.
    const Response old = door.ask(
        "POST /v1/sql?format=csv HTTP/1.0\r\nHost: localhost\r\nConnection: keep-alive\r\nContent-Length: "
        "8\r\n\r\nSELECT 1");
    CHECK(old.field("Connection") == "close");
    CHECK(old.body.size() == 2 + static_cast<std::size_t>(rows) * 10'001);
    // A client that reads nothing stops the query; one that goes away ends it.
    {
        Client slow = door.client(4096);
        slow.send(ask_sql("SELECT 1", "?format=ndjson"));
        REQUIRE(slow.heard(20'000));
        for (int i = 0; i < 20; ++i)
            CHECK(door.ask(request("GET", "/livez")).status == 200);
        CHECK(produced < rows);
    }
    CHECK(door.ask(request("GET", "/v1/cluster")).status == 200);
}

TEST_CASE("A client that reads slowly does not hold its query's worker longer than the query may run") {
    Door door;
    std::atomic<bool> let_go{false};
    door.pool.script([&](const query::QueryRequest&, query::ResultSink& sink) -> Result<query::QuerySummary> {
        sink.columns({{"s", "TEXT"}});
        const std::string row(10'000, 'x');
        while (sink.row({store::Value::of(std::string_view(row))})) {
        }
        let_go = true;
        return Error{Errc::cancelled, "nobody reads"};
    });
    Client slow = door.client(4096);
    slow.send(ask_sql("SELECT 1", "?format=ndjson&timeout_ms=3000"));
    REQUIRE(slow.heard(20'000));
    CHECK_FALSE(let_go);
    // Far from the 30 s after which a connection that takes nothing is closed.
    door.clock.advance_s(4);
    for (int i = 0; i < 200 && !let_go; ++i) {
        const Client other = door.client();  // hears nothing: paces this loop
        CHECK_FALSE(other.heard(50));
    }
    CHECK(let_go);
    CHECK_FALSE(slow.receive().whole);
}

TEST_CASE("A client that goes away gives its query up, one that is there does not") {
    Door door;
    std::atomic<bool> runs = false, given_up = false;
    door.pool.script([&](const query::QueryRequest&, query::ResultSink& sink) -> Result<query::QuerySummary> {
        CHECK(sink.wanted());
        runs = true;
        runs.notify_one();
        while (sink.wanted())
            std::this_thread::yield();
        given_up = true;
        given_up.notify_one();
        return Error{Errc::cancelled, "the caller stopped reading the result"};
    });
    {
        Client client = door.client();
        client.send(ask_sql("SELECT 1"));
        runs.wait(false);
        CHECK_FALSE(given_up);
    }
    given_up.wait(false);
    CHECK(given_up);
    // One that only says that it sends no more hears why there is no result.
    runs = given_up = false;
    Client half = door.client();
    half.send(ask_sql("SELECT 1"));
    runs.wait(false);
    half.half_close();
    CHECK(half.receive().status == 503);
}

TEST_CASE("An error in the middle of a streamed answer cuts it off") {
    Door door;
    door.pool.script([](const query::QueryRequest&, query::ResultSink& sink) -> Result<query::QuerySummary> {
        sink.columns({{"s", "TEXT"}});
        const std::string text(40'000, 'x');
        sink.row({store::Value::of(std::string_view(text))});
        sink.row({store::Value::of(std::string_view(text))});
        return Error{Errc::deadline, "too slow"};
    });
    const Response r = door.ask(ask_sql("SELECT 1", "?format=ndjson"));
    CHECK((r.status == 200 || r.status == 0));
    CHECK_FALSE(r.whole);
    CHECK(door.ask(ask_sql("SELECT 1")).status == 408);
}
