#include "os/signals.h"

#include "base/check.h"

#include <cerrno>
#include <poll.h>
#include <string>
#include <sys/signalfd.h>
#include <system_error>
#include <unistd.h>
#include <utility>

namespace weir::os {
namespace {

Error signal_error(const char* act, int err) {
    return Error{Errc::io, std::string(act) + ": " + std::generic_category().message(err), err};
}

}  // namespace

void ignore_sigpipe() {
    struct sigaction action {};
    action.sa_handler = SIG_IGN;
    CHECK(::sigaction(SIGPIPE, &action, nullptr) == 0);
}

Result<StopSignals> StopSignals::take() {
    sigset_t wanted;
    sigset_t before;
    ::sigemptyset(&wanted);
    ::sigaddset(&wanted, SIGTERM);
    ::sigaddset(&wanted, SIGINT);
    CHECK(::pthread_sigmask(SIG_BLOCK, &wanted, &before) == 0);
    int fd = ::signalfd(-1, &wanted, SFD_CLOEXEC | SFD_NONBLOCK);
    if (fd < 0) {
        int err = errno;
        ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
        return signal_error("signalfd", err);
    }
    return StopSignals(fd, before);
}

StopSignals::StopSignals(StopSignals&& other) noexcept : fd_(std::exchange(other.fd_, -1)), before_(other.before_) {}

StopSignals::~StopSignals() {
    if (fd_ < 0) return;
    ::close(fd_);
    ::pthread_sigmask(SIG_SETMASK, &before_, nullptr);
}

Result<int> StopSignals::wait(int timeout_ms) {
    while (true) {
        pollfd entry{fd_, POLLIN, 0};
        int n = ::poll(&entry, 1, timeout_ms);
        if (n == 0) return 0;
        // Other signals (a debugger's stop, a profiler's tick) cut the wait short; it then starts anew, which may only
        // lengthen it.
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return signal_error("poll", errno);
        signalfd_siginfo got{};
        ssize_t bytes = ::read(fd_, &got, sizeof got);
        if (bytes == ssize_t{sizeof got}) return static_cast<int>(got.ssi_signo);
        if (bytes < 0 && (errno == EAGAIN || errno == EINTR)) continue;
        return signal_error("read of a signal", bytes < 0 ? errno : EIO);
    }
}

}  // namespace weir::os
