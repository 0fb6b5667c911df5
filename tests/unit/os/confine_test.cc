#include "os/confine.h"

#include "os/process.h"
#include "support/temp_dir.h"

#include <catch2/catch_test_macros.hpp>

#include <cerrno>
#include <cstdlib>
#include <fcntl.h>
#include <fstream>
#include <functional>
#include <signal.h>
#include <string>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <thread>
#include <time.h>
#include <unistd.h>

using namespace weir;

namespace {

// The children are hidden cases of this program; where they work is told by a variable of the environment.
os::Child child_of(const std::string& test) {
    return os::Child::spawn({.program = "/proc/self/exe", .arguments = {"weir-child", test}, .socket_number = 3})
        .value();
}

std::string said(os::Child& child) {
    std::string all;
    char buffer[256];
    while (true) {
        const ssize_t n = ::read(child.socket(), buffer, sizeof buffer);
        if (n <= 0) return all;
        all.append(buffer, static_cast<std::size_t>(n));
    }
}

void say(const std::string& text) {
    (void)!::send(3, text.data(), text.size(), MSG_NOSIGNAL);
}

std::string folder() {
    const char* dir = ::getenv("WEIR_TEST_DIR");
    return dir == nullptr ? "" : dir;
}

std::string opened(const std::string& path, int flags) {
    const int fd = ::open(path.c_str(), flags, 0600);
    if (fd < 0) return std::to_string(errno);
    ::close(fd);
    return "open";
}

// Behind the filter, then `act`: what is said before that arrives, and the process lives to say more or does not.
void behind_filter(const std::function<void()>& act) {
    const auto filtered = os::restrict_system_calls();
    if (!filtered || !filtered.value()) {
        say("no filter");
        ::_exit(0);
    }
    say("in ");
    act();
    say("out");
    ::_exit(0);
}

}  // namespace

