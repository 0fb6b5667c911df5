// Events like those of a web server's access log, made from a seed, and what a correct server must say about them.
//
// Bodies are made before the run, so that the generator costs little while it is measured against.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace weir::node {

struct LoadOptions {
    std::int64_t events = 1'000'000;
    std::int64_t batch = 1000;      // events a request
    double duplicates_percent = 2;  // share of events that repeat an earlier one, byte for byte
    std::uint64_t seed = 42;
};

struct GroupSum {
    std::int64_t count = 0;
    std::int64_t bytes = 0;
    bool operator==(const GroupSum&) const = default;
};
// (window start in epoch ms, status) -> what the hourly view must hold.
using GroupSums = std::map<std::pair<std::int64_t, std::int64_t>, GroupSum>;

struct Load {
    std::string bodies;           // all requests' NDJSON, one behind the other
    std::vector<std::size_t> at;  // request i is [at[i], at[i + 1])
    std::int64_t events = 0;
    // what must be accepted; the rest are duplicates, whatever the order of arrival
    std::int64_t distinct = 0;
    GroupSums groups;
    std::size_t requests() const { return at.size() - 1; }
    std::string_view body(std::size_t request) const {
        return std::string_view(bodies).substr(at[request], at[request + 1] - at[request]);
    }
};

// The same options give the same bytes on every machine. About 260 bytes an event, held in memory.
Load make_load(const LoadOptions& options);

// The stream and the hourly view over it that `make_load` fits.
std::string load_stream_sql(const std::string& stream);
std::string load_view_sql(const std::string& stream);

constexpr std::int64_t load_events_max = 20'000'000;  // 5 GB of memory

}  // namespace weir::node
