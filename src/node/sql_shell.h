// `weir sql` on a terminal: statements over several lines until ';', history, completion from the server, Ctrl-C.
#pragma once

#include "node/client.h"
#include "node/console.h"
#include "node/sql_command.h"
#include "os/signals.h"

#include <cstdint>
#include <string>

namespace weir::node {

// `options`: statement and file are not looked at. Ends with 0 when the user leaves, 3 or 4 when the server cannot be
// asked at the start; a statement that fails is told and does not end it.
Exit run_sql_shell(const Console& console, const ServerChoice& server, const SqlOptions& options,
                   const std::string& history_file, os::StopSignals& signals);

// POST that a signal can end: the connection is closed then, which the server takes as the end of the query. Errors:
// cancelled. Otherwise an outcome as Client gives it.
Result<Client::Outcome> post_until(const ServerChoice& server, const std::string& path, const std::string& content_type,
                                   const std::string& body, std::int64_t silence_max_ms, os::StopSignals& signals);

}  // namespace weir::node
