#include "store/expression.h"

#include "unit/store/batch_builder.h"

#include <catch2/catch_test_macros.hpp>

namespace weir::store {
namespace {

using record::ColumnType;

const record::Schema& sample_schema() {
    static const record::Schema schema = make_schema({{"status", ColumnType::integer},
                                                      {"price", ColumnType::real},
                                                      {"path", ColumnType::text},
                                                      {"ok", ColumnType::boolean},
                                                      {"ts", ColumnType::timestamp},
                                                      {"doc", ColumnType::json},
                                                      {"raw", ColumnType::blob},
                                                      {"odd name", ColumnType::integer}});
    return schema;
}

record::ColumnBatch sample_batch() {
    record::ColumnBatch batch;
    add_row(sample_schema(), batch,
            {Value::of(std::int64_t{200}), Value::of(1.5), Value::of(std::string_view("/a")),
             Value::of(std::int64_t{1}), Value::of(std::int64_t{61'000}), Value::of(std::string_view(R"({"k":[1,2]})")),
             Value::of_blob(std::string_view("\x01\x02")), Value::of(std::int64_t{7})});
    add_row(sample_schema(), batch,
            {Value::of(std::int64_t{404}), Value::null(), Value::of(std::string_view("/B")), Value::of(std::int64_t{0}),
             Value::of(std::int64_t{-1}), Value::of(std::string_view("{broken")), Value::null(), Value::null()});
    add_row(sample_schema(), batch, {});
    return batch;
}

// The values of one expression over the sample, joined by a blank; or its error.
std::string eval(const std::string& sql, std::vector<std::uint32_t> rows = {}) {
    auto expression = Expression::compile(sample_schema(), {sql});
    if (!expression) return std::string(errc_name(expression.error().code));
    const record::ColumnBatch batch = sample_batch();
    Evaluated out;
    REQUIRE(expression.value()->evaluate(batch, rows, out));
    std::string joined;
    for (const Value& value : out.values)
        joined += (joined.empty() ? "" : " ") + show(value);
    return joined;
}

TEST_CASE("columns of every type") {
    CHECK(eval("status") == "200 404 null");
    CHECK(eval("price * 2") == "3.000000 null null");
    CHECK(eval("path") == "'/a' '/B' null");
    CHECK(eval("ok") == "1 0 null");
    CHECK(eval("bucket(ts, '1m')") == "60000 -60000 null");
    CHECK(eval("typeof(raw)") == "'blob' 'null' 'null'");
    CHECK(eval("\"odd name\" + 1") == "8 null null");
    CHECK(eval("doc") == R"('{"k":[1,2]}' '{broken' null)");
    CHECK(eval("42") == "42 42 42");
    CHECK(eval("''") == "'' '' ''");
}

TEST_CASE("SQL as usual") {
    CHECK(eval("CASE WHEN status >= 400 THEN 'error' ELSE lower(path) END") == "'/a' 'error' null");
    CHECK(eval("status IN (200, 201) AND path LIKE '/A'") == "1 0 null");
    CHECK(eval("status = '200'") == "1 0 null");
    CHECK(eval("coalesce(price, -1.0)") == "1.500000 -1.000000 -1.000000");
    CHECK(eval("max(status, 300)") == "300 404 null");
    CHECK(eval("path COLLATE NOCASE = '/b'") == "0 1 null");
    CHECK(eval("weir_time('1970-01-01') <= ts") == "1 0 null");
    CHECK(eval("status -- trailing comment") == "200 404 null");
}

TEST_CASE("selected rows, in their order") {
    CHECK(eval("status", {1, 0, 1}) == "404 200 404");
    CHECK(eval("status", {2}) == "null");
}

TEST_CASE("a row that fails is NULL, the others are not") {
    CHECK(eval("json_extract(doc, '$.k[1]')") == "2 null null");
    CHECK(eval("doc ->> '$.k[0]'") == "1 null null");
    CHECK(eval("json_extract(doc, '$.k[1]')", {1, 1, 0, 1}) == "null null 2 null");
    CHECK(eval("abs(CASE WHEN status = 200 THEN -9223372036854775807 - 1 ELSE status END)") == "null 404 null");
    CHECK(eval("length(replace(replace(hex(path||path||path||path||path||path||path), '2', "
               "'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa'), 'a', path)) > 0") == "1 1 null");
    // Only the expression that fails.
    auto both = Expression::compile(sample_schema(), {"path", "json_extract(doc, '$.k[1]')", "status"});
    REQUIRE(both);
    Evaluated out;
    const record::ColumnBatch batch = sample_batch();
    REQUIRE(both.value()->evaluate(batch, {}, out));
    CHECK(out.expressions == 3);
    std::string joined;
    for (const Value& value : out.values)
        joined += show(value) + " ";
    CHECK(joined == "'/a' 2 200 '/B' null 404 null null null ");
    // And the object serves again.
    REQUIRE(both.value()->evaluate(batch, {}, out));
    CHECK(out.values.size() == 9);
    CHECK(show(out.values[0]) == "'/a'");
}

TEST_CASE("many texts survive the growth of the buffer") {
    record::ColumnBatch batch;
    const record::Schema schema = make_schema({{"t", ColumnType::text}});
    for (int i = 0; i < 5000; ++i) {
        const std::string text = "value " + std::to_string(i);
        add_row(schema, batch, {Value::of(std::string_view(text))});
    }
    auto expression = Expression::compile(schema, {"upper(t)", "t"});
    REQUIRE(expression);
    Evaluated out;
    REQUIRE(expression.value()->evaluate(batch, {}, out));
    REQUIRE(out.values.size() == 10'000);
    CHECK(show(out.values[2 * 4321]) == "'VALUE 4321'");
    CHECK(show(out.values[2 * 4321 + 1]) == "'value 4321'");
}

TEST_CASE("rule: a derived row is the log's alone: no clock, chance, locale or libm in an expression", "[rule]") {
    for (const char* sql : {"random()",
                            "date('now')",
                            "strftime('%H', ts)",
                            "CURRENT_TIMESTAMP",
                            "current_date",
                            "now()",
                            "ago('1m')",
                            "printf('%d', 1)",
                            "format('%d', 1)",
                            "randomblob(4)",
                            "zeroblob(4)",
                            "quote(price)",
                            "sqlite_version()",
                            "changes()",
                            "last_insert_rowid()",
                            "load_extension('x')",
                            "sin(price)",
                            "pow(price, 2)",
                            "json_array(price)",
                            "(SELECT 1)",
                            "EXISTS (SELECT 1)",
                            "status IN (SELECT 1)",
                            "sum(status)",
                            "count(*)",
                            "row_number() OVER ()",
                            "group_concat(path)"}) {
        INFO(sql);
        CHECK(eval(sql) == "forbidden");
    }
}

// Operands of every place where SQLite makes text of a number; `?` stands for the operand.
constexpr const char* text_makers[] = {
    "? || ''",
    "'' || ?",
    "path || ? || path",
    "CAST(? AS TEXT)",
    "cast ( ? as varchar(10) )",
    "CAST(? AS BLOB)",
    "upper(?)",
    "lower(?)",
    "substr(?, 1, 3)",
    "substring(?, 1)",
    "replace(?, '1', '2')",
    "replace(path, ?, '')",
    "replace(path, '', ?)",
    "length(?)",
    "instr(?, '.')",
    "instr(path, ?)",
    "trim(?)",
    "ltrim(?, '1')",
    "rtrim(path, ?)",
    "hex(?)",
    "unicode(?)",
    "? LIKE '1%'",
    "? NOT LIKE '1%'",
    "path LIKE ?",
    "path LIKE '1%' ESCAPE ?",
    "like(?, path)",
    "? GLOB '1*'",
    "\"glob\"(?, path)",
    "json(?)",
    "json_valid(?)",
    "json_extract(?, '$')",
    "? -> '$'",
    "doc ->> ?",
    "path = +?",
    "path IN ('a', ?)",
    "path BETWEEN 'a' AND +?",
    "CASE path WHEN +? THEN 1 END",
    "(path, 1) = (+?, 1)",
    "CASE WHEN status > 1 THEN upper(?) END",
    "-length(?) + 1",
    "NOT ? LIKE '1'",
    "path BETWEEN ? || 'a' AND 'b'",
    "bucket(ts, ? || 'm')",
};

std::string with_operand(std::string sql, const std::string& operand) {
    sql.replace(sql.find('?'), 1, operand);
    return sql;
}

TEST_CASE("rule: a derived row is the log's alone: no REAL as text in an expression", "[rule]") {
    for (const char* maker : text_makers) {
        for (const char* operand : {"price",
                                    "\"PRICE\"",
                                    "[price]",
                                    "batch.price",
                                    "batch.'price'",
                                    "main.batch.price",
                                    "1.5",
                                    ".5",
                                    "1e3",
                                    "9223372036854775808",
                                    "(price)",
                                    "((price))",
                                    "(price * 2)",
                                    "(status + 1.5)",
                                    "(-price)",
                                    "(+price)",
                                    "round(status)",
                                    "mod(status, 2)",
                                    "abs(price)",
                                    "coalesce(price, 0)",
                                    "ifnull(status, 1.5)",
                                    "max(status, price)",
                                    "iif(ok, price, 0)",
                                    "nullif(price, 0)",
                                    "likely(price)",
                                    "weir_time(price)",
                                    "CASE WHEN ok THEN price ELSE path END",
                                    "CASE WHEN ok THEN 1 ELSE 1.0 END",
                                    "CAST(path AS REAL)",
                                    "CAST(path AS double)",
                                    "CAST(price AS NUMERIC)",
                                    "/* a */ price -- b\n"}) {
            const std::string sql = with_operand(maker, operand);
            INFO(sql);
            CHECK(eval(sql) == "forbidden");
        }
    }
    // A precedence that could hide it.
    for (const char* sql :
         {"0xe+price || ''", "1 - price || ''", "path || -price", "'a' || price = 'b'", "'a' || price COLLATE NOCASE",
          "path || 1.5 IS NOT NULL", "path IN (price)", "1 OR path || price", "path BETWEEN 'a' = price || '' AND 'b'",
          "path = 1.5", "path IS NOT 1.5", "1.5 < path"}) {
        INFO(sql);
        CHECK(eval(sql) == "forbidden");
    }
    auto refused = Expression::compile(sample_schema(), {"status", "path || price"});
    REQUIRE_FALSE(refused);
    CHECK(refused.error().position == 8);
    CHECK(refused.error().detail.find("column price is REAL, and || would write it as text") == 0);
    CHECK(refused.error().detail.find("CAST(round(x) AS INTEGER)") != std::string::npos);
}

TEST_CASE("what never is a REAL becomes text as usual") {
    for (const char* maker : text_makers) {
        for (const char* operand : {"path",
                                    "status",
                                    "ok",
                                    "ts",
                                    "doc",
                                    "raw",
                                    "\"odd name\"",
                                    "1",
                                    "0x1f",
                                    "'1.5'",
                                    "x'31'",
                                    "NULL",
                                    "CAST(price AS INTEGER)",
                                    "CAST(round(price * 100) AS INT)",
                                    "(price > 1.5)",
                                    "(price IS NULL)",
                                    "(price BETWEEN 1.5 AND 2.5)",
                                    "(price IN (1.5))",
                                    "(NOT price)",
                                    "(~ price)",
                                    "(price & 1)",
                                    "typeof(price)",
                                    "sign(price)",
                                    "CASE WHEN price > 1.5 THEN lower(path) ELSE 'x' END",
                                    "CASE price WHEN 1.5 THEN path END",
                                    "iif(price > 1.5, path, 'x')",
                                    "nullif(path, 1.5)",
                                    "likelihood(path, 0.5)",
                                    "bucket(price, '1m')",
                                    "rfc3339(price)",
                                    "epoch_ms(1.5)"}) {
            const std::string sql = with_operand(maker, operand);
            INFO(sql);
            CHECK(eval(sql) != "forbidden");
            CHECK(eval(sql) != "invalid_argument");
        }
    }
    CHECK(eval("CASE WHEN price > 1.5 THEN lower(path) ELSE path || 'x' END") == "'/ax' '/Bx' null");
    CHECK(eval("path || '/x'") == "'/a/x' '/B/x' null");
    CHECK(eval("status || ''") == "'200' '404' null");
    CHECK(eval("CAST(round(price * 100) AS INTEGER) || ' ct'") == "'150 ct' null null");
    CHECK(eval("price = '1.5'") == "1 null null");  // the text becomes a number, not the other way round
    CHECK(eval("path < price") == "0 null null");
    CHECK(eval("substr(path, 2.0)") == "'a' 'B' null");
}

TEST_CASE("rule: a derived row is the log's alone: what turns out to be a REAL is NULL where text is wanted",
          "[rule]") {
    const record::Schema schema = make_schema({{"doc", ColumnType::json}, {"n", ColumnType::integer}});
    record::ColumnBatch batch;
    add_row(schema, batch, {Value::of(std::string_view(R"({"k":1.5})")), Value::of(INT64_MAX)});
    add_row(schema, batch, {Value::of(std::string_view(R"({"k":15})")), Value::of(std::int64_t{6})});
    add_row(schema, batch, {Value::of(std::string_view(R"({"k":"1.5"})")), Value::of(std::int64_t{7})});
    const auto rows = [&](const std::string& sql) {
        auto expression = Expression::compile(schema, {sql});
        if (!expression) return expression.error().detail;
        Evaluated out;
        REQUIRE(expression.value()->evaluate(batch, {}, out));
        std::string joined;
        for (const Value& value : out.values)
            joined += (joined.empty() ? "" : " ") + show(value);
        return joined;
    };
    CHECK(rows("json_extract(doc, '$.k')") == "1.500000 15 '1.5'");
    CHECK(rows("doc ->> 'k' || 'x'") == "null '15x' '1.5x'");
    CHECK(rows("'x' || (doc ->> 'k')") == "null 'x15' 'x1.5'");
    CHECK(rows("json_extract(doc, '$.k') || 'x' -- comment") == "null '15x' '1.5x'");
    CHECK(rows("CAST(doc ->> 'k' AS TEXT)") == "null '15' '1.5'");
    CHECK(rows("upper(doc ->> 'k')") == "null '15' '1.5'");
    CHECK(rows("length(coalesce(doc ->> 'k', n))") == "null 2 3");
    CHECK(rows("doc ->> 'k' LIKE '1%'") == "null 1 1");
    CHECK(rows("doc ->> 'k' NOT LIKE '1%' ESCAPE '\\'") == "null 0 0");
    CHECK(rows("CASE WHEN doc ->> 'k' > 1 THEN substr(doc ->> 'k', 1, 2) END") == "null '15' '1.'");
    CHECK(rows("lower(doc) = doc ->> 'k'") == "0 0 0");  // no affinity, so no text is made
    CHECK(rows("CAST('1.5' AS TEXT) = doc ->> 'k'") == "null 0 1");
    CHECK(rows("CAST('15' AS TEXT) IN (1, doc ->> 'k')") == "null 1 0");
    CHECK(rows("CASE CAST('15' AS TEXT) WHEN doc ->> 'k' THEN 'y' ELSE 'n' END") == "'n' 'y' 'n'");
    CHECK(rows("n + 1 || ''") == "9223372036854775808.000000 7 8");  // || binds tighter than +: of '1'
    CHECK(rows("(n + 1) || ''") == "null '7' '8'");                  // the first overflows into a REAL
    CHECK(rows("(n / 2) || ''") == "'4611686018427387903' '3' '3'");
    CHECK(rows("-n || ''") == "'-9223372036854775807' '-6' '-7'");
    CHECK(rows("(doc ->> 'k') * 1 = 1.5") == "1 0 1");
    CHECK(rows("trim(abs(doc ->> 'k'))") == "null '15' null");
    CHECK(rows("hex(abs(doc ->> 'k'))") == "'' '3135' ''");  // hex(NULL) is ''
    CHECK(rows("weir_not_real(n)") == "no such function: weir_not_real");
}

TEST_CASE("what is not one expression is invalid") {
    for (const char* sql : {"",
                            "  -- nothing",
                            "nonsense",
                            "status status",
                            "status)",
                            "(status",
                            "1), (2",
                            "1; SELECT 2",
                            "1) FROM batch UNION SELECT (1",
                            "'open",
                            "status /* open",
                            "?",
                            "?1",
                            ":x",
                            "$y",
                            "@z",
                            "\"no column\"",
                            "max(status)",
                            "min(status)",
                            "*",
                            "batch.*",
                            "status IN batch",
                            "(1, 2)",
                            "rowidd"}) {
        INFO(sql);
        CHECK(eval(sql) == "invalid_argument");
    }
    CHECK(eval("nofunction(1)") == "invalid_argument");
    auto deep = std::string(1000, '(') + "1" + std::string(1000, ')');
    CHECK(eval(deep) == "invalid_argument");
}

TEST_CASE("an error's position counts in the text given") {
    auto bad = Expression::compile(sample_schema(), {"status", "status + nonsense"});
    REQUIRE_FALSE(bad);
    CHECK(bad.error().position == 9);
    CHECK(bad.error().detail == "no such column: nonsense");
}

TEST_CASE("columns that are read") {
    auto expression = Expression::compile(sample_schema(), {"CASE WHEN ok THEN status END", "1"});
    REQUIRE(expression);
    CHECK(expression.value()->columns_used() ==
          std::vector<bool>{true, false, false, true, false, false, false, false});
}

TEST_CASE("a row's place in the batch is not to be had") {
    CHECK(eval("rowid") == "0 0 0");
    CHECK(eval("_rowid_", {2, 1}) == "0 0");
}

TEST_CASE("a long OR compiles") {
    std::string sql = "status = 0";
    for (int i = 1; i < 150; ++i)
        sql += " OR status = " + std::to_string(i);
    CHECK(eval(sql) == "0 0 null");
}

}  // namespace
TEST_CASE("a constant is evaluated to a literal that reads as the same value") {
    const auto is = [](const std::string& sql, std::string_view want) {
        INFO(sql);
        const auto value = constant_literal(sql);
        REQUIRE(value.has_value());
        CHECK(value.value() == want);
        CHECK(constant_literal(value.value()).value() == want);
    };
    is("1 + 2", "3");
    is("'it''s' || lower('X')", "'it''sx'");
    is("-9223372036854775807 - 1", "-9223372036854775808");
    is("1.0 / 4", "0.25");
    is("0.1 + 0.2", "0.30000000000000004");
    is("TRUE", "1");
    is("NULL", "NULL");
    is("x'00FF'", "x'00ff'");
    is("epoch_ms('2020-01-01')", "1577836800000");
    const auto refused = [](const std::string& sql, Errc code, const char* why) {
        INFO(sql);
        const auto value = constant_literal(sql);
        REQUIRE_FALSE(value.has_value());
        CHECK(value.error().code == code);
        CHECK(value.error().detail.find(why) != std::string::npos);
    };
    refused("a + 1", Errc::invalid_argument, "no such column: a");
    refused("random()", Errc::forbidden, "random()");
    refused("(SELECT 1)", Errc::forbidden, "subquery");
    refused("1 +", Errc::invalid_argument, "");
}

}  // namespace weir::store
