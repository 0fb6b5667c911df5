// What a process gives up before it runs what users write: files outside of one folder, every file's writing, sockets,
// other processes. For good; no call takes it back.
//
// Two locks of the kernel, each without a privilege: Landlock decides which paths can be opened, a seccomp filter which
// system calls there are. The filter is our own list, not libseccomp's: a program of comparisons that fits on a screen,
// against a library, its package and its own list of numbers. (seccomp(2), landlock(7), BPF as in linux/filter.h.)
//
// Files that are open stay as they are: open what needs writing (SQLite's shared memory) before.
#pragma once

#include "base/result.h"

#include <cstdint>
#include <string>

namespace weir::os {

// From now on this thread, and those that it starts later, open files below `dir` only, and for reading only. False:
// this kernel has no Landlock (before 5.13, or switched off), nothing changed. Errors: io (the folder, or the kernel).
Result<bool> restrict_files_to(const std::string& dir);

// From now on all threads of this process compute, read files, use memory that is not executable, and talk over the
// sockets that are open. Anything else ends the process with SIGSYS: a new socket, file opened for writing, thread,
// process or program. False: this kernel or processor has no filter, nothing changed. Errors: io.
Result<bool> restrict_system_calls();

// The process uses at most this much processor time more; SIGXCPU then. Each call begins anew. Allowed by
// restrict_system_calls(). Errors: io.
Status allow_cpu_seconds(std::uint64_t seconds);

// No file grows (writing fails), no core is dumped, at most `open_files` are open. Errors: io.
Status limit_files(std::uint64_t open_files);

}  // namespace weir::os
