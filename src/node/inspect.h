// `weir status`, `weir stream ls|info`: what the server says about itself, for people or as JSON.
#pragma once

#include "node/client.h"
#include "node/console.h"
#include "node/rows.h"

#include <string>

namespace weir::node {

// Exit codes of status: 0 healthy, 1 it answers and is not ready, 3 nothing answers. Rates are measured over one
// second; `stop_fd` readable ends that second early.
Exit run_status(const Console& console, Client& client, OutputFormat format, int stop_fd);
Exit run_stream_list(const Console& console, Client& client, const std::string& prefix, OutputFormat format);
Exit run_stream_info(const Console& console, Client& client, const std::string& name, OutputFormat format);

// The streams of an answer to GET /v1/streams, one row each. Columns: those of the members that are numbers, texts or
// booleans, nested counters as their own columns; in the order of the first stream. Errors: corrupt.
Result<RowSet> parse_stream_list(std::string_view body);

}  // namespace weir::node
