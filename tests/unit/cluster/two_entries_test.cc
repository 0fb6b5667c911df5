// CREATE and DROP as two entries each, with the shard played by the test.
#include "cluster/local_catalog.h"
#include "log/entry.h"
#include "os/progress.h"
#include "sql/statement.h"

#include <catch2/catch_test_macros.hpp>

#include <chrono>
#include <cstdlib>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <variant>
#include <vector>

namespace weir::cluster {
namespace {

constexpr const char* stream_sql = "CREATE STREAM s (id TEXT, ts TIMESTAMP, EVENT TIME ts)";
constexpr const char* view_sql =
    "CREATE MATERIALIZED VIEW v AS SELECT window_start, count(*) AS n FROM TUMBLE(s, 1m) GROUP BY window_start";

// The shard, played by the test: keeps what is proposed until apply() says how it ended.
class FakeShard final : public replica::ShardPort {
  public:
    ShardId id() const override { return ShardId(0); }
    bool submit(replica::IngestRequest&&) override { return false; }
    bool propose(replica::Control&& control) override {
        if (stopping) return false;
        const std::string entry = log::encode_entry_head(1, 1) + control.section;
        auto decoded = log::decode_entry(entry);
        if (!decoded) std::abort();
        proposed.push_back({decoded.value().sections.at(0), std::move(control)});
        count.advance(proposed.size());
        return true;
    }
    std::int64_t append_clock_ms() const override { return 0; }
    record::FingerprintKey fingerprint_key() const override { return {}; }
    bool ready() const override { return is_ready; }
    bool disk_full() const override { return false; }
    LogIndex committed() const override { return LogIndex(7); }
    LogIndex visible() const override { return LogIndex(7); }
    bool wait_visible(LogIndex, std::chrono::milliseconds) override { return true; }
    std::string data_dir() const override { return {}; }

    struct Proposed {
        log::Section section;
        replica::Control control;
    };
    // The n-th proposal stands at `index`, with what it did.
    void apply(std::size_t n, std::uint64_t index, Status status = {}) {
        const auto applied = std::move(proposed.at(n).control.applied);  // it may propose, and the vector move
        applied(LogIndex(index), std::move(status));
    }
    std::vector<Proposed> proposed;  // the test reads it when the statement's thread waits
    os::Progress count;
    bool is_ready = true, stopping = false;
};

record::StreamPtr stream_of(std::uint64_t index) {
    auto parsed = sql::parse(stream_sql);
    auto stream = std::make_shared<record::Stream>();
    stream->id = {ShardId(0), LogIndex(index)};
    stream->name = "s";
    stream->schema = std::get<sql::CreateStream>(parsed.value()).schema;
    stream->statement = stream_sql;
    return stream;
}

// A catalog and a statement on a thread of its own, as a client would have it.
struct Bench {
    FakeShard shard;
    std::unique_ptr<LocalCatalog> catalog = LocalCatalog::make(true);
    Result<Changed> changed = Error{};
    os::Progress done;
    std::jthread thread;

