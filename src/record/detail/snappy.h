// Snappy as Kafka clients write it, to bytes within a bound.
//
//   raw       varint length | elements                       librdkafka, Go, Python by default
//   framed    magic 82 'SNAPPY' 00 | version be32 | least reader be32 | {length be32 | raw}...     snappy-java's stream
//
// The two cannot be taken for each other: a raw block with that length would begin with a copy of what is not there.
// A framed text may be several streams, each with its head. Neither carries a checksum: the batch has one.
#pragma once

#include "base/result.h"

#include <cstddef>
#include <string>
#include <string_view>

namespace weir::record::detail {

// As record::inflate. What a block says of its length is believed only where its bytes can make that much, so memory
// is bounded by the input, too.
Result<std::string> unsnappy(std::string_view in, std::size_t bytes_max);

}  // namespace weir::record::detail
