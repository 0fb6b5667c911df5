// A shard that starts with a log to read: what nobody may see before it is read, and what comes out of it. And what an
// answer waits for.
#include "apply/tables.h"
#include "life.h"

#include <catch2/catch_test_macros.hpp>

#include <fstream>
#include <string>
#include <vector>

namespace weir::cluster::test {
namespace {

constexpr std::int64_t t0 = 1'700'000'040'000;  // a whole minute

// A shard whose log was never checkpointed: definitions, events of both partitions, duplicates, dead letters, late
// ones.
struct Before {
    weir::test::TempDir dir, left;
    record::StreamPtr stream;
    std::string tables;
    std::uint64_t stored = 0;
    std::vector<replica::IngestOutcome> outcomes;

    Before() {
        Life::Start start;
        start.options.checkpoint_every_us = no_checkpoint_us;
        Life life(dir.path(), std::move(start));
        life.statement(stream_s);
        life.statement(view_v);
        for (std::uint64_t i = 0; i < 30; i++) {
            const std::int64_t at = t0 + static_cast<std::int64_t>(i) * 30'000 - (i % 7 == 6 ? 900'000 : 0);
            outcomes.push_back(life.ask(event(i * 2, at) + event(i * 2 + 1, at) + event(i, at) +
                                        (i % 5 == 0 ? "{\"id\":null}\n" : "")));
            stored += outcomes.back().accepted;
        }
        life.clock.jump_ms(1500);  // the counts of the last duplicates
        if (!eventually([&] { return life.rows("SELECT duplicate = 30 FROM _counters") == "1"; })) std::abort();
        if (!life.see_everything()) std::abort();
        stream = life.stream();
        tables = life.tables();
        keep_the_log_alone(dir.path(), left.path() + "/d");
    }
    std::string left_dir() const { return left.path() + "/d"; }
};

Result<record::StreamPtr> ensure(Catalog& catalog, const char* name) {
    return catalog.ensure_stream(name, Undeclared::events);
}

}  // namespace

TEST_CASE("rule: nobody sees the past: until what the log held at its start is applied the shard serves nothing",
          "[rule]") {
    Before before;
    Life::Start start;
    start.held = true;
    Life life(before.left_dir(), std::move(start));
    Answers answers;
    // Somebody who knew the stream before sends on.
    REQUIRE(life.send(before.stream, event(1'000'000, t0), answers));
    for (const int entries : {1, 1, 10, 10, 5}) {
        life.disk.apply.let(entries);
        life.disk.apply.wait_for_somebody();
        CHECK_FALSE(life.shard->ready());
        CHECK(life.shard->visible() == LogIndex(0));
        CHECK_FALSE(life.shard->wait_visible(LogIndex(1), std::chrono::milliseconds(0)));
        CHECK(life.catalog->snapshot()->streams.empty());
        CHECK(life.refusal("CREATE STREAM t (id TEXT)") == Errc::recovering);
        CHECK(life.refusal("CREATE STREAM IF NOT EXISTS s (id TEXT)") == Errc::recovering);
        CHECK(life.refusal("DROP STREAM s") == Errc::recovering);
        CHECK(answers.answered == 0);
    }
    life.disk.apply.open();
    life.must_be_ready();
    // With the first thing that anybody sees, everything is there.
    CHECK(life.rows("SELECT stored >= " + std::to_string(before.stored) + " FROM _counters") == "1");
    REQUIRE(life.stream() != nullptr);
    CHECK(life.catalog->snapshot()->view("v") != nullptr);
    REQUIRE(answers.wait_for(1));
    CHECK(answers.accepted == 1);
    REQUIRE(life.see_everything());
    CHECK(life.rows("SELECT stored FROM _counters") == std::to_string(before.stored + 1));
}

TEST_CASE("rule: nobody sees the past: an unknown name is not unknown before the log is read", "[rule]") {
    Before before;
    Life::Start start;
    start.held = true;
    Life life(before.left_dir(), std::move(start));
    const auto strict = LocalCatalog::make(false);  // events make no streams here
    strict->attach(*life.shard);
    CHECK(ensure(*strict, "s").error().code == Errc::recovering);
    CHECK(ensure(*life.catalog, "s").error().code == Errc::recovering);
    life.disk.apply.open();
    life.must_be_ready();
    CHECK(ensure(*strict, "nothing").error().code == Errc::not_found);
    REQUIRE(ensure(*life.catalog, "s").has_value());
    CHECK(ensure(*life.catalog, "s").value()->id == before.stream->id);
}

