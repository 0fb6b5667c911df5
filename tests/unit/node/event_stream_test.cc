#include "node/event_stream.h"

#include "fake_server.h"

#include <catch2/catch_test_macros.hpp>

#include <string>
#include <string_view>
#include <unistd.h>

namespace weir::node {
namespace {

std::string read(ServerEventParser& parser) {
    std::string out;
    while (true) {
        const auto event = parser.next();
        if (!event) return out + "!" + errc_name(event.error().code);
        if (!event.value()) return out;
        out += event.value()->event + "[" + event.value()->data + "]" + parser.last_id() + " ";
    }
}

TEST_CASE("server-sent events, however they are cut") {
    const std::string bytes =
        "retry: 1000\n:\nid: 1\n\ndata: a\n\nevent: live\nid: 2\ndata: b\ndata:c\ndata:  d\n\n: beat\nid: 3\n\n"
        "data\n\nid: 4\r\ndata: e\r\n\r\nnonsense\n\ndata: not whole\n";
    for (std::size_t piece = 1; piece <= bytes.size(); ++piece) {
        ServerEventParser parser;
        std::string out;
        for (std::size_t at = 0; at < bytes.size(); at += piece) {
            parser.feed(std::string_view(bytes).substr(at, piece));
            out += read(parser);
        }
        CHECK(out == "[a]1 live[b\nc\n d]2 []3 [e]4 ");
        CHECK(parser.last_id() == "4");
    }
}

TEST_CASE("an event without an end is refused") {
    ServerEventParser parser;
    parser.feed("data: " + std::string(65u << 20, 'x'));
    CHECK(parser.next().error().code == Errc::too_large);
}

TEST_CASE("a stream of events is read to the end of its connection") {
    test::FakeServer server([](const test::FakeRequest& request) {
        CHECK(request.head.find("Last-Event-ID: 0:1:0\r\n") != std::string::npos);
        test::FakeReply reply;
        reply.headers = "Content-Type: text/event-stream\r\n";
        reply.body = "data: a\n\nid: 0:2:0\ndata: b\n\n";
        reply.hang_up_after = true;
        reply.pieces = 7;
        return reply;
    });
    std::optional<Problem> refused;
    auto stream = EventStream::open(server.choice(), "/x", "0:1:0", -1, 5000, refused);
    REQUIRE(stream);
    REQUIRE_FALSE(refused);
    ServerEvent event;
    CHECK(stream.value().next(event, -1, -1, 5000).value() == EventStream::Next::event);
    CHECK(event.data == "a");
    CHECK(stream.value().last_id() == "0:1:0");
    CHECK(stream.value().next(event, -1, -1, 5000).value() == EventStream::Next::event);
    CHECK(stream.value().last_id() == "0:2:0");
    CHECK(stream.value().next(event, -1, -1, 5000).value() == EventStream::Next::ended);
}

TEST_CASE("who is refused a stream hears why; who is to stop does not wait") {
    test::FakeServer server([](const test::FakeRequest&) {
        test::FakeReply reply;
        reply.status = 404;
        reply.body = R"({"code":"not_found","detail":"there is no stream s"})";
        reply.hang_up_after = true;
        return reply;
    });
    std::optional<Problem> refused;
    REQUIRE(EventStream::open(server.choice(), "/x", "", -1, 5000, refused));
    REQUIRE(refused);
    CHECK(refused->exit == Exit::not_found);
    CHECK(refused->detail == "there is no stream s");
    int stop[2];
    REQUIRE(pipe(stop) == 0);
    REQUIRE(write(stop[1], "x", 1) == 1);
    CHECK(EventStream::open(server.choice(), "/x", "", stop[0], 5000, refused).error().code == Errc::cancelled);
    close(stop[0]);
    close(stop[1]);
}

}  // namespace
}  // namespace weir::node
