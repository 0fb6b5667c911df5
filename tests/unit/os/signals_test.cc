#include "os/signals.h"

#include "os/thread.h"

#include <catch2/catch_test_macros.hpp>

#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

using namespace weir;

TEST_CASE("SIGTERM and SIGINT are waited for, from whichever thread they come") {
    auto signals = os::StopSignals::take();
    REQUIRE(signals);
    CHECK(signals.value().wait(0).value() == 0);
    ::kill(::getpid(), SIGTERM);
    CHECK(signals.value().wait(10'000).value() == SIGTERM);
    CHECK(signals.value().wait(0).value() == 0);
    auto other = os::start_thread("other", [] { ::kill(::getpid(), SIGINT); });
    CHECK(signals.value().wait(-1).value() == SIGINT);
    os::StopSignals moved = std::move(signals).value();
    ::kill(::getpid(), SIGINT);
    pollfd entry{moved.fd(), POLLIN, 0};
    CHECK(::poll(&entry, 1, 10'000) == 1);
    CHECK(moved.wait(0).value() == SIGINT);
}

TEST_CASE("a write to a closed socket answers an error instead of ending the process") {
    os::ignore_sigpipe();
    int ends[2];
    REQUIRE(::socketpair(AF_UNIX, SOCK_STREAM, 0, ends) == 0);
    ::close(ends[1]);
    CHECK(::write(ends[0], "x", 1) == -1);
    CHECK(errno == EPIPE);
    ::close(ends[0]);
}
