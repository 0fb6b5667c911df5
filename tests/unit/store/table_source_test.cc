#include "store/table_source.h"

#include "unit/store/list_source.h"
#include "unit/store/reader_fixture.h"

#include <catch2/catch_test_macros.hpp>

namespace weir::store {
namespace {

Value i(std::int64_t v) {
    return Value::of(v);
}
Value t(std::string_view v) {
    return Value::of(v);
}

std::shared_ptr<ListSource> sample() {
    return std::make_shared<ListSource>(
        std::vector<SourceColumn>{{"status", "INTEGER", false},
                                  {"path", "TEXT", false},
                                  {"ts", "TIMESTAMP", false},
                                  {"price", "REAL", false},
                                  {"_offset", "INTEGER", true}},
        std::vector<std::vector<Value>>{{i(200), t("/a"), i(1000), Value::of(0.5), i(0)},
                                        {i(404), t("/b"), i(2000), Value::null(), i(1)},
                                        {i(200), t("/A"), i(3000), Value::of(2.5), i(2)}});
}

TEST_CASE("a source is a table with hidden columns and declared types") {
    ReaderFixture f;
    auto source = sample();
    REQUIRE(f.reader->add_source("web.log", source));
    CHECK(f.run("SELECT * FROM \"web.log\" WHERE status = 404") == "404,'/b',2000,null");
    CHECK(f.run("SELECT _offset, path FROM \"web.log\"") == "0,'/a' 1,'/b' 2,'/A'");
    CHECK(f.run("SELECT count(*) FROM \"web.log\"") == "3");
    CHECK(f.run("SELECT path, count(*) FROM \"web.log\" GROUP BY status ORDER BY 2") == "'/b',1 '/a',2");
    CHECK(f.run("SELECT max(path), min(path) FROM \"web.log\"") == "'/b','/A'");
    ListSink sink;
    REQUIRE(f.reader->run("SELECT ts, _offset FROM \"web.log\"", {}, {}, sink));
    CHECK(sink.header[0].declared_type == "TIMESTAMP");
    CHECK(sink.header[1].declared_type == "INTEGER");
    CHECK(f.reader->add_source("WEB.LOG", source).error().code == Errc::already_exists);
    REQUIRE(f.reader->add_view("v", "SELECT path, ts FROM temp.\"web.log\""));
    CHECK(f.run("SELECT ts FROM v WHERE path = '/b'") == "2000");
}

TEST_CASE("a source beside a view, in one statement") {
    ReaderFixture f;
    f.add_view();
    REQUIRE(f.reader->add_source("s", sample()));
    CHECK(f.run("SELECT count(*) FROM s JOIN access_1h USING (status)") == "5");
    CHECK(f.run("SELECT count(*) FROM s LEFT JOIN access_1h a ON a.status = s.status AND a.path = 'b'") == "3");
}

TEST_CASE("only the columns that are asked for") {
    ReaderFixture f;
    auto source = sample();
    REQUIRE(f.reader->add_source("s", source));
    CHECK(f.run("SELECT path FROM s WHERE ts > 0") == "'/a' '/b' '/A'");
    CHECK(source->used == std::vector<bool>{false, true, true, false, false});
}

TEST_CASE("comparisons are handed down in the column's type, and never too narrow") {
    ReaderFixture f;
    auto source = sample();
    REQUIRE(f.reader->add_source("s", source));
    const auto asked = [&](const std::string& where) {
        source->asked = "not asked";
        (void)f.run("SELECT * FROM s WHERE " + where);
        return source->asked;
    };
    CHECK(asked("status = 200") == "0 eq 200");
    CHECK(asked("ts >= 1000 AND ts < 3000") == "2 ge 1000; 2 lt 3000");
    CHECK(asked("ts BETWEEN 5 AND 6") == "2 ge 5; 2 le 6");
    CHECK(asked("status > 10.5") == "0 ge 10");
    CHECK(asked("status < 10.5") == "0 le 11");
    CHECK(asked("status = 10.0") == "0 eq 10");
    CHECK(asked("status = 10.5") == "");
    CHECK(asked("status > 1e300") == "");
    CHECK(asked("status = 'x'") == "");
    CHECK(asked("path = '/a'") == "1 eq '/a'");
    CHECK(asked("path = '/a' COLLATE NOCASE") == "");
    CHECK(asked("path = 5") == "");
    CHECK(asked("price > 1") == "3 gt 1.000000");
    CHECK(asked("price > 9223372036854775807") == "");
    CHECK(asked("status = NULL") == "not asked");
    CHECK(asked("status IS NULL") == "");
    CHECK(asked("ts > weir_time('1970-01-01T00:00:02Z')") == "2 gt 2000");
    f.reader->set_now_ms(2500);
    CHECK(asked("ts > ago('1s')") == "2 gt 1500");
    CHECK(asked("status IN (200, 404)") == "0 eq 404");
    // SQLite checks again what the source ignored.
    CHECK(f.run("SELECT path FROM s WHERE status > 200.5") == "'/b'");
    CHECK(f.run("SELECT path FROM s WHERE path = '/a' COLLATE NOCASE") == "'/a' '/A'");
    CHECK(f.run("SELECT path FROM s WHERE status = '404'") == "'/b'");
}

TEST_CASE("a source's error comes out as it is") {
    ReaderFixture f;
    auto source = sample();
    source->fail_at_row = Error{Errc::corrupt, "segment 3 is torn"};
    REQUIRE(f.reader->add_source("s", source));
    const Error error = f.error("SELECT * FROM s");
    CHECK(error.code == Errc::corrupt);
    CHECK(error.detail == "segment 3 is torn");
    source->fail_at_row.reset();
    CHECK(f.run("SELECT count(*) FROM s") == "3");
}

TEST_CASE("more than 64 columns") {
    std::vector<SourceColumn> columns;
    std::vector<Value> row;
    for (int c = 0; c < 200; ++c) {
        columns.push_back({"c" + std::to_string(c), "INTEGER", false});
        row.push_back(i(c));
    }
    ReaderFixture f;
    auto source = std::make_shared<ListSource>(columns, std::vector<std::vector<Value>>{row});
    REQUIRE(f.reader->add_source("wide", source));
    CHECK(f.run("SELECT c0, c150 FROM wide") == "0,150");
    CHECK(source->used[0]);
    CHECK_FALSE(source->used[1]);
    CHECK(source->used[63]);
    CHECK(source->used[199]);
    ListSink sink;
    REQUIRE(f.reader->run("SELECT * FROM wide a JOIN wide b", {}, {}, sink));
    CHECK(sink.header.size() == 400);
}

}  // namespace
}  // namespace weir::store
