#include "os/process.h"

#include "os/signals.h"

#include <catch2/catch_test_macros.hpp>

#include <algorithm>
#include <cstdlib>
#include <dirent.h>
#include <fcntl.h>
#include <new>
#include <optional>
#include <signal.h>
#include <string>
#include <sys/resource.h>
#include <unistd.h>
#include <vector>

using namespace weir;

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define WEIR_SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define WEIR_SANITIZED 1
#endif
#endif

namespace {

os::SpawnOptions self(const std::string& test, int nice = 0) {
    return {.program = "/proc/self/exe", .arguments = {"weir-child", test}, .socket_number = 3, .nice = nice};
}

std::string read_to_end(int fd) {
    std::string all;
    char buffer[4096];
    while (true) {
        ssize_t n = ::read(fd, buffer, sizeof buffer);
        if (n <= 0) return all;
        all.append(buffer, static_cast<std::size_t>(n));
    }
}

void say(const std::string& text) {
    REQUIRE(::write(3, text.data(), text.size()) == static_cast<ssize_t>(text.size()));
}

std::string open_descriptors() {
    std::string out;
    DIR* dir = ::opendir("/proc/self/fd");
    std::vector<int> numbers;
    while (const dirent* entry = ::readdir(dir)) {
        int fd = std::atoi(entry->d_name);
        if (entry->d_name[0] != '.' && fd != ::dirfd(dir)) numbers.push_back(fd);
    }
    ::closedir(dir);
    std::sort(numbers.begin(), numbers.end());
    for (int fd : numbers)
        out += std::to_string(fd) + " ";
    return out;
}

}  // namespace

// The children's parts: hidden cases of this same program, run only when named.
TEST_CASE("child: echo", "[.][child-echo]") {
    char buffer[64];
    ssize_t n = ::read(3, buffer, sizeof buffer);
    say("got " + std::string(buffer, n > 0 ? static_cast<std::size_t>(n) : 0));
}
TEST_CASE("child: describe", "[.][child-describe]") {
    sigset_t mask;
    sigemptyset(&mask);
    ::pthread_sigmask(SIG_SETMASK, nullptr, &mask);
    bool masked = ::sigismember(&mask, SIGTERM) == 1;
    // The test framework itself takes SIGTERM over; SIGPIPE is as it came.
    struct sigaction pipe {};
    ::sigaction(SIGPIPE, nullptr, &pipe);
    say("fds " + open_descriptors() + "nice " + std::to_string(::getpriority(PRIO_PROCESS, 0)) + " masked " +
        std::to_string(masked) + " pipe " + (pipe.sa_handler == SIG_DFL ? "default" : "other"));
}
TEST_CASE("child: sleep", "[.][child-sleep]") {
    (void)read_to_end(3);
}
TEST_CASE("child: limits", "[.][child-limits]") {
    REQUIRE(os::limit_memory(std::uint64_t{1} << 30));
    void* much = ::operator new (std::size_t{2} << 30, std::nothrow);
    say(much == nullptr ? "refused" : "granted");
    ::operator delete(much);
}
// Starts a grandchild that dies with its parent, tells its pid, and ends without killing it.
TEST_CASE("child: parent", "[.][child-parent]") {
    auto* grandchild = new std::optional<os::Child>(os::Child::spawn(self("[child-orphan]")).value());
    char ready = 0;
    REQUIRE(::read((*grandchild)->socket(), &ready, 1) == 1);
    int keep = ::dup((*grandchild)->socket());  // its end of input must not be what ends it
    REQUIRE(keep >= 0);
    say(std::to_string((*grandchild)->pid()));
    ::_exit(0);
}
TEST_CASE("child: orphan", "[.][child-orphan]") {
    REQUIRE(os::die_with_parent());
    say("x");
    while (true)
        ::pause();
}

