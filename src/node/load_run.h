// Sends a load over several connections from one thread and writes down what came back. Closed loop: each connection
// sends its next request when the last one is answered. Open loop: requests have due times, and latency counts from
// those, so that a server that stalls cannot hide it.
#pragma once

#include "base/clock.h"
#include "base/result.h"
#include "node/client.h"
#include "node/load.h"

#include <cstdint>
#include <string>
#include <vector>

namespace weir::node {

struct LoadRunOptions {
    std::string stream{};
    std::int64_t connections = 8;
    double events_per_s = 0;  // 0: closed loop
    // Not "": while the load runs, one connection more asks this SQL at the index of an acknowledgement just received,
    // again and again; the time until its answer is what passes between durable and visible.
    std::string lag_query{};
    std::int64_t lag_every_ms = 20;  // at most so often
    int stop_fd = -1;                // readable: stop; -1 none
};

struct LoadRunResult {
    std::int64_t accepted = 0;
    std::int64_t duplicates = 0;
    std::int64_t rejected = 0;
    std::int64_t refused = 0;  // 503s; each request was sent again until it was taken
    double seconds = 0;
    std::vector<double> ack_ms;  // a request each
    std::vector<double> lag_ms;  // a sample each
    std::string applied_index;   // the highest of all answers
};

// Errors: io (connection), invalid_argument (an answer that is neither 200 nor 503: says which), cancelled (stop_fd).
Result<LoadRunResult> run_load(const ServerChoice& server, const Load& load, const LoadRunOptions& options,
                               Clock& clock);

// The value at `share` (0 to 1) of sorted values, 0 of none.
double percentile(const std::vector<double>& sorted, double share);

// The higher of two "shard:index" of one shard; otherwise the second.
std::string later_index(const std::string& a, const std::string& b);

}  // namespace weir::node
