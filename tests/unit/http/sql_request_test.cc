#include "http/detail/sql_request.h"

#include <catch2/catch_test_macros.hpp>

using namespace weir;
using namespace weir::http;

TEST_CASE("Statements as text and as JSON") {
    auto f = [](std::string_view type, std::string_view body, const Parameters& url, std::string_view want) {
        const auto read = read_sql_request(type, body, url);
        INFO(type << " " << body);
        CHECK((read ? read.value().statement : errc_name(read.error().code)) == want);
    };
    f("", "SELECT 1", {}, "SELECT 1");
    f("text/plain; charset=utf-8", "SELECT 1", {}, "SELECT 1");
    f("application/x-www-form-urlencoded", "SELECT 1 + 1", {}, "SELECT 1 + 1");
    f("Application/JSON", R"({"query":"SELECT 2"})", {}, "SELECT 2");
    f("application/json",
      R"({"query":"x","params":[1,-1,1.5,"a",true,null],"min_index":"0:3","timeout_ms":5,"max_rows":1})", {}, "x");
    f("application/json", R"({"query":"x","limit":1})", {}, "invalid_argument");
    f("application/json", R"({"params":[]})", {}, "invalid_argument");
    f("application/json", R"({"query":1})", {}, "invalid_argument");
    f("application/json", R"({"query":"x","params":[[1]]})", {}, "invalid_argument");
    f("application/json", R"({"query":"x","params":[18446744073709551615]})", {}, "invalid_argument");
    f("application/json", R"({"query":"x","timeout_ms":0})", {}, "invalid_argument");
    f("application/json", R"({"query":"x","timeout_ms":1.5})", {}, "invalid_argument");
    f("application/json", R"({"query":"x","max_rows":-1})", {}, "invalid_argument");
    f("application/json", R"({"query":"x","min_index":3})", {}, "invalid_argument");
    f("application/json", "SELECT 1", {}, "invalid_argument");
    f("application/json", "[]", {}, "invalid_argument");
    f("application/json", std::string(200'000, '['), {}, "invalid_argument");
    f("application/json", "{\"query\":\"\\ud800\"}", {}, "invalid_argument");
    f("text/html", "SELECT 1", {}, "unsupported");
    f("", std::string(100'000, ' '), {}, std::string(100'000, ' '));
    f("", std::string(100'001, ' '), {}, "too_large");
    f("", "x", {{"format", "ndjson"}}, "x");
    f("", "x", {{"format", "yaml"}}, "invalid_argument");
    f("", "x", {{"max_rows", "5"}, {"timeout_ms", "9"}, {"min_index", "0:1"}}, "x");
    f("", "x", {{"max_rows", "-5"}}, "invalid_argument");
    f("", "x", {{"rows", "5"}}, "invalid_argument");
}

TEST_CASE("Parameters keep their types and integers their digits") {
    const auto read = read_sql_request(
        "application/json",
        R"({"query":"x","params":[9223372036854775807,-9223372036854775808,1.0,"a\u0000b",false,null]})", {});
    REQUIRE(read);
    const auto& p = read.value().parameters;
    REQUIRE(p.size() == 6);
    CHECK(p[0].integer == INT64_MAX);
    CHECK(p[1].integer == INT64_MIN);
    CHECK(p[2].type == store::ValueType::real);
    CHECK(p[3].text == std::string("a\0b", 3));
    CHECK(p[4].type == store::ValueType::integer);
    CHECK(p[5].type == store::ValueType::null);
    CHECK(read.value().timeout_ms == 10'000);
    CHECK(read.value().rows_max == 10'000);
}
