// A shard and its query workers together: reads beside the flow.
#include "life.h"
#include "query/pool.h"

#include <catch2/catch_test_macros.hpp>

#include <filesystem>
#include <string>
#include <thread>
#include <vector>

namespace weir::cluster::test {
namespace {

constexpr std::int64_t t0 = 1'700'000'040'000;  // a whole minute

struct Sink final : query::ResultSink {
    bool columns(const std::vector<query::QueryColumn>&) override { return true; }
    bool row(const std::vector<store::Value>& values) override {
        if (on_first && count == 0) on_first();
        count++;
        last.clear();
        for (const auto& value : values)
            last += (last.empty() ? "" : "|") + std::to_string(value.integer);
        return true;
    }
    std::int64_t count = 0;
    std::string last;
    std::function<void()> on_first;
};

query::QueryRequest request_for(const std::string& sql, std::int64_t timeout_ms = 120'000) {
    query::QueryRequest request;
    request.sql = sql;
    request.timeout_ms = timeout_ms;
    request.rows_max = INT64_MAX;
    return request;
}

// A shard with its pool, as the node has them.
struct Node {
    std::unique_ptr<query::Pool> pool;
    // What the shard asked of the pool, and SQLite's log at that moment.
    os::Progress held, released;
    std::atomic<std::uint64_t> holds{0}, releases{0}, log_bytes_at_release{0};
    std::unique_ptr<Life> life;

