// Rows and where they come from: SQLite is written and never read, and nothing but the log decides a row.
#include "base/prng.h"
#include "unit/apply/bench.h"
#include "unit/apply/statement_trace.h"

#include <algorithm>
#include <set>

namespace weir::apply {
namespace {

constexpr const char* many_groups_sql =
    "CREATE MATERIALIZED VIEW g AS SELECT window_start, id, count(*) AS c FROM TUMBLE(s, 1m) GROUP BY window_start, id "
    "LATENESS 7d EMIT CHANGES";

std::set<std::string> first_words(const std::vector<std::string>& statements) {
    std::set<std::string> words;
    for (const auto& statement : statements)
        words.insert(statement.substr(0, statement.find(' ')));
    return words;
}

// A working day in small: streams and views come and go, events, late ones, dead letters, retention, checkpoints.
ObjectId busy_day(Bench& b) {
    const auto id = b.make(log::ObjectKind::stream, "s", stream_sql);
    const auto view = b.make(log::ObjectKind::view, "v", view_sql, id);
    for (int i = 0; i < 12; i++) {
        auto first = b.batch(id, 0, i * 20, 20, t0 + i * 30'000 - (i % 5) * 100'000);
        auto second = b.batch(id, 1, i * 5, 5, t0 + i * 15'000);
        auto dead = b.batch_of(id, dead_letter_partition, i, {{t0, "{bad"}});
        REQUIRE(b.add({first, second, dead, log::CountsSection{id, 2, 1}}).has_value());
        if (i % 3 == 0) b.settle();
        if (i == 5) b.checkpoint();
    }
    REQUIRE(b.add({log::Retain{id, b.next_append_ms() - 9'000, -1, INT64_MIN}}, true).has_value());
    b.settle();
    b.make(log::ObjectKind::view, "w", view_sql, id);
    b.make_live();
    REQUIRE(b.add({log::DropView{view}}, true).has_value());
    b.checkpoint();
    return id;
}

}  // namespace

TEST_CASE("rule: apply never reads SQLite: a live applier takes no row from it and runs no statement that reads",
          "[rule]") {
    StatementTrace trace("/view.db");
    Bench b;
    b.settle();
    CHECK(trace.rows > 0);  // the start reads the applied index: the trace sees reads
    trace.clear();
    busy_day(b);
    CHECK(trace.statements.size() > 100);
    CHECK(trace.rows == 0);
    CHECK(first_words(trace.statements) ==
          std::set<std::string>{"BEGIN", "COMMIT", "CREATE", "DELETE", "DROP", "INSERT", "UPDATE"});
    for (const auto& statement : trace.statements) {
        INFO(statement);
        CHECK(statement.find("SELECT") == std::string::npos);
    }
    // Nor does a replay, once it is open.
    b.open(LogIndex(b.entries.size()));
    trace.clear();
    for (std::uint64_t index = 1; index <= b.entries.size(); index++)
        REQUIRE(b.apply_bytes(index, b.entries[index - 1], false).has_value());
    b.settle();
    CHECK(trace.rows == 0);
}

TEST_CASE("rule: apply never reads SQLite: what becomes of its tables changes no later row", "[rule]") {
    auto feed = [](Bench& b, ObjectId id, int from, int to) {
        for (int i = from; i < to; i++) {
            REQUIRE(b.add({b.batch(id, i % 2, i / 2 * 20, 20, t0 + i % 4 * 20'000), log::CountsSection{id, 1, 0}}));
            b.settle();
        }
    };
    auto tables = [](const Bench& b, ObjectId view) {
        const std::string rows = view_table(view);
        std::string all;
        for (const char* table : {rows.c_str(), "_views", "_watermarks", "_ends", "_counters", "_journals"})
            all += b.rows("SELECT * FROM \"" + std::string(table) + "\" ORDER BY 1, 2") + "\n";
        return all;
    };
    constexpr const char* lasting_sql =
        "CREATE MATERIALIZED VIEW v AS SELECT window_start, count(*) AS c, sum(n) AS total FROM TUMBLE(s, 1m) GROUP BY "
        "window_start LATENESS 7d EMIT CHANGES";
    std::string want, got;
    for (const bool tampered : {false, true}) {
        Bench b;
        b.settle();
        const auto id = b.make(log::ObjectKind::stream, "s", stream_sql);
        const auto view = b.make(log::ObjectKind::view, "v", lasting_sql, id);
        feed(b, id, 0, 8);
        if (tampered) {
            auto db = b.tables();
            REQUIRE(db->exec(
                "DELETE FROM \"" + view_table(view) +
                "\"; DELETE FROM _views; UPDATE _watermarks SET watermark = 1; DELETE FROM _ends WHERE partition >= 0; "
                "UPDATE _counters SET stored = 77, duplicate = 77; DELETE FROM _journals"));
        }
        feed(b, id, 8, 16);  // touches every partition and every window again
        (tampered ? got : want) = tables(b, view);
    }
    CHECK(want.find("|240|240 ") != std::string::npos);
    CHECK(got == want);
}

TEST_CASE("rule: apply never reads SQLite: dirty bytes of operator state trigger the checkpoint", "[rule]") {
    std::uint64_t dirty_bytes_max = 20'000;
    auto tune = [&](ApplyOptions& options) {
        options.checkpoint_every_us = INT64_MAX / 4;
        options.checkpoint_dirty_bytes = dirty_bytes_max;
    };
    for (const std::uint64_t bound : {std::uint64_t{20'000}, UINT64_MAX}) {
        dirty_bytes_max = bound;
        Bench b(tune);
        b.settle();
        const auto id = b.make(log::ObjectKind::stream, "s", stream_sql);
        b.make(log::ObjectKind::view, "g", many_groups_sql, id);
        REQUIRE(b.add({b.batch(id, 0, 0, 10, t0)}));  // ten groups
        b.settle();
        CHECK(b.jobs.empty());
        REQUIRE(b.add({b.batch(id, 0, 10, 1000, t0)}));
        b.settle();
        REQUIRE(b.jobs.size() == (bound == UINT64_MAX ? 0 : 1));
        if (b.jobs.empty()) continue;
        b.run_job();
        // All of it is written: a few more groups do not ask again.
        REQUIRE(b.add({b.batch(id, 1, 0, 10, t0)}));
        b.settle();
        CHECK(b.jobs.empty());
    }
}

TEST_CASE("rule: apply never reads SQLite: above the bound of open groups a view stops and says so, the stream goes on",
          "[rule]") {
    CHECK(ApplyOptions{}.groups_max == 10'000'000);
    Bench b([](ApplyOptions& options) { options.groups_max = 10; });
    b.settle();
    const auto id = b.make(log::ObjectKind::stream, "s", stream_sql);
    const auto many = b.make(log::ObjectKind::view, "g", many_groups_sql, id);
    b.make(log::ObjectKind::view, "v", view_sql, id);
    const std::string states = "SELECT name, state FROM _objects WHERE kind = 'view' ORDER BY name";
    REQUIRE(b.add({b.batch(id, 0, 0, 8, t0)}));
    b.settle();
    CHECK(b.rows(states) == "g|live v|live");
    REQUIRE(b.add({b.batch(id, 1, 0, 8, t0)}));
    b.settle();
    const std::string stopped = b.rows(states);
    CHECK(stopped.starts_with("g|stopped: "));
    CHECK(stopped.find("10 open groups") != std::string::npos);
    CHECK(stopped.find("DROP") != std::string::npos);  // what to do
    CHECK(stopped.ends_with(" v|live"));
    // The batch that was too much counts for nothing; its rows are whole.
    auto group_rows = [&] { return b.rows("SELECT count(*), sum(c1) FROM \"" + view_table(many) + "\""); };
    CHECK(b.rows("SELECT seen, windowed, open_groups FROM _views WHERE view = " + std::to_string(many.packed())) ==
          "8|8|8");
    CHECK(group_rows().starts_with("8|"));
    REQUIRE(b.definitions->views.size() == 2);
    for (const auto& view : b.definitions->views)
        CHECK(view.state.starts_with(view.id == many ? "stopped" : "live"));
    // The stream and its other views go on, before and after restarts, with and without a checkpoint behind them.
    for (int life = 0; life < 3; life++) {
        REQUIRE(b.add({b.batch(id, 0, 8 + life * 20, 20, t0 + 60'000)}));
        b.settle();
        CHECK(b.rows("SELECT stored FROM _counters") == std::to_string(16 + 20 * (life + 1)));
        CHECK(b.rows("SELECT seen FROM _views WHERE view <> " + std::to_string(many.packed())) ==
              std::to_string(16 + 20 * (life + 1)));
        CHECK(b.rows(states) == stopped);
        CHECK(group_rows().starts_with("8|"));
        if (life == 1) b.checkpoint();
        b.reopen_and_replay();
        CHECK(b.rows(states) == stopped);
    }
}

namespace {

constexpr const char* real_stream_sql =
    "CREATE STREAM s (id TEXT, x REAL, kind TEXT, ts TIMESTAMP, EVENT TIME ts DELAY 10s) PARTITIONS 3";
constexpr const char* real_view_sql =
    "CREATE MATERIALIZED VIEW v AS SELECT window_start, kind, count(*) AS c, sum(x) AS total, avg(x * 0.1) AS mean, "
    "min(x) AS least, max(upper(kind)) AS top FROM TUMBLE(s, 1m) WHERE x < 1e300 GROUP BY window_start, kind "
    "LATENESS 30s EMIT CHANGES";

struct Event {
    std::int64_t at = 0;
    std::string value;
};
// By partition, in offset order: values whose sum depends on the order of addition.
std::vector<std::vector<Event>> real_events() {
    Prng prng(42);
    std::vector<std::vector<Event>> events(3);
    for (int i = 0; i < 300; i++) {
        auto& partition = events[static_cast<std::size_t>(prng.below(3))];
        const char* xs[] = {"0.1", "1e16", "-1e16", "3.3333333333333335", "1e-7", "12345.678", "null"};
        const std::int64_t at = t0 + i * 1000 - static_cast<std::int64_t>(prng.below(90'000));
        partition.push_back({at, std::string("{\"id\":\"") + std::to_string(i) + "\",\"x\":" + xs[prng.below(7)] +
                                     ",\"kind\":\"" + (prng.chance(0.5) ? "a" : "b") +
                                     "\",\"ts\":" + std::to_string(at) + "}"});
    }
    return events;
}

// The view's rows when the events come in batches of up to `batch_max`, the partitions in turns of a seed's choice,
// rows committed and checkpoints made now and then.
std::string rows_of_cutting(std::uint64_t seed, std::size_t batch_max, bool crashes) {
    Prng prng(seed);
    Bench b;
    b.settle();
    const auto id = b.make(log::ObjectKind::stream, "s", real_stream_sql);
    const auto view = b.make(log::ObjectKind::view, "v", real_view_sql, id);
    const auto events = real_events();
    std::vector<std::size_t> done(3, 0);
    while (done[0] < events[0].size() || done[1] < events[1].size() || done[2] < events[2].size()) {
        std::vector<log::Section> sections;
        for (std::size_t turns = prng.below(4) + 1; turns > 0; turns--) {
            const auto p = static_cast<std::size_t>(prng.below(3));
            const std::size_t count = std::min<std::size_t>(prng.below(batch_max) + 1, events[p].size() - done[p]);
            if (count == 0) continue;
            std::vector<std::pair<std::int64_t, std::string>> records;
            for (std::size_t i = done[p]; i < done[p] + count; i++)
                records.emplace_back(events[p][i].at, events[p][i].value);
            sections.emplace_back(
                b.batch_of(id, static_cast<PartitionNo>(p), static_cast<std::int64_t>(done[p]), records));
            done[p] += count;
        }
        if (sections.empty()) continue;
        REQUIRE(b.add(sections));
        if (prng.chance(0.4)) b.settle();
        if (crashes && prng.chance(0.1)) b.checkpoint();
        if (crashes && prng.chance(0.1)) b.reopen_and_replay();
    }
    b.settle();
    return b.rows("SELECT * FROM \"" + view_table(view) + "\" ORDER BY 1") + "\n" +
           b.rows("SELECT * FROM \"" + late_table(view) + "\" ORDER BY 1, 2, 3") + "\n" +
           b.rows("SELECT * FROM _views") + "\n" + b.rows("SELECT * FROM _watermarks ORDER BY 1, 2") + "\n" +
           b.rows("SELECT * FROM _windows ORDER BY 1, 2");
}

}  // namespace

TEST_CASE("rule: a derived row is the log's alone: however events are cut into batches, entries, commits and lives",
          "[rule]") {
    const auto whole = rows_of_cutting(1, 1000, false);
    CHECK(whole.find("/") != std::string::npos);       // REAL sums, compared bit for bit
    CHECK(whole.find("\"x\":") != std::string::npos);  // late rows
    for (std::uint64_t seed = 2; seed <= 4; seed++) {
        for (const std::size_t batch_max : {std::size_t{1}, std::size_t{7}, std::size_t{60}})
            REQUIRE(rows_of_cutting(seed, batch_max, seed % 2 == 0) == whole);
    }
}

TEST_CASE("rule: a derived row is the log's alone: its columns are the key and the SELECT list, no counter of changes",
          "[rule]") {
    Bench b;
    b.settle();
    const auto id = b.make(log::ObjectKind::stream, "s", stream_sql);
    const auto view = b.make(log::ObjectKind::view, "v", view_sql, id);
    CHECK(b.rows("SELECT group_concat(name) FROM pragma_table_info('" + view_table(view) + "')") == "_k,c0,c1,c2");
    CHECK(b.rows("SELECT group_concat(name) FROM pragma_table_info('" + late_table(view) + "')") ==
          "partition,offset,window_start,event_time,raw");
}

}  // namespace weir::apply
