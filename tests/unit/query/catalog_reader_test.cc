#include "query/catalog_reader.h"

#include "small_shard.h"

#include <catch2/catch_test_macros.hpp>

#include <string>
#include <vector>

using namespace weir;
using namespace weir::query;
using namespace weir::query::test;

namespace {

struct TextSink final : store::RowSink {
    bool columns(const std::vector<store::ResultColumn>& columns) override {
        for (const auto& column : columns)
            types += (types.empty() ? "" : ",") + column.declared_type;
        return true;
    }
    bool row(const std::vector<store::Value>& values) override {
        rows += (rows.empty() ? "" : ";") + shown(values);
        return true;
    }
    std::string types, rows;
};

class Session {
  public:
    explicit Session(SmallShard& shard) : Session(shard, shard.disk()) {}
    Session(SmallShard& shard, os::Disk& disk)
        : reader_(store::Reader::open(shard.dir() + "/view.db", [] { return std::int64_t{0}; }).value()),
          catalog_(*reader_, disk, shard.dir(), "n7") {}

    // Rows, or "error_name: detail".
    std::string run(const std::string& text) {
        must(reader_->begin_snapshot());
        auto result = in_snapshot(text);
        reader_->end_snapshot();
        reader_->clear_names();
        return result ? result.value() : std::string(errc_name(result.error().code)) + ": " + result.error().detail;
    }
    CatalogReader& catalog() { return catalog_; }
    std::vector<TableRows> server_tables;  // what comes with a query

  private:
    Result<std::string> in_snapshot(const std::string& text) {
        TRY(catalog_.begin(server_tables));
        const auto query = TRY(sql::rewrite_query(text, [this](std::string_view name) { return catalog_.find(name); }));
        TRY(catalog_.add_tables(query.tables));
        TextSink sink;
        TRY(reader_->run(query.sql, {}, {}, sink));
        return sink.rows;
    }
    std::unique_ptr<store::Reader> reader_;
    CatalogReader catalog_;
};

}  // namespace

