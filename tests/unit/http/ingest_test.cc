#include "http/detail/ingest.h"

#include "base/limits.h"
#include "base/prng.h"
#include "fakes.h"

#include <catch2/catch_test_macros.hpp>

#include <cstdio>

using namespace weir;
using namespace weir::http;
using namespace weir::http::test;

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
    f(post("clicks", zstded(R"({"event_id":"a"})"), "application/json", "Content-Encoding: zstd\r\n"), 200,
      "\"accepted\":1");
    f(post("clicks", "not zstd", "application/json", "Content-Encoding: zstd\r\n"), 400, "invalid_argument");
    f(post("clicks", "", "application/json", "Content-Encoding: zstd\r\n"), 200, "\"accepted\":0");
    f(post("clicks", zstded(""), "application/json", "Content-Encoding: zstd\r\n"), 200, "\"accepted\":0");
    f(post("clicks", "{}", "application/json", "Content-Encoding: br\r\n"), 415, "gzip, zstd");
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
    // Until the log is read no name is unknown: a sender must not take 404 for good.
    door.catalog.shard.is_ready = false;
    const Response r = door.ask(post("fresh", R"({"event_id":"a"})"));
    CHECK(r.status == 503);
    CHECK(has(r.body, "\"code\":\"recovering\""));
    CHECK_FALSE(r.field("Retry-After").empty());
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
    CHECK(door.catalog.shard.bodies.size() == 5);
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

TEST_CASE("A refusal of a type or a coding lists what is taken, in the fields too") {
    Door door;
    const Response type = door.ask(post("clicks", "{}", "text/csv"));
    CHECK(type.status == 415);
    CHECK(has(type.field("Accept"), "application/x-ndjson"));
    CHECK(has(type.field("Accept"), "application/cloudevents-batch+json"));
    CHECK(type.field("Accept-Encoding").empty());
    for (const char* coding : {"br", "gzip, zstd", "gzip, gzip", "deflate"}) {
        const Response r =
            door.ask(post("clicks", "{}", "application/json", "Content-Encoding: " + std::string(coding) + "\r\n"));
        CHECK(r.status == 415);
        CHECK(r.field("Accept-Encoding") == "gzip, zstd");
        CHECK(has(r.body, coding));
    }
    CHECK(door.ask(post("clicks", "{}", "application/json", "Content-Encoding: gzip\r\nContent-Encoding: gzip\r\n"))
              .status == 415);
    CHECK(door.ask(post("clicks", "{}", "application/json", "Content-Type: text/csv\r\n")).status == 415);
    CHECK(door.catalog.shard.bodies.empty());
}

TEST_CASE("Inflation is bounded, by either coding") {
    Door door;
    // 1 GiB of zeros in less than 5 MB: members of a gzip file follow each other, and so do zstd frames.
    const std::string zeros(1 << 20, '\0');
    const auto bomb_of = [](const std::string& member) {
        std::string bomb;
        for (int i = 0; i < 1024; ++i)
            bomb += member;
        REQUIRE(bomb.size() < (5u << 20));
        return bomb;
    };
    const std::string gzip = "Content-Encoding: gzip\r\n", zstd = "Content-Encoding: zstd\r\n";
    CHECK(door.ask(post("clicks", bomb_of(gzipped(zeros)), "application/json", gzip)).status == 413);
    CHECK(door.ask(post("clicks", bomb_of(zstded(zeros)), "application/json", zstd)).status == 413);
    const Response one = door.ask(post("clicks", zstded(std::string(65 << 20, ' ')), "application/json", zstd));
    CHECK(one.status == 413);
    CHECK(has(one.body, "64 MiB"));
    // A window above 8 MiB is refused however small the body is (RFC 9659).
    const Response window = door.ask(post("clicks", zstded("{}", 24), "application/json", zstd));
    CHECK(window.status == 413);
    CHECK(has(window.body, "window"));
    CHECK(door.catalog.shard.bodies.empty());
    CHECK(door.ask(post("clicks", zstded("{}", 23), "application/json", zstd)).status == 200);
    // Just inside: 64 MiB of NDJSON blank lines and one event.
    std::string lines(63u << 20, '\n');
    lines += R"({"event_id":"a"})";
    for (const auto& [body, coding] : {std::pair{gzipped(lines), gzip}, std::pair{zstded(lines), zstd}}) {
        const Response ok = door.ask(post("clicks", body, "application/x-ndjson", coding));
        CHECK(ok.status == 200);
        CHECK(has(ok.body, "\"accepted\":1"));
    }
}

