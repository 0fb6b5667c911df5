// What the door answers to whole requests, pipelines and protocol errors, over real sockets.
#include "fakes.h"

#include <catch2/catch_test_macros.hpp>

using namespace weir;
using namespace weir::http::test;
using weir::http::ServerOptions;

TEST_CASE("Statuses that need no shard") {
    ServerOptions options;
    options.hosts = {"weir.example"};
    options.origins = {"https://app.example"};
    Door door(options);
    auto f = [&](const std::string& bytes, int status, std::string_view part) {
        const Response r = door.ask(bytes);
        INFO(bytes.substr(0, 300) << "\n" << r.head << r.body);
        CHECK(r.status == status);
        CHECK(has(r.body, part));
        return r;
    };
    f(request("GET", "/livez"), 200, "ok");
    f(request("GET", "/readyz"), 200, "ready");
    f(request("GET", "/"), 200, "/v1/sql");
    f(request("GET", "/metrics"), 200, "weir_http_connections");
    f(request("GET", "/nothing"), 404, "\"code\":\"not_found\"");
    f(request("GET", "/..%2f..%2fetc/passwd"), 404, "not_found");
    f(request("POST", "/nothing", "", "body"), 404, "not_found");
    CHECK(f(request("PUT", "/v1/streams/clicks/events", "", "{}"), 405, "method_not_allowed").field("Allow") ==
          "POST, GET, HEAD");
    CHECK(f(request("DELETE", "/v1/sql"), 405, "method_not_allowed").field("Allow") == "POST");
    CHECK(f(request("TRACE", "/"), 405, "method_not_allowed").field("Allow") == "GET, HEAD");
    f("CONNECT localhost:80 HTTP/1.1\r\nHost: localhost\r\n\r\n", 404, "not_found");
    f("OPTIONS * HTTP/1.1\r\nHost: localhost\r\n\r\n", 404, "not_found");
    f("GET /livez HTTP/1.1\r\nHost: evil.example\r\n\r\n", 421, "misdirected");
    f("GET /livez HTTP/1.1\r\nHost: weir.example\r\n\r\n", 200, "ok");
    f("GET /livez HTTP/1.1\r\n\r\n", 400, "Host");
    f("GET /livez HTTP/1.0\r\n\r\n", 200, "ok");
    f("GET http://localhost/livez HTTP/1.1\r\nHost: evil.example\r\n\r\n", 200, "ok");
    f("GET http://evil.example/livez HTTP/1.1\r\nHost: localhost\r\n\r\n", 421, "misdirected");
    f(request("GET", "/livez", "Origin: http://evil.example\r\n"), 403, "cross_origin");
    f(post("clicks", "{}", "application/json", "Origin: http://evil.example\r\n"), 403, "cross_origin");
    f(post("clicks", "{}", "application/json", "Sec-Fetch-Site: cross-site\r\n"), 403, "cross_origin");
    f(request("GET", "/", "Sec-Fetch-Site: cross-site\r\nSec-Fetch-Mode: navigate\r\n"), 200, "weir");
    f(request("GET", "/livez", "Origin: http://localhost\r\n"), 200, "ok");
    CHECK(f(request("GET", "/livez", "Origin: https://app.example\r\n"), 200, "ok")
              .field("Access-Control-Allow-Origin") == "https://app.example");
    CHECK(f(request("GET", "/livez"), 200, "ok").field("Access-Control-Allow-Origin").empty());
    CHECK(has(f(request("OPTIONS", "/v1/sql", "Origin: https://app.example\r\n"), 204, "")
                  .field("Access-Control-Allow-Methods"),
              "POST"));
    f(request("OPTIONS", "/v1/sql", "Origin: https://evil.example\r\n"), 403, "cross_origin");
    f(request("POST", "/v1/sql", "Content-Encoding: gzip\r\n", "SELECT 1"), 415, "unsupported_media_type");
    f(request("GET", "/v1/streams", "", "a body"), 413, "takes no body");
    f(request("POST", "/v1/streams/clicks/events", "Expect: a-miracle\r\n", "{}"), 417, "expectation_failed");
    CHECK(door.catalog.shard.bodies.empty());
    door.catalog.shard.is_disk_full = true;  // reads go on, events are turned away
    CHECK_FALSE(f(request("GET", "/readyz"), 503, "\"code\":\"disk_full\"").field("Retry-After").empty());
    door.catalog.shard.is_disk_full = false;
    f(request("GET", "/readyz"), 200, "ready");
    door.catalog.shard.is_ready = false;
    CHECK_FALSE(f(request("GET", "/readyz"), 503, "\"code\":\"recovering\"").field("Retry-After").empty());
    f(request("GET", "/livez"), 200, "ok");
}

