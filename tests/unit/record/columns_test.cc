#include "record/columns.h"

#include <catch2/catch_test_macros.hpp>

#include <bit>

namespace weir::record {
namespace {

TEST_CASE("a batch is reset to the shape of a schema") {
    ColumnBatch batch;
    Schema schema;
    schema.columns.resize(3);
    schema.columns[1].type = ColumnType::real;
    batch.reset(schema);
    CHECK(batch.columns.size() == 3);
    batch.columns[0].present.push_back(1);
    batch.columns[0].slice.push_back({0, 3});
    batch.bytes = "abc";
    batch.event_time_ms.push_back(1);
    batch.columns[1].number.push_back(std::bit_cast<std::int64_t>(-1.5));
    batch.rows = 1;
    CHECK(batch.real(1, 0) == -1.5);
    CHECK(batch.text(0, 0) == "abc");
    schema.columns.pop_back();
    batch.reset(schema);
    CHECK(batch.columns.size() == 2);
    CHECK(batch.rows == 0);
    CHECK(batch.bytes.empty());
    CHECK(batch.event_time_ms.empty());
    CHECK(batch.columns[0].present.empty());
    CHECK(batch.columns[0].slice.empty());
    CHECK(batch.columns[1].number.empty());
}

TEST_CASE("text, JSON and BLOB are slices, the rest are numbers") {
    for (const ColumnType type : {ColumnType::text, ColumnType::json, ColumnType::blob})
        CHECK(is_sliced(type));
    for (const ColumnType type : {ColumnType::integer, ColumnType::real, ColumnType::boolean, ColumnType::timestamp})
        CHECK_FALSE(is_sliced(type));
}

}  // namespace
}  // namespace weir::record
