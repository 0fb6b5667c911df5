#include "node/own_server.h"

#include "os/clock.h"

#include <catch2/catch_test_macros.hpp>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

namespace weir::node {
namespace {

// A folder with a program `server` in it, which is a shell script.
struct Folder {
    Folder() {
        char pattern[] = "/tmp/weir-bench-server-test-XXXXXX";
        REQUIRE(mkdtemp(pattern) != nullptr);
        path = pattern;
    }
    ~Folder() { std::filesystem::remove_all(path); }
    std::string script(const std::string& text) const {
        const std::string file = path + "/server";
        std::ofstream(file) << "#!/bin/sh\n" << text;
        chmod(file.c_str(), 0755);
        return file;
    }
    std::size_t entries() const {
        return static_cast<std::size_t>(
            std::distance(std::filesystem::directory_iterator(path), std::filesystem::directory_iterator()));
    }
    std::string path;
};

TEST_CASE("a server is started, found by what it prints, and removed") {
    Folder folder;
    os::RealClock clock;
    OwnServer::Options options;
    options.program = folder.script(
        "echo \"args: $@\"\necho '  HTTP       http://127.0.0.1:4711/v1'\necho 'ready in 5 ms'\nexec sleep 60\n");
    options.parent_dir = folder.path;
    options.clock = &clock;
    int pid = 0;
    {
        const auto server = OwnServer::start(options);
        REQUIRE(server);
        CHECK(server.value().address().port == 4711);
        CHECK(server.value().log_tail().find("args: serve --data ") == 0);
        pid = server.value().pid();
        const auto uses = processes_of(pid);
        REQUIRE(uses.size() == 1);
        CHECK(uses[0].pid == pid);
        CHECK(uses[0].rss_bytes > 0);
        CHECK(folder.entries() == 2);
    }
    CHECK(kill(pid, 0) != 0);
    CHECK(folder.entries() == 1);
}

TEST_CASE("settings and keys in the environment are not the server's, other variables are") {
    Folder folder;
    os::RealClock clock;
    OwnServer::Options options;
    options.program = folder.script(
        "echo \"config=$WEIR_CONFIG auth=$WEIR_AUTH_KEYS$WEIR_AUTH_MODE memory=$WEIR_LIMITS_MEMORY path=$PATH\"\n"
        "echo 'http://127.0.0.1:4711/v1'\necho 'ready in 5 ms'\nexec sleep 60\n");
    options.parent_dir = folder.path;
    options.clock = &clock;
    const std::vector<std::pair<const char*, const char*>> set{{"WEIR_CONFIG", "/nonexistent.toml"},
                                                               {"WEIR_AUTH_KEYS", "a:admin:00"},
                                                               {"WEIR_AUTH_MODE", "keys"},
                                                               {"WEIR_LIMITS_MEMORY", "64MiB"}};
    for (const auto& [name, value] : set)
        setenv(name, value, 1);
    const auto server = OwnServer::start(options);
    for (const auto& [name, value] : set)
        unsetenv(name);
    REQUIRE(server);
    CHECK(server.value().log_tail().find("config= auth= memory=64MiB path=/") == 0);
}

TEST_CASE("a data directory that was named is served and stays") {
    Folder folder;
    os::RealClock clock;
    OwnServer::Options options;
    options.program = folder.script(
        "echo \"args: $@\"\nmkdir \"$3\"\necho 'http://127.0.0.1:4711/v1'\necho 'ready in 5 ms'\nexec sleep 60\n");
    options.name = "demo";
    options.parent_dir = folder.path;
    options.data_dir = folder.path + "/kept";
    options.http_listen = "127.0.0.1:7";
    options.clock = &clock;
    {
        auto server = OwnServer::start(options);
        REQUIRE(server);
        CHECK(server.value().folder().find(folder.path + "/weir-demo-") == 0);
        CHECK(server.value().log_tail().find("args: serve --data " + folder.path + "/kept --http 127.0.0.1:7\n") == 0);
        CHECK_FALSE(server.value().has_ended());
    }
    CHECK(std::filesystem::is_directory(folder.path + "/kept"));
    CHECK(folder.entries() == 2);
}

TEST_CASE("a server that ends by itself is noticed") {
    Folder folder;
    os::RealClock clock;
    OwnServer::Options options;
    options.program = folder.script("echo 'http://127.0.0.1:4711/v1'\necho 'ready in 5 ms'\nexit 1\n");
    options.parent_dir = folder.path;
    options.clock = &clock;
    auto server = OwnServer::start(options);
    if (!server) return;  // it was seen to end before it was seen to be ready
    const std::int64_t give_up_us = clock.monotonic_us() + 10'000'000;
    while (!server.value().has_ended() && clock.monotonic_us() < give_up_us) {
    }
    CHECK(server.value().has_ended());
}

TEST_CASE("one that ends before it is ready is an error with its last words") {
    Folder folder;
    os::RealClock clock;
    OwnServer::Options options;
    options.program = folder.script("echo 'error: the port is in use' >&2\nexit 2\n");
    options.parent_dir = folder.path;
    options.clock = &clock;
    const auto server = OwnServer::start(options);
    REQUIRE_FALSE(server);
    CHECK(server.error().code == Errc::io);
    CHECK(server.error().detail.find("the port is in use") != std::string::npos);
    CHECK(folder.entries() == 1);
}

TEST_CASE("one that is never ready, and a folder that is not there") {
    Folder folder;
    os::RealClock clock;
    OwnServer::Options options;
    options.program = folder.script("exec sleep 60\n");
    options.parent_dir = folder.path;
    options.ready_within_ms = 20;
    options.clock = &clock;
    CHECK(OwnServer::start(options).error().code == Errc::timed_out);
    options.parent_dir = "/nonexistent";
    CHECK(OwnServer::start(options).error().code == Errc::io);
}

TEST_CASE("the address in the log") {
    CHECK(ready_address("HTTP http://127.0.0.1:80/ x\nready in 3 ms") == "http://127.0.0.1:80");
    CHECK(ready_address("address=\"http://[::1]:80\" msg=\"ready in 3 ms\"") == "http://[::1]:80");
    CHECK(ready_address("http://127.0.0.1:80/").empty());
    CHECK(ready_address("ready in 3 ms").empty());
    CHECK(ready_address("").empty());
}

}  // namespace
}  // namespace weir::node
