#include "http/detail/media_type.h"

#include <catch2/catch_test_macros.hpp>

using namespace weir::http;

TEST_CASE("a media type is its name and its charset") {
    auto f = [](std::string_view field, std::string_view name, std::string_view charset) {
        INFO(field);
        const MediaType type = media_type_of(field);
        CHECK(type.name == name);
        CHECK(type.charset == charset);
    };
    f("", "", "");
    f("application/json", "application/json", "");
    f("  application/json ; charset=utf-8 ", "application/json", "utf-8");
    f("application/json;CHARSET=\"UTF-8\"", "application/json", "UTF-8");
    f("text/plain; a=b; charset = latin1 ; c=d", "text/plain", "latin1");
    f("text/plain; charset=a; charset=b", "text/plain", "a");
    f("text/plain; x=\"charset=evil; charset=evil\"; charset=good", "text/plain", "good");
    f("text/plain; x-charset=evil", "text/plain", "");
    f("text/plain; charset", "text/plain", "");
    f("text/plain; charset; charset=b", "text/plain", "b");
    f("text/plain; charset=\"open", "text/plain", "open");
    f("text/plain; charset=\"a\\\"b\" junk ; c=d", "text/plain", "a\"b");
    f(";;;", "", "");
    f("=;=;", "=", "");
}

TEST_CASE("which types are JSON, which are text, which charsets are UTF-8") {
    for (const char* json :
         {"application/json", "Application/JSON", "text/json", "application/problem+json", "application/vnd.a.b+JSON"})
        CHECK(is_json_type(json));
    for (const char* other : {"", "json", "application/jsonx", "application/x-json", "application/json+xml"})
        CHECK_FALSE(is_json_type(other));
    for (const char* text : {"text/plain", "TEXT/csv", "application/xml", "image/svg+xml", "application/x-ndjson",
                             "application/x-www-form-urlencoded"})
        CHECK(is_text_type(text));
    for (const char* other : {"", "application/octet-stream", "image/png", "application/protobuf", "textual/x"})
        CHECK_FALSE(is_text_type(other));
    CHECK(is_utf8_charset(""));
    CHECK(is_utf8_charset("UTF-8"));
    CHECK(is_utf8_charset("us-ascii"));
    CHECK_FALSE(is_utf8_charset("utf-16"));
    CHECK_FALSE(is_utf8_charset("iso-8859-1"));
}

TEST_CASE("one coding is taken, however it is listed") {
    auto f = [](std::string_view field, std::optional<Coding> want) {
        INFO(field);
        CHECK(coding_of(field) == want);
    };
    f("", Coding::identity);
    f(" identity ", Coding::identity);
    f(",,", Coding::identity);
    f("gzip", Coding::gzip);
    f("X-GZip", Coding::gzip);
    f("ZSTD", Coding::zstd);
    f("identity, zstd ,", Coding::zstd);
    f("gzip, zstd", std::nullopt);
    f("gzip,gzip", std::nullopt);
    f("br", std::nullopt);
    f("deflate", std::nullopt);
    f("zstd;q=1", std::nullopt);
    f("gzipx", std::nullopt);
}
