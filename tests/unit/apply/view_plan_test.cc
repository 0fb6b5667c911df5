#include "apply/view_plan.h"

#include <catch2/catch_test_macros.hpp>

#include <string>
#include <variant>

namespace weir::apply {
namespace {

record::Stream a_stream() {
    auto parsed = sql::parse(
        "CREATE STREAM s (id TEXT, status INTEGER, size REAL, ok BOOLEAN, doc JSON, ts TIMESTAMP, EVENT TIME ts DELAY "
        "5m) PARTITIONS 3");
    REQUIRE(parsed.has_value());
    record::Stream stream;
    stream.name = "s";
    stream.schema = std::get<sql::CreateStream>(parsed.value()).schema;
    return stream;
}

Result<ViewPlan> plan(const std::string& text) {
    auto parsed = sql::parse(text);
    REQUIRE(parsed.has_value());
    return plan_view(a_stream(), std::get<sql::CreateView>(parsed.value()));
}

}  // namespace

TEST_CASE("view plan: plain columns are read directly, other expressions by SQLite; types follow") {
    const auto planned = plan(
        "CREATE MATERIALIZED VIEW v AS SELECT window_start, status, count(*) AS n, sum(status) AS a, sum(size) AS b, "
        "min(ts) AS first, "
        "max(id) AS last, avg(status) AS mean, sum(status + 1) AS c FROM TUMBLE(s, 1h) WHERE ts >= "
        "'2024-01-01T00:00:00Z' "
        "GROUP BY window_start, status LATENESS 2h");
    REQUIRE(planned.has_value());
    const auto& tumble = planned.value().tumble;
    CHECK(tumble.size_ms == 3'600'000);
    CHECK(tumble.lateness_ms == 7'200'000);
    CHECK(tumble.delay_ms == 300'000);
    CHECK(tumble.partitions == 3);
    REQUIRE(tumble.keys.size() == 2);
    CHECK(tumble.keys[1].input.column == 1);
    CHECK(tumble.aggregates[1].input.column == 1);
    CHECK(tumble.aggregates[6].input.column == -1);
    CHECK(tumble.where_sql.find("weir_time") != std::string::npos);  // compared in time
    std::vector<std::string> types;
    for (const auto& column : planned.value().columns)
        types.push_back(column.type);
    CHECK(types == std::vector<std::string>{"TIMESTAMP", "INTEGER", "INTEGER", "INTEGER", "REAL", "TIMESTAMP", "TEXT",
                                            "REAL", ""});
}

TEST_CASE("view plan: EMIT, HAVING and the aggregates that HAVING alone asks for") {
    const auto planned = plan(
        "CREATE MATERIALIZED VIEW v AS SELECT window_start, first(ts) AS a, last(doc) AS b, count(DISTINCT id) AS c, "
        "first(status + 1) AS d FROM TUMBLE(s, 1h) GROUP BY window_start HAVING c > 3 AND a > '2024-01-01' AND "
        "max(size) < 2 AND d IS NOT NULL EMIT CHANGES EVERY 2s");
    REQUIRE(planned.has_value());
    std::vector<std::string> types;
    for (const auto& column : planned.value().columns)
        types.push_back(column.type);
    CHECK(types == std::vector<std::string>{"TIMESTAMP", "TIMESTAMP", "JSON", "INTEGER", ""});
    const auto& tumble = planned.value().tumble;
    REQUIRE(tumble.aggregates.size() == 5);  // max(size) is not shown
    CHECK(tumble.aggregates[2].kind == stream::Aggregate::count_distinct);
    CHECK(tumble.aggregates[4].kind == stream::Aggregate::max);
    CHECK(tumble.emit_every_ms == 2000);
    CHECK_FALSE(planned.value().row_per_group);
    CHECK(tumble.having_sql.find("_r3 > 3") == 0);
    CHECK(tumble.having_sql.find("_r1 > weir_time('2024-01-01')") != std::string::npos);  // compared in time
    CHECK(tumble.having_sql.find("CASE _r4t") != std::string::npos);                      // of any type
    const auto final_rows =
        plan("CREATE MATERIALIZED VIEW v AS SELECT window_start FROM TUMBLE(s, 1h) GROUP BY window_start EMIT FINAL");
    REQUIRE(final_rows.has_value());
    CHECK(final_rows.value().tumble.emit == stream::Emit::final_rows);
    CHECK_FALSE(final_rows.value().row_per_group);
    for (const char* having : {"random() > count(*)", "count(*) > now()", "count(*) IN (SELECT 1)",
                               "avg(size) || 'x' = ''", "count(*) > nothing(1)", "window_start > 'nonsense'"}) {
        INFO(having);
        const auto refused =
            plan(std::string("CREATE MATERIALIZED VIEW v AS SELECT window_start FROM TUMBLE(s, 1h) GROUP BY "
                             "window_start HAVING ") +
                 having);
        CHECK_FALSE(refused.has_value());
    }
}

TEST_CASE("view plan: what does not compile or is not deterministic is refused") {
    auto refused = [](const std::string& where) {
        const auto planned =
            plan("CREATE MATERIALIZED VIEW v AS SELECT window_start, count(*) AS n FROM TUMBLE(s, 1h) WHERE " + where +
                 " GROUP BY window_start");
        INFO(where);
        CHECK_FALSE(planned.has_value());
    };
    refused("nowhere = 1");
    refused("random() > 0");
    refused("ts > now()");
    refused("status IN (SELECT 1)");
}

}  // namespace weir::apply
