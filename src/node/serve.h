// `weir serve`: a node in the foreground until SIGTERM or SIGINT.
#pragma once

#include "node/settings.h"

namespace weir::node {

// Returns the exit code.
int serve(const LoadedSettings& loaded);

}  // namespace weir::node
