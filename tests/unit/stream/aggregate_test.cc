#include "stream/detail/aggregate.h"

#include "base/prng.h"
#include "stream/detail/group_layout.h"
#include "unit/store/batch_builder.h"

#include <catch2/catch_test_macros.hpp>

#include <algorithm>
#include <cmath>
#include <limits>
#include <tuple>

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

struct Sample {
    std::uint32_t partition = 0;
    Value value;
    std::int64_t time_ms = 0;
    std::int64_t offset = 0;
};

// One group, one column: what `kind` reads after these samples. With `split`, the samples from there on go to a second
// set of accumulators, which is merged. Afterwards the state goes through its bytes.
std::string fold_samples(Aggregate kind, ColumnType type, const std::vector<Sample>& samples,
                         const std::string& expression = "", std::size_t split = SIZE_MAX) {
    const record::Schema schema = make_schema({{"c", type}});
    TumblePlan plan;
    plan.partitions = 3;
    plan.aggregates = {{kind, expression.empty() ? Input{0, ""} : Input{-1, expression}}};
    std::vector<std::string> sql;
    auto planned = plan_aggregates(schema, plan, sql);
    REQUIRE(planned);
    const AggregateLayout& layout = planned.value();
    GroupTable table(layout.words * 2, layout.texts * 2);
    Window window;
    const std::uint32_t group = table.insert(1, "g", window);
    for (std::size_t i = 0; i < samples.size(); ++i) {
        record::ColumnBatch batch;
        add_row(schema, batch, {samples[i].value});
        store::Evaluated evaluated;
        if (!sql.empty()) {
            auto compiled = store::Expression::compile(schema, sql);
            REQUIRE(compiled);
            REQUIRE(compiled.value()->evaluate(batch, {}, evaluated));
        }
        const std::uint8_t second[] = {static_cast<std::uint8_t>(i >= split ? 1 : 0)};
        const std::uint32_t rows[] = {0};
        const std::uint32_t groups[] = {group};
        std::uint64_t* const accumulators[] = {table.words(group) + second[0] * layout.words};
        const std::int64_t times[] = {samples[i].time_ms};
        const std::int64_t offsets[] = {samples[i].offset};
        GroupedRows grouped;
        grouped.batch = &batch;
        grouped.rows = rows;
        grouped.groups = groups;
        grouped.accumulators = accumulators;
        grouped.evaluated = &evaluated;
        grouped.partition = samples[i].partition;
        grouped.event_times_ms = times;
        grouped.offsets = offsets;
        grouped.second = second;
        update_aggregates(layout, grouped, table);
    }
    const auto read = [&](std::uint32_t index) {
        const std::string* texts = table.group(index).texts.get();
        MergedAccumulators merged;
        merge_aggregates(layout, {table.words(index), texts}, {table.words(index) + layout.words, texts + layout.texts},
                         merged);
        std::vector<Value> out;
        read_aggregates(layout, {merged.words.data(), merged.texts.data()}, out);
        REQUIRE(out.size() == 1);
        if (split > samples.size()) {
            std::vector<Value> alone;
            read_aggregates(layout, {table.words(index), texts}, alone);
            REQUIRE(show(alone[0]) == show(out[0]));
        }
        return show(out[0]);
    };
    const std::string before = read(group);
    std::string bytes;
    table.encode(group, bytes);
    const std::uint32_t copy = table.insert(2, "h", window);
    REQUIRE(table.decode(bytes, copy));
    CHECK(is_sound(layout, table.words(copy)));
    CHECK(read(copy) == before);
    CHECK_FALSE(table.decode(std::string_view(bytes).substr(1), copy));
    CHECK_FALSE(table.decode(bytes + "x", copy));
    return before;
}

