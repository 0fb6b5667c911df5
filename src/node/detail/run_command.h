// From what the words said to the command that does it: options are checked here, each command gets values.
#pragma once

#include "base/result.h"
#include "node/console.h"
#include "node/detail/tree.h"

namespace weir::node {

// Every command but serve, config, help and version. An Error is a usage error.
Result<Exit> run_command(const Console& console, const Tree& tree, const Words& words, const TextMap& environment);

}  // namespace weir::node
