// `weir produce`: NDJSON from a file or stdin into a stream, in order, over one pipelined connection.
//
// Several requests are on their way at once. Their answers come in the same order. What happens to order and to
// doubles:
//
//   503, 429          nothing of that request was stored: nothing new is sent until everything on its way is
//                     answered; then, after Retry-After, it and all that was refused behind it go again, in order
//   504, cut line     the fate of what was on its way is unknown: it is sent again. Without DEDUP it may then be stored
//                     twice, and the summary says how many events that concerns
//   Connection: close what was behind that answer was not looked at: it is sent again, and cannot double
#pragma once

#include "node/client.h"
#include "node/console.h"
#include "node/event_input.h"

#include <cstdint>
#include <map>
#include <string>

namespace weir::node {

struct ProduceOptions {
    std::string stream{};
    std::int64_t batch_lines = 1000;
    std::size_t batch_bytes = 1 << 20;
    std::size_t in_flight = 8;           // requests on their way
    std::int64_t retry_for_ms = 30'000;  // without any progress, after the first connection; then it gives up
    bool json = false;                   // one JSON document on stdout at the end
    int stop_fd = -1;                    // readable when the user wants to stop; -1 none
};

struct ProduceReport {
    std::int64_t accepted = 0;
    std::int64_t duplicates = 0;
    std::int64_t rejected = 0;
    std::int64_t lines = 0;  // events sent and answered, and lines too long to send
    std::int64_t bytes = 0;  // of their lines
    std::int64_t batches = 0;
    std::int64_t unsent = 0;    // events that were read and got no answer
    std::string applied_index;  // pass it to `weir sql --min-index` to read what was written
    std::map<std::string, std::int64_t> rejected_by_reason;
    std::int64_t rejected_unlisted = 0;  // rejected beyond the lists of the answers, whose reasons are not known here
    std::int64_t resent_batches = 0;
    std::int64_t maybe_twice = 0;   // events of requests that were sent again with their fate unknown
    std::int64_t out_of_order = 0;  // requests stored before one that was sent earlier
};

std::string report_document(const ProduceReport& report);  // one JSON object

// Sends everything of `input`. 0 nothing was rejected; 1 everything was, or the input broke; 7 something was
// rejected, or the server stopped taking half way.
Exit run_produce(const Console& console, const ServerChoice& server, EventInput input, const ProduceOptions& options);

}  // namespace weir::node
