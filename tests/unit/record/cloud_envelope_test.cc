// What makes an event of BodyShape::cloudevents a CloudEvent, and where among the checks that is asked.
#include "base/limits.h"
#include "record/json.h"
#include "record/path.h"

#include <catch2/catch_test_macros.hpp>

#include <string>
#include <string_view>

using namespace weir;
using namespace weir::record;

namespace {

Column column(const std::string& name, ColumnType type, const std::string& path) {
    Column c;
    c.name = name;
    c.type = type;
    c.path_text = path;
    c.path = parse_path(path).value();
    return c;
}

// DEDUP KEY (source, id), and a column of the data.
Schema orders() {
    Schema s;
    s.columns = {column("id", ColumnType::text, "$.id"), column("source", ColumnType::text, "$.source"),
                 column("n", ColumnType::integer, "$.data.n")};
    s.dedup_key = {1, 0};
    return s;
}

DecodedEvents decode(std::string_view text, BodyShape shape = BodyShape::cloudevents) {
    static JsonDecoder decoder;
    std::string body(text);
    body.append(JsonDecoder::padding_bytes, '"');
    DecodedEvents out;
    decoder.decode(orders(), shape, std::string_view(body).substr(0, text.size()), 0, FingerprintKey{1}, nullptr, out);
    CHECK(out.lines == out.columns.rows + out.rejected.size());
    return out;
}

}  // namespace

TEST_CASE("an event with the four attributes is a CloudEvent, whatever else it holds") {
    auto f = [](std::string_view text) {
        INFO(text);
        const DecodedEvents out = decode(text);
        REQUIRE(out.columns.rows == 1);
        CHECK(out.raw[0].size == text.size());
    };
    f(R"({"specversion":"1.0","id":"1","source":"/s","type":"t"})");
    f(R"({"type":"t","data":{"n":1},"source":"/s","id":"1","specversion":"1.0"})");
    f(R"({"specversion":"1.0","id":"1","source":"/s","type":"t","data":null})");
    f(R"({"specversion":"1.0","id":"1","source":"/s","type":"t","data_base64":"AA=="})");
    f(R"({"specversion":"1.0","id":"1","source":"/s","type":"t","data":1,"data_base64":null})");
    f(R"({"specversion":"1\u002e0","\u0069d":"1","source":"/s","type":"t"})");
    f(R"({"specversion":"1.0","specversion":"2.0","id":"1","source":"/s","type":"t"})");  // the first is read
}

TEST_CASE("what lacks an attribute is a bad_cloudevent, and says which") {
    auto f = [](std::string_view text, std::string_view part) {
        const DecodedEvents out = decode(text);
        REQUIRE(out.rejected.size() == 1);
        INFO(text << " " << out.rejected[0].message);
        CHECK(out.rejected[0].reason == Reject::bad_cloudevent);
        CHECK(out.rejected[0].message.find(part) != std::string::npos);
        CHECK(out.rejected[0].raw.size == text.size());
        // As any JSON it may be an event.
        const DecodedEvents plain = decode(text, BodyShape::json);
        CHECK((plain.rejected.empty() || plain.rejected[0].reason != Reject::bad_cloudevent));
    };
    f("{}", "$.specversion");
    f(R"({"id":"1","source":"/s","type":"t"})", "$.specversion");
    f(R"({"specversion":"1.0","source":"/s","type":"t"})", "$.id");
    f(R"({"specversion":"1.0","id":"1","type":"t"})", "$.source");
    f(R"({"specversion":"1.0","id":"1","source":"/s"})", "$.type");
    f(R"({"specversion":"1.0","id":"","source":"/s","type":"t"})", "$.id");
    f(R"({"specversion":"1.0","id":7,"source":"/s","type":"t"})", "got 7");
    f(R"({"specversion":"1.0","id":"1","source":null,"type":"t"})", "$.source");
    f(R"({"specversion":1.0,"id":"1","source":"/s","type":"t"})", "$.specversion");
    f(R"({"specversion":"0.3","id":"1","source":"/s","type":"t"})", "0.3");
    f(R"({"specversion":"1.00","id":"1","source":"/s","type":"t"})", "1.00");
    f(R"({"specversion":"1.0","id":"1","source":"/s","type":"t","data":1,"data_base64":"AA=="})", "not both");
    f(R"({"data":{"specversion":"1.0","id":"1","source":"/s","type":"t"}})", "$.specversion");
}

