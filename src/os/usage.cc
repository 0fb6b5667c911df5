#include "os/usage.h"

#include <cstdio>
#include <sys/resource.h>
#include <unistd.h>

namespace weir::os {

Usage usage_of_this_process() {
    Usage usage;
    if (std::FILE* file = std::fopen("/proc/self/statm", "re")) {
        unsigned long long pages = 0;
        if (std::fscanf(file, "%*u %llu", &pages) == 1)
            usage.resident_bytes = pages * static_cast<std::uint64_t>(::sysconf(_SC_PAGESIZE));
        std::fclose(file);
    }
    rusage spent{};
    if (::getrusage(RUSAGE_SELF, &spent) == 0) {
        const auto us = [](const timeval& t) { return std::int64_t{t.tv_sec} * 1'000'000 + t.tv_usec; };
        usage.cpu_us = us(spent.ru_utime) + us(spent.ru_stime);
    }
    return usage;
}

}  // namespace weir::os
