// ALTER STREAM: its text, the definition that it makes, and which definition may follow which.
#include "sql/statement.h"

#include <catch2/catch_test_macros.hpp>

#include <string>
#include <variant>

namespace weir::sql {
namespace {

constexpr const char* present_sql =
    "CREATE STREAM s (id TEXT, n INTEGER CHECK (n >= 0), ts TIMESTAMP, EVENT TIME ts DELAY 1m, DEDUP KEY (id) WITHIN "
    "1h) PARTITIONS 2 BY id RETAIN 7d";

CreateStream stream(const std::string& text) {
    auto parsed = parse(text);
    if (!parsed) FAIL(text << ": " << parsed.error().detail);
    return std::get<CreateStream>(std::move(parsed).value());
}

// The definition after the ALTER, "error at N: why" where there is none.
std::string after(const std::string& text, const std::string& of = present_sql) {
    INFO(text);
    const auto parsed = parse(text);
    const auto shown = [](const Error& e) { return "error at " + std::to_string(e.position) + ": " + e.detail; };
    if (!parsed) return shown(parsed.error());
    const auto next = altered(stream(of), std::get<AlterStream>(parsed.value()));
    if (!next) return shown(next.error());
    // What the log will hold means the same.
    CHECK(definition(stream(definition(next.value()))) == definition(next.value()));
    CHECK(check_change(stream(of), next.value()).has_value());
    CHECK(next.value().check_positions.size() == next.value().schema.columns.size());
    CHECK(next.value().default_positions.size() == next.value().schema.columns.size());
    return definition(next.value());
}

void makes(const std::string& alter, const std::string& want) {
    CHECK(after("ALTER STREAM s " + alter) == definition(stream(want)));
}

void refuses(const std::string& alter, const std::string& at, const std::string& why,
             const std::string& of = present_sql) {
    const std::string text = "ALTER STREAM s " + alter;
    const std::string got = after(text, of);
    INFO(text << "\n" << got);
    const std::size_t position = at.empty() ? text.size() : text.rfind(at);
    CHECK(got.starts_with("error at " + std::to_string(position) + ":"));
    CHECK(got.find(why) != std::string::npos);
}

}  // namespace

TEST_CASE("ALTER STREAM adds columns behind the others and sets what may change") {
    const std::string head = "CREATE STREAM s (id TEXT, n INTEGER CHECK (n >= 0), ts TIMESTAMP";
    const std::string time = ", EVENT TIME ts DELAY 1m";
    const std::string dedup = ", DEDUP KEY (id) WITHIN 1h";
    const std::string end = ") PARTITIONS 2 BY id RETAIN 7d";
    makes("ADD COLUMN x TEXT", head + ", x TEXT" + time + dedup + end);
    makes("add x TEXT FROM '$.a.x' NOT NULL DEFAULT 'web' CHECK (x <> ''), ADD COLUMN y REAL, SET RETAIN 30d",
          head + ", x TEXT NOT NULL CHECK (x <> '') DEFAULT 'web' FROM '$.a.x', y REAL" + time + dedup +
              ") PARTITIONS 2 BY id RETAIN 30d");
    makes("ADD COLUMN IF NOT EXISTS N TEXT", present_sql);
    // The CHECK may name a column that the same statement adds, and compares times in time.
    makes("ADD x TIMESTAMP CHECK (x > '2020-01-01' AND y IS NULL), ADD y TEXT",
          head + ", x TIMESTAMP CHECK (x > '2020-01-01' AND y IS NULL), y TEXT" + time + dedup + end);
    makes("SET RETAIN 1d MAX 5GB", head + time + dedup + ") PARTITIONS 2 BY id RETAIN 1d MAX 5GB");
    makes("SET MAX 5GB, SET DELAY 5m, SET MAX FUTURE 2h, SET IDLE AFTER 30s, SET DEDUP WITHIN 2d",
          head + ", EVENT TIME ts DELAY 5m MAX FUTURE 2h IDLE AFTER 30s, DEDUP KEY (id) WITHIN 2d" + end + " MAX 5GB");
    makes("SET RETAIN 30d, DEDUP WITHIN 30d",
          head + time + ", DEDUP KEY (id) WITHIN 30d) PARTITIONS 2 BY id RETAIN 30d");
    CHECK(after("ALTER STREAM s SET MAX NONE, IDLE AFTER NEVER",
                head + ", EVENT TIME ts DELAY 1m IDLE AFTER 5s" + end + " MAX 1GB") ==
          definition(stream(head + time + end)));
    CHECK(std::get<AlterStream>(parse("ALTER STREAM IF EXISTS \"a-b\" SET DELAY 0s;").value()).if_exists);
}

TEST_CASE("ALTER STREAM refuses what would change the events that are there, and says why") {
    refuses("ADD COLUMN n TEXT", "n TEXT", "there is a column n already");
    refuses("ADD x TEXT NOT NULL", "x TEXT", "has no DEFAULT: the events that are there have none of it");
    refuses("ADD x TEXT, ADD X TEXT", "X TEXT", "added twice");
    refuses("ADD x TIMESTAMP CHECK (x > 'soon')", "x > 'soon'", "soon");
    refuses("ADD IF x TEXT", "x TEXT", "expected NOT EXISTS");
    refuses("SET DEDUP WITHIN 30m", "30m", "DEDUP WITHIN can become wider only: it is 1h");
    refuses("SET DEDUP WITHIN 8d", "8d", "may not exceed RETAIN 7d: SET RETAIN too");
    refuses("SET RETAIN 30m", "30m", "DEDUP WITHIN 1h may not exceed RETAIN 30m: RETAIN can be no shorter");
    refuses("SET DEDUP KEY (n) WITHIN 1h", "KEY", "not compared by another key");
    refuses("SET DEDUP WITHIN 1h", "1h", "has no DEDUP KEY", "CREATE STREAM s (id TEXT)");
    refuses("SET DELAY 1h", "1h", "belong to EVENT TIME", "CREATE STREAM s (id TEXT)");
    refuses("SET PARTITIONS 5", "PARTITIONS", "CREATE another one");
    refuses("DROP COLUMN n", "DROP", "leave the column out of your queries");
    refuses("RENAME TO t", "RENAME", "views and senders know the name");
    refuses("ALTER COLUMN n TEXT", "ALTER", "reads the same path");
    refuses("SET RETAIN 1d, SET RETAIN 2d", "RETAIN", "stands twice");
    refuses("SET MAX 5", "5", "expected a size after MAX");
    refuses("SET RETAIN 0s", "0s", "would keep nothing");
    refuses("SET DELAI 5s", "DELAI", "did you mean DELAY?");
    refuses("", "", "expected ADD, RETAIN");
    CHECK(after("ALTER MATERIALIZED VIEW v AS SELECT 1").find("CREATE OR REPLACE MATERIALIZED VIEW") !=
          std::string::npos);
    CHECK(after("ALTER TABLE s ADD x TEXT").find("expected STREAM") != std::string::npos);
}

TEST_CASE("one definition may follow another where the events read alike, their identity stays, and nothing is lost") {
    const auto change = [](const std::string& to) {
        const auto checked = check_change(stream(present_sql), stream(to));
        if (!checked) return checked.error().detail;
        return loss_text(stream(present_sql), stream(to));
    };
    const std::string columns = "CREATE STREAM s (id TEXT, n INTEGER CHECK (n >= 0), ts TIMESTAMP";
    const std::string rest = ", EVENT TIME ts, DEDUP KEY (id) WITHIN 1h) PARTITIONS 2 BY id RETAIN 7d";
    const auto says = [&](const std::string& to, const std::string& why) {
        INFO(to << "\n" << change(to));
        CHECK(change(to).find(why) != std::string::npos);
    };
    CHECK(change(columns + ", x TEXT" + rest).empty());
    CHECK(change(columns + rest + " MAX 1GB") == "MAX would become 1GB, from none");
    says(columns + ", EVENT TIME ts, DEDUP KEY (id) WITHIN 1h) PARTITIONS 2 BY id RETAIN 1d",
         "RETAIN would become shorter");
    says("CREATE STREAM s (id TEXT, ts TIMESTAMP, n INTEGER CHECK (n >= 0)" + rest, "column n must stay");
    says("CREATE STREAM s (id TEXT, ts TIMESTAMP" + rest, "column n is missing");
    says("CREATE STREAM s (id TEXT, n REAL CHECK (n >= 0), ts TIMESTAMP" + rest, "column n must stay");
    says(columns + ", x TEXT NOT NULL" + rest, "NOT NULL without a DEFAULT");
    says(columns + ", DEDUP KEY (id) WITHIN 1h) PARTITIONS 2 BY id", "EVENT TIME stays ts");
    says(columns + ", EVENT TIME ts, DEDUP KEY (n) WITHIN 1h) PARTITIONS 2 BY id", "DEDUP KEY stays id");
    says(columns + ", EVENT TIME ts, DEDUP KEY (id) WITHIN 1m) PARTITIONS 2 BY id", "wider than 1h only");
    says(columns + ", EVENT TIME ts, DEDUP KEY (id) WITHIN 1h) PARTITIONS 3 BY id", "PARTITIONS 2 BY id stays");
    says(columns + rest + " ON ERROR REJECT", "ON ERROR");
}

// stream-sql.md S25.
TEST_CASE("S25: DELAY is the stream's bound of disorder, LATENESS the view's time to keep its state: two words") {
    const auto refused = [](const std::string& text) { return !parse(text).has_value(); };
    CHECK(stream("CREATE STREAM s (ts TIMESTAMP, EVENT TIME ts DELAY 4s)").schema.delay_ms == 4000);
    CHECK(refused("CREATE STREAM s (ts TIMESTAMP, EVENT TIME ts LATENESS 4s)"));
    const std::string view =
        "CREATE MATERIALIZED VIEW v AS SELECT window_start, count(*) FROM TUMBLE(s, 1m) GROUP BY window_start";
    CHECK(std::get<CreateView>(parse(view + " LATENESS 4s").value()).lateness_ms == 4000);
    CHECK(refused(view + " DELAY 4s"));
    CHECK(refused("ALTER STREAM s SET LATENESS 4s"));
    // Neither is there unless it is said.
    CHECK(stream("CREATE STREAM s (ts TIMESTAMP, EVENT TIME ts)").schema.delay_ms == 0);
    CHECK(std::get<CreateView>(parse(view).value()).lateness_ms == 0);
}

}  // namespace weir::sql
