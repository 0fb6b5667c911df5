#include "http/detail/decode_thread.h"

#include "fakes.h"

#include <catch2/catch_test_macros.hpp>

#include <algorithm>

using namespace weir;
using namespace weir::http::test;

namespace {

std::string lines_of(std::size_t bytes) {
    const std::string line = "{\"event_id\":\"" + std::string(1000, 'x') + "\",\"n\":1}\n";
    std::string out;
    while (out.size() < bytes)
        out += line;
    return out;
}

}  // namespace

TEST_CASE("Large bodies go their own way, with the same answers") {
    Door door;
    auto f = [&](const std::string& bytes, int status, std::string_view part) {
        const Response r = door.ask(bytes);
        INFO(bytes.substr(0, 200) << "\n" << r.head << r.body.substr(0, 500));
        CHECK(r.status == status);
        CHECK(has(r.body, part));
    };
    const std::string gzip = "Content-Encoding: gzip\r\n";
    const std::string type = "application/x-ndjson";
    const std::string large = lines_of(5 << 20);
    const auto n = static_cast<std::size_t>(std::count(large.begin(), large.end(), '\n'));
    const std::string accepted = "\"accepted\":" + std::to_string(n);
    f(post("clicks", large, type), 200, accepted);
    CHECK(door.catalog.shard.bodies.back() == large);
    f(post("clicks", gzipped(large), type, gzip), 200, accepted);
    CHECK(door.catalog.shard.bodies.back() == large);
    f(post("clicks", zstded(large), type, "Content-Encoding: zstd\r\n"), 200, accepted);
    CHECK(door.catalog.shard.bodies.back() == large);
    f(post("checked", large, type), 200, accepted);
    f(post("fresh", large, type), 200, accepted);
    f(post("fresh", gzipped(large), type, gzip), 200, accepted);
    CHECK(door.catalog.ensured == 2);
    f(post("toomany", large, type), 503, "overloaded");
    f(post("clicks", large, type, gzip), 400, "not");
    f(post("clicks", large, "application/json"), 400, "x-ndjson");
    f(post("clicks", std::string(5 << 20, ' '), ""), 415, "unsupported_media_type");
    f(post("clicks", std::string(5 << 20, '\n'), type), 200, "\"accepted\":0");
    // The edge: what just fits the loop, and one byte more.
    for (const std::size_t size : {std::size_t{4} << 20, (std::size_t{4} << 20) + 1}) {
        std::string body = "{\"event_id\":\"a\"}";
        body.resize(size, ' ');
        f(post("clicks", body), 200, "\"accepted\":1");
        f(post("clicks", gzipped(body), "application/json", gzip), 200, "\"accepted\":1");
    }
    // In order, on one connection.
    Client client = door.client();
    std::thread sender([&] {
        client.send(post("clicks", large, type) + post("clicks", "{}") + request("GET", "/livez") +
                    post("clicks", gzipped(large), type, gzip) + request("GET", "/livez"));
    });
    CHECK(has(client.receive().body, accepted));
    CHECK(has(client.receive().body, "\"accepted\":1,"));
    CHECK(client.receive().body == "ok\n");
    CHECK(has(client.receive().body, accepted));
    CHECK(client.receive().body == "ok\n");
    sender.join();
}

TEST_CASE("While a large body is decoded the other connections go on") {
    Door door;
    const std::string large = lines_of(5 << 20);
    auto& held = door.catalog.shard.decoding_held;
    held = true;
    Client client = door.client(), late = door.client();
    client.send(post("clicks", large, "application/x-ndjson"));
    CHECK(door.ask(request("GET", "/livez")).status == 200);
    CHECK_FALSE(client.heard(100));
    // One that waits too long: nothing is stored, also not later.
    late.send(post("clicks", large, "application/x-ndjson"));
    REQUIRE(door.turn_until_heard(late, 31));
    CHECK(late.receive().status == 503);
    CHECK(late.closed());
    CHECK(client.receive().status == 503);
    held = false;
    CHECK(door.ask(post("clicks", large, "application/x-ndjson")).status == 200);
    CHECK(door.catalog.shard.bodies.size() == 1);
    // One whose client goes away meanwhile, and a stop with one under way.
    held = true;
    {
        Client gone = door.client();
        gone.send(post("clicks", large, "application/x-ndjson"));
    }
    Client last = door.client();
    last.send(post("clicks", large, "application/x-ndjson"));
    std::thread stopper([&] { door.server->stop(50); });
    CHECK(last.closed());
    held = false;
    stopper.join();
    CHECK(door.catalog.shard.bodies.size() == 1);
}
