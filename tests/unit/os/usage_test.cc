#include "os/usage.h"

#include <catch2/catch_test_macros.hpp>

#include <memory>
#include <vector>

using weir::os::memory_of_this_machine;
using weir::os::usage_of_this_process;

TEST_CASE("a process sees its memory and its time grow") {
    const auto before = usage_of_this_process();
    CHECK(before.resident_bytes > 100'000);
    std::vector<char> held(64u << 20, 'x');
    const auto with = usage_of_this_process();
    CHECK(with.resident_bytes >= before.resident_bytes + (60u << 20));
    volatile std::uint64_t sum = 0;
    while (usage_of_this_process().cpu_us < before.cpu_us + 5'000)
        for (const char c : held)
            sum = sum + static_cast<std::uint64_t>(c);
    CHECK(usage_of_this_process().cpu_us >= before.cpu_us + 5'000);
}

TEST_CASE("a machine has more memory than a process of it uses") {
    CHECK(memory_of_this_machine() > usage_of_this_process().resident_bytes);
}
