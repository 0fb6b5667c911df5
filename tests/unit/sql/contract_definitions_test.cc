// contract.md, "Events" and "SQL": what a definition means when it says nothing, and where its CHECKs stand.
#include "sql/statement.h"

#include <catch2/catch_test_macros.hpp>

#include <string>
#include <variant>
#include <vector>

namespace weir::sql {
namespace {

template <class T>
T parsed(const std::string& text) {
    auto statement = parse(text);
    INFO(text);
    INFO((statement ? "" : statement.error().detail));
    REQUIRE(statement);
    REQUIRE(std::holds_alternative<T>(statement.value()));
    return std::get<T>(std::move(statement).value());
}

TEST_CASE(
    "defaults: PARTITIONS 4, DELAY 0, MAX FUTURE 1h, no IDLE AFTER, RETAIN 7d, DEAD LETTER, LATENESS 0, CHANGES") {
    const auto stream = parsed<CreateStream>("CREATE STREAM s (ts TIMESTAMP, EVENT TIME ts)");
    CHECK(stream.schema.partitions == 4);
    CHECK(stream.schema.delay_ms == 0);
    CHECK(stream.schema.max_future_ms == 3'600'000);
    CHECK(stream.schema.idle_after_ms == -1);
    CHECK(stream.retain_ms == 7LL * 86'400'000);
    CHECK(stream.retain_bytes == -1);
    CHECK(stream.schema.on_error == record::OnError::dead_letter);
    CHECK(stream.schema.dedup_key.empty());
    const auto view = parsed<CreateView>(
        "CREATE MATERIALIZED VIEW v AS SELECT window_start, count(*) AS n FROM TUMBLE(s, 1h) GROUP BY window_start");
    CHECK(view.lateness_ms == 0);
    CHECK(view.window_offset_ms == 0);
    CHECK(view.emit == EmitMode::changes);
}

TEST_CASE("WITHIN may not exceed RETAIN: equal may be, a millisecond more may not, in any order of clauses") {
    const auto fails = [](const std::string& clauses) {
        auto statement = parse("CREATE STREAM s (a TEXT) " + clauses);
        INFO(clauses);
        REQUIRE_FALSE(statement);
        CHECK(statement.error().code == Errc::invalid_argument);
        CHECK(statement.error().detail.find("may not exceed RETAIN") != std::string::npos);
    };
    const auto passes = [](const std::string& clauses) {
        (void)parsed<CreateStream>("CREATE STREAM s (a TEXT) " + clauses);
    };
    passes("DEDUP KEY (a) WITHIN 7d");
    fails("DEDUP KEY (a) WITHIN 604800001ms");
    passes("DEDUP KEY (a) WITHIN 1h RETAIN 1h");
    fails("DEDUP KEY (a) WITHIN 3600001ms RETAIN 1h");
    fails("RETAIN 1h DEDUP KEY (a) WITHIN 3600001ms");
    passes("RETAIN 30d MAX 1GB DEDUP KEY (a) WITHIN 30d");
}

TEST_CASE("a statement knows where the expressions of its CHECKs begin") {
    const std::string text =
        "CREATE STREAM s (\"check\" TEXT, a INTEGER CHECK ( /* x */ b > 1), b INTEGER, t TIMESTAMP CHECK (t > "
        "'2015-01-01'))";
    const auto stream = parsed<CreateStream>(text);
    CHECK(stream.check_positions == std::vector<std::int64_t>{-1, static_cast<std::int64_t>(text.find("b > 1")), -1,
                                                              static_cast<std::int64_t>(text.find("t > '2015"))});
}

}  // namespace
}  // namespace weir::sql
