#include "sql/statement.h"

#include <catch2/catch_test_macros.hpp>

#include <string>

using namespace weir;
using namespace weir::sql;

namespace {

constexpr const char* access_stream = R"(CREATE STREAM access (
      event_id TEXT, event_type TEXT, user_id TEXT,
      method TEXT FROM '$.properties.method', path TEXT FROM '$.properties.path',
      status INTEGER NOT NULL CHECK (status BETWEEN 100 AND 599) FROM '$.properties.status',
      bytes INTEGER CHECK (bytes >= 0) FROM '$.properties.bytes',
      ts TIMESTAMP FROM '$.timestamp',
      EVENT TIME ts DELAY 30m IDLE AFTER 30s,
      DEDUP KEY (event_id) WITHIN 7d
    ) PARTITIONS 4 BY user_id RETAIN 30d ON ERROR DEAD LETTER;)";

CreateStream stream(std::string_view text) {
    INFO(text);
    auto parsed = parse(text);
    if (!parsed) FAIL(parsed.error().detail);
    REQUIRE(std::holds_alternative<CreateStream>(parsed.value()));
    return std::get<CreateStream>(parsed.value());
}

CreateView view(std::string_view text) {
    INFO(text);
    auto parsed = parse(text);
    if (!parsed) FAIL(parsed.error().detail);
    REQUIRE(std::holds_alternative<CreateView>(parsed.value()));
    return std::get<CreateView>(parsed.value());
}

// `where`: a piece of the text; the error's position is where it stands last ("" = the end). `said`: part of the
// detail.
void refuses(Errc code, std::string_view text, std::string_view where, std::string_view said) {
    INFO(text);
    auto parsed = parse(text);
    REQUIRE_FALSE(parsed.has_value());
    INFO(parsed.error().detail);
    CHECK(parsed.error().code == code);
    const std::size_t at = where.empty() ? text.size() : text.rfind(where);
    REQUIRE(at != std::string_view::npos);
    CHECK(parsed.error().position == static_cast<std::int64_t>(at));
    CHECK(parsed.error().detail.find(said) != std::string::npos);
}
void invalid(std::string_view text, std::string_view where, std::string_view said) {
    refuses(Errc::invalid_argument, text, where, said);
}
void unbuilt(std::string_view text, std::string_view where, std::string_view said) {
    refuses(Errc::unsupported, text, where, said);
}

// In `CREATE STREAM s (` ... `)`, and in a view after its FROM.
void invalid_columns(const std::string& columns, std::string_view where, std::string_view said) {
    invalid("CREATE STREAM s (" + columns, where, said);
}
std::string view_of(const std::string& items, const std::string& rest) {
    return "CREATE MATERIALIZED VIEW v AS SELECT " + items + " FROM TUMBLE(s, 1h) " + rest;
}

}  // namespace

