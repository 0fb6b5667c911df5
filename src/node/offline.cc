#include "node/offline.h"

#include "stream/state_store.h"

#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

namespace weir::node {

Result<os::DirLock> lock_data_dir(os::Disk& disk, const std::string& data_dir) {
    if (!TRY(disk.exists(data_dir + "/weir.identity")) && !TRY(disk.exists(data_dir + "/wal"))) {
        return Error{Errc::not_found,
                     data_dir + " is no data directory of weir: neither weir.identity nor wal is in it"};
    }
    return os::DirLock::take(data_dir);
}

Exit tell_unlocked(const Console& console, const Error& why) {
    const bool held = why.code == Errc::conflict;
    console.error(printable(why.detail),
                  held ? "stop the server first (SIGTERM); a running one is asked by: weir status" : "--data DIR");
    return exit_of(why.code);
}

Status try_state(const std::string& dir) {
    const int child = fork();
    if (child < 0) return Error{Errc::io, std::string("fork: ") + std::strerror(errno), errno};
    if (child == 0) {
        for (const int signal : {SIGBUS, SIGSEGV, SIGABRT})
            ::signal(signal, SIG_DFL);
        const int silence = ::open("/dev/null", O_WRONLY | O_CLOEXEC);
        dup2(silence, STDERR_FILENO);
        const auto state = stream::open_lmdb(dir, state_map_bytes);
        if (state) static_cast<void>(state.value()->scan("", [](std::string_view, std::string_view) { return true; }));
        _exit(0);
    }
    int status = 0;
    while (waitpid(child, &status, 0) < 0 && errno == EINTR) {
    }
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0) return {};
    return Error{Errc::corrupt, dir + "/data.mdb is damaged: reading it ends a process"};
}

}  // namespace weir::node
