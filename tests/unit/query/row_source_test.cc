#include "query/row_source.h"

#include <catch2/catch_test_macros.hpp>

using namespace weir;
using namespace weir::query;

TEST_CASE("rows are scanned in order, twice, and outlive their source") {
    auto source = make_row_source({{"a", "INTEGER", false}, {"b", "TEXT", false}},
                                  {{{store::ValueType::integer, 1, 0, ""}, {store::ValueType::text, 0, 0, "x"}},
                                   {{store::ValueType::null, 0, 0, ""}, {store::ValueType::real, 0, 2.5, ""}}});
    CHECK(source->estimated_rows() == 2);
    CHECK(source->columns().size() == 2);
    CHECK_FALSE(source->can_prune(0, store::Comparison::eq));
    auto first = source->open_scan({true, true}, {}).value();
    auto second = source->open_scan({true, true}, {}).value();
    source.reset();
    for (auto* scan : {first.get(), second.get()}) {
        REQUIRE(scan->next().value());
        CHECK(scan->column(0).integer == 1);
        CHECK(scan->column(1).text == "x");
        REQUIRE(scan->next().value());
        CHECK(scan->column(0).type == store::ValueType::null);
        CHECK(scan->column(1).real == 2.5);
        CHECK_FALSE(scan->next().value());
    }
    CHECK_FALSE(make_row_source({}, {})->open_scan({}, {}).value()->next().value());
}

TEST_CASE("values are owned and borrowed unchanged") {
    const OwnedValue text = own(store::Value::of(std::string_view("abc")));
    CHECK(text.text == "abc");
    CHECK(borrow(text).type == store::ValueType::text);
    CHECK(borrow(own(store::Value::of(std::int64_t{7}))).integer == 7);
    CHECK(borrow(own(store::Value::of(1.5))).real == 1.5);
    CHECK(borrow(own(store::Value::of_blob("x"))).type == store::ValueType::blob);
}
