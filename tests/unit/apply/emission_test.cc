// HAVING, EMIT FINAL and EMIT CHANGES EVERY from entries to tables: what is shown at which index, row counts, replay.
#include "unit/apply/bench.h"

#include <string>
#include <vector>

namespace weir::apply {
namespace {

constexpr const char* final_sql =
    "CREATE MATERIALIZED VIEW f AS SELECT window_start, count(*) AS c, count(DISTINCT id) AS ids, last(id) AS newest "
    "FROM TUMBLE(s, 1m) GROUP BY window_start LATENESS 2m EMIT FINAL";
constexpr const char* having_sql =
    "CREATE MATERIALIZED VIEW h AS SELECT window_start, count(*) AS c FROM TUMBLE(s, 1m) GROUP BY window_start "
    "HAVING c % 20 < 10 AND min(ts) > '2023-01-01' LATENESS 1h EMIT CHANGES";
constexpr const char* every_sql =
    "CREATE MATERIALIZED VIEW e AS SELECT window_start, count(*) AS c, first(id) AS oldest FROM TUMBLE(s, 1m) "
    "GROUP BY window_start LATENESS 2m EMIT CHANGES EVERY 5s";

// A value as digest() writes it: type:integer:real:text.
std::string value_of(const std::string& text) {
    const auto first = text.find(':'), second = text.find(':', first + 1), third = text.find(':', second + 1);
    switch (text[0]) {
        case '1':
            return text.substr(first + 1, second - first - 1);
        case '2':
            return text.substr(second + 1, third - second - 1);
        case '0':
            return "null";
        default:
            return text.substr(third + 1);
    }
}

std::vector<std::string> lines_of(const std::string& digest, const std::string& head) {
    std::vector<std::string> lines;
    auto at = digest.find(head);
    REQUIRE(at != std::string::npos);
    at = digest.find('\n', at) + 1;
    while (at < digest.size() && digest.compare(at, 7, "SELECT ") != 0) {
        const auto end = digest.find('\n', at);
        lines.push_back(digest.substr(at, end - at));
        at = end + 1;
    }
    return lines;
}

// The view's rows without their keys, times as minutes from t0: "0,5 | 1,7".
std::string rows_of(Bench& b, ObjectId view) {
    std::string out;
    for (const auto& line : lines_of(b.digest(), "SELECT * FROM \"" + view_table(view))) {
        std::vector<std::string> values;
        for (std::size_t at = 0, end = 0; (end = line.find('|', at)) != std::string::npos; at = end + 1)
            values.push_back(value_of(line.substr(at, end - at)));
        REQUIRE(values.size() > 1);
        out += (out.empty() ? "" : " | ") + std::to_string((std::stoll(values[1]) - t0) / 60'000);
        for (std::size_t i = 2; i < values.size(); i++)
            out += "," + values[i];
    }
    return out;
}

// What sys.views says: _views.row_count.
std::string row_count(Bench& b, ObjectId view) {
    for (const auto& line : lines_of(b.digest(), "SELECT * FROM _views")) {
        const auto first = line.find('|');
        if (value_of(line.substr(0, first)) == std::to_string(view.packed()))
            return value_of(line.substr(first + 1, line.find('|', first + 1) - first - 1));
    }
    return "none";
}

struct Views {
    Bench b;
    ObjectId stream, final_rows, having, every;
    std::int64_t offset[2] = {0, 0};

    explicit Views(const char* partitions = " PARTITIONS 1") {
        b.settle();
        const std::string sql = "CREATE STREAM s (id TEXT, n INTEGER, ts TIMESTAMP, EVENT TIME ts)";
        stream = b.make(log::ObjectKind::stream, "s", (sql + partitions).c_str());
        final_rows = b.make(log::ObjectKind::view, "f", final_sql, stream);
        having = b.make(log::ObjectKind::view, "h", having_sql, stream);
        every = b.make(log::ObjectKind::view, "e", every_sql, stream);
    }
    // `count` events a second apart, `seconds` after t0.
    void add(int count, std::int64_t seconds, PartitionNo p = 0) {
        auto section = b.batch(stream, p, offset[p], count, t0 + seconds * 1000);
        section.fingerprints.clear();  // no DEDUP KEY
        REQUIRE(b.add({section}).has_value());
        offset[p] += count;
    }
};

}  // namespace

TEST_CASE("EMIT FINAL: a window is shown when its end is passed, corrected within LATENESS, and counted") {
    Views v;
    v.add(30, 0);
    CHECK(rows_of(v.b, v.final_rows) == "");
    CHECK(row_count(v.b, v.final_rows) == "0");
    v.add(31, 30);  // up to 60 s
    CHECK(rows_of(v.b, v.final_rows) == "0,60,60,0-59");
    CHECK(row_count(v.b, v.final_rows) == "1");
    v.add(1, 59);  // late and allowed; a later offset at the same time
    CHECK(rows_of(v.b, v.final_rows) == "0,61,61,0-61");
    v.add(1, 180);
    CHECK(rows_of(v.b, v.final_rows) == "0,61,61,0-61 | 1,1,1,0-60");
    v.add(1, 58);  // its window's state is gone
    CHECK(rows_of(v.b, v.final_rows) == "0,61,61,0-61 | 1,1,1,0-60");
    CHECK(row_count(v.b, v.final_rows) == "2");
}

TEST_CASE("HAVING: a row that stops to satisfy it leaves the table, at the index that made it so") {
    Views v;
    v.add(9, 0);
    CHECK(rows_of(v.b, v.having) == "0,9");
    v.add(1, 9);
    CHECK(rows_of(v.b, v.having) == "");
    CHECK(row_count(v.b, v.having) == "0");
    v.add(10, 10);
    v.add(3, 60);
    CHECK(rows_of(v.b, v.having) == "0,20 | 1,3");
    CHECK(row_count(v.b, v.having) == "2");
    v.add(5, 20);
    v.add(5, 25);
    v.add(7, 63);
    CHECK(rows_of(v.b, v.having) == "");
    CHECK(row_count(v.b, v.having) == "0");
}

TEST_CASE("EMIT CHANGES EVERY: rows as of the last cut in append time; a tick comes to the next one") {
    Views v;
    v.b.append_ms = 1'700'000'100'000 - 1000;  // a cut; entries are a second apart
    v.add(2, 0);
    v.add(1, 2);
    CHECK(rows_of(v.b, v.every) == "");
    CHECK(v.b.needs.at(v.stream).first == 1'700'000'105'000);
    for (int i = 3; i < 7; i++)
        v.add(1, i);  // the last of them lies on the cut
    CHECK(rows_of(v.b, v.every) == "0,6,0-0");
    CHECK(row_count(v.b, v.every) == "1");
    CHECK(v.b.needs.at(v.stream).first == 1'700'000'110'000);
    v.b.append_ms = 1'700'000'110'000 - 1000;
    REQUIRE(v.b.add({log::Tick{v.stream}}).has_value());
    CHECK(rows_of(v.b, v.every) == "0,7,0-0");
    CHECK(v.b.needs.at(v.stream).first == INT64_MAX);
    v.add(1, 8);
    CHECK(rows_of(v.b, v.every) == "0,7,0-0");
    // A window whose state goes does not wait for the cut.
    v.add(1, 180);
    CHECK(rows_of(v.b, v.every) == "0,8,0-0");
    v.b.append_ms += 60'000;
    REQUIRE(v.b.add({log::Tick{v.stream}}).has_value());
    CHECK(rows_of(v.b, v.every) == "0,8,0-0 | 3,1,0-8");
}

TEST_CASE("EMIT and HAVING: a replay from any checkpoint and any row commit comes to the same tables") {
    for (const int checkpoint_after : {1, 4, 9, 100}) {
        for (const int crash_after : {7, 14}) {
            INFO("checkpoint after " << checkpoint_after << ", crash after " << crash_after);
            Views v(" PARTITIONS 2");
            Bench& b = v.b;
            b.step_ms = 1300;
            const auto feed = [&](int i) {
                // One partition runs ahead of the other, and both go back at times.
                v.add(4 + i % 5, i * 17 - (i % 4 == 3 ? 70 : 0) + (i % 2) * 60, static_cast<PartitionNo>(i % 2));
                if (i % 5 == 4) REQUIRE(b.add({log::Tick{v.stream}}).has_value());
            };
            for (int i = 0; i < crash_after; i++) {
                feed(i);
                if (i % 3 == 0) b.settle();
                if (i + 1 == checkpoint_after) b.checkpoint();
            }
            b.settle();
            const auto before = b.digest();
            b.open(LogIndex(b.entries.size()));
            for (std::uint64_t index = 1; index <= b.entries.size(); index++) {
                REQUIRE(b.apply_bytes(index, b.entries[index - 1], false).has_value());
                if (index % 4 == 0) b.settle();
            }
            b.settle();
            CHECK(b.digest() == before);
            for (int i = crash_after; i < crash_after + 12; i++)
                feed(i);
            // A replica that never crashed.
            Bench other;
            for (std::uint64_t index = 1; index <= b.entries.size(); index++)
                REQUIRE(other.apply_bytes(index, b.entries[index - 1], false).has_value());
            CHECK(other.digest() == b.digest());
            for (const ObjectId view : {v.final_rows, v.having, v.every}) {
                const std::string rows = rows_of(b, view);
                CHECK(std::to_string(std::count(rows.begin(), rows.end(), '|') + (rows.empty() ? 0 : 1)) ==
                      row_count(b, view));
            }
            CHECK(rows_of(b, v.final_rows).size() > 10);
        }
    }
}

TEST_CASE("EMIT and HAVING: a view over events that are there shows what one from the start does") {
    Views v;
    v.b.step_ms = 1300;
    for (int i = 0; i < 12; i++)
        v.add(7, i * 15);
    v.b.append_ms += 10'000;
    REQUIRE(v.b.add({log::Tick{v.stream}}).has_value());  // EVERY: all of it
    std::vector<std::string> wanted;
    for (const ObjectId view : {v.final_rows, v.having, v.every})
        wanted.push_back(rows_of(v.b, view));
    std::vector<std::string> built;
    for (const char* sql : {final_sql, having_sql, every_sql}) {
        std::string renamed = sql;
        renamed.replace(renamed.find("VIEW ") + 5, 1, "x" + std::to_string(built.size()));
        const std::string name = "x" + std::to_string(built.size());
        const ObjectId id = v.b.make(log::ObjectKind::view, name.c_str(), renamed.c_str(), v.stream);
        v.b.make_live();
        built.push_back(rows_of(v.b, id));
        const auto commas = std::count(built.back().begin(), built.back().end(), '|') + (built.back().empty() ? 0 : 1);
        CHECK(row_count(v.b, id) == std::to_string(commas));
    }
    CHECK(built == wanted);
}

TEST_CASE("EMIT CHANGES EVERY: a view that was built shows all that it was built from, and waits from then on") {
    Views v;
    v.add(5, 0);
    const ObjectId id = v.b.make(log::ObjectKind::view, "x",
                                 "CREATE MATERIALIZED VIEW x AS SELECT window_start, count(*) AS c FROM TUMBLE(s, 1m) "
                                 "GROUP BY window_start EMIT CHANGES EVERY 36500d",
                                 v.stream);
    v.b.make_live();
    CHECK(rows_of(v.b, id) == "0,5");
    v.add(2, 5);
    CHECK(rows_of(v.b, id) == "0,5");
}

TEST_CASE("EMIT and HAVING: a view that is dropped leaves nothing, and its name is free") {
    Views v;
    v.add(5, 0);
    v.b.settle();
    REQUIRE(v.b.add({log::DropView{v.having}}).has_value());
    REQUIRE(v.b.add({log::CatalogDrop{v.having}}).has_value());
    v.b.settle();
    const ObjectId again = v.b.make(log::ObjectKind::view, "h", having_sql, v.stream);
    v.b.make_live();
    CHECK(rows_of(v.b, again) == "0,5");
    CHECK(row_count(v.b, again) == "1");
    CHECK(row_count(v.b, v.having) == "none");
}

}  // namespace weir::apply
