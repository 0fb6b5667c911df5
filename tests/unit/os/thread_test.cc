#include "os/thread.h"

#include <catch2/catch_test_macros.hpp>

#include <memory>
#include <pthread.h>
#include <string>

using namespace weir;

TEST_CASE("a thread has its name, cut to 15 bytes, and takes a body that only moves") {
    auto gives = [](const std::string& name, const std::string& want) {
        std::string got;
        auto token = std::make_unique<int>(1);
        os::start_thread(name, [&got, token = std::move(token)] {
            char text[32] = {};
            pthread_getname_np(pthread_self(), text, sizeof text);
            got = text;
        });  // joins
        CHECK(got == want);
    };
    gives("wal", "wal");
    gives("", "");
    gives("123456789012345", "123456789012345");
    gives("1234567890123456", "123456789012345");
}
