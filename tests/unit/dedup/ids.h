// Ids and small steps that the dedup tests share.
#pragma once

#include "base/prng.h"
#include "base/result.h"
#include "dedup/run.h"

#include <catch2/catch_test_macros.hpp>

#include <cstdint>
#include <string>
#include <utility>
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

template <class T>
T ok(Result<T> result) {
    if (!result) FAIL(errc_name(result.error().code) << ": " << result.error().detail);
    return std::move(result).value();
}
inline void ok(Status status) {
    if (!status) FAIL(errc_name(status.error().code) << ": " << status.error().detail);
}

}  // namespace weir::dedup_testing
