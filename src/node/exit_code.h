// What `weir` returns to the shell. Scripts rely on the numbers: they only ever get company.
#pragma once

#include "base/result.h"

namespace weir::node {

enum class Exit : int {
    ok = 0,
    failed = 1,
    usage = 2,         // the command line or the configuration
    unreachable = 3,   // no server answers at the address
    unauthorised = 4,  // no key, a wrong one, or one whose role is too small
    not_found = 5,
    conflict = 6,       // refused in the present state; no quorum
    partial = 7,        // some of the work was done
    disk = 74,          // the disk failed or is full
    timeout = 124,      // the outcome may be unknown
    interrupted = 130,  // Ctrl-C
};

constexpr int code_of(Exit exit) {
    return static_cast<int>(exit);
}

// Of an error that never left this process, or that came back from a server.
Exit exit_of(Errc code);

// `weir help exit-codes`, for stdout.
const char* exit_codes_text();

}  // namespace weir::node
