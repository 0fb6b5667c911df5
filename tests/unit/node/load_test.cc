#include "node/load.h"

#include "record/time.h"

#include <catch2/catch_test_macros.hpp>

#include <algorithm>
#include <map>
#include <set>
#include <string>

namespace weir::node {
namespace {

std::string field(const std::string& line, const std::string& name) {
    const std::size_t at = line.find("\"" + name + "\":");
    REQUIRE(at != std::string::npos);
    std::size_t start = at + name.size() + 3;
    const bool quoted = line[start] == '"';
    if (quoted) ++start;
    return line.substr(start, line.find_first_of(quoted ? "\"" : ",}", start) - start);
}

TEST_CASE("the oracle agrees with the bytes, counted another way") {
    const Load load = make_load({.events = 5'000, .batch = 300, .duplicates_percent = 10, .seed = 7});
    CHECK(load.requests() == 17);
    std::set<std::string> ids;
    GroupSums groups;
    std::int64_t lines = 0;
    for (std::size_t r = 0; r < load.requests(); ++r) {
        std::string body(load.body(r));
        const auto count = std::ranges::count(body, '\n');
        CHECK(count == (r + 1 == load.requests() ? 200 : 300));
        for (std::size_t at = 0; at < body.size();) {
            const std::size_t end = body.find('\n', at);
            const std::string line = body.substr(at, end - at);
            at = end + 1;
            ++lines;
            if (!ids.insert(field(line, "event_id")).second) continue;
            const auto time = record::parse_rfc3339(field(line, "timestamp"));
            REQUIRE(time);
            GroupSum& group = groups[{*time / 3'600'000 * 3'600'000, std::stoll(field(line, "status"))}];
            group.count += 1;
            group.bytes += std::stoll(field(line, "bytes"));
        }
    }
    CHECK(lines == load.events);
    CHECK(static_cast<std::int64_t>(ids.size()) == load.distinct);
    CHECK(load.distinct > 4'300);
    CHECK(load.distinct < 4'700);
    CHECK(groups == load.groups);
}

TEST_CASE("a seed gives the same bytes, another one others") {
    const LoadOptions options{.events = 100, .batch = 10, .duplicates_percent = 5, .seed = 1};
    LoadOptions other = options;
    other.seed = 2;
    CHECK(make_load(options).bodies == make_load(options).bodies);
    CHECK(make_load(options).bodies != make_load(other).bodies);
}

TEST_CASE("events have the size of real ones") {
    const Load load = make_load({.events = 2'000});
    const std::size_t average = load.bodies.size() / 2'000;
    CHECK(average > 245);
    CHECK(average < 280);
}

TEST_CASE("the least load, and none repeated") {
    const Load one = make_load({.events = 1, .batch = 1000, .duplicates_percent = 99});
    CHECK(one.requests() == 1);
    CHECK(one.distinct == 1);
    CHECK(make_load({.events = 1'000, .duplicates_percent = 0}).distinct == 1'000);
}

}  // namespace
}  // namespace weir::node
