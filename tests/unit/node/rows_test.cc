#include "node/rows.h"

#include <catch2/catch_test_macros.hpp>

namespace weir::node {
namespace {

constexpr const char* answer = R"({"columns":[{"name":"status","type":"INTEGER"},{"name":"path","type":"TEXT"}],)"
                               R"("rows":[[200,"/a"],[9223372036854775807,null],[-9223372036854775808,"x,\"y\"\n"]],)"
                               R"("truncated":true,"applied_index":"0:17","elapsed_ms":1.5})";

RowSet rows_of(const char* body) {
    auto rows = parse_sql_answer(body);
    REQUIRE(rows);
    return rows.value();
}

TEST_CASE("64-bit integers come through unharmed") {
    const RowSet rows = rows_of(answer);
    CHECK(rows.rows[1][0].text == "9223372036854775807");
    CHECK(rows.rows[2][0].text == "-9223372036854775808");
    CHECK(rows.truncated);
    CHECK(rows.applied_index == "0:17");
}

TEST_CASE("a table for people") {
    CHECK(format_table(rows_of(answer), 0) ==
          "              status  path\n"
          "--------------------  -------\n"
          "                 200  /a\n"
          " 9223372036854775807  NULL\n"
          "-9223372036854775808  x,\"y\"\\n\n");
    CHECK(format_table(rows_of(R"({"columns":[{"name":"n"}],"rows":[]})"), 0) == "n\n-\n");
    CHECK(format_table(rows_of(R"({"columns":[],"rows":[]})"), 0).empty());
    // All NULL is no number; mixed is text.
    CHECK(format_table(rows_of(R"({"columns":[{"name":"name"}],"rows":[[null]]})"), 0) == "name\n----\nNULL\n");
    CHECK(format_table(rows_of(R"({"columns":[{"name":"v"}],"rows":[[1],["ab"]]})"), 0) == "v\n--\n1\nab\n");
    CHECK(format_table(rows_of(R"({"columns":[{"name":"v"}],"rows":[["漢字漢字"],["abcdef"]]})"), 5) ==
          "v\n-----\n漢字…\nabcd…\n");
}

TEST_CASE("CSV") {
    CHECK(format_csv(rows_of(answer)) ==
          "status,path\n200,/a\n9223372036854775807,\n-9223372036854775808,\"x,\"\"y\"\"\n\"\n");
    CHECK(format_csv(rows_of(R"({"columns":[{"name":"a,b"},{"name":"j"}],"rows":[["",[1,2]]]})")) ==
          "\"a,b\",j\n\"\",\"[1,2]\"\n");
}

TEST_CASE("NDJSON") {
    CHECK(format_ndjson(rows_of(answer)) ==
          "{\"status\":200,\"path\":\"/a\"}\n{\"status\":9223372036854775807,\"path\":null}\n"
          "{\"status\":-9223372036854775808,\"path\":\"x,\\\"y\\\"\\n\"}\n");
    CHECK(format_ndjson(rows_of(R"({"columns":[{"name":"b"},{"name":"r"}],"rows":[[true,1.5]]})")) ==
          "{\"b\":true,\"r\":1.5}\n");
}

TEST_CASE("answers that are not what is promised") {
    for (const char* body : {"", "null", "[]", "{}", R"({"columns":[{"name":"a"}],"rows":[[1,2]]})",
                             R"({"columns":1,"rows":[]})", R"({"columns":[],"rows":[1]})"}) {
        INFO(body);
        CHECK_FALSE(parse_sql_answer(body));
    }
    CHECK_FALSE(parse_sql_answer(std::string(200'000, '[')));
}

TEST_CASE("a caret below the place of an error") {
    CHECK(point_at("SELECT foo FROM x", 7, 1) == "  1 | SELECT foo FROM x\n    |        ^\n");
    CHECK(point_at("SELECT\n  foo\nFROM x", 9, 10) == "  11 |   foo\n     |   ^\n");
    CHECK(point_at("é foo", 3, 1) == "  1 | é foo\n    |   ^\n");
    CHECK(point_at("ab", 2, 1) == "  1 | ab\n    |   ^\n");  // behind the end
    CHECK(point_at("", 0, 1) == "  1 | \n    | ^\n");
    CHECK(point_at("ab", 3, 1).empty());
    CHECK(point_at("ab", -1, 1).empty());
    const std::string far = point_at(std::string(500, 'x'), 250, 1);
    CHECK(far.find("…") != std::string::npos);
    CHECK(far.size() < 300);
    CHECK(point_at("a\nb", 1, 1) == "  1 | a\n    |  ^\n");  // on the line feed itself
}

TEST_CASE("names as SQL wants them") {
    CHECK(sql_name("access_1h") == "access_1h");
    CHECK(sql_name("shop.access-2") == "\"shop.access-2\"");
    CHECK(sql_name("a\"b") == "\"a\"\"b\"");
}

TEST_CASE("output formats") {
    CHECK(parse_output_format("csv").value() == OutputFormat::csv);
    CHECK_FALSE(parse_output_format("xml"));
}

}  // namespace
}  // namespace weir::node
