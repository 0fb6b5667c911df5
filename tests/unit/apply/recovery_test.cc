// Opening a shard at its checkpoint, and what a replay may and may not do.
#include "unit/apply/bench.h"
#include "unit/apply/statement_trace.h"

namespace weir::apply {
namespace {

AppliedRecord applied_record(Bench& b) {
    return AppliedRecord::decode(*b.state->get(applied_key).value()).value();
}
// As if another SQLite had written the checkpoint.
void set_engine(Bench& b, const std::string& version) {
    auto record = applied_record(b);
    record.engine = version;
    REQUIRE(b.state->commit({{std::string(applied_key), record.encode()}}));
}

}  // namespace

TEST_CASE("rule: replay is silent: up to SQLite's index only state is rebuilt, rows are written from there on",
          "[rule]") {
    StatementTrace trace("/view.db");
    Bench b;
    b.settle();
    const auto id = b.make(log::ObjectKind::stream, "s", stream_sql);
    const auto view = b.make(log::ObjectKind::view, "v", view_sql, id);
    REQUIRE(b.add({b.batch(id, 0, 0, 20, t0)}));
    b.checkpoint();  // L
    REQUIRE(b.add({b.batch(id, 0, 20, 20, t0), log::CountsSection{id, 3, 0}}));
    REQUIRE(b.add({b.batch(id, 1, 0, 20, t0 + 60'000)}));
    b.settle();  // S
    const std::string of_view = "SELECT c1, c2 FROM \"" + view_table(view) + "\" ORDER BY _k";
    CHECK(b.rows(of_view) == "40|40 20|20");
    const auto want = b.digest();
    // What stands in the tables between L and S is not written again: gone rows stay gone.
    REQUIRE(b.tables()->exec("DELETE FROM \"" + view_table(view) + "\""));

    b.open(LogIndex(b.entries.size()));
    trace.clear();
    for (std::uint64_t index = 1; index <= b.entries.size(); index++)
        REQUIRE(b.apply_bytes(index, b.entries[index - 1], false).has_value());
    b.settle();
    CHECK(b.applier->recovered());
    CHECK(trace.count("INSERT") + trace.count("UPDATE") + trace.count("DELETE") + trace.count("CREATE") == 0);
    CHECK(b.rows(of_view) == "");
    CHECK(b.rows("SELECT duplicate FROM _counters") == "3");  // counted once

    // From there on rows come, and the state behind them was rebuilt.
    REQUIRE(b.add({b.batch(id, 0, 40, 20, t0)}));
    b.settle();
    CHECK(b.rows(of_view) == "60|60");
    REQUIRE(b.add({b.batch(id, 1, 20, 1, t0 + 60'000)}));
    b.settle();
    CHECK(b.rows(of_view) == "60|60 21|21");
    CHECK(want != b.digest());
}

TEST_CASE("rule: replay is silent: segments and journals are cut to the checkpoint's lengths and appended again",
          "[rule]") {
    Bench b;
    b.settle();
    const auto id = b.make(log::ObjectKind::stream, "s", stream_sql);
    REQUIRE(b.add({b.batch(id, 0, 0, 20, t0)}));
    b.checkpoint();
    const auto record = StreamRecord::decode(*b.state->get(object_key('s', id)).value()).value();
    REQUIRE(b.add({b.batch(id, 0, 20, 20, t0)}));
    REQUIRE(b.add({b.batch(id, 0, 40, 20, t0), b.batch_of(id, dead_letter_partition, 0, {{t0, "bad"}})}));
    b.settle();
    auto content = [&] {
        std::string all;
        for (const auto& folder : {b.partition(id, 0), b.partition(id, -1), stream_dir(b.shard(), id) + "/journal"}) {
            for (const auto& name : b.names_in(folder))
                all += name + ": " + os::read_file(*b.disk, folder + "/" + name, 1 << 20).value() + "\n";
        }
        return all;
    };
    const auto want = content();
    // A crash left more than the checkpoint lists, the last of it torn.
    const auto log = b.partition(id, 0) + "/" + b.names_in(b.partition(id, 0)).back();
    const std::string_view torn[] = {"torn"};
    for (const auto& folder : {b.partition(id, 0), stream_dir(b.shard(), id) + "/journal"}) {
        const auto file = b.disk->open(folder + "/" + b.names_in(folder).back(), os::OpenMode::write).value();
        REQUIRE(file->write_at(file->size().value(), torn));
    }
    b.open(LogIndex(b.entries.size()));
    std::uint64_t bytes = 0;
    for (const auto& name : b.names_in(b.partition(id, 0))) {
        if (name.ends_with(".log"))
            bytes += b.disk->open(b.partition(id, 0) + "/" + name, os::OpenMode::read).value()->size().value();
    }
    CHECK(bytes == record.partitions[0].segments[0].log_bytes);
    CHECK(b.names_in(b.partition(id, -1)).empty());  // not in the checkpoint: removed
    b.reopen_and_replay();
    CHECK(content() == want);
}

TEST_CASE("rule: a derived row is the log's alone: the SQLite version stands in the checkpoint", "[rule]") {
    Bench b;
    b.settle();
    const auto id = b.make(log::ObjectKind::stream, "s", stream_sql);
    b.checkpoint();
    CHECK(applied_record(b).engine == store::Database::engine_version());

    // Nothing is left to evaluate again: another version takes over, and the next checkpoint says so.
    set_engine(b, "3.99.9");
    b.open(applied_record(b).index);
    b.settle();
    CHECK(b.applier->recovered());
    REQUIRE(b.add({b.batch(id, 0, 0, 5, t0)}));
    b.checkpoint();
    CHECK(applied_record(b).engine == store::Database::engine_version());

    // Entries to replay, and no view: SQLite decides nothing of them.
    REQUIRE(b.add({b.batch(id, 0, 5, 5, t0)}));
    b.settle();
    set_engine(b, "3.99.9");
    b.reopen_and_replay();
    CHECK(b.rows("SELECT stored FROM _counters") == "10");

    // Entries to replay that a view must evaluate again, up to rows that the other version wrote: refused.
    const auto view = b.make(log::ObjectKind::view, "v", view_sql, id);
    b.make_live();
    b.checkpoint();
    REQUIRE(b.add({b.batch(id, 0, 10, 5, t0)}));
    b.settle();
    const auto want = b.rows("SELECT * FROM \"" + view_table(view) + "\"");
    set_engine(b, "3.99.9");
    const auto refused = b.try_open(LogIndex(b.entries.size()));
    REQUIRE_FALSE(refused.has_value());
    CHECK(refused.error().code == Errc::unsupported);
    const std::string now = store::Database::engine_version();
    for (const std::string& part : {std::string("3.99.9"), now, std::string("start the former version")}) {
        INFO(refused.error().detail << " / " << part);
        CHECK(refused.error().detail.find(part) != std::string::npos);
    }
    // Nothing was touched: the version that wrote it goes on.
    set_engine(b, now);
    b.reopen_and_replay();
    CHECK(b.rows("SELECT * FROM \"" + view_table(view) + "\"") == want);
}

}  // namespace weir::apply
