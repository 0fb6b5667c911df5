#include "store/database.h"

#include "support/sync_vfs.h"
#include "support/temp_dir.h"
#include "unit/store/batch_builder.h"

#include <catch2/catch_test_macros.hpp>

#include <chrono>
#include <filesystem>
#include <fstream>

namespace weir::store {
namespace {

std::unique_ptr<Database> open_ok(const std::string& path) {
    auto db = Database::open(path, {});
    REQUIRE(db);
    return std::move(db).value();
}

std::string one(Database& db, const std::string& sql) {
    auto statement = db.prepare(sql);
    REQUIRE(statement);
    auto row = statement.value()->step();
    REQUIRE(row);
    return row.value() ? show(statement.value()->column(0)) : "no row";
}

TEST_CASE("a transaction is whole or not there") {
    const test::TempDir dir;
    auto db = open_ok(dir.file("a.db"));
    REQUIRE(db->exec("CREATE TABLE t(a INTEGER, b TEXT, c REAL, d BLOB); CREATE TABLE u(x)"));
    auto insert = db->prepare("INSERT INTO t VALUES (?1, ?2, ?3, ?4)");
    REQUIRE(insert);
    CHECK(insert.value()->columns() == 0);
    REQUIRE(db->begin());
    for (std::int64_t i = 0; i < 3; ++i) {
        insert.value()->bind(1, Value::of(i));
        insert.value()->bind(2, Value::of(std::string_view("text")));
        insert.value()->bind(3, Value::of(0.5));
        insert.value()->bind(4, Value::of_blob(std::string_view("\0x", 2)));
        auto step = insert.value()->step();
        REQUIRE(step);
        CHECK_FALSE(step.value());
    }
    REQUIRE(db->commit(true));
    CHECK(one(*db, "SELECT count(*) FROM t WHERE b = 'text' AND c = 0.5 AND d = x'0078'") == "3");

    REQUIRE(db->begin());
    REQUIRE(db->exec("DELETE FROM t"));
    db->rollback();
    db->rollback();  // without a transaction: nothing
    CHECK(one(*db, "SELECT count(*) FROM t") == "3");

    auto query = db->prepare("SELECT b, NULL, d FROM t LIMIT 1");
    REQUIRE(query);
    REQUIRE(query.value()->step());
    CHECK(show(query.value()->column(0)) == "'text'");
    CHECK(query.value()->column(1).type == ValueType::null);
    CHECK(query.value()->column(2).text.size() == 2);
    query.value()->reset();
}

TEST_CASE("settings of the file") {
    const test::TempDir dir;
    auto db = open_ok(dir.file("a.db"));
    CHECK(one(*db, "PRAGMA journal_mode") == "'wal'");
    CHECK(one(*db, "PRAGMA synchronous") == "1");
    CHECK(one(*db, "PRAGMA secure_delete") == "0");
    CHECK(one(*db, "PRAGMA wal_autocheckpoint") == "0");
    CHECK(one(*db, "SELECT bucket(61000, '1m')") == "60000");
    CHECK(Database::engine_version() == "3.40.1");
}

TEST_CASE("the log grows until a checkpoint and is used again after it") {
    const test::TempDir dir;
    auto db = open_ok(dir.file("a.db"));
    REQUIRE(db->exec("CREATE TABLE t(a INTEGER PRIMARY KEY, b TEXT)"));
    REQUIRE(db->begin());
    REQUIRE(
        db->exec("WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 2000) "
                 "INSERT INTO t SELECT i, printf('%0100d', i) FROM n"));
    REQUIRE(db->commit(false));
    auto first = db->checkpoint_passive();
    REQUIRE(first);
    CHECK(first.value() > 200'000);
    CHECK(first.value() == std::filesystem::file_size(dir.file("a.db-wal")));
    REQUIRE(db->exec("UPDATE t SET b = '' WHERE a = 1"));
    auto second = db->checkpoint_passive();
    REQUIRE(second);
    CHECK(second.value() < 20'000);
}

TEST_CASE("the log is emptied when nobody reads it, and nobody is waited for") {
    const test::TempDir dir;
    auto db = open_ok(dir.file("a.db"));
    const auto log_bytes = [&] { return std::filesystem::file_size(dir.file("a.db-wal")); };
    const auto emptied = [&] {
        auto result = db->checkpoint_truncate();
        REQUIRE(result);
        return result.value();
    };
    REQUIRE(db->exec("CREATE TABLE t(a); INSERT INTO t VALUES (1)"));
    CHECK(emptied());
    CHECK(log_bytes() == 0);
    CHECK(emptied());  // an empty log: nothing to do

    // A reader of what is in the log, and one of the database alone: neither lets the log start anew.
    for (const bool behind : {true, false}) {
        CAPTURE(behind);
        auto reader = open_ok(dir.file("a.db"));
        if (behind) {
            REQUIRE(reader->exec("BEGIN"));
            const std::string before = one(*reader, "SELECT count(*) FROM t");
            REQUIRE(db->exec("INSERT INTO t VALUES (2)"));
            const auto start = std::chrono::steady_clock::now();
            CHECK_FALSE(emptied());
            CHECK(std::chrono::steady_clock::now() - start < std::chrono::seconds(1));  // the busy timeout is 5 s
            CHECK(one(*reader, "SELECT count(*) FROM t") == before);
        } else {
            REQUIRE(db->exec("INSERT INTO t VALUES (3)"));
            REQUIRE(reader->exec("BEGIN"));
            CHECK(one(*reader, "SELECT count(*) FROM t") == "3");
            CHECK_FALSE(emptied());
        }
        CHECK(log_bytes() > 0);
        REQUIRE(reader->exec("COMMIT"));
        CHECK(emptied());  // the connection may stay open
        CHECK(log_bytes() == 0);
    }
    CHECK(one(*db, "SELECT count(*) FROM t") == "3");

    // Waiting for other writers is back.
    CHECK(one(*db, "PRAGMA busy_timeout") == "5000");
    REQUIRE(db->begin());
    CHECK(db->checkpoint_truncate().error().code == Errc::conflict);
    db->rollback();
}

TEST_CASE(
    "rule: replay is silent: a durable commit syncs SQLite's log whatever readers do, and a checkpoint's OK proves "
    "nothing",
    "[rule]") {
    const test::TempDir dir;
    int syncs = 0;
    const test::SyncVfs vfs([&](const std::string&) { syncs++; });
    auto opened = Database::open(dir.file("a.db"), {.vfs = test::SyncVfs::name()});
    REQUIRE(opened);
    auto& db = *opened.value();
    auto insert = [&](bool durable) {
        REQUIRE(db.begin());
        REQUIRE(db.exec("INSERT INTO t VALUES (1)"));
        const int before = syncs;
        REQUIRE(db.commit(durable));
        return syncs - before;
    };
    REQUIRE(db.exec("CREATE TABLE t(a)"));
    insert(false);
    CHECK(insert(false) == 0);
    CHECK(insert(true) > 0);
    // A reader that stands at the log's end; up to there all is copied.
    auto reader = open_ok(dir.file("a.db"));
    REQUIRE(reader->exec("BEGIN"));
    CHECK(one(*reader, "SELECT count(*) FROM t") == "3");
    REQUIRE(db.checkpoint_passive());
    CHECK(insert(false) == 0);
    const int before = syncs;
    REQUIRE(db.checkpoint_passive());  // OK, and what was committed is on no disk
    CHECK(syncs == before);
    CHECK(insert(true) > 0);
    CHECK(one(*reader, "SELECT count(*) FROM t") == "3");
}

TEST_CASE("errors say what the caller can do") {
    const test::TempDir dir;
    std::ofstream(dir.file("text.db")) << std::string(4096, 'x');
    auto text = Database::open(dir.file("text.db"), {});
    REQUIRE_FALSE(text);
    CHECK(text.error().code == Errc::corrupt);
    auto nowhere = Database::open(dir.file("no/such/folder.db"), {});
    REQUIRE_FALSE(nowhere);
    CHECK((nowhere.error().code == Errc::not_found || nowhere.error().code == Errc::io));

    auto db = open_ok(dir.file("a.db"));
    CHECK(db->exec("CREATE TABEL t(a)").error().code == Errc::invalid_argument);
    CHECK(db->prepare("").error().code == Errc::invalid_argument);
    REQUIRE(db->exec("CREATE TABLE t(a UNIQUE); INSERT INTO t VALUES (1)"));
    auto again = db->prepare("INSERT INTO t VALUES (1)");
    REQUIRE(again);
    CHECK(again.value()->step().error().code == Errc::invalid_argument);
    CHECK(db->exec("SELECT \"not a column\"").error().code == Errc::invalid_argument);

    // A full database stands for a full disk.
    REQUIRE(db->exec("PRAGMA max_page_count = 10"));
    REQUIRE(db->begin());
    const Status full = db->exec("CREATE TABLE big(x); INSERT INTO big VALUES (zeroblob(1000000))");
    CHECK(full.error().code == Errc::disk_full);
    db->rollback();
    CHECK(one(*db, "SELECT count(*) FROM t") == "1");
}

TEST_CASE("a path is never taken for a URI") {
    const test::TempDir dir;
    const auto here = std::filesystem::current_path();
    std::filesystem::current_path(dir.file(""));
    { auto db = open_ok("file:x?mode=memory"); }
    const bool exists = std::filesystem::exists("file:x?mode=memory");
    std::filesystem::current_path(here);
    CHECK(exists);
}

TEST_CASE("names and texts are quoted") {
    CHECK(quote_name("a\"b") == "\"a\"\"b\"");
    CHECK(quote_name("") == "\"\"");
    CHECK(quote_text("it's") == "'it''s'");
}

}  // namespace
}  // namespace weir::store