TEST_CASE("the envelope is asked behind not_an_object and before the stream's own columns") {
    auto f = [](std::string_view text, Reject want) {
        INFO(text);
        const DecodedEvents out = decode(text);
        REQUIRE(out.rejected.size() == 1);
        CHECK(out.rejected[0].reason == want);
    };
    f("nope", Reject::malformed_json);
    f(R"({"specversion":"1.0","id":"1","source":"/s","type":"t"} x)", Reject::malformed_json);
    f("7", Reject::not_an_object);
    f(R"({"data":{"n":"x"}})", Reject::bad_cloudevent);
    f(R"({"specversion":"1.0","id":"1","source":"/s","type":"t","data":{"n":"x"}})", Reject::wrong_type);
}

TEST_CASE("a batch is an array, and each of its events is asked by itself") {
    const std::string good = R"({"specversion":"1.0","id":"1","source":"/s","type":"t","data":{"n":1}})";
    CHECK(decode("[]").lines == 0);
    const DecodedEvents out = decode("[" + good + ",{}, " + good + ",7]");
    CHECK(out.columns.rows == 2);
    REQUIRE(out.rejected.size() == 2);
    CHECK(out.rejected[0].index == 1);
    CHECK(out.rejected[0].reason == Reject::bad_cloudevent);
    CHECK(out.rejected[1].index == 3);
    CHECK(out.rejected[1].reason == Reject::not_an_object);
    CHECK(out.fingerprint[0] == out.fingerprint[1]);
    const DecodedEvents other = decode(R"({"specversion":"1.0","id":"s/1","source":"/","type":"t"})");
    CHECK(out.fingerprint[0] != other.fingerprint[0]);  // the two attributes are not glued together
}

TEST_CASE("a body that never becomes an event is one rejection of all of it") {
    DecodedEvents out;
    JsonDecoder::refuse(orders(), "some bytes", Reject::too_large, std::string(1000, 'm'), out);
    CHECK(out.lines == 1);
    REQUIRE(out.rejected.size() == 1);
    CHECK(out.rejected[0].raw.size == 10);
    CHECK(out.rejected[0].reason == Reject::too_large);
    CHECK(out.rejected[0].message.size() == limits::dead_letter_message_bytes_max);
    CHECK(out.raw.empty());
}

TEST_CASE("whether a text is one JSON value") {
    auto fault = [](std::string_view text) -> std::string {
        std::string padded(text);
        padded.append(64, '"');
        const auto found = json_fault(std::string_view(padded).substr(0, text.size()));
        return found ? std::string(reject_name(found->reason)) : "";
    };
    for (const char* good : {"1", " {\"a\":[1,2]} \n", "null", "\"x\"", "[]", "-0.5e9"})
        CHECK(fault(good).empty());
    for (const char* bad : {"", " ", "{", "1,2", "1 2", "{}}", "\"x", "nul", "01", "\"\xff\"", "{}\xff"})
        CHECK(fault(bad) == "malformed_json");
    CHECK(fault(std::string(64, '[') + std::string(64, ']')).empty());
    CHECK(fault(std::string(65, '[') + std::string(65, ']')) == "too_deep");
    CHECK(fault("\"\xff\"" + std::string(65, '[')) == "malformed_json");
    CHECK(is_utf8("\xE2\x82\xAC"));
    CHECK_FALSE(is_utf8("\xE2\x82"));
}