TEST_CASE("The same bytes give the same result, however they are sent, cut and packed") {
    Door door;
    std::string lines;
    for (int i = 0; i < 300; ++i)
        lines += i % 7 == 3 ? "{\"event_id\": nope}\r\n" : "{\"event_id\":\"e" + std::to_string(i) + "\",\"n\":1}\n";
    const auto head = [](std::string_view fields) {
        return "POST /v1/streams/clicks/events HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-ndjson\r\n" +
               std::string(fields);
    };
    const auto sized = [&](std::string_view fields, const std::string& body) {
        return head(fields) + "Content-Length: " + std::to_string(body.size()) + "\r\n\r\n" + body;
    };
    const auto chunked = [&](std::string_view fields, const std::string& body, std::size_t size) {
        std::string out = head(fields) + "Transfer-Encoding: chunked\r\n\r\n";
        char line[32];
        for (std::size_t at = 0; at < body.size(); at += size) {
            const std::string piece = body.substr(at, size);
            (void)std::snprintf(line, sizeof line, "%zx\r\n", piece.size());
            out += line + piece + "\r\n";
        }
        return out + "0\r\n\r\n";
    };
    const Response want = door.ask(sized("", lines));
    REQUIRE(want.status == 200);
    REQUIRE(has(want.body, "\"rejected\":43"));
    Prng prng(5);
    const std::string gz = gzipped(lines), zs = zstded(lines);
    for (int round = 0; round < 60; ++round) {
        const std::string fields[] = {"", "Content-Encoding: gzip\r\n", "Content-Encoding: zstd\r\n"};
        const auto which = static_cast<std::size_t>(round % 3);
        const std::string& body = which == 0 ? lines : which == 1 ? gz : zs;
        const std::string bytes = prng.below(2) == 0 ? sized(fields[which], body)
                                                     : chunked(fields[which], body, 1 + prng.below(body.size() + 9));
        Client client = door.client();
        for (std::size_t at = 0; at < bytes.size();) {
            const std::size_t n = 1 + prng.below(round % 2 == 0 ? 50 : 3000);
            REQUIRE(client.send(std::string_view(bytes).substr(at, n)));
            at += n;
        }
        const Response got = client.receive();
        INFO(round);
        CHECK(got.status == want.status);
        CHECK(got.body == want.body);
        CHECK(door.catalog.shard.bodies.back() == lines);
    }
}

