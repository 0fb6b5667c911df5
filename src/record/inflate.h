// Bodies of HTTP requests with Content-Encoding gzip or zstd, inflated with a bound (RFC 1952; RFC 8878 and 9659).
#pragma once

#include "base/result.h"

#include <cstddef>
#include <string>
#include <string_view>

namespace weir::record {

// Both: the string's capacity exceeds its size by at least 64 initialised bytes, so that JsonDecoder can read it in
// place. Memory: the output (at most twice `bytes_max` while it grows) and one window (32 KiB; 8 MiB for zstd).
// Errors: too_large (more than `bytes_max` come out, or a zstd window above 8 MiB), invalid_argument (not that
// format, cut off, checksum, bytes behind the end).
Result<std::string> gunzip(std::string_view in, std::size_t bytes_max);  // one or more members
Result<std::string> unzstd(std::string_view in, std::size_t bytes_max);  // one or more frames

}  // namespace weir::record
