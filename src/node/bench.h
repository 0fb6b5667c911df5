// `weir bench`: a load against a server, compared with what the generator knows, and the figures of the run.
//   ingest, e2e  how fast events are taken, how soon they are visible
//   sql          scans of a stream and pages of a view
//   dedup        a large index of ids, restarted, then duplicates of all of them
//   wal          the write-ahead log alone, beside the bare disk
//   nexmark      views and scans of that benchmark which run here
//
// A figure without a comparison means nothing: when accepted, duplicates or the view's rows differ from the oracle, the
// bench says so and fails, however fast it was.
#pragma once

#include "node/client.h"
#include "node/console.h"
#include "node/load.h"

#include <cstdint>
#include <optional>
#include <string>

namespace weir::node {

enum class BenchKind : std::uint8_t { ingest, e2e, sql, dedup, wal, nexmark };

struct BenchOptions {
    BenchKind kind = BenchKind::ingest;
    LoadOptions load{.events = 0, .duplicates_percent = -1};  // what the user did not say: the kind's default
    std::int64_t connections = 8;
    double events_per_s = 0;             // 0: closed loop
    std::int64_t runs = 1;               // the median by events a second is shown
    std::string dir = ".";               // disk of the server that is started
    std::optional<ServerChoice> server;  // an own server instead
    std::string program = "/proc/self/exe";
    bool json = false;
    int stop_fd = -1;
};

// 1 when counts differ.
Exit run_bench(const Console& console, const BenchOptions& options);

// The body of the view's SELECT window_start, status, n, bytes. Errors: corrupt.
Result<GroupSums> parse_groups(std::string_view answer_body);

}  // namespace weir::node
