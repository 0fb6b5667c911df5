// Progress: a number that only grows, and threads that wait until it has reached a value.
#pragma once

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <mutex>

namespace weir::os {

class Progress {
  public:
    std::uint64_t value() const {
        std::lock_guard lock(mutex_);
        return value_;
    }
    void advance(std::uint64_t value) {
        {
            std::lock_guard lock(mutex_);
            if (value <= value_) return;
            value_ = value;
        }
        grown_.notify_all();
    }
    // False: `timeout` passed first.
    bool wait_for(std::uint64_t value, std::chrono::milliseconds timeout) {
        std::unique_lock lock(mutex_);
        return grown_.wait_for(lock, timeout, [&] { return value_ >= value; });
    }

  private:
    mutable std::mutex mutex_;
    std::condition_variable grown_;
    std::uint64_t value_ = 0;
};

}  // namespace weir::os
