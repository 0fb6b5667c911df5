// A result's value, or the test's end with the error's words.
#pragma once

#include "base/result.h"

#include <catch2/catch_test_macros.hpp>

#include <type_traits>
#include <utility>

namespace weir::test {

template <class T>
T ok(Result<T> result) {
    if (!result) FAIL(errc_name(result.error().code) << ": " << result.error().detail);
    if constexpr (!std::is_void_v<T>) return std::move(result).value();
}

}  // namespace weir::test
