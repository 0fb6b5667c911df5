#include "store/reader.h"

#include "unit/store/list_source.h"
#include "unit/store/reader_fixture.h"

#include <catch2/catch_test_macros.hpp>

#include <fstream>

namespace weir::store {
namespace {

TEST_CASE("a view over an internal table") {
    ReaderFixture f;
    f.add_view();
    CHECK(f.run("SELECT status, path FROM access_1h ORDER BY path DESC") == "200,'c' 404,'b' 200,'a'");
    CHECK(f.run("SELECT count(*) FROM access_1h") == "3");
    CHECK(f.run("SELECT 1 FROM access_1h LIMIT 1") == "1");
    CHECK(f.run("SELECT status, count(*) FROM access_1h GROUP BY 1 ORDER BY 1") == "200,2 404,1");
    CHECK(f.run("WITH w AS (SELECT status FROM access_1h) SELECT count(*) FROM w WHERE status = 200") == "2");
    CHECK(f.run("SELECT count(*) FROM (SELECT status FROM access_1h UNION ALL SELECT status FROM ACCESS_1H)") == "6");
    CHECK(f.run("SELECT a.path FROM access_1h a JOIN access_1h b USING (status) WHERE b.path = 'a' ORDER BY 1") ==
          "'a' 'c'");
    CHECK(f.run("VALUES (1), (2)") == "1 2");
    CHECK(f.run("SELECT path FROM access_1h WHERE status = ?1 AND path = ?2",
                {Value::of(std::int64_t{404}), Value::of(std::string_view("b"))}) == "'b'");
    CHECK(f.run("SELECT value FROM json_each('[1,2]')") == "1 2");
    CHECK(f.run("SELECT row_number() OVER (ORDER BY path) FROM access_1h") == "1 2 3");
    f.reader->clear_names();
    CHECK(f.run("SELECT * FROM access_1h") == "error: not_found");
    f.add_view();
    CHECK(f.run("SELECT count(*) FROM access_1h") == "3");
}

TEST_CASE("names with dots and dashes, and one that shadows an internal table") {
    ReaderFixture f;
    REQUIRE(f.reader->add_view("sys.counters", "SELECT idx FROM main._applied"));
    REQUIRE(f.reader->add_view("my-view", "SELECT c1 FROM main.v0_17"));
    REQUIRE(f.reader->add_view("v0_17", "SELECT c2 AS mine FROM main.v0_17"));
    CHECK(f.run("SELECT * FROM \"sys.counters\"") == "42");
    CHECK(f.run("SELECT sum(c1) FROM \"my-view\"") == "804");
    CHECK(f.run("SELECT * FROM v0_17") == "'a' 'b' 'c'");
    CHECK(f.run("SELECT c1 FROM v0_17") == "error: not_found");
    CHECK(f.run("SELECT * FROM main.v0_17") == "error: not_found");
    CHECK(f.reader->add_view("MY-VIEW", "SELECT 1").error().code == Errc::already_exists);
    CHECK(f.reader->add_view("broken", "SELECT absent FROM main.v0_17").error().code == Errc::invalid_argument);
    CHECK(f.run("SELECT * FROM broken") == "error: not_found");
}

TEST_CASE("a column keeps its declared type through the view") {
    ReaderFixture f;
    f.add_view();
    ListSink sink;
    REQUIRE(f.reader->run("SELECT window_start, status + 1 AS s, window_start AS w FROM access_1h", {}, {}, sink));
    REQUIRE(sink.header.size() == 3);
    CHECK(sink.header[0].name == "window_start");
    CHECK(sink.header[0].declared_type == "TIMESTAMP");
    CHECK(sink.header[1].name == "s");
    CHECK(sink.header[1].declared_type.empty());
    CHECK(sink.header[2].declared_type == "TIMESTAMP");
    CHECK(sink.rows[1] == "60000,405,60000");
}

TEST_CASE("internal tables stay internal, whatever the disguise") {
    ReaderFixture f;
    f.add_view();
    for (const char* sql : {"SELECT * FROM _applied",
                            "SELECT idx FROM main._applied",
                            "SELECT count(*) FROM _applied",
                            "SELECT count(*) FROM main._applied",
                            "SELECT 1 FROM _applied",
                            "SELECT * FROM v0_17",
                            "SELECT c1 FROM main.v0_17",
                            "WITH access_1h AS (SELECT * FROM main._applied) SELECT * FROM access_1h",
                            "WITH access_1h AS (SELECT idx FROM _applied) SELECT idx FROM access_1h",
                            "WITH w(x) AS (SELECT c1 FROM main.v0_17) SELECT x FROM w",
                            "SELECT (SELECT idx FROM _applied)",
                            "SELECT * FROM access_1h WHERE status IN (SELECT idx FROM _applied)",
                            "SELECT * FROM access_1h JOIN _applied",
                            "SELECT status FROM access_1h UNION SELECT idx FROM _applied",
                            "SELECT * FROM sqlite_master",
                            "SELECT sql FROM sqlite_temp_master",
                            "SELECT name FROM temp.sqlite_schema",
                            "SELECT count(*) FROM sqlite_master",
                            "SELECT * FROM pragma_table_list",
                            "SELECT * FROM pragma_database_list",
                            "SELECT * FROM dbstat",
                            "SELECT * FROM sqlite_stmt",
                            "SELECT count(*) FROM dbstat"}) {
        INFO(sql);
        const std::string answer = f.run(sql);
        CHECK((answer == "error: not_found" || answer == "error: forbidden"));
    }
    // The query plan shows the view's name, not the one that makes reads trusted.
    CHECK(f.run("EXPLAIN QUERY PLAN SELECT * FROM access_1h, (SELECT DISTINCT status FROM access_1h)").find("w_") ==
          std::string::npos);
    CHECK(f.error("SELECT access_1h.absent FROM access_1h").detail.find("w_") == std::string::npos);
}

TEST_CASE("only reading") {
    ReaderFixture f;
    f.add_view();
    for (const char* sql : {"INSERT INTO access_1h VALUES (1, 2, 3)",
                            "DELETE FROM v0_17",
                            "UPDATE v0_17 SET c1 = 1",
                            "CREATE TABLE x(a)",
                            "CREATE TEMP TABLE x(a)",
                            "CREATE TEMP VIEW x AS SELECT 1",
                            "DROP TABLE v0_17",
                            "PRAGMA journal_mode",
                            "PRAGMA query_only=OFF",
                            "ATTACH ':memory:' AS x",
                            "DETACH temp",
                            "BEGIN",
                            "COMMIT",
                            "ROLLBACK",
                            "SAVEPOINT x",
                            "VACUUM",
                            "ANALYZE",
                            "REINDEX",
                            "EXPLAIN SELECT 1",
                            "SELECT load_extension('x')",
                            "SELECT sqlite_compileoption_get(0)",
                            "SELECT fts5_source_id()"}) {
        INFO(sql);
        CHECK(f.run(sql).rfind("error: ", 0) == 0);
        CHECK(f.run(sql) != "error: io_error");
    }
    CHECK(f.run("SELECT load_extension('x')") == "error: forbidden");
    CHECK(f.run("PRAGMA journal_mode") == "error: forbidden");
    CHECK(f.run("EXPLAIN SELECT 1") == "error: forbidden");
    CHECK(f.run("SELECT count(*) FROM access_1h") == "3");
}

TEST_CASE("errors carry a position and a kind") {
    ReaderFixture f;
    f.add_view();
    CHECK(f.error("SELEC 1").code == Errc::invalid_argument);
    CHECK(f.error("SELECT 1 +").code == Errc::invalid_argument);
    CHECK(f.error("SELECT 1 +").position == 10);  // its end is the place
    const Error syntax = f.error("SELECT status FROM access_1h WHERE WHERE 1");
    CHECK(syntax.code == Errc::invalid_argument);
    CHECK(syntax.position == 35);
    const Error column = f.error("SELECT status, absent FROM access_1h");
    CHECK(column.code == Errc::not_found);
    CHECK(column.detail == "no such column: absent");
    CHECK(column.position == 15);
    CHECK(f.error("SELECT * FROM absent").detail == "no such table: absent");
    CHECK(f.error("SELECT absent(1)").detail == "no such function: absent");
    CHECK(f.error("SELECT * FROM _applied").detail == "no such table: _applied");
    CHECK(f.error("").code == Errc::invalid_argument);
    CHECK(f.error(" -- nothing").code == Errc::invalid_argument);
    const Error second = f.error("SELECT 1; SELECT 2");
    CHECK(second.code == Errc::invalid_argument);
    CHECK(second.position == 10);
    CHECK(f.run("SELECT 1 ; -- done") == "1");
    CHECK(f.run("SELECT ?") == "error: invalid_argument");
    CHECK(f.run("SELECT 1", {Value::null()}) == "error: invalid_argument");
    CHECK(f.run("SELECT \"absent\"") == "error: not_found");
    CHECK(f.run("SELECT abs(-9223372036854775807 - 1)") == "error: invalid_argument");
}

TEST_CASE("limits of length, depth and memory") {
    ReaderFixture f;
    CHECK(f.run("SELECT '" + std::string(100'001, 'x') + "'") == "error: too_large");
    CHECK(f.run("SELECT " + std::string(400, '-') + "1").rfind("error: ", 0) == 0);
    std::string deep = "1";
    for (int i = 0; i < 300; ++i)
        deep = "(" + deep + "+1)";
    CHECK(f.run("SELECT " + deep) == "error: invalid_argument");
    std::string chain = "SELECT 1 WHERE 0";
    for (int i = 0; i < 200; ++i)
        chain += " OR 1=2";
    CHECK(f.run(chain) == "");
    CHECK(f.run("SELECT length(zeroblob(100000000))") == "error: too_large");
    CHECK(f.run("SELECT length(printf('%.*f', 2000000000, 1.0))") == "null");
    CHECK(f.run("SELECT length(printf('%2000000000d', 1))") == "null");
    CHECK(f.run("SELECT 'a' LIKE '" + std::string(101, '%') + "'").rfind("error: ", 0) == 0);
    std::string compound = "SELECT 1";
    for (int i = 0; i < 30; ++i)
        compound += " UNION ALL SELECT 1";
    CHECK(f.run(compound) == "error: invalid_argument");
}

TEST_CASE("rows are cut and said") {
    ReaderFixture f;
    f.add_view();
    ListSink sink;
    auto cut = f.reader->run("SELECT status FROM access_1h", {}, {.rows_max = 2}, sink);
    REQUIRE(cut);
    CHECK(cut.value());
    CHECK(sink.rows.size() == 2);
    ListSink whole;
    auto exact = f.reader->run("SELECT status FROM access_1h", {}, {.rows_max = 3}, whole);
    REQUIRE(exact);
    CHECK_FALSE(exact.value());
    ListSink stops;
    stops.rows_max = 1;
    auto stopped = f.reader->run("SELECT status FROM access_1h", {}, {}, stops);
    REQUIRE(stopped);
    CHECK_FALSE(stopped.value());
    CHECK(stops.rows.size() == 1);
}

TEST_CASE("the deadline and interrupt end a query that would not") {
    ReaderFixture f;
    const char* endless = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n";
    f.step_us = 10;
    ListSink sink;
    auto late = f.reader->run(endless, {}, {.deadline_us = 500}, sink);
    REQUIRE_FALSE(late);
    CHECK(late.error().code == Errc::deadline);
    // Interrupted from within, as another thread would: at the second row.
    struct Interrupter final : RowSink {
        Reader& reader;
        explicit Interrupter(Reader& r) : reader(r) {}
        bool columns(const std::vector<ResultColumn>&) override { return true; }
        bool row(const std::vector<Value>&) override {
            reader.interrupt();
            return true;
        }
    } interrupter(*f.reader);
    auto cut = f.reader->run("WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT i FROM n", {},
                             {.rows_max = 1'000'000'000}, interrupter);
    REQUIRE_FALSE(cut);
    CHECK(cut.error().code == Errc::cancelled);
    CHECK(f.run("SELECT 1") == "1");
}

TEST_CASE("one snapshot for everything until it ends") {
    ReaderFixture f;
    REQUIRE(f.reader->begin_snapshot());
    f.add_view();
    REQUIRE(f.writer->exec("INSERT INTO v0_17 VALUES (x'04', 1, 1, 'd'); UPDATE _applied SET idx = 43"));
    std::int64_t idx = 0;
    const auto read = [&] {
        REQUIRE(f.reader->query_internal("SELECT idx FROM _applied",
                                         [&](const std::vector<Value>& row) { idx = row[0].integer; }));
        return idx;
    };
    CHECK(read() == 42);
    CHECK(f.run("SELECT count(*) FROM access_1h") == "3");
    f.reader->end_snapshot();
    CHECK(read() == 43);
    CHECK(f.run("SELECT count(*) FROM access_1h") == "4");
    // A table made later is internal too.
    REQUIRE(f.writer->exec("CREATE TABLE v0_18(c0)"));
    REQUIRE(f.reader->begin_snapshot());
    CHECK(f.run("SELECT count(*) FROM v0_18") == "error: not_found");
    f.reader->clear_names();
    CHECK(f.run("SELECT count(*) FROM access_1h") == "error: not_found");
    f.reader->end_snapshot();
    CHECK(f.reader->query_internal("SELECT absent", [](const std::vector<Value>&) {}).error().code ==
          Errc::invalid_argument);
}

TEST_CASE("now is what it was set to") {
    ReaderFixture f;
    f.reader->set_now_ms(3'600'000);
    CHECK(f.run("SELECT now(), ago('1h'), rfc3339(now())") == "3600000,0,'1970-01-01T01:00:00.000Z'");
}

TEST_CASE("a file that is absent or no database") {
    const test::TempDir dir;
    const auto clock = [] { return std::int64_t{0}; };
    CHECK(Reader::open(dir.file("none.db"), clock).error().code == Errc::not_found);
    std::ofstream(dir.file("text.db")) << std::string(4096, 'x');
    CHECK(Reader::open(dir.file("text.db"), clock).error().code == Errc::corrupt);
}

}  // namespace
}  // namespace weir::store
