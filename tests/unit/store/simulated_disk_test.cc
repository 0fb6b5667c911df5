// Database on a disk that loses power: what was committed durably is there, and what is there is sound.
#include "base/prng.h"
#include "os/sim_disk.h"
#include "store/database.h"
#include "support/sim_vfs.h"
#include "unit/store/batch_builder.h"

#include <catch2/catch_test_macros.hpp>

namespace weir::store {
namespace {

std::string one(Database& db, const std::string& sql) {
    auto statement = db.prepare(sql);
    if (!statement) return "error: " + statement.error().detail;
    auto row = statement.value()->step();
    if (!row) return "error: " + row.error().detail;
    return row.value() ? show(statement.value()->column(0)) : "no row";
}

// One transaction: row `i`, and enough pages changed to make tearing likely.
Status write(Database& db, std::int64_t i, bool durable) {
    TRY(db.begin());
    const std::string n = std::to_string(i);
    const Status done = db.exec("INSERT INTO t VALUES (" + n + ", hex(zeroblob(" + std::to_string(100 + i % 7 * 900) +
                                "))); UPDATE sums SET total = total + " + n + ", last = " + n);
    if (!done) {
        db.rollback();
        return done;
    }
    return db.commit(durable);
}

TEST_CASE("rule: a checkpoint is one act: a durable commit of SQLite survives a power cut at any operation", "[rule]") {
    for (std::uint64_t seed = 1; seed <= 60; ++seed) {
        INFO("seed " << seed);
        os::SimDisk disk(seed, {});
        REQUIRE(disk.make_dirs("/d"));
        REQUIRE(disk.sync_dir("/"));
        Prng prng(seed * 77);
        const test::SimVfs vfs("sim" + std::to_string(seed), disk);
        const DatabaseOptions options{.vfs = vfs.name(), .exclusive = true};
        std::int64_t durable = 0;  // the last row whose durable commit returned
        std::int64_t tried = 0;    // the last row that was begun
        {
            auto db = Database::open("/d/view.db", options);
            REQUIRE(db);
            REQUIRE(db.value()->begin());
            REQUIRE(
                db.value()->exec("CREATE TABLE t(i INTEGER PRIMARY KEY, pad TEXT); CREATE TABLE sums(total, last);"
                                 "INSERT INTO sums VALUES (0, 0)"));
            REQUIRE(db.value()->commit(true));
            std::uint64_t left = 5 + prng.below(300);
            disk.on_operation([&left] { return left > 0 && --left > 0; });
            for (std::int64_t i = 1; i <= 200; ++i) {
                tried = i;
                const bool ask = prng.chance(0.3);
                const Status done = write(*db.value(), i, ask);
                if (!done) break;
                if (ask) durable = i;
                if (prng.chance(0.1) && !db.value()->checkpoint_passive()) break;
            }
            disk.on_operation({});
            disk.crash();
        }
        auto db = Database::open("/d/view.db", options);
        INFO((db ? "" : db.error().detail));
        REQUIRE(db);
        CHECK(one(*db.value(), "PRAGMA integrity_check") == "'ok'");
        auto last =
            db.value()->prepare("SELECT last, total, (SELECT count(*) FROM t), (SELECT max(i) FROM t) FROM sums");
        REQUIRE(last);
        REQUIRE(last.value()->step());
        const std::int64_t kept = last.value()->column(0).integer;
        CHECK(kept >= durable);
        CHECK(kept <= tried);
        CHECK(last.value()->column(1).integer == kept * (kept + 1) / 2);  // whole transactions, in order
        CHECK(last.value()->column(2).integer == kept);
    }
}

TEST_CASE("a full simulated disk is disk_full and rolls back") {
    os::SimDisk disk(3, {});
    REQUIRE(disk.make_dirs("/d"));
    const test::SimVfs vfs("simfull", disk);
    auto db = Database::open("/d/view.db", {.vfs = vfs.name(), .exclusive = true});
    REQUIRE(db);
    REQUIRE(
        db.value()->exec("CREATE TABLE t(i INTEGER PRIMARY KEY, pad TEXT); CREATE TABLE sums(total, last);"
                         "INSERT INTO sums VALUES (0, 0)"));
    disk.set_capacity(disk.used_bytes() + 30'000);
    Status done;
    std::int64_t stored = 0;
    for (std::int64_t i = 1; i < 100 && done; ++i) {
        done = write(*db.value(), i, true);
        if (done) stored = i;
    }
    REQUIRE_FALSE(done);
    CHECK(done.error().code == Errc::disk_full);
    CHECK(one(*db.value(), "SELECT last FROM sums") == std::to_string(stored));
    disk.set_capacity(UINT64_MAX);
    CHECK(write(*db.value(), stored + 1, true));
    CHECK(one(*db.value(), "PRAGMA integrity_check") == "'ok'");
}

}  // namespace
}  // namespace weir::store
