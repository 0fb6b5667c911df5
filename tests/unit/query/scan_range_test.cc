#include "query/scan_range.h"

#include <catch2/catch_test_macros.hpp>

#include <limits>
#include <string>

using namespace weir::query;
using weir::store::Comparison;
using weir::store::Value;

namespace {

void narrows(Comparison op, const Value& value, std::int64_t least, std::int64_t greatest) {
    IntegerRange range;
    range.narrow(op, value);
    CHECK(range.least == least);
    CHECK(range.greatest == greatest);
}
void empties(Comparison op, const Value& value) {
    IntegerRange range;
    range.narrow(op, value);
    CHECK(range.empty());
}
constexpr std::int64_t low = INT64_MIN, high = INT64_MAX;

}  // namespace

TEST_CASE("integers narrow a range") {
    narrows(Comparison::eq, Value::of(std::int64_t{5}), 5, 5);
    narrows(Comparison::ge, Value::of(std::int64_t{5}), 5, high);
    narrows(Comparison::gt, Value::of(std::int64_t{5}), 6, high);
    narrows(Comparison::le, Value::of(std::int64_t{5}), low, 5);
    narrows(Comparison::lt, Value::of(std::int64_t{5}), low, 4);
    empties(Comparison::gt, Value::of(high));
    empties(Comparison::lt, Value::of(low));
    narrows(Comparison::ge, Value::of(high), high, high);
    IntegerRange range{3, 9};
    range.narrow(Comparison::gt, Value::of(std::int64_t{9}));
    CHECK(range.empty());
    CHECK_FALSE(range.holds(9));
}

TEST_CASE("reals narrow to the integers that satisfy them") {
    narrows(Comparison::eq, Value::of(5.0), 5, 5);
    empties(Comparison::eq, Value::of(5.5));
    narrows(Comparison::gt, Value::of(5.5), 6, high);
    narrows(Comparison::ge, Value::of(5.5), 6, high);
    narrows(Comparison::ge, Value::of(5.0), 5, high);
    narrows(Comparison::gt, Value::of(5.0), 6, high);
    narrows(Comparison::lt, Value::of(5.5), low, 5);
    narrows(Comparison::lt, Value::of(5.0), low, 4);
    narrows(Comparison::le, Value::of(-5.5), low, -6);
    narrows(Comparison::gt, Value::of(1e300), low, high);
    narrows(Comparison::gt, Value::of(std::numeric_limits<double>::infinity()), low, high);
    narrows(Comparison::gt, Value::of(std::numeric_limits<double>::quiet_NaN()), low, high);
}

TEST_CASE("text, blobs and NULL narrow nothing") {
    narrows(Comparison::eq, Value::of(std::string_view("5")), low, high);
    narrows(Comparison::eq, Value::of_blob("5"), low, high);
    narrows(Comparison::eq, Value::null(), low, high);
}
