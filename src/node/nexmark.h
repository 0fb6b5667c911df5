// Bids of an auction house, as the Nexmark benchmark makes them (Tucker, Tufte, Papadimos, Maier 2008; the generator of
// nexmark/nexmark), from a seed: the same options give the same bytes on every machine.
//
// Event number n is a person, an auction or a bid (1 : 3 : 46 of 50). What is drawn for a bid follows from its number
// alone: splitmix64 that begins at n. Seed 0 is the sequence whose counts and checksum stand in the test.
// No query that runs today reads persons or auctions, so only bids are written out.
#pragma once

#include "node/load.h"

#include <cstdint>
#include <string>
#include <vector>

namespace weir::node {

struct NexmarkBid {
    std::int64_t auction = 0;
    std::int64_t bidder = 0;
    std::int64_t price = 0;    // cents
    std::int64_t time_ms = 0;  // 10,000 events of event time a second
    std::int32_t channel = 0;  // below 4: one of four large ones; else channel - 4 of 10,000 small ones
    std::uint64_t rest = 0;    // the generator's state behind these: what "extra" is drawn from
};

enum class NexmarkKind : std::uint8_t { person, auction, bid };
NexmarkKind nexmark_kind(std::uint64_t number);
// `number` is that of a bid.
NexmarkBid nexmark_bid(std::uint64_t number, std::uint64_t seed);

std::string nexmark_channel(std::int32_t channel);
std::string nexmark_url(std::int32_t channel);
std::string nexmark_extra(std::uint64_t rest);

struct NexmarkLoad {
    Load load;  // groups stay empty; all events are distinct
    std::vector<NexmarkBid> bids;
};
// `options.events` bids. A request ends where a millisecond does, so it may hold a few more than `options.batch`:
// whatever the order of requests, bids of one millisecond have their order in the log.
NexmarkLoad make_nexmark(const LoadOptions& options);

std::string nexmark_stream_sql();

}  // namespace weir::node