TEST_CASE("CloudEvents: structured and batched, bytes as sent") {
    Door door;
    auto f = [&](const std::string& bytes, int status, std::string_view part) {
        const Response r = door.ask(bytes);
        INFO(bytes.substr(0, 300) << "\n" << r.head << r.body);
        CHECK(r.status == status);
        CHECK(has(r.body, part));
    };
    const std::string one =
        "{ \"specversion\":\"1.0\", \"id\":\"1\",\"source\":\"/s\", \"type\":\"t\", \"data\":{\"n\":1} }";
    const std::string structured = "application/cloudevents+json", batched = "application/cloudevents-batch+json";
    f(post("clicks", one, structured), 200, "\"accepted\":1");
    CHECK(door.catalog.shard.bodies.back() == one);
    f(post("clicks", one, "Application/CloudEvents+JSON; charset=UTF-8"), 200, "\"accepted\":1");
    f(post("clicks", one, "application/cloudevents"), 200, "\"accepted\":1");
    f(post("clicks", "[" + one + "," + one + "]", batched), 200, "\"accepted\":2");
    f(post("clicks", "[" + one + "," + one + "]", structured), 200, "\"accepted\":2");
    f(post("clicks", "[]", batched), 200, "\"accepted\":0");
    f(post("clicks", "", batched), 200, "\"accepted\":0");
    f(post("clicks", "[{}]", batched), 400, "\"code\":\"bad_cloudevent\"");
    f(post("clicks", "[" + one + ",{\"id\":\"x\"}]", batched), 200,
      "\"errors\":[{\"index\":1,\"code\":\"bad_cloudevent\"");
    f(post("clicks", "{\"event_id\":\"a\"}", structured), 400, "$.specversion");
    f(post("clicks", "nope", structured), 400, "malformed_json");
    // Several of them without a batch: NDJSON is no advice for a CloudEvent.
    CHECK_FALSE(has(door.ask(post("clicks", one + "\n" + one, structured)).body, "x-ndjson"));
    f(post("clicks", one, "application/cloudevents+avro"), 415, "application/cloudevents+json");
    f(post("clicks", one, "application/cloudevents+json; charset=utf-16"), 415, "utf-16");
    // In the structured mode the fields may be there too; the body is what counts.
    f(post("clicks", one, structured, "ce-id: other\r\n"), 200, "\"accepted\":1");
    CHECK(door.catalog.shard.bodies.back() == one);
    // As any JSON they are events like others.
    f(post("clicks", "{\"event_id\":\"a\"}"), 200, "\"accepted\":1");
    CHECK(door.catalog.ensured == 0);
    f(post("fresh", one, structured), 200, "\"accepted\":1");
    CHECK(door.catalog.last_kind == cluster::Undeclared::cloudevents);
    f(post("fresh", "{}"), 200, "\"accepted\":1");
    CHECK(door.catalog.last_kind == cluster::Undeclared::events);
}

TEST_CASE("CloudEvents: the binary mode is stored as one JSON object") {
    Door door;
    const std::string fields = "ce-specversion: 1.0\r\nCE-ID: 1\r\nce-source: /a%20b\r\nce-type: \"t\"\r\n";
    const std::string front = "{\"specversion\":\"1.0\",\"id\":\"1\",\"source\":\"/a b\",\"type\":\"t\"";
    auto f = [&](const std::string& bytes, int status, std::string_view part) {
        const Response r = door.ask(bytes);
        INFO(bytes.substr(0, 300) << "\n" << r.head << r.body);
        CHECK(r.status == status);
        CHECK(has(r.body, part));
        return r;
    };
    auto stored = [&] { return door.catalog.shard.bodies.back(); };
    auto g = [&](const std::string& bytes, const std::string& want) {
        f(bytes, 200, "\"accepted\":1");
        CHECK(stored() == front + want);
    };
    g(post("clicks", "{\"n\": 1}\n", "application/json", fields),
      ",\"datacontenttype\":\"application/json\",\"data\":{\"n\": 1}}");
    g(post("clicks", "[1,2]", "", fields), ",\"data\":[1,2]}");
    g(post("clicks", "{}", "application/x-www-form-urlencoded", fields), ",\"data\":{}}");
    g(post("clicks", "a=b", "application/x-www-form-urlencoded", fields),
      ",\"datacontenttype\":\"application/x-www-form-urlencoded\",\"data\":\"a=b\"}");
    g(post("clicks", "a \"b\"", "text/plain", fields), ",\"datacontenttype\":\"text/plain\",\"data\":\"a \\\"b\\\"\"}");
    g(post("clicks", "abc", "application/octet-stream", fields),
      ",\"datacontenttype\":\"application/octet-stream\",\"data_base64\":\"YWJj\"}");
    g(post("clicks", "", "", fields), "}");
    g(post("clicks", gzipped("{}"), "application/json", fields + "Content-Encoding: gzip\r\n"),
      ",\"datacontenttype\":\"application/json\",\"data\":{}}");
    f(post("fresh", "{}", "application/json", fields), 200, "\"accepted\":1");
    CHECK(door.catalog.last_kind == cluster::Undeclared::cloudevents);
    const std::size_t before = door.catalog.shard.bodies.size();

    // The fields are wrong: the request is.
    f(post("clicks", "{}", "application/json", "ce-id: 1\r\n"), 400, "ce-specversion is missing");
    f(post("clicks", "{}", "application/json", fields + "ce-datacontenttype: a/b\r\n"), 400, "ce-datacontenttype");
    f(post("clicks", "{}", "application/json", fields + "ce-subject: %C0%A0\r\n"), 400, "bad_cloudevent");
    f(post("clicks", "{}", "application/json", fields + "ce-id: 2\r\n"), 400, "twice");
    f(post("clicks", "{}", "application/json; charset=latin1", fields), 415, "latin1");
    CHECK(door.catalog.shard.bodies.size() == before);

    // The data is wrong: the event is rejected, its bytes unchanged.
    f(post("clicks", "1,\"id\":\"2\"", "application/json", fields), 400, "\"code\":\"malformed_json\"");
    CHECK(stored() == "1,\"id\":\"2\"");
    f(post("clicks", "[{}]]", "application/json", fields), 400, "\"accepted\":0,\"duplicates\":0,\"rejected\":1");
    f(post("clicks", std::string(65, '[') + std::string(65, ']'), "application/json", fields), 400, "too_deep");
    f(post("clicks", std::string(11'000'000, 'x'), "", fields), 400, "too_large");
}

