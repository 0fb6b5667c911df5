// Values in words and texts: extremes and their order, first and last.
#include "stream/detail/aggregate_value.h"

#include "stream/detail/aggregate.h"

#include <bit>
#include <cmath>

namespace weir::stream::detail {

using store::Value;
using store::ValueType;

namespace {

// Integer against real without rounding the integer.
int compare_whole_real(std::int64_t whole, double real) {
    if (real >= 9223372036854775808.0) return -1;
    if (real < -9223372036854775808.0) return 1;
    const auto floor = static_cast<std::int64_t>(std::floor(real));
    if (whole != floor) return whole < floor ? -1 : 1;
    return real > std::floor(real) ? -1 : 0;
}

template <class T>
int order(T a, T b) {
    return a < b ? -1 : a > b ? 1 : 0;
}

}  // namespace

int compare_values(const Value& a, const Value& b) {
    const auto rank = [](const Value& v) { return v.type == ValueType::text ? 1 : v.type == ValueType::blob ? 2 : 0; };
    if (rank(a) != rank(b)) return order(rank(a), rank(b));
    if (rank(a) > 0) {
        const int compared = a.text.compare(b.text);
        return order(compared, 0);
    }
    if (a.type == b.type) return a.type == ValueType::integer ? order(a.integer, b.integer) : order(a.real, b.real);
    const int compared =
        a.type == ValueType::integer ? compare_whole_real(a.integer, b.real) : -compare_whole_real(b.integer, a.real);
    if (compared != 0) return compared;
    return a.type == ValueType::integer ? -1 : 1;
}

bool replaces_extreme(bool is_min, const Value& value, const Value& present) {
    if (present.type == ValueType::null) return true;
    int compared = compare_values(value, present);
    if (compared == 0) return false;
    const bool is_number = value.type <= ValueType::real && present.type <= ValueType::real;
    // Equal numbers of two types: the integer stays or comes, for min as for max.
    if (is_number && value.type != present.type) {
        const std::int64_t whole = value.type == ValueType::integer ? value.integer : present.integer;
        const double real = value.type == ValueType::real ? value.real : present.real;
        if (compare_whole_real(whole, real) == 0) {
            if (value.type == ValueType::real) return false;
            compared = is_min ? -1 : 1;
        }
    }
    return is_min == (compared < 0);
}

Value held_value(std::uint64_t tag, std::uint64_t number, std::string_view text) {
    if (tag == 0) return Value::null();
    switch (static_cast<ValueType>(tag - 1)) {
        case ValueType::integer:
            return Value::of(static_cast<std::int64_t>(number));
        case ValueType::real:
            return Value::of(std::bit_cast<double>(number));
        case ValueType::text:
            return Value::of(text);
        case ValueType::blob:
            return Value::of_blob(text);
        case ValueType::null:
            break;
    }
    return Value::null();
}

void hold_value(const Value& value, std::uint64_t& tag, std::uint64_t& number) {
    tag = static_cast<std::uint64_t>(value.type) + 1;
    switch (value.type) {
        case ValueType::integer:
            number = static_cast<std::uint64_t>(value.integer);
            return;
        case ValueType::real:
            number = std::bit_cast<std::uint64_t>(value.real);
            return;
        case ValueType::text:
        case ValueType::blob:
        case ValueType::null:
            number = 0;
            return;
    }
}

}  // namespace weir::stream::detail
