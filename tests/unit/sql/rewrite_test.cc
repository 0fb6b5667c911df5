#include "sql/rewrite.h"

#include <catch2/catch_test_macros.hpp>

#include <map>
#include <string>

using namespace weir;
using namespace weir::sql;

namespace {

// access(ts TIMESTAMP, status INTEGER, path TEXT), "my-stream"(ts, n), sys.streams(name, created_at),
// access_1h(window_start, n)
const TableShape* find(std::string_view name) {
    static const std::map<std::string, TableShape, std::less<>> catalog = [] {
        std::map<std::string, TableShape, std::less<>> shapes;
        const auto add = [&](const std::string& table, std::vector<std::pair<std::string, std::string>> columns) {
            shapes[table] = {table, std::move(columns)};
        };
        add("access", {{"ts", "TIMESTAMP"},
                       {"status", "INTEGER"},
                       {"path", "TEXT"},
                       {"_offset", "INTEGER"},
                       {"_append_time", "TIMESTAMP"}});
        add("my-stream", {{"ts", "TIMESTAMP"}, {"n", "INTEGER"}});
        add("my", {{"x", "TEXT"}});
        add("sys.streams", {{"name", "TEXT"}, {"created_at", "TIMESTAMP"}});
        add("access_1h", {{"window_start", "TIMESTAMP"}, {"n", "INTEGER"}});
        add("texts", {{"ts", "TEXT"}});
        return shapes;
    }();
    const auto exact = catalog.find(name);
    if (exact != catalog.end()) return &exact->second;
    for (const auto& [key, shape] : catalog) {
        if (key.size() == name.size() && std::equal(key.begin(), key.end(), name.begin(), [](char a, char b) {
                return std::tolower(a) == std::tolower(b);
            })) {
            return &shape;
        }
    }
    return nullptr;
}

void rewrites(std::string_view text, std::string_view want) {
    INFO(text);
    auto result = rewrite_query(text, find);
    if (!result) FAIL(result.error().detail);
    CHECK(result.value().sql == want);
}
void unchanged(std::string_view text) {
    rewrites(text, text);
}

void types(std::string_view text, const std::vector<std::string>& want) {
    INFO(text);
    auto result = rewrite_query(text, find);
    if (!result) FAIL(result.error().detail);
    CHECK(result.value().column_types == want);
}

void refuses(std::string_view text, std::string_view where, std::string_view said) {
    INFO(text);
    auto result = rewrite_query(text, find);
    REQUIRE_FALSE(result.has_value());
    INFO(result.error().detail);
    CHECK(result.error().position == static_cast<std::int64_t>(where.empty() ? text.size() : text.find(where)));
    CHECK(result.error().detail.find(said) != std::string::npos);
}

}  // namespace

TEST_CASE("rewrite: names") {
    unchanged("SELECT * FROM access");
    unchanged("SELECT * FROM nowhere WHERE ts > 'a'");
    rewrites("SELECT * FROM sys.streams", "SELECT * FROM \"sys.streams\"");
    rewrites("SELECT * FROM SYS . streams", "SELECT * FROM SYS . streams");
    rewrites("SELECT sys.streams.name, sys.streams.* FROM SYS.Streams",
             "SELECT \"sys.streams\".name, \"sys.streams\".* FROM \"sys.streams\"");
    rewrites("SELECT * FROM my-stream", "SELECT * FROM \"my-stream\"");
    rewrites("SELECT * FROM my-stream AS m, access JOIN my-stream ON 1",
             "SELECT * FROM \"my-stream\" AS m, access JOIN \"my-stream\" ON 1");
    unchanged("SELECT * FROM \"my-stream\"");
    unchanged("SELECT my-stream FROM my");
    rewrites("SELECT n FROM my-other", "SELECT n FROM my-other");
    unchanged("SELECT * FROM main.access");
    unchanged("SELECT value FROM json_each('[1]')");
    rewrites("SELECT 1; -- done", "SELECT 1");
    rewrites("EXPLAIN QUERY PLAN SELECT * FROM sys.streams;", "EXPLAIN QUERY PLAN SELECT * FROM \"sys.streams\"");
    const auto tables =
        rewrite_query("WITH my AS (SELECT 1) SELECT * FROM my, ACCESS, access a, (SELECT * FROM sys.streams)", find)
            .value()
            .tables;
    CHECK(tables == std::vector<std::string>{"access", "sys.streams"});
}

