// Compression of a batch's records as Kafka clients write them: gzip, snappy (both framings), LZ4 frames, zstd.
// Inflating is bounded by the caller.
#pragma once

#include "base/result.h"
#include "record/batch.h"

#include <cstddef>
#include <string>
#include <string_view>

namespace weir::record {

// Readable, initialised bytes behind the end of everything that this room inflates (simdjson reads past the end).
constexpr std::size_t inflate_padding_bytes = 64;

// Appends `in`, compressed as one frame, to `out`. Errors: unsupported (gzip, snappy: they are
// read, and nothing here writes them). Codec::none appends `in` as it is.
Status deflate(Codec codec, std::string_view in, std::string& out);

// The bytes that `in` holds; the string's capacity exceeds its size by at least inflate_padding_bytes, and those are
// initialised. Memory: the output, never more than twice `bytes_max` and one window.
// Errors: corrupt (not a frame, cut off, bytes behind the last frame), too_large (more than `bytes_max` come out,
// or a zstd window far beyond it), unsupported (a codec that Kafka does not have).
Result<std::string> inflate(Codec codec, std::string_view in, std::size_t bytes_max);

}  // namespace weir::record
