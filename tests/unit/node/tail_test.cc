#include "node/tail.h"

#include "capture.h"
#include "fake_server.h"

#include <catch2/catch_test_macros.hpp>

#include <thread>
#include <unistd.h>

namespace weir::node {
namespace {

constexpr const char* two_events =
    R"({"events":[{"cursor":"0:3:0","partition":1,"offset":7,"append_time":"2025-01-01T00:00:00.000Z","value":{"n":1.50,"n":2}},)"
    R"({"cursor":"0:3:1","partition":0,"offset":2,"append_time":"2025-01-01T00:00:00.001Z","value":{"z":1,"a":9223372036854775808}}],)"
    R"("next":"0:3:2"})";
constexpr const char* no_events = R"({"events":[],"next":"0:3:2"})";

struct Ran {
    Exit exit;
    std::string out;
    std::vector<test::FakeRequest> seen;
};

Ran ran(TailOptions options, const test::FakeServer::Handler& handler) {
    test::FakeServer server(handler);
    test::Capture capture;
    Client client(server.choice());
    const Exit exit = run_tail(capture.console, client, options);
    return {exit, capture.out(), server.seen()};
}

test::FakeReply first_then_none(const test::FakeRequest& request) {
    test::FakeReply reply;
    reply.body = request.target.find("0%3A3%3A2") == std::string::npos ? two_events : no_events;
    return reply;
}

TEST_CASE("an event is printed as it was sent") {
    const Ran r = ran({.stream = "s"}, first_then_none);
    CHECK(r.exit == Exit::ok);
    CHECK(r.out == "{\"n\":1.50,\"n\":2}\n{\"z\":1,\"a\":9223372036854775808}\n");
    // The page held less than was wanted, so the end is made sure of.
    REQUIRE(r.seen.size() == 2);
    CHECK(r.seen[0].target == "/v1/streams/s/events?limit=10&last=10");
    CHECK(r.seen[1].target == "/v1/streams/s/events?limit=8&from=0%3A3%3A2");
}

TEST_CASE("pretty and json") {
    CHECK(ran({.stream = "s", .format = TailFormat::pretty}, first_then_none).out ==
          "2025-01-01T00:00:00.000Z  p1:7  {\"n\":1.50,\"n\":2}\n"
          "2025-01-01T00:00:00.001Z  p0:2  {\"z\":1,\"a\":9223372036854775808}\n");
    CHECK(ran({.stream = "s", .format = TailFormat::json}, first_then_none)
              .out.starts_with("{\"cursor\":\"0:3:0\",\"partition\":1,\"offset\":7,\"append_time\":\"2025-01-01T00:00:"
                               "00.000Z\",\"value\":{\"n\":1.50,\"n\":2}}\n"));
}

TEST_CASE("from the beginning it goes page by page to the end") {
    const Ran r = ran({.stream = "s", .from = "beginning"}, first_then_none);
    CHECK(r.exit == Exit::ok);
    REQUIRE(r.seen.size() == 2);
    CHECK(r.seen[0].target == "/v1/streams/s/events?limit=1000&from=beginning");
    CHECK(r.seen[1].target == "/v1/streams/s/events?limit=1000&from=0%3A3%3A2");
}

TEST_CASE("-n bounds, also to nothing") {
    const Ran r = ran({.stream = "s", .from = "beginning", .count = 2}, first_then_none);
    CHECK(r.seen.size() == 1);
    CHECK(r.seen[0].target == "/v1/streams/s/events?limit=2&from=beginning");
    CHECK(ran({.stream = "s", .count = 0}, first_then_none).seen.empty());
}

// A page with the last two events, then a stream of what comes; each connection of it ends behind its reply.
test::FakeReply streaming(const test::FakeRequest& request, const std::string& events) {
    test::FakeReply reply;
    reply.body = two_events;
    if (request.target.find("/tail?") == std::string::npos) return reply;
    reply.headers = "Content-Type: text/event-stream\r\n";
    reply.body = events;
    reply.hang_up_after = true;
    return reply;
}

std::string stream_event(int n) {
    const std::string next = "0:4:" + std::to_string(n + 1);
    return "id: " + next + "\ndata: {\"cursor\":\"0:4:" + std::to_string(n) +
           "\",\"partition\":0,\"offset\":1,\"append_time\":\"x\",\"value\":{\"n\":" + std::to_string(n) + "}}\n\n";
}

TEST_CASE("following goes on where a lost connection ended, until it is stopped") {
    int stop[2];
    REQUIRE(pipe(stop) == 0);
    int asked = 0;
    const Ran r = ran({.stream = "s", .follow = true, .stop_fd = stop[0]}, [&](const test::FakeRequest& request) {
        ++asked;
        if (asked == 3) return streaming(request, "event: live\ndata: {}\n\n" + stream_event(1) + stream_event(2));
        if (asked == 4) CHECK(write(stop[1], "x", 1) == 1);
        return streaming(request, asked == 2 ? ":\nid: 0:4:0\n\n" + stream_event(0) + "data: {\"half" : "");
    });
    CHECK(r.exit == Exit::ok);
    CHECK(r.out == "{\"n\":1.50,\"n\":2}\n{\"z\":1,\"a\":9223372036854775808}\n{\"n\":0}\n{\"n\":1}\n{\"n\":2}\n");
    REQUIRE(r.seen.size() == 4);
    CHECK(r.seen[0].target == "/v1/streams/s/events?limit=10&last=10");
    CHECK(r.seen[1].target == "/v1/streams/s/tail?from=0%3A3%3A2");
    CHECK(r.seen[1].head.find("Last-Event-ID") == std::string::npos);
    CHECK(r.seen[2].head.find("Last-Event-ID: 0:4:1\r\n") != std::string::npos);
    CHECK(r.seen[3].head.find("Last-Event-ID: 0:4:3\r\n") != std::string::npos);
    close(stop[0]);
    close(stop[1]);
}

TEST_CASE("following from a place, with a bound and an expression, asks for nothing but the stream") {
    const auto handler = [](const test::FakeRequest& request) {
        return streaming(request, stream_event(0) + stream_event(1) + stream_event(2));
    };
    Ran r = ran({.stream = "s", .from = "beginning", .count = 2, .follow = true, .where = "n > 0"}, handler);
    CHECK(r.exit == Exit::ok);
    CHECK(r.out == "{\"n\":0}\n{\"n\":1}\n");
    REQUIRE(r.seen.size() == 1);
    CHECK(r.seen[0].target == "/v1/streams/s/tail?from=beginning&where=n%20%3E%200");
    r = ran({.stream = "s", .from = "0:1:0", .count = 0, .follow = true}, handler);
    CHECK(r.seen.empty());
    r = ran({.stream = "s", .from = "beginning", .where = "n > 0"}, [](const test::FakeRequest& request) {
        test::FakeReply reply;
        const bool first = request.target.find("from=beginning") != std::string::npos;
        reply.body =
            first ? R"({"events":[],"next":"0:9:0","at_end":false})" : R"({"events":[],"next":"0:10:0","at_end":true})";
        return reply;
    });
    REQUIRE(r.seen.size() == 2);  // an empty page is not the end
    CHECK(r.seen[1].target == "/v1/streams/s/events?limit=1000&from=0%3A9%3A0&where=n%20%3E%200");
}

TEST_CASE("what a followed stream says beside events is told; its end by the server is an error, its stop is not") {
    int asked = 0;
    test::FakeServer server([&](const test::FakeRequest& request) {
        ++asked;
        if (asked == 1)
            return streaming(request, "event: end\ndata: {\"code\":\"shutting_down\",\"detail\":\"x\"}\n\n");
        return streaming(request,
                         "event: skipped\ndata: {\"events\":3,\"reason\":\"retention\"}\n\n"
                         "event: skipped\ndata: {\"events\":null,\"reason\":\"retention\"}\n\n"
                         "event: end\ndata: {\"code\":\"not_found\",\"detail\":\"the stream s was dropped\"}\n\n");
    });
    Client client(server.choice());
    test::Capture capture;
    CHECK(run_tail(capture.console, client, {.stream = "s", .from = "end", .follow = true}) == Exit::not_found);
    CHECK(asked == 2);
    CHECK(capture.err() ==
          "weir: 3 events behind this place were removed by retention before they could be read\n"
          "weir: events behind this place were removed by retention before they could be read\n"
          "error: the stream s was dropped\n");
}

TEST_CASE("following ends when the reader of the output has gone, also without another event") {
    int out[2];
    REQUIRE(pipe(out) == 0);
    // The stream stays open and says nothing.
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t length = sizeof address;
    REQUIRE(bind(listener, reinterpret_cast<sockaddr*>(&address), length) == 0);
    REQUIRE(listen(listener, 1) == 0);
    getsockname(listener, reinterpret_cast<sockaddr*>(&address), &length);
    std::thread server([listener] {
        const int fd = accept(listener, nullptr, nullptr);
        const std::string reply = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n" + stream_event(0);
        CHECK(send(fd, reply.data(), reply.size(), MSG_NOSIGNAL) == static_cast<ssize_t>(reply.size()));
        char byte = 0;
        while (recv(fd, &byte, 1, 0) > 0) {
        }
        close(fd);
    });
    test::Capture capture;
    Console console = capture.console;
    console.out = fdopen(out[1], "w");
    Client client({{"127.0.0.1", ntohs(address.sin_port), ""}, ""});
    std::thread reader([&] {
        char byte = 0;
        CHECK(read(out[0], &byte, 1) == 1);
        close(out[0]);
    });
    CHECK(run_tail(console, client, {.stream = "s", .from = "end", .follow = true}) == Exit::ok);
    reader.join();
    server.join();
    close(listener);
    fclose(console.out);
}

TEST_CASE("no such stream") {
    const Ran r = ran({.stream = "s"}, [](const test::FakeRequest&) {
        test::FakeReply reply;
        reply.status = 404;
        reply.body = R"({"code":"not_found","detail":"no stream s"})";
        return reply;
    });
    CHECK(r.exit == Exit::not_found);
}

TEST_CASE("a view is told from a stream that is not there") {
    test::FakeServer server([](const test::FakeRequest& request) {
        test::FakeReply reply;
        if (request.target == "/v1/sql") {
            reply.body = R"({"columns":[{"name":"name"},{"name":"state"}],"rows":[["s_1h","live"]]})";
        } else {
            reply.status = 404;
            reply.body = R"({"code":"not_found","detail":"there is no such stream"})";
        }
        return reply;
    });
    Client client(server.choice());
    const auto said = [&](const char* name) {
        test::Capture capture;
        CHECK(run_tail(capture.console, client, {.stream = name}) == Exit::not_found);
        return capture.err();
    };
    CHECK(said("s_1h") ==
          "error: s_1h is a view, not a stream: it has rows, which change, and no events\n"
          "  try: weir sql 'SELECT * FROM s_1h'\n");
    CHECK(said("s_2h") == "error: there is no such stream\n");
}

TEST_CASE("what --from may say") {
    for (const char* text : {"beginning", "end", "0:1:2", "2025-01-01", "2025-01-01T00:00:00Z", "5m", "-5m", "7d"}) {
        INFO(text);
        CHECK(is_from(text));
    }
    for (const char* text :
         {"", "garbage", "-", "begin", "0:1", "0:1:", "0:1:2:3", "0:x:2", "5", "5 parsecs", "2025-13-01"}) {
        INFO(text);
        CHECK_FALSE(is_from(text));
    }
}

TEST_CASE("pages with the value as text, and answers that are no pages") {
    const auto page = parse_tail_page(R"({"events":[{"value":"{\"a\":\"\\u0041\"}"}],"next":"x"})");
    REQUIRE(page);
    CHECK(page.value().events[0].value == R"({"a":"\u0041"})");
    CHECK(page.value().events[0].offset == -1);
    for (const char* body : {"", "[]", "{}", R"({"events":1})", R"({"events":[1]})", R"({"events":[{"value":)"}) {
        INFO(body);
        CHECK_FALSE(parse_tail_page(body));
    }
}

TEST_CASE("ages become times") {
    CHECK(resolve_from("5m", 600'000) == "1970-01-01T00:05:00.000Z");
    CHECK(resolve_from("-5m", 600'000) == "1970-01-01T00:05:00.000Z");
    CHECK(resolve_from("beginning", 0) == "beginning");
    CHECK(resolve_from("0:1:2", 0) == "0:1:2");
    CHECK(resolve_from("2025-01-01T00:00:00Z", 0) == "2025-01-01T00:00:00Z");
}

}  // namespace
}  // namespace weir::node
