// gzip members and zstd frames to bytes within a bound; shared by batches and HTTP bodies, which differ in window and
// in error.
#pragma once

#include "base/result.h"

#include <cstddef>
#include <string>
#include <string_view>

namespace weir::record::detail {

// Both: as record::inflate. `broken` is the code of everything that is wrong with the input; too_large when more than
// `bytes_max` come out.
Result<std::string> gunzip(std::string_view in, std::size_t bytes_max, Errc broken);
// Also too_large when the window is above 2^window_log_max: that is what a decoder has to keep in memory.
Result<std::string> unzstd(std::string_view in, std::size_t bytes_max, int window_log_max, Errc broken);

}  // namespace weir::record::detail
