// /v1/ws: frames, subscriptions, credit.
#include "http/detail/tails.h"
#include "live_world.h"
#include "os/process.h"

#include <catch2/catch_test_macros.hpp>

#include <string>
#include <thread>
#include <vector>

using namespace weir;
using namespace weir::http;
using namespace weir::http::test;

TEST_CASE("a WebSocket carries subscriptions to streams, views and metrics") {
    LiveWorld w;
    w.append(0, 2);
    w.put_row(1, 5);
    w.commit_rows();
    SocketClient ws(w.door->client());
    CHECK(ws.head.starts_with("HTTP/1.1 101 "));
    CHECK(has(ws.head, "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"));
    ws.say(R"({"op":"sub","id":7,"topic":"streams/access","from":"beginning"})");
    CHECK(ws.hear() == R"({"op":"subscribed","id":7,"cursor":"0:0:0"})");
    std::string events = ws.hear();
    CHECK(events.starts_with(R"({"op":"events","id":7,"events":[{"cursor":"0:10:0","partition":0,)"));
    CHECK(events.ends_with(R"(],"next":"0:12:0","scanned":2,"at_end":true})"));
    ws.say(R"({"op":"sub","id":8,"topic":"views/hourly"})");
    CHECK(ws.hear() == R"({"op":"subscribed","id":8,"columns":[{"name":"window_start","type":"TIMESTAMP"},)"
                       R"({"name":"status","type":"INTEGER"},{"name":"n","type":"INTEGER"}]})");
    CHECK(ws.hear() ==
          R"({"op":"rows","id":8,"rows":[{"key":"6b01","row":{"window_start":"1970-01-01T01:00:00.000Z","status":200,)"
          R"("n":5}}],"phase":"snapshot","at_end":true,"index":"0:11"})");
    ws.say(R"({"op":"sub","id":9,"topic":"metrics","series":["connections","events_stored"]})");
    CHECK(ws.hear() == R"({"op":"subscribed","id":9,"series":["connections","events_stored"]})");
    w.append(2, 1);
    CHECK(has(ws.hear(), R"("events":[{"cursor":"0:12:0")"));
    w.put_row(1, 6);
    w.commit_rows();
    CHECK(ws.hear() ==
          R"({"op":"rows","id":8,"rows":[{"key":"6b01","row":{"window_start":"1970-01-01T01:00:00.000Z","status":200,)"
          R"("n":6}}],"phase":"changes","at_end":true,"index":"0:13"})");
    w.door->history->sample(w.door->clock.wall_ms(), w.door->clock.monotonic_us());
    w.door->clock.advance_s(1);
    CHECK(ws.hear() == R"({"op":"point","id":9,"time":)" +
                           std::to_string((w.door->clock.wall_ms() - 1000) / 1000 * 1000) + R"(,"values":[1,null]})");
    // Gone, and its id is free.
    ws.say(R"({"op":"unsub","id":7})");
    ws.say(R"({"op":"sub","id":7,"topic":"streams/access"})");
    CHECK(ws.hear() == R"({"op":"subscribed","id":7,"cursor":"0:14:0"})");
}

TEST_CASE("a WebSocket's subscription sends what its credit allows, and what is behind it later") {
    LiveWorld w;
    w.append(0, 10);
    SocketClient ws(w.door->client());
    ws.say(R"({"op":"sub","id":1,"topic":"streams/access","from":"beginning","credit":3})");
    CHECK(has(ws.hear(), "subscribed"));
    CHECK(has(ws.hear(), R"("next":"0:10:3","scanned":3,"at_end":false)"));
    ws.say(R"({"op":"credit","id":1,"n":2})");
    CHECK(has(ws.hear(), R"("next":"0:10:5","scanned":2,"at_end":false)"));
    w.append(10, 1);
    CHECK_FALSE(ws.client().heard(200));  // no credit: it lags
    ws.say(R"({"op":"credit","id":1,"n":1000})");
    CHECK(has(ws.hear(), R"("next":"0:11:0","scanned":5,"at_end":false)"));
    CHECK(has(ws.hear(), R"("cursor":"0:11:0")"));
}