TEST_CASE("a child talks over its socket and is reaped") {
    auto child = os::Child::spawn(self("[child-echo]"));
    REQUIRE(child);
    auto& c = child.value();
    CHECK_FALSE(c.wait(0).value().has_value());
    REQUIRE(::write(c.socket(), "hello", 5) == 5);
    CHECK(read_to_end(c.socket()) == "got hello");
    auto ended = c.wait(-1);
    REQUIRE(ended);
    REQUIRE(ended.value());
    CHECK_FALSE(ended.value()->signalled);
    CHECK(ended.value()->code == 0);
    CHECK(c.wait(0).value()->code == 0);
    c.kill();  // nothing to kill: no effect
}

TEST_CASE("a child inherits its socket and nothing else, and starts with clean signals") {
    os::ignore_sigpipe();
    auto signals = os::StopSignals::take();
    REQUIRE(signals);
    int leak = ::open("/dev/null", O_RDONLY);  // without close-on-exec, on purpose
    REQUIRE(leak >= 3);
    auto child = os::Child::spawn(self("[child-describe]", 5));
    REQUIRE(child);
    std::string got = read_to_end(child.value().socket());
    CHECK(got.starts_with("fds 0 1 2 3 nice "));
    CHECK(got.find(" masked 0 pipe default") != std::string::npos);
    int mine = ::getpriority(PRIO_PROCESS, 0);
    CHECK(got.find("nice " + std::to_string(std::min(19, mine + 5)) + " ") != std::string::npos);
    ::close(leak);
}

TEST_CASE("a child that is killed says so, and one that is let go is killed") {
    int pid = 0;
    {
        auto child = os::Child::spawn(self("[child-sleep]"));
        REQUIRE(child);
        child.value().kill();
        auto ended = child.value().wait(-1);
        REQUIRE(ended.value());
        CHECK(ended.value()->signalled);
        CHECK(ended.value()->code == SIGKILL);
        auto other = os::Child::spawn(self("[child-sleep]"));
        REQUIRE(other);
        os::Child moved = std::move(other).value();
        pid = moved.pid();
        CHECK(::kill(pid, 0) == 0);
    }
    CHECK(::kill(pid, 0) == -1);
}

TEST_CASE("a child reads the end of its input when the socket is closed") {
    auto child = os::Child::spawn(self("[child-sleep]"));
    REQUIRE(child);
    child.value().close_socket();
    auto ended = child.value().wait(60'000);
    REQUIRE(ended.value());
    CHECK(ended.value()->code == 0);
}

TEST_CASE("a program that is not there") {
    auto child = os::Child::spawn({.program = "/no/such/program", .arguments = {"x"}});
    REQUIRE_FALSE(child);
    CHECK(child.error().code == Errc::not_found);
}

TEST_CASE("a child's limit of memory binds") {
#ifndef WEIR_SANITIZED  // the sanitizers reserve more address space than any limit
    auto child = os::Child::spawn(self("[child-limits]"));
    REQUIRE(child);
    CHECK(read_to_end(child.value().socket()) == "refused");
#endif
}

TEST_CASE("a grandchild dies with its parent") {
    auto child = os::Child::spawn(self("[child-parent]"));
    REQUIRE(child);
    // The grandchild's own socket is held by nobody else; ours ends when the child ends.
    int pid = std::atoi(read_to_end(child.value().socket()).c_str());
    REQUIRE(pid > 1);
    // Not our child: its new parent reaps it, at its leisure. A zombie counts as dead.
    bool dead = false;
    for (int i = 0; i < 1'000'000 && !dead; i++) {
        int fd = ::open(("/proc/" + std::to_string(pid) + "/stat").c_str(), O_RDONLY | O_CLOEXEC);
        std::string stat = fd < 0 ? std::string() : read_to_end(fd);
        if (fd >= 0) ::close(fd);
        auto state = stat.rfind(") ");
        dead = state == std::string::npos || stat[state + 2] == 'Z' || stat[state + 2] == 'X';
    }
    CHECK(dead);
}