TEST_CASE("rewrite: a TIMESTAMP is compared in time") {
    rewrites("SELECT * FROM access WHERE ts >= '2015-05-18T00:00:00Z' ORDER BY ts",
             "SELECT * FROM access WHERE ts >= weir_time('2015-05-18T00:00:00Z') ORDER BY ts");
    rewrites("SELECT * FROM access WHERE '2015-05-18' < ts", "SELECT * FROM access WHERE weir_time('2015-05-18') < ts");
    rewrites("SELECT * FROM access WHERE TS BETWEEN '2015-05-18' AND '2015-05-19' AND path = '2015-05-18'",
             "SELECT * FROM access WHERE TS BETWEEN weir_time('2015-05-18') AND weir_time('2015-05-19') AND path = "
             "'2015-05-18'");
    rewrites("SELECT * FROM access WHERE ts NOT BETWEEN ago('1h') AND ?",
             "SELECT * FROM access WHERE ts NOT BETWEEN ago('1h') AND weir_time(?)");
    rewrites("SELECT * FROM access WHERE ts IN ('2015-05-18', ?1, now())",
             "SELECT * FROM access WHERE ts IN (weir_time('2015-05-18'), weir_time(?1), now())");
    rewrites("SELECT * FROM access WHERE ts = :name", "SELECT * FROM access WHERE ts = weir_time(:name)");
    rewrites("SELECT * FROM access a WHERE a.ts != @t AND \"a\".\"ts\" IS NOT '2015-05-18'",
             "SELECT * FROM access a WHERE a.ts != weir_time(@t) AND \"a\".\"ts\" IS NOT weir_time('2015-05-18')");
    rewrites("SELECT * FROM access WHERE ts IS NOT DISTINCT FROM '2015-05-18'",
             "SELECT * FROM access WHERE ts IS NOT DISTINCT FROM weir_time('2015-05-18')");
    rewrites("SELECT * FROM access WHERE _append_time > $t", "SELECT * FROM access WHERE _append_time > weir_time($t)");
    rewrites("SELECT max(ts) FROM access HAVING max(ts) > '2015-05-18'",
             "SELECT max(ts) FROM access HAVING max(ts) > weir_time('2015-05-18')");
    rewrites("SELECT * FROM access WHERE bucket(ts, '1h') = '2015-05-18'",
             "SELECT * FROM access WHERE (bucket(ts, '1h') = weir_time('2015-05-18') AND ts >= weir_time('2015-05-18') "
             "AND ts < weir_time('2015-05-18') + 3600000)");
    rewrites("SELECT * FROM access a WHERE status = 200 AND bucket(a.ts, '1m') >= ago('15m') ORDER BY 1",
             "SELECT * FROM access a WHERE status = 200 AND (bucket(a.ts, '1m') >= ago('15m') AND a.ts >= ago('15m')) "
             "ORDER BY 1");
    rewrites("SELECT * FROM access WHERE (bucket(ts, '1d') < '2015-05-18' OR status = 1)",
             "SELECT * FROM access WHERE ((bucket(ts, '1d') < weir_time('2015-05-18') AND ts < weir_time('2015-05-18') "
             "+ 86400000) OR status = 1)");
    // Nothing follows, or nothing that is known.
    for (const char* same : {"SELECT * FROM access WHERE bucket(ts, '1h') <> now()",
                             "SELECT * FROM access WHERE bucket(ts, '1h') = now() + 1",
                             "SELECT * FROM access WHERE 1 + bucket(ts, '1h') = now()",
                             "SELECT * FROM access WHERE bucket(ts, '1h') = now() = 1",
                             "SELECT * FROM access WHERE bucket(status, '1h') = now()"})
        unchanged(same);
    rewrites("SELECT bucket(ts, '1h') AS h FROM access WHERE h > '2015-05-18'",
             "SELECT bucket(ts, '1h') AS h FROM access WHERE h > weir_time('2015-05-18')");
    rewrites("SELECT a.ts FROM texts t JOIN access a ON a.ts = '2015-05-18' AND t.ts = '2015-05-18'",
             "SELECT a.ts FROM texts t JOIN access a ON a.ts = weir_time('2015-05-18') AND t.ts = '2015-05-18'");
    rewrites("SELECT * FROM access WHERE '2015-05-18' BETWEEN ts AND ts",
             "SELECT * FROM access WHERE weir_time('2015-05-18') BETWEEN ts AND ts");
    rewrites("SELECT ts > '2015-05-18', CASE WHEN ts < '2015-05-19' THEN 1 END FROM access",
             "SELECT ts > weir_time('2015-05-18'), CASE WHEN ts < weir_time('2015-05-19') THEN 1 END FROM access");
}