TEST_CASE(
    "rule: a new leader answers when the index is whole: a duplicate of any event of the log is one from the start",
    "[rule]") {
    Before before;
    Life::Start start;
    start.held = true;
    Life life(before.left_dir(), std::move(start));
    std::vector<replica::IngestOutcome> outcomes(30);
    const auto answered = std::make_shared<os::Progress>();
    std::atomic<std::uint64_t> count{0};
    for (std::uint64_t i = 0; i < outcomes.size(); i++) {
        auto request = life.request(before.stream, event(i * 2, t0) + event(i * 2 + 1, t0) + event(500 + i, t0),
                                    [&, i, answered](replica::IngestOutcome&& outcome) {
                                        outcomes[i] = std::move(outcome);
                                        answered->advance(count.fetch_add(1) + 1);
                                    });
        REQUIRE(life.shard->submit(std::move(request)));
    }
    life.disk.apply.let(15);  // half of the index is there
    life.disk.apply.wait_for_somebody();
    CHECK(count == 0);
    life.disk.apply.open();
    REQUIRE(answered->wait_for(outcomes.size(), std::chrono::seconds(60)));
    std::vector<std::int64_t> next(2, 0);
    for (const auto& outcome : before.outcomes) {
        for (const auto& range : outcome.partitions)
            next[static_cast<std::size_t>(range.partition)] = range.base_offset + range.count;
    }
    for (std::size_t i = 0; i < outcomes.size(); i++) {
        REQUIRE(outcomes[i].status.has_value());
        CHECK(outcomes[i].accepted == 1);
        CHECK(outcomes[i].duplicates == 2);
        // Where the first one stands is where it was acknowledged.
        for (const auto& duplicate : outcomes[i].duplicate_of) {
            bool found = false;
            for (const auto& range : before.outcomes[i].partitions) {
                found = found || (range.partition == duplicate.partition && duplicate.offset >= range.base_offset &&
                                  duplicate.offset < range.base_offset + range.count);
            }
            CHECK(found);
        }
        // And what is new goes on densely.
        for (const auto& range : outcomes[i].partitions)
            CHECK(range.base_offset == next[static_cast<std::size_t>(range.partition)]++);
    }
}

TEST_CASE("rule: what apply needs stands in the log: from the log alone every table comes out the same", "[rule]") {
    Before before;
    for (const char* gone : {"/state", "/view.db", "/streams"})
        REQUIRE_FALSE(std::filesystem::exists(before.left_dir() + "/shards/0" + gone));
    Life::Start start;
    start.options.checkpoint_every_us = no_checkpoint_us;
    Life life(before.left_dir(), std::move(start));
    REQUIRE(life.see_everything());
    // Definitions with their ids, versions and times, log ends, counters of duplicates and dead letters, watermarks,
    // rows and late rows, the applied index itself.
    CHECK(before.tables.find("|30|6|0") != std::string::npos);
    CHECK(life.tables() == before.tables);
    CHECK(life.number("weir_apply_entries_from_wal_total") > 30);
}

TEST_CASE("rule: an acknowledged event is fsynced: no answer leaves before the flush; one flush covers all that came",
          "[rule]") {
    weir::test::TempDir dir;
    Life::Start start;
    start.options.checkpoint_every_us = no_checkpoint_us;
    Life life(dir.path(), std::move(start));
    life.statement("CREATE STREAM s (id TEXT, DEDUP KEY (id) WITHIN 1h) PARTITIONS 16");
    life.statement("CREATE STREAM other (id TEXT) PARTITIONS 4");
    REQUIRE(life.see_everything());
    const double flushes = life.number("weir_wal_flushes_total"), entries = life.number("weir_entries_total");
    const auto committed = life.shard->committed();
    Answers answers;
    life.disk.flush.close();
    REQUIRE(life.send(life.stream(), event(0, t0), answers));
    life.disk.flush.wait_for_somebody();
    for (std::uint64_t i = 1; i <= 50; i++)
        REQUIRE(life.send(life.stream(i % 3 == 0 ? "other" : "s"), event(i, t0), answers));
    REQUIRE(life.send(life.stream(), event(0, t0), answers));  // a duplicate of what is not durable yet
    REQUIRE(eventually([&] { return life.metric("weir_admission_queue_bytes") == "0"; }));
    CHECK(answers.answered == 0);
    CHECK(life.shard->committed() == committed);
    life.disk.flush.open();
    REQUIRE(answers.wait_for(52));
    CHECK(answers.accepted == 51);
    CHECK(answers.duplicates == 1);
    CHECK(life.number("weir_entries_total") == entries + 2);
    CHECK(life.number("weir_wal_flushes_total") == flushes + 2);
}

