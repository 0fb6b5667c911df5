// Sums of times and durations that stay within 64 bits: event times are hostile input. Private to stream/.
#pragma once

#include <cstdint>

namespace weir::stream::detail {

inline std::int64_t saturating_add(std::int64_t a, std::int64_t b) {
    std::int64_t sum;
    if (!__builtin_add_overflow(a, b, &sum)) return sum;
    return b > 0 ? INT64_MAX : INT64_MIN;
}

inline std::int64_t saturating_subtract(std::int64_t a, std::int64_t b) {
    std::int64_t difference;
    if (!__builtin_sub_overflow(a, b, &difference)) return difference;
    return b < 0 ? INT64_MAX : INT64_MIN;
}

}  // namespace weir::stream::detail
