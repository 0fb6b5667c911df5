#include "http/detail/json_text.h"

#include <catch2/catch_test_macros.hpp>

#include <limits>

using namespace weir::http;

TEST_CASE("append_json_string escapes and repairs") {
    auto f = [](std::string_view text, std::string_view want) {
        std::string out;
        append_json_string(out, text);
        CHECK(out == want);
    };
    f("", R"("")");
    f("a\"b\\c", R"("a\"b\\c")");
    f("\n\r\t\x01\x1f", R"("\n\r\t\u0001\u001f")");
    f("gr\xC3\xBC\xC3\x9F", "\"gr\xC3\xBC\xC3\x9F\"");
    f("\xF0\x9F\x98\x80", "\"\xF0\x9F\x98\x80\"");
    f("a\xFFz", "\"a\xEF\xBF\xBDz\"");
    f("\xC3", "\"\xEF\xBF\xBD\"");
    f("\xC0\x80", "\"\xEF\xBF\xBD\xEF\xBF\xBD\"");
    f("\xED\xA0\x80", "\"\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD\"");
    f("\xF4\x90\x80\x80x", "\"\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBDx\"");
}

TEST_CASE("append_json_real keeps the value and stays a real") {
    auto f = [](double value, std::string_view want) {
        std::string out;
        append_json_real(out, value);
        CHECK(out == want);
    };
    f(1, "1.0");
    f(-0.0, "-0.0");
    f(0.1, "0.1");
    f(1e300, "1e+300");
    f(5e-324, "5e-324");
    f(123456789012345680.0, "123456789012345680.0");
    f(std::numeric_limits<double>::infinity(), "null");
    f(std::numeric_limits<double>::quiet_NaN(), "null");
}

TEST_CASE("append_base64") {
    auto f = [](std::string_view bytes, std::string_view want) {
        std::string out;
        append_base64(out, bytes);
        CHECK(out == want);
    };
    f("", "");
    f("f", "Zg==");
    f("fo", "Zm8=");
    f("foo", "Zm9v");
    f("\xFF\xFE\xFD\xFC", "//79/A==");
}

TEST_CASE("members and elements have their commas between them") {
    std::string out = "[";
    for (const bool flag : {true, false}) {
        append_comma(out);
        out += '{';
        append_member(out, "text", "a\"[{");
        append_member(out, "number", -7);
        append_name(out, "list");
        out += "[]";
        append_flag(out, "flag", flag);
        out += '}';
    }
    CHECK(out == R"([{"text":"a\"[{","number":-7,"list":[],"flag":true},)"
                 R"({"text":"a\"[{","number":-7,"list":[],"flag":false})");
    std::string behind;  // what others put into an object of theirs
    append_member(behind, "n", 1);
    CHECK(behind == ",\"n\":1");
}

TEST_CASE("is_json accepts one value and nothing else") {
    for (const char* good : {"1", " -0.5e+3 ", "\"a\\u00e9\\n\"", "true", "null", "[]", "{}",
                             "[1,[2,{\"a\":[]}],\"x\"]", "{\"a\":1,\"b\":{\"c\":null}}", "[ { } , [ ] ]"})
        CHECK(is_json(good));
    for (const char* bad : {"",        " ",           "01",  "1.",  ".5",   "1e",     "+1",       "tru",     "\"a",
                            "\"\\x\"", "\"\\u12g4\"", "[",   "[1",  "[1,]", "[,]",    "{",        "{\"a\"}", "{\"a\":}",
                            "{a:1}",   "{\"a\":1,}",  "1 2", "[]]", "NaN",  "\"\t\"", "{\"a\":1]"})
        CHECK_FALSE(is_json(bad));
    CHECK(is_json(std::string(512, '[') + std::string(512, ']')));
    CHECK_FALSE(is_json(std::string(513, '[') + std::string(513, ']')));
    CHECK_FALSE(is_json(std::string(1'000'000, '[')));
}
