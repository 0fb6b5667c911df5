// One SQL value, as it crosses the border of this room. Text and blobs are borrowed: the callee says for how long.
#pragma once

#include <cstdint>
#include <string_view>

namespace weir::store {

enum class ValueType : std::uint8_t { null, integer, real, text, blob };

struct Value {
    ValueType type = ValueType::null;
    std::int64_t integer = 0;
    double real = 0;
    std::string_view text;  // text and blob

    static Value null() { return {}; }
    static Value of(std::int64_t v) { return {ValueType::integer, v, 0, {}}; }
    static Value of(double v) { return {ValueType::real, 0, v, {}}; }
    static Value of(std::string_view v) { return {ValueType::text, 0, 0, v}; }
    static Value of_blob(std::string_view v) { return {ValueType::blob, 0, 0, v}; }
};

}  // namespace weir::store
