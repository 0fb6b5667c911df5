#include "replica/append_clock.h"

#include <algorithm>
#include <cstdlib>

namespace weir::replica {

AppendClock::AppendClock(Clock& clock) : clock_(clock) {
    begin(INT64_MIN);
}

void AppendClock::begin(std::int64_t last_append_ms, std::int64_t after_gap_ms) {
    seen_mono_us_ = clock_.monotonic_us();
    const std::int64_t wall_ms = clock_.wall_ms();
    // A wall clock behind the log's last append is waited for by running slower than it.
    last_ms_ = std::max(last_append_ms, wall_ms);
    value_us_ = last_ms_ * 1000;
    paused_until_ms_ = INT64_MIN;
    if (after_gap_ms != INT64_MIN) paused_until_ms_ = after_gap_ms + pause_ms;
    if (last_append_ms != INT64_MIN && wall_ms - last_append_ms > gap_ms) paused_until_ms_ = last_ms_ + pause_ms;
    alert_ = last_ms_ < paused_until_ms_;
    offset_us_ = value_us_ - seen_mono_us_;
}

std::int64_t AppendClock::now_ms() {
    const std::int64_t mono_us = clock_.monotonic_us();
    const std::int64_t passed_us = std::max<std::int64_t>(0, mono_us - seen_mono_us_);
    seen_mono_us_ = mono_us;
    value_us_ += passed_us;
    const std::int64_t away_us = clock_.wall_ms() * 1000 - value_us_;
    const bool is_far = std::abs(away_us) >= far_ms * 1000;
    if (!is_far) value_us_ += std::clamp(away_us, -passed_us / 10, passed_us / 10);
    offset_us_ = value_us_ - mono_us;
    last_ms_ = std::max(last_ms_, value_us_ / 1000);
    alert_ = is_far || last_ms_ < paused_until_ms_;
    return last_ms_;
}

std::int64_t AppendClock::published_ms() const {
    return (clock_.monotonic_us() + offset_us_.load(std::memory_order_relaxed)) / 1000;
}

bool AppendClock::expiry_paused() const {
    return alert_;
}

}  // namespace weir::replica