TEST_CASE("what a WebSocket's client may say, and what it hears of nonsense") {
    LiveWorld w;
    SocketClient ws(w.door->client());
    const auto f = [&](std::string_view message, std::string_view want) {
        ws.say(message);
        const std::string heard = ws.hear();
        INFO(message);
        CHECK(heard.starts_with(want));
    };
    f("nonsense", R"({"op":"error","id":0,"code":"invalid_argument","detail":"a message is one JSON object"})");
    f("[]", R"({"op":"error","id":0,)");
    f("{}", R"({"op":"error","id":0,"code":"invalid_argument","detail":"id must)");
    f(R"({"op":"sub","id":-1})", R"({"op":"error","id":0,)");
    f(R"({"op":"sub","id":9007199254740992})", R"({"op":"error","id":0,)");
    f(R"({"op":"jump","id":4})", R"({"op":"error","id":4,"code":"invalid_argument","detail":"op must)");
    f(R"({"op":"sub","id":4,"topic":"access"})", R"({"op":"error","id":4,)");
    f(R"({"op":"sub","id":4,"topic":"groups/x"})", R"({"op":"error","id":4,)");
    f(R"({"op":"sub","id":4,"topic":"streams/access","frm":"end"})",
      R"({"op":"error","id":4,"code":"invalid_argument","detail":"this message has no member \"frm\"")");
    f(R"({"op":"sub","id":4,"topic":"views/hourly","where":"1"})", R"({"op":"error","id":4,)");
    f(R"({"op":"sub","id":4,"topic":"streams/access","from":"soon"})", R"({"op":"error","id":4,)");
    f(R"({"op":"sub","id":4,"topic":"streams/access","credit":-1})", R"({"op":"error","id":4,)");
    f(R"({"op":"sub","id":4,"topic":"streams/none"})", R"({"op":"end","id":4,"code":"not_found",)");
    f(R"({"op":"sub","id":4,"topic":"streams/../x"})", R"({"op":"error","id":4,"code":"not_found",)");
    f(R"({"op":"sub","id":4,"topic":"metrics","series":["none"]})", R"({"op":"end","id":4,"code":"not_found",)");
    f(R"({"op":"sub","id":4,"topic":"metrics","series":"all"})", R"({"op":"error","id":4,)");
    f(R"({"op":"sub","id":4,"topic":"streams/access","where":"("})",
      R"({"op":"end","id":4,"code":"invalid_argument",)");
    f("{\"op\":\"sub\",\"id\":4,\"x\":" + std::string(100, '[') + std::string(100, ']') + "}",
      R"({"op":"error","id":0,)");
    f(R"({"op":"sub","id":4,"topic":"streams/access"})", R"({"op":"subscribed","id":4,)");
    ws.hear();  // at the end
    f(R"({"op":"sub","id":4,"topic":"streams/access"})", R"({"op":"error","id":4,"code":"conflict")");
    // Of what is not there (any more) nothing is said.
    ws.say(R"({"op":"unsub","id":99})");
    ws.say(R"({"op":"credit","id":99,"n":1})");
    for (int i = 0; i < 63; ++i) {
        ws.say("{\"op\":\"sub\",\"id\":" + std::to_string(100 + i) + ",\"topic\":\"metrics\"}");
        CHECK(has(ws.hear(), "subscribed"));
    }
    f(R"({"op":"sub","id":500,"topic":"metrics"})", R"({"op":"end","id":500,"code":"overloaded")");
}

TEST_CASE("a WebSocket ends with the code that says why") {
    LiveWorld w;
    const auto ends = [&](auto act) {
        SocketClient ws(w.door->client());
        act(ws);
        while (true) {
            const int opcode = ws.next();
            if (opcode == 8 || opcode < 0) break;
        }
        return ws.close_code();
    };
    CHECK(ends([](SocketClient& ws) { ws.client().send("\x81\x01x"); }) == 1002);
    CHECK(ends([](SocketClient& ws) { ws.frame(0x82, "x"); }) == 1003);
    CHECK(ends([](SocketClient& ws) { ws.frame(0x81, "\xff"); }) == 1007);
    CHECK(ends([](SocketClient& ws) { ws.frame(0x81, std::string(65'537, ' ')); }) == 1009);
    CHECK(ends([](SocketClient& ws) { ws.frame(0x88, std::string("\x03\xe8", 2)); }) == 1000);
    CHECK(ends([](SocketClient& ws) { ws.frame(0x88, ""); }) == 1000);
    CHECK(ends([](SocketClient& ws) {
              ws.frame(0x01, std::string(40'000, ' ')), ws.frame(0x80, std::string(40'000, ' '));
          }) == 1009);
    CHECK(ends([](SocketClient& ws) { ws.frame(0x80, "x"); }) == 1002);  // goes on with nothing
    CHECK(ends([](SocketClient& ws) { ws.frame(0x09, "x"); }) == 1002);  // a control frame in pieces
    CHECK(ends([](SocketClient& ws) { ws.frame(0xc1, "x"); }) == 1002);  // a reserved bit
    CHECK(ends([](SocketClient& ws) { ws.client().send(std::string("\x81\xff\xff\0\0\0\0\0\0\0abcd", 14)); }) == 1002);
    std::thread stopper;
    CHECK(ends([&](SocketClient& ws) {
              ws.say(R"({"op":"sub","id":1,"topic":"metrics"})");
              ws.hear();
              stopper = std::thread([&] { w.door->server->stop(5000); });
          }) == 1001);
    stopper.join();
}

TEST_CASE("what was on its way to a WebSocket when it ended goes nowhere") {
    LiveWorld w;
    w.append(0, 300);
    for (int i = 0; i < 50; ++i) {
        SocketClient ws(w.door->client());
        for (int id = 0; id < 20; ++id)
            ws.say("{\"op\":\"sub\",\"id\":" + std::to_string(id) +
                   ",\"topic\":\"streams/access\",\"from\":\"beginning\"}");
        ws.frame(0x88, "");
        while (ws.next() != 8) {
        }
        CHECK(ws.next() < 0);
    }
    CHECK(w.door->ask(request("GET", "/livez")).status == 200);
}

TEST_CASE("pings are answered, and a peer that answers none has gone") {
    LiveWorld w;
    SocketClient ws(w.door->client());
    ws.frame(0x89, "hello");
    CHECK(ws.next() == 10);
    CHECK(ws.payload == "hello");
    REQUIRE(w.door->turn_until_heard(ws.client(), 2));  // far below 45 s between two looks of the loop
    CHECK(ws.next() == 9);
    ws.frame(0x8a, "");
    // Silent from here on.
    int opcode = 0;
    while (opcode >= 0) {
        REQUIRE(w.door->turn_until_heard(ws.client(), 2));  // far below 45 s between two looks of the loop
        opcode = ws.next();
        CHECK((opcode == 9 || opcode == -1));
    }
    CHECK(has(w.door->ask(request("GET", "/metrics")).body, "weir_http_refused_total{reason=\"idle_time\"} 1"));
}

TEST_CASE("a WebSocket is for the page's own origin, and for keys") {
    LiveWorld w;
    const auto status = [&](const std::string& fields) {
        SocketClient ws(w.door->client(), fields);
        return ws.head.substr(9, 3);
    };
    CHECK(status("") == "101");
    CHECK(status("Origin: http://localhost\r\n") == "101");
    CHECK(status("Origin: https://evil.example\r\n") == "403");
    CHECK(status("Sec-Fetch-Site: cross-site\r\n") == "403");
    CHECK(status("Sec-Fetch-Site: same-origin\r\n") == "101");
    const Response plain = w.door->ask(request("GET", "/v1/ws"));
    CHECK(plain.status == 426);
    CHECK(plain.field("Upgrade") == "websocket");
    CHECK(w.door->ask(request("POST", "/v1/ws", "", "{}")).status == 405);

    ServerOptions options;
    os::Sha256 sha256;
    options.keys = {{"page", sha256.of("secret-key"), Role::reader}};
    LiveWorld locked(options);
    const auto with_key = [&](const std::string& fields) {
        SocketClient ws(locked.door->client(), fields);
        return ws.head.substr(9, 3) + (has(ws.head, "Sec-WebSocket-Protocol: weir\r\n") ? " weir" : "");
    };
    CHECK(with_key("") == "401");
    CHECK(with_key("Authorization: Bearer secret-key\r\n") == "101");
    CHECK(with_key("Sec-WebSocket-Protocol: weir, weir.key.c2VjcmV0LWtleQ\r\n") == "101 weir");
    CHECK(with_key("Sec-WebSocket-Protocol: weir, weir.key.c2VjcmV0LWtleA\r\n") == "401");
    CHECK(with_key("Sec-WebSocket-Protocol: weir\r\n") == "401");
}

TEST_CASE("a client that says much and hears nothing is slowed down and costs no memory") {
    LiveWorld w;
    SocketClient ws(w.door->client(4096));
    const std::string nonsense = "{\"op\":\"" + std::string(30'000, 'x') + "\",\"id\":1}";
    std::string frames;
    std::thread talker([&] {
        for (int i = 0; i < 2000; ++i)
            ws.say(nonsense);
        ws.frame(0x89, "done");
    });
    // Others are served meanwhile.
    for (int i = 0; i < 20; ++i) {
        SocketClient other(w.door->client());
        other.say(R"({"op":"sub","id":1,"topic":"streams/access"})");
        CHECK(has(other.hear(), "subscribed"));
    }
    int opcode = 0;
    std::size_t errors = 0;
    while ((opcode = ws.next()) != 10) {
        REQUIRE(opcode == 1);
        ++errors;
    }
    talker.join();
    CHECK(ws.payload == "done");
    CHECK(errors > 0);
    CHECK(w.door->metrics.read("weir_tail_unsent_bytes").value < 1e6);
}

TEST_CASE("a client that subscribes without end and reads nothing is not heard, and costs no memory") {
    LiveWorld w;
    SocketClient ws(w.door->client(4096));
    std::string subscribe = R"({"op":"sub","id":1,"topic":"metrics","credit":0,"series":[)";  // the answer is as long
    for (int i = 0; i < 200; ++i)
        subscribe += i == 0 ? R"("events_stored")" : R"(,"events_stored")";
    subscribe += "]}";
    std::atomic<bool> enough{false};
    std::thread talker([&] {
        for (int i = 0; i < 10'000 && !enough; ++i) {
            ws.say(subscribe);
            ws.say(R"({"op":"unsub","id":1})");
        }
        ws.frame(0x89, "done");
    });
    // It comes to a stop, far from its last message.
    const auto unsent = [&] { return w.door->metrics.read("weir_tail_unsent_bytes").value; };
    while (unsent() < static_cast<double>(client_unsent_max))
        std::this_thread::yield();
    for (int i = 0; i < 200; ++i) {  // in this time much more would have come
        SocketClient other(w.door->client());
        other.say(R"({"op":"sub","id":1,"topic":"streams/access"})");
        CHECK(has(other.hear(), "subscribed"));
        CHECK(unsent() < 2 * static_cast<double>(client_unsent_max));
    }
    enough = true;
    // What it said is heard as it reads, in order, and nothing is left out.
    int opcode = 0;
    bool on = false;
    while ((opcode = ws.next()) != 10) {
        REQUIRE(opcode == 1);
        CHECK(has(ws.payload, "subscribed"));
        on = true;
    }
    talker.join();
    CHECK(on);
    CHECK(ws.payload == "done");
}

TEST_CASE("steps of filtered tails that have gone take their places until they are through") {
    LiveWorld w;
    std::atomic<bool> go{false};
    std::atomic<int> runs{0};
    w.door->pool.script([&](const query::QueryRequest&, query::ResultSink& sink) -> Result<query::QuerySummary> {
        ++runs;
        while (!go)
            std::this_thread::yield();
        sink.columns({{"0", "INTEGER"}, {"_offset", "INTEGER"}});
        return query::QuerySummary{LogIndex(1), false, 0};
    });
    SocketClient ws(w.door->client());
    const std::string sub = R"({"op":"sub","id":1,"topic":"streams/access","where":"status = 200"})";
    for (std::size_t i = 0; i < filtered_max; ++i) {
        ws.say(sub);
        ws.say(R"({"op":"unsub","id":1})");
    }
    ws.say(sub);
    CHECK(has(ws.hear(), R"({"op":"end","id":1,"code":"overloaded")"));
    CHECK(runs == 1);
    go = true;
    std::string heard;
    while (!has(heard, "subscribed")) {
        ws.say(sub);
        heard = ws.hear();
    }
    CHECK(runs <= 3);  // of those that had gone none was looked at
    ws.say(R"({"op":"unsub","id":1})");
    ws.say(R"({"op":"sub","id":1,"topic":"streams/access","where":")" + std::string(5000, '1') + "\"}");
    while (!has(heard, R"("op":"end")"))
        heard = ws.hear();
    CHECK(has(heard, R"("code":"too_large","detail":"where has more than 4096 bytes")"));
}

TEST_CASE("messages that are not whole have a budget together") {
    REQUIRE(os::raise_open_files() >= 2'200);  // both ends are in this process
    LiveWorld w;
    std::vector<SocketClient> halves;
    const std::string part(60'000, ' ');
    std::size_t turned_away = 0;
    // 56 MiB, where 48 may be held.
    for (int i = 0; i < 1000; ++i) {
        halves.emplace_back(w.door->client());
        halves.back().frame(0x01, part);
    }
    SocketClient modest(w.door->client());
    modest.say(R"({"op":"sub","id":1,"topic":"streams/access"})");
    CHECK(has(modest.hear(), "subscribed"));
    turned_away =
        static_cast<std::size_t>(w.door->metrics.read("weir_http_refused_total", {{"reason", "head_memory"}}).value);
    CHECK(turned_away > 100);
    CHECK(turned_away < 300);
    while (halves.back().next() != 8) {
    }
    CHECK(halves.back().close_code() == 1013);
    halves.clear();
    // What they held is free again.
    while (w.door->metrics.read("weir_http_connections").value > 1)
        std::this_thread::yield();
    SocketClient large(w.door->client());
    large.frame(0x01, part);
    large.frame(0x80, "{}");
    CHECK(has(large.hear(), "id must be a number"));
}

TEST_CASE("frames that wait behind an earlier request's answer and the handshake are read") {
    LiveWorld w;
    Client client = w.door->client();
    client.send(request("GET", "/v1/streams") +
                "GET /v1/ws HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
                "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n" +
                std::string("\x89\x82"
                            "abcd"
                            "\x09\x0b",
                            8));
    CHECK(client.receive().status == 200);
    CHECK(client.read_until("\r\n\r\n").starts_with("HTTP/1.1 101 "));
    CHECK(client.read_bytes(4) == "\x8a\x02hi");
}

TEST_CASE("frames right behind the handshake are read") {
    LiveWorld w;
    Client client = w.door->client();
    client.send(
        "GET /v1/ws HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
        "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n" +
        std::string("\x89\x82"
                    "abcd"
                    "\x09\x0b",
                    8));
    CHECK(client.read_until("\r\n\r\n").starts_with("HTTP/1.1 101 "));
    CHECK(client.read_bytes(4) == "\x8a\x02hi");
}
