#include "node/nexmark.h"

#include "base/check.h"
#include "base/prng.h"
#include "record/time.h"

#include <algorithm>
#include <array>
#include <cmath>

namespace weir::node {
namespace {

constexpr std::int64_t first_event_ms = 1'436'918'400'000;  // 2015-07-15T00:00:00Z
constexpr std::uint64_t event_gap_us = 100;
constexpr std::uint64_t events_a_round = 50;  // 1 person, 3 auctions, 46 bids
constexpr std::int64_t first_id = 1'000;      // of persons and of auctions
constexpr std::int64_t active_people = 1'000;
constexpr std::int64_t auctions_in_flight = 100;
constexpr std::int64_t id_lead = 10;     // a bid may name a person or an auction that comes a little later
constexpr std::int64_t hot_every = 100;  // the hot one changes with every so many
constexpr std::uint64_t small_channels = 10'000;
constexpr std::array<const char*, 4> large_channels{"Google", "Facebook", "Baidu", "Apple"};

// splitmix64 as a sequence.
class Draws {
  public:
    explicit Draws(std::uint64_t state) : state_(state) {}
    std::uint64_t next() {
        const std::uint64_t value = mix64(state_);
        state_ += 0x9E3779B97F4A7C15ull;
        return value;
    }
    std::int64_t below(std::int64_t bound) {
        __extension__ using Wide = unsigned __int128;
        return static_cast<std::int64_t>(static_cast<Wide>(next()) * static_cast<std::uint64_t>(bound) >> 64);
    }
    double unit() { return static_cast<double>(next() >> 11) * 0x1p-53; }
    bool is_hot(std::int64_t ratio) { return below(ratio) > 0; }
    std::uint64_t state() const { return state_; }

  private:
    std::uint64_t state_;
};

std::int64_t last_person(std::uint64_t number) {
    return static_cast<std::int64_t>(number / events_a_round);
}

// Of a bid: the third auction of its round.
std::int64_t last_auction(std::uint64_t number) {
    return static_cast<std::int64_t>(number / events_a_round) * 3 + 2;
}

void append_word(std::string& out, Draws& draws, std::int64_t letters) {
    for (std::int64_t i = 0; i < letters; ++i)
        out += static_cast<char>('a' + draws.below(26));
}

std::uint64_t reversed_bits(std::uint64_t value) {
    std::uint64_t out = 0;
    for (int i = 0; i < 32; ++i)
        out |= (value >> i & 1) << (31 - i);
    return out;
}

void append_bid(std::string& out, const NexmarkBid& bid) {
    out += "{\"auction\":" + std::to_string(bid.auction);
    out += ",\"bidder\":" + std::to_string(bid.bidder);
    out += ",\"price\":" + std::to_string(bid.price);
    out += ",\"channel\":\"" + nexmark_channel(bid.channel);
    out += "\",\"url\":\"" + nexmark_url(bid.channel);
    out += "\",\"date_time\":\"" + record::format_rfc3339(bid.time_ms);
    out += "\",\"extra\":\"" + nexmark_extra(bid.rest);
    out += "\"}\n";
}

}  // namespace

NexmarkKind nexmark_kind(std::uint64_t number) {
    const std::uint64_t place = number % events_a_round;
    if (place == 0) return NexmarkKind::person;
    return place < 4 ? NexmarkKind::auction : NexmarkKind::bid;
}

NexmarkBid nexmark_bid(std::uint64_t number, std::uint64_t seed) {
    DCHECK(nexmark_kind(number) == NexmarkKind::bid);
    Draws draws(seed == 0 ? number : mix64(seed) + number);
    NexmarkBid bid;
    bid.time_ms = first_event_ms + static_cast<std::int64_t>(number * event_gap_us / 1000);
    const std::int64_t auction = last_auction(number);
    if (draws.is_hot(2)) {
        bid.auction = auction / hot_every * hot_every;
    } else {
        const std::int64_t oldest = std::max<std::int64_t>(auction - auctions_in_flight, 0);
        bid.auction = oldest + draws.below(auction - oldest + 1 + id_lead);
    }
    const std::int64_t person = last_person(number);
    if (draws.is_hot(4)) {
        bid.bidder = person / hot_every * hot_every + 1;
    } else {
        const std::int64_t active = std::min(person + 1, active_people);
        bid.bidder = person + 1 - active + draws.below(active + id_lead);
    }
    bid.auction += first_id;
    bid.bidder += first_id;
    bid.price = std::llround(std::pow(10.0, draws.unit() * 6) * 100);
    bid.channel = static_cast<std::int32_t>(draws.is_hot(2) ? draws.below(4) : 4 + draws.below(small_channels));
    bid.rest = draws.state();
    return bid;
}

std::string nexmark_channel(std::int32_t channel) {
    if (channel < 4) return large_channels[static_cast<std::size_t>(channel)];
    return "channel-" + std::to_string(channel - 4);
}

std::string nexmark_url(std::int32_t channel) {
    Draws draws(static_cast<std::uint64_t>(channel));
    std::string url = "https://www.nexmark.com/";
    for (int i = 0; i < 3; ++i) {
        append_word(url, draws, 5);
        url += '/';
    }
    url += "item.htm?query=1";
    if (channel >= 4 && draws.is_hot(10))
        url += "&channel_id=" + std::to_string(reversed_bits(static_cast<std::uint64_t>(channel - 4)));
    return url;
}

std::string nexmark_extra(std::uint64_t rest) {
    // A bid's four numbers and this come to 100 bytes, a fifth more or less.
    Draws draws(rest);
    std::string extra;
    append_word(extra, draws, 48 + draws.below(40));
    return extra;
}

NexmarkLoad make_nexmark(const LoadOptions& options) {
    CHECK(options.events >= 1 && options.events <= load_events_max);
    CHECK(options.batch >= 1);
    constexpr std::size_t event_bytes_estimate = 260;
    NexmarkLoad made;
    Load& load = made.load;
    load.events = load.distinct = options.events;
    load.bodies.reserve(static_cast<std::size_t>(options.events) * event_bytes_estimate);
    load.at.push_back(0);
    std::int64_t in_request = 0;
    for (std::uint64_t number = 0; static_cast<std::int64_t>(made.bids.size()) < options.events; ++number) {
        if (nexmark_kind(number) != NexmarkKind::bid) continue;
        const NexmarkBid bid = nexmark_bid(number, options.seed);
        if (in_request >= options.batch && made.bids.back().time_ms != bid.time_ms) {
            load.at.push_back(load.bodies.size());
            in_request = 0;
        }
        append_bid(load.bodies, bid);
        made.bids.push_back(bid);
        ++in_request;
    }
    load.at.push_back(load.bodies.size());
    return made;
}

std::string nexmark_stream_sql() {
    return "CREATE STREAM bid (\n"
           "  auction INTEGER NOT NULL, bidder INTEGER NOT NULL, price INTEGER NOT NULL, channel TEXT, url TEXT,\n"
           "  date_time TIMESTAMP, extra TEXT,\n"
           "  EVENT TIME date_time DELAY 4s\n"
           ") PARTITIONS 4 BY auction";
}

}  // namespace weir::node
