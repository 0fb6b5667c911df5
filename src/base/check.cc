#include "base/check.h"

#include <cstdio>
#include <cstdlib>

namespace weir {

void check_failed(const char* claim, const char* file, unsigned line) {
    std::fprintf(stderr, "weir: %s:%u: CHECK failed: %s\n", file, line, claim);
    std::fflush(stderr);
    std::abort();
}

}  // namespace weir
