#include "stream/detail/aggregate.h"

#include "base/prng.h"
#include "unit/store/batch_builder.h"

#include <catch2/catch_test_macros.hpp>

#include <cmath>
#include <limits>

namespace weir::stream::detail {
namespace {

using record::ColumnType;
using store::add_row;
using store::make_schema;
using store::show;
using store::Value;

Value n(std::int64_t v) {
    return Value::of(v);
}
Value t(std::string_view v) {
    return Value::of(v);
}

// One group, one column: what `kind` reads after these values, each with the partition that it came by. Afterwards the
// state goes through its bytes.
std::string fold(Aggregate kind, ColumnType type, const std::vector<std::pair<std::uint32_t, Value>>& values,
                 const std::string& expression = "") {
    const record::Schema schema = make_schema({{"c", type}});
    TumblePlan plan;
    plan.partitions = 3;
    plan.aggregates = {{kind, expression.empty() ? Input{0, ""} : Input{-1, expression}}};
    std::vector<std::string> sql;
    auto layout = plan_aggregates(schema, plan, sql);
    REQUIRE(layout);
    GroupTable table(layout.value().words, layout.value().texts);
    Window window;
    const std::uint32_t group = table.insert(1, "g", window);
    for (const auto& [partition, value] : values) {
        record::ColumnBatch batch;
        add_row(schema, batch, {value});
        store::Evaluated evaluated;
        if (!sql.empty()) {
            auto compiled = store::Expression::compile(schema, sql);
            REQUIRE(compiled);
            REQUIRE(compiled.value()->evaluate(batch, {}, evaluated));
        }
        const std::uint32_t rows[] = {0};
        const std::uint32_t groups[] = {group};
        std::uint64_t* const accumulators[] = {table.words(group)};
        update_aggregates(layout.value(), {&batch, rows, groups, accumulators, &evaluated, partition}, table);
    }
    std::vector<Value> out;
    read_aggregates(layout.value(), table, group, out);
    REQUIRE(out.size() == 1);
    const std::string before = show(out[0]);

    std::string bytes;
    encode_state(layout.value(), table, group, bytes);
    const std::uint32_t copy = table.insert(2, "h", window);
    REQUIRE(decode_state(layout.value(), bytes, table, copy));
    out.clear();
    read_aggregates(layout.value(), table, copy, out);
    CHECK(show(out[0]) == before);
    CHECK_FALSE(decode_state(layout.value(), std::string_view(bytes).substr(1), table, copy));
    CHECK_FALSE(decode_state(layout.value(), bytes + "x", table, copy));
    return before;
}

std::vector<std::pair<std::uint32_t, Value>> of(const std::vector<Value>& values) {
    std::vector<std::pair<std::uint32_t, Value>> out;
    for (const Value& value : values)
        out.emplace_back(0u, value);
    return out;
}

TEST_CASE("count") {
    CHECK(fold(Aggregate::count_star, ColumnType::integer, of({n(1), Value::null()})) == "2");
    CHECK(fold(Aggregate::count, ColumnType::integer, of({n(1), Value::null()})) == "1");
    CHECK(fold(Aggregate::count, ColumnType::text, of({t("a"), Value::null(), t("")})) == "2");
    CHECK(fold(Aggregate::count, ColumnType::integer, of({n(1), n(2)}), "nullif(c, 2)") == "1");
}

TEST_CASE("sum and avg of integers are exact beyond 64 bits") {
    CHECK(fold(Aggregate::sum, ColumnType::integer, {}) == "null");
    CHECK(fold(Aggregate::sum, ColumnType::integer, of({Value::null()})) == "null");
    CHECK(fold(Aggregate::sum, ColumnType::integer, of({n(3), Value::null(), n(-5)})) == "-2");
    CHECK(fold(Aggregate::sum, ColumnType::integer, of({n(INT64_MAX), n(INT64_MAX)})) == "null");
    CHECK(fold(Aggregate::sum, ColumnType::integer, of({n(INT64_MAX), n(INT64_MAX), n(-INT64_MAX)})) ==
          std::to_string(INT64_MAX));
    CHECK(fold(Aggregate::sum, ColumnType::integer, of({n(INT64_MIN), n(-1)})) == "null");
    CHECK(fold(Aggregate::sum, ColumnType::boolean, of({n(1), n(1), n(0)})) == "2");
    CHECK(fold(Aggregate::avg, ColumnType::integer, of({n(1), n(2)})) == "1.500000");
    CHECK(fold(Aggregate::avg, ColumnType::integer, of({n(INT64_MAX), n(INT64_MAX)})) == "9223372036854775808.000000");
    CHECK(fold(Aggregate::avg, ColumnType::integer, {}) == "null");
}

TEST_CASE("REAL sums merge in partition order, whoever came first") {
    const double big = 1e16;
    const auto value = [](double v) { return Value::of(v); };
    const auto one =
        fold(Aggregate::sum, ColumnType::real, {{0, value(big)}, {1, value(1)}, {2, value(-big)}, {1, value(1)}});
    const auto two =
        fold(Aggregate::sum, ColumnType::real, {{2, value(-big)}, {1, value(1)}, {1, value(1)}, {0, value(big)}});
    CHECK(one == two);
    CHECK(one == "2.000000");
    CHECK(fold(Aggregate::avg, ColumnType::real, {{0, value(1)}, {2, value(2)}}) == "1.500000");
    CHECK(fold(Aggregate::sum, ColumnType::real, {{0, Value::null()}}) == "null");
}

TEST_CASE("sum of an expression: integers stay integers, a real makes it real, text is its number") {
    CHECK(fold(Aggregate::sum, ColumnType::integer, of({n(1), n(2)}), "c * 10") == "30");
    CHECK(fold(Aggregate::sum, ColumnType::integer, of({n(1), n(2)}), "c * 0.5") == "1.500000");
    CHECK(fold(Aggregate::sum, ColumnType::integer, of({n(1), n(2)}), "CASE c WHEN 1 THEN 1 ELSE 2.5 END") ==
          "3.500000");
    CHECK(fold(Aggregate::sum, ColumnType::text, of({t("12abc"), t("x"), Value::null()})) == "12");
    CHECK(fold(Aggregate::avg, ColumnType::text, of({t("1.5"), t("2.5")})) == "2.000000");
    // inf - inf
    CHECK(fold(Aggregate::sum, ColumnType::integer, of({n(1), n(-1)}), "c * 1e308 * 10") == "null");
}

TEST_CASE("min and max") {
    CHECK(fold(Aggregate::min, ColumnType::integer, of({n(3), n(-1), Value::null()})) == "-1");
    CHECK(fold(Aggregate::max, ColumnType::timestamp, of({n(3), n(-1)})) == "3");
    CHECK(fold(Aggregate::max, ColumnType::integer, of({Value::null()})) == "null");
    CHECK(fold(Aggregate::min, ColumnType::real, of({Value::of(0.5), Value::of(-0.5)})) == "-0.500000");
    CHECK(fold(Aggregate::max, ColumnType::real, of({Value::of(-0.0)})) == "0.000000");
    CHECK(fold(Aggregate::min, ColumnType::text, of({t("b"), t("a"), t("ab")})) == "'a'");
    CHECK(fold(Aggregate::max, ColumnType::text, of({t("b"), t("a"), Value::null()})) == "'b'");
    CHECK(fold(Aggregate::max, ColumnType::text, of({t("")})) == "''");
    CHECK(fold(Aggregate::max, ColumnType::blob, of({Value::of_blob("x"), Value::of_blob("y")})) == "x'y'");
    CHECK(fold(Aggregate::max, ColumnType::json, of({t("[1]"), t("[2]")})) == "'[2]'");
    // Of mixed types: numbers, then text. Equal numbers: the integer, whoever came first.
    CHECK(fold(Aggregate::max, ColumnType::integer, of({n(1), n(2)}), "CASE c WHEN 1 THEN 'text' ELSE 99 END") ==
          "'text'");
    for (const Aggregate kind : {Aggregate::min, Aggregate::max}) {
        CHECK(fold(kind, ColumnType::integer, of({n(1), n(2)}), "CASE c WHEN 1 THEN 5 ELSE 5.0 END") == "5");
        CHECK(fold(kind, ColumnType::integer, of({n(2), n(1)}), "CASE c WHEN 1 THEN 5 ELSE 5.0 END") == "5");
    }
}

TEST_CASE("integers and reals compare without rounding") {
    CHECK(compare_values(n(INT64_MAX), Value::of(9223372036854775808.0)) < 0);
    CHECK(compare_values(n(INT64_MIN), Value::of(-9223372036854775808.0)) < 0);  // equal: the integer first
    CHECK(compare_values(n((std::int64_t{1} << 53) + 1), Value::of(9007199254740992.0)) > 0);
    CHECK(compare_values(Value::of(1.5), n(1)) > 0);
    CHECK(compare_values(Value::of(-1.5), n(-1)) < 0);
    CHECK(compare_values(Value::of(-std::numeric_limits<double>::infinity()), n(INT64_MIN)) < 0);
    CHECK(compare_values(n(1), t("0")) < 0);
    CHECK(compare_values(t("z"), Value::of_blob("a")) < 0);
}

TEST_CASE("state of any bytes is refused or read, never more") {
    const record::Schema schema = make_schema({{"c", ColumnType::text}});
    TumblePlan plan;
    plan.aggregates = {{Aggregate::min, {0, ""}}, {Aggregate::count_star, {}}};
    std::vector<std::string> sql;
    auto layout = plan_aggregates(schema, plan, sql);
    REQUIRE(layout);
    GroupTable table(layout.value().words, layout.value().texts);
    Window window;
    const std::uint32_t group = table.insert(1, "g", window);
    Prng prng(17);
    for (int i = 0; i < 20'000; ++i) {
        std::string bytes;
        for (std::uint64_t left = prng.below(48); left > 0; --left)
            bytes.push_back(static_cast<char>(prng.below(4)));
        if (decode_state(layout.value(), bytes, table, group)) {
            std::vector<Value> out;
            read_aggregates(layout.value(), table, group, out);
            REQUIRE(out.size() == 2);
        }
    }
}

}  // namespace
}  // namespace weir::stream::detail
