#include "cluster/local_catalog.h"

#include "sql/statement.h"

#include <catch2/catch_test_macros.hpp>

#include <memory>
#include <string>
#include <variant>

namespace weir::cluster {

TEST_CASE("catalog: an undeclared stream's definition survives the log's text") {
    const auto made = undeclared_stream("clicks", Undeclared::events);
    const auto parsed = sql::parse(sql::canonical(made));
    REQUIRE(parsed.has_value());
    const auto& again = std::get<sql::CreateStream>(parsed.value());
    CHECK(again.name == "clicks");
    CHECK(again.schema.lenient);
    CHECK(again.schema.event_time == 2);
    CHECK(again.schema.dedup_key == std::vector<int>{0});
    CHECK(again.schema.dedup_within_ms == 86'400'000);
    CHECK(again.schema.columns.at(4).path.empty());
    CHECK(sql::canonical(again) == sql::canonical(made));
}

TEST_CASE("catalog: a stream made by a CloudEvent has the same columns, by the attributes' names") {
    const auto made = undeclared_stream("orders", Undeclared::cloudevents);
    const auto parsed = sql::parse(sql::canonical(made));
    REQUIRE(parsed.has_value());
    const auto& again = std::get<sql::CreateStream>(parsed.value());
    CHECK(sql::canonical(again) == sql::canonical(made));
    const auto plain = undeclared_stream("orders", Undeclared::events);
    for (std::size_t c = 0; c < plain.schema.columns.size(); c++) {
        CHECK(again.schema.columns.at(c).name == plain.schema.columns[c].name);
        CHECK(again.schema.columns.at(c).type == plain.schema.columns[c].type);
    }
    CHECK(again.schema.lenient);
    CHECK(again.schema.dedup_key == std::vector<int>{again.schema.column("event_source"), 0});
    CHECK(again.schema.partition_by == again.schema.column("key"));
    CHECK(again.schema.dedup_within_ms == 86'400'000);
}

TEST_CASE("catalog: before the shard is ready statements say so") {
    auto catalog = LocalCatalog::make(true);
    const auto created = catalog->create(undeclared_stream("s", Undeclared::events));
    REQUIRE_FALSE(created.has_value());
    CHECK(created.error().code == Errc::recovering);
    CHECK(catalog->snapshot()->stream("s") == nullptr);
}

}  // namespace weir::cluster