TEST_CASE("HEAD is GET without the body") {
    Door door;
    for (const char* target : {"/", "/livez", "/v1/cluster", "/v1/views", "/nothing"}) {
        Client client = door.client();
        client.send(request("HEAD", target) + request("GET", "/livez"));
        const Response head = client.receive(true);
        CHECK(head.field("Content-Length") != "0");
        CHECK(client.receive().body == "ok\n");
    }
}

TEST_CASE("Pipelined requests are answered in order") {
    Door door;
    Client client = door.client();
    std::string bytes;
    constexpr int n = 1000;
    for (int i = 0; i < n; ++i) {
        bytes += i % 3 == 0   ? request("GET", "/livez")
                 : i % 3 == 1 ? post("clicks", "{\"event_id\":\"" + std::to_string(i) + "\"}")
                              : request("GET", "/v1/cluster");
    }
    std::thread sender([&] { client.send(bytes); });
    for (int i = 0; i < n; ++i) {
        const Response r = client.receive();
        REQUIRE(r.status == 200);
        REQUIRE(has(r.body, i % 3 == 0 ? "ok" : i % 3 == 1 ? "accepted" : "nodes"));
    }
    sender.join();
    CHECK(door.catalog.shard.bodies.size() == n / 3);
}

TEST_CASE("While a request waits for its shard the next ones are kept, bounded") {
    Door door;
    door.catalog.shard.hold = true;
    Client client = door.client();
    client.send(post("clicks", "{}"));
    while (door.catalog.shard.held() == 0)
        std::this_thread::yield();
    // More than the door keeps and the kernel buffers: the sender must come to a stop, and go on afterwards.
    constexpr std::size_t n = 4'000;
    std::atomic<bool> sent{false};
    std::thread sender([&] {
        std::string bytes;
        for (std::size_t i = 0; i < n; ++i)
            bytes += request("GET", "/livez", "X-Pad: " + std::string(3'000, 'p') + "\r\n");
        client.send(bytes);
        sent = true;
    });
    door.catalog.shard.hold = false;
    CHECK_FALSE(sent);
    door.catalog.shard.release();
    CHECK(has(client.receive().body, "accepted"));
    for (std::size_t i = 0; i < n; ++i)
        REQUIRE(client.receive().status == 200);
    sender.join();
}

TEST_CASE("A protocol error is answered and ends the connection: nothing behind it runs") {
    Door door;
    const std::string hidden = post("clicks", "{\"event_id\":\"hidden\"}");
    const std::string head = "POST /v1/streams/clicks/events HTTP/1.1\r\nHost: localhost\r\n";
    for (const std::string& attack :
         {head + "Content-Length: 0\r\nTransfer-Encoding: chunked\r\n\r\n",
          head + "Transfer-Encoding: chunked\r\nContent-Length: 0\r\n\r\n",
          head + "Content-Length: 0\r\nContent-Length: 500\r\n\r\n", head + "Transfer-Encoding: chunked, gzip\r\n\r\n",
          head + "Transfer-Encoding : chunked\r\n\r\n", head + "\rTransfer-Encoding: chunked\r\n\r\n",
          head + "X: a\r\n b\r\n\r\n", head + "Transfer-Encoding: chunked\r\n\r\n-2\r\n",
          head + "Transfer-Encoding: chunked\r\n\r\n0x10\r\n\r\n",
          head + "Transfer-Encoding: chunked\r\n\r\n11111111111111111\r\n",
          head + "Transfer-Encoding: chunked\r\n\r\n0\r\nX-T: 1\r\n\r\n",
          head + "Transfer-Encoding: chunked\r\n\r\n1;" + std::string(1 << 20, 'e') + "\r\na\r\n0\r\n\r\n",
          std::string("GET / HTTP/1.1\nHost: localhost\n\n"), std::string("GET /\r\n\r\n"),
          std::string("\x16\x03\x01\x02\x00\r\n\r\n", 9)}) {
        Client client = door.client();
        client.send(attack + hidden);
        const Response r = client.receive();
        INFO(attack.substr(0, 200) << "\n" << r.head);
        CHECK(r.status == 400);
        CHECK(r.field("Connection") == "close");
        CHECK(client.closed());
    }
    CHECK(door.catalog.shard.bodies.empty());
    // The same with the second request sent only after the first answer.
    Client client = door.client();
    CHECK(client.ask(head + "Content-Length: 0\r\nTransfer-Encoding: chunked\r\n\r\n").status == 400);
    client.send(hidden);
    CHECK(client.closed());
    CHECK(door.catalog.shard.bodies.empty());
}

TEST_CASE("Behind events that were turned away nothing of the connection is looked at") {
    const std::string first = post("clicks", "{\"event_id\":\"first\"}");
    const std::string behind = post("clicks", "{\"event_id\":\"behind\"}");
    auto refuse = [](Door& door, Errc code) {
        door.catalog.shard.reply = [code](const replica::IngestRequest&) {
            replica::IngestOutcome o;
            o.status = Error{code, "because"};
            return o;
        };
    };
    // `shards`: how many requests the shard has seen, which is never the one behind.
    auto ends = [&](Door& door, Client& client, int status, std::size_t shards) {
        const Response r = client.receive();
        INFO(r.head << r.body);
        CHECK(r.status == status);
        CHECK(r.whole);
        CHECK(r.field("Connection") == "close");
        client.send(behind);  // too late as well
        CHECK(client.closed());
        CHECK(door.ask(request("GET", "/livez")).status == 200);
        CHECK(door.catalog.shard.bodies.size() == shards);
    };
    SECTION("the shard's queue is full") {
        Door door;
        door.catalog.shard.full = true;
        Client client = door.client();
        client.send(first + behind + behind);
        ends(door, client, 503, 0);
    }
    SECTION("the shard's outcome, with the next request here already") {
        for (const auto& [code, status] :
             {std::pair{Errc::overloaded, 503}, std::pair{Errc::disk_full, 503}, std::pair{Errc::timed_out, 504}}) {
            Door door;
            refuse(door, code);
            door.catalog.shard.hold = true;
            Client client = door.client();
            client.send(first + behind);
            while (door.catalog.shard.held() == 0)
                std::this_thread::yield();
            door.catalog.shard.hold = false;
            door.catalog.shard.release();
            ends(door, client, status, 1);
        }
    }
    SECTION("the next request here in part, and more of it than the door keeps") {
        Door door;
        refuse(door, Errc::overloaded);
        door.catalog.shard.hold = true;
        Client client = door.client();
        const std::string large = post("clicks", "{\"a\":\"" + std::string(4 << 20, 'x') + "\"}");
        std::thread sender([&] { client.send(first + large + large); });
        while (door.catalog.shard.held() == 0)
            std::this_thread::yield();
        door.catalog.shard.hold = false;
        door.catalog.shard.release();
        const Response r = client.receive();
        CHECK(r.status == 503);
        CHECK(r.field("Connection") == "close");
        sender.join();
        CHECK(client.closed());
        CHECK(door.catalog.shard.bodies.size() == 1);
    }
    SECTION("the stream cannot be made") {
        Door door;
        Client client = door.client();
        client.send(post("toomany", "{}") + behind);
        ends(door, client, 503, 0);
    }
    SECTION("other refusals do not end it") {
        Door door;
        Client client = door.client();
        client.send(post("clicks", "nope") + first);
        CHECK(client.receive().status == 400);
        CHECK(client.receive().status == 200);
    }
}

TEST_CASE("A head over its limit is 431") {
    Door door;
    Client client = door.client();
    client.send("GET / HTTP/1.1\r\nHost: localhost\r\nX: " + std::string(200'000, 'a'));
    CHECK(client.receive().status == 431);
    CHECK(client.closed());
}

TEST_CASE("Keeping and ending connections") {
    Door door;
    auto ends = [&](const std::string& bytes) {
        Client client = door.client();
        const Response r = client.ask(bytes);
        REQUIRE(r.status == 200);
        const bool said = r.field("Connection") == "close";
        client.send(request("GET", "/livez"));
        const bool more = client.receive().status == 200;
        CHECK(said == !more);
        return said;
    };
    for (const char* target : {"/livez", "/v1/cluster"}) {
        const std::string t(target);
        CHECK_FALSE(ends(request("GET", t)));
        CHECK(ends(request("GET", t, "Connection: close\r\n")));
        CHECK(ends("GET " + t + " HTTP/1.0\r\nHost: localhost\r\n\r\n"));
        CHECK_FALSE(ends("GET " + t + " HTTP/1.0\r\nHost: localhost\r\nConnection: keep-alive\r\n\r\n"));
    }
    CHECK(ends(post("clicks", "{}", "application/json", "Connection: close\r\n")));
    // A refused small body is read, and the connection lives.
    Client client = door.client();
    CHECK(client.ask(post("clicks", std::string(100'000, 'x'), "text/csv")).status == 415);
    CHECK(client.ask(request("GET", "/livez")).status == 200);
    // A client that says all and closes its side still gets its answer.
    Client half = door.client();
    half.send(post("clicks", "{}") + request("GET", "/v1/cluster"));
    half.half_close();
    CHECK(half.receive().status == 200);
    CHECK(half.receive().status == 200);
    CHECK(half.closed());
}

TEST_CASE("Expect: 100-continue") {
    Door door;
    Client client = door.client();
    const std::string head =
        "POST /v1/streams/clicks/events HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        "Expect: 100-continue\r\n";
    CHECK(client.ask(head + "Content-Length: 2\r\n\r\n").status == 100);
    CHECK(client.ask("{}").status == 200);
    // Too much is refused before it is sent.
    CHECK(client.ask(head + "Content-Length: 1000000000000\r\n\r\n").status == 413);
    CHECK(client.closed());
    Client other = door.client();
    CHECK(other.ask("POST /nowhere HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n")
              .status == 404);
    CHECK(other.closed());
}

TEST_CASE("Bodies over 64 MiB are 413, declared or not") {
    Door door;
    Client client = door.client();
    CHECK(client.ask("POST /v1/streams/clicks/events HTTP/1.1\r\nHost: localhost\r\nContent-Length: 67108865\r\n\r\n")
              .status == 413);
    CHECK(client.closed());
    Client chunked = door.client();
    std::thread sender([&] {
        chunked.send(
            "POST /v1/streams/clicks/events HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n");
        const std::string piece = "100000\r\n" + std::string(1 << 20, ' ') + "\r\n";
        for (int i = 0; i < 66; ++i)
            if (!chunked.send(piece)) break;
    });
    CHECK(chunked.receive().status == 413);
    sender.join();
    CHECK(door.catalog.shard.bodies.empty());
}
