// A result's value, or the process's end: for what tests do on any thread, and before there is a test.
#pragma once

#include "base/result.h"

#include <cstdlib>
#include <iostream>
#include <type_traits>
#include <utility>

namespace weir::test {

template <class T>
T must(Result<T> result) {
    if (!result) {
        std::cerr << "unexpected: " << result.error().detail << "\n";
        std::abort();
    }
    if constexpr (!std::is_void_v<T>) return std::move(result).value();
}

}  // namespace weir::test
