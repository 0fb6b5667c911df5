// JSON paths of columns: `$`, `.name`, `."a.b"`, `[n]`.
#pragma once

#include "base/result.h"
#include "record/schema.h"

#include <string_view>
#include <vector>

namespace weir::record {

// Errors: invalid_argument with the byte position. At most limits::path_steps_max steps.
Result<std::vector<PathStep>> parse_path(std::string_view text);

}  // namespace weir::record
