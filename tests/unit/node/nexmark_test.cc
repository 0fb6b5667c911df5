#include "node/nexmark.h"

#include <catch2/catch_test_macros.hpp>

#include <algorithm>
#include <string>
#include <unordered_map>
#include <unordered_set>

namespace weir::node {
namespace {

// A million events of seed 0: what other generators of this sequence count (design, stream-sql.md 5.4). The checksum is
// FNV-1a over whole 64-bit words, with the offset basis that its author used (a digit short of the usual one).
TEST_CASE("the generator makes the published sequence") {
    std::int64_t persons = 0, auctions = 0, bids = 0, some_auctions = 0, middle_prices = 0, low = 0, high = 0,
                 sessions = 0;
    std::unordered_set<std::int64_t> seen;
    std::unordered_map<std::int64_t, std::int64_t> last_ms;
    std::uint64_t checksum = 1'469'598'103'934'665'603u;
    for (std::uint64_t number = 0; number < 1'000'000; ++number) {
        switch (nexmark_kind(number)) {
            case NexmarkKind::person:
                ++persons;
                continue;
            case NexmarkKind::auction:
                ++auctions;
                continue;
            case NexmarkKind::bid:
                break;
        }
        const NexmarkBid bid = nexmark_bid(number, 0);
        ++bids;
        some_auctions += bid.auction % 123 == 0 ? 1 : 0;
        const double euro = 0.908 * static_cast<double>(bid.price);
        middle_prices += euro > 1e6 && euro < 5e7 ? 1 : 0;
        low += bid.price < 10'000 ? 1 : 0;
        high += bid.price >= 1'000'000 ? 1 : 0;
        seen.insert(bid.auction);
        const auto [last, is_new] = last_ms.try_emplace(bid.bidder, bid.time_ms);
        sessions += is_new || bid.time_ms - last->second > 10'000 ? 1 : 0;
        last->second = bid.time_ms;
        for (const std::int64_t word : {bid.auction, bid.bidder, bid.price, bid.time_ms})
            checksum = (checksum ^ static_cast<std::uint64_t>(word)) * 0x100000001b3u;
    }
    CHECK(persons == 20'000);
    CHECK(auctions == 60'000);
    CHECK(bids == 920'000);
    CHECK(some_auctions == 6'797);
    CHECK(middle_prices == 260'882);
    CHECK(low == 305'718);
    CHECK(high == 307'431);
    CHECK(sessions == 19'919);
    CHECK(seen.size() == 59'971);
    CHECK(checksum == 0x05467bfb85a61ed0u);
}

TEST_CASE("requests end where a millisecond does, and every bid is a line") {
    const NexmarkLoad made = make_nexmark({.events = 3'000, .batch = 100, .duplicates_percent = 0, .seed = 5});
    REQUIRE(made.bids.size() == 3'000);
    std::int64_t lines = 0;
    std::string last_time;
    for (std::size_t i = 0; i < made.load.requests(); ++i) {
        const std::string body(made.load.body(i));
        REQUIRE_FALSE(body.empty());
        const auto in_request = std::ranges::count(body, '\n');
        CHECK((in_request >= 100 || i + 1 == made.load.requests()));
        CHECK(in_request <= 110);
        const std::string key = "\"date_time\":\"";
        CHECK(body.substr(body.find(key) + key.size(), 24) != last_time);
        last_time = body.substr(body.rfind(key) + key.size(), 24);
        lines += in_request;
    }
    CHECK(lines == 3'000);
    CHECK(make_nexmark({.events = 3'000, .batch = 100, .duplicates_percent = 0, .seed = 5}).load.bodies ==
          made.load.bodies);
    CHECK(make_nexmark({.events = 3'000, .batch = 100, .duplicates_percent = 0, .seed = 6}).load.bodies !=
          made.load.bodies);
}

TEST_CASE("channels and their URLs") {
    CHECK(nexmark_channel(3) == "Apple");
    CHECK(nexmark_channel(4) == "channel-0");
    CHECK(nexmark_url(3).find("channel_id=") == std::string::npos);
    int with_id = 0;
    for (std::int32_t channel = 4; channel < 1'004; ++channel) {
        const std::string url = nexmark_url(channel);
        CHECK(url.starts_with("https://www.nexmark.com/"));
        with_id += url.find("&channel_id=") != std::string::npos ? 1 : 0;
    }
    CHECK(with_id > 850);
    CHECK(with_id < 950);
}

}  // namespace
}  // namespace weir::node
