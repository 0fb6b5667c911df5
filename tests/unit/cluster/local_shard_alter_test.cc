// ALTER STREAM and OR REPLACE through a whole shard, over restarts.
#include "unit/cluster/life.h"

#include <catch2/catch_test_macros.hpp>

#include <string>

namespace weir::cluster::test {
namespace {

std::int64_t now_ms(Life& life) {
    return life.shard->append_clock_ms();
}

}  // namespace

TEST_CASE("ALTER STREAM: a new column is there at once for senders, and the definition survives a kill") {
    weir::test::TempDir dir, copy;
    {
        Life life(dir.path());
        life.statement(stream_s);
        CHECK(life.ask(event(1, now_ms(life))).accepted == 1);
        const auto before = life.stream();
        life.statement("ALTER STREAM s ADD COLUMN more INTEGER NOT NULL DEFAULT (6 * 7), SET RETAIN 30d");
        CHECK(life.stream()->version == 2);
        CHECK(life.stream()->schema.columns.back().default_sql == "42");
        CHECK(life.stream()->retain_ms == 30LL * 86'400'000);
        CHECK(life.ask(event(2, now_ms(life))).accepted == 1);
        // Under way while the ALTER came.
        Answers answers;
        CHECK(life.send(before, event(3, now_ms(life)) + event(2, now_ms(life)), answers));
        REQUIRE(answers.wait_for(1));
        CHECK(answers.accepted == 1);
        CHECK(answers.duplicates == 1);
        // What changes nothing is no entry.
        const auto index = life.shard->committed();
        CHECK_FALSE(must(life.change("ALTER STREAM s ADD COLUMN IF NOT EXISTS more INTEGER")).did);
        CHECK_FALSE(must(life.change("ALTER STREAM IF EXISTS nowhere SET RETAIN 1d")).did);
        CHECK(life.shard->committed() == index);
        CHECK(life.refusal("ALTER STREAM nowhere SET RETAIN 1d") == Errc::not_found);
        CHECK(life.refusal("ALTER STREAM s ADD COLUMN bad INTEGER CHECK (nowhere > 1)") == Errc::invalid_argument);
        REQUIRE(life.see_everything());
        keep_the_log_alone(dir.path(), copy.path());
    }
    for (const auto& where : {dir.path(), copy.path()}) {
        Life life(where);
        CHECK(life.stream()->version == 2);
        CHECK(life.stream()->schema.columns.back().name == "more");
        CHECK(life.ask(event(3, now_ms(life))).duplicates == 1);
        CHECK(life.rows("SELECT version FROM main._objects") == "2");
    }
}

TEST_CASE("rule: expiry is an entry: what WITHIN remembers after it became wider is not forgotten by the old width",
          "[rule]") {
    weir::test::TempDir dir;
    Life life(dir.path());
    life.statement(stream_s);
    CHECK(life.ask(event(1, now_ms(life))).accepted == 1);
    life.statement("ALTER STREAM s SET DEDUP WITHIN 2d");
    CHECK(life.ask(event(2, now_ms(life))).accepted == 1);
    life.clock.jump_ms(20 * 3'600'000);
    // Expiry has looked at the new time: two entries later it has been decided what goes.
    life.settle_admission(life.stream()->id);
    CHECK(life.ask(event(1, now_ms(life))).duplicates == 1);
    CHECK(life.ask(event(2, now_ms(life))).duplicates == 1);
    life.clock.jump_ms(40 * 3'600'000);
    CHECK(eventually([&] { return life.ask(event(1, now_ms(life))).accepted == 1; }));
}

TEST_CASE("CREATE OR REPLACE STREAM does what ALTER can without losing an event") {
    weir::test::TempDir dir;
    Life life(dir.path());
    life.statement(std::string("CREATE OR REPLACE") + (stream_s + 6));  // there is none: it is made
    CHECK(life.ask(event(1, now_ms(life))).accepted == 1);
    CHECK_FALSE(must(life.change(std::string("CREATE OR REPLACE") + (stream_s + 6))).did);
    life.statement(
        "CREATE OR REPLACE STREAM s (id TEXT, ts TIMESTAMP, pad TEXT, more TEXT, EVENT TIME ts MAX FUTURE 36500d, "
        "DEDUP "
        "KEY (id) WITHIN 2h) PARTITIONS 2 RETAIN 30d");
    CHECK(life.stream()->version == 2);
    CHECK(life.ask(event(1, now_ms(life))).duplicates == 1);
    CHECK(life.refusal(std::string("CREATE OR REPLACE") + (stream_s + 6)) == Errc::conflict);  // would lose `more`
    CHECK(
        life.refusal("CREATE OR REPLACE STREAM s (id TEXT, ts TIMESTAMP, pad TEXT, more TEXT, EVENT TIME ts MAX FUTURE "
                     "36500d, DEDUP KEY (id) WITHIN 2h) PARTITIONS 2 RETAIN 1d") == Errc::conflict);
    CHECK(life.stream()->version == 2);
}

}  // namespace weir::cluster::test
