#include "record/schema.h"

#include <catch2/catch_test_macros.hpp>

#include <utility>

namespace weir::record {
namespace {

Column named(std::string name) {
    Column column;
    column.name = std::move(name);
    return column;
}

Schema three_columns() {
    Schema schema;
    schema.columns = {named("id"), named("n"), named("Id2")};
    schema.columns[1].type = ColumnType::integer;
    return schema;
}

TEST_CASE("types have the names that SQL writes") {
    CHECK(type_name(ColumnType::text) == "TEXT");
    CHECK(type_name(ColumnType::integer) == "INTEGER");
    CHECK(type_name(ColumnType::real) == "REAL");
    CHECK(type_name(ColumnType::boolean) == "BOOLEAN");
    CHECK(type_name(ColumnType::timestamp) == "TIMESTAMP");
    CHECK(type_name(ColumnType::json) == "JSON");
    CHECK(type_name(ColumnType::blob) == "BLOB");
}

TEST_CASE("columns are found by name, whatever its case") {
    Schema schema = three_columns();
    CHECK(schema.column("id") == 0);
    CHECK(schema.column("n") == 1);
    CHECK(schema.column("ID2") == 2);
    CHECK(schema.column("id3") == -1);
    CHECK(schema.column("") == -1);
    schema.columns.push_back(named("ID"));
    CHECK(schema.column("ID") == 3);  // exact first
    CHECK(schema.column("id") == 0);
}

TEST_CASE("no two schema objects have one identity") {
    const Schema first = three_columns();
    const Schema copy = first;
    Schema assigned;
    const std::uint64_t before = assigned.identity.value();
    assigned = first;
    CHECK(first.identity.value() != copy.identity.value());
    CHECK(assigned.identity.value() != first.identity.value());
    CHECK(assigned.identity.value() != before);
    const Schema moved = std::move(assigned);
    CHECK(moved.identity.value() != assigned.identity.value());  // NOLINT: that is the point
}

}  // namespace
}  // namespace weir::record
