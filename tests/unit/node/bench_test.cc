#include "node/bench.h"

#include "capture.h"
#include "fake_server.h"
#include "node/detail/bench_parts.h"

#include <catch2/catch_test_macros.hpp>

#include <algorithm>
#include <set>

namespace weir::node {
namespace {

constexpr LoadOptions small{.events = 2'000, .batch = 100, .duplicates_percent = 5, .seed = 3};

std::string view_rows(const GroupSums& groups) {
    std::string rows;
    for (const auto& [key, sum] : groups) {
        rows += (rows.empty() ? "[" : ",[") + std::to_string(key.first) + "," + std::to_string(key.second) + "," +
                std::to_string(sum.count) + "," + std::to_string(sum.bytes) + "]";
    }
    return "{\"columns\":[{\"name\":\"a\"},{\"name\":\"b\"},{\"name\":\"c\"},{\"name\":\"d\"}],\"rows\":[" + rows +
           "]}";
}

// A server that deduplicates by event_id and knows the view's rows beforehand; `forget`: it takes that many duplicates
// for new.
test::FakeServer::Handler model(const GroupSums& groups, int forget) {
    return [groups, forget, ids = std::set<std::string>(), index = 0](const test::FakeRequest& request) mutable {
        test::FakeReply reply;
        if (request.target == "/v1/sql") {
            const bool is_rows = request.body.find("window_start, status, n, bytes FROM") != std::string::npos &&
                                 request.body.find("CREATE") == std::string::npos;
            reply.body = is_rows ? view_rows(groups) : R"({"columns":[{"name":"n"}],"rows":[[1]]})";
            return reply;
        }
        int accepted = 0, duplicates = 0;
        for (std::size_t at = 0; at < request.body.size(); at = request.body.find('\n', at) + 1) {
            const bool is_new = ids.insert(request.body.substr(at + 13, 24)).second;
            if (is_new || forget-- > 0) {
                ++accepted;
            } else {
                ++duplicates;
            }
        }
        reply.body = "{\"accepted\":" + std::to_string(accepted) + ",\"duplicates\":" + std::to_string(duplicates) +
                     ",\"rejected\":0,\"applied_index\":\"0:" + std::to_string(++index) + "\"}";
        return reply;
    };
}

struct Ran {
    Exit exit;
    std::string out;
    std::string err;
};

Ran ran(const test::FakeServer::Handler& handler, BenchKind kind, bool json) {
    test::FakeServer server(handler);
    test::Capture capture;
    BenchOptions options;
    options.kind = kind;
    options.load = small;
    options.connections = 4;
    options.server = server.choice();
    options.json = json;
    const Exit exit = run_bench(capture.console, options);
    return {exit, capture.out(), capture.err()};
}

TEST_CASE("a correct server passes, and the figures are there") {
    const Load load = make_load(small);
    const Ran json = ran(model(load.groups, 0), BenchKind::e2e, true);
    INFO(json.err);
    CHECK(json.exit == Exit::ok);
    for (const char* key :
         {"\"bench\":\"e2e\"", "\"ok\":true", "\"events_per_s\":", "\"mb_per_s\":", "\"p50_ms\":", "\"p99_ms\":",
          "\"view_lag_p50_ms\":", "\"conditions\":{", "\"events\":2000,", "\"bound_by\":"}) {
        INFO(key);
        CHECK(json.out.find(key) != std::string::npos);
    }
    const Ran table = ran(model(load.groups, 0), BenchKind::ingest, false);
    CHECK(table.exit == Exit::ok);
    CHECK(table.out.find("counts agree: ") != std::string::npos);
}

TEST_CASE("a duplicate that was taken for new is found") {
    const Load load = make_load(small);
    const Ran r = ran(model(load.groups, 1), BenchKind::ingest, true);
    CHECK(r.exit == Exit::failed);
    CHECK(r.out.find("\"ok\":false") != std::string::npos);
    CHECK(r.err.find("error: accepted: ") != std::string::npos);
    CHECK(r.err.find("error: duplicates: ") != std::string::npos);
}

TEST_CASE("a view that is wrong is found, also where its totals agree") {
    const Load load = make_load(small);
    GroupSums lost = load.groups;
    lost.begin()->second.count -= 1;
    Ran r = ran(model(lost, 0), BenchKind::ingest, true);
    CHECK(r.exit == Exit::failed);
    CHECK(r.err.find("the view's events") != std::string::npos);
    GroupSums shifted = load.groups;
    shifted.begin()->second.count -= 1;
    shifted.rbegin()->second.count += 1;
    r = ran(model(shifted, 0), BenchKind::ingest, true);
    CHECK(r.exit == Exit::failed);
    CHECK(r.err.find("differ by window and status") != std::string::npos);
}

TEST_CASE("rows of the view") {
    const auto groups = parse_groups(
        R"({"columns":[{"name":"a"},{"name":"b"},{"name":"c"},{"name":"d"}],"rows":[["1970-01-01T01:00:00.000Z",200,3,9]]})");
    REQUIRE(groups);
    CHECK(groups.value() == GroupSums{{{3'600'000, 200}, {3, 9}}});
    CHECK_FALSE(parse_groups(R"({"columns":[{"name":"a"}],"rows":[[1]]})"));
    CHECK_FALSE(
        parse_groups(R"({"columns":[{"name":"a"},{"name":"b"},{"name":"c"},{"name":"d"}],"rows":[["x",1,2,3]]})"));
}

TEST_CASE("the disk's floor") {
    test::Capture capture;
    const auto floor = fdatasync_ms("/tmp", 4096, 20, *capture.console.clock);
    REQUIRE(floor);
    REQUIRE(floor.value().size() == 20);
    CHECK(std::ranges::is_sorted(floor.value()));
    CHECK(floor.value().front() >= 0);
    CHECK_FALSE(fdatasync_ms("/nonexistent", 4096, 20, *capture.console.clock));
}

}  // namespace
}  // namespace weir::node