    Node(const std::string& dir, Life::Start start) {
        query::PoolOptions options;
        options.program = WEIR_TEST_WORKER;
        options.shard_dir = dir + "/shards/0";
        options.waiting_max = 1;
        pool = query::Pool::make(options);
        start.options.hold_readers = [this, log = options.shard_dir + "/view.db-wal"](bool on) {
            if (!on) log_bytes_at_release = std::filesystem::file_size(log);
            pool->hold(on);
            on ? held.advance(holds.fetch_add(1) + 1) : released.advance(releases.fetch_add(1) + 1);
        };
        life = std::make_unique<Life>(dir, std::move(start));
    }
    ~Node() {
        pool->stop();
        life.reset();
    }
    std::string answer(const std::string& sql) {
        Sink sink;
        const auto summary = pool->run(request_for(sql), sink);
        return summary ? sink.last : std::string(errc_name(summary.error().code));
    }
};

}  // namespace

TEST_CASE(
    "rule: a large SQLite log holds new reads: they wait until those that run have ended, the log is emptied, all "
    "go on",
    "[rule]") {
    constexpr std::uint64_t bound = 512 << 10;  // in a server 256 MiB
    weir::test::TempDir dir;
    Life::Start start;
    start.options.sqlite_log_bytes_max = bound;
    start.options.checkpoint_every_us = 1'000;
    Node node(dir.path(), std::move(start));
    Life& life = *node.life;
    life.statement(stream_s);
    life.statement(
        "CREATE MATERIALIZED VIEW v AS SELECT window_start, id, count(*) AS n FROM TUMBLE(s, 1m) GROUP BY "
        "window_start, "
        "id");
    std::uint64_t id = 0;
    const auto send = [&] {
        std::string body;
        for (int i = 0; i < 1000; i++)
            body += event(id++, t0);
        REQUIRE(life.ask(body).accepted == 1000);
    };
    send();
    REQUIRE(life.see_everything());
    CHECK(node.holds == 0);

    const std::string log = dir.path() + "/shards/0/view.db-wal";
    std::atomic<bool> first_ended{false};
    bool second_came_after = false;
    std::string second_answer;
    std::jthread second;
    Sink first;
    // The worker has its snapshot for as long as this sits on the first of more rows than the socket takes.
    first.on_first = [&] {
        while (node.holds == 0) {
            send();
            REQUIRE(life.see_everything());
        }
        CHECK(std::filesystem::file_size(log) > bound);
        second = std::jthread([&] {
            do {  // the one place to wait at may be the question's below
                Sink sink;
                sink.on_first = [&] { second_came_after = first_ended; };
                const auto summary = node.pool->run(request_for("SELECT count(*), sum(n) FROM v"), sink);
                second_answer = summary ? sink.last : std::string(errc_name(summary.error().code));
            } while (second_answer == "overloaded");
        });
        // The one place to wait at is taken: it waits, though a worker could be had.
        REQUIRE(eventually([&] {
            Sink sink;
            const auto third = node.pool->run(request_for("SELECT 1", 1), sink);
            return !third && third.error().code == Errc::overloaded;
        }));
        CHECK(node.pool->running() == 1);
        send();  // writing goes on
        CHECK(node.releases == 0);
        first_ended = true;
    };
    const auto summary = node.pool->run(
        request_for("SELECT a.n, a.id, 'and some text to make it long' FROM v a, (SELECT 1 FROM v LIMIT 100) b"),
        first);
    REQUIRE(summary.has_value());
    CHECK(first.count == 100'000);  // what it saw is what it began with
    second.join();
    CHECK(second_came_after);
    REQUIRE(node.released.wait_for(1, std::chrono::seconds(60)));
    CHECK(node.log_bytes_at_release == 0);
    CHECK(second_answer == std::to_string(id) + "|" + std::to_string(id));

    // And from then on nothing is held.
    const std::string before = std::to_string(id);
    send();
    REQUIRE(life.see_everything());
    CHECK(node.answer("SELECT count(*) FROM v") == std::to_string(id));
    CHECK(node.answer("SELECT count(*) FROM s") == std::to_string(id));
    CHECK(node.holds == node.releases);
}

TEST_CASE("rule: one read is one index: a stream joined with its view agrees with it in every snapshot", "[rule]") {
    weir::test::TempDir dir;
    Life::Start start;
    start.options.checkpoint_every_us = 20'000;
    Node node(dir.path(), std::move(start));
    Life& life = *node.life;
    life.statement(stream_s);
    life.statement(
        "CREATE MATERIALIZED VIEW v AS SELECT window_start, count(*) AS n, max(ts) AS last FROM TUMBLE(s, 1m) WHERE "
        "id NOT LIKE '%7' GROUP BY window_start");
    constexpr std::uint64_t reads = 100;
    os::Progress read;  // the load goes on during every read, and the stream stays short enough for the next
    std::jthread load([&] {
        for (std::uint64_t id = 0; read.value() < reads; id += 50) {
            if (id % 200 == 0 && !read.wait_for(id / 200, std::chrono::seconds(60))) std::abort();
            std::string body;
            for (std::uint64_t i = id; i < id + 50; i++)
                body += event(i, t0 + static_cast<std::int64_t>(i) * 1000 - (i % 11 == 0 ? 900'000 : 0));
            if (life.ask(body).accepted != 50) std::abort();
        }
    });
    const std::string all =
        "SELECT (SELECT count(*) FROM s), (SELECT count(*) FROM s WHERE id NOT LIKE '%7'), coalesce((SELECT sum(n) "
        "FROM "
        "v), 0), (SELECT count(*) FROM v_late), v.seen, v.filtered, v.windowed, v.late, c.stored FROM sys.views v, "
        "sys.counters c";
    std::uint64_t seen = 0, filtered = 0, late = 0;
    for (std::uint64_t i = 1; i <= reads; i++) {
        Sink sink;
        const auto summary = node.pool->run(request_for(all), sink);
        REQUIRE(summary.has_value());
        std::vector<std::uint64_t> n;
        for (std::size_t at = 0; at < sink.last.size();
             at = std::min(sink.last.find('|', at), sink.last.size() - 1) + 1)
            n.push_back(std::strtoull(sink.last.c_str() + at, nullptr, 10));
        INFO(sink.last);
        REQUIRE(n.size() == 9);
        CHECK(n[0] == n[8]);                // the stream's rows = its counter
        CHECK(n[0] == n[4]);                // = what the view has seen
        CHECK(n[4] == n[5] + n[6] + n[7]);  // = filtered + windowed + late
        CHECK(n[1] == n[2] + n[3]);         // the rows that pass its WHERE are in its rows or its late rows
        CHECK(n[0] >= seen);                // and no read is older than one before
        seen = n[0];
        filtered = n[5];
        late = n[7];
        read.advance(i);
    }
    load.join();
    CHECK(filtered > 0);
    CHECK(late > 0);
}

}  // namespace weir::cluster::test
