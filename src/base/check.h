// CHECK and DCHECK: what must hold whatever the outside world does. Bytes from network, disk, config or clock are input
// and never CHECKed; they are a Result (base/result.h).
#pragma once

namespace weir {

// Prints the broken claim to stderr and aborts. Never returns; never throws.
[[noreturn]] void check_failed(const char* claim, const char* file, unsigned line);

}  // namespace weir

#define CHECK(condition)                                          \
    do {                                                          \
        if (!(condition)) [[unlikely]]                            \
            ::weir::check_failed(#condition, __FILE__, __LINE__); \
    } while (0)

// For checks that cost more than O(1): only in builds without NDEBUG (debug, the sanitizers, simulation).
#ifdef NDEBUG
#define DCHECK(condition) \
    do {                  \
    } while (0)
#else
#define DCHECK(condition) CHECK(condition)
#endif
