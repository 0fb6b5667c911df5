#include "query/pool.h"

#include "os/clock.h"
#include "small_shard.h"

#include <catch2/catch_test_macros.hpp>

#include <atomic>
#include <filesystem>
#include <fstream>
#include <functional>
#include <signal.h>
#include <string>
#include <sys/wait.h>
#include <thread>
#include <unistd.h>
#include <vector>

using namespace weir;
using namespace weir::query;
using namespace weir::query::test;

namespace {

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr bool sanitized = true;
#else
constexpr bool sanitized = false;
#endif

struct Sink final : ResultSink {
    bool columns(const std::vector<QueryColumn>& columns) override {
        for (const auto& column : columns)
            names += (names.empty() ? "" : ",") + column.name + ":" + column.type;
        return !stop_at_columns;
    }
    bool row(const std::vector<store::Value>& values) override {
        ++count;
        if (count <= 20) rows += (rows.empty() ? "" : ";") + shown(values);
        return !on_row || on_row();
    }
    std::string names, rows;
    std::int64_t count = 0;
    bool wanted() override { return !is_wanted || is_wanted(); }
    bool stop_at_columns = false;
    std::function<bool()> is_wanted;
    std::function<bool()> on_row;
};

PoolOptions options_for(const std::string& dir) {
    PoolOptions options;
    options.program = WEIR_TEST_WORKER;
    options.shard_dir = dir;
    options.worker_memory_bytes = 128ull << 20;
    return options;
}

QueryRequest request_for(const std::string& sql, std::int64_t timeout_ms = 20'000) {
    QueryRequest request;
    request.sql = sql;
    request.timeout_ms = timeout_ms;
    request.now_ms = 1'000'000;
    return request;
}

std::string run(Pool& pool, const QueryRequest& request) {
    Sink sink;
    auto summary = pool.run(request, sink);
    if (!summary) return std::string(errc_name(summary.error().code));
    return sink.rows;
}
std::string run(Pool& pool, const std::string& sql) {
    return run(pool, request_for(sql));
}

std::vector<pid_t> children() {
    std::vector<pid_t> out;
    std::ifstream file("/proc/self/task/" + std::to_string(::getpid()) + "/children");
    for (pid_t pid = 0; file >> pid;)
        out.push_back(pid);
    return out;
}

constexpr const char* endless =
    "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c) SELECT count(*) FROM c";
constexpr const char* endless_rows = "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c) SELECT x FROM c";
// One comparison of millions times millions of bytes: the engine does not come back to its progress handler for hours.
constexpr const char* deaf = "SELECT instr(printf('%.*c', 10000000, 'a'), printf('%.*c', 5000000, 'a') || 'b')";

struct Shard {
    SmallShard shard;
    Shard() {
        const auto access = shard.add_stream(5, access_statement);
        for (int i = 0; i < 300; ++i)
            shard.entry(*access, 1000 + i, {{i % 2, {access_event(i, 60'000 * i)}}});
        shard.add_view(
            400, *access,
            "CREATE MATERIALIZED VIEW v AS SELECT window_start, count(*) AS n FROM TUMBLE(access, 1h) GROUP BY 1");
        shard.exec("INSERT INTO v0_400 VALUES (x'01', 0, 60), (x'02', 3600000, 60)");
        shard.add_view(
            401, *access,
            "CREATE MATERIALIZED VIEW b AS SELECT window_start, count(*) AS n FROM TUMBLE(access, 1h) GROUP BY 1",
            "building");
        shard.commit();
    }
};

}  // namespace

TEST_CASE("pool: results, types, parameters, limits") {
    Shard s;
    auto pool = Pool::make(options_for(s.shard.dir()));
    Sink sink;
    auto summary = pool->run(
        request_for("SELECT ts, max(ts) AS m, count(*), status AS st FROM access WHERE ts < '1970-01-01T00:10:00Z'"),
        sink);
    if (!summary) FAIL(summary.error().detail);
    CHECK(sink.names == "ts:TIMESTAMP,m:TIMESTAMP,count(*):INTEGER,st:INTEGER");
    CHECK(sink.rows == "540000|540000|10|200");
    CHECK(summary.value().applied_index.value == 300);
    CHECK(summary.value().rows == 1);
    CHECK_FALSE(summary.value().truncated);

    QueryRequest request = request_for("SELECT ?1, ?2, ?3, ?4, now()");
    request.parameters = {{store::ValueType::integer, 5, 0, ""},
                          {store::ValueType::real, 0, 0.5, ""},
                          {store::ValueType::text, 0, 0, "t"},
                          {}};
    CHECK(run(*pool, request) == "5|0.500|t|NULL|1000000");
    request = request_for("SELECT count(*) FROM access WHERE ts >= :from");
    request.parameters = {{store::ValueType::text, 0, 0, "1970-01-01T04:00:00Z"}};
    CHECK(run(*pool, request) == "60");

    request = request_for("SELECT _offset FROM access");
    request.rows_max = 3;
    Sink cut;
    const auto truncated = pool->run(request, cut);
    CHECK(truncated.value().truncated);
    CHECK(cut.rows == "0;1;2");
    CHECK(run(*pool, "SELECT sum(n) FROM v WHERE window_start > '1970-01-01'") == "60");
    CHECK(run(*pool, "SELECT leader FROM sys.streams") == "n1");
    CHECK(run(*pool, "EXPLAIN QUERY PLAN SELECT 1") != "");
    CHECK(run(*pool, "SELECT 1 WHERE 0") == "");
}

TEST_CASE("pool: a large result streams through bounded frames") {
    Shard s;
    auto pool = Pool::make(options_for(s.shard.dir()));
    QueryRequest request = request_for(
        "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c LIMIT 200000) SELECT x, 'text of row ' || x "
        "FROM c");
    request.rows_max = INT64_MAX;
    Sink sink;
    const auto summary = pool->run(request, sink);
    CHECK(summary.value().rows == 200'000);
    CHECK(sink.count == 200'000);
    request.sql = "SELECT printf('%.*c', 15000000, 'x'), printf('%.*c', 15000000, 'x')";
    CHECK(pool->run(request, sink).value().rows == 1);
    request.sql = "SELECT printf('%.*c', 15000000, 'x'), printf('%.*c', 15000000, 'x'), printf('%.*c', 15000000, 'x')";
    CHECK(run(*pool, request) == "too_large");
    CHECK(run(*pool, "SELECT 1") == "1");
}

TEST_CASE("pool: errors, with positions in the user's text") {
    Shard s;
    auto pool = Pool::make(options_for(s.shard.dir()));
    const auto fails = [&](const std::string& sql, Errc code, std::int64_t position) {
        INFO(sql);
        Sink sink;
        auto summary = pool->run(request_for(sql), sink);
        REQUIRE_FALSE(summary.has_value());
        INFO(summary.error().detail);
        CHECK(summary.error().code == code);
        if (position >= 0) CHECK(summary.error().position == position);
    };
    fails("SELECT * FROM nowhere", Errc::not_found, -1);
    fails("SELECT zzz FROM access", Errc::not_found, -1);
    fails("SELECT * FROM access WHERE ts > '2015-01-01' AND 1 +* 2", Errc::invalid_argument, 52);
    fails("SELECT * FROM access WHERE ts > 'tomorrow'", Errc::invalid_argument, 32);
    fails("DROP STREAM access", Errc::invalid_argument, 0);
    fails("SELECT * FROM b", Errc::building, -1);
    fails("SELECT load_extension('x')", Errc::forbidden, -1);
    fails("SELECT ?1", Errc::invalid_argument, -1);
    QueryRequest large = request_for("SELECT 1");
    large.parameters = {{store::ValueType::text, 0, 0, std::string(17 << 20, 'x')}};
    CHECK(run(*pool, large) == "too_large");
    CHECK(run(*pool, request_for("SELECT " + std::string(200'000, ' ') + "1")) == "too_large");
    CHECK(run(*Pool::make(options_for(s.shard.dir() + "/none")), "SELECT 1") == "io_error");
    PoolOptions options = options_for(s.shard.dir());
    options.program = "/nowhere/weir";
    pool = Pool::make(options);
    CHECK(run(*pool, "SELECT 1") == "io_error");
    CHECK(pool->running() == 0);
}

TEST_CASE("rule: user SQL runs in worker processes: the deadline ends what computes, what is deaf, and what allocates",
          "[rule]") {
    Shard s;
    PoolOptions options = options_for(s.shard.dir());
    options.workers_max = 1;
    auto pool = Pool::make(options);
    CHECK(run(*pool, request_for(endless, 200)) == "deadline");
    const auto worker = children();
    CHECK(run(*pool, "SELECT 1") == "1");
    CHECK(children() == worker);  // the progress handler ended it: the process goes on
    CHECK(run(*pool, request_for(deaf, 200)) == "deadline");
    CHECK(run(*pool, "SELECT 1") == "1");
    CHECK(children() != worker);  // killed, and another one started
    const std::string printf = run(*pool, request_for("SELECT length(printf('%.*c',900000000,'x'))", 300));
    CHECK((printf == "deadline" || printf == "too_large"));
    CHECK(run(*pool, "SELECT 1") == "1");
    if (!sanitized) {
        const std::string hungry = run(*pool,
                                       "WITH RECURSIVE c(x, b) AS (SELECT 1, randomblob(8000000) UNION ALL SELECT x + "
                                       "1, randomblob(8000000) FROM c LIMIT 100) "
                                       "SELECT x FROM c ORDER BY b");
        CHECK(hungry == "too_large");
        CHECK(run(*pool, "SELECT 1") == "1");
    }
}

TEST_CASE("pool: a caller that stops reading") {
    Shard s;
    auto pool = Pool::make(options_for(s.shard.dir()));
    QueryRequest request = request_for(endless_rows);
    request.rows_max = INT64_MAX;
    Sink sink;
    sink.on_row = [&] { return sink.count < 10; };
    CHECK(pool->run(request, sink).error().code == Errc::cancelled);
    CHECK(sink.count == 10);
    Sink early;
    early.stop_at_columns = true;
    CHECK(pool->run(request, early).error().code == Errc::cancelled);
    CHECK(run(*pool, "SELECT 1") == "1");
}

TEST_CASE("pool: a caller that goes away while its query computes or waits") {
    Shard s;
    PoolOptions options = options_for(s.shard.dir());
    options.workers_max = 1;
    auto pool = Pool::make(options);
    for (const char* sql : {endless, deaf}) {
        INFO(sql);
        Sink gone;
        std::vector<pid_t> worker;
        int asked = 0;
        gone.is_wanted = [&] {
            worker = children();
            return ++asked < 3;
        };
        CHECK(pool->run(request_for(sql), gone).error().code == Errc::cancelled);
        CHECK(asked == 3);
        REQUIRE(worker.size() == 1);
        CHECK(::kill(worker[0], 0) == -1);  // at once, not at the deadline
    }
    // One that waits for its turn leaves the queue.
    Sink busy, waits;
    waits.is_wanted = [] { return false; };
    std::string inner;
    QueryRequest request = request_for(endless_rows);
    busy.on_row = [&] {
        const auto ran = pool->run(request_for("SELECT 1"), waits);
        inner = ran ? "ran" : errc_name(ran.error().code);
        return false;
    };
    CHECK(pool->run(request, busy).error().code == Errc::cancelled);
    CHECK(inner == "cancelled");
    CHECK(run(*pool, "SELECT 1") == "1");
}

TEST_CASE("pool: what retention removes under a query ends it as too slow, not as unknown") {
    Shard s;
    auto pool = Pool::make(options_for(s.shard.dir()));
    for (const auto& file : std::filesystem::recursive_directory_iterator(s.shard.dir() + "/streams"))
        if (file.path().extension() == ".log" && file.path().parent_path().filename() == "p1")
            std::filesystem::remove(file.path());
    CHECK(run(*pool, "SELECT count(path) FROM access WHERE _partition = 0") == "150");
    Sink sink;
    const auto ran = pool->run(request_for("SELECT count(path) FROM access"), sink);
    REQUIRE_FALSE(ran);
    CHECK(ran.error().code == Errc::deadline);
    CHECK(ran.error().detail.find("retention removed") != std::string::npos);
    CHECK(run(*pool, "SELECT count(*) FROM nowhere") == "not_found");
}

TEST_CASE("pool: how a worker was ended is told") {
    const auto told = [](const std::string& how) {
        auto pool = Pool::make(options_for("bad:" + how));
        Sink sink;
        return pool->run(request_for("SELECT 1"), sink).error().code;
    };
    CHECK(told("cpu") == Errc::deadline);
    CHECK(told("call") == Errc::forbidden);
}

TEST_CASE("pool: a worker whose files fail is not asked again") {
    Shard s;
    auto pool = Pool::make(options_for(s.shard.dir()));
    CHECK(run(*pool, "SELECT 1") == "1");
    const auto first = children();
    s.shard.exec("UPDATE _objects SET statement = 'DROP STREAM x', version = 2");
    CHECK(run(*pool, "SELECT count(*) FROM access") == "corrupt");
    CHECK(run(*pool, "SELECT 1") == "1");
    CHECK(children() != first);
}

TEST_CASE("pool: a slow reader holds the worker back until the deadline") {
    Shard s;
    auto pool = Pool::make(options_for(s.shard.dir()));
    QueryRequest request = request_for(endless_rows, 300);
    request.rows_max = INT64_MAX;
    Sink sink;
    CHECK(pool->run(request, sink).error().code == Errc::deadline);
    CHECK(sink.count > 0);
}

TEST_CASE("pool: at its limits") {
    Shard s;
    PoolOptions options = options_for(s.shard.dir());
    options.workers_max = 1;
    options.waiting_max = 0;
    auto pool = Pool::make(options);
    QueryRequest request = request_for(endless_rows);
    Sink outer;
    std::string inner;
    outer.on_row = [&] {
        inner = run(*pool, "SELECT 1");
        return false;
    };
    CHECK(pool->run(request, outer).error().code == Errc::cancelled);
    CHECK(inner == "overloaded");

    options.waiting_max = 1;
    pool = Pool::make(options);
    outer.on_row = [&] {
        inner = run(*pool, request_for("SELECT 1", 50));
        return false;
    };
    CHECK(pool->run(request, outer).error().code == Errc::cancelled);
    CHECK(inner == "deadline");

    // Many callers, few workers: each gets its own answer.
    options.workers_max = 2;
    options.waiting_max = 64;
    pool = Pool::make(options);
    std::vector<std::string> answers(16);
    {
        std::vector<std::jthread> threads;
        for (std::size_t i = 0; i < answers.size(); ++i) {
            threads.emplace_back(
                [&, i] { answers[i] = run(*pool, "SELECT " + std::to_string(i) + ", count(*) FROM access"); });
        }
    }
    for (std::size_t i = 0; i < answers.size(); ++i)
        CHECK(answers[i] == std::to_string(i) + "|300");
}

TEST_CASE("rule: a large SQLite log holds new reads: an idle worker reads nothing", "[rule]") {
    Shard s;
    PoolOptions options = options_for(s.shard.dir());
    options.workers_max = 1;
    auto pool = Pool::make(options);
    const auto leaves_no_snapshot = [&](const QueryRequest& request, const std::string& want) {
        INFO(request.sql);
        CHECK(run(*pool, request) == want);
        CHECK(pool->running() == 0);
        CHECK(children().size() == 1);
        s.shard.exec("CREATE TABLE IF NOT EXISTS written(x); INSERT INTO written VALUES (1)");
        CHECK(must(s.shard.database().checkpoint_truncate()));
    };
    leaves_no_snapshot(request_for("SELECT count(*) FROM access"), "300");
    leaves_no_snapshot(request_for("SELECT sum(n) FROM v"), "120");
    leaves_no_snapshot(request_for("SELECT name FROM sys.streams"), "access");
    leaves_no_snapshot(request_for("SELECT zzz FROM access"), "not_found");
    leaves_no_snapshot(request_for("SELECT * FROM nowhere"), "not_found");
    leaves_no_snapshot(request_for("SELECT * FROM b"), "building");
    leaves_no_snapshot(request_for("SELECT json_extract(path, '$') FROM access"), "invalid_argument");
    leaves_no_snapshot(request_for(endless, 100), "deadline");
    QueryRequest cut = request_for("SELECT n FROM v, access");
    cut.rows_max = 1;
    leaves_no_snapshot(cut, "60");
}

TEST_CASE("rule: a large SQLite log holds new reads: held, what runs goes on and new queries wait", "[rule]") {
    Shard s;
    PoolOptions options = options_for(s.shard.dir());
    options.waiting_max = 1;
    auto pool = Pool::make(options);
    CHECK(pool->running() == 0);
    // More than the socket takes: the worker has its snapshot for as long as the sink sits on the first row.
    QueryRequest request = request_for(
        "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c LIMIT 200000) SELECT x, 'text of row ' || x "
        "FROM c");
    request.rows_max = INT64_MAX;
    std::string late;
    std::atomic<bool> late_ended = false;
    std::jthread caller;
    Sink sink;
    sink.on_row = [&] {
        if (sink.count > 1) return true;
        CHECK(pool->running() == 1);
        pool->hold(true);
        s.shard.exec("CREATE TABLE written(x)");
        CHECK_FALSE(must(s.shard.database().checkpoint_truncate()));
        // There is a worker for it, but not now.
        CHECK(run(*pool, request_for("SELECT 1", 50)) == "deadline");
        caller = std::jthread([&] {
            do {  // the one place to wait at may be the question's below
                late = run(*pool, "SELECT count(*) FROM access");
            } while (late == "overloaded");
            late_ended = true;
        });
        while (run(*pool, request_for("SELECT 1", 1)) != "overloaded") {
        }
        CHECK(pool->running() == 1);
        return true;
    };
    CHECK(must(pool->run(request, sink)).rows == 200'000);
    CHECK(pool->running() == 0);
    CHECK_FALSE(late_ended);
    CHECK(must(s.shard.database().checkpoint_truncate()));
    pool->hold(false);
    caller.join();
    CHECK(late == "300");
    CHECK(pool->running() == 0);

    pool->hold(true);
    caller = std::jthread([&] { late = run(*pool, "SELECT 1"); });
    pool->stop();
    caller.join();
    CHECK(late == "shutting_down");
}

TEST_CASE("rule: user SQL runs in worker processes: stopping refuses, kills what runs and leaves no process",
          "[rule]") {
    Shard s;
    auto pool = Pool::make(options_for(s.shard.dir()));
    CHECK(run(*pool, "SELECT 1") == "1");
    Sink sink;
    sink.on_row = [&] {
        pool->stop();
        return true;
    };
    QueryRequest request = request_for(endless_rows);
    request.rows_max = INT64_MAX;
    CHECK(pool->run(request, sink).error().code == Errc::shutting_down);
    CHECK(run(*pool, "SELECT 1") == "shutting_down");
    pool.reset();
    CHECK(children().empty());
}

TEST_CASE("pool: a worker that died while idle is replaced") {
    Shard s;
    PoolOptions options = options_for(s.shard.dir());
    options.workers_max = 1;
    auto pool = Pool::make(options);
    CHECK(run(*pool, "SELECT 1") == "1");
    const auto before = children();
    REQUIRE(before.size() == 1);
    REQUIRE(::kill(before[0], SIGKILL) == 0);
    siginfo_t info{};
    REQUIRE(::waitid(P_PID, static_cast<id_t>(before[0]), &info, WEXITED | WNOWAIT) == 0);
    CHECK(run(*pool, "SELECT 2") == "2");
    CHECK(children() != before);
}

TEST_CASE("pool: a worker is not trusted") {
    const auto answers = [](const std::string& how, const std::string& want) {
        INFO(how);
        auto pool = Pool::make(options_for("bad:" + how));
        CHECK(run(*pool, request_for("SELECT 1", 10'000)) == want);
        CHECK(run(*pool, request_for("SELECT 1", 10'000)) == want);
    };
    answers("abort", "io_error");
    answers("exit", "io_error");
    answers("kill", "too_large");
    for (const char* how : {"noise", "zero", "type", "rows_first", "no_columns", "many_columns", "bad_value",
                            "bad_error", "echo", "bad_row", "row_overrun"}) {
        answers(how, "corrupt");
    }
    auto pool = Pool::make(options_for("bad:silent"));
    CHECK(run(*pool, request_for("SELECT 1", 100)) == "deadline");
}

TEST_CASE("rule: user SQL runs in worker processes: a server table's rows travel with each query that names it",
          "[rule]") {
    SmallShard shard;
    PoolOptions options = options_for(shard.dir());
    std::atomic<int> asked{0};
    options.server_tables = {{"sys.config", {{"key", "TEXT"}, {"value", "TEXT"}}, [&asked] {
                                  const OwnedValue key{store::ValueType::text, 0, 0, "asked"};
                                  const OwnedValue value{store::ValueType::text, 0, 0, std::to_string(++asked)};
                                  return std::vector<std::vector<OwnedValue>>{{key, value}};
                              }}};
    const auto pool = Pool::make(options);
    CHECK(run(*pool, "SELECT key, value FROM sys.config") == "asked|1");
    CHECK(run(*pool, "SELECT 1") == "1");
    CHECK(run(*pool, "SELECT value FROM sys.config c WHERE c.key = 'asked'") == "2");
}

TEST_CASE("pool: server tables that are too large for the way are refused") {
    SmallShard shard;
    PoolOptions options = options_for(shard.dir());
    options.server_tables = {{"sys.huge", {{"x", "TEXT"}}, [] {
                                  const OwnedValue large{store::ValueType::text, 0, 0, std::string(1 << 20, 'x')};
                                  return std::vector<std::vector<OwnedValue>>(17, {large});
                              }}};
    CHECK(run(*Pool::make(options), "SELECT count(*) FROM sys.huge") == "too_large");
}
