#include "cluster/local_catalog.h"

#include "sql/statement.h"

#include <catch2/catch_test_macros.hpp>

#include <memory>
#include <string>
#include <variant>

namespace weir::cluster {

TEST_CASE("catalog: an undeclared stream's definition survives the log's text") {
    const auto made = undeclared_stream("clicks");
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

TEST_CASE("catalog: before the shard is ready statements say so") {
    auto catalog = LocalCatalog::make(true);
    const auto created = catalog->create(undeclared_stream("s"));
    REQUIRE_FALSE(created.has_value());
    CHECK(created.error().code == Errc::recovering);
    CHECK(catalog->snapshot()->stream("s") == nullptr);
}

}  // namespace weir::cluster
