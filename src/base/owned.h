// A member of any object whose state belongs to one thread. Public methods begin with `owned_.assert_owner();`.
#pragma once

#include "base/check.h"

#include <atomic>
#include <thread>

namespace weir {

class ThreadOwned {
  public:
    // The first caller becomes the owner: objects are built on the main thread and then handed to theirs.
    void assert_owner() const {
        auto self = std::this_thread::get_id();
        std::thread::id none;
        if (owner_.load(std::memory_order_relaxed) == self) return;
        CHECK(owner_.compare_exchange_strong(none, self));
    }
    // The present owner lets go (construction is over); the next caller takes over.
    void release() const { owner_.store(std::thread::id()); }

  private:
    mutable std::atomic<std::thread::id> owner_{};
};

}  // namespace weir