TEST_CASE("rewrite: a TIMESTAMP in parentheses of its own") {
    const auto where = [](const std::string& text, const std::string& want) {
        rewrites("SELECT * FROM access a WHERE " + text, "SELECT * FROM access a WHERE " + want);
    };
    const auto same = [&](const std::string& text) { where(text, text); };
    where("(ts) > '2015-05-18'", "(ts) > weir_time('2015-05-18')");
    where("(ts)>'2015-05-18'", "(ts)>weir_time('2015-05-18')");
    where("'2015-05-18' < (ts)", "weir_time('2015-05-18') < (ts)");
    where("'2015-05-18' < ((a.ts))", "weir_time('2015-05-18') < ((a.ts))");
    where("NOT ((ts)) BETWEEN ? AND '2015-05-18'", "NOT ((ts)) BETWEEN weir_time(?) AND weir_time('2015-05-18')");
    where("status = 1 AND (ts) IN ('2015-05-18')", "status = 1 AND (ts) IN (weir_time('2015-05-18'))");
    where("(ts) IS NOT ?1 OR (max(ts)) = ?2", "(ts) IS NOT weir_time(?1) OR (max(ts)) = weir_time(?2)");
    where("((ts) > '2015-05-18')", "((ts) > weir_time('2015-05-18'))");
    where("(ts > '2015-05-18')", "(ts > weir_time('2015-05-18'))");
    where("lower((ts) > '2015-05-18')", "lower((ts) > weir_time('2015-05-18'))");
    rewrites("SELECT (ts) = '2015-05-18', (ts) FROM access HAVING (ts) < '2015-05-18'",
             "SELECT (ts) = weir_time('2015-05-18'), (ts) FROM access HAVING (ts) < weir_time('2015-05-18')");
    // Another expression than the column.
    same("lower(ts) > '2015-05-18' AND \"lower\"(ts) > 'x'");
    same("status IN (ts) = 'x' AND 'x' = path");
    same("-(ts) > '2015-05-18' AND (ts) + 1 > '2015-05-18' AND '2015-05-18' < (ts) || ''");
    same("(ts, 1) > ('2015-05-18', 1)");
    same("(path) > '2015-05-18'");
    refuses("SELECT * FROM access WHERE (ts) > 'yesterday'", "'yesterday'", "compared with a time");
}

