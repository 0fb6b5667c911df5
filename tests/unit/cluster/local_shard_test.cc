// A whole shard with its threads, on real files: what TSan has to see.
#include "life.h"

#include <catch2/catch_test_macros.hpp>

#include <string>
#include <thread>
#include <vector>

namespace weir::cluster::test {
namespace {

// Sends `count` events with ids from `first` in batches, from this thread.
void send(Life& life, Answers& answers, std::uint64_t first, std::uint64_t count, std::uint64_t batch) {
    const auto stream = life.stream();
    for (std::uint64_t i = 0; i < count; i += batch) {
        std::string body;
        for (std::uint64_t k = i; k < std::min(count, i + batch); k++)
            body += event(first + k, 1'700'000'000'000 + static_cast<std::int64_t>(k));
        auto request = life.request(stream, std::move(body), answers.one());
        while (!life.shard->submit(std::move(request)))
            std::this_thread::yield();
    }
}

}  // namespace

TEST_CASE("shard: several senders, a view made meanwhile, a clean stop and a second life") {
    weir::test::TempDir dir;
    {
        Life life(dir.path());
        life.statement("CREATE STREAM s (id TEXT, ts TIMESTAMP, EVENT TIME ts, DEDUP KEY (id) WITHIN 1h) PARTITIONS 2");
        Answers answers;
        {
            std::vector<std::jthread> threads;
            for (std::uint64_t t = 0; t < 3; t++) {
                // Each id is sent by two of the three.
                threads.emplace_back([&, t] { send(life, answers, (t % 2) * 1000, 2000, 50); });
            }
            life.statement(
                "CREATE MATERIALIZED VIEW v AS SELECT window_start, count(*) AS n FROM TUMBLE(s, 1s) GROUP BY "
                "window_start LATENESS 7d");
        }
        REQUIRE(answers.wait_for(120));
        CHECK(answers.failed == 0);
        CHECK(answers.accepted == 3000);
        CHECK(answers.duplicates == 3000);
        CHECK(life.shard->wait_visible(life.shard->committed(), std::chrono::seconds(10)));
    }
    Life life(dir.path());
    REQUIRE(life.catalog->snapshot()->stream("s") != nullptr);
    CHECK(life.catalog->snapshot()->view("v") != nullptr);
    Answers again;
    send(life, again, 0, 3000, 300);
    REQUIRE(again.wait_for(10));
    CHECK(again.accepted == 0);
    CHECK(again.duplicates == 3000);
    life.statement("DROP MATERIALIZED VIEW v");
    life.statement("DROP STREAM s");
    CHECK(life.catalog->snapshot()->streams.empty());
}

}  // namespace weir::cluster::test
