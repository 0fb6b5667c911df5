#include "http/detail/mailbox.h"

#include <catch2/catch_test_macros.hpp>

#include <poll.h>
#include <thread>

using namespace weir::http;

TEST_CASE("Mail from several threads arrives whole, and wakes") {
    auto made = Mailbox::make();
    REQUIRE(made);
    auto box = made.value();
    constexpr std::size_t each = 2000;
    std::vector<std::thread> threads;
    for (std::size_t t = 0; t < 3; ++t)
        threads.emplace_back([box] {
            for (std::size_t i = 0; i < each; ++i)
                box->post(WorkerFree{i});
        });
    std::vector<Mail> got;
    while (got.size() < 3 * each) {
        pollfd wait{box->fd(), POLLIN, 0};
        REQUIRE(::poll(&wait, 1, 10'000) == 1);
        box->drain(got);
    }
    for (auto& t : threads)
        t.join();
    CHECK(got.size() == 3 * each);
}
