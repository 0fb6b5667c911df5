// Snapshot<T>: one writer publishes immutable values, many threads take the newest. The lock is held for a pointer
// copy.
#pragma once

#include <memory>
#include <mutex>
#include <utility>

namespace weir::os {

template <class T>
class Snapshot {
  public:
    explicit Snapshot(std::shared_ptr<const T> first) : value_(std::move(first)) {}
    std::shared_ptr<const T> get() const {
        std::lock_guard lock(mutex_);
        return value_;
    }
    void set(std::shared_ptr<const T> value) {
        std::lock_guard lock(mutex_);
        value_.swap(value);  // the old one dies outside of the lock where this was its last holder
    }

  private:
    mutable std::mutex mutex_;
    std::shared_ptr<const T> value_;
};

}  // namespace weir::os
