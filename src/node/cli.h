// The command line: which commands there are, their help, and how their words become options. What each does is
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

// The help of a command ("" is weir itself, "stream ls", "exit-codes"), at most 24 lines; "" where there is no such
// command.
std::string help_text(std::string_view command);
// "serve", "sql", ..., and "stream ls", "bench ingest" ...: what a user may type.
std::vector<std::string> command_names();

}  // namespace weir::node
