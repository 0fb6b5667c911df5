// A stream as every room above knows it: identity, name, version of its definition, schema. Immutable once shared.
#pragma once

#include "base/ids.h"
#include "record/schema.h"

#include <cstdint>
#include <memory>
#include <string>

namespace weir::record {

struct Stream {
    ObjectId id;
    std::string name;
    std::uint32_t version = 1;  // of the definition; an entry names the one it was validated with
    Schema schema;
    std::int64_t retain_ms = 7LL * 86'400'000;
    std::int64_t retain_bytes = -1;
    std::string statement;           // canonical CREATE STREAM
    std::int64_t created_at_ms = 0;  // append time of its definition
};

using StreamPtr = std::shared_ptr<const Stream>;

}  // namespace weir::record
