// What this process takes of the machine, as the kernel counts it.
#pragma once

#include <cstdint>

namespace weir::os {

struct Usage {
    std::uint64_t resident_bytes = 0;  // 0: unknown
    std::int64_t cpu_us = 0;           // user and system, all threads, since the start
};
Usage usage_of_this_process();

// What the machine has of memory, or this process's control group where that has less. 0: unknown.
std::uint64_t memory_of_this_machine();

}  // namespace weir::os
