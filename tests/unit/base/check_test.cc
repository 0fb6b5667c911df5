#include "base/check.h"

#include <csignal>
#include <cstdio>
#include <sys/wait.h>
#include <unistd.h>

namespace {

// Before Catch2 takes the macro's name.
void claim(bool holds) {
    CHECK(holds);
}

}  // namespace

#undef CHECK
#include <catch2/catch_test_macros.hpp>

namespace {

// Runs claim(holds) in a child. Gives the signal that ended it, 0 when it ended by itself.
int signal_of_claim(bool holds) {
    const pid_t child = fork();
    if (child == 0) {
        std::signal(SIGABRT, SIG_DFL);  // not the test program's handler
        if (std::freopen("/dev/null", "w", stderr) == nullptr) _exit(1);
        claim(holds);
        _exit(0);
    }
    int status = 0;
    REQUIRE(waitpid(child, &status, 0) == child);
    return WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status);
}

}  // namespace

TEST_CASE("a broken claim ends the process, a true one does nothing") {
    CHECK(signal_of_claim(true) == 0);
    CHECK(signal_of_claim(false) == SIGABRT);
}