TEST_CASE("CREATE STREAM: the contract's example") {
    const CreateStream s = stream(access_stream);
    CHECK(s.name == "access");
    CHECK_FALSE(s.if_not_exists);
    REQUIRE(s.schema.columns.size() == 8);
    CHECK(s.schema.columns[0].name == "event_id");
    CHECK(s.schema.columns[0].path_text == "$.event_id");
    REQUIRE(s.schema.columns[0].path.size() == 1);
    CHECK(s.schema.columns[0].path[0].name == "event_id");
    const record::Column& status = s.schema.columns[5];
    CHECK(status.type == record::ColumnType::integer);
    CHECK(status.not_null);
    CHECK(status.check_sql == "status BETWEEN 100 AND 599");
    CHECK(status.path_text == "$.properties.status");
    CHECK(status.path.size() == 2);
    CHECK(s.schema.event_time == 7);
    CHECK(s.schema.delay_ms == 1'800'000);
    CHECK(s.schema.idle_after_ms == 30'000);
    CHECK(s.schema.max_future_ms == 3'600'000);
    CHECK(s.schema.dedup_key == std::vector<int>{0});
    CHECK(s.schema.dedup_within_ms == 7LL * 86'400'000);
    CHECK(s.schema.partitions == 4);
    CHECK(s.schema.partition_by == 2);
    CHECK(s.retain_ms == 30LL * 86'400'000);
    CHECK(s.retain_bytes == -1);
    CHECK(s.schema.on_error == record::OnError::dead_letter);
    CHECK_FALSE(s.schema.lenient);
}

TEST_CASE("CREATE STREAM: defaults, order of clauses, quotes") {
    const CreateStream least = stream("create stream s(a text)");
    CHECK(least.schema.partitions == 4);
    CHECK(least.retain_ms == 7LL * 86'400'000);
    CHECK(least.schema.event_time == -1);
    CHECK(least.schema.dedup_key.empty());
    CHECK(least.schema.partition_by == -1);

    const CreateStream s = stream(
        "CREATE STREAM IF NOT EXISTS \"my-stream.v2\" (EVENT TIME t MAX FUTURE 5m DELAY '4s', t TIMESTAMP NOT NULL, "
        "\"a b\" JSON NULL) "
        "ON ERROR REJECT RETAIN 1d MAX 50GB DEDUP KEY (\"A B\", t) WITHIN 24h PARTITIONS 256 -- the end\n;;");
    CHECK(s.name == "my-stream.v2");
    CHECK(s.if_not_exists);
    CHECK(s.schema.event_time == 0);
    CHECK(s.schema.delay_ms == 4000);
    CHECK(s.schema.max_future_ms == 300'000);
    CHECK(s.schema.idle_after_ms == -1);
    CHECK(s.schema.columns[1].path_text == "$.\"a b\"");
    CHECK(s.schema.columns[1].path[0].name == "a b");
    CHECK(s.schema.dedup_key == std::vector<int>{1, 0});
    CHECK(s.schema.partitions == 256);
    CHECK(s.retain_bytes == 50'000'000'000);
    CHECK(s.schema.on_error == record::OnError::reject);
    CHECK(stream("CREATE STREAM s (a TEXT CHECK ( a <> ')' -- why\n AND (a) <> '' ))").schema.columns[0].check_sql ==
          "a <> ')' AND (a) <> ''");
    CHECK(stream("CREATE STREAM s (event TEXT, dedup INTEGER)").schema.columns.size() == 2);
    CHECK(stream("CREATE STREAM s (a JSON FROM '$')").schema.columns[0].path.empty());
    CHECK(stream("CREATE STREAM s (a TEXT) LENIENT").schema.lenient);
    // Equal is allowed, one millisecond more is not.
    CHECK(stream("CREATE STREAM s (a TEXT, DEDUP KEY (a) WITHIN 7d)").schema.dedup_within_ms == 7LL * 86'400'000);
}

TEST_CASE("CREATE STREAM: what is wrong, and where") {
    invalid("CREATE STREM s (a TEXT)", "STREM", "near 'STREM': expected STREAM or MATERIALIZED; did you mean STREAM?");
    invalid("CREATE STREAM", "", "at the end: expected a name after STREAM");
    invalid("CREATE STREAM 1s (a TEXT)", "1s", "near '1s'");
    invalid("CREATE STREAM IF EXISTS s (a TEXT)", "EXISTS", "expected NOT EXISTS");
    invalid("CREATE STREAM s", "", "expected '('");
    invalid("CREATE STREAM my-stream (a TEXT)", "-", "double quotes");
    invalid("CREATE STREAM \"a b\" (a TEXT)", "\"a b\"", "letters, digits");
    invalid("CREATE STREAM sys (a TEXT)", "sys", "reserved");
    invalid("CREATE STREAM x_late (a TEXT)", "x_late", "_late are reserved");
    invalid_columns(")", ")", "expected a column, EVENT TIME or DEDUP KEY");
    invalid_columns("a TEXT,)", ")", "expected a column");
    invalid_columns("a TEXT", "", "expected ',' or ')'");
    invalid_columns("a)", ")", "expected the type of column a");
    invalid_columns("a TXET)", "TXET", "did you mean TEXT?");
    invalid_columns("a VARCHAR)", "VARCHAR", "did you mean TEXT?");
    invalid_columns("a BIGINT)", "BIGINT", "did you mean INTEGER?");
    invalid_columns("a TEXT FORM '$.b')", "FORM", "did you mean FROM?");
    invalid_columns("a TEXT FROM b)", "b)", "JSON path in quotes");
    invalid_columns("a TEXT FROM '$.b' FROM '$.c')", "FROM '$.c'", "second FROM");
    invalid_columns("a TEXT NOT)", "NOT", "expected ',' or ')'");
    invalid_columns("t TIMESTAMP CHECK /* a  b */ (  t   >  'yesterday' ))", "'yesterday'", "compared with a time");
    invalid_columns("a TEXT CHECK (t = 'never'), t TIMESTAMP CHECK (t > '2015-01-01'))", "'never'", "with a time");
    invalid_columns("\"check\" TEXT CHECK (a = 'x'), a TIMESTAMP)", "'x'", "with a time");
    invalid_columns("a TEXT CHECK a > 1)", "a > 1", "expected '(' after CHECK");
    invalid_columns("a TEXT CHECK ())", "CHECK", "no expression");
    invalid_columns("a TEXT CHECK (a", "(a", "'(' after CHECK has no ')'");
    invalid_columns("a TEXT, b TEXT, A TEXT)", "A TEXT", "there is a column a already");
    invalid_columns("_offset INTEGER)", "_offset", "reserved");
    invalid_columns("_PARTITION INTEGER)", "_PARTITION", "reserved");
    invalid_columns("a TEXT, EVENT TIME ts)", "ts)", "there is no column ts");
    invalid_columns("tstamp TIMESTAMP, EVENT TIME tsamp)", "tsamp", "did you mean tstamp?");
    invalid_columns("ts TEXT, EVENT TIME ts)", "ts)", "needs a TIMESTAMP column; ts is TEXT");
    invalid_columns("ts TIMESTAMP, EVENT TIME ts DELAY 30)", "30", "expected a duration after DELAY");
    invalid_columns("ts TIMESTAMP, EVENT TIME ts DELAI 30m)", "DELAI", "did you mean DELAY?");
    invalid_columns("ts TIMESTAMP, EVENT TIME ts DELAY 1m DELAY 2m)", "DELAY 2m", "DELAY stands twice");
    invalid_columns("ts TIMESTAMP, EVENT TIME ts DELAY 36501d)", "36501d", "may not exceed 36500d");
    invalid_columns("ts TIMESTAMP, EVENT TIME ts MAX PAST 1h)", "PAST", "expected FUTURE");
    invalid_columns("a TEXT, DEDUP KEY a WITHIN 1d)", "a WITHIN", "expected '('");
    invalid_columns("a TEXT, DEDUP KEY (a))", ")", "expected WITHIN (how long");
    invalid_columns("a TEXT, DEDUP KEY (a, b) WITHIN 1d)", "b)", "there is no column b");
    invalid_columns("a TEXT, DEDUP KEY (a, A) WITHIN 1d)", "A)", "twice");
    invalid_columns("a TEXT, DEDUP KEY (a) WITHIN 0s)", "0s", "remember nothing");
    invalid_columns("a TEXT, DEDUP KEY (a) WITHIN 8d)", "8d", "may not exceed RETAIN 7d (the default)");
    invalid_columns("a TEXT) RETAIN 1d DEDUP KEY (a) WITHIN 25h", "25h", "may not exceed RETAIN 1d");
    invalid_columns("a TEXT) PARTITIONS 0", "0", "from 1 to 256");
    invalid_columns("a TEXT) PARTITIONS 257", "257", "from 1 to 256");
    invalid_columns("a TEXT) PARTITIONS 4 BY b", "b", "there is no column b");
    invalid_columns("a TEXT) PARTITION 4", "PARTITION", "did you mean PARTITIONS?");
    invalid_columns("a TEXT) PARTITIONS 4 PARTITIONS 5", "PARTITIONS 5", "PARTITIONS stands twice");
    invalid_columns("a TEXT) RETAIN 7", "7", "expected a duration");
    invalid_columns("a TEXT) RETAIN 7x", "7x", "neither a number nor a duration");
    invalid_columns("a TEXT) RETAIN 7d MAX 5", "5", "expected a size after MAX");
    invalid_columns("a TEXT) ON ERROR DEAD", "DEAD", "expected DEAD LETTER or REJECT");
    invalid_columns("a TEXT) ON EROR REJECT", "EROR", "did you mean ERROR?");
    invalid_columns("a TEXT); SELECT 1", "SELECT", "expected the end of the statement");
    invalid_columns("a TEXT DEFAULT b)", "b)", "expected a value after DEFAULT");
    invalid_columns("a TEXT DEFAULT -'x')", "'x'", "expected a value after DEFAULT");
    invalid_columns("a TEXT DEFAULT)", ")", "expected a value after DEFAULT");
    invalid_columns("a TEXT DEFAULT ())", "()", "holds no expression");
    invalid_columns("a TEXT DEFAULT 'x' DEFAULT 'y')", "DEFAULT 'y'", "a second DEFAULT");
    invalid_columns("a TEXT DEFAULT 'x', DEDUP KEY (a) WITHIN 1h)", "'x'", "DEDUP KEY is refused, whatever");
    invalid_columns("ts TIMESTAMP DEFAULT '2020-01-01', EVENT TIME ts)", "'2020", "EVENT TIME is refused, whatever");
    unbuilt("CREATE STREAM s (a TEXT PRIMARY KEY)", "PRIMARY", "DEDUP KEY");
    invalid("CREATE OR STREAM s (a TEXT)", "STREAM", "expected REPLACE");
    invalid("CREATE OR REPLACE STREAM IF NOT EXISTS s (a TEXT)", "IF", "exclude each other");
}

TEST_CASE("CREATE STREAM: 200 columns, not 201") {
    std::string columns = "c0 TEXT";
    for (int i = 1; i < 200; ++i)
        columns += ", c" + std::to_string(i) + " TEXT";
    CHECK(stream("CREATE STREAM s (" + columns + ")").schema.columns.size() == 200);
    invalid_columns(columns + ", last TEXT)", "last", "at most 200 columns");
}

TEST_CASE("CREATE MATERIALIZED VIEW: the contract's example") {
    const CreateView v = view(R"(CREATE MATERIALIZED VIEW access_1h AS
      SELECT window_start, status, count(*) AS n, sum(bytes) AS bytes
      FROM TUMBLE(access, 1h) GROUP BY window_start, status LATENESS 7d EMIT CHANGES;)");
    CHECK(v.name == "access_1h");
    CHECK(v.stream == "access");
    CHECK(v.window_ms == 3'600'000);
    CHECK(v.window_offset_ms == 0);
    CHECK(v.lateness_ms == 7LL * 86'400'000);
    CHECK(v.where_sql.empty());
    REQUIRE(v.keys.size() == 2);
    CHECK(v.keys[0].kind == ViewKey::Kind::window_start);
    CHECK(v.keys[1].kind == ViewKey::Kind::expression);
    CHECK(v.keys[1].sql == "status");
    REQUIRE(v.items.size() == 4);
    CHECK(v.items[0].name == "window_start");
    CHECK(v.items[0].key == 0);
    CHECK(v.items[1].key == 1);
    CHECK(v.items[2].name == "n");
    CHECK(v.items[2].is_aggregate);
    CHECK(v.items[2].aggregate == AggregateKind::count_star);
    CHECK(v.items[3].aggregate == AggregateKind::sum);
    CHECK(v.items[3].argument_sql == "bytes");
}

TEST_CASE("CREATE MATERIALIZED VIEW: GROUP BY by text, column, alias and ordinal") {
    for (const char* group : {"window_start, lower(method)", "WINDOW_START, LOWER( method )", "1, 2", "w, m", "1, m",
                              "\"window_start\", 2"}) {
        const CreateView v =
            view(view_of("window_start w, lower(method) AS m, count(*)", std::string("GROUP BY ") + group));
        REQUIRE(v.keys.size() == 2);
        CHECK(v.keys[0].kind == ViewKey::Kind::window_start);
        CHECK(v.keys[0].name == "w");
        CHECK(v.keys[1].name == "m");
        CHECK(v.items[1].key == 1);
        CHECK(v.items[2].name == "count(*)");
    }
    // The window's other bound comes by itself; a key need not be shown; an alias of an aggregate is no key.
    const CreateView v = view(view_of("window_end, max(bytes) AS bytes",
                                      "OFFSET -15m WHERE a IS NOT DISTINCT FROM 'b' AND CASE WHEN x THEN 1 ELSE 0 END "
                                      "GROUP BY window_start, bytes EMIT CHANGES LATENESS 1m"));
    REQUIRE(v.keys.size() == 3);
    CHECK(v.keys[1].sql == "bytes");
    CHECK(v.keys[2].kind == ViewKey::Kind::window_end);
    CHECK(v.items[0].key == 2);
    CHECK(v.window_offset_ms == -900'000);
    CHECK(v.where_sql == "a IS NOT DISTINCT FROM 'b' AND CASE WHEN x THEN 1 ELSE 0 END");
    CHECK(v.lateness_ms == 60'000);
    // An item's own text goes before another's alias.
    const CreateView swapped = view(view_of("window_start, lower(a) AS b, b AS c", "GROUP BY 1, lower(a), b"));
    CHECK(swapped.keys[2].sql == "b");
    // min and max of two arguments are scalar.
    CHECK(view(view_of("window_start, min(a, b) AS m", "GROUP BY 1, min(a, b)")).keys[1].sql == "min(a, b)");
    CHECK(view(view_of("window_start, a || b", "GROUP BY 1, a||b")).items[1].name == "a || b");
    CHECK(view("CREATE MATERIALIZED VIEW IF NOT EXISTS v AS SELECT window_start, avg(x) a, min(x) b, count(x) c FROM "
               "TUMBLE(\"a-b\", '90s') GROUP BY 1")
              .stream == "a-b");
}

TEST_CASE("CREATE MATERIALIZED VIEW: what is wrong, and where") {
    const std::string start = "CREATE MATERIALIZED VIEW v AS SELECT ";
    invalid("CREATE MATERIALIZED VEW v AS SELECT 1", "VEW", "expected VIEW; did you mean VIEW?");
    invalid("CREATE MATERIALIZED VIEW v SELECT 1", "SELECT", "expected AS");
    invalid("CREATE MATERIALIZED VIEW v_late AS SELECT 1", "v_late", "reserved");
    invalid(start + "n FORM TUMBLE(s, 1h)", "FORM", "near 'FORM': expected FROM");
    invalid(start + "count(*) FORM TUMBLE(s, 1h)", "FORM", "did you mean FROM?");
    invalid(start + "* FROM TUMBLE(s, 1h)", "*", "SELECT *");
    invalid(start + "a, FROM TUMBLE(s, 1h)", "FROM", "expected an expression");
    invalid(start + "a + FROM TUMBLE(s, 1h)", "FROM", "expected the rest of an expression");
    invalid(start + "a FROM s GROUP BY a", "s GROUP", "FROM TUMBLE(s, 1h)");
    invalid(start + "a FROM TUMBEL(s, 1h)", "TUMBEL", "did you mean TUMBLE?");
    invalid(start + "a FROM TUMBLE(s)", ")", "expected ',' after the stream");
    invalid(start + "a FROM TUMBLE(s, 1)", "1)", "expected a duration");
    invalid(start + "a FROM TUMBLE(s, 0s)", "0s", "no length");
    invalid(start + "a FROM TUMBLE(a-b, 1h)", "-b", "double quotes");
    invalid(view_of("window_start", "OFFSET 1h GROUP BY 1"), "1h GROUP", "shorter than the window");
    invalid(view_of("count(*)", ""), "SELECT", "needs GROUP BY window_start");
    invalid(view_of("status, count(*)", "GROUP BY status"), "GROUP", "must hold window_start or window_end");
    invalid(view_of("window_start, status", "GROUP BY window_start"), "status", "'status' is neither an aggregate");
    invalid(view_of("window_start, count(*)", "GROUP BY 1, 2"), "2", "is an aggregate");
    invalid(view_of("window_start, count(*)", "GROUP BY 3"), "3", "there are 2 items");
    invalid(view_of("window_start, 5 AS five", "GROUP BY 1, 2"), "2", "constant");
    invalid(view_of("window_start, a", "GROUP BY 1, a, A"), "A", "twice");
    invalid(view_of("window_start, a AS x, b AS X", "GROUP BY 1, 2, 3"), "b AS X", "called X");
    invalid(view_of("window_start, count(*)", "WERE a > 1 GROUP BY 1"), "WERE", "did you mean WHERE?");
    invalid(view_of("window_start, count(*)", "WHERE a > GROUP BY 1"), "GROUP", "the rest of the condition");
    invalid(view_of("window_start, count(*)", "WHERE (a > 1 GROUP BY 1"), "(a >", "has no ')'");
    invalid(view_of("window_start, count(*)", "GROUP BY 1 LATENES 7d"), "LATENES", "did you mean LATENESS?");
    invalid(view_of("window_start, count(*)", "GROUP BY 1 LATENESS 7"), "7", "expected a duration after LATENESS");
    invalid(view_of("window_start, count(*)", "GROUP BY 1 LATENESS 1d LATENESS 2d"), "LATENESS 2d", "twice");
    invalid(view_of("window_start, count(*)", "GROUP BY 1 EMIT CHANGE"), "CHANGE", "did you mean CHANGES?");
    invalid(view_of("window_start, sum()", "GROUP BY 1"), ") FROM", "sum() needs an expression");
    invalid(view_of("window_start, avg(*)", "GROUP BY 1"), "*", "avg() needs an expression");
    invalid(view_of("window_start, sum(a, b)", "GROUP BY 1"), "a, b", "one argument");
}

TEST_CASE("CREATE MATERIALIZED VIEW: count(DISTINCT), first and last") {
    const CreateView v = view(
        view_of("window_start, count(DISTINCT a + 1) AS d, COUNT( distinct b ), first(c) AS f, last(c)", "GROUP BY 1"));
    REQUIRE(v.items.size() == 5);
    CHECK(v.items[1].aggregate == AggregateKind::count_distinct);
    CHECK(v.items[1].argument_sql == "a + 1");
    CHECK(v.items[2].aggregate == AggregateKind::count_distinct);
    CHECK(v.items[2].name == "COUNT( distinct b )");
    CHECK(v.items[3].aggregate == AggregateKind::first);
    CHECK(v.items[3].argument_sql == "c");
    CHECK(v.items[4].aggregate == AggregateKind::last);
    invalid(view_of("window_start, count(DISTINCT)", "GROUP BY 1"), ") FROM", "count() needs an expression");
    invalid(view_of("window_start, count(DISTINCT *)", "GROUP BY 1"), "*) FROM", "count() needs an expression");
    invalid(view_of("window_start, count(DISTINCT a, b)", "GROUP BY 1"), "a, b", "one argument");
    invalid(view_of("window_start, first()", "GROUP BY 1"), ") FROM", "first() needs an expression");
    unbuilt(view_of("window_start, last(count(*))", "GROUP BY 1"), "count(*", "an expression over aggregates");
}

TEST_CASE("CREATE MATERIALIZED VIEW: EMIT") {
    const auto emit = [](const std::string& clause) { return view(view_of("window_start", "GROUP BY 1 " + clause)); };
    CHECK(emit("").emit == EmitMode::changes);
    CHECK(emit("").emit_every_ms == 0);
    CHECK(emit("EMIT FINAL").emit == EmitMode::final_only);
    CHECK(emit("emit final LATENESS 1h").lateness_ms == 3'600'000);
    CHECK(emit("EMIT CHANGES EVERY 90s").emit == EmitMode::changes);
    CHECK(emit("EMIT CHANGES EVERY 90s").emit_every_ms == 90'000);
    invalid(view_of("window_start", "GROUP BY 1 EMIT CHANGES EVERY 0s"), "0s", "above zero");
    invalid(view_of("window_start", "GROUP BY 1 EMIT CHANGES EVERY"), "", "expected a duration after EVERY");
    invalid(view_of("window_start", "GROUP BY 1 EMIT FINAL EVERY 1s"), "EVERY", "EVERY belongs to EMIT CHANGES");
    invalid(view_of("window_start", "GROUP BY 1 EMIT"), "", "expected CHANGES or FINAL");
}

// HAVING as the plan reads it: k0 ... for keys, a0 ... for aggregates.
std::string having_of(const CreateView& v) {
    std::string out;
    for (const HavingPiece& piece : v.having) {
        out += out.empty() ? "" : " ";
        out += piece.key >= 0         ? "k" + std::to_string(piece.key)
               : piece.aggregate >= 0 ? "a" + std::to_string(piece.aggregate)
                                      : piece.text;
    }
    return out;
}

TEST_CASE("CREATE MATERIALIZED VIEW: HAVING knows GROUP BY terms, items and aggregates") {
    const auto having = [](const std::string& items, const std::string& condition) {
        return view(view_of(items, "GROUP BY window_start, status, lower(path) HAVING " + condition + " EMIT CHANGES"));
    };
    const std::string items = "window_start, status, count(*) AS n, sum(bytes) AS bytes, lower(path) AS p";
    const auto text = [&](const std::string& condition) { return having_of(having(items, condition)); };
    CHECK(text("n > 10") == "a0 > 10");
    CHECK(text("N>10 AND bytes IS NOT NULL") == "a0 > 10 AND a1 IS NOT NULL");
    CHECK(text("count(*) > 10 OR COUNT( * ) < 2") == "a0 > 10 OR a0 < 2");
    CHECK(text("status BETWEEN 1 AND n") == "k1 BETWEEN 1 AND a0");
    CHECK(text("lower(path) = 'x' AND p <> 'y' AND LOWER(path) LIKE 'z'") == "k2 = 'x' AND k2 <> 'y' AND k2 LIKE 'z'");
    CHECK(text("window_start > '2024-01-01'") == "k0 > '2024-01-01'");
    CHECK(text("window_end > 5 OR window_end < 2") == "k3 > 5 OR k3 < 2");
    CHECK(text("CAST(n AS INTEGER) % 2 = 0") == "CAST ( a0 AS INTEGER ) % 2 = 0");
    CHECK(text("CASE WHEN n > 1 THEN true ELSE \"status\" END") == "CASE WHEN a0 > 1 THEN true ELSE k1 END");
    CHECK(text("min(n, status) > 3 AND coalesce(bytes, 0) > 1") == "min ( a0 , k1 ) > 3 AND coalesce ( a1 , 0 ) > 1");
    // What the SELECT list does not have is kept for HAVING alone, each once.
    const CreateView own =
        having("window_start, count(*) AS n", "max(bytes) > 3 AND count(DISTINCT path) > max( bytes ) + n");
    CHECK(having_of(own) == "a1 > 3 AND a2 > a1 + a0");
    REQUIRE(own.having_aggregates.size() == 2);
    CHECK(own.having_aggregates[0].aggregate == AggregateKind::max);
    CHECK(own.having_aggregates[0].argument_sql == "bytes");
    CHECK(own.having_aggregates[1].aggregate == AggregateKind::count_distinct);
    // A term of GROUP BY goes before another item's name.
    CHECK(having_of(view(view_of("window_start, count(*) AS status, status AS s",
                                 "GROUP BY window_start, status HAVING status > 3"))) == "k1 > 3");
    const auto wrong = [&](const std::string& condition, std::string_view at, std::string_view why) {
        invalid(view_of(items, "GROUP BY window_start, status, lower(path) HAVING " + condition), at, why);
    };
    wrong("user > 3", "user", "HAVING knows GROUP BY terms");
    wrong("s.status > 3", "s.status", "plain names");
    wrong("n >", "", "the rest of the condition after HAVING");
    wrong("path = 'x'", "path =", "HAVING knows");
    wrong("sum(a, b) > 1", "a, b", "one argument");
    wrong("n > 1 HAVING n > 2", "HAVING n > 2", "twice");
    invalid(view_of("window_start", "HAVING 1 GROUP BY 1"), "HAVING", "HAVING stands behind GROUP BY");
    unbuilt(view_of(items, "GROUP BY window_start, status, lower(path) HAVING median(n) > 1"), "median", "median()");
    unbuilt(view_of(items, "GROUP BY window_start, status, lower(path) HAVING sum(count(*)) > 1"), "count(*)) >",
            "an expression over aggregates");
}

TEST_CASE("CREATE MATERIALIZED VIEW: 200 terms, not 201") {
    std::string group = "window_start";
    for (int i = 1; i < 200; ++i)
        group += ", c" + std::to_string(i);
    CHECK(view(view_of("window_start", "GROUP BY " + group)).keys.size() == 200);
    invalid(view_of("window_start", "GROUP BY " + group + ", last"), "last", "at most 200 terms");
}

TEST_CASE("CREATE MATERIALIZED VIEW: what is not built is named") {
    const std::string start = "CREATE MATERIALIZED VIEW v AS SELECT ";
    unbuilt(start + "a FROM HOP(s, SIZE 1h)", "HOP", "HOP");
    unbuilt(start + "a FROM SESSION(s, GAP 1h)", "SESSION", "SESSION");
    unbuilt(start + "DISTINCT a FROM TUMBLE(s, 1h)", "DISTINCT", "SELECT DISTINCT");
    unbuilt(start + "sum(DISTINCT a) FROM TUMBLE(s, 1h)", "DISTINCT", "sum(DISTINCT");
    unbuilt(start + "sum(a) / count(*) FROM TUMBLE(s, 1h)", "sum", "an expression over aggregates");
    unbuilt(start + "first(a) || 'x' FROM TUMBLE(s, 1h)", "first", "an expression over aggregates");
    unbuilt(start + "median(a) FROM TUMBLE(s, 1h)", "median", "median()");
    unbuilt(start + "sum(a) FILTER (WHERE b) FROM TUMBLE(s, 1h)", "FILTER", "FILTER");
    unbuilt(start + "sum(a) OVER () FROM TUMBLE(s, 1h)", "OVER", "OVER");
    unbuilt(view_of("window_start", "JOIN t USING (a) GROUP BY 1"), "JOIN", "JOIN");
    unbuilt(view_of("window_start", "ZONE 'Europe/Paris' GROUP BY 1"), "ZONE", "ZONE");
    unbuilt(view_of("window_start", "GROUP BY 1 EMIT CHANGES EVERY 1s THEN FINAL"), "THEN", "THEN FINAL");
    unbuilt(view_of("window_start", "GROUP BY 1 KEEP 90d"), "KEEP", "KEEP");
    unbuilt(view_of("window_start", "GROUP BY 1 LATE TO x"), "LATE", "LATE TO");
    unbuilt(view_of("window_start", "GROUP BY 1 ORDER BY 1"), "ORDER", "ORDER BY");
    unbuilt("CREATE VIEW v AS SELECT 1", "VIEW", "CREATE MATERIALIZED VIEW");
    unbuilt("CREATE TABLE t (a)", "TABLE", "CREATE TABLE");
}

TEST_CASE("DROP, SHOW, queries") {
    const auto drop = [](std::string_view text) {
        auto parsed = parse(text);
        if (!parsed) FAIL(parsed.error().detail);
        const auto& d = std::get<DropObject>(parsed.value());
        return std::string(d.is_view ? "view " : "stream ") + d.name + (d.if_exists ? " if" : "") +
               (d.cascade ? " cascade" : "");
    };
    CHECK(drop("DROP STREAM a") == "stream a");
    CHECK(drop("drop stream if exists \"a-b\";") == "stream a-b if");
    CHECK(drop("DROP MATERIALIZED VIEW v") == "view v");
    CHECK(drop("DROP VIEW IF EXISTS v") == "view v if");
    invalid("DROP TABLE v", "TABLE", "expected STREAM, MATERIALIZED, VIEW");
    invalid("DROP STREAM", "", "expected a name");
    invalid("DROP STREAM IF a", "a", "expected EXISTS");
    invalid("DROP STREAM a b", "b", "expected the end");
    CHECK(drop("DROP STREAM a CASCADE") == "stream a cascade");
    CHECK(drop("DROP STREAM IF EXISTS a RESTRICT") == "stream a if");
    CHECK(drop("DROP VIEW v CASCADE;") == "view v cascade");
    invalid("DROP STREAM a CASCADE RESTRICT", "RESTRICT", "expected the end");

    CHECK(std::get<Show>(parse("SHOW STREAMS;").value()).what == Show::What::streams);
    CHECK(std::get<Show>(parse("show views").value()).what == Show::What::views);
    CHECK(std::get<Show>(parse("SHOW WATERMARKS").value()).what == Show::What::watermarks);
    invalid("SHOW STREAM", "STREAM", "did you mean STREAMS?");
    CHECK(show_sql({Show::What::streams}).find("sys.streams") != std::string::npos);
    CHECK(show_sql({Show::What::views}).find("sys.views") != std::string::npos);
    CHECK(show_sql({Show::What::watermarks}).find("sys.watermarks") != std::string::npos);

    for (const char* text :
         {"SELECT 1", "WITH a AS (SELECT 1) SELECT * FROM a", "VALUES (1)", "EXPLAIN QUERY PLAN SELECT 1",
          "EXPLAIN SELECT 1", "explain with a as (select 1) select * from a", "EXPLAIN VIEW v",
          "EXPLAIN VIEW \"a-b\""}) {
        CHECK(std::get<Select>(parse(std::string("-- why\n ") + text + " ;").value()).text == text);
    }
    invalid("EXPLAIN DROP STREAM a", "DROP", "expected SELECT");
    invalid("EXPLAIN VIEW", "", "a view after EXPLAIN VIEW");
    invalid("EXPLAIN VIEW v w", "w", "expected the end");
    invalid("EXPLAIN QUERY PLAN DROP STREAM a", "DROP", "expected SELECT");
    unbuilt("INSERT INTO a VALUES (1)", "INSERT", "/events");
    unbuilt("PRAGMA x", "PRAGMA", "PRAGMA");
    invalid("SELCT 1", "SELCT", "did you mean SELECT?");
    invalid("", "", "empty");
    invalid("-- nothing\n", "", "empty");
    invalid("SELECT 1; SELECT 2", "SELECT 2", "expected the end");
    invalid("SELECT 'a", "'a", "no closing");
}

TEST_CASE("scripts are cut at their semicolons") {
    using Pieces = std::vector<std::string>;
    CHECK(split_statements("") == Pieces{});
    CHECK(split_statements(" ;; -- a;b\n ; /* c;d */") == Pieces{});
    CHECK(split_statements("a; b ;c") == Pieces{"a", "b ", "c"});
    CHECK(split_statements("a ';' \";\" [;] `;` -- ;\n b; c") == Pieces{"a ';' \";\" [;] `;` -- ;\n b", "c"});
    CHECK(split_statements("a; b 'c; d") == Pieces{"a", "b 'c; d"});
    CHECK(split_statements("-- first\na;") == Pieces{"a"});
}

TEST_CASE("names") {
    const auto good = [](std::string_view name) { return check_name(name).has_value(); };
    CHECK(good("a"));
    CHECK(good("_a.b-C9"));
    CHECK(good(std::string(249, 'a')));
    CHECK_FALSE(good(std::string(250, 'a')));
    CHECK_FALSE(good(""));
    CHECK_FALSE(good("9a"));
    CHECK_FALSE(good("-a"));
    CHECK_FALSE(good("a b"));
    CHECK_FALSE(good("a/b"));
    CHECK_FALSE(good("caf\xc3\xa9"));
    CHECK_FALSE(good("sys"));
    CHECK_FALSE(good("SYS.x"));
    CHECK(good("system"));
    CHECK_FALSE(good("sqlite_x"));
    CHECK_FALSE(good("a_late"));
    CHECK_FALSE(good("a_DEAD_LETTERS"));
    CHECK(good("late"));
}

TEST_CASE("FROM NOW and FLUSH") {
    const auto view = parse(view_of("window_start", "GROUP BY 1 EMIT CHANGES FROM NOW"));
    REQUIRE(view.has_value());
    const auto& create = std::get<CreateView>(view.value());
    CHECK(create.from_now);
    const auto again = parse(canonical(create));
    REQUIRE(again.has_value());
    CHECK(std::get<CreateView>(again.value()).from_now);
    CHECK_FALSE(parse(view_of("window_start", "GROUP BY 1 FROM NOW FROM NOW")).has_value());
    CHECK_FALSE(parse(view_of("window_start", "GROUP BY 1 FROM '2026-01-01'")).has_value());

    const auto flush = parse("FLUSH \"a-b\";");
    REQUIRE(flush.has_value());
    CHECK(std::get<FlushView>(flush.value()).name == "a-b");
    CHECK_FALSE(parse("FLUSH").has_value());
    CHECK_FALSE(parse("FLUSH v w").has_value());
}

TEST_CASE("OR REPLACE is kept in the log's text, and is no part of the definition") {
    const auto stream = std::get<CreateStream>(parse("CREATE OR REPLACE STREAM s (a TEXT)").value());
    CHECK(stream.or_replace);
    CHECK(std::get<CreateStream>(parse(canonical(stream)).value()).or_replace);
    const auto plain = std::get<CreateStream>(parse("CREATE STREAM IF NOT EXISTS s (a TEXT)").value());
    CHECK_FALSE(plain.or_replace);
    CHECK(definition(stream) == definition(plain));

    const std::string rest = " v AS SELECT window_start, count(*) FROM TUMBLE(s, 1m) GROUP BY window_start";
    const auto view = std::get<CreateView>(parse("CREATE OR REPLACE MATERIALIZED VIEW" + rest).value());
    CHECK(view.or_replace);
    CHECK(std::get<CreateView>(parse(canonical(view)).value()).or_replace);
    CHECK(definition(view) == definition(std::get<CreateView>(parse("CREATE MATERIALIZED VIEW" + rest).value())));
}

TEST_CASE("what stands in the way of a DROP is named, and what to do about it") {
    CHECK(depends_text("s", {"v"}) ==
          "view v depends on s: drop it first, or write DROP STREAM s CASCADE, which drops it too");
    CHECK(depends_text("a-b", {"w", "v"}) ==
          "views v, w depend on a-b: drop them first, or write DROP STREAM \"a-b\" CASCADE, which drops them too");
    CHECK(depends_text("s", {"a", "b", "c", "d", "e", "f", "g"}).find("a, b, c, d, e and 2 more depend") !=
          std::string::npos);
}

TEST_CASE("DEFAULT takes a literal, or any expression in parentheses; the log's text keeps it") {
    const std::string text =
        "CREATE STREAM s (a TEXT DEFAULT 'it''s' NOT NULL, b INTEGER DEFAULT -5 CHECK (b < 9), c INTEGER DEFAULT (1  + "
        "2), d BOOLEAN DEFAULT TRUE, e BLOB DEFAULT x'00ff' FROM '$.x', f REAL)";
    const auto stream = std::get<CreateStream>(parse(text).value());
    const auto& columns = stream.schema.columns;
    CHECK(columns[0].default_sql == "'it''s'");
    CHECK(columns[0].not_null);
    CHECK(columns[1].default_sql == "-5");
    CHECK(columns[1].check_sql == "b < 9");
    CHECK(columns[2].default_sql == "1 + 2");
    CHECK(columns[3].default_sql == "TRUE");
    CHECK(columns[4].default_sql == "x'00ff'");
    CHECK(columns[5].default_sql.empty());
    CHECK(stream.default_positions == std::vector<std::int64_t>{static_cast<std::int64_t>(text.find("'it")),
                                                                static_cast<std::int64_t>(text.find("-5")),
                                                                static_cast<std::int64_t>(text.find("(1")),
                                                                static_cast<std::int64_t>(text.find("TRUE")),
                                                                static_cast<std::int64_t>(text.find("x'00")), -1});
    const auto again = std::get<CreateStream>(parse(canonical(stream)).value());
    for (std::size_t c = 0; c < columns.size(); c++)
        CHECK(again.schema.columns[c].default_sql == columns[c].default_sql);
    CHECK(canonical(again) == canonical(stream));
}
