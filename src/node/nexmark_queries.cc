#include "node/nexmark_queries.h"

#include "record/time.h"

#include <algorithm>
#include <array>
#include <cstdio>
#include <cstdlib>
#include <limits>
#include <map>
#include <set>
#include <string_view>
#include <unordered_map>
#include <unordered_set>
#include <utility>

namespace weir::node {
namespace {

constexpr std::int64_t ten_seconds_ms = 10'000;
constexpr std::int64_t day_ms = 86'400'000;
constexpr std::int64_t hot_item_bids = 20;

std::string real_text(double value) {
    std::array<char, 40> text{};
    std::snprintf(text.data(), text.size(), "%.17g", value);
    return text.data();
}

std::int64_t window_of(const NexmarkBid& bid, std::int64_t size_ms) {
    return bid.time_ms / size_ms * size_ms;
}

// Which of the three price ranges: 0, 1, 2.
std::size_t rank_of(const NexmarkBid& bid) {
    if (bid.price < 10'000) return 0;
    return bid.price < 1'000'000 ? 1 : 2;
}

class Row {
  public:
    Row& add(std::int64_t value) { return add(std::to_string(value)); }
    Row& add(const std::string& text) {
        text_ += text + " ";
        return *this;
    }
    Row& time(std::int64_t ms) { return add(record::format_rfc3339(ms)); }
    const std::string& text() const { return text_; }

  private:
    std::string text_;
};

// The groups of a view by (window, second key), in one pass; `show` writes what stands behind the two.
template <typename Group, typename Key, typename Add, typename Show>
NexmarkRows grouped(const std::vector<NexmarkBid>& bids, std::int64_t window_ms, Key key, Add add, Show show) {
    std::map<std::int64_t, std::unordered_map<std::int64_t, Group>> windows;
    for (const NexmarkBid& bid : bids)
        add(windows[window_of(bid, window_ms)][key(bid)], bid);
    NexmarkRows rows;
    for (const auto& [start, groups] : windows) {
        for (const auto& [id, group] : groups) {
            Row row;
            row.time(start);
            if (show(row, id, group)) rows.push_back(row.text());
        }
    }
    std::ranges::sort(rows);
    return rows;
}

std::int64_t auction_of(const NexmarkBid& bid) {
    return bid.auction;
}
std::int64_t bidder_of(const NexmarkBid& bid) {
    return bid.bidder;
}

NexmarkRows hot_items(const std::vector<NexmarkBid>& bids) {
    return grouped<std::int64_t>(
        bids, ten_seconds_ms, auction_of, [](std::int64_t& count, const NexmarkBid&) { ++count; },
        [](Row& row, std::int64_t auction, std::int64_t count) {
            row.add(auction).add(count);
            return count >= hot_item_bids;
        });
}

NexmarkRows highest_bids(const std::vector<NexmarkBid>& bids) {
    return grouped<std::int64_t>(
        bids, ten_seconds_ms, [](const NexmarkBid&) { return std::int64_t{0}; },
        [](std::int64_t& highest, const NexmarkBid& bid) { highest = std::max(highest, bid.price); },
        [](Row& row, std::int64_t, std::int64_t highest) {
            row.add(highest);
            return true;
        });
}

NexmarkRows bids_of_bidders(const std::vector<NexmarkBid>& bids) {
    return grouped<std::int64_t>(
        bids, ten_seconds_ms, bidder_of, [](std::int64_t& count, const NexmarkBid&) { ++count; },
        [](Row& row, std::int64_t bidder, std::int64_t count) {
            row.add(bidder).add(count);
            return true;
        });
}

struct Ranks {
    std::array<std::int64_t, 3> bids{};
    std::array<std::unordered_set<std::int64_t>, 3> bidders{};
    std::array<std::unordered_set<std::int64_t>, 3> auctions{};
    std::int64_t last_ms = 0;
    void add(const NexmarkBid& bid) {
        const std::size_t rank = rank_of(bid);
        ++bids[rank];
        bidders[rank].insert(bid.bidder);
        auctions[rank].insert(bid.auction);
        last_ms = std::max(last_ms, bid.time_ms);
    }
    void show(Row& row) const {
        row.add(bids[0] + bids[1] + bids[2]).add(bids[0]).add(bids[1]).add(bids[2]);
        for (const auto* ids : {&bidders, &auctions}) {
            std::unordered_set<std::int64_t> all;
            for (const auto& of_rank : *ids)
                all.insert(of_rank.begin(), of_rank.end());
            row.add(static_cast<std::int64_t>(all.size()));
            for (const auto& of_rank : *ids)
                row.add(static_cast<std::int64_t>(of_rank.size()));
        }
    }
};

NexmarkRows statistics_of_days(const std::vector<NexmarkBid>& bids) {
    return grouped<Ranks>(
        bids, day_ms, [](const NexmarkBid&) { return std::int64_t{0}; },
        [](Ranks& ranks, const NexmarkBid& bid) { ranks.add(bid); },
        [](Row& row, std::int64_t, const Ranks& ranks) {
            ranks.show(row);
            return true;
        });
}

NexmarkRows statistics_of_channels(const std::vector<NexmarkBid>& bids) {
    return grouped<Ranks>(
        bids, day_ms, [](const NexmarkBid& bid) { return static_cast<std::int64_t>(bid.channel); },
        [](Ranks& ranks, const NexmarkBid& bid) { ranks.add(bid); },
        [](Row& row, std::int64_t channel, const Ranks& ranks) {
            row.add(nexmark_channel(static_cast<std::int32_t>(channel))).time(ranks.last_ms);
            ranks.show(row);
            return true;
        });
}

struct Prices {
    std::array<std::int64_t, 3> bids{};
    std::int64_t lowest = std::numeric_limits<std::int64_t>::max();
    std::int64_t highest = 0;
    std::int64_t sum = 0;
    void add(const NexmarkBid& bid) {
        ++bids[rank_of(bid)];
        lowest = std::min(lowest, bid.price);
        highest = std::max(highest, bid.price);
        sum += bid.price;
    }
};

NexmarkRows statistics_of_auctions(const std::vector<NexmarkBid>& bids) {
    return grouped<Prices>(
        bids, day_ms, auction_of, [](Prices& prices, const NexmarkBid& bid) { prices.add(bid); },
        [](Row& row, std::int64_t auction, const Prices& prices) {
            const std::int64_t count = prices.bids[0] + prices.bids[1] + prices.bids[2];
            row.add(auction).add(count).add(prices.bids[0]).add(prices.bids[1]).add(prices.bids[2]);
            row.add(prices.lowest).add(prices.highest);
            row.add(real_text(static_cast<double>(prices.sum) / static_cast<double>(count))).add(prices.sum);
            return true;
        });
}

NexmarkRows last_bids(const std::vector<NexmarkBid>& bids) {
    // The generator's time never goes back, so the later in the vector is the later bid.
    std::map<std::pair<std::int64_t, std::int64_t>, const NexmarkBid*> last;
    for (const NexmarkBid& bid : bids)
        last[{bid.bidder, bid.auction}] = &bid;
    NexmarkRows rows;
    rows.reserve(last.size());
    for (const auto& [key, bid] : last) {
        Row row;
        row.time(window_of(*bid, day_ms)).add(bid->bidder).add(bid->auction).add(bid->price);
        rows.push_back(row.add(nexmark_channel(bid->channel)).time(bid->time_ms).text());
    }
    std::ranges::sort(rows);
    return rows;
}

NexmarkRows prices_in_euro(const std::vector<NexmarkBid>& bids) {
    std::int64_t sum = 0;
    for (const NexmarkBid& bid : bids)
        sum += static_cast<std::int64_t>(0.908 * static_cast<double>(bid.price));
    return {Row().add(static_cast<std::int64_t>(bids.size())).add(sum).text()};
}

NexmarkRows some_auctions(const std::vector<NexmarkBid>& bids) {
    NexmarkRows rows;
    for (const NexmarkBid& bid : bids) {
        if (bid.auction % 123 == 0) rows.push_back(Row().add(bid.auction).add(bid.price).text());
    }
    std::ranges::sort(rows);
    return rows;
}

NexmarkRows middle_prices(const std::vector<NexmarkBid>& bids) {
    std::int64_t count = 0, letters = 0;
    for (const NexmarkBid& bid : bids) {
        const double euro = 0.908 * static_cast<double>(bid.price);
        if (euro <= 1e6 || euro >= 5e7) continue;
        ++count;
        const std::string extra = nexmark_extra(bid.rest);
        letters += std::ranges::count(extra, 'c');
    }
    return {Row().add(count).add(letters).text()};
}

// What q21 makes of a bid; -1: nothing.
std::int64_t channel_id(const NexmarkBid& bid) {
    constexpr std::array<std::int64_t, 4> large{1, 2, 3, 0};  // Google, Facebook, Baidu, Apple
    if (bid.channel < 4) return large[static_cast<std::size_t>(bid.channel)];
    const std::string url = nexmark_url(bid.channel);
    const std::size_t at = url.find("channel_id=");
    return at == std::string::npos ? -1 : std::strtoll(url.c_str() + at + 11, nullptr, 10);
}

NexmarkRows channel_ids(const std::vector<NexmarkBid>& bids) {
    std::int64_t count = 0, sum = 0;
    for (const NexmarkBid& bid : bids) {
        const std::int64_t id = channel_id(bid);
        if (id < 0) continue;
        ++count;
        sum += id;
    }
    return {Row().add(count).add(sum).text()};
}

NexmarkRows folders_of_urls(const std::vector<NexmarkBid>& bids) {
    std::map<std::string, std::int64_t> folders;
    for (const NexmarkBid& bid : bids) {
        const std::string url = nexmark_url(bid.channel);
        ++folders[url.substr(24, 1)];
    }
    NexmarkRows rows;
    for (const auto& [folder, count] : folders)
        rows.push_back(Row().add(folder).add(count).text());
    return rows;
}

constexpr const char* no_filter = "CASE WHEN in place of FILTER";

}  // namespace

const std::vector<NexmarkQuery>& nexmark_views() {
    static const std::vector<NexmarkQuery> views{
        {"q5", "auctions with many bids in 10 s", "tumbling, not hopping by 2 s; HAVING a count, not the top one",
         "SELECT window_start, auction, count(*) AS bids FROM TUMBLE(bid, 10s) GROUP BY window_start, auction "
         "HAVING count(*) >= 20",
         hot_items},
        {"q7", "the highest price in 10 s", "the price alone, without the bids that reach it",
         "SELECT window_start, max(price) AS price FROM TUMBLE(bid, 10s) GROUP BY window_start", highest_bids},
        {"q12", "bids of each bidder in 10 s", "event time in place of processing time",
         "SELECT window_start, bidder, count(*) AS bids FROM TUMBLE(bid, 10s) GROUP BY window_start, bidder",
         bids_of_bidders},
        {"q15", "bids, bidders and auctions of a day, by price", no_filter,
         "SELECT window_start, count(*) AS bids, count(CASE WHEN price < 10000 THEN 1 END) AS bids1, "
         "count(CASE WHEN price >= 10000 AND price < 1000000 THEN 1 END) AS bids2, "
         "count(CASE WHEN price >= 1000000 THEN 1 END) AS bids3, count(DISTINCT bidder) AS bidders, "
         "count(DISTINCT CASE WHEN price < 10000 THEN bidder END) AS bidders1, "
         "count(DISTINCT CASE WHEN price >= 10000 AND price < 1000000 THEN bidder END) AS bidders2, "
         "count(DISTINCT CASE WHEN price >= 1000000 THEN bidder END) AS bidders3, count(DISTINCT auction) AS auctions, "
         "count(DISTINCT CASE WHEN price < 10000 THEN auction END) AS auctions1, "
         "count(DISTINCT CASE WHEN price >= 10000 AND price < 1000000 THEN auction END) AS auctions2, "
         "count(DISTINCT CASE WHEN price >= 1000000 THEN auction END) AS auctions3 "
         "FROM TUMBLE(bid, 1d) GROUP BY window_start",
         statistics_of_days},
        {"q16", "the same of each channel", "CASE WHEN in place of FILTER; the last time whole, not its minute",
         "SELECT window_start, channel, max(date_time) AS last_time, count(*) AS bids, "
         "count(CASE WHEN price < 10000 THEN 1 END) AS bids1, "
         "count(CASE WHEN price >= 10000 AND price < 1000000 THEN 1 END) AS bids2, "
         "count(CASE WHEN price >= 1000000 THEN 1 END) AS bids3, count(DISTINCT bidder) AS bidders, "
         "count(DISTINCT CASE WHEN price < 10000 THEN bidder END) AS bidders1, "
         "count(DISTINCT CASE WHEN price >= 10000 AND price < 1000000 THEN bidder END) AS bidders2, "
         "count(DISTINCT CASE WHEN price >= 1000000 THEN bidder END) AS bidders3, count(DISTINCT auction) AS auctions, "
         "count(DISTINCT CASE WHEN price < 10000 THEN auction END) AS auctions1, "
         "count(DISTINCT CASE WHEN price >= 10000 AND price < 1000000 THEN auction END) AS auctions2, "
         "count(DISTINCT CASE WHEN price >= 1000000 THEN auction END) AS auctions3 "
         "FROM TUMBLE(bid, 1d) GROUP BY window_start, channel",
         statistics_of_channels},
        {"q17", "prices of each auction of a day", no_filter,
         "SELECT window_start, auction, count(*) AS bids, count(CASE WHEN price < 10000 THEN 1 END) AS bids1, "
         "count(CASE WHEN price >= 10000 AND price < 1000000 THEN 1 END) AS bids2, "
         "count(CASE WHEN price >= 1000000 THEN 1 END) AS bids3, min(price) AS lowest, max(price) AS highest, "
         "avg(price) AS average, sum(price) AS total FROM TUMBLE(bid, 1d) GROUP BY window_start, auction",
         statistics_of_auctions},
        {"q18", "the last bid of each bidder on each auction", "of a day; last(x) of each column, not ROW_NUMBER()",
         "SELECT window_start, bidder, auction, last(price) AS price, last(channel) AS channel, "
         "max(date_time) AS last_time FROM TUMBLE(bid, 1d) GROUP BY window_start, bidder, auction",
         last_bids},
    };
    return views;
}

const std::vector<NexmarkQuery>& nexmark_scans() {
    static const std::vector<NexmarkQuery> scans{
        {"q1", "prices in euro", "their sum, so that one row is answered",
         "SELECT count(*), sum(CAST(0.908 * price AS INTEGER)) FROM bid", prices_in_euro},
        {"q2", "bids on some auctions", "", "SELECT auction, price FROM bid WHERE auction % 123 = 0", some_auctions},
        {"q14", "bids between two prices, letters of a text", "summed; length() less length(replace()) counts letters",
         "SELECT count(*), sum(length(extra) - length(replace(extra, 'c', ''))) FROM bid "
         "WHERE 0.908 * price > 1000000 AND 0.908 * price < 50000000",
         middle_prices},
        {"q21", "the channel's id, out of its URL", "summed; instr() and substr() in place of a regular expression",
         "SELECT count(id), sum(id) FROM (SELECT CASE lower(channel) WHEN 'apple' THEN 0 WHEN 'google' THEN 1 "
         "WHEN 'facebook' THEN 2 WHEN 'baidu' THEN 3 ELSE CASE WHEN instr(url, 'channel_id=') > 0 "
         "THEN CAST(substr(url, instr(url, 'channel_id=') + 11) AS INTEGER) END END AS id FROM bid)",
         channel_ids},
        {"q22", "the first folder of the URL", "counted by its first letter; substr() in place of SPLIT_INDEX",
         "SELECT substr(url, 25, 1), count(*) FROM bid GROUP BY 1", folders_of_urls},
    };
    return scans;
}

NexmarkRows nexmark_rows(const RowSet& answer) {
    NexmarkRows rows;
    rows.reserve(answer.rows.size());
    for (const std::vector<Cell>& cells : answer.rows) {
        Row row;
        for (const Cell& cell : cells) {
            const bool is_real = cell.kind == Cell::Kind::number && cell.text.find_first_of(".eE") != std::string::npos;
            row.add(is_real ? real_text(std::strtod(cell.text.c_str(), nullptr)) : cell.text);
        }
        rows.push_back(row.text());
    }
    std::ranges::sort(rows);
    return rows;
}

}  // namespace weir::node
