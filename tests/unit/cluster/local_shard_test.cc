// A whole shard with its threads, on real files: what TSan has to see.
#include "cluster/local_shard.h"

#include "cluster/local_catalog.h"
#include "os/clock.h"
#include "os/progress.h"
#include "os/real_disk.h"
#include "record/json.h"
#include "sql/statement.h"
#include "support/temp_dir.h"

#include <catch2/catch_test_macros.hpp>

#include <atomic>
#include <memory>
#include <string>
#include <thread>
#include <variant>
#include <vector>

namespace weir::cluster {
namespace {

struct Life {
    std::unique_ptr<os::Disk> disk = os::make_real_disk();
    os::RealClock clock;
    obs::Metrics metrics;
    std::unique_ptr<LocalCatalog> catalog = LocalCatalog::make(true);
    std::unique_ptr<LocalShard> shard;

    explicit Life(const std::string& dir) {
        LocalShardOptions options;
        options.data_dir = dir;
        options.wal.file_bytes = 4 << 20;
        options.disk_reserve_bytes = 1;
        options.state_map_bytes = 1 << 28;
        auto opened =
            LocalShard::open(options, *disk, clock, metrics, [this](auto d) { catalog->on_definitions(std::move(d)); });
        REQUIRE(opened.has_value());
        shard = std::move(opened).value();
        catalog->attach(*shard);
        shard->start();
        os::Progress never;
        for (int i = 0; i < 5000 && !shard->ready(); i++)
            (void)never.wait_for(1, std::chrono::milliseconds(2));
        REQUIRE(shard->ready());
    }
    ~Life() { shard->stop(); }

    void statement(const std::string& text) {
        auto parsed = sql::parse(text);
        REQUIRE(parsed.has_value());
        if (auto* stream = std::get_if<sql::CreateStream>(&parsed.value()))
            REQUIRE(catalog->create(*stream).has_value());
        if (auto* view = std::get_if<sql::CreateView>(&parsed.value())) REQUIRE(catalog->create(*view).has_value());
        if (auto* drop = std::get_if<sql::DropObject>(&parsed.value())) REQUIRE(catalog->drop(*drop).has_value());
    }
};

// Sends `count` events with ids from `first` in batches, from this thread; every answer is counted.
struct Sender {
    std::atomic<std::uint64_t> accepted{0}, duplicates{0}, failed{0}, answered{0};
    os::Progress progress;

    void send(Life& life, std::uint64_t first, std::uint64_t count, std::uint64_t batch) {
        record::JsonDecoder decoder;
        const auto stream = life.catalog->snapshot()->stream("s");
        for (std::uint64_t i = 0; i < count; i += batch) {
            replica::IngestRequest request;
            request.stream = stream;
            for (std::uint64_t k = i; k < std::min(count, i + batch); k++) {
                request.body += "{\"id\":\"" + std::to_string(first + k) +
                                "\",\"ts\":" + std::to_string(1'700'000'000'000 + k) + "}\n";
            }
            request.body.reserve(request.body.size() + record::JsonDecoder::padding_bytes);
            request.events = std::make_unique<record::DecodedEvents>();
            decoder.decode(stream->schema, record::BodyShape::ndjson, request.body, life.shard->append_clock_ms(),
                           life.shard->fingerprint_key(), nullptr, *request.events);
            request.done = [this](replica::IngestOutcome&& outcome) {
                accepted += outcome.accepted;
                duplicates += outcome.duplicates;
                failed += outcome.status ? 0 : 1;
                progress.advance(answered.fetch_add(1) + 1);
            };
            while (!life.shard->submit(std::move(request)))
                std::this_thread::yield();
        }
    }
};

}  // namespace

TEST_CASE("shard: several senders, a view made meanwhile, a clean stop and a second life") {
    test::TempDir dir;
    {
        Life life(dir.path());
        life.statement("CREATE STREAM s (id TEXT, ts TIMESTAMP, EVENT TIME ts, DEDUP KEY (id) WITHIN 1h) PARTITIONS 2");
        Sender sender;
        {
            std::vector<std::jthread> threads;
            for (std::uint64_t t = 0; t < 3; t++) {
                // Each id is sent by two of the three.
                threads.emplace_back([&, t] { sender.send(life, (t % 2) * 1000, 2000, 50); });
            }
            life.statement(
                "CREATE MATERIALIZED VIEW v AS SELECT window_start, count(*) AS n FROM TUMBLE(s, 1s) GROUP BY "
                "window_start LATENESS 7d");
        }
        REQUIRE(sender.progress.wait_for(120, std::chrono::seconds(30)));
        CHECK(sender.failed == 0);
        CHECK(sender.accepted == 3000);
        CHECK(sender.duplicates == 3000);
        CHECK(life.shard->wait_visible(life.shard->committed(), std::chrono::seconds(10)));
    }
    Life life(dir.path());
    REQUIRE(life.catalog->snapshot()->stream("s") != nullptr);
    CHECK(life.catalog->snapshot()->view("v") != nullptr);
    Sender again;
    again.send(life, 0, 3000, 300);
    REQUIRE(again.progress.wait_for(10, std::chrono::seconds(30)));
    CHECK(again.accepted == 0);
    CHECK(again.duplicates == 3000);
    life.statement("DROP MATERIALIZED VIEW v");
    life.statement("DROP STREAM s");
    CHECK(life.catalog->snapshot()->streams.empty());
}

}  // namespace weir::cluster
