// User SQL runs in worker processes: what such a process is, may and sees.
#include "query/pool.h"
#include "small_shard.h"

#include <catch2/catch_test_macros.hpp>

#include <cstdio>
#include <fcntl.h>
#include <filesystem>
#include <fstream>
#include <functional>
#include <iterator>
#include <sstream>
#include <string>
#include <sys/resource.h>
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
    bool columns(const std::vector<QueryColumn>&) override { return true; }
    bool row(const std::vector<store::Value>& values) override {
        if (on_first && count == 0) on_first();
        ++count;
        if (count <= 20) rows += (rows.empty() ? "" : ";") + shown(values);
        return true;
    }
    std::string rows;
    std::int64_t count = 0;
    std::function<void()> on_first;
};

std::unique_ptr<Pool> pool_over(const std::string& dir) {
    PoolOptions options;
    options.program = WEIR_TEST_WORKER;
    options.shard_dir = dir;
    options.worker_memory_bytes = 128ull << 20;
    return Pool::make(options);
}

QueryRequest request_for(const std::string& sql) {
    QueryRequest request;
    request.sql = sql;
    request.timeout_ms = 60'000;
    request.now_ms = 1'000'000;
    return request;
}

std::string run(Pool& pool, const std::string& sql) {
    Sink sink;
    auto summary = pool.run(request_for(sql), sink);
    return summary ? sink.rows : std::string(errc_name(summary.error().code));
}

std::vector<pid_t> children() {
    std::vector<pid_t> out;
    std::ifstream file("/proc/self/task/" + std::to_string(::getpid()) + "/children");
    for (pid_t pid = 0; file >> pid;)
        out.push_back(pid);
    return out;
}

std::string proc(pid_t pid, const std::string& name) {
    std::ifstream file("/proc/" + std::to_string(pid) + "/" + name);
    return std::string(std::istreambuf_iterator<char>(file), {});
}

// The row of /proc/<pid>/limits that begins with `name`: soft and hard limit.
std::string limit_of(pid_t pid, const std::string& name) {
    const std::string all = proc(pid, "limits");
    const std::size_t at = all.find(name);
    return at == std::string::npos ? std::string() : all.substr(at, all.find('\n', at) - at);
}

