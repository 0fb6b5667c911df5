#include "os/usage.h"

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <string>
#include <sys/resource.h>
#include <unistd.h>

namespace weir::os {
namespace {

// The number that a file begins with; 0: none ("max", no file).
std::uint64_t number_in(const std::string& path) {
    unsigned long long number = 0;
    if (std::FILE* file = std::fopen(path.c_str(), "re")) {
        if (std::fscanf(file, "%llu", &number) != 1) number = 0;
        std::fclose(file);
    }
    return number;
}

// The group's path, from "0::/system.slice/weir.service" (cgroup v2). Empty: none.
std::string control_group() {
    std::string path;
    if (std::FILE* file = std::fopen("/proc/self/cgroup", "re")) {
        char line[4096];
        while (std::fgets(line, sizeof line, file) != nullptr) {
            if (std::strncmp(line, "0::/", 4) != 0) continue;
            path = line + 3;
            if (!path.empty() && path.back() == '\n') path.pop_back();
        }
        std::fclose(file);
    }
    return path;
}

}  // namespace

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

std::uint64_t memory_of_this_machine() {
    const long pages = ::sysconf(_SC_PHYS_PAGES);
    std::uint64_t bytes =
        pages > 0 ? static_cast<std::uint64_t>(pages) * static_cast<std::uint64_t>(::sysconf(_SC_PAGESIZE)) : 0;
    // Each group above may have a lower limit.
    for (std::string group = control_group(); !group.empty(); group.resize(group.rfind('/'))) {
        const std::uint64_t limit = number_in("/sys/fs/cgroup" + group + "/memory.max");
        if (limit > 0) bytes = bytes == 0 ? limit : std::min(bytes, limit);
    }
    return bytes;
}

}  // namespace weir::os
