#include "os/process.h"

#include "base/check.h"

#include <algorithm>
#include <cerrno>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <system_error>
#include <time.h>
#include <unistd.h>
#include <utility>

namespace weir::os {
namespace {

Error process_error(const std::string& act, int err) {
    Errc code = err == ENOENT || err == ENOTDIR ? Errc::not_found : Errc::io;
    return Error{code, act + ": " + std::generic_category().message(err), err};
}

// posix_spawn's two attribute objects; each call of theirs answers an errno, the first is kept.
class SpawnSetup {
  public:
    SpawnSetup() {
        keep(::posix_spawn_file_actions_init(&actions_));
        keep(::posix_spawnattr_init(&attributes_));
    }
    SpawnSetup(const SpawnSetup&) = delete;
    SpawnSetup& operator=(const SpawnSetup&) = delete;
    ~SpawnSetup() {
        ::posix_spawn_file_actions_destroy(&actions_);
        ::posix_spawnattr_destroy(&attributes_);
    }

    void descriptors(int socket, int number) {
        keep(::posix_spawn_file_actions_addopen(&actions_, 0, "/dev/null", O_RDONLY, 0));
        // When both are equal this clears close-on-exec, which is what we want.
        keep(::posix_spawn_file_actions_adddup2(&actions_, socket, number));
        keep(::posix_spawn_file_actions_addclosefrom_np(&actions_, number + 1));
    }
    void signals() {
        sigset_t none;
        ::sigemptyset(&none);
        keep(::posix_spawnattr_setsigmask(&attributes_, &none));
        sigset_t defaults;
        ::sigemptyset(&defaults);
        for (int signal : {SIGPIPE, SIGTERM, SIGINT})
            ::sigaddset(&defaults, signal);
        keep(::posix_spawnattr_setsigdefault(&attributes_, &defaults));
        keep(::posix_spawnattr_setflags(&attributes_, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF));
    }
    // 0 or an errno.
    int run(const SpawnOptions& options, pid_t& pid) {
        if (error_ != 0) return error_;
        std::vector<char*> argv;
        for (const auto& argument : options.arguments)
            argv.push_back(const_cast<char*>(argument.c_str()));
        argv.push_back(nullptr);
        return ::posix_spawn(&pid, options.program.c_str(), &actions_, &attributes_, argv.data(), environ);
    }

  private:
    void keep(int error) {
        if (error_ == 0) error_ = error;
    }
    posix_spawn_file_actions_t actions_;
    posix_spawnattr_t attributes_;
    int error_ = 0;
};

std::int64_t now_ms() {
    timespec now{};
    ::clock_gettime(CLOCK_MONOTONIC, &now);
    return std::int64_t{now.tv_sec} * 1000 + now.tv_nsec / 1'000'000;
}

constexpr int look_every_ms = 5;       // where there is no pidfd
constexpr int destroy_wait_ms = 2000;  // a killed process may hang in the kernel on a dead disk; we do not hang with it

}  // namespace

Result<Child> Child::spawn(const SpawnOptions& options) {
    CHECK(options.socket_number >= 3);
    int ends[2];
    if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0) {
        return process_error("socketpair", errno);
    }
    pid_t pid = -1;
    SpawnSetup setup;
    setup.descriptors(ends[1], options.socket_number);
    setup.signals();
    int err = setup.run(options, pid);
    ::close(ends[1]);
    if (err != 0) {
        ::close(ends[0]);
        return process_error("start " + options.program, err);
    }
    // A hint: where it is not allowed the child runs at our own priority. Threads it starts later inherit the value; a
    // child that started some within these microseconds has those at ours.
    if (options.nice != 0) {
        errno = 0;
        int mine = ::getpriority(PRIO_PROCESS, 0);
        if (errno == 0) ::setpriority(PRIO_PROCESS, static_cast<id_t>(pid), mine + options.nice);
    }
    // The child is not reaped by anybody else, so its pid cannot belong to another process yet.
    int pidfd = static_cast<int>(::syscall(SYS_pidfd_open, pid, 0));
    return Child(pid, pidfd, ends[0]);
}

Child::Child(Child&& other) noexcept
    : pid_(std::exchange(other.pid_, -1)),
      pidfd_(std::exchange(other.pidfd_, -1)),
      socket_(std::exchange(other.socket_, -1)),
      ended_(std::exchange(other.ended_, std::nullopt)) {}

Child::~Child() {
    if (pid_ > 0 && !ended_) {
        kill();
        (void)wait(destroy_wait_ms);
    }
    close_socket();
    if (pidfd_ >= 0) ::close(pidfd_);
}

void Child::close_socket() {
    if (socket_ >= 0) ::close(std::exchange(socket_, -1));
}

void Child::kill() {
    // Through the pidfd the signal can never reach a stranger that took over the number.
    if (pidfd_ >= 0) {
        ::syscall(SYS_pidfd_send_signal, pidfd_, SIGKILL, nullptr, 0);
    } else if (!ended_ && pid_ > 0) {
        ::kill(pid_, SIGKILL);
    }
}

Result<std::optional<ExitStatus>> Child::wait(int timeout_ms) {
    CHECK(pid_ > 0);
    const std::int64_t deadline = now_ms() + timeout_ms;
    while (!ended_) {
        int status = 0;
        pid_t got = ::waitpid(pid_, &status, WNOHANG);
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) return process_error("waitpid", errno);
        if (got == pid_) {
            ended_ = WIFSIGNALED(status) ? ExitStatus{true, WTERMSIG(status)} : ExitStatus{false, WEXITSTATUS(status)};
            break;
        }
        int left = -1;
        if (timeout_ms >= 0) {
            std::int64_t until = deadline - now_ms();
            if (until <= 0) return std::optional<ExitStatus>();
            left = static_cast<int>(until);
        }
        pollfd entry{pidfd_, POLLIN, 0};
        int n = 0;
        if (pidfd_ >= 0) {
            n = ::poll(&entry, 1, left);
        } else {
            n = ::poll(nullptr, 0, left < 0 ? look_every_ms : std::min(left, look_every_ms));
        }
        if (n < 0 && errno != EINTR) return process_error("poll", errno);
    }
    return ended_;
}

Status die_with_parent() {
    if (::prctl(PR_SET_PDEATHSIG, SIGKILL) != 0) return process_error("prctl", errno);
    return {};
}

Status limit_memory(std::uint64_t bytes) {
    rlimit now{};
    if (::getrlimit(RLIMIT_AS, &now) != 0) return process_error("limit of memory", errno);
    // Raising a hard limit needs a privilege; lowering never does.
    now.rlim_cur = now.rlim_max = std::min<rlim_t>(bytes, now.rlim_max);
    if (::setrlimit(RLIMIT_AS, &now) != 0) return process_error("limit of memory", errno);
    return {};
}

std::uint64_t raise_open_files() {
    rlimit limit{};
    if (::getrlimit(RLIMIT_NOFILE, &limit) != 0) return 0;
    if (limit.rlim_cur < limit.rlim_max) {
        rlimit raised = limit;
        raised.rlim_cur = limit.rlim_max;
        if (::setrlimit(RLIMIT_NOFILE, &raised) == 0) limit = raised;
    }
    return limit.rlim_cur;
}

}  // namespace weir::os
