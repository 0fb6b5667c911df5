// The command line, from its words to an exit code. Which commands there are is told by node/help.h, what each does is
// elsewhere.
#pragma once

#include "node/console.h"
#include "node/settings.h"

#include <functional>
#include <string>
#include <string_view>
#include <vector>

namespace weir::node {

// The server half, given by main.cc. Return the exit code.
using ServeFn = std::function<int(const LoadedSettings&)>;
// `weir sql-worker`, for the server's own use
using WorkerFn = std::function<int(int fd, const std::string& shard_dir)>;

// Everything from argv to the exit code, on the process's own streams and environment. SIGPIPE is ignored from here on.
int run_cli(int argc, char** argv, const ServeFn& serve, const WorkerFn& sql_worker);

// The same with everything given: `words` without the program's name.
int run_cli_on(const Console& console, const std::vector<std::string>& words, const TextMap& environment,
               const ServeFn& serve, const WorkerFn& sql_worker);

}  // namespace weir::node
