// Threads with names, so that top, gdb and perf tell them apart.
#pragma once

#include <string>
#include <string_view>
#include <thread>
#include <utility>

namespace weir::os {

// Names the calling thread; the kernel keeps the first 15 bytes.
void name_this_thread(std::string_view name);

// Starts `body()` on a thread called `name`. The destructor of what it returns joins. A machine that cannot start a
// thread cannot run us: the process ends then. `body` is moved to the thread; what it borrows must outlive the join.
template <class Body>
std::jthread start_thread(std::string name, Body body) noexcept {
    return std::jthread([name = std::move(name), body = std::move(body)]() mutable {
        name_this_thread(name);
        body();
    });
}

}  // namespace weir::os
