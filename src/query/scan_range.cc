#include "query/scan_range.h"

#include <algorithm>
#include <cmath>

namespace weir::query {
namespace {

using store::Comparison;

void narrow_integer(IntegerRange& range, Comparison op, std::int64_t v) {
    const auto nothing = [&] { range = {1, 0}; };
    switch (op) {
        case Comparison::eq:
            range.least = std::max(range.least, v);
            range.greatest = std::min(range.greatest, v);
            return;
        case Comparison::ge:
            range.least = std::max(range.least, v);
            return;
        case Comparison::le:
            range.greatest = std::min(range.greatest, v);
            return;
        case Comparison::gt:
            if (v == INT64_MAX) return nothing();
            range.least = std::max(range.least, v + 1);
            return;
        case Comparison::lt:
            if (v == INT64_MIN) return nothing();
            range.greatest = std::min(range.greatest, v - 1);
            return;
    }
}

}  // namespace

void IntegerRange::narrow(store::Comparison op, const store::Value& value) {
    if (value.type == store::ValueType::integer) return narrow_integer(*this, op, value.integer);
    if (value.type != store::ValueType::real) return;
    // Beyond 2^53 a double stands for several integers; nobody prunes by such a thing.
    constexpr double exact = 9'007'199'254'740'992.0;
    if (!(std::abs(value.real) < exact)) return;
    const auto below = static_cast<std::int64_t>(std::floor(value.real));
    const bool whole = std::floor(value.real) == value.real;
    switch (op) {
        case Comparison::eq:
            if (whole)
                narrow_integer(*this, Comparison::eq, below);
            else
                *this = {1, 0};
            return;
        case Comparison::gt:
            return narrow_integer(*this, Comparison::ge, below + 1);
        case Comparison::ge:
            return narrow_integer(*this, Comparison::ge, whole ? below : below + 1);
        case Comparison::lt:
            return narrow_integer(*this, Comparison::le, whole ? below - 1 : below);
        case Comparison::le:
            return narrow_integer(*this, Comparison::le, below);
    }
}

}  // namespace weir::query