TEST_CASE("CloudEvents: large data, on the loop and on the thread") {
    Door door;
    const std::string fields = "ce-specversion: 1.0\r\nce-id: 1\r\nce-source: /s\r\nce-type: t\r\n";
    for (const std::size_t size : {1u << 20, 3u << 20, 5u << 20}) {
        // Escapes make six bytes of one, so that what was small enough for the loop is not any more.
        for (const auto& [type, byte] : {std::pair{"text/plain", '\1'}, std::pair{"text/plain", 'x'}}) {
            const std::string body(size, byte);
            const bool too_large = size * (byte == 'x' ? 1 : 6) > 9'990'000;
            for (const char* stream : {"clicks", "fresh"}) {
                const Response r = door.ask(post(stream, body, type, fields));
                CHECK(r.status == (too_large ? 400 : 200));
                CHECK(has(r.body, too_large ? "too_large" : "\"accepted\":1"));
                if (too_large) CHECK(door.catalog.shard.bodies.back() == body);
            }
        }
    }
}

TEST_CASE("The webhook handshake is answered on the address of events alone") {
    ServerOptions options;
    options.origins = {"https://app.example"};
    Door door(options);
    const std::string events = "/v1/streams/clicks/events";
    const Response yes = door.ask(request("OPTIONS", events,
                                          "WebHook-Request-Origin: sender.example.com\r\n"
                                          "WebHook-Request-Rate: 120\r\n"));
    CHECK(yes.status == 200);
    CHECK(yes.field("WebHook-Allowed-Origin") == "*");
    CHECK(yes.field("WebHook-Allowed-Rate") == "*");
    CHECK(has(yes.field("Allow"), "POST"));
    CHECK(yes.field("Access-Control-Allow-Origin").empty());
    CHECK(door.ask(request("OPTIONS", events)).status == 405);
    CHECK(door.ask(request("OPTIONS", "/v1/sql", "WebHook-Request-Origin: a\r\n")).status == 405);
    CHECK(door.ask(request("OPTIONS", "/nothing", "WebHook-Request-Origin: a\r\n")).status == 404);
    CHECK(
        door.ask(request("OPTIONS", events, "WebHook-Request-Origin: a\r\nOrigin: https://evil.example\r\n")).status ==
        403);
    // A sender says the field with each delivery, too.
    CHECK(door.ask(post("clicks", "{}", "application/json", "WebHook-Request-Origin: sender.example.com\r\n")).status ==
          200);
    CHECK(door.ask(request("GET", "/livez")).status == 200);
}
