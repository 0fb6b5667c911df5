#include "os/inbox.h"

#include "os/thread.h"

#include <catch2/catch_test_macros.hpp>

#include <atomic>
#include <memory>
#include <string>
#include <vector>

using namespace weir;
using namespace std::chrono_literals;

TEST_CASE("Inbox: the bound in bytes, and a refused value stays whole") {
    os::Inbox<std::unique_ptr<int>> inbox(10);
    auto post = [&](std::size_t bytes, bool want) {
        auto value = std::make_unique<int>(7);
        CHECK(inbox.post(std::move(value), bytes) == want);
        CHECK((value == nullptr) == want);
    };
    post(4, true);
    post(6, true);
    post(1, false);  // one above
    post(0, true);   // what weighs nothing always fits
    CHECK(inbox.bytes() == 10);
    std::vector<std::unique_ptr<int>> out;
    inbox.drain(out);
    CHECK(out.size() == 3);
    CHECK(inbox.bytes() == 0);
    post(99, true);  // larger than the bound, into an empty inbox
    post(1, false);
    inbox.drain(out);
    CHECK(out.size() == 4);
    inbox.close();
    CHECK(inbox.closed());
    post(1, false);
    post(0, false);
    inbox.wait_for(std::chrono::hours(1));  // closed: returns at once
}

TEST_CASE("Inbox: interrupt ends one wait") {
    os::Inbox<int> inbox(10);
    inbox.interrupt();
    inbox.wait_for(std::chrono::hours(1));
    inbox.wait_for(1us);
}

TEST_CASE("Inbox: many posters, one owner; each poster's values come in its order") {
    constexpr int posters = 4;
    constexpr int each = 5000;
    os::Inbox<std::pair<int, int>> inbox(256);
    std::atomic<int> woken{0};
    inbox.set_wake([&] { woken.fetch_add(1); });
    std::vector<int> next(posters, 0);
    int got = 0;
    {
        std::vector<std::jthread> threads;
        for (int p = 0; p < posters; p++) {
            threads.push_back(os::start_thread("poster", [&inbox, p] {
                for (int i = 0; i < each; i++) {
                    while (!inbox.post({p, i}, 8))
                        std::this_thread::yield();
                }
            }));
        }
        std::vector<std::pair<int, int>> out;
        while (got < posters * each) {
            inbox.wait_for(10s);
            CHECK(inbox.bytes() <= 256);
            out.clear();
            inbox.drain(out);
            for (auto [p, i] : out) {
                REQUIRE(next[static_cast<std::size_t>(p)]++ == i);
                got++;
            }
        }
    }
    CHECK(woken.load() == posters * each);
    CHECK_FALSE(inbox.closed());
}
