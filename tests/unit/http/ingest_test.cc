#include "http/detail/ingest.h"

#include "base/limits.h"
#include "fakes.h"

#include <catch2/catch_test_macros.hpp>

using namespace weir;
using namespace weir::http;
using namespace weir::http::test;

TEST_CASE("What a head says about the body") {
    auto f = [](std::string_view type, std::string_view encoding, int want, int shape, bool gzip) {
        RequestHead head;
        head.content_type = type;
        head.content_encoding = encoding;
        IngestPlan plan;
        const auto problem = plan_ingest(head, "s", plan);
        INFO(type << " " << encoding);
        CHECK((problem ? problem->status : 200) == want);
        if (problem) return;
        CHECK((plan.shape ? static_cast<int>(*plan.shape) : -1) == shape);
        CHECK(plan.gzip == gzip);
    };
    const int json = static_cast<int>(record::BodyShape::json), ndjson = static_cast<int>(record::BodyShape::ndjson);
    f("application/json", "", 200, json, false);
    f("Application/JSON ; charset=UTF-8", "identity", 200, json, false);
    f("application/json;charset=\"utf-8\"", "gzip", 200, json, true);
    f("application/x-ndjson", "GZIP", 200, ndjson, true);
    f("application/ndjson", "x-gzip", 200, ndjson, true);
    f("application/jsonl", "", 200, ndjson, false);
    f("application/stream+json", "", 200, ndjson, false);
    f("", "", 200, -1, false);
    f("application/x-www-form-urlencoded", "", 200, -1, false);
    f("text/csv", "", 415, 0, false);
    f("text/plain", "", 415, 0, false);
    f("application/cloudevents+json", "", 415, 0, false);
    f("application/jsonx", "", 415, 0, false);
    f("application/json; charset=iso-8859-1", "", 415, 0, false);
    f("application/json", "zstd", 415, 0, false);
    f("application/json", "gzip, gzip", 415, 0, false);
    f("application/json", "br", 415, 0, false);
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

TEST_CASE("The answer has the contract's shape") {
    replica::IngestOutcome o;
    o.accepted = 2;
    o.duplicates = 1;
    o.rejected = 1;
    o.errors.push_back({3, record::Reject::wrong_type, "n: \"x\""});
    o.duplicate_of.push_back({1, 2, 4711});
    o.partitions.push_back({0, 100, 1});
    o.partitions.push_back({3, 7, 1});
    o.shard = ShardId(1);
    o.applied_index = LogIndex(17);
    std::string out;
    append_ingest_answer(out, "clicks", o);
    CHECK(out ==
          "{\"stream\":\"clicks\",\"accepted\":2,\"duplicates\":1,\"rejected\":1,"
          "\"errors\":[{\"index\":3,\"code\":\"wrong_type\",\"message\":\"n: \\\"x\\\"\"}],"
          "\"duplicate_of\":[{\"index\":1,\"partition\":2,\"offset\":4711}],"
          "\"partitions\":[{\"partition\":0,\"base_offset\":100,\"count\":1},{\"partition\":3,\"base_offset\":7,"
          "\"count\":1}],"
          "\"applied_index\":\"1:17\"}\n");
    o.errors.assign(101, o.errors[0]);
    o.duplicate_of_truncated = true;
    out.clear();
    append_ingest_answer(out, "clicks", o);
    CHECK(has(out, "\"errors_truncated\":true"));
    CHECK(has(out, "\"duplicate_of_truncated\":true"));
}

TEST_CASE("Events in, outcome out") {
    Door door;
    auto f = [&](const std::string& bytes, int status, std::string_view part) {
        const Response r = door.ask(bytes);
        INFO(bytes.substr(0, 300) << "\n" << r.head << r.body);
        CHECK(r.status == status);
        CHECK(has(r.body, part));
    };
    f(post("clicks", R"({"event_id":"a","n":1})"), 200, "\"accepted\":1,\"duplicates\":0,\"rejected\":0,\"errors\":[]");
    f(post("clicks", R"([{"event_id":"a"},{"event_id":"b"}])"), 200, "\"accepted\":2");
    f(post("clicks", "{\"event_id\":\"a\"}\n\r\n{\"event_id\":\"b\"}", "application/x-ndjson"), 200, "\"accepted\":2");
    f(post("clicks", "{\"event_id\":\"a\"}\nnope\n", "application/x-ndjson"), 200, "\"rejected\":1");
    f(post("clicks", "nope\n", "application/x-ndjson"), 400, "\"accepted\":0,\"duplicates\":0,\"rejected\":1");
    f(post("clicks", "nope\n", "application/x-ndjson"), 400, "\"code\":\"malformed_json\"");
    f(post("clicks", ""), 200, "\"accepted\":0,\"duplicates\":0,\"rejected\":0");
    f(post("clicks", "\n \n", "application/x-ndjson"), 200, "\"accepted\":0");
    f(post("clicks", "[]"), 200, "\"accepted\":0");
    f(post("clicks", R"({"event_id":"a"})", ""), 200, "\"accepted\":1");
    f(post("clicks", R"({"event_id":"a"})", "application/x-www-form-urlencoded"), 200, "\"accepted\":1");
    f(post("clicks", "a=b", "application/x-www-form-urlencoded"), 415, "application/x-ndjson");
    f(post("clicks", "{}", "text/csv"), 415, "application/x-ndjson");
    f(post("clicks", "{\"a\":1}\n{\"a\":2}"), 400, "x-ndjson");
    f(post("clicks", "{\"a\":1}{\"a\":2}", ""), 400, "--data-binary");
    f(post("clicks", gzipped(R"({"event_id":"a"})"), "application/json", "Content-Encoding: gzip\r\n"), 200,
      "\"accepted\":1");
    f(post("clicks", "not gzip", "application/json", "Content-Encoding: gzip\r\n"), 400, "invalid_argument");
    f(post("clicks", "{}", "application/json", "Content-Encoding: zstd\r\n"), 415, "gzip");
    f(post("checked", R"([{"n":1},{"n":-1}])"), 200, "\"check_failed\"");
    f(post("2bad", "{}"), 400, "invalid_argument");
    f(post("a%2Fb", "{}"), 400, "invalid_argument");
    f("POST /v1/streams/clicks/events HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
      "10\r\n{\"event_id\":\"a\"}\r\n0\r\n\r\n",
      200, "\"accepted\":1");
    CHECK(door.catalog.ensured == 0);
    CHECK(door.catalog.shard.bodies[0] == R"({"event_id":"a","n":1})");
}

TEST_CASE("An undeclared stream is made on its first event, not before") {
    {
        Door door;
        CHECK(door.ask(post("fresh", "")).status == 200);
        CHECK(door.catalog.ensured == 0);
        const Response r = door.ask(post("fresh", R"({"event_id":"a"})"));
        CHECK(r.status == 200);
        CHECK(has(r.body, "\"stream\":\"fresh\",\"accepted\":1"));
        CHECK(door.catalog.ensured == 1);
        CHECK(door.ask(post("toomany", "{}")).status == 503);
    }
    ServerOptions options;
    options.undeclared_streams = false;
    Door door(options);
    CHECK(door.ask(post("fresh", R"({"event_id":"a"})")).status == 404);
    CHECK(door.ask(post("fresh", "")).status == 404);
    CHECK(door.catalog.ensured == 0);
}

TEST_CASE("How a shard's refusals look") {
    Door door;
    auto f = [&](Errc code, int status, std::string_view want, bool retry) {
        door.catalog.shard.reply = [code](const replica::IngestRequest&) {
            replica::IngestOutcome o;
            o.status = Error{code, "because"};
            return o;
        };
        const Response r = door.ask(post("clicks", "{}"));
        INFO(errc_name(code) << r.head << r.body);
        CHECK(r.status == status);
        CHECK(has(r.body, want));
        CHECK(r.field("Content-Type") == "application/problem+json");
        CHECK(r.field("Retry-After").empty() == !retry);
    };
    f(Errc::overloaded, 503, "\"code\":\"overloaded\"", true);
    f(Errc::disk_full, 503, "\"code\":\"disk_full\"", true);
    f(Errc::recovering, 503, "\"code\":\"recovering\"", true);
    f(Errc::timed_out, 504, "\"code\":\"outcome_unknown\"", false);
    f(Errc::not_found, 404, "\"code\":\"not_found\"", false);
    f(Errc::conflict, 503, "send it again", true);
    CHECK(door.catalog.shard.bodies.size() == 6);
    door.catalog.shard.reply = nullptr;
    door.catalog.shard.full = true;
    const Response r = door.ask(post("clicks", "{}"));
    CHECK(r.status == 503);
    CHECK_FALSE(r.field("Retry-After").empty());
}

TEST_CASE("More events than a request may have are refused as a whole") {
    Door door;
    auto f = [&](const std::string& bytes, int status) {
        const Response r = door.ask(bytes);
        INFO(r.head << r.body.substr(0, 500));
        CHECK(r.status == status);
        if (status == 413) {
            CHECK(r.field("Content-Type") == "application/problem+json");
            CHECK(has(r.body, "\"code\":\"too_large\""));
            CHECK(has(r.body, "500000 events"));
            CHECK(has(r.body, "nothing was stored"));
        }
    };
    const auto repeated = [](std::string_view part, std::size_t n) {
        std::string out;
        for (std::size_t i = 0; i < n; ++i)
            out += part;
        return out;
    };
    constexpr std::size_t max = limits::events_per_request_max;
    f(post("clicks", repeated("{}\n", max + 1), "application/x-ndjson"), 413);
    f(post("clicks", "[" + repeated("{},", max) + "{}]"), 413);
    CHECK(door.catalog.shard.bodies.empty());
    f(post("clicks", repeated("{}\n", max), "application/x-ndjson"), 200);
    CHECK(door.catalog.shard.bodies.size() == 1);
    // A refusal that no waiting can change leaves the connection alone.
    Client client = door.client();
    CHECK(client.ask(post("clicks", repeated("{}\n", max + 1), "application/x-ndjson")).status == 413);
    CHECK(client.ask(post("clicks", "{}")).status == 200);
}

TEST_CASE("Inflation is bounded") {
    Door door;
    // 1 GiB of zeros in less than 5 MB: members of a gzip file follow each other.
    const std::string member = gzipped(std::string(1 << 20, '\0'));
    std::string bomb;
    for (int i = 0; i < 1024; ++i)
        bomb += member;
    REQUIRE(bomb.size() < (5u << 20));
    const Response r = door.ask(post("clicks", bomb, "application/json", "Content-Encoding: gzip\r\n"));
    CHECK(r.status == 413);
    CHECK(door.catalog.shard.bodies.empty());
    // Just inside: 64 MiB of NDJSON blank lines and one event.
    std::string lines(63u << 20, '\n');
    lines += R"({"event_id":"a"})";
    const Response ok = door.ask(post("clicks", gzipped(lines), "application/x-ndjson", "Content-Encoding: gzip\r\n"));
    CHECK(ok.status == 200);
    CHECK(has(ok.body, "\"accepted\":1"));
}
