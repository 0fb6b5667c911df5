#include "http/detail/ingest_plan.h"

#include "fakes.h"

#include <catch2/catch_test_macros.hpp>

using namespace weir;
using namespace weir::http;
using weir::http::test::has;

TEST_CASE("What a head says about the body") {
    auto f = [](std::string_view type, std::string_view encoding, int want, int shape = 0,
                Coding coding = Coding::identity) {
        RequestHead head;
        head.content_type = type;
        head.content_encoding = encoding;
        IngestPlan plan;
        const auto problem = plan_ingest(head, "s", plan);
        INFO(type << " " << encoding);
        CHECK((problem ? problem->status : 200) == want);
        if (problem) return;
        CHECK((plan.shape ? static_cast<int>(*plan.shape) : -1) == shape);
        CHECK(plan.coding == coding);
        CHECK(plan.is_cloud_event() == (shape == static_cast<int>(record::BodyShape::cloudevents)));
    };
    const int json = static_cast<int>(record::BodyShape::json), ndjson = static_cast<int>(record::BodyShape::ndjson),
              cloud = static_cast<int>(record::BodyShape::cloudevents);
    f("application/json", "", 200, json);
    f("Application/JSON ; charset=UTF-8", "identity", 200, json);
    f("application/json;charset=\"utf-8\"", "gzip", 200, json, Coding::gzip);
    f("application/json; x-charset=latin1", "zstd", 200, json, Coding::zstd);
    f("application/x-ndjson", "GZIP", 200, ndjson, Coding::gzip);
    f("application/x-ndjson; charset=utf-8", "", 200, ndjson);
    f("application/ndjson", "x-gzip", 200, ndjson, Coding::gzip);
    f("application/jsonl; charset=us-ascii", "", 200, ndjson);
    f("application/stream+json", "", 200, ndjson);
    f("application/cloudevents+json", "", 200, cloud);
    f("application/CloudEvents-batch+json; charset=utf-8", "zstd", 200, cloud, Coding::zstd);
    f("", "", 200, -1);
    f("application/x-www-form-urlencoded", "", 200, -1);
    f("text/csv", "", 415);
    f("text/plain", "", 415);
    f("application/cloudevents+avro", "", 415);
    f("application/cloudeventsx", "", 415);
    f("application/jsonx", "", 415);
    f("application/json; charset=iso-8859-1", "", 415);
    f("application/x-ndjson; charset=utf-16", "", 415);
    f("application/json", "gzip, zstd", 415);
    f("application/json", "gzip, gzip", 415);
    f("application/json", "br", 415);
}

TEST_CASE("The fields of a CloudEvent make its front, save under its own type") {
    RequestHead head;
    head.content_type = "image/png";
    head.cloud_fields = {{"specversion", "1.0"}, {"id", "1"}, {"source", "/s"}, {"type", "t"}};
    IngestPlan plan;
    CHECK_FALSE(plan_ingest(head, "s", plan));
    CHECK(plan.is_cloud_event());
    CHECK(plan.cloud_front == R"({"specversion":"1.0","id":"1","source":"/s","type":"t")");
    head.content_type = "application/cloudevents+json";
    IngestPlan structured;
    CHECK_FALSE(plan_ingest(head, "s", structured));
    CHECK(structured.cloud_front.empty());
    for (const std::string& type : {std::string("image/\xff"), "image/" + std::string(200, 'x')}) {
        head.content_type = type;
        IngestPlan bad;
        const auto problem = plan_ingest(head, "s", bad);
        REQUIRE(problem);
        CHECK(problem->status == 400);
        CHECK(problem->code == "bad_cloudevent");
    }
    // Fields beside the required ones are no sign of an event.
    head.content_type = "text/csv";
    head.cloud_fields = {{"time", "x"}};
    IngestPlan other;
    CHECK(plan_ingest(head, "s", other)->status == 415);
}

TEST_CASE("Bodies without a type are looked at") {
    CHECK(looks_like_json("{}"));
    CHECK(looks_like_json(" \r\n\t[1]"));
    CHECK(looks_like_json("\xEF\xBB\xBF{}"));
    CHECK_FALSE(looks_like_json(""));
    CHECK_FALSE(looks_like_json("a=b"));
    CHECK_FALSE(looks_like_json("  "));
    CHECK(has(json_hint("{\"a\":1}\n{\"a\":2}\n"), "x-ndjson"));
    CHECK(has(json_hint("{\"a\":1}{\"a\":2}"), "--data-binary"));
    CHECK(json_hint("{\"a\":1}").empty());
    CHECK(json_hint("{\"a\":{\"b\":1},").empty());
    CHECK(json_hint(std::string(1'000'000, '}')).empty());
}
