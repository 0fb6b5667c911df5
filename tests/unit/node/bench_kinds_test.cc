// The measurements that start a server of their own: here it is a script that names a fake one.
#include "capture.h"
#include "fake_server.h"
#include "node/bench.h"
#include "node/nexmark_queries.h"

#include <catch2/catch_test_macros.hpp>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <map>
#include <set>
#include <sstream>
#include <sys/stat.h>

namespace weir::node {
namespace {

struct Ran {
    Exit exit;
    std::string out;
    std::string err;
    std::size_t left_behind;  // entries of the folder that was measured
};

Ran ran(const test::FakeServer::Handler& handler, BenchOptions options) {
    test::FakeServer server(handler);
    test::Capture capture;
    char pattern[] = "/tmp/weir-bench-kinds-test-XXXXXX";
    REQUIRE(mkdtemp(pattern) != nullptr);
    const std::string folder = pattern;
    std::filesystem::create_directory(folder + "/disk");
    options.program = folder + "/program";
    std::ofstream(options.program) << "#!/bin/sh\necho \"$@\" >> " << folder << "/words\necho '" << server.url()
                                   << "/v1'\necho 'ready in 5 ms'\nexec sleep 60\n";
    chmod(options.program.c_str(), 0755);
    options.dir = folder + "/disk";
    options.json = true;
    const Exit exit = run_bench(capture.console, options);
    const auto left = std::distance(std::filesystem::directory_iterator(options.dir), {});
    std::ifstream said(folder + "/words");
    for (std::string words; std::getline(said, words);) {
        INFO(words);
        CHECK(words.find("serve --data " + options.dir + "/") == 0);
    }
    std::filesystem::remove_all(folder);
    return {exit, capture.out(), capture.err(), static_cast<std::size_t>(left)};
}

void has(const Ran& r, std::initializer_list<const char*> members) {
    INFO(r.err);
    INFO(r.out);
    for (const char* member : members) {
        INFO(member);
        CHECK(r.out.find(member) != std::string::npos);
    }
}

// "a b \n" -> [["a","b"]]
std::string answer_of(const std::vector<std::string>& rows, std::size_t columns) {
    std::string names, cells;
    for (std::size_t i = 0; i < columns; ++i)
        names += (i == 0 ? "" : ",") + std::string("{\"name\":\"c\"}");
    for (const std::string& row : rows) {
        std::istringstream words(row);
        std::string word, line;
        while (words >> word)
            line += (line.empty() ? "\"" : ",\"") + word + "\"";
        cells += (cells.empty() ? "[" : ",[") + line + "]";
    }
    return "{\"columns\":[" + names + "],\"rows\":[" + cells + "]}";
}

std::string answer_of(const std::vector<std::string>& rows) {
    return answer_of(rows, rows.empty() ? 1 : static_cast<std::size_t>(std::ranges::count(rows[0], ' ')));
}

bool asks(const test::FakeRequest& request, const std::string& sql) {
    return request.body.find("\"query\":\"" + sql + "\"") != std::string::npos;
}

// Takes every line for new, but those whose first 40 bytes it has seen and `forget` does not excuse.
class Intake {
  public:
    explicit Intake(int forget) : forget_(forget) {}
    std::string answer(const std::string& body) {
        int accepted = 0, duplicates = 0;
        for (std::size_t at = 0; at < body.size(); at = body.find('\n', at) + 1) {
            if (seen_.insert(body.substr(at, 40)).second || forget_-- > 0) {
                ++accepted;
            } else {
                ++duplicates;
            }
        }
        return "{\"accepted\":" + std::to_string(accepted) + ",\"duplicates\":" + std::to_string(duplicates) +
               ",\"rejected\":0,\"applied_index\":\"0:" + std::to_string(++index_) + "\"}";
    }

