// What entries make of definitions: dropped with what depends on them, replaced.
#include "apply/applier.h"
#include "dedup/index.h"
#include "unit/apply/bench.h"

#include <catch2/catch_test_macros.hpp>
#include <sqlite3.h>

#include <string>
#include <utility>

namespace weir::apply {
namespace {

constexpr const char* view_5m_sql =
    "CREATE OR REPLACE MATERIALIZED VIEW v AS SELECT window_start, count(*) AS c FROM TUMBLE(s, 5m) GROUP BY "
    "window_start";

// An entry that replaces view v by view_5m_sql, both halves. Returns the new one's id.
ObjectId replace_v(Bench& b, ObjectId stream, const char* sql = view_5m_sql) {
    REQUIRE(b.add({log::CatalogPut{log::ObjectKind::view, "v", sql}}, true).has_value());
    const ObjectId id{ShardId(0), LogIndex(b.entries.size())};
    REQUIRE(b.add({log::DefineView{id, stream, "v", sql}}, true).has_value());
    b.settle();
    return id;
}

}  // namespace

TEST_CASE("rule: CREATE over two groups: CASCADE drops a stream and what reads it in one entry", "[rule]") {
    Bench b;
    b.settle();
    const auto id = b.make(log::ObjectKind::stream, "s", stream_sql);
    const auto v = b.make(log::ObjectKind::view, "v", view_sql, id);
    const auto w = b.make(log::ObjectKind::view, "w", view_sql, id);
    REQUIRE(b.add({b.batch(id, 0, 0, 5, t0)}).has_value());
    b.checkpoint();
    b.answers.clear();
    REQUIRE(b.add({log::DropStream{id}}, true).has_value());
    b.settle();
    REQUIRE(b.answers.size() == 1);
    CHECK(b.answers[0].error().detail.find("views v, w depend on s") != std::string::npos);
    REQUIRE(b.add({log::DropStream{id, true}}, true).has_value());
    b.settle();
    CHECK(b.answers.at(1).has_value());
    CHECK(b.definitions->streams.empty());
    CHECK(b.definitions->views.empty());
    // A crash here: the names are still to go, all three.
    auto dropping = [&b] {
        std::size_t count = 0;
        for (const auto& loose : b.definitions->loose)
            count += loose.dropping ? 1 : 0;
        return count;
    };
    CHECK(dropping() == 3);
    const auto before = b.digest();
    b.reopen_and_replay();
    CHECK(b.digest() == before);
    CHECK(dropping() == 3);
    for (const ObjectId gone : {w, v, id})
        REQUIRE(b.add({log::CatalogDrop{gone}}).has_value());
    b.settle();
    CHECK(b.definitions->loose.empty());
    CHECK(b.rows("SELECT count(*) FROM _objects") == "0");
    b.checkpoint();
    b.clock.advance_ms(5000);
    b.settle();
    CHECK(b.names_in(b.shard() + "/streams").empty());
}

TEST_CASE("a DROP that is refused takes nothing of its entry's journal with it") {
    Bench b;
    b.settle();
    const auto id = b.make(log::ObjectKind::stream, "s", stream_sql);
    const auto v = b.make(log::ObjectKind::view, "v", view_sql, id);
    REQUIRE(b.add({b.batch(id, 0, 0, 5, t0)}).has_value());
    // A view that is built over this journal closes its windows at the FLUSH, as the one did that was there.
    REQUIRE(b.add({log::Flush{v}, log::DropStream{id}}).has_value());
    b.settle();
    b.checkpoint();
    auto journal =
        log::JournalReader::open(*b.disk, stream_dir(b.shard(), id) + "/journal",
                                 log::JournalState::decode(b.rows("SELECT state FROM _journals")).value(), LogIndex(0));
    REQUIRE(journal.has_value());
    bool flushed = false;
    for (auto next = journal.value()->next(); next.has_value() && next.value().has_value();
         next = journal.value()->next())
        flushed = flushed || next.value()->kind == log::JournalKind::flush;
    CHECK(flushed);
}

TEST_CASE("CREATE OR REPLACE of a view makes its rows anew from the log, and the old ones go in the same entry") {
    Bench b;
    b.settle();
    const auto id = b.make(log::ObjectKind::stream, "s", stream_sql);
    const auto old = b.make(log::ObjectKind::view, "v", view_sql, id);
    REQUIRE(b.add({b.batch(id, 0, 0, 120, t0)}).has_value());
    b.settle();
    CHECK(b.rows("SELECT c1 FROM \"" + view_table(old) + "\"") == "60 60");
    const auto fresh = replace_v(b, id);
    REQUIRE(b.definitions->views.size() == 1);
    CHECK(b.definitions->views[0].id == fresh);
    CHECK(b.definitions->views[0].state == "building");
    CHECK(b.definitions->views[0].statement.find("OR REPLACE") == std::string::npos);
    b.make_live();
    CHECK(b.rows("SELECT sum(c1) FROM \"" + view_table(fresh) + "\"") == "120");
    CHECK(b.rows("SELECT count(*) FROM sqlite_master WHERE name = '" + view_table(old) + "'") == "0");
    // The old one's catalog entry is the other half; the name is the new one's before and after.
    REQUIRE(b.definitions->loose.size() == 1);
    CHECK(b.definitions->loose[0].id == old);
    CHECK(b.definitions->loose[0].dropping);
    b.checkpoint();
    const auto before = b.digest();
    b.reopen_and_replay();
    CHECK(b.digest() == before);
    REQUIRE(b.add({log::CatalogDrop{old}}).has_value());
    b.answers.clear();
    REQUIRE(b.add({log::CatalogPut{log::ObjectKind::view, "V", view_sql}}, true).has_value());
    b.settle();
    CHECK(b.answers.at(0).error().code == Errc::already_exists);
    CHECK(b.definitions->loose.empty());
}

TEST_CASE("CREATE OR REPLACE of a view does nothing where rows would be lost, and gives the name back") {
    Bench b;
    b.settle();
    const auto id = b.make(log::ObjectKind::stream, "s", stream_sql);
    const auto old = b.make(log::ObjectKind::view, "v", view_sql, id);
    for (int i = 0; i < 4; i++)
        REQUIRE(b.add({b.batch(id, 0, i * 100, 100, t0 + i * 100'000)}).has_value());
    b.settle();
    auto refused = [&](const char* sql, Errc code, const char* why) {
        b.answers.clear();
        const auto fresh = replace_v(b, id, sql);
        REQUIRE(b.answers.size() == 2);
        CHECK(b.answers[0].has_value());
        REQUIRE_FALSE(b.answers[1].has_value());
        INFO(b.answers[1].error().detail);
        CHECK(b.answers[1].error().code == code);
        CHECK(b.answers[1].error().detail.find(why) != std::string::npos);
        REQUIRE(b.definitions->views.size() == 1);
        CHECK(b.definitions->views[0].id == old);
        REQUIRE(b.add({log::CatalogDrop{fresh}}).has_value());
        b.settle();
        CHECK(b.definitions->loose.empty());
        b.answers.clear();
        REQUIRE(b.add({log::CatalogPut{log::ObjectKind::stream, "v", stream_sql}}, true).has_value());
        b.settle();
        CHECK(b.answers.at(0).error().code == Errc::already_exists);
    };
    const std::string from_now = std::string(view_5m_sql) + " FROM NOW";
    refused(from_now.c_str(), Errc::conflict, "FROM NOW");
    refused(
        "CREATE OR REPLACE MATERIALIZED VIEW v AS SELECT window_start, sum(nowhere) FROM TUMBLE(s, 5m) GROUP BY "
        "window_start",
        Errc::invalid_argument, "nowhere");
    // RETAIN takes the first segments, and with them what the first rows were made of.
    REQUIRE(b.add({log::Retain{id, INT64_MIN, 1, INT64_MIN}}).has_value());
    b.settle();
    refused(view_5m_sql, Errc::conflict, "RETAIN has removed");
}

TEST_CASE("a page of a view by its key reads the rows that it shows, not the view") {
    Bench b;
    b.settle();
    const auto id = b.make(log::ObjectKind::stream, "s", stream_sql);
    const auto v = b.make(log::ObjectKind::view, "v",
                          "CREATE MATERIALIZED VIEW v AS SELECT count(*) AS c, n, window_start FROM TUMBLE(s, 1m) "
                          "GROUP BY window_start, n",
                          id);
    b.settle();
    sqlite3* db = nullptr;
    REQUIRE(sqlite3_open_v2((b.shard() + "/view.db").c_str(), &db, SQLITE_OPEN_READONLY, nullptr) == SQLITE_OK);
    const std::string table = "\"" + view_table(v) + "\"";
    for (const auto& [query, how] :
         {std::pair{"c2 = 0 AND c1 > 7 ORDER BY c1 LIMIT 100", "(c2=? AND c1>?)"},
          std::pair{"c2 = 0 ORDER BY c1 LIMIT 100", "(c2=?)"}, std::pair{"c2 >= 60000 LIMIT 100", "(c2>?)"}}) {
        INFO(query);
        sqlite3_stmt* plan = nullptr;
        const std::string sql = "EXPLAIN QUERY PLAN SELECT * FROM " + table + " WHERE " + query;
        REQUIRE(sqlite3_prepare_v2(db, sql.c_str(), -1, &plan, nullptr) == SQLITE_OK);
        REQUIRE(sqlite3_step(plan) == SQLITE_ROW);
        const std::string step = reinterpret_cast<const char*>(sqlite3_column_text(plan, 3));
        CHECK(step.find("SEARCH") == 0);
        CHECK(step.ends_with("_by_key " + std::string(how)));
        CHECK(sqlite3_step(plan) == SQLITE_DONE);  // no sorting step
        sqlite3_finalize(plan);
    }
    sqlite3_close(db);
}

namespace {

// The stream of stream_sql, altered: with column `m`, DEFAULT 7.
constexpr const char* with_m_sql =
    "CREATE STREAM s (id TEXT, n INTEGER, ts TIMESTAMP, m INTEGER DEFAULT 7, EVENT TIME ts, DEDUP KEY (id) WITHIN 1h) "
    "PARTITIONS 2";
std::string stream_with(const std::string& delay, const std::string& within, const std::string& retain) {
    return "CREATE STREAM s (id TEXT, n INTEGER, ts TIMESTAMP, EVENT TIME ts DELAY " + delay +
           ", DEDUP KEY (id) WITHIN " + within + ") PARTITIONS 2 RETAIN " + retain;
}

Status alter(Bench& b, ObjectId id, std::uint32_t version, const std::string& sql) {
    b.answers.clear();
    REQUIRE(b.add({log::DefineStream{id, version, "s", sql}}, true).has_value());
    b.settle();
    REQUIRE(b.answers.size() == 1);
    return b.answers[0];
}

}  // namespace

TEST_CASE("rule: what apply needs stands in the log: an ALTER is an entry; a definition has its place and its version",
          "[rule]") {
    Bench b;
    b.settle();
    const auto id = b.make(log::ObjectKind::stream, "s", stream_sql);
    REQUIRE(b.add({b.batch(id, 0, 0, 5, t0)}).has_value());
    REQUIRE(alter(b, id, 2, with_m_sql).has_value());
    REQUIRE(b.definitions->streams.size() == 1);
    CHECK(b.definitions->streams[0]->version == 2);
    CHECK(b.definitions->streams[0]->schema.columns.size() == 4);
    CHECK(b.definitions->streams[0]->created_at_ms == b.append_ms - 2 * b.step_ms);
    CHECK(b.rows("SELECT version, statement LIKE '%DEFAULT (7)%' OR statement LIKE '%DEFAULT 7%' FROM _objects") ==
          "2|1");
    // Proposed again, as after a crash, it is the same; another one of that version came too late.
    CHECK(alter(b, id, 2, with_m_sql).has_value());
    CHECK(alter(b, id, 1, stream_sql).has_value());
    CHECK(b.definitions->streams[0]->version == 2);
    CHECK(alter(b, id, 2, stream_with("1m", "1h", "7d")).error().code == Errc::conflict);
    CHECK(alter(b, id, 4, with_m_sql).error().code == Errc::conflict);
    CHECK(alter(b, id, 3, "CREATE STREAM s (id TEXT)").error().code == Errc::conflict);
    CHECK(b.definitions->streams[0]->version == 2);
    // The same over a checkpoint before it, and over none.
    const auto before = b.digest();
    b.reopen_and_replay();
    CHECK(b.digest() == before);
    CHECK(b.definitions->streams[0]->version == 2);
    b.checkpoint();
    b.reopen_and_replay();
    CHECK(b.digest() == before);
    CHECK(b.definitions->streams[0]->version == 2);
}

TEST_CASE(
    "rule: a derived row is the log's alone: events that an ALTER overtook are read by the definition of their place",
    "[rule]") {
    for (const bool carried : {true, false}) {
        Bench b;
        b.settle();
        const auto id = b.make(log::ObjectKind::stream, "s", stream_sql);
        REQUIRE(alter(b, id, 2, with_m_sql).has_value());
        const auto v = b.make(log::ObjectKind::view, "v",
                              "CREATE MATERIALIZED VIEW v AS SELECT window_start, count(*) AS c, sum(m) AS total FROM "
                              "TUMBLE(s, 1m) GROUP BY window_start",
                              id);
        // Validated before the ALTER: the columns that came along lack `m`, which one event has and the other has not.
        auto section = b.batch_of(id, 0, 0,
                                  {{t0, "{\"id\":\"a\",\"ts\":" + std::to_string(t0) + ",\"m\":100}"},
                                   {t0, "{\"id\":\"b\",\"ts\":" + std::to_string(t0) + "}"}});
        const std::string bytes = log::encode_entry_head(b.append_ms += 1000, 1) + log::encode_section(section);
        b.entries.push_back(bytes);
        auto buffer = std::make_shared<log::EntryBuffer>(*test::buffer_of(bytes));
        if (carried) {
            record::Schema before;
            before.columns.resize(3);
            before.columns[1].type = record::ColumnType::integer;
            before.columns[2].type = record::ColumnType::timestamp;
            auto events = std::make_shared<record::DecodedEvents>();
            events->reset(before);
            events->columns.rows = 2;
            for (auto& column : events->columns.columns) {
                column.present = {0, 0};
                column.number = {0, 0};
                column.slice.resize(2);
            }
            events->columns.event_time_ms = {t0, t0};
            buffer->parts.at(0).carried.push_back({events, {0, 1}});
        }
        log::Committed entry;
        entry.index = LogIndex(b.entries.size());
        entry.term = Term(1);
        entry.buffer = buffer;
        REQUIRE(b.applier->apply(std::move(entry)).has_value());
        b.settle();
        CHECK(b.rows("SELECT c1, c2 FROM \"" + view_table(v) + "\"") == "2|107");
    }
}

TEST_CASE("ALTER of DELAY moves windows from its entry on, the same in a replay from any checkpoint") {
    for (const int checkpoint_at : {0, 1, 2, 3}) {
        Bench b;
        b.settle();
        const auto id = b.make(log::ObjectKind::stream, "s", stream_sql);
        const auto v = b.make(log::ObjectKind::view, "v", view_sql, id);
        int step = 0;
        std::int64_t next[2] = {0, 0};
        const auto feed = [&](PartitionNo p, std::int64_t at_ms) {
            REQUIRE(b.add({b.batch(id, p, next[p], 5, at_ms)}).has_value());
            next[p] += 5;
            if (step++ == checkpoint_at) b.checkpoint();
        };
        feed(0, t0);
        feed(1, t0);
        REQUIRE(alter(b, id, 2, stream_with("5m", "1h", "7d")).has_value());
        feed(0, t0 + 120'000);
        feed(0, t0 + 60'000);  // in time by the DELAY that there is now
        CHECK(b.rows("SELECT late FROM _views") == "0");
        REQUIRE(alter(b, id, 3, stream_with("0s", "1h", "7d")).has_value());
        feed(0, t0 + 60'000);
        b.settle();
        CHECK(b.rows("SELECT late FROM _views") == "5");
        CHECK(b.rows("SELECT watermark FROM _watermarks WHERE partition = 0") == std::to_string(t0 + 124'000));
        const auto before = b.digest();
        b.reopen_and_replay();
        CHECK(b.digest() == before);
        CHECK(b.rows("SELECT count(*) FROM \"" + late_table(v) + "\"") == "5");
    }
}

TEST_CASE("ALTER of DELAY waits for a view that is being built, ADD COLUMN does not") {
    Bench b;
    b.settle();
    const auto id = b.make(log::ObjectKind::stream, "s", stream_sql);
    REQUIRE(b.add({b.batch(id, 0, 0, 5, t0)}).has_value());
    REQUIRE(b.add({log::CatalogPut{log::ObjectKind::view, "v", view_sql}}).has_value());
    REQUIRE(b.add({log::DefineView{{ShardId(0), LogIndex(b.entries.size())}, id, "v", view_sql}}).has_value());
    CHECK(alter(b, id, 2, stream_with("5m", "1h", "7d")).error().code == Errc::building);
    CHECK(alter(b, id, 2, with_m_sql).has_value());
    b.make_live();
    CHECK(b.rows("SELECT state FROM _objects WHERE kind = 'view'") == "live");
}

TEST_CASE("rule: time buckets of sorted runs: WITHIN becomes wider in its entry: runs, fresh ids and expiry go along",
          "[rule]") {
    Bench b;
    b.step_ms = 60'000;
    b.settle();
    const auto id = b.make(log::ObjectKind::stream, "s", stream_sql);
    for (int i = 0; i < 3; i++) {
        REQUIRE(b.add({b.batch(id, 0, i * 10, 10, t0)}).has_value());
        b.checkpoint();
    }
    REQUIRE(b.add({b.batch(id, 0, 30, 10, t0)}).has_value());
    const std::int64_t first_ms = b.append_ms - 3 * 60'000;
    // A checkpoint is under way while the ALTER comes: what it brings back counts in the old width.
    b.applier->want_checkpoint();
    b.settle();
    REQUIRE(alter(b, id, 2, stream_with("0s", "6d", "7d")).has_value());
    b.run_job();
    b.checkpoint();
    constexpr std::int64_t wide_ms = 6LL * 86'400'000;
    const auto ids = [&b] {
        b.reopen_and_replay();
        REQUIRE(b.recovered.size() >= 1);
        std::size_t count = 0;
        for (const auto& facts : b.recovered) {
            for (const auto& run : facts.runs) {
                count += run->state().count;
                CHECK(run->state().bucket <= dedup::bucket_of(b.append_ms, wide_ms) + 1);
            }
            count += facts.recent.size();
        }
        return count;
    };
    CHECK(ids() == 40);
    // Decided before the ALTER, in the old width: would forget everything. It comes too late to do anything.
    log::Retain old{id, INT64_MAX, 0, dedup::bucket_of(b.append_ms, 3'600'000)};
    REQUIRE(b.add({old}).has_value());
    b.settle();
    CHECK(b.rows("SELECT start_offset FROM _ends WHERE partition = 0") == "0");
    CHECK(ids() == 40);
    log::Retain early{id, INT64_MIN, -1, dedup::bucket_of(first_ms, wide_ms) - 1, 2};
    REQUIRE(b.add({early}).has_value());
    CHECK(ids() == 40);
    log::Retain due{id, INT64_MIN, -1, dedup::bucket_of(b.append_ms, wide_ms) + 1, 2};
    REQUIRE(b.add({due}).has_value());
    CHECK(ids() == 0);
    const auto before = b.digest();
    b.reopen_and_replay();
    CHECK(b.digest() == before);
}

}  // namespace weir::apply
