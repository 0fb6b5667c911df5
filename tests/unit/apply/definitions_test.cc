// What entries make of definitions: dropped with what depends on them, replaced.
#include "apply/applier.h"
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

}  // namespace weir::apply
