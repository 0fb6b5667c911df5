#include "http/detail/cloud_event.h"

#include "base/limits.h"
#include "fakes.h"

#include <catch2/catch_test_macros.hpp>

using namespace weir;
using namespace weir::http;
using weir::http::test::has;

namespace {

const std::vector<CloudField> good{{"specversion", "1.0"}, {"ID", "a-1"}, {"source", "/s"}, {"Type", "t.t"}};

std::vector<CloudField> with(std::string_view name, std::string_view value) {
    std::vector<CloudField> fields = good;
    fields.emplace_back(name, value);
    return fields;
}

// The event of a body whose padding is hostile.
CloudEvent made(std::string_view content_type, CloudData kind, std::string_view body) {
    std::string padded(body);
    padded.append(64, '"');
    return make_cloud_event(cloud_event_front(good).value(), content_type, kind,
                            std::string_view(padded).substr(0, body.size()));
}

}  // namespace

TEST_CASE("attribute values: quotes and one round of percent-decoding") {
    auto f = [](std::string_view value, std::string_view want) {
        INFO(value);
        const auto got = decode_attribute(value);
        REQUIRE(got.has_value());
        CHECK(got.value() == want);
    };
    f("", "");
    f("plain", "plain");
    f("Euro%20%E2%82%AC%20%F0%9F%98%80", "Euro \xE2\x82\xAC \xF0\x9F\x98\x80");
    f("%e2%82%ac", "\xE2\x82\xAC");
    f("%2541", "%41");  // one round
    f("%41", "A");      // needlessly encoded
    f("100%", "100%");  // not an encoding: as it is
    f("%4", "%4");
    f("%4g%zz", "%4g%zz");
    f("\"quoted\"", "quoted");
    f("\"a \\\"b\\\" c\"", "a \"b\" c");
    f("\"%41\"", "A");  // unquoted first, decoded then
    f("\"\\%41\"", "A");
    f("a \"b\" c", "a b c");
    f("\xE2\x82\xAC", "\xE2\x82\xAC");  // not encoded, and UTF-8
    f("%C2%A0", "\xC2\xA0");
    auto bad = [](std::string_view value) {
        INFO(value);
        CHECK_FALSE(decode_attribute(value).has_value());
    };
    bad("%C0%A0");  // overlong
    bad("%ff");
    bad("\xff");
    bad("%ED%A0%80");  // a surrogate
    bad("%E2%82");
    bad("%00");
    bad("a%0Ab");
    bad("a\tb");
    bad("%7F");
    bad("%C2%85");  // C1
    bad("\"open");
    bad("\"open\\");
}

TEST_CASE("the fields of an event become its attributes, in their order") {
    const auto front = cloud_event_front(with("traceparent", "%2200%22"));
    REQUIRE(front.has_value());
    CHECK(front.value() == R"({"specversion":"1.0","id":"a-1","source":"/s","type":"t.t","traceparent":"\"00\"")");
    CHECK(means_cloud_event(good));
    CHECK(means_cloud_event(std::vector<CloudField>{{"Source", "x"}}));
    CHECK_FALSE(means_cloud_event({}));
    CHECK_FALSE(means_cloud_event(std::vector<CloudField>{{"time", "x"}}));
    auto bad = [](const std::vector<CloudField>& fields, std::string_view part) {
        const auto got = cloud_event_front(fields);
        REQUIRE_FALSE(got.has_value());
        INFO(got.error().detail);
        CHECK(got.error().code == Errc::invalid_argument);
        CHECK(has(got.error().detail, part));
    };
    bad(with("datacontenttype", "application/json"), "ce-datacontenttype");
    bad(with("data", "x"), "ce-data ");
    bad(with("data_base64", "x"), "ce-data_base64");
    bad(with("my-ext", "x"), "letters and digits");
    bad(with("", "x"), "letters and digits");
    bad(with("iD", "other"), "twice");
    bad(with("subject", "%ff"), "ce-subject is not UTF-8");
    for (std::size_t i = 0; i < good.size(); ++i) {
        std::vector<CloudField> fields = good;
        fields[i].second = "";
        bad(fields, "is empty");
        fields.erase(fields.begin() + static_cast<std::ptrdiff_t>(i));
        bad(fields, "is missing");
    }
    std::vector<CloudField> old = good;
    old[0].second = "0.3";
    bad(old, "0.3");
}

