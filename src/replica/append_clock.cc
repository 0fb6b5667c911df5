#include "replica/append_clock.h"

#include <algorithm>
#include <cstdlib>

namespace weir::replica {

AppendClock::AppendClock(Clock& clock) : clock_(clock) {
    begin(INT64_MIN);
}

void AppendClock::begin(std::int64_t last_append_ms) {
    seen_mono_us_ = started_mono_us_ = clock_.monotonic_us();
    const std::int64_t wall_ms = clock_.wall_ms();
    started_after_gap_ = last_append_ms != INT64_MIN && wall_ms - last_append_ms > gap_ms;
    alert_ = started_after_gap_;
    // A wall clock behind the log's last append is waited for by running slower than it.
    last_ms_ = std::max(last_append_ms, wall_ms);
    value_us_ = last_ms_ * 1000;
    offset_us_ = value_us_ - seen_mono_us_;
}

std::int64_t AppendClock::now_ms() {
    const std::int64_t mono_us = clock_.monotonic_us();
    const std::int64_t passed_us = std::max<std::int64_t>(0, mono_us - seen_mono_us_);
    seen_mono_us_ = mono_us;
    value_us_ += passed_us;
    const std::int64_t away_us = clock_.wall_ms() * 1000 - value_us_;
    if (std::abs(away_us) >= far_ms * 1000) {
        alert_ = true;
    } else {
        alert_ = started_after_gap_ && mono_us - started_mono_us_ < pause_us;
        value_us_ += std::clamp(away_us, -passed_us / 10, passed_us / 10);
    }
    offset_us_ = value_us_ - mono_us;
    last_ms_ = std::max(last_ms_, value_us_ / 1000);
    return last_ms_;
}

std::int64_t AppendClock::published_ms() const {
    return (clock_.monotonic_us() + offset_us_.load(std::memory_order_relaxed)) / 1000;
}

bool AppendClock::expiry_paused() const {
    return alert_;
}

}  // namespace weir::replica
