#include "os/confine.h"

#include <algorithm>
#include <bit>
#include <cerrno>
#include <csignal>
#include <cstddef>
#include <fcntl.h>
#include <iterator>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/landlock.h>
#include <linux/seccomp.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <system_error>
#include <unistd.h>
#include <vector>

namespace weir::os {
namespace {

Error kernel_error(const char* act, int err) {
    return {Errc::io, std::string(act) + ": " + std::generic_category().message(err), err};
}

// Without it neither lock can be taken by a process without privileges; and no program that is executed gains any.
Status give_up_privileges() {
    if (::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) return kernel_error("give up new privileges", errno);
    return {};
}

// Rights over files that Landlock knows of, by its version: the later ones are unknown to older kernels.
constexpr std::uint64_t rights_of_1 =
    LANDLOCK_ACCESS_FS_EXECUTE | LANDLOCK_ACCESS_FS_WRITE_FILE | LANDLOCK_ACCESS_FS_READ_FILE |
    LANDLOCK_ACCESS_FS_READ_DIR | LANDLOCK_ACCESS_FS_REMOVE_DIR | LANDLOCK_ACCESS_FS_REMOVE_FILE |
    LANDLOCK_ACCESS_FS_MAKE_CHAR | LANDLOCK_ACCESS_FS_MAKE_DIR | LANDLOCK_ACCESS_FS_MAKE_REG |
    LANDLOCK_ACCESS_FS_MAKE_SOCK | LANDLOCK_ACCESS_FS_MAKE_FIFO | LANDLOCK_ACCESS_FS_MAKE_BLOCK |
    LANDLOCK_ACCESS_FS_MAKE_SYM;
constexpr std::uint64_t right_of_2 = 1ull << 13;  // REFER
constexpr std::uint64_t right_of_3 = 1ull << 14;  // TRUNCATE

// ---- the filter -----------------------------------------------------------------------------------------------------

#if defined(__x86_64__)
constexpr std::uint32_t this_arch = AUDIT_ARCH_X86_64;
#elif defined(__aarch64__)
constexpr std::uint32_t this_arch = AUDIT_ARCH_AARCH64;
#else
constexpr std::uint32_t this_arch = 0;  // not tried: no filter
#endif

// Whatever their arguments are.
constexpr int free_calls[] = {
    // Memory. mmap and mprotect stand below.
    SYS_brk,
    SYS_munmap,
    SYS_mremap,
    SYS_madvise,
    SYS_mincore,
    // Files that are open, and names: what can be opened is decided by openat below and by Landlock.
    SYS_read,
    SYS_pread64,
    SYS_readv,
    SYS_preadv,
    SYS_lseek,
    SYS_fstat,
    SYS_newfstatat,
    SYS_statx,
    SYS_getdents64,
    SYS_close,
    SYS_fadvise64,
    SYS_faccessat,
    SYS_readlinkat,
    SYS_getcwd,
    // The socket to the parent.
    SYS_sendto,
    SYS_recvfrom,
    SYS_ppoll,
    // Time, threads that exist, the end.
    SYS_clock_gettime,
    SYS_gettimeofday,
    SYS_clock_nanosleep,
    SYS_nanosleep,
    SYS_getrandom,
    SYS_futex,
    SYS_sched_yield,
    SYS_sched_getaffinity,
    SYS_getrusage,
    SYS_getpid,
    SYS_gettid,
    SYS_rt_sigaction,
    SYS_rt_sigprocmask,
    SYS_rt_sigreturn,
    SYS_restart_syscall,
    SYS_set_robust_list,
    SYS_exit,
    SYS_exit_group,
#if defined(__x86_64__)
    SYS_stat,
    SYS_lstat,
    SYS_access,
    SYS_poll,
    SYS_readlink,
#endif
};
#if defined(__x86_64__)
constexpr int opens[] = {SYS_openat, SYS_open};
constexpr unsigned open_flags_at[] = {2, 1};  // which argument
#else
constexpr int opens[] = {SYS_openat};
constexpr unsigned open_flags_at[] = {2};
#endif

// SQLite's locks are POSIX locks; the rest is what opening a file asks.
constexpr int free_fcntls[] = {F_GETFD, F_SETFD, F_GETFL, F_GETLK, F_SETLK, F_SETLKW};

class Filter {
  public:
    // `pid`: the only process that it may signal (abort() does).
    explicit Filter(std::uint32_t pid) {
        load(offsetof(seccomp_data, arch));
        add(BPF_JMP | BPF_JEQ | BPF_K, this_arch, 1, 0);
        kill();
        load(offsetof(seccomp_data, nr));
        for (const int call : free_calls)
            allow_if_equal(static_cast<std::uint32_t>(call));
        for (std::size_t i = 0; i < std::size(opens); ++i) {
            when(opens[i], [&] { allow_if_none(open_flags_at[i], O_WRONLY | O_RDWR | O_CREAT | O_TRUNC | O_APPEND); });
        }
        when(SYS_mmap, [&] { allow_if_none(2, PROT_EXEC); });
        when(SYS_mprotect, [&] { allow_if_none(2, PROT_EXEC); });
        when(SYS_fcntl, [&] {
            load_argument(1);
            for (const int command : free_fcntls)
                allow_if_equal(static_cast<std::uint32_t>(command));
        });
        // What a failing check has to say.
        for (const int call : {SYS_write, SYS_writev}) {
            when(call, [&] {
                load_argument(0);
                allow_if_equal(STDERR_FILENO);
            });
        }
        when(SYS_prlimit64, [&] {
            load_argument(1);
            allow_if_equal(RLIMIT_CPU);
        });
        for (const int call : {SYS_tgkill, SYS_kill}) {
            when(call, [&] {
                load_argument(0);
                allow_if_equal(pid);
            });
        }
        kill();
    }