TEST_CASE("child: files", "[.][child-files]") {
    const std::string dir = folder();
    const auto restricted = os::restrict_files_to(dir + "/mine");
    if (!restricted || !restricted.value()) {
        say("no landlock");
        ::_exit(0);
    }
    say(opened(dir + "/mine/file", O_RDONLY) + " ");
    say(opened(dir + "/mine", O_RDONLY | O_DIRECTORY) + " ");
    say(opened(dir + "/other", O_RDONLY) + " ");
    say(opened("/etc/passwd", O_RDONLY) + " ");
    say(opened(dir + "/mine/file", O_RDWR) + " ");
    say(opened(dir + "/mine/new", O_WRONLY | O_CREAT) + " ");
    std::string later;
    std::thread([&] { later = opened(dir + "/other", O_RDONLY); }).join();
    say(later);
    ::_exit(0);
}
TEST_CASE("child: allowed", "[.][child-allowed]") {
    behind_filter([] {
        const int fd = ::open((folder() + "/mine/file").c_str(), O_RDONLY);
        char byte = 0;
        if (::pread(fd, &byte, 1, 0) == 1 && byte == 'x') say("read ");
        ::close(fd);
        void* memory = ::mmap(nullptr, 1 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (memory != MAP_FAILED && ::munmap(memory, 1 << 20) == 0) say("mapped ");
        timespec moment{0, 1000};
        ::nanosleep(&moment, nullptr);
        if (os::allow_cpu_seconds(5)) say("limit ");
    });
}
TEST_CASE("child: socket", "[.][child-socket]") {
    behind_filter([] { ::socket(AF_INET, SOCK_STREAM, 0); });
}
TEST_CASE("child: write", "[.][child-write]") {
    behind_filter([] { opened(folder() + "/mine/new", O_WRONLY | O_CREAT); });
}
TEST_CASE("child: append", "[.][child-append]") {
    behind_filter([] { opened(folder() + "/mine/file", O_RDWR); });
}
TEST_CASE("child: exec", "[.][child-exec]") {
    behind_filter([] { ::execl("/bin/true", "true", nullptr); });
}
TEST_CASE("child: fork", "[.][child-fork]") {
    behind_filter([] { ::fork(); });
}
TEST_CASE("child: code", "[.][child-code]") {
    behind_filter([] { ::mmap(nullptr, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0); });
}
TEST_CASE("child: memory", "[.][child-memory]") {
    behind_filter([] {
        const rlimit more{RLIM_INFINITY, RLIM_INFINITY};
        ::setrlimit(RLIMIT_AS, &more);
    });
}
TEST_CASE("child: kills", "[.][child-kills]") {
    behind_filter([] { ::kill(::getppid(), 0); });
}
TEST_CASE("child: thread", "[.][child-thread]") {
    // A thread that runs when the filter comes is behind it as well.
    std::thread other([] {
        char go = 0;
        (void)!::recv(3, &go, 1, 0);
        ::socket(AF_INET, SOCK_STREAM, 0);
        say("out");
        ::_exit(0);
    });
    if (!os::restrict_system_calls()) ::_exit(1);
    say("in ");
    other.join();
}
TEST_CASE("child: spins", "[.][child-spins]") {
    ::signal(SIGXCPU, SIG_DFL);
    // The second limit counts from now on, and is not the first.
    if (!os::allow_cpu_seconds(0) || !os::allow_cpu_seconds(1)) ::_exit(1);
    volatile unsigned long x = 0;
    while (true)
        x = x + 1;
}
TEST_CASE("child: grows", "[.][child-grows]") {
    const int fd = ::open((folder() + "/mine/file").c_str(), O_WRONLY | O_APPEND);
    if (!os::limit_files(64)) ::_exit(1);
    const ssize_t n = ::write(fd, "more", 4);
    rlimit core{}, files{};
    ::getrlimit(RLIMIT_CORE, &core);
    ::getrlimit(RLIMIT_NOFILE, &files);
    say(std::to_string(n < 0 ? errno : 0) + " " + std::to_string(core.rlim_max) + " " + std::to_string(files.rlim_max));
    ::_exit(0);
}

namespace {

struct Folder {
    test::TempDir dir;
    Folder() {
        ::mkdir((dir.path() + "/mine").c_str(), 0700);
        std::ofstream(dir.path() + "/mine/file") << "xy";
        std::ofstream(dir.path() + "/other") << "z";
        ::setenv("WEIR_TEST_DIR", dir.path().c_str(), 1);
    }
    ~Folder() { ::unsetenv("WEIR_TEST_DIR"); }
};

}  // namespace

TEST_CASE("files below one folder can be opened for reading, and no others") {
    const Folder folder;
    os::Child child = child_of("[child-files]");
    const std::string all = said(child);
    if (all == "no landlock") SKIP("this kernel has no Landlock");
    const std::string no = std::to_string(EACCES);
    CHECK(all == "open open " + no + " " + no + " " + no + " " + no + " " + no);
}

TEST_CASE("behind the filter a process reads, computes and talks") {
    const Folder folder;
    os::Child child = child_of("[child-allowed]");
    const std::string all = said(child);
    if (all == "no filter") SKIP("this kernel has no filter");
    CHECK(all == "in read mapped limit out");
}

TEST_CASE("behind the filter everything else ends the process") {
    const Folder folder;
    for (const char* what : {"socket", "write", "append", "exec", "fork", "code", "memory", "kills"}) {
        INFO(what);
        os::Child child = child_of("[child-" + std::string(what) + "]");
        const std::string all = said(child);
        if (all == "no filter") SKIP("this kernel has no filter");
        CHECK(all == "in ");
        const auto ended = child.wait(60'000);
        REQUIRE(ended.value());
        CHECK(ended.value()->signalled);
        CHECK(ended.value()->code == SIGSYS);
    }
}

TEST_CASE("the filter holds for threads that run already") {
    os::Child child = child_of("[child-thread]");
    char buffer[8];
    REQUIRE(::recv(child.socket(), buffer, 3, MSG_WAITALL) == 3);
    REQUIRE(::send(child.socket(), "x", 1, MSG_NOSIGNAL) == 1);
    CHECK(said(child).empty());
    const auto ended = child.wait(60'000);
    REQUIRE(ended.value());
    CHECK(ended.value()->code == SIGSYS);
}

TEST_CASE("processor time that is used up ends the process, and each allowance begins anew") {
    os::Child child = child_of("[child-spins]");
    const auto ended = child.wait(120'000);
    REQUIRE(ended.value());
    CHECK(ended.value()->signalled);
    CHECK(ended.value()->code == SIGXCPU);
}

TEST_CASE("no file grows, no core is dumped") {
    const Folder folder;
    os::Child child = child_of("[child-grows]");
    CHECK(said(child) == std::to_string(EFBIG) + " 0 64");
}
