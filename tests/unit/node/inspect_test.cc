#include "node/inspect.h"

#include "capture.h"
#include "fake_server.h"

#include <catch2/catch_test_macros.hpp>

#include <unistd.h>

namespace weir::node {
namespace {

test::FakeReply answer(const test::FakeRequest& request) {
    test::FakeReply reply;
    if (request.target == "/readyz") {
        reply.body = "ok";
    } else if (request.target.starts_with("/v1/streams?")) {
        reply.body =
            R"({"streams":[{"name":"a","partitions":4,"counters":{"stored":10,"duplicate":1}},{"name":"b","partitions":1,"counters":{"stored":5}}]})";
    } else if (request.target == "/v1/streams/a") {
        reply.body = R"({"name":"a","partitions":[{"partition":0,"end_offset":7}],"settings":{"retain":"7d"}})";
    } else if (request.target == "/v1/sql") {
        reply.body = R"({"columns":[{"name":"name"},{"name":"state"}],"rows":[["v","live"]]})";
    } else {
        reply.status = 404;
        reply.body = R"({"code":"not_found","detail":"no stream"})";
    }
    return reply;
}

TEST_CASE("streams as a table") {
    test::FakeServer server(answer);
    test::Capture capture;
    Client client(server.choice());
    CHECK(run_stream_list(capture.console, client, "", OutputFormat::table) == Exit::ok);
    CHECK(capture.out() ==
          "name  partitions  stored  duplicate\n"
          "----  ----------  ------  ---------\n"
          "a              4      10          1\n"
          "b              1       5       NULL\n");
}

TEST_CASE("no stream with that prefix is not the same as no stream") {
    test::FakeServer server([](const test::FakeRequest&) {
        test::FakeReply reply;
        reply.body = R"({"streams":[]})";
        return reply;
    });
    test::Capture capture;
    Client client(server.choice());
    CHECK(run_stream_list(capture.console, client, "zzz", OutputFormat::table) == Exit::ok);
    CHECK(capture.err() == "no stream begins with \"zzz\"\n");
    test::Capture none;
    CHECK(run_stream_list(none.console, client, "", OutputFormat::table) == Exit::ok);
    CHECK(none.err().starts_with("there is no stream yet"));
}

TEST_CASE("one stream, and none of that name") {
    test::FakeServer server(answer);
    test::Capture capture;
    Client client(server.choice());
    CHECK(run_stream_info(capture.console, client, "a", OutputFormat::table) == Exit::ok);
    CHECK(capture.out() ==
          "name             a\nsettings.retain  7d\n\npartitions\npartition  end_offset\n---------  ----------\n       "
          " 0           7\n");
    CHECK(run_stream_info(capture.console, client, "zz", OutputFormat::table) == Exit::not_found);
}

TEST_CASE("status is healthy, for people and programs") {
    test::FakeServer server(answer);
    test::Capture capture;
    Client client(server.choice());
    int stop[2];
    REQUIRE(pipe(stop) == 0);
    REQUIRE(write(stop[1], "x", 1) == 1);  // do not wait for the second over which rates are measured
    CHECK(run_status(capture.console, client, OutputFormat::table, stop[0]) == Exit::ok);
    CHECK(capture.out().find("ready   2 streams   1 view\ningest 0 ev/s") != std::string::npos);
    test::Capture json;
    CHECK(run_status(json.console, client, OutputFormat::json, stop[0]) == Exit::ok);
    CHECK(json.out().find("\"ready\":true") != std::string::npos);
    CHECK(json.out().ends_with("\"views\":[{\"name\":\"v\",\"state\":\"live\"}]}\n"));
    close(stop[0]);
    close(stop[1]);
}

TEST_CASE("status of a server that is not ready is 1, of none 3") {
    ServerChoice choice;
    test::Capture capture;
    int stop[2];
    REQUIRE(pipe(stop) == 0);
    REQUIRE(write(stop[1], "x", 1) == 1);
    {
        test::FakeServer server([](const test::FakeRequest&) {
            test::FakeReply reply;
            reply.status = 503;
            reply.body = R"({"code":"recovering","detail":"replaying"})";
            return reply;
        });
        choice = server.choice();
        Client client(choice);
        CHECK(run_status(capture.console, client, OutputFormat::table, stop[0]) == Exit::failed);
        CHECK(capture.out().find("not ready: replaying") != std::string::npos);
    }
    Client client(choice);
    CHECK(run_status(capture.console, client, OutputFormat::table, stop[0]) == Exit::unreachable);
    close(stop[0]);
    close(stop[1]);
}

TEST_CASE("lists of streams in the shapes that there may be") {
    CHECK(parse_stream_list(R"([{"name":"a"}])"));
    CHECK(parse_stream_list(R"({"streams":[]})").value().rows.empty());
    for (const char* body : {"", "1", "{}", "[1]"})
        CHECK_FALSE(parse_stream_list(body));
}

}  // namespace
}  // namespace weir::node
