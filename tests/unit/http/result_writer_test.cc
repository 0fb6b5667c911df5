#include "http/detail/result_writer.h"

#include <catch2/catch_test_macros.hpp>

using namespace weir;
using namespace weir::http;
using store::Value;

namespace {

std::string write(ResultFormat format) {
    std::string out;
    ResultWriter writer(format);
    writer.columns({{"i", "INTEGER"},
                    {"t", "TIMESTAMP"},
                    {"b", "BOOLEAN"},
                    {"r", "REAL"},
                    {"x\"", "BLOB"},
                    {"j", "JSON"},
                    {"s", "TEXT"}},
                   out);
    writer.row({Value::of(INT64_MAX), Value::of(std::int64_t{0}), Value::of(std::int64_t{1}), Value::of(0.5),
                Value::of_blob("hi"), Value::of("{\"a\":\n1}"), Value::of("a,\"b\"")},
               out);
    writer.row(
        {Value::null(), Value::null(), Value::null(), Value::null(), Value::null(), Value::null(), Value::of("")}, out);
    writer.end({true, "0:17", 1.5}, out);
    return out;
}

}  // namespace

TEST_CASE("Values by type") {
    auto f = [](std::string_view type, const Value& value, std::string_view want) {
        std::string out;
        append_json_value(out, type, value);
        CHECK(out == want);
    };
    f("INTEGER", Value::of(INT64_MIN), "-9223372036854775808");
    f("", Value::of(std::int64_t{5}), "5");
    f("TIMESTAMP", Value::of(std::int64_t{1'431'857'104'123}), "\"2015-05-17T10:05:04.123Z\"");
    f("TIMESTAMP", Value::of("soon"), "\"soon\"");
    f("BOOLEAN", Value::of(std::int64_t{0}), "false");
    f("BOOLEAN", Value::of(std::int64_t{2}), "2");
    f("REAL", Value::of(2.0), "2.0");
    f("JSON", Value::of("[1, 2]"), "[1, 2]");
    f("JSON", Value::of("[1, 2"), "\"[1, 2\"");
    f("TEXT", Value::of("[1]"), "\"[1]\"");
    f("BLOB", Value::of_blob("\xFF"), "\"/w==\"");
    f("TEXT", Value::null(), "null");
}

TEST_CASE("Formats") {
    CHECK(
        write(ResultFormat::rows) ==
        "{\"columns\":[{\"name\":\"i\",\"type\":\"INTEGER\"},{\"name\":\"t\",\"type\":\"TIMESTAMP\"},{\"name\":\"b\","
        "\"type\":\"BOOLEAN\"},"
        "{\"name\":\"r\",\"type\":\"REAL\"},{\"name\":\"x\\\"\",\"type\":\"BLOB\"},{\"name\":\"j\",\"type\":\"JSON\"},"
        "{\"name\":\"s\",\"type\":\"TEXT\"}],\"rows\":[[9223372036854775807,\"1970-01-01T00:00:00.000Z\",true,0.5,"
        "\"aGk=\",{\"a\": 1},"
        "\"a,\\\"b\\\"\"],[null,null,null,null,null,null,\"\"]],\"truncated\":true,\"applied_index\":\"0:17\","
        "\"elapsed_ms\":1.500}\n");
    CHECK(write(ResultFormat::ndjson) ==
          "{\"i\":9223372036854775807,\"t\":\"1970-01-01T00:00:00.000Z\",\"b\":true,\"r\":0.5,\"x\\\"\":\"aGk=\",\"j\":"
          "{\"a\": 1},"
          "\"s\":\"a,\\\"b\\\"\"}\n"
          "{\"i\":null,\"t\":null,\"b\":null,\"r\":null,\"x\\\"\":null,\"j\":null,\"s\":\"\"}\n");
    CHECK(write(ResultFormat::csv) ==
          "i,t,b,r,\"x\"\"\",j,s\n9223372036854775807,1970-01-01T00:00:00.000Z,true,0.5,aGk=,\"{\"\"a\"\":\n1}\",\"a,"
          "\"\"b\"\"\"\n"
          ",,,,,,\"\"\n");
    CHECK(write(ResultFormat::json_objects)
              .ends_with(
                  "],\"rows\":2,\"truncated\":true,\"applied_index\":\"0:17\",\"statistics\":{\"elapsed\":0.002}}\n"));
}

TEST_CASE("A result without columns is whole too") {
    auto f = [](ResultFormat format, std::string_view want) {
        std::string out;
        ResultWriter(format).end({false, "0:1", 0}, out);
        CHECK(out == want);
    };
    f(ResultFormat::rows,
      "{\"columns\":[],\"rows\":[],\"truncated\":false,\"applied_index\":\"0:1\",\"elapsed_ms\":0.000}\n");
    f(ResultFormat::ndjson, "");
    f(ResultFormat::csv, "");
}

TEST_CASE("Format names") {
    CHECK(result_format("") == ResultFormat::rows);
    CHECK(result_format("ndjson") == ResultFormat::ndjson);
    CHECK(result_format("JSONEachRow") == ResultFormat::ndjson);
    CHECK(result_format("CSVWithNames") == ResultFormat::csv);
    CHECK(result_format("JSON") == ResultFormat::json_objects);
    CHECK_FALSE(result_format("json "));
    CHECK_FALSE(result_format("xml"));
}