// A stream of 40 events, half of them committed, and a view.
struct Shard {
    SmallShard shard;
    record::StreamPtr access = shard.add_stream(5, access_statement);
    Shard() {
        shard.add_view(
            400, *access,
            "CREATE MATERIALIZED VIEW v AS SELECT window_start, count(*) AS n FROM TUMBLE(access, 1h) GROUP BY 1");
        shard.exec("INSERT INTO v0_400 VALUES (x'01', 0, 20)");
        add(0);
        shard.commit();
        add(20);  // in the segments, and of no index that anybody may see
    }
    void add(int first) {
        for (int i = first; i < first + 20; ++i)
            shard.entry(*access, 1000 + i, {{i % 2, {access_event(i, 60'000 * i)}}});
    }
};

}  // namespace

TEST_CASE("rule: user SQL runs in worker processes: started by the first query and not before, and kept for the next",
          "[rule]") {
    Shard s;
    auto pool = pool_over(s.shard.dir());
    CHECK(children().empty());
    CHECK(run(*pool, "SELECT 1") == "1");
    const auto first = children();
    REQUIRE(first.size() == 1);
    CHECK(run(*pool, "SELECT count(*) FROM access") == "20");
    CHECK(children() == first);
    // Spawned, not forked: a program of its own with a word of its own, and none of our files but its socket.
    std::error_code ignored;
    CHECK(std::filesystem::read_symlink("/proc/" + std::to_string(first[0]) + "/exe", ignored).string() ==
          std::filesystem::canonical(WEIR_TEST_WORKER).string());
    CHECK(proc(first[0], "cmdline").find(std::string("sql-worker") + '\0') != std::string::npos);
    pool.reset();
    CHECK(children().empty());
}

TEST_CASE("rule: user SQL runs in worker processes: niced, and bounded in memory and rows", "[rule]") {
    Shard s;
    auto pool = pool_over(s.shard.dir());
    CHECK(run(*pool, "SELECT 1") == "1");
    const auto worker = children();
    REQUIRE(worker.size() == 1);
    const int mine = ::getpriority(PRIO_PROCESS, 0);
    CHECK(::getpriority(PRIO_PROCESS, static_cast<id_t>(worker[0])) == std::min(19, mine + 5));
    if (!sanitized) CHECK(limit_of(worker[0], "Max address space").find("unlimited") == std::string::npos);
    QueryRequest request =
        request_for("WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c) SELECT x FROM c");
    request.rows_max = 7;
    Sink sink;
    const auto summary = pool->run(request, sink);
    REQUIRE(summary.has_value());
    CHECK(sink.rows == "1;2;3;4;5;6;7");
    CHECK(summary.value().truncated);
    CHECK(children() == worker);
}

TEST_CASE("rule: user SQL runs in worker processes: the kernel holds them, whatever the SQL layer overlooks",
          "[rule]") {
    Shard s;
    auto pool = pool_over(s.shard.dir());
    CHECK(run(*pool, "SELECT 1") == "1");
    const auto worker = children();
    REQUIRE(worker.size() == 1);
    std::istringstream cpu(limit_of(worker[0], "Max cpu time").substr(12));
    int seconds = 0;
    CHECK((cpu >> seconds && seconds >= 60 && seconds < 70));  // the query's 60 s, and a little
    if (sanitized) return;
    CHECK(proc(worker[0], "status").find("Seccomp:\t2") != std::string::npos);
    CHECK(proc(worker[0], "status").find("NoNewPrivs:\t1") != std::string::npos);
    CHECK(limit_of(worker[0], "Max file size").find(" 0  ") != std::string::npos);
    CHECK(limit_of(worker[0], "Max core file size").find(" 0  ") != std::string::npos);
    CHECK(limit_of(worker[0], "Max open files").find(" 256 ") != std::string::npos);
}

TEST_CASE(
    "rule: user SQL runs in worker processes: it opens everything for reading only, and reads the segments itself",
    "[rule]") {
    Shard s;
    auto pool = pool_over(s.shard.dir());
    QueryRequest request = request_for(
        "SELECT a.path, c.x FROM access a, (WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL "
        "SELECT x + 1 FROM c LIMIT 20000) SELECT x FROM c) c ORDER BY a._offset");
    request.rows_max = INT64_MAX;
    Sink sink;
    int databases = 0;
    sink.on_first = [&] {
        const auto worker = children();
        REQUIRE(worker.size() == 1);
        const std::string of = "/proc/" + std::to_string(worker[0]);
        for (const auto& fd : std::filesystem::directory_iterator(of + "/fd")) {
            const std::string file = std::filesystem::read_symlink(fd.path()).string();
            // SQLite's own log and its index are open for writing: readers note there how far they read.
            if (file.rfind(s.shard.dir(), 0) != 0 || file.ends_with("-shm") || file.ends_with("-wal")) continue;
            INFO(file);
            const std::string facts = proc(worker[0], "fdinfo/" + fd.path().filename().string());
            const std::size_t at = facts.find("flags:");
            REQUIRE(at != std::string::npos);
            CHECK((std::strtol(facts.c_str() + at + 6, nullptr, 8) & O_ACCMODE) == O_RDONLY);
            databases += file.ends_with("/view.db") ? 1 : 0;
        }
    };
    CHECK(pool->run(request, sink).has_value());
    CHECK(databases > 0);
    // Without its segments a stream is not to be read; what SQLite holds is.
    std::filesystem::remove_all(apply::stream_dir(s.shard.dir(), s.access->id));
    CHECK(run(*pool, "SELECT count(path) FROM access") != "20");
    CHECK(run(*pool, "SELECT n FROM v") == "20");
}

TEST_CASE("rule: user SQL runs in worker processes: users can neither write nor attach nor see what is internal",
          "[rule]") {
    Shard s;
    auto pool = pool_over(s.shard.dir());
    const std::string outside = s.shard.dir() + "/outside.db";
    const auto refused = [&](const std::string& sql) {
        INFO(sql);
        const std::string answer = run(*pool, sql);
        CHECK((answer == "invalid_argument" || answer == "forbidden" || answer == "not_found"));
    };
    for (const char* sql : {"INSERT INTO v VALUES (1, 2)",
                            "UPDATE v SET n = 0",
                            "DELETE FROM v",
                            "DROP TABLE v0_400",
                            "CREATE TABLE t(x)",
                            "CREATE TEMP TABLE t(x)",
                            "REPLACE INTO access VALUES (1)",
                            "PRAGMA user_version = 9",
                            "PRAGMA journal_mode = DELETE",
                            "PRAGMA query_only = 0",
                            "VACUUM",
                            "REINDEX",
                            "ANALYZE",
                            "BEGIN",
                            "COMMIT",
                            "SAVEPOINT a",
                            "DETACH main",
                            "WITH x AS (SELECT 1) DELETE FROM v",
                            "SELECT * FROM _objects",
                            "SELECT * FROM main._objects",
                            "SELECT * FROM v0_400",
                            "SELECT * FROM sqlite_master",
                            "SELECT * FROM main.sqlite_schema",
                            "SELECT * FROM pragma_database_list",
                            "SELECT load_extension('/tmp/x')",
                            "SELECT writefile('/tmp/x', 'x')",
                            "SELECT readfile('/etc/passwd')",
                            "SELECT 1; DROP TABLE v0_400"})
        refused(sql);
    refused("ATTACH '" + outside + "' AS o");
    refused("VACUUM INTO '" + outside + "'");
    CHECK_FALSE(std::filesystem::exists(outside));
    CHECK(run(*pool, "SELECT n FROM v") == "20");
    CHECK(must(s.shard.database().prepare("SELECT 1 FROM v0_400"))->step().value());
}

TEST_CASE(
    "rule: one read is one index: a stream is scanned up to what was committed with the index, whatever its files "
    "hold",
    "[rule]") {
    Shard s;
    auto pool = pool_over(s.shard.dir());
    const std::string both =
        "SELECT (SELECT count(*) FROM access), (SELECT count(path) FROM access), (SELECT sum(n) FROM "
        "v), (SELECT events FROM sys.streams)";
    CHECK(run(*pool, both) == "20|20|20|20");
    // The writer commits between two rows of a read: its snapshot stays what it was, in segments too.
    QueryRequest request = request_for(
        "SELECT (SELECT count(path) FROM access) AS n, c.x FROM (WITH RECURSIVE c(x) AS "
        "(SELECT 1 UNION ALL SELECT x + 1 FROM c LIMIT 200000) SELECT x FROM c) c, access "
        "a WHERE a._offset = 9 AND a._partition = 0");
    request.rows_max = INT64_MAX;
    Sink sink;
    sink.on_first = [&] {
        s.shard.exec("UPDATE v0_400 SET c1 = 40");
        s.shard.commit();
    };
    const auto summary = pool->run(request, sink);
    REQUIRE(summary.has_value());
    CHECK(summary.value().applied_index.value == 20);
    CHECK(summary.value().rows == 200'000);
    CHECK(sink.rows.substr(0, 5) == "20|1;");
    CHECK(run(*pool, both) == "40|40|40|40");
}
