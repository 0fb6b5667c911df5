// A place where a test stops a thread of the code and looks around: who passes a closed gate waits until it opens. No
// time is involved, so what is seen meanwhile is the same on every machine.
#pragma once

#include <condition_variable>
#include <mutex>

namespace weir::test {

class Gate {
  public:
    void close() {
        const std::lock_guard lock(mutex_);
        passages_ = 0;
        closed_ = true;
    }
    // Lets `passages` through that find it closed, then closes again.
    void let(int passages) {
        const std::lock_guard lock(mutex_);
        passages_ += passages;
        changed_.notify_all();
    }
    void open() {
        const std::lock_guard lock(mutex_);
        closed_ = false;
        changed_.notify_all();
    }
    // The test: until a thread stands before the closed gate and has no passage left.
    void wait_for_somebody() {
        std::unique_lock lock(mutex_);
        changed_.wait(lock, [&] { return standing_ > 0 && passages_ == 0; });
    }

    // The code under test.
    void pass() {
        std::unique_lock lock(mutex_);
        ++standing_;
        changed_.notify_all();
        changed_.wait(lock, [&] { return !closed_ || passages_ > 0; });
        --standing_;
        if (closed_) --passages_;
        changed_.notify_all();
    }

  private:
    std::mutex mutex_;
    std::condition_variable changed_;
    bool closed_ = false;
    int passages_ = 0;
    int standing_ = 0;
};

}  // namespace weir::test
