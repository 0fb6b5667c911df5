// Signals as something main waits for, instead of handlers that may run anywhere.
#pragma once

#include "base/result.h"

#include <signal.h>

namespace weir::os {

// A write to a closed socket or pipe answers EPIPE instead of ending the process. For the whole process.
void ignore_sigpipe();

// SIGTERM and SIGINT, blocked and read from a descriptor for as long as the object lives. Take it in main before any
// other thread starts: threads inherit the mask. Owner: the thread that took it. Children made by os::Child start with
// an empty mask and default actions.
class StopSignals {
  public:
    // Errors: io (no descriptor).
    static Result<StopSignals> take();
    StopSignals(StopSignals&& other) noexcept;
    StopSignals& operator=(StopSignals&&) = delete;
    ~StopSignals();  // gives the caller's thread its old mask back

    // The signal that came, 0 when `timeout_ms` has passed; -1 waits without end. Several of one kind count as one.
    // Errors: io.
    Result<int> wait(int timeout_ms);
    // Readable when a signal waits; for owners with an event loop.
    int fd() const { return fd_; }

  private:
    StopSignals(int fd, sigset_t before) : fd_(fd), before_(before) {}
    int fd_;
    sigset_t before_;
};

}  // namespace weir::os
