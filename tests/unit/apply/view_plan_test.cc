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