    Bench() { catalog->attach(shard); }
    void know(std::vector<record::StreamPtr> streams, std::vector<apply::Definitions::View> views = {},
              std::vector<apply::Definitions::Loose> loose = {}) {
        auto definitions = std::make_shared<apply::Definitions>();
        definitions->streams = std::move(streams);
        definitions->views = std::move(views);
        definitions->loose = std::move(loose);
        catalog->on_definitions(std::move(definitions));
    }
    void begin(const std::string& text) {
        thread = std::jthread([this, text] {
            auto parsed = sql::parse(text);
            if (auto* s = std::get_if<sql::CreateStream>(&parsed.value())) changed = catalog->create(*s);
            if (auto* v = std::get_if<sql::CreateView>(&parsed.value())) changed = catalog->create(*v);
            if (auto* d = std::get_if<sql::DropObject>(&parsed.value())) changed = catalog->drop(*d);
            done.advance(1);
        });
    }
    // The n-th proposal, when it has come.
    template <class T>
    const T& proposal(std::size_t n) {
        if (!shard.count.wait_for(n + 1, std::chrono::seconds(30))) std::abort();
        REQUIRE(std::holds_alternative<T>(shard.proposed.at(n).section));
        return std::get<T>(shard.proposed.at(n).section);
    }
    bool answered() { return done.wait_for(1, std::chrono::milliseconds(0)); }
    void wait() { thread.join(); }
};

constexpr ObjectId id_of(std::uint64_t index) {
    return {ShardId(0), LogIndex(index)};
}

}  // namespace

TEST_CASE(
    "rule: CREATE over two groups: the catalog's entry gives the id, the definition follows from it, then CREATE "
    "answers",
    "[rule]") {
    Bench b;
    b.begin(stream_sql);
    const auto put = b.proposal<log::CatalogPut>(0);
    CHECK(put.kind == log::ObjectKind::stream);
    CHECK(put.name == "s");
    CHECK(sql::parse(put.statement).has_value());  // it carries the statement
    CHECK(b.shard.proposed.at(0).control.gives_id);
    b.shard.apply(0, 41);
    const auto define = b.proposal<log::DefineStream>(1);
    CHECK(define.id == id_of(41));
    CHECK(define.name == "s");
    CHECK(define.statement == put.statement);
    CHECK_FALSE(b.shard.proposed.at(1).control.gives_id);
    CHECK_FALSE(b.answered());
    b.shard.apply(1, 44);
    b.wait();
    REQUIRE(b.changed.has_value());
    CHECK(b.changed.value().did);
    CHECK(b.changed.value().id == id_of(41));
    CHECK(b.changed.value().index == LogIndex(44));
    CHECK(b.shard.proposed.size() == 2);

    Bench v;
    v.know({stream_of(41)});
    v.begin(view_sql);
    CHECK(v.proposal<log::CatalogPut>(0).kind == log::ObjectKind::view);
    v.shard.apply(0, 50);
    const auto view = v.proposal<log::DefineView>(1);
    CHECK(view.id == id_of(50));
    CHECK(view.stream == id_of(41));  // by id: the name may be another's by then
    v.shard.apply(1, 51);
    v.wait();
    CHECK(v.changed.value().id == id_of(50));
}

TEST_CASE("rule: CREATE over two groups: a name that is taken, and a definition that cannot be applied, leave nothing",
          "[rule]") {
    Bench taken;
    taken.begin(stream_sql);
    (void)taken.proposal<log::CatalogPut>(0);
    taken.shard.apply(0, 41, Error{Errc::already_exists, "there is one"});
    taken.wait();
    CHECK(taken.changed.error().code == Errc::already_exists);
    CHECK(taken.shard.proposed.size() == 1);

    Bench refused;
    refused.begin(stream_sql);
    (void)refused.proposal<log::CatalogPut>(0);
    refused.shard.apply(0, 41);
    (void)refused.proposal<log::DefineStream>(1);
    refused.shard.apply(1, 42, Error{Errc::invalid_argument, "no"});
    CHECK(refused.proposal<log::CatalogDrop>(2).id == id_of(41));  // the name is free again
    CHECK_FALSE(refused.answered());
    refused.shard.apply(2, 43);
    refused.wait();
    CHECK(refused.changed.error().code == Errc::invalid_argument);
}

TEST_CASE("rule: CREATE over two groups: DROP goes the other way round, by id", "[rule]") {
    Bench b;
    b.know({stream_of(41)});
    b.begin("DROP STREAM s");
    CHECK(b.proposal<log::DropStream>(0).id == id_of(41));
    b.shard.apply(0, 60);
    CHECK(b.proposal<log::CatalogDrop>(1).id == id_of(41));
    CHECK_FALSE(b.answered());
    b.shard.apply(1, 61);
    b.wait();
    CHECK(b.changed.value().did);
    CHECK(b.changed.value().index == LogIndex(61));

    Bench v;
    v.know({stream_of(41)}, {{id_of(50), "v", id_of(41), view_sql, "live"}});
    v.begin("DROP MATERIALIZED VIEW v");
    CHECK(v.proposal<log::DropView>(0).id == id_of(50));
    v.shard.apply(0, 62);
    CHECK(v.proposal<log::CatalogDrop>(1).id == id_of(50));
    v.shard.apply(1, 63);
    v.wait();
    CHECK(v.changed.has_value());

    // A stream that a view reads stays; so does everything when the first half fails.
    Bench needed;
    needed.know({stream_of(41)}, {{id_of(50), "v", id_of(41), view_sql, "live"}});
    needed.begin("DROP STREAM s");
    needed.wait();
    CHECK(needed.changed.error().code == Errc::conflict);
    CHECK(needed.shard.proposed.empty());
    Bench failed;
    failed.know({stream_of(41)});
    failed.begin("DROP STREAM s");
    (void)failed.proposal<log::DropStream>(0);
    failed.shard.apply(0, 60, Error{Errc::conflict, "view w came in between"});
    failed.wait();
    CHECK(failed.changed.error().code == Errc::conflict);
    CHECK(failed.shard.proposed.size() == 1);
}

TEST_CASE("rule: CREATE over two groups: CASCADE is one entry of the shard's; the names go after it, views first",
          "[rule]") {
    const apply::Definitions::View view{id_of(50), "v", id_of(41), view_sql, "live"};
    Bench b;
    b.know({stream_of(41)}, {view});
    b.begin("DROP STREAM s CASCADE");
    const auto drop = b.proposal<log::DropStream>(0);
    CHECK(drop.id == id_of(41));
    CHECK(drop.with_views);
    // The entry took a view that came in between, too: definitions tell of it.
    b.know({}, {},
           {{id_of(41), log::ObjectKind::stream, "s", stream_sql, true},
            {id_of(50), log::ObjectKind::view, "v", view_sql, true},
            {id_of(58), log::ObjectKind::view, "w", view_sql, true}});
    b.shard.apply(0, 60);
    CHECK(b.proposal<log::CatalogDrop>(1).id == id_of(58));
    CHECK(b.proposal<log::CatalogDrop>(2).id == id_of(50));
    CHECK(b.proposal<log::CatalogDrop>(3).id == id_of(41));
    b.shard.apply(1, 61);
    b.shard.apply(2, 62);
    CHECK_FALSE(b.answered());
    b.shard.apply(3, 63);
    b.wait();
    CHECK(b.changed.value().index == LogIndex(63));
    CHECK(b.shard.proposed.size() == 4);
}

TEST_CASE("rule: CREATE over two groups: OR REPLACE of a view: the catalog's entry carries it, the old name goes last",
          "[rule]") {
    const std::string other =
        "CREATE OR REPLACE MATERIALIZED VIEW v AS SELECT window_start, count(*) AS n FROM TUMBLE(s, 5m) "
        "GROUP BY window_start";
    const apply::Definitions::View view{id_of(50), "v", id_of(41), view_sql, "live"};
    Bench b;
    b.know({stream_of(41)}, {view});
    b.begin(other);
    const auto put = b.proposal<log::CatalogPut>(0);
    CHECK(std::get<sql::CreateView>(sql::parse(put.statement).value()).or_replace);
    b.shard.apply(0, 70);
    const auto define = b.proposal<log::DefineView>(1);
    CHECK(define.id == id_of(70));
    CHECK(define.statement == put.statement);
    b.know({stream_of(41)}, {{id_of(70), "v", id_of(41), other, "live"}},
           {{id_of(50), log::ObjectKind::view, "v", view_sql, true}});
    b.shard.apply(1, 71);
    CHECK(b.proposal<log::CatalogDrop>(2).id == id_of(50));
    b.shard.apply(2, 72);
    b.wait();
    CHECK(b.changed.value().id == id_of(70));

    // What is there already is left alone; a definition that cannot be applied leaves the old one.
    Bench same;
    same.know({stream_of(41)}, {view});
    same.begin(std::string(view_sql).replace(0, 6, "CREATE OR REPLACE"));
    same.wait();
    CHECK_FALSE(same.changed.value().did);
    CHECK(same.shard.proposed.empty());
    Bench refused;
    refused.know({stream_of(41)}, {view});
    refused.begin(other);
    (void)refused.proposal<log::CatalogPut>(0);
    refused.shard.apply(0, 70);
    (void)refused.proposal<log::DefineView>(1);
    refused.shard.apply(1, 71, Error{Errc::conflict, "rows would be lost"});
    CHECK(refused.proposal<log::CatalogDrop>(2).id == id_of(70));
    refused.shard.apply(2, 72);
    refused.wait();
    CHECK(refused.changed.error().code == Errc::conflict);
}

TEST_CASE(
    "rule: CREATE over two groups: what a crash left half done is proposed again by the first start that sees it, "
    "once",
    "[rule]") {
    using Loose = apply::Definitions::Loose;
    const std::vector<Loose> loose = {
        {id_of(70), log::ObjectKind::stream, "t", "CREATE STREAM t (id TEXT)", false},
        {id_of(71), log::ObjectKind::view, "v", view_sql, false},
        {id_of(72), log::ObjectKind::stream, "gone", "CREATE STREAM gone (id TEXT)", true},
        {id_of(73), log::ObjectKind::view, "w",
         "CREATE MATERIALIZED VIEW w AS SELECT window_start, count(*) AS n FROM "
         "TUMBLE(nowhere, 1m) GROUP BY window_start",
         false}};
    Bench b;
    b.know({stream_of(41)}, {}, loose);
    REQUIRE(b.shard.proposed.size() == 4);
    const auto stream = b.proposal<log::DefineStream>(0);
    CHECK(stream.id == id_of(70));  // the id that the catalog's entry gave
    CHECK(stream.name == "t");
    CHECK(stream.statement == loose[0].statement);
    const auto view = b.proposal<log::DefineView>(1);
    CHECK(view.id == id_of(71));
    CHECK(view.stream == id_of(41));
    CHECK(b.proposal<log::CatalogDrop>(2).id == id_of(72));  // DROP had taken the definition
    CHECK(b.proposal<log::CatalogDrop>(3).id == id_of(73));  // its stream went away in between
    for (std::size_t i = 0; i < 4; i++) {
        CHECK_FALSE(b.shard.proposed[i].control.gives_id);
        b.shard.apply(i, 80 + i);
    }
    // Until that is applied, definitions are told again and again; and statements of this process are on their way.
    b.know({stream_of(41)}, {}, loose);
    CHECK(b.shard.proposed.size() == 4);
    // Crashed once more before anything was applied: the next start proposes it again.
    Bench again;
    again.know({stream_of(41)}, {}, loose);
    CHECK(again.shard.proposed.size() == 4);
    // A resumed definition that cannot be applied gives its name back.
    again.shard.apply(0, 90, Error{Errc::invalid_argument, "no"});
    REQUIRE(again.shard.proposed.size() == 5);
    CHECK(again.proposal<log::CatalogDrop>(4).id == id_of(70));
    again.shard.stopping = true;  // nobody is told, nobody waits
    again.shard.apply(1, 91, Error{Errc::invalid_argument, "no"});
    CHECK(again.shard.proposed.size() == 5);
}

TEST_CASE("CREATE STREAM: a DEFAULT is evaluated once, and the log has its value") {
    Bench b;
    b.begin(
        "CREATE STREAM s (id TEXT, n INTEGER DEFAULT (40 + 2), t TIMESTAMP DEFAULT (epoch_ms('2020-01-01')), "
        "x TEXT DEFAULT ('a' || 'b'), y TEXT DEFAULT NULL)");
    const auto put = b.proposal<log::CatalogPut>(0);
    const auto columns = std::get<sql::CreateStream>(sql::parse(put.statement).value()).schema.columns;
    CHECK(columns[1].default_sql == "42");
    CHECK(columns[2].default_sql == "1577836800000");
    CHECK(columns[3].default_sql == "'ab'");
    CHECK(columns[4].default_sql.empty());
    b.shard.apply(0, 41, Error{Errc::already_exists, "enough seen"});
    b.wait();

    const auto refused = [](const std::string& text, Errc code, const std::string& at, const std::string& why) {
        INFO(text);
        Bench bad;
        bad.begin(text);
        bad.wait();
        REQUIRE_FALSE(bad.changed.has_value());
        CHECK(bad.changed.error().code == code);
        CHECK(bad.changed.error().position == static_cast<std::int64_t>(text.find(at)));
        INFO(bad.changed.error().detail);
        CHECK(bad.changed.error().detail.find(why) != std::string::npos);
        CHECK(bad.shard.proposed.empty());
    };
    refused("CREATE STREAM s (a TEXT, b INTEGER DEFAULT (a + 1))", Errc::invalid_argument, "(a + 1)",
            "DEFAULT of column b: no such column: a (a DEFAULT is the same for every event: it reads no column)");
    refused("CREATE STREAM s (b INTEGER DEFAULT (random()))", Errc::forbidden, "(random", "random()");
    refused("CREATE STREAM s (b INTEGER DEFAULT 'x')", Errc::invalid_argument, "'x'", "'x' is no INTEGER");
}

}  // namespace weir::cluster