TEST_CASE("catalog: streams, views, late rows, dead letters and system tables in one session") {
    SmallShard shard;
    const auto access = shard.add_stream(5, access_statement);
    const auto odd = shard.add_stream(6, "CREATE STREAM \"my-stream.v2\" (n INTEGER, \"select\" TEXT) PARTITIONS 3");
    for (int i = 0; i < 10; ++i)
        shard.entry(*access, 1000 + i, {{i % 2, {access_event(i, ms("2015-05-18") + i * 60'000)}}});
    shard.entry(*odd, 2000,
                {{2, {{1, "{\"n\":7,\"select\":\"s\"}"}}}, {-1, {{5, "x", std::nullopt, {{"reason", "wrong_type"}}}}}});
    shard.add_view(7, *access,
                   "CREATE MATERIALIZED VIEW access_1h AS SELECT window_start, status, count(*) AS n FROM "
                   "TUMBLE(access, 1h) GROUP BY 1, 2");
    shard.exec("INSERT INTO v0_7 VALUES (x'01', " + std::to_string(ms("2015-05-18")) + ", 200, 4), (x'02', " +
               std::to_string(ms("2015-05-18T01:00:00Z")) + ", 201, 6)");
    shard.exec("INSERT INTO l0_7 VALUES (1, 3, 10, 20, '{}')");
    shard.add_view(
        8, *access,
        "CREATE MATERIALIZED VIEW slow AS SELECT window_end, count(*) AS n FROM TUMBLE(access, 1h) GROUP BY 1",
        "building");
    shard.add_view(
        9, *access,
        "CREATE MATERIALIZED VIEW ended AS SELECT window_end, count(*) AS n FROM TUMBLE(access, 1h) GROUP BY 1",
        "stopped: too many groups");
    shard.exec("INSERT INTO _counters VALUES (5, 10, 2, 3, 1)");
    shard.exec("INSERT INTO _views VALUES (7, 2, 10, 1, 8, 1, 2)");
    shard.exec("INSERT INTO _watermarks VALUES (7, 0, 111, 222, 0), (7, 1, NULL, NULL, 1)");
    shard.exec("INSERT INTO _windows VALUES (7, 0, 100, 3), (7, 100, 200, 1), (9, 0, 100, 5)");
    shard.commit();
    Session session(shard);
    const auto runs = [&](const std::string& text, const std::string& want) {
        INFO(text);
        CHECK(session.run(text) == want);
    };

    runs("SELECT count(*), min(_offset), max(_offset) FROM access", "10|0|4");
    runs("SELECT path, _partition FROM ACCESS WHERE ts > '2015-05-18T00:07:00Z' ORDER BY ts DESC", "/p9|1;/p8|0");
    runs("SELECT status, count(*) FROM access GROUP BY status ORDER BY 1", "200|4;201|3;202|3");
    runs("SELECT n, \"select\", _partition FROM my-stream.v2", "7|s|2");
    runs("SELECT sum(n) FROM access_1h", "10");
    runs("SELECT n FROM access_1h WHERE window_start >= '2015-05-18T01:00:00Z'", "6");
    runs("SELECT a.path, v.n FROM access a JOIN access_1h v ON v.status = a.status WHERE a._offset = 0 ORDER BY 1",
         "/p0|4;/p1|6");
    runs("SELECT * FROM access_1h_late", "1|3|10|20|{}");
    runs("SELECT reason, raw, received_at FROM \"my-stream.v2_dead_letters\"", "wrong_type|x|5");
    runs("SELECT count(*) FROM access_dead_letters", "0");
    runs("SELECT count(*) FROM ended", "0");
    runs("SELECT * FROM slow", "building: view slow is being built (25 %)");
    runs("SELECT * FROM slow_late", "building: view slow is being built (25 %)");
    runs("SELECT name, id, shard, leader, partitions, events, created_at FROM sys.streams",
         "access|0:5|0|n7|2|10|1000;my-stream.v2|0:6|0|n7|3|1|1000");
    runs("SELECT sum(bytes) > 0 FROM sys.streams", "1");
    runs("SELECT * FROM sys.counters ORDER BY 1", "access|16|10|2|3|1;my-stream.v2|0|0|0|0|0");
    runs("SELECT * FROM sys.views ORDER BY name",
         "access_1h|access|live|0.250|2|10|1|8|1;ended|access|stopped: too many "
         "groups|0.250|0|0|0|0|0;slow|access|building|0.250|0|0|0|0|0");
    runs("SELECT * FROM sys.watermarks ORDER BY partition", "access_1h|0|111|222|0;access_1h|1|NULL|NULL|1");
    // One partition has no watermark: nothing is final. A view that has stopped keeps no windows open.
    runs("SELECT * FROM sys.open_windows ORDER BY 2", "access_1h|0|100|3|open;access_1h|100|200|1|open");
    shard.exec("UPDATE _watermarks SET watermark = 100 WHERE partition = 1");
    runs("SELECT * FROM sys.open_windows ORDER BY 2", "access_1h|0|100|3|final;access_1h|100|200|1|open");
    shard.exec("UPDATE _watermarks SET watermark = NULL WHERE partition = 1");
    runs(sql::show_sql({sql::Show::What::streams}).c_str(), session.run("SELECT * FROM sys.streams"));
    CHECK(session.run(sql::show_sql({sql::Show::What::views})).find("access_1h") == 0);
    CHECK(session.run(sql::show_sql({sql::Show::What::watermarks})).find("access_1h") == 0);
    CHECK(session.run("SELECT * FROM nowhere").find("not_found") == 0);
    CHECK(session.run("SELECT * FROM _objects").find("not_found") == 0);
    CHECK(session.run("SELECT * FROM v0_7").find("not_found") == 0);
    CHECK(session.run("SELECT * FROM access_late").find("not_found") == 0);
    CHECK(session.run("SELECT * FROM access_1h_dead_letters").find("not_found") == 0);
    CHECK(session.catalog().applied().value == shard.applied());
}

namespace {

// Counts how the files of a real disk are read.
class WatchedDisk final : public os::Disk {
  public:
    explicit WatchedDisk(os::Disk& disk) : disk_(disk) {}
    Result<std::unique_ptr<os::File>> open(const std::string& path, os::OpenMode mode) override {
        return std::unique_ptr<os::File>(std::make_unique<Watched>(*this, TRY(disk_.open(path, mode))));
    }
    Status remove(const std::string& path) override { return disk_.remove(path); }
    Status rename(const std::string& from, const std::string& to) override { return disk_.rename(from, to); }
    Result<std::vector<std::string>> list(const std::string& dir) override { return disk_.list(dir); }
    Status make_dirs(const std::string& dir) override { return disk_.make_dirs(dir); }
    Status remove_tree(const std::string& dir) override { return disk_.remove_tree(dir); }
    Status sync_dir(const std::string& dir) override { return disk_.sync_dir(dir); }
    Result<bool> exists(const std::string& path) override { return disk_.exists(path); }
    Result<std::uint64_t> free_bytes(const std::string& dir) override { return disk_.free_bytes(dir); }
    int plain = 0, aside = 0;

  private:
    class Watched final : public os::File {
      public:
        Watched(WatchedDisk& disk, std::unique_ptr<os::File> file) : disk_(disk), file_(std::move(file)) {}
        Result<std::size_t> read_at(std::uint64_t offset, std::span<char> out) override {
            ++disk_.plain;
            return file_->read_at(offset, out);
        }
        Result<std::size_t> read_aside(std::uint64_t offset, std::span<char> out) override {
            ++disk_.aside;
            return file_->read_aside(offset, out);
        }
        Status write_at(std::uint64_t offset, std::span<const std::string_view> pieces) override {
            return file_->write_at(offset, pieces);
        }
        Status sync() override { return file_->sync(); }
        Result<std::uint64_t> size() override { return file_->size(); }
        Status truncate(std::uint64_t bytes) override { return file_->truncate(bytes); }
        Status allocate(std::uint64_t bytes) override { return file_->allocate(bytes); }
        void write_behind(std::uint64_t offset, std::uint64_t bytes) override { file_->write_behind(offset, bytes); }
        void drop_cache(std::uint64_t offset, std::uint64_t bytes) override { file_->drop_cache(offset, bytes); }

      private:
        WatchedDisk& disk_;
        std::unique_ptr<os::File> file_;
    };
    os::Disk& disk_;
};

}  // namespace

TEST_CASE("catalog: a query over more of the log than may be cached reads it aside") {
    SmallShard shard;
    const auto one = shard.add_stream(5, access_statement);
    const auto two = shard.add_stream(6, "CREATE STREAM two (n INTEGER)");
    shard.entry(*one, 1, {{0, {access_event(0, 1)}}, {-1, {{5, "x", std::nullopt, {{"reason", "wrong_type"}}}}}});
    shard.entry(*two, 2, {{0, {{1, "{\"n\":1}"}}}});
    shard.commit();
    std::int64_t bytes = 0, bytes_of_two = 0;
    const auto reader = must(store::Reader::open(shard.dir() + "/view.db", [] { return std::int64_t{0}; }));
    must(reader->query_internal("SELECT sum(bytes), sum(bytes) FILTER (WHERE stream = 6) FROM main._ends",
                                [&](const auto& row) {
                                    bytes = row[0].integer;
                                    bytes_of_two = row[1].integer;
                                }));
    REQUIRE((bytes_of_two > 0 && bytes_of_two < bytes));
    WatchedDisk disk(shard.disk());
    Session session(shard, disk);
    const auto reads = [&](const std::string& text, std::int64_t cached_max) {
        disk.plain = disk.aside = 0;
        session.catalog().set_cached_bytes_max(static_cast<std::uint64_t>(cached_max));
        const std::string rows = session.run(text);
        CHECK(rows.find(": ") == std::string::npos);
        return disk.aside == 0 ? "cached" : disk.plain == 0 ? "aside" : "both";
    };
    const std::string of_both = "SELECT event_id FROM access UNION ALL SELECT n FROM two";
    CHECK(reads(of_both, bytes) == std::string("cached"));
    CHECK(reads(of_both, bytes - 1) == std::string("aside"));  // what a query names counts together
    CHECK(reads("SELECT n FROM two", bytes_of_two) == std::string("cached"));
    CHECK(reads("SELECT raw FROM access_dead_letters", 1) == std::string("aside"));
    CHECK(reads("SELECT n FROM two", bytes) == std::string("cached"));
}

TEST_CASE("rule: one read is one index: a snapshot sees one index; the next query sees the next", "[rule]") {
    SmallShard shard;
    const auto access = shard.add_stream(5, access_statement);
    shard.entry(*access, 1, {{0, {access_event(0, 1)}}});
    shard.commit();
    shard.entry(*access, 2, {{0, {access_event(1, 2)}}});
    Session session(shard);
    CHECK(session.run("SELECT count(*) FROM access") == "1");
    CHECK(session.catalog().applied().value == 1);
    shard.commit();
    CHECK(session.run("SELECT count(*) FROM access") == "2");
    CHECK(session.run("SELECT event_id FROM access") == "e0;e1");
    shard.exec("UPDATE _objects SET statement = 'DROP STREAM x', version = 2");
    CHECK(session.run("SELECT count(*) FROM access").find("corrupt") == 0);
}

TEST_CASE("catalog: rows that came with a query are a table, for that query alone") {
    SmallShard shard;
    Session session(shard);
    const OwnedValue name{store::ValueType::text, 0, 0, "n1"};
    const OwnedValue since{store::ValueType::integer, 1'431'857'104'000, 0, {}};
    session.server_tables = {{"sys.nodes", {{"name", "TEXT"}, {"started_at", "TIMESTAMP"}}, {{name, since}}}};
    CHECK(session.run("SELECT name, epoch_ms(started_at) FROM SYS.nodes") == "n1|1431857104000");
    CHECK(session.run("SELECT count(*) FROM sys.nodes WHERE started_at > '2015-05-17T00:00:00Z'") == "1");
    CHECK(session.run("SELECT n.name FROM sys.nodes n JOIN sys.streams s ON s.leader = n.name LIMIT 0").empty());
    session.server_tables.clear();
    CHECK(session.run("SELECT * FROM sys.nodes").starts_with("not_found"));
}
