// The append clock: what the leader stamps on entries. Starts from the wall clock, runs on the monotonic clock and is
// slewed towards the wall by at most a tenth of what passes; a wall clock an hour away is not followed and raises an
// alert. Never goes back, not over restarts either. Owner: the admission thread, except for published_ms().
#pragma once

#include "base/clock.h"
#include "base/limits.h"

#include <atomic>
#include <cstdint>

namespace weir::replica {

class AppendClock {
  public:
    explicit AppendClock(Clock& clock);
    // Once, when the log is known: `last_append_ms` of its last entry, INT64_MIN when there is none; `after_gap_ms` of
    // the last entry that came more than 30 days after the one before, so that a restart does not end the day early.
    void begin(std::int64_t last_append_ms, std::int64_t after_gap_ms = INT64_MIN);

    std::int64_t now_ms();
    // What now_ms() would say, from any thread.
    std::int64_t published_ms() const;

    // The wall clock is an hour or more away, or the last append is more than 30 days back: somebody has to look.
    bool alert() const { return alert_; }
    // While true, nothing may be expired by age: a day of append time after a gap of more than 30 days, or a wall clock
    // that is an hour away.
    bool expiry_paused() const;

    static constexpr std::int64_t far_ms = 3'600'000;
    static constexpr std::int64_t gap_ms = limits::append_gap_ms;
    static constexpr std::int64_t pause_ms = 86'400'000;

  private:
    Clock& clock_;
    std::int64_t value_us_ = 0;  // epoch, microseconds
    std::int64_t seen_mono_us_ = 0;
    std::int64_t last_ms_ = 0;
    std::int64_t paused_until_ms_ = INT64_MIN;  // append time
    std::atomic<bool> alert_{false};
    std::atomic<std::int64_t> offset_us_{0};  // value - monotonic
};

}  // namespace weir::replica