// Values with the partition that each came by, at one time, in the order of offsets. Wherever the rows are split
// between two sets, the merged one is the same.
std::string fold(Aggregate kind, ColumnType type, const std::vector<std::pair<std::uint32_t, Value>>& values,
                 const std::string& expression = "") {
    std::vector<Sample> samples;
    for (const auto& [partition, value] : values)
        samples.push_back({partition, value, 0, static_cast<std::int64_t>(samples.size())});
    const std::string whole = fold_samples(kind, type, samples, expression);
    for (std::size_t split = 0; split <= samples.size(); ++split)
        CHECK(fold_samples(kind, type, samples, expression, split) == whole);
    return whole;
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

TEST_CASE("rule: a derived row is the log's alone: REAL sums merge in partition order, whoever came first", "[rule]") {
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

TEST_CASE("first and last go by event time, partition and offset, leave NULLs out and keep the type") {
    const auto both = [](ColumnType type, std::vector<Sample> samples, const std::string& expression = "") {
        std::string out;
        // Whatever the order in which the samples come, and wherever they are split between two sets.
        std::sort(samples.begin(), samples.end(), [](const Sample& a, const Sample& b) {
            return std::tie(a.time_ms, a.partition, a.offset) < std::tie(b.time_ms, b.partition, b.offset);
        });
        Prng prng(5);
        for (int round = 0; round < 8; ++round) {
            std::string seen;
            const std::size_t split = prng.below(samples.size() + 1);
            for (const Aggregate kind : {Aggregate::first, Aggregate::last})
                seen += (seen.empty() ? "" : " ") + fold_samples(kind, type, samples, expression, split);
            if (round > 0) CHECK(seen == out);
            out = seen;
            for (std::size_t i = samples.size(); i > 1; --i)
                std::swap(samples[i - 1], samples[prng.below(i)]);
        }
        return out;
    };
    CHECK(both(ColumnType::integer, {{0, n(1), 10, 0}, {0, n(2), 5, 1}, {0, n(3), 7, 2}}) == "2 1");
    CHECK(both(ColumnType::integer, {{1, n(1), 5, 0}, {0, n(2), 5, 9}, {0, n(3), 5, 3}, {2, n(4), 5, 1}}) == "3 4");
    CHECK(both(ColumnType::integer, {{0, Value::null(), 1, 0}, {0, n(7), 5, 1}, {0, Value::null(), 9, 2}}) == "7 7");
    CHECK(both(ColumnType::integer, {{0, Value::null(), 1, 0}}) == "null null");
    CHECK(both(ColumnType::integer, {{0, n(INT64_MIN), INT64_MIN, 0}, {0, n(INT64_MAX), INT64_MAX, 1}}) ==
          std::to_string(INT64_MIN) + " " + std::to_string(INT64_MAX));
    CHECK(both(ColumnType::real, {{0, Value::of(1.5), 1, 0}, {0, Value::of(2.0), 2, 1}}) == "1.500000 2.000000");
    CHECK(both(ColumnType::timestamp, {{0, n(5), 1, 0}, {0, n(6), 2, 1}}) == "5 6");
    CHECK(both(ColumnType::boolean, {{0, n(1), 1, 0}, {0, n(0), 2, 1}}) == "1 0");
    CHECK(both(ColumnType::text, {{0, t("long enough for the heap, by far"), 1, 0}, {0, t(""), 2, 1}}) ==
          "'long enough for the heap, by far' ''");
    CHECK(both(ColumnType::json, {{0, t("{\"a\":1}"), 1, 0}, {0, t("2"), 2, 1}}) == "'{\"a\":1}' '2'");
    CHECK(both(ColumnType::blob, {{0, Value::of_blob("x"), 1, 0}, {0, Value::of_blob("y"), 2, 1}}) == "x'x' x'y'");
    // An expression may be of a type a row.
    CHECK(both(ColumnType::integer, {{0, n(1), 1, 0}, {0, n(2), 2, 1}, {0, n(3), 3, 2}},
               "CASE c WHEN 1 THEN 'one' WHEN 2 THEN 2 ELSE 3.5 END") == "'one' 3.500000");
    CHECK(both(ColumnType::integer, {{0, n(1), 1, 0}, {0, n(2), 2, 1}}, "nullif(c, 2)") == "1 1");
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
        if (table.decode(bytes, group) && is_sound(layout.value(), table.words(group))) {
            std::vector<Value> out;
            read_aggregates(layout.value(), group_state(table, group).first(), out);
            REQUIRE(out.size() == 2);
        }
    }
}

}  // namespace
}  // namespace weir::stream::detail