TEST_CASE("rewrite: CASE compares its base") {
    const auto item = [](const std::string& text, const std::string& want) {
        rewrites("SELECT " + text + " FROM access", "SELECT " + want + " FROM access");
    };
    const auto same = [&](const std::string& text) { item(text, text); };
    item("CASE ts WHEN '2015-05-18' THEN 'a' WHEN ? THEN 'b' WHEN 5 THEN 'c' ELSE 'd' END",
         "CASE ts WHEN weir_time('2015-05-18') THEN 'a' WHEN weir_time(?) THEN 'b' WHEN 5 THEN 'c' ELSE 'd' END");
    item("case (ts) when '2015-05-18' then 1 end", "case (ts) when weir_time('2015-05-18') then 1 end");
    item("CASE max(ts) WHEN '2015-05-18' THEN 1 END", "CASE max(ts) WHEN weir_time('2015-05-18') THEN 1 END");
    item("CASE '2015-05-18' WHEN ts THEN 1 END", "CASE weir_time('2015-05-18') WHEN ts THEN 1 END");
    item("CASE ts WHEN '2015-05-18' THEN CASE path WHEN 'x' THEN 1 END WHEN '2015-05-19' THEN 2 END",
         "CASE ts WHEN weir_time('2015-05-18') THEN CASE path WHEN 'x' THEN 1 END WHEN weir_time('2015-05-19') THEN 2 "
         "END");
    item("CASE path WHEN 'x' THEN CASE ts WHEN '2015-05-18' THEN 1 END WHEN 'y' THEN 2 END",
         "CASE path WHEN 'x' THEN CASE ts WHEN weir_time('2015-05-18') THEN 1 END WHEN 'y' THEN 2 END");
    same("CASE WHEN ts THEN 1 WHEN 'x' THEN 2 END");
    same("CASE path WHEN 'x' THEN ts WHEN 'y' THEN ts END");
    same("CASE ts + 1 WHEN 'x' THEN 1 END");
    same("CASE 'x' WHEN ts > 5 THEN 1 END");
    // Not SQL, but SQLite says so, and nothing is read beyond the end.
    const TableShape& shape = *find("access");
    for (const char* text : {"CASE", "CASE ts", "CASE ts WHEN", "CASE ts WHEN 'x'", "END CASE (ts) WHEN", "x WHEN ts"})
        CHECK(rewrite_expression(text, shape).value() == text);
    refuses("SELECT CASE ts WHEN 'never' THEN 1 END FROM access", "'never'", "compared with a time");
}

TEST_CASE("rewrite: through subqueries and WITH") {
    rewrites("WITH r AS (SELECT ts t, status FROM access) SELECT * FROM r WHERE t > '2015-05-18'",
             "WITH r AS (SELECT ts t, status FROM access) SELECT * FROM r WHERE t > weir_time('2015-05-18')");
    rewrites(
        "WITH r(a, b) AS (SELECT path, ts FROM access) SELECT * FROM r WHERE b > '2015-05-18' AND a > '2015-05-18'",
        "WITH r(a, b) AS (SELECT path, ts FROM access) SELECT * FROM r WHERE b > weir_time('2015-05-18') AND a > "
        "'2015-05-18'");
    rewrites("SELECT * FROM (SELECT * FROM access) x WHERE x.ts > '2015-05-18'",
             "SELECT * FROM (SELECT * FROM access) x WHERE x.ts > weir_time('2015-05-18')");
    rewrites(
        "SELECT * FROM access WHERE status IN (SELECT n FROM my-stream WHERE ts < '2015-05-18') AND ts > '2015-05-18'",
        "SELECT * FROM access WHERE status IN (SELECT n FROM \"my-stream\" WHERE ts < weir_time('2015-05-18')) AND ts "
        "> weir_time('2015-05-18')");
    rewrites(
        "SELECT 1 FROM texts WHERE EXISTS (SELECT 1 FROM access_1h WHERE window_start = '2015-05-18' AND ts = 'a')",
        "SELECT 1 FROM texts WHERE EXISTS (SELECT 1 FROM access_1h WHERE window_start = weir_time('2015-05-18') AND ts "
        "= 'a')");
    rewrites("SELECT ts FROM texts WHERE ts > 'a' UNION ALL SELECT ts FROM access WHERE ts > '2015-05-18'",
             "SELECT ts FROM texts WHERE ts > 'a' UNION ALL SELECT ts FROM access WHERE ts > weir_time('2015-05-18')");
    rewrites("SELECT * FROM (access a JOIN access_1h w ON w.window_start = '2015-05-18') WHERE a.ts > '2015-05-18'",
             "SELECT * FROM (access a JOIN access_1h w ON w.window_start = weir_time('2015-05-18')) WHERE a.ts > "
             "weir_time('2015-05-18')");
    unchanged("WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c) SELECT x FROM c");
    unchanged("WITH access AS (SELECT '1' AS ts) SELECT * FROM access WHERE ts = '1'");
}

