#include "node/sql_command.h"

#include "capture.h"
#include "fake_server.h"

#include <catch2/catch_test_macros.hpp>

namespace weir::node {
namespace {

test::FakeReply answer(const test::FakeRequest& request) {
    test::FakeReply reply;
    if (request.body.find("bad") != std::string::npos) {
        reply.status = 400;
        reply.body = R"({"code":"sql_error","detail":"no such column: bad","position":9})";
    } else if (request.body.find("CREATE") != std::string::npos) {
        reply.body = R"({"columns":[],"rows":[],"truncated":false,"applied_index":"0:3","elapsed_ms":4.2})";
    } else {
        reply.body =
            R"({"columns":[{"name":"n","type":"INTEGER"}],"rows":[[42]],"truncated":false,"applied_index":"0:9","elapsed_ms":1})"
            "\n";
    }
    return reply;
}

struct Ran {
    Exit exit;
    std::string out;
    std::string err;
    std::vector<test::FakeRequest> seen;
};

Ran ran(SqlOptions options) {
    test::FakeServer server(answer);
    test::Capture capture;
    Client client(server.choice());
    const Exit exit = run_sql(capture.console, client, options);
    return {exit, capture.out(), capture.err(), server.seen()};
}

TEST_CASE("one statement as a table, JSON, NDJSON and CSV") {
    Ran table = ran({.statement = "SELECT n FROM x;"});
    CHECK(table.exit == Exit::ok);
    CHECK(table.out == " n\n--\n42\n");
    CHECK(table.err == "1 row in 1.0 ms\n");
    CHECK(table.seen[0].target == "/v1/sql");
    Ran json = ran({.statement = "SELECT n FROM x", .format = OutputFormat::json});
    CHECK(json.out == answer({}).body);  // the server's own bytes
    CHECK(json.err.empty());
    CHECK(ran({.statement = "SELECT n", .format = OutputFormat::ndjson}).out == "{\"n\":42}\n");
    CHECK(ran({.statement = "SELECT n", .format = OutputFormat::csv}).out == "n\n42\n");
}

TEST_CASE("a script runs statement by statement and stops at the first error") {
    const Ran good =
        ran({.statement = "CREATE STREAM x (a TEXT); SELECT n FROM x; SELECT n FROM x", .format = OutputFormat::json});
    CHECK(good.exit == Exit::ok);
    CHECK(good.seen.size() == 3);
    CHECK(good.out.front() == '[');
    CHECK(good.out.ends_with("]\n"));

    const Ran broken = ran({.statement = "SELECT n;\n\nSELECT n,\n  bad FROM x;\nSELECT n"});
    CHECK(broken.exit == Exit::failed);
    CHECK(broken.seen.size() == 2);
    CHECK(broken.err.find("error: no such column: bad\n  3 | SELECT n,\n") != std::string::npos);
    const Ran json = ran({.statement = "SELECT bad", .format = OutputFormat::json});
    CHECK(json.out ==
          "{\"error\":{\"code\":\"sql_error\",\"status\":400,\"detail\":\"no such column: bad\",\"position\":9}}\n");
}

TEST_CASE("options travel in the body") {
    SqlOptions options{.statement = "x"};
    CHECK(sql_request("SELECT '\"'", options) == R"({"query":"SELECT '\"'"})");
    options.min_index = "0:17";
    options.timeout_ms = 30'000;
    options.rows_max = 5;
    CHECK(sql_request("SELECT 1", options) ==
          R"({"query":"SELECT 1","min_index":"0:17","timeout_ms":30000,"max_rows":5})");
}

TEST_CASE("nothing to run, and no such file") {
    CHECK(ran({.statement = " ; -- nothing\n"}).exit == Exit::usage);
    CHECK(ran({.file = "/nonexistent.sql"}).exit == Exit::usage);
}

}  // namespace
}  // namespace weir::node
