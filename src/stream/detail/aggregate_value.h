// A value of any type in two words and a text, and which of two an extreme or a first keeps. Private to stream/.
#pragma once

#include "store/value.h"

#include <cstdint>
#include <string_view>

namespace weir::stream::detail {

// tag: 0 nothing, else the value's type + 1. Text and blobs are not in the words.
constexpr std::uint64_t held_tag_max = static_cast<std::uint64_t>(store::ValueType::blob) + 1;

store::Value held_value(std::uint64_t tag, std::uint64_t number, std::string_view text);
void hold_value(const store::Value& value, std::uint64_t& tag, std::uint64_t& number);

// `value` is not NULL.
bool replaces_extreme(bool is_min, const store::Value& value, const store::Value& present);

// Words of a first or last: tag | event time | partition | offset | number. No two records share a position.
constexpr std::uint32_t position_words = 5;

inline bool replaces_position(bool is_first, const std::uint64_t* present, std::int64_t event_time_ms,
                              std::uint64_t partition, std::int64_t offset) {
    if (present[0] == 0) return true;
    const auto held_time = static_cast<std::int64_t>(present[1]);
    if (event_time_ms != held_time) return is_first == (event_time_ms < held_time);
    if (partition != present[2]) return is_first == (partition < present[2]);
    return is_first == (offset < static_cast<std::int64_t>(present[3]));
}

}  // namespace weir::stream::detail