    sock_fprog program() { return {static_cast<unsigned short>(code_.size()), code_.data()}; }

  private:
    void add(int code, std::uint32_t k, std::uint8_t if_true = 0, std::uint8_t if_false = 0) {
        code_.push_back({static_cast<std::uint16_t>(code), if_true, if_false, k});
    }
    void load(std::size_t at) { add(BPF_LD | BPF_W | BPF_ABS, static_cast<std::uint32_t>(at)); }
    // The low half: flags, commands and descriptors are ints to the kernel.
    void load_argument(unsigned number) {
        static_assert(std::endian::native == std::endian::little);
        load(offsetof(seccomp_data, args) + number * sizeof(std::uint64_t));
    }
    void kill() { add(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS); }
    void allow() { add(BPF_RET | BPF_K, SECCOMP_RET_ALLOW); }
    void allow_if_equal(std::uint32_t k) {
        add(BPF_JMP | BPF_JEQ | BPF_K, k, 0, 1);
        allow();
    }
    void allow_if_none(unsigned argument, std::uint32_t bits) {
        load_argument(argument);
        add(BPF_JMP | BPF_JSET | BPF_K, bits, 1, 0);
        allow();
    }
    // `rule` runs for that call only and ends in a kill.
    template <typename Rule>
    void when(int call, Rule&& rule) {
        const std::size_t jump = code_.size();
        add(BPF_JMP | BPF_JEQ | BPF_K, static_cast<std::uint32_t>(call));
        rule();
        kill();
        code_[jump].jf = static_cast<std::uint8_t>(code_.size() - jump - 1);
    }

    std::vector<sock_filter> code_;
};

Status set_limit(__rlimit_resource_t which, rlim_t value, const char* act) {
    rlimit now{};
    if (::getrlimit(which, &now) != 0) return kernel_error(act, errno);
    now.rlim_cur = now.rlim_max = std::min(value, now.rlim_max);
    if (::setrlimit(which, &now) != 0) return kernel_error(act, errno);
    return {};
}

}  // namespace

Result<bool> restrict_files_to(const std::string& dir) {
    const long version = ::syscall(SYS_landlock_create_ruleset, nullptr, 0, LANDLOCK_CREATE_RULESET_VERSION);
    if (version < 1) return false;
    TRY(give_up_privileges());
    landlock_ruleset_attr all{};
    all.handled_access_fs = rights_of_1 | (version >= 2 ? right_of_2 : 0) | (version >= 3 ? right_of_3 : 0);
    const int rules = static_cast<int>(::syscall(SYS_landlock_create_ruleset, &all, sizeof all.handled_access_fs, 0));
    if (rules < 0) return kernel_error("make rules for files", errno);
    landlock_path_beneath_attr below{};
    below.allowed_access = LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_READ_DIR;
    below.parent_fd = ::open(dir.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC);
    int failed = below.parent_fd < 0 ? errno : 0;
    if (failed == 0 && ::syscall(SYS_landlock_add_rule, rules, LANDLOCK_RULE_PATH_BENEATH, &below, 0) != 0)
        failed = errno;
    if (failed == 0 && ::syscall(SYS_landlock_restrict_self, rules, 0) != 0) failed = errno;
    if (below.parent_fd >= 0) ::close(below.parent_fd);
    ::close(rules);
    if (failed != 0) return kernel_error(("restrict files to " + dir).c_str(), failed);
    return true;
}

Result<bool> restrict_system_calls() {
    if (this_arch == 0) return false;
    TRY(give_up_privileges());
    Filter filter(static_cast<std::uint32_t>(::getpid()));
    sock_fprog program = filter.program();
    // With TSYNC: threads that run already as well.
    const long set = ::syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_TSYNC, &program);
    if (set == 0) return true;
    if (set < 0 && (errno == ENOSYS || errno == EINVAL)) return false;
    return kernel_error("filter system calls", set > 0 ? EBUSY : errno);
}

Status allow_cpu_seconds(std::uint64_t seconds) {
    rusage spent{};
    if (::getrusage(RUSAGE_SELF, &spent) != 0) return kernel_error("read processor time", errno);
    rlimit limit{};
    if (::getrlimit(RLIMIT_CPU, &limit) != 0) return kernel_error("limit of processor time", errno);
    // A part of a second that was used counts as one; the hard limit stays, so that the next call can begin anew.
    const rlim_t used = static_cast<rlim_t>(spent.ru_utime.tv_sec + spent.ru_stime.tv_sec) + 2;
    limit.rlim_cur = std::min<rlim_t>(used + seconds, limit.rlim_max);
    if (::setrlimit(RLIMIT_CPU, &limit) != 0) return kernel_error("limit of processor time", errno);
    return {};
}

Status limit_files(std::uint64_t open_files) {
    // The call that writes fails, instead of a signal: what a process has to say as it dies may go to a file.
    ::signal(SIGXFSZ, SIG_IGN);
    TRY(set_limit(RLIMIT_FSIZE, 0, "limit of file sizes"));
    TRY(set_limit(RLIMIT_CORE, 0, "limit of core dumps"));
    return set_limit(RLIMIT_NOFILE, open_files, "limit of open files");
}

}  // namespace weir::os