TEST_CASE("what the type says of the data") {
    auto f = [](std::string_view type, int kind, CloudData otherwise = CloudData::binary) {
        INFO(type);
        const CloudDataKind got = cloud_data_of(type);
        CHECK((got.kind ? static_cast<int>(*got.kind) : -1) == kind);
        if (!got.kind) CHECK(got.otherwise == otherwise);
    };
    const int json = 0, text = 1, binary = 2;
    f("application/json; charset=utf-8", json);
    f("application/vnd.x+json", json);
    f("text/json", json);
    f("text/plain", text);
    f("text/plain; charset=iso-8859-1", binary);
    f("application/xml", text);
    f("application/x-ndjson", text);
    f("application/stream+json", text);
    f("application/octet-stream", binary);
    f("image/png", binary);
    f("", -1);
    f("application/x-www-form-urlencoded", -1, CloudData::text);
}

TEST_CASE("an event of the binary mode is one JSON object") {
    const std::string front = R"({"specversion":"1.0","id":"a-1","source":"/s","type":"t.t")";
    auto f = [&](std::string_view type, CloudData kind, std::string_view body, const std::string& want) {
        const CloudEvent event = made(type, kind, body);
        INFO(event.event << event.message);
        CHECK(event.reason == record::Reject::none);
        CHECK(event.event == front + want);
        CHECK(event.event.capacity() >= event.event.size() + 64);
    };
    f("application/json", CloudData::json, R"({"n":9007199254740993, "n":1})",
      R"(,"datacontenttype":"application/json","data":{"n":9007199254740993, "n":1}})");
    f("", CloudData::json, "\xEF\xBB\xBF [1]\r\n", R"(,"data":[1]})");
    f("a/json", CloudData::json, "null", R"(,"datacontenttype":"a/json","data":null})");
    f("a/json", CloudData::json, "\"text\"", R"(,"datacontenttype":"a/json","data":"text"})");
    f("a/json", CloudData::json, " \n", R"(,"datacontenttype":"a/json"})");
    f("", CloudData::binary, "", "}");
    f("text/plain", CloudData::text, "a \"b\"\n\xE2\x82\xAC",
      ""
      R"(,"datacontenttype":"text/plain","data":"a \"b\"\n)"
      "\xE2\x82\xAC\"}");
    f("text/plain", CloudData::text, "\xff\xfe", R"(,"datacontenttype":"text/plain","data_base64":"//4="})");
    f("image/x; a=\"b\"", CloudData::binary, "abc", R"(,"datacontenttype":"image/x; a=\"b\"","data_base64":"YWJj"})");
}

TEST_CASE("data that is not what its type says is no event, and cannot become another one") {
    auto f = [](std::string_view body, record::Reject want) {
        const CloudEvent event = made("application/json", CloudData::json, body);
        INFO(body.substr(0, 100) << " " << event.message);
        CHECK(event.reason == want);
        CHECK(has(event.message, "\"id\":\"a-1\""));
    };
    f("1,\"id\":\"other\"", record::Reject::malformed_json);
    f("{}} {", record::Reject::malformed_json);
    f("{", record::Reject::malformed_json);
    f("{\"a\":1}\n{\"a\":2}", record::Reject::malformed_json);
    f("abc", record::Reject::malformed_json);
    f("\"\xff\"", record::Reject::malformed_json);
    f("\"\\ud800\"", record::Reject::malformed_json);
    f(std::string(65, '[') + std::string(65, ']'), record::Reject::too_deep);
    f("\"" + std::string(limits::event_bytes_max - 1, 'x') + "\"", record::Reject::too_large);
    // Escapes and base64 make more of it than it is.
    CHECK(made("text/plain", CloudData::text, std::string(2'000'000, '\1')).reason == record::Reject::too_large);
    CHECK(made("", CloudData::binary, std::string(7'600'000, '\1')).reason == record::Reject::too_large);
    CHECK(made("", CloudData::binary, std::string(7'000'000, '\1')).reason == record::Reject::none);
    CHECK(made("", CloudData::binary, std::string(64 << 20, '\1')).reason == record::Reject::too_large);
}
