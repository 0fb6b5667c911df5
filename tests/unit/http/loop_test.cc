// Limits and deadlines of the loop, with a clock that the test turns. The loop looks at it twice a second.
#include "fakes.h"
#include "os/process.h"

#include <catch2/catch_test_macros.hpp>

#include <algorithm>

using namespace weir;
using namespace weir::http::test;
using weir::http::Server;
using weir::http::ServerOptions;

TEST_CASE("A head has 10 seconds, an idle connection 75") {
    Door door;
    Client slow = door.client();
    Client idle = door.client();
    CHECK(idle.ask(request("GET", "/livez")).status == 200);
    slow.send("GET / HTTP/1.1\r\nHo");
    CHECK_FALSE(slow.heard(1000));  // at 0 s
    REQUIRE(door.turn_until_heard(slow, 6));
    CHECK(slow.receive().status == 408);
    CHECK(slow.closed());
    CHECK(idle.ask(request("GET", "/livez")).status == 200);
    REQUIRE(door.turn_until_heard(idle, 40));
    CHECK(idle.closed());
}

TEST_CASE("A body must move 1 KiB a second") {
    Door door;
    Client client = door.client();
    client.send(
        "POST /v1/streams/clicks/events HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\nContent-Length: "
        "40000\r\n\r\n");
    CHECK(client.receive().status == 100);
    client.send(std::string(20'000, ' '));
    door.clock.advance_s(11);
    CHECK_FALSE(client.heard(1000));  // fast enough so far: another window
    client.send(std::string(100, ' '));
    REQUIRE(door.turn_until_heard(client, 6));
    CHECK(client.receive().status == 408);
    CHECK(client.closed());
    CHECK(door.catalog.shard.bodies.empty());
}

TEST_CASE("An answer that nobody reads ends after 30 seconds") {
    Door door;
    std::atomic<bool> cancelled{false};
    door.pool.script([&](const query::QueryRequest&, query::ResultSink& sink) -> Result<query::QuerySummary> {
        sink.columns({{"s", "TEXT"}});
        const std::string row(10'000, 'x');
        while (sink.row({store::Value::of(std::string_view(row))})) {
        }
        cancelled = true;
        return Error{Errc::cancelled, "the client went away"};
    });
    Client client = door.client(4096);
    client.send(request("POST", "/v1/sql?format=ndjson&timeout_ms=3600000", "", "SELECT 1"));
    REQUIRE(client.heard(20'000));
    for (int i = 0; i < 100 && !cancelled; ++i) {
        door.clock.advance_s(20);
        const Client other = door.client();  // hears nothing: paces the turning of the clock
        CHECK_FALSE(other.heard(100));
    }
    CHECK(cancelled);
    CHECK(has(door.ask(request("GET", "/metrics")).body, "weir_http_refused_total{reason=\"write_time\"} 1"));
}

TEST_CASE("Bodies in flight have a budget") {
    ServerOptions options;
    options.body_bytes_in_flight_max = 1 << 20;
    Door door(options);
    door.catalog.shard.hold = true;
    Client first = door.client();
    first.send(post("clicks", "{\"a\":\"" + std::string(900'000, 'x') + "\"}"));
    while (door.catalog.shard.held() == 0)
        std::this_thread::yield();
    Client second = door.client();
    const Response r = second.ask(post("clicks", "{\"a\":\"" + std::string(900'000, 'x') + "\"}"));
    CHECK(r.status == 503);
    CHECK_FALSE(r.field("Retry-After").empty());
    door.catalog.shard.hold = false;
    door.catalog.shard.release();
    CHECK(first.receive().status == 200);
    CHECK(door.ask(post("clicks", "{\"a\":\"" + std::string(900'000, 'x') + "\"}")).status == 200);
}

TEST_CASE("Large bodies take turns, and one that gives up lets the next have it") {
    Door door;
    door.catalog.shard.hold = true;
    const std::string large = post("clicks", "{\"a\":\"" + std::string(9'000'000, 'x') + "\"}");
    std::vector<Client> senders;
    for (int i = 0; i < 9; ++i) {
        senders.push_back(door.client());
        senders.back().send(large);
    }
    while (door.catalog.shard.held() < 7)
        std::this_thread::yield();
    CHECK_FALSE(senders.back().heard(500));
    CHECK(door.catalog.shard.held() == 7);  // 63 MB
    CHECK(door.ask(request("GET", "/livez")).status == 200);
    // Whoever waits may go, and nobody is held up by that.
    senders[7].vanish();
    door.catalog.shard.hold = false;
    door.catalog.shard.release();
    for (std::size_t i = 0; i < senders.size(); ++i)
        if (i != 7) CHECK(senders[i].receive().status == 200);
}

TEST_CASE("Heads have a budget, and small ones need none of it") {
    REQUIRE(os::raise_open_files() >= 2'200);  // both ends are in this process
    Door door;
    std::vector<Client> greedy;
    const std::string head = "GET /livez HTTP/1.1\r\nHost: localhost\r\nX: " + std::string(60'000, 'x');
    for (int i = 0; i < 1000; ++i) {
        greedy.push_back(door.client());
        greedy.back().send(head);
    }
    const Response turned_away = greedy.back().receive();
    CHECK(turned_away.status == 503);
    CHECK(has(turned_away.body, "\"code\":\"overloaded\""));
    CHECK(turned_away.field("Retry-After") != "");
    CHECK(greedy.back().closed());
    CHECK(door.ask(post("clicks", "{}")).status == 200);
    // The first came early enough.
    greedy.front().send("\r\n\r\n");
    CHECK(greedy.front().receive().status == 200);
    greedy.clear();
    while (door.metrics.read("weir_http_connections").value > 1)
        std::this_thread::yield();
    CHECK(door.ask(head + "\r\n\r\n").status == 200);
}

TEST_CASE("What waits behind requests that run has a budget too: reading stops there") {
    REQUIRE(os::raise_open_files() >= 2'600);  // both ends are in this process
    Door door;
    door.catalog.shard.hold = true;
    std::vector<Client> senders;
    const std::string pad = "X: " + std::string(50'000, 'x') + "\r\n";
    for (std::size_t i = 0; i < 1200; ++i) {
        senders.push_back(door.client());
        senders.back().send(post("clicks", "{}"));
        senders.back().send(request("GET", "/livez", pad));
    }
    while (door.catalog.shard.held() < senders.size())
        std::this_thread::yield();
    door.catalog.shard.hold = false;
    door.catalog.shard.release();
    for (Client& sender : senders) {
        CHECK(sender.receive().status == 200);
        const int second = sender.receive().status;
        CHECK((second == 200 || second == 503));
    }
}

TEST_CASE("The pool's queue is bounded, and probes do not need it") {
    ServerOptions options;
    options.pool_threads = 1;
    options.pool_waiting_max = 1;
    Door door(options);
    std::atomic<bool> go{false};
    std::atomic<int> running{0};
    door.pool.script([&](const query::QueryRequest&, query::ResultSink& sink) -> Result<query::QuerySummary> {
        ++running;
        while (!go)
            std::this_thread::yield();
        sink.columns({{"a", "INTEGER"}});
        return query::QuerySummary{LogIndex(1), false, 0};
    });
    Client one = door.client(), two = door.client(), three = door.client();
    const std::string select = request("POST", "/v1/sql", "", "SELECT 1");
    one.send(select);
    while (running == 0)
        std::this_thread::yield();
    two.send(select);
    // `two` waits in the queue; that can be seen only by what a third gets.
    Response r;
    for (int i = 0; i < 100; ++i) {
        r = door.ask(request("GET", "/livez"));
        CHECK(r.status == 200);
    }
    r = three.ask(select);
    CHECK(r.status == 503);
    CHECK_FALSE(r.field("Retry-After").empty());
    CHECK(door.ask(request("GET", "/readyz")).status == 200);
    CHECK(door.ask(post("clicks", "{}")).status == 200);
    CHECK(door.ask(post("fresh", "{}")).status == 503);  // making a stream needs the pool
    go = true;
    CHECK(one.receive().status == 200);
    CHECK(two.receive().status == 200);
}

TEST_CASE("A thousand idle connections do not hold up the next") {
    REQUIRE(os::raise_open_files() >= 2'200);  // both ends are in this process
    Door door;
    std::vector<Client> idle;
    for (int i = 0; i < 1000; ++i)
        idle.push_back(door.client());
    for (std::size_t i = 0; i < 100; ++i)
        CHECK(idle[i].send("GET / HT"));
    CHECK(door.ask(post("clicks", "{}")).status == 200);
    for (auto& c : idle)
        c.send("");
    CHECK(idle.back().ask(request("GET", "/livez")).status == 200);
}

TEST_CASE("Stopping lets what is under way finish, and no more") {
    Door door;
    door.catalog.shard.hold = true;
    Client busy = door.client(), idle = door.client();
    CHECK(idle.ask(request("GET", "/livez")).status == 200);
    busy.send(post("clicks", "{}"));
    while (door.catalog.shard.held() == 0)
        std::this_thread::yield();
    std::thread stopper([&] { door.server->stop(20'000); });
    CHECK(idle.closed());
    door.catalog.shard.release();
    const Response r = busy.receive();
    CHECK(r.status == 200);
    CHECK(r.field("Connection") == "close");
    CHECK(busy.closed());
    stopper.join();

    Door other;
    other.catalog.shard.hold = true;
    Client stuck = other.client();
    stuck.send(post("clicks", "{}"));
    while (other.catalog.shard.held() == 0)
        std::this_thread::yield();
    other.server->stop(10);
    CHECK(stuck.closed());
    other.catalog.shard.release();  // an outcome for nobody is harmless
}

TEST_CASE("A shard that does not answer within 30 seconds: outcome unknown") {
    Door door;
    door.catalog.shard.hold = true;
    Client client = door.client();
    client.send(post("clicks", "{\"event_id\":\"a\"}"));
    while (door.catalog.shard.held() == 0)
        std::this_thread::yield();
    door.clock.advance_s(29);
    CHECK_FALSE(client.heard(1200));  // the loop has looked
    REQUIRE(door.turn_until_heard(client, 1));
    const Response r = client.receive();
    INFO(r.head << r.body);
    CHECK(r.status == 504);
    CHECK(r.field("Content-Type") == "application/problem+json");
    CHECK(r.field("Connection") == "close");
    CHECK(has(r.body, "\"code\":\"outcome_unknown\""));
    CHECK(has(r.body, "part or all of it may be stored: send it again where DEDUP"));
    CHECK(client.closed());
    // The outcome comes while the connection lingers (this client has not closed its side), and after it has gone.
    Client gone = door.client();
    gone.send(post("clicks", "{\"event_id\":\"b\"}"));
    while (door.catalog.shard.held() < 2)
        std::this_thread::yield();
    REQUIRE(door.turn_until_heard(gone, 31));
    CHECK(gone.receive().status == 504);
    door.catalog.shard.hold = false;
    door.catalog.shard.release();
    CHECK(gone.closed());
    CHECK(door.ask(post("clicks", "{}")).status == 200);
    CHECK(has(door.ask(request("GET", "/metrics")).body, "code=\"504\""));
}

TEST_CASE("A stream that is not made within 30 seconds: nothing was stored") {
    Door door;
    door.catalog.block = true;
    Client client = door.client();
    client.send(post("fresh", "{}"));
    while (door.catalog.ensured == 0)
        std::this_thread::yield();
    REQUIRE(door.turn_until_heard(client, 31));
    const Response r = client.receive();
    CHECK(r.status == 503);
    CHECK(r.field("Connection") == "close");
    door.catalog.block = false;
    CHECK(client.closed());
    CHECK(door.ask(post("clicks", "{}")).status == 200);
    CHECK(door.catalog.shard.bodies.size() == 1);
}

TEST_CASE("Stopping ends the queries that run, before it waits for their threads") {
    auto endless = [](Door& door, std::atomic<int>& running) {
        door.pool.script([&](const query::QueryRequest&, query::ResultSink&) -> Result<query::QuerySummary> {
            ++running;
            while (!door.pool.stopped)
                std::this_thread::yield();
            return Error{Errc::shutting_down, "this node is leaving"};
        });
    };
    const std::string select = request("POST", "/v1/sql", "", "SELECT 1");
    SECTION("the client is told") {
        Door door;
        std::atomic<int> running{0};
        endless(door, running);
        Client client = door.client();
        client.send(select);
        while (running == 0)
            std::this_thread::yield();
        door.server->stop(10);
        const Response r = client.receive();
        CHECK(r.status == 503);
        CHECK(has(r.body, "\"code\":\"shutting_down\""));
        CHECK(client.closed());
    }
    SECTION("nobody is left to be told") {
        Door door;
        std::atomic<int> running{0};
        endless(door, running);
        {
            Client client = door.client();
            client.send(select);
            while (running == 0)
                std::this_thread::yield();
            client.vanish();
        }
        door.server->stop(20'000);  // the last connection has gone, so the drain is over
        CHECK(door.pool.stopped);
    }
    SECTION("more of them than threads") {
        ServerOptions options;
        options.pool_threads = 1;
        Door door(options);
        std::atomic<int> running{0};
        endless(door, running);
        Client one = door.client(), two = door.client();
        CHECK(two.ask(request("GET", "/livez")).status == 200);
        one.send(select);
        while (running == 0)
            std::this_thread::yield();
        two.send(select);
        CHECK(door.ask(request("GET", "/livez")).status == 200);
        door.server->stop(10);
        CHECK(one.receive().status == 503);
        CHECK(two.receive().status == 503);
    }
}

TEST_CASE("Addresses") {
    FakeClock clock;
    FakeCatalog catalog;
    FakePool pool;
    obs::Metrics metrics;
    auto disk = os::make_real_disk();
    auto f = [&](const std::string& listen, bool want) {
        ServerOptions options;
        options.listen = listen;
        const auto opened = Server::open(options, {catalog, pool, metrics, *disk, clock});
        INFO(listen);
        CHECK(opened.has_value() == want);
        return opened ? opened.value()->address() : opened.error().detail;
    };
    CHECK(f("127.0.0.1:0", true) != "127.0.0.1:0");
    CHECK(f("localhost:0", true).starts_with("127.0.0.1:"));
    f("127.0.0.1", false);
    f("127.0.0.1:", false);
    f("127.0.0.1:65536", false);
    f("127.0.0.1:x", false);
    f("nonsense:80", false);
    f("", false);
    Door door;
    CHECK(has(f(door.server->address(), false), "--http"));
}
