#include "node/demo_traffic.h"

#include "node/detail/json.h"
#include "record/time.h"
#include "sql/statement.h"

#include <catch2/catch_test_macros.hpp>

#include <map>
#include <set>

namespace weir::node {
namespace {

constexpr std::int64_t noon_ms = 1'763'640'000'000;

DemoLines lines_of(std::uint64_t seed, std::uint64_t first, int count) {
    DemoTraffic traffic(seed, first);
    DemoLines lines;
    for (int i = 0; i < count; ++i)
        traffic.append(noon_ms + i * 10, lines);
    return lines;
}

std::vector<std::string> split(const std::string& text) {
    std::vector<std::string> lines;
    for (std::size_t at = 0; at < text.size();) {
        const std::size_t end = text.find('\n', at);
        lines.push_back(text.substr(at, end - at));
        at = end + 1;
    }
    return lines;
}

TEST_CASE("the same seed and times give the same bytes, another seed others") {
    CHECK(lines_of(1, 0, 2000).requests == lines_of(1, 0, 2000).requests);
    CHECK(lines_of(1, 0, 2000).orders == lines_of(1, 0, 2000).orders);
    CHECK(lines_of(1, 0, 2000).requests != lines_of(2, 0, 2000).requests);
}

TEST_CASE("the story follows from the seed, whatever the time") {
    const auto ids = [](std::int64_t step_ms) {
        DemoTraffic traffic(7, 0);
        DemoLines lines;
        for (int i = 0; i < 3000; ++i)
            traffic.append(noon_ms + i * step_ms, lines);
        std::vector<std::string> found;
        for (const std::string& line : split(lines.orders))
            found.push_back(line.substr(0, line.find(",\"timestamp\"")));
        return found;
    };
    CHECK(ids(10) == ids(1000));
}

TEST_CASE("a shop that comes back goes on where it was") {
    DemoTraffic whole(3, 0);
    DemoLines before, after;
    for (int i = 0; i < 1000; ++i)
        whole.append(noon_ms, before);
    for (int i = 0; i < 1000; ++i)
        whole.append(noon_ms, after);
    DemoTraffic again(3, 1000);
    DemoLines rest;
    for (int i = 0; i < 1000; ++i)
        again.append(noon_ms, rest);
    CHECK(again.next() == 2000);
    // But for repeats of what it no longer remembers.
    const std::vector<std::string> want = split(after.requests), got = split(rest.requests);
    REQUIRE(got.size() == want.size());
    std::size_t differ = 0;
    for (std::size_t i = 0; i < want.size(); ++i)
        differ += got[i] != want[i] ? 1 : 0;
    CHECK(differ < 40);
}

TEST_CASE("as many duplicates, late and broken lines as it says") {
    constexpr int count = 40'000;
    const DemoLines lines = lines_of(42, 0, count);
    CHECK(lines.request_count == count);
    std::set<std::string> seen;
    std::int64_t repeated = 0, broken = 0, late = 0, at = 0;
    for (const std::string& line : split(lines.requests)) {
        const std::int64_t now_ms = noon_ms + at++ * 10;
        if (!seen.insert(line).second) {
            ++repeated;
            continue;
        }
        const Result<Json> event = parse_json(line);
        const bool whole = event && member(event.value(), "event_id").is_string() &&
                           member(event.value(), "status").is_number_integer() &&
                           integer_of(member(event.value(), "status")) >= 100;
        const auto time = whole ? record::parse_rfc3339(string_of(member(event.value(), "timestamp"))) : std::nullopt;
        if (!time || *time > now_ms) {
            ++broken;
            continue;
        }
        if (*time < now_ms - 9 * 60'000) ++late;
    }
    const auto near = [&](std::int64_t found, std::uint64_t permille) {
        const double share = static_cast<double>(found) * 1000 / count;
        return share > static_cast<double>(permille) * 0.8 && share < static_cast<double>(permille) * 1.2;
    };
    CHECK(near(repeated, demo_duplicates_permille));
    CHECK(near(broken, demo_bad_permille));
    CHECK(near(late, demo_late_permille));
}

TEST_CASE("an order is of a request of the same visitor") {
    const DemoLines lines = lines_of(5, 0, 5000);
    std::map<std::string, std::string> visitors;
    for (const std::string& line : split(lines.requests)) {
        const Result<Json> event = parse_json(line);
        if (event) visitors[string_of(member(event.value(), "event_id"))] = string_of(member(event.value(), "visitor"));
    }
    const std::vector<std::string> orders = split(lines.orders);
    CHECK(static_cast<std::int64_t>(orders.size()) == lines.order_count);
    CHECK(orders.size() > 50);
    for (const std::string& line : orders) {
        const Result<Json> order = parse_json(line);
        REQUIRE(order);
        CHECK(visitors[string_of(member(order.value(), "request_id"))] == string_of(member(order.value(), "visitor")));
        CHECK(integer_of(member(order.value(), "total_cents")) > 0);
    }
}

TEST_CASE("its statements are statements") {
    for (const std::string& statement : demo_statements()) {
        INFO(statement);
        CHECK(sql::split_statements(statement).size() == 1);
        CHECK(statement.find("IF NOT EXISTS") != std::string::npos);
    }
}

}  // namespace
}  // namespace weir::node