TEST_CASE("rewrite: what is left alone") {
    unchanged("SELECT * FROM access WHERE path > '2015-05-18'");
    unchanged("SELECT * FROM access WHERE ts > now() AND ts > ago('15m') AND ts = 5 AND ts IS NULL");
    unchanged("SELECT * FROM access WHERE rfc3339(ts) > '2015'");
    unchanged("SELECT * FROM access WHERE ts || 'x' = 'y' AND 'x' || ts = 'y'");
    unchanged("SELECT * FROM access WHERE ts > '2015-05-18' || 'T00:00:00Z'");
    unchanged("SELECT * FROM access WHERE x.ts > '2015-05-18'");
    unchanged("SELECT 'ts >= 1', \"ts\" FROM access -- ts > 'a'\n WHERE 1");
}

TEST_CASE("rewrite: what is wrong, and where") {
    refuses("DROP STREAM access", "DROP", "expected SELECT");
    refuses("SELECT 1; SELECT 2", ";", "one statement");
    refuses("SELECT (1", "(1", "has no ')'");
    refuses("SELECT 1)", ")", "closes nothing");
    refuses("SELECT * FROM access WHERE ts > 'yesterday'", "'yesterday'", "compared with a time");
    refuses("SELECT * FROM access WHERE ts BETWEEN '2015-05-18' AND 'x'", "'x'", "compared with a time");
    refuses("SELECT * FROM TUMBLE(access, 1h)", "TUMBLE", "CREATE MATERIALIZED VIEW only");
    refuses("SELECT 'a", "'a", "no closing");
    refuses("", "", "expected SELECT");
}

TEST_CASE("rewrite: positions lead back to the user's text") {
    const std::string text = "SELECT zzz FROM sys.streams WHERE created_at > '2015-05-18' AND yyy";
    const RewrittenQuery query = rewrite_query(text, find).value();
    CHECK(query.user_position(query.sql.find("zzz")) == text.find("zzz"));
    CHECK(query.user_position(query.sql.find("yyy")) == text.find("yyy"));
    CHECK(query.user_position(query.sql.find("created_at")) == text.find("created_at"));
    CHECK(query.user_position(query.sql.find("weir_time")) == text.find("'2015"));
    CHECK(query.user_position(query.sql.size()) == text.size());
    const RewrittenQuery later = rewrite_query("  SELECT x", find).value();
    CHECK(later.sql == "SELECT x");
    CHECK(later.user_position(7) == 9);
}

TEST_CASE("rewrite: types of the result's columns") {
    types(
        "SELECT ts, a.ts, min(ts), max(a.ts), bucket(ts, '1h'), now(), ago('1h'), count(*), count(ts), status, path, "
        "ts + 1, nothing FROM access a",
        {"TIMESTAMP", "TIMESTAMP", "TIMESTAMP", "TIMESTAMP", "TIMESTAMP", "TIMESTAMP", "TIMESTAMP", "INTEGER",
         "INTEGER", "INTEGER", "TEXT", "", ""});
    types("SELECT window_start, sum(n), avg(n) FROM access_1h GROUP BY 1", {"TIMESTAMP", "", "REAL"});
    types("SELECT * FROM access", {"TIMESTAMP", "INTEGER", "TEXT"});
    types("SELECT 1, * FROM access, nowhere", {"", "TIMESTAMP", "INTEGER", "TEXT"});
    types("SELECT path, *, 1 FROM nowhere", {""});
    types("SELECT a.*, w.n FROM access a JOIN access_1h w ON 1", {"TIMESTAMP", "INTEGER", "TEXT", "INTEGER"});
    types("SELECT (SELECT max(ts) FROM access), (ts) FROM access", {"TIMESTAMP", "TIMESTAMP"});
    types("WITH r AS (SELECT max(ts) AS m FROM access) SELECT m, min(m) FROM r", {"TIMESTAMP", "TIMESTAMP"});
    types("SELECT ts FROM access UNION SELECT 1", {"TIMESTAMP"});
    types("SELECT max(ts) OVER (), min(ts, 5), max(ts) OVER w + 1 AS x, min(ts) FILTER (WHERE 1) OVER w y FROM access",
          {"TIMESTAMP", "", "", "TIMESTAMP"});
    types("VALUES (1)", {});
    types("EXPLAIN QUERY PLAN SELECT ts FROM access", {});
}