  private:
    std::set<std::string> seen_;
    int forget_;
    int index_ = 0;
};

test::FakeServer::Handler dedup_model(int forget) {
    return [intake = Intake(forget)](const test::FakeRequest& request) mutable {
        test::FakeReply reply;
        reply.body =
            request.method == "POST" && request.target != "/v1/sql" ? intake.answer(request.body) : answer_of({"1 "});
        return reply;
    };
}

TEST_CASE("bench dedup counts what a restarted server knows again, and leaves nothing") {
    BenchOptions options;
    options.kind = BenchKind::dedup;
    options.load = {.events = 2'000, .batch = 100, .duplicates_percent = 20, .seed = 3};
    const Ran right = ran(dedup_model(0), options);
    CHECK(right.exit == Exit::ok);
    CHECK(right.left_behind == 0);
    has(right,
        {"\"bench\":\"dedup\"", "\"ok\":true", "\"events_per_s\":", "\"mb_per_s\":", "\"p50_ms\":", "\"p99_ms\":",
         "\"cpu_ns_per_event\":", "\"rss_mb\":", "\"conditions\":{", "\"ids\":2000,", "\"bound_by\":"});
    const Ran wrong = ran(dedup_model(1), options);
    CHECK(wrong.exit == Exit::failed);
    CHECK(wrong.err.find("error: duplicates: ") != std::string::npos);
}

// `shift`: what a scan answers too much. `order`: users of a page.
test::FakeServer::Handler sql_model(const Load& load, int shift, std::vector<std::string> order) {
    std::int64_t bytes = 0;
    std::map<std::int64_t, std::int64_t> by_status;
    for (const auto& [key, sum] : load.groups) {
        bytes += sum.bytes;
        by_status[key.second] += sum.count;
    }
    std::vector<std::string> statuses;
    for (const auto& [status, count] : by_status)
        statuses.push_back(std::to_string(status) + " " + std::to_string(count) + " ");
    const std::string count = std::to_string(load.distinct) + " ";
    return [=, intake = Intake(0)](const test::FakeRequest& request) mutable {
        test::FakeReply reply;
        if (request.target != "/v1/sql") {
            reply.body = intake.answer(request.body);
        } else if (asks(request, "SELECT count(*) FROM bench")) {
            reply.body = answer_of({count});
        } else if (asks(request, "SELECT count(*), sum(bytes) FROM bench")) {
            reply.body = answer_of({count + std::to_string(bytes + shift) + " "});
        } else if (asks(request, "SELECT status, count(*) FROM bench GROUP BY status ORDER BY status")) {
            reply.body = answer_of(statuses);
        } else if (request.body.find("LIMIT 100") != std::string::npos) {
            reply.body = answer_of(order);
        } else {
            reply.body = answer_of({"w "});
        }
        return reply;
    };
}

TEST_CASE("bench sql compares every scan and the order of every page") {
    BenchOptions options;
    options.kind = BenchKind::sql;
    options.load = {.events = 1'000, .batch = 100, .duplicates_percent = 0, .seed = 3};
    const Load load = make_load(options.load);
    const Ran right = ran(sql_model(load, 0, {"w A 1 ", "w B 1 "}), options);
    CHECK(right.exit == Exit::ok);
    has(right, {"\"bench\":\"sql\"", "\"ok\":true", "\"rows_per_s\":", "\"p99_ms\":", "\"rss_mb\":", "\"conditions\":{",
                "\"bound_by\":"});
    const Ran wrong = ran(sql_model(load, 1, {"w A 1 "}), options);
    CHECK(wrong.exit == Exit::failed);
    CHECK(wrong.err.find("sum(bytes) FROM bench does not answer what was sent") != std::string::npos);
    const Ran mixed = ran(sql_model(load, 0, {"w B 1 ", "w A 1 "}), options);
    CHECK(mixed.exit == Exit::failed);
    CHECK(mixed.err.find("out of order behind user B") != std::string::npos);
}

TEST_CASE("bench wal measures each size beside the bare disk, and leaves nothing") {
    BenchOptions options;
    options.kind = BenchKind::wal;
    options.load.events = 5;
    const Ran r = ran(dedup_model(0), options);
    CHECK(r.exit == Exit::ok);
    CHECK(r.left_behind == 0);
    has(r, {"\"bench\":\"wal\"", "\"ok\":true", "\"bytes\":4096", "\"bytes\":1048576", "\"appends\":5",
            "\"bare_p50_ms\":", "\"conditions\":{", "\"bound_by\":\"fdatasync\""});
}

// Answers every query with its oracle, but for `lies_about`, whose last row it leaves out.
test::FakeServer::Handler nexmark_model(const std::vector<NexmarkBid>& bids, const std::string& lies_about) {
    return [&bids, lies_about, intake = Intake(1'000'000)](const test::FakeRequest& request) mutable {
        test::FakeReply reply;
        if (request.target != "/v1/sql") {
            reply.body = intake.answer(request.body);
            return reply;
        }
        reply.body = answer_of({"1 "});
        const auto answer = [&](const NexmarkQuery& query, const std::string& sql) {
            if (!asks(request, sql)) return;
            NexmarkRows rows = query.oracle(bids);
            const std::string first = rows.empty() ? "1 " : rows[0];
            if (query.name == lies_about) rows.pop_back();
            reply.body = answer_of(rows, static_cast<std::size_t>(std::ranges::count(first, ' ')));
        };
        for (const NexmarkQuery& query : nexmark_views())
            answer(query, std::string("SELECT * FROM nexmark_") + query.name);
        for (const NexmarkQuery& query : nexmark_scans())
            answer(query, query.sql);
        return reply;
    };
}

TEST_CASE("bench nexmark compares each view and each scan with the oracle") {
    BenchOptions options;
    options.kind = BenchKind::nexmark;
    options.load = {.events = 2'000, .batch = 500, .duplicates_percent = 0, .seed = 3};
    const NexmarkLoad made = make_nexmark(options.load);
    const Ran right = ran(nexmark_model(made.bids, ""), options);
    CHECK(right.exit == Exit::ok);
    CHECK(right.left_behind == 0);
    has(right, {"\"bench\":\"nexmark\"", "\"ok\":true", "\"events_per_s\":", "\"mb_per_s\":", "\"p50_ms\":",
                "\"p99_ms\":", "\"cpu_ns_per_event\":", "\"rss_mb\":", "\"query\":\"q18\"",
                "\"visible_events_per_s\":", "\"rows_per_s\":", "\"rewritten\":", "\"conditions\":{", "\"bound_by\":"});
    for (const char* lie : {"q12", "q2"}) {
        const Ran wrong = ran(nexmark_model(made.bids, lie), options);
        CHECK(wrong.exit == Exit::failed);
        CHECK(wrong.err.find("error: " + std::string(lie) + ": ") != std::string::npos);
    }
}

TEST_CASE("rows of an answer have one text, whatever digits a number came with") {
    RowSet answer;
    answer.rows = {{{Cell::Kind::text, "b"}, {Cell::Kind::number, "5.0"}},
                   {{Cell::Kind::text, "a"}, {Cell::Kind::number, "0.10000000000000001"}}};
    CHECK(nexmark_rows(answer) == NexmarkRows{"a 0.10000000000000001 ", "b 5 "});
    answer.rows = {{{Cell::Kind::text, "a"}, {Cell::Kind::number, "1e-1"}}};
    CHECK(nexmark_rows(answer) == NexmarkRows{"a 0.10000000000000001 "});
}

}  // namespace
}  // namespace weir::node
