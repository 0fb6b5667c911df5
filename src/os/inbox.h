// Inbox<T>: the one way by which threads hand values to each other. Bounded in bytes, many posters, one owner that
// drains.
#pragma once

#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <mutex>
#include <utility>
#include <vector>

namespace weir::os {

template <class T>
class Inbox {
  public:
    explicit Inbox(std::size_t bytes_max) : bytes_max_(bytes_max) {}

    // Moves `value` in and wakes the owner. False, and `value` untouched, when `bytes` would pass the bound or the
    // inbox is closed. A value larger than the bound is taken when the inbox is empty.
    bool post(T&& value, std::size_t bytes = 0) {
        {
            std::lock_guard lock(mutex_);
            if (closed_ || (bytes > 0 && bytes_ > 0 && bytes_ + bytes > bytes_max_)) return false;
            items_.push_back(std::move(value));
            sizes_.push_back(bytes);
            bytes_ += bytes;
        }
        ready_.notify_one();
        if (wake_) wake_();
        return true;
    }
    // Moves everything out (appends to `out`). The bytes count as free from here on.
    void drain(std::vector<T>& out) {
        std::lock_guard lock(mutex_);
        for (auto& item : items_)
            out.push_back(std::move(item));
        items_.clear();
        sizes_.clear();
        bytes_ = 0;
    }
    // Waits until there is something, the inbox is closed, interrupt() was called, or `timeout` has passed.
    void wait_for(std::chrono::microseconds timeout) {
        std::unique_lock lock(mutex_);
        ready_.wait_for(lock, timeout, [&] { return !items_.empty() || closed_ || interrupted_; });
        interrupted_ = false;
    }
    void interrupt() {
        {
            std::lock_guard lock(mutex_);
            interrupted_ = true;
        }
        ready_.notify_one();
    }
    void close() {
        {
            std::lock_guard lock(mutex_);
            closed_ = true;
        }
        ready_.notify_all();
    }
    bool closed() const {
        std::lock_guard lock(mutex_);
        return closed_;
    }
    std::size_t bytes() const {
        std::lock_guard lock(mutex_);
        return bytes_;
    }
    // For owners that wait in an event loop: called after each post, on the poster's thread. Set before the first post.
    void set_wake(std::function<void()> wake) { wake_ = std::move(wake); }

  private:
    mutable std::mutex mutex_;
    std::condition_variable ready_;
    std::vector<T> items_;
    std::vector<std::size_t> sizes_;
    std::size_t bytes_ = 0;
    const std::size_t bytes_max_;
    bool closed_ = false;
    bool interrupted_ = false;
    std::function<void()> wake_;
};

}  // namespace weir::os