TEST_CASE("rewrite: expressions over one table") {
    const TableShape& shape = *find("access");
    CHECK(rewrite_expression("ts > '2015-05-18' AND path > '2015-05-18'", shape).value() ==
          "ts > weir_time('2015-05-18') AND path > '2015-05-18'");
    CHECK(rewrite_expression("access.ts BETWEEN ?1 AND ?2", shape).value() ==
          "access.ts BETWEEN weir_time(?1) AND weir_time(?2)");
    CHECK(rewrite_expression("", shape).value() == "");
    CHECK(rewrite_expression("ts > 'x'", shape).error().position == 5);
    CHECK(rewrite_expression("(ts", shape).error().code == Errc::invalid_argument);
}

TEST_CASE("rewrite: an expression that was rewritten stays as it is") {
    const TableShape& shape = *find("access");
    for (const char* text : {
             "ts > '2015-05-18'",
             "(ts) BETWEEN '2015-05-18' AND ? OR '2015-05-18' = (ts)",
             "ts NOT IN ('2015-05-18', '2015-05-19', 5)",
             "CASE ts WHEN '2015-05-18' THEN 'x' WHEN '2015-05-19' THEN 'y' END = 'x'",
             "CASE '2015-05-18' WHEN ts THEN 'x' WHEN 'never' THEN 'y' END = 'x'",
             "ts = '2015-05-18' = 'x'",
             "'x' = '2015-05-18' = ts",
             "'2015-05-18' BETWEEN ts AND 'x'",
             "ts IN ('2015-05-18' = 'x')",
         }) {
        INFO(text);
        const std::string once = rewrite_expression(text, shape).value();
        CHECK(once.find("weir_time") != std::string::npos);
        CHECK(rewrite_expression(once, shape).value() == once);
    }
}

TEST_CASE("shapes of streams and views") {
    const Statement stream = parse("CREATE STREAM s (a INTEGER, b REAL, t TIMESTAMP, c TEXT)").value();
    const record::Schema& schema = std::get<CreateStream>(stream).schema;
    const TableShape shape = stream_shape("s", schema);
    REQUIRE(shape.columns.size() == 10);
    CHECK(shape.columns[2] == std::pair<std::string, std::string>("t", "TIMESTAMP"));
    CHECK(shape.columns[6] == std::pair<std::string, std::string>("_append_time", "TIMESTAMP"));
    const Statement view = parse(
                               "CREATE MATERIALIZED VIEW v AS SELECT window_end, c, lower(c) l, bucket(t, '1m') m, "
                               "count(*) n, sum(a), sum(b), sum(c), "
                               "min(t), max(c), avg(a) FROM TUMBLE(s, 1h) GROUP BY 1, 2, 3, 4")
                               .value();
    std::string got;
    for (const auto& [name, type] : view_shape(std::get<CreateView>(view), schema).columns)
        got += name + ":" + type + " ";
    CHECK(got ==
          "window_end:TIMESTAMP c:TEXT l: m:TIMESTAMP n:INTEGER sum(a):INTEGER sum(b):REAL sum(c): min(t):TIMESTAMP "
          "max(c):TEXT avg(a):REAL ");
}
