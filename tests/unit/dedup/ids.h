// Ids and small steps that the dedup tests share.
#pragma once

#include "base/prng.h"
#include "dedup/run.h"
#include "support/ok.h"

#include <cstdint>
#include <string>
#include <vector>

namespace weir::dedup_testing {

inline record::Fingerprint id_of(std::uint64_t n) {
    return {mix64(n * 2 + 1), mix64(n + 77'777'777'777ull) | 1};
}

// The ids of [from, to), each at partition 3 and its number as offset.
inline std::vector<dedup::RunEntry> entries(std::uint64_t from, std::uint64_t to) {
    std::vector<dedup::RunEntry> out;
    for (std::uint64_t n = from; n < to; n++)
        out.push_back({id_of(n), dedup::Place::of(3, static_cast<std::int64_t>(n))});
    return out;
}

using test::ok;

}  // namespace weir::dedup_testing
