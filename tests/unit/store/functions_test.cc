#include "store/functions.h"

#include "store/detail/sqlite.h"
#include "unit/store/batch_builder.h"

#include <catch2/catch_test_macros.hpp>

namespace weir::store {
namespace {

// One expression's value on a bare connection, or "error: ...".
std::string eval(const std::string& sql, const QueryClock* clock = nullptr) {
    auto db = detail::open_connection(":memory:", SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, "");
    REQUIRE(db);
    REQUIRE(register_functions(db.value().get(), clock));
    auto statement = detail::prepare_own(db.value().get(), "SELECT " + sql);
    if (!statement) return "error: " + statement.error().detail;
    const int code = sqlite3_step(statement.value().get());
    if (code != SQLITE_ROW) return std::string("error: ") + sqlite3_errmsg(db.value().get());
    return show(detail::value_of(sqlite3_column_value(statement.value().get(), 0)));
}

TEST_CASE("epoch_ms") {
    CHECK(eval("epoch_ms('1970-01-01T00:00:01Z')") == "1000");
    CHECK(eval("epoch_ms('2015-05-18')") == "1431907200000");
    CHECK(eval("epoch_ms(-5)") == "-5");
    CHECK(eval("epoch_ms(1500.9)") == "1500");
    CHECK(eval("epoch_ms(-0.5)") == "-1");
    CHECK(eval("epoch_ms(1e300)") == "null");
    CHECK(eval("epoch_ms('soon')") == "null");
    CHECK(eval("epoch_ms(NULL)") == "null");
    CHECK(eval("epoch_ms(x'00')") == "null");
}

TEST_CASE("rfc3339") {
    CHECK(eval("rfc3339(0)") == "'1970-01-01T00:00:00.000Z'");
    CHECK(eval("rfc3339('2015-05-17T10:05:04.5+02:00')") == "'2015-05-17T08:05:04.500Z'");
    CHECK(eval("rfc3339(NULL)") == "null");
}

TEST_CASE("bucket floors, before 1970 too") {
    CHECK(eval("bucket(119999, '1m')") == "60000");
    CHECK(eval("bucket(120000, '1m')") == "120000");
    CHECK(eval("bucket(-1, '1m')") == "-60000");
    CHECK(eval("bucket(-60000, '1m')") == "-60000");
    CHECK(eval("bucket('1970-01-01T01:30:00Z', '1h')") == "3600000");
    CHECK(eval("bucket(NULL, '1m')") == "null");
    CHECK(eval("bucket(1, NULL)") == "null");
    CHECK(eval("bucket('x', '1m')") == "null");
    CHECK(eval("bucket(-9223372036854775807 - 1, '1m')") == "null");
    CHECK(eval("bucket(1, '0m')").rfind("error: not a duration", 0) == 0);
    CHECK(eval("bucket(1, 'often')").rfind("error: not a duration", 0) == 0);
    CHECK(eval("bucket(1, 60)").rfind("error: not a duration", 0) == 0);
}

TEST_CASE("weir_time changes only time literals") {
    CHECK(eval("weir_time('2015-05-18T00:00:00Z')") == "1431907200000");
    CHECK(eval("weir_time('hello')") == "'hello'");
    CHECK(eval("weir_time(7)") == "7");
    CHECK(eval("weir_time(NULL)") == "null");
}

TEST_CASE("now and ago follow the query's clock, and are absent without one") {
    QueryClock clock{1'000'000};
    CHECK(eval("now()", &clock) == "1000000");
    CHECK(eval("ago('15m')", &clock) == "100000");
    CHECK(eval("ago('0s')", &clock) == "1000000");
    CHECK(eval("ago(NULL)", &clock) == "null");
    CHECK(eval("ago('x')", &clock).rfind("error: not a duration", 0) == 0);
    clock.now_ms = INT64_MIN;
    CHECK(eval("ago('1m') < 0", &clock) == "1");
    CHECK(eval("now()") == "error: prepare: no such function: now");
}

}  // namespace
}  // namespace weir::store
