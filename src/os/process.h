// Child processes: spawned (never forked and gone on), talked to over one socket, limited, killed and reaped by their
// owner.
//
// A parent cannot make posix_spawn set the child's death signal or limits: the child does so itself, first thing in its
// main: die_with_parent(), limit_memory(), and what os/confine.h has.
#pragma once

#include "base/result.h"

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace weir::os {

struct SpawnOptions {
    std::string program;                 // a path, as "/proc/self/exe"; PATH is not searched
    std::vector<std::string> arguments;  // argv as a whole, [0] included
    int socket_number = 3;               // the child's end of the socket has this number; 3 or more
    int nice = 0;                        // added to the parent's by the kernel's rules; 0 leaves it
};

struct ExitStatus {
    bool signalled = false;
    int code = 0;  // exit code, or the signal's number
};

// One child and our end of its socket (AF_UNIX stream, close-on-exec, blocking). The child inherits standard output and
// error and that socket; its standard input is /dev/null; descriptors above the socket's number are closed, those below
// by being close-on-exec. Its signal mask is empty and SIGPIPE, SIGTERM and SIGINT have their default actions.
//
// Owner: the thread that spawned it. It must live as long as the child is wanted: die_with_parent() means that thread,
// not only the process. kill() alone may be called from any thread while the object lives.
class Child {
  public:
    // Errors: not_found (no such program), io (no descriptor, no process).
    static Result<Child> spawn(const SpawnOptions& options);
    Child(Child&& other) noexcept;
    Child& operator=(Child&&) = delete;
    ~Child();  // kills and reaps

    int pid() const { return pid_; }
    int socket() const { return socket_; }
    void close_socket();  // the child reads the end of its input
    void kill();          // SIGKILL; no effect once it has ended
    // How it ended; nullopt when it still runs after `timeout_ms` (0 only looks, -1 waits without end). Reaps it; later
    // calls answer the same. Errors: io.
    Result<std::optional<ExitStatus>> wait(int timeout_ms);

  private:
    Child(int pid, int pidfd, int socket) : pid_(pid), pidfd_(pidfd), socket_(socket) {}
    int pid_;
    int pidfd_;  // -1 where the kernel or a filter has none: wait() then looks every few ms
    int socket_;
    std::optional<ExitStatus> ended_;
};

// In a child: SIGKILL for this process when the thread that spawned it ends. Where the parent died before this call
// nothing happens any more: the child must also take the end of its socket as its own end. Errors: io.
Status die_with_parent();

// For this process from now on; a lower limit that is already there stays. Errors: io.
Status limit_memory(std::uint64_t bytes);  // address space (RLIMIT_AS); beyond: allocations fail
// Raises the number of open files that this process may have to the most that the system allows it, and returns that. A
// server holds a file or two a partition and a socket a client; the usual soft limit of 1024 is for select(2).
std::uint64_t raise_open_files();

}  // namespace weir::os
