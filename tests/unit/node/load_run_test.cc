#include "node/load_run.h"

#include "capture.h"
#include "fake_server.h"

#include <catch2/catch_test_macros.hpp>

#include <atomic>

namespace weir::node {
namespace {

test::FakeReply stored(int accepted, int index) {
    test::FakeReply reply;
    reply.body = "{\"accepted\":" + std::to_string(accepted) +
                 ",\"duplicates\":1,\"rejected\":0,\"applied_index\":\"0:" + std::to_string(index) + "\"}";
    return reply;
}

TEST_CASE("every request is sent once over the connections and its answer counted") {
    const Load load = make_load({.events = 400, .batch = 10});
    std::atomic<int> index = 0;
    test::FakeServer server([&](const test::FakeRequest&) { return stored(9, ++index); });
    test::Capture capture;
    const auto ran = run_load(server.choice(), load, {.stream = "s", .connections = 4}, *capture.console.clock);
    REQUIRE(ran);
    CHECK(ran.value().accepted == 360);
    CHECK(ran.value().duplicates == 40);
    CHECK(ran.value().ack_ms.size() == 40);
    CHECK(ran.value().applied_index == "0:40");
    std::size_t bytes = 0;
    for (const auto& request : server.seen())
        bytes += request.body.size();
    CHECK(bytes == load.bodies.size());
}

TEST_CASE("a 503 is sent again and counted") {
    const Load load = make_load({.events = 40, .batch = 10});
    std::atomic<int> count = 0;
    test::FakeServer server([&](const test::FakeRequest&) {
        if (++count == 2) {
            test::FakeReply busy;
            busy.status = 503;
            return busy;
        }
        return stored(10, count);
    });
    test::Capture capture;
    const auto ran = run_load(server.choice(), load, {.stream = "s", .connections = 2}, *capture.console.clock);
    REQUIRE(ran);
    CHECK(ran.value().refused == 1);
    CHECK(ran.value().accepted == 40);
}

TEST_CASE("another status, and a hang-up, end the run") {
    const Load load = make_load({.events = 40, .batch = 10});
    test::Capture capture;
    test::FakeServer wrong([](const test::FakeRequest&) {
        test::FakeReply reply;
        reply.status = 500;
        reply.body = "boom";
        return reply;
    });
    const auto ran = run_load(wrong.choice(), load, {.stream = "s", .connections = 2}, *capture.console.clock);
    REQUIRE_FALSE(ran);
    CHECK(ran.error().detail == "the server answered 500: boom");
    test::FakeServer cut([](const test::FakeRequest&) {
        test::FakeReply reply;
        reply.hang_up_before = true;
        return reply;
    });
    CHECK(run_load(cut.choice(), load, {.stream = "s", .connections = 2}, *capture.console.clock).error().code ==
          Errc::io);
}

TEST_CASE("the lag is asked for at the index of an acknowledgement") {
    const Load load = make_load({.events = 100, .batch = 1});
    std::atomic<int> index = 0;
    std::atomic<int> asked = 0;
    test::FakeServer server([&](const test::FakeRequest& request) {
        if (request.target == "/v1/sql") {
            ++asked;
            CHECK(request.body.find("{\"query\":\"SELECT sum(n) FROM v\",\"min_index\":\"0:") == 0);
            return test::FakeReply{};
        }
        return stored(1, ++index);
    });
    test::Capture capture;
    const auto ran = run_load(server.choice(), load,
                              {.stream = "s", .connections = 1, .lag_query = "SELECT sum(n) FROM v", .lag_every_ms = 0},
                              *capture.console.clock);
    REQUIRE(ran);
    CHECK(asked > 0);
    CHECK(ran.value().lag_ms.size() <= static_cast<std::size_t>(asked));
    CHECK(ran.value().lag_ms.size() > 0);
}

TEST_CASE("an open loop keeps to its due times") {
    const Load load = make_load({.events = 100, .batch = 10});
    test::FakeServer server([](const test::FakeRequest&) { return stored(10, 1); });
    test::Capture capture;
    const auto ran = run_load(server.choice(), load, {.stream = "s", .connections = 2, .events_per_s = 1000},
                              *capture.console.clock);
    REQUIRE(ran);
    CHECK(ran.value().seconds >= 0.09);  // the tenth request is due after 90 ms
}

TEST_CASE("percentiles and indexes") {
    const std::vector<double> values{1, 2, 3, 4, 5, 6, 7, 8, 9, 10};
    CHECK(percentile(values, 0) == 1);
    CHECK(percentile(values, 0.5) == 6);
    CHECK(percentile(values, 0.99) == 10);
    CHECK(percentile(values, 1) == 10);
    CHECK(percentile({}, 0.5) == 0);
    CHECK(later_index("0:9", "0:10") == "0:10");
    CHECK(later_index("0:10", "0:9") == "0:10");
    CHECK(later_index("", "0:9") == "0:9");
    CHECK(later_index("0:9", "") == "0:9");
    CHECK(later_index("1:9", "0:1") == "0:1");
}

}  // namespace
}  // namespace weir::node
