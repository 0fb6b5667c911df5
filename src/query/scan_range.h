// A range of integers that constraints of a scan narrow: offsets, partitions, times.
#pragma once

#include "store/table_source.h"

#include <cstdint>

namespace weir::query {

struct IntegerRange {
    std::int64_t least = INT64_MIN;
    std::int64_t greatest = INT64_MAX;  // inclusive
    bool empty() const { return least > greatest; }
    bool holds(std::int64_t v) const { return least <= v && v <= greatest; }
    // Keeps what satisfies `x op value`. Text, blobs and NULL narrow nothing: SQLite's affinity decides what they
    // equal, and it checks every row again.
    void narrow(store::Comparison op, const store::Value& value);
};

}  // namespace weir::query