TEST_CASE("rule: CREATE over two groups: files and tables carry the id, and a name used again is another object",
          "[rule]") {
    weir::test::TempDir dir;
    Life life(dir.path());
    life.statement("CREATE STREAM telltale (id TEXT, ts TIMESTAMP, EVENT TIME ts, DEDUP KEY (id) WITHIN 1h)");
    life.statement(
        "CREATE MATERIALIZED VIEW telltale_view AS SELECT window_start, count(*) AS n FROM TUMBLE(telltale, 1m) GROUP "
        "BY "
        "window_start");
    CHECK(life.ask(event(1, t0) + "{}\n", "telltale").accepted == 1);
    REQUIRE(life.see_everything());
    const ObjectId first = life.stream("telltale")->id;
    CHECK(std::filesystem::exists(apply::stream_dir(life.shard->data_dir(), first)));
    for (const auto& entry : std::filesystem::recursive_directory_iterator(dir.path()))
        CHECK(entry.path().string().substr(dir.path().size()).find("telltale") == std::string::npos);
    for (const auto& name : life.row_list("SELECT name FROM main.sqlite_master"))
        CHECK(name.find("telltale") == std::string::npos);

    life.statement("DROP MATERIALIZED VIEW telltale_view");
    life.statement("DROP STREAM telltale");
    life.statement("CREATE STREAM telltale (id TEXT, ts TIMESTAMP, EVENT TIME ts, DEDUP KEY (id) WITHIN 1h)");
    const ObjectId second = life.stream("telltale")->id;
    CHECK(second.index > first.index);
    const auto outcome = life.ask(event(1, t0), "telltale");
    CHECK(outcome.accepted == 1);  // nothing of the first one's index
    REQUIRE(outcome.partitions.size() == 1);
    CHECK(outcome.partitions[0].base_offset == 0);  // nor of its log
    REQUIRE(life.see_everything());
    CHECK(life.rows("SELECT stored, dead_lettered FROM _counters WHERE stream = " + std::to_string(second.packed())) ==
          "1|0");
}

TEST_CASE("rule: CREATE over two groups: a crash between the two entries is resumed by the next start", "[rule]") {
    weir::test::TempDir dir;
    const auto propose = [](Life& life, const log::Section& section, bool gives_id) {
        const auto applied = std::make_shared<os::Progress>();
        LogIndex at;
        replica::Control control;
        control.section = log::encode_section(section);
        control.gives_id = gives_id;
        control.applied = [&at, applied](LogIndex index, const Status& status) {
            if (!status) std::abort();
            at = index;
            applied->advance(1);
        };
        if (!life.shard->propose(std::move(control)) || !applied->wait_for(1, std::chrono::seconds(60))) std::abort();
        return ObjectId{ShardId(0), at};
    };
    ObjectId stream, view, dropped;
    {
        Life life(dir.path());
        life.statement("CREATE STREAM old (id TEXT)");
        life.statement("CREATE STREAM base (id TEXT, ts TIMESTAMP, EVENT TIME ts)");
        dropped = life.stream("old")->id;
        stream = propose(life, log::CatalogPut{log::ObjectKind::stream, "s", stream_s}, true);
        view = propose(life,
                       log::CatalogPut{log::ObjectKind::view, "v",
                                       "CREATE MATERIALIZED VIEW v AS SELECT window_start, count(*) AS n FROM "
                                       "TUMBLE(base, 1m) GROUP BY window_start"},
                       true);
        (void)propose(life, log::DropStream{dropped}, false);
        CHECK(life.stream("s") == nullptr);
        CHECK(life.stream("old") == nullptr);
        // Half of it keeps the names taken.
        CHECK(life.refusal("CREATE STREAM s (id TEXT)") == Errc::already_exists);
        CHECK(life.refusal("CREATE STREAM old (id TEXT)") == Errc::already_exists);
    }
    for (int start = 0; start < 2; start++) {
        Life life(dir.path());
        REQUIRE(
            eventually([&] { return life.stream("s") != nullptr && life.catalog->snapshot()->view("v") != nullptr; }));
        CHECK(life.stream("s")->id == stream);
        CHECK(life.catalog->snapshot()->view("v")->id == view);
        CHECK(life.ask(event(static_cast<std::uint64_t>(start), t0)).accepted == 1);
        if (start == 0) {
            life.statement("CREATE STREAM old (id TEXT)");  // the other half of DROP came before it
            CHECK(life.stream("old")->id.index > dropped.index);
        }
    }
}

}  // namespace weir::cluster::test
