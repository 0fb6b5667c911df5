// compile_checks: the native shapes against SQLite on the same values, and everything that is left to SQLite.
#include "base/prng.h"
#include "store/expression.h"
#include "unit/store/batch_builder.h"

#include <catch2/catch_test_macros.hpp>

namespace weir::store {
namespace {

using record::ColumnType;

record::Schema checked(std::vector<std::string> checks) {
    record::Schema schema =
        make_schema({{"a", ColumnType::integer}, {"b", ColumnType::integer}, {"t", ColumnType::text}});
    for (std::size_t i = 0; i < checks.size(); ++i)
        schema.columns[i].check_sql = checks[i];
    return schema;
}

// Which column fails for the row (a, b, t).
std::int32_t failing(std::vector<std::string> checks, Value a, Value b = Value::null(), Value t = Value::null()) {
    const record::Schema schema = checked(std::move(checks));
    auto check = compile_checks(schema);
    REQUIRE(check);
    REQUIRE(check.value() != nullptr);
    record::ColumnBatch batch;
    add_row(schema, batch, {a, b, t});
    std::vector<std::int32_t> failed;
    REQUIRE(check.value()->evaluate(batch, failed));
    REQUIRE(failed.size() == 1);
    return failed[0];
}

Value n(std::int64_t v) {
    return Value::of(v);
}

TEST_CASE("comparisons, and NULL passes") {
    CHECK(failing({"a BETWEEN 100 AND 599"}, n(99)) == 0);
    CHECK(failing({"a BETWEEN 100 AND 599"}, n(100)) == -1);
    CHECK(failing({"a BETWEEN 100 AND 599"}, n(599)) == -1);
    CHECK(failing({"a BETWEEN 100 AND 599"}, n(600)) == 0);
    CHECK(failing({"a BETWEEN 100 AND 599"}, Value::null()) == -1);
    CHECK(failing({"a > 9223372036854775807"}, n(INT64_MAX)) == 0);
    CHECK(failing({"a > 9223372036854775807"}, Value::null()) == -1);
    CHECK(failing({"a < 0 AND b > 0"}, n(-1), Value::null()) == -1);
    CHECK(failing({"a < 0 AND b > 0"}, n(1), Value::null()) == 0);
    CHECK(failing({"a < 0 AND b > 0"}, n(-1), n(0)) == 0);
}

TEST_CASE("the first column in declaration order is named") {
    CHECK(failing({"a > 0", "b > 0"}, n(0), n(0)) == 0);
    CHECK(failing({"a > 0", "b > 0"}, n(1), n(0)) == 1);
    CHECK(failing({"length(t) < 3", "b > 0"}, n(1), n(0), Value::of(std::string_view("long"))) == 0);
    CHECK(failing({"", "b > 0", "length(t) < 3"}, n(1), n(1), Value::of(std::string_view("long"))) == 2);
}

TEST_CASE("SQLite's truth, and an evaluation that fails") {
    CHECK(failing({"t"}, n(1), n(1), Value::of(std::string_view("abc"))) == 0);  // text is 0 as a number
    CHECK(failing({"t"}, n(1), n(1), Value::of(std::string_view("1x"))) == -1);
    CHECK(failing({"t"}, n(1), n(1), Value::null()) == -1);
    CHECK(failing({"json_extract(t, '$.x') > 0"}, n(1), n(1), Value::of(std::string_view("{"))) == 0);
    CHECK(failing({"json_extract(t, '$.x') > 0"}, n(1), n(1), Value::of(std::string_view("{}"))) == -1);
}

TEST_CASE("no CHECK, no object; a bad CHECK, an error") {
    auto none = compile_checks(checked({}));
    REQUIRE(none);
    CHECK(none.value() == nullptr);
    auto bad = compile_checks(checked({"a >"}));
    REQUIRE_FALSE(bad);
    CHECK(bad.error().code == Errc::invalid_argument);
    auto clock = compile_checks(checked({"a > random()"}));
    REQUIRE_FALSE(clock);
    CHECK(clock.error().code == Errc::forbidden);
}

TEST_CASE("native checks mean what SQLite means") {
    Prng prng(11);
    const std::int64_t edges[] = {INT64_MIN, INT64_MIN + 1, -1, 0, 1, 99, 100, 101, 599, INT64_MAX - 1, INT64_MAX};
    const auto any = [&]() -> std::int64_t {
        return prng.chance(0.5) ? edges[prng.below(std::size(edges))]
                                : static_cast<std::int64_t>(prng.below(200)) - 100;
    };
    const char* ops[] = {"=", "==", "<>", "!=", "<", "<=", ">", ">="};
    for (int round = 0; round < 300; ++round) {
        std::string sql;
        for (std::uint64_t terms = 1 + prng.below(3); terms > 0; --terms) {
            std::string term = prng.chance(0.5) ? "a" : "\"B\"";
            // INT64_MIN cannot be written as one literal; its neighbour can.
            const auto literal = [&] { return std::to_string(std::max(any(), INT64_MIN + 1)); };
            if (prng.chance(0.3)) {
                term += " BETWEEN " + literal() + " AND " + literal();
            } else {
                term += std::string(" ") + ops[prng.below(std::size(ops))] + literal();
            }
            if (prng.chance(0.3)) term = "((" + term + "))";
            sql += sql.empty() ? term : " and " + term;
        }
        const record::Schema schema = checked({sql});
        auto native = compile_checks(schema);
        auto engine = Expression::compile(schema, {"(" + sql + ") IS NOT FALSE"});
        INFO(sql);
        REQUIRE(native);
        REQUIRE(engine);
        record::ColumnBatch batch;
        for (int row = 0; row < 40; ++row) {
            add_row(schema, batch,
                    {prng.chance(0.1) ? Value::null() : n(any()), prng.chance(0.1) ? Value::null() : n(any())});
        }
        std::vector<std::int32_t> failed;
        Evaluated out;
        REQUIRE(native.value()->evaluate(batch, failed));
        REQUIRE(engine.value()->evaluate(batch, {}, out));
        for (std::size_t row = 0; row < batch.rows; ++row) {
            REQUIRE((failed[row] < 0) == (out.values[row].integer == 1));
        }
    }
}

}  // namespace
}  // namespace weir::store
