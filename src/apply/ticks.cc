#include "apply/detail/ticks.h"

#include <algorithm>

namespace weir::apply {
namespace {

constexpr std::int64_t unused_after_ms = 30'000;

// Event and append times are hostile input: their sums stay within 64 bits.
std::int64_t plus(std::int64_t a, std::int64_t b) {
    std::int64_t sum = 0;
    if (__builtin_add_overflow(a, b, &sum)) return b > 0 ? INT64_MAX : INT64_MIN + 1;
    return sum;
}
std::int64_t minus(std::int64_t a, std::int64_t b) {
    std::int64_t difference = 0;
    if (__builtin_sub_overflow(a, b, &difference)) return b < 0 ? INT64_MAX : INT64_MIN + 1;
    return difference;
}

// The first multiple of the window's size, moved by `offset_ms`, that is above `watermark_ms`.
std::int64_t boundary_above(std::int64_t watermark_ms, std::int64_t size_ms, std::int64_t offset_ms) {
    return plus(stream::window_start(watermark_ms, size_ms, offset_ms), size_ms);
}

}  // namespace

bool is_idle(const Arrivals& arrivals, PartitionNo partition, std::int64_t idle_after_ms, std::int64_t append_ms) {
    const std::int64_t last_ms = arrivals.last_ms.at(static_cast<std::size_t>(partition));
    return idle_after_ms >= 0 && last_ms != INT64_MIN && minus(append_ms, last_ms) >= idle_after_ms;
}

void tick_view(stream::Tumble& view, const stream::TumblePlan& plan, const Arrivals& arrivals,
               std::int64_t idle_after_ms, std::int64_t append_ms) {
    (void)view.on_append_time(append_ms);
    const auto& partitions = view.partitions();
    const auto count = static_cast<PartitionNo>(partitions.size());
    std::int64_t least_ms = INT64_MAX;
    for (PartitionNo p = 0; p < count; p++) {
        const auto& partition = partitions[static_cast<std::size_t>(p)];
        if (!partition.any) continue;
        if (is_idle(arrivals, p, idle_after_ms, append_ms)) {
            const std::int64_t last_ms = arrivals.last_ms[static_cast<std::size_t>(p)];
            const std::int64_t quiet_ms = minus(minus(append_ms, last_ms), idle_after_ms);
            view.raise_watermark(p, plus(minus(partition.max_event_time_ms, plan.delay_ms), quiet_ms));
        }
        least_ms = std::min(least_ms, view.watermark_ms(p));
    }
    // INT64_MAX: no partition has a record in this view; INT64_MIN stays minus infinity.
    if (least_ms == INT64_MAX || least_ms == INT64_MIN || arrivals.first_ms == INT64_MIN) return;
    if (minus(append_ms, arrivals.first_ms) < unused_after_ms) return;
    for (PartitionNo p = 0; p < count; p++) {
        if (!partitions[static_cast<std::size_t>(p)].any) view.raise_watermark(p, least_ms);
    }
}

void flush_view(stream::Tumble& view, const stream::TumblePlan& plan) {
    const auto& partitions = view.partitions();
    std::int64_t highest_ms = INT64_MIN;
    for (const auto& partition : partitions) {
        if (partition.any) highest_ms = std::max(highest_ms, partition.max_event_time_ms);
    }
    if (highest_ms == INT64_MIN) return;
    for (PartitionNo p = 0; p < static_cast<PartitionNo>(partitions.size()); p++)
        view.raise_watermark(p, minus(highest_ms, plan.delay_ms));
}

namespace {

// Of watermarks: the earliest append time at which they would close something.
std::int64_t watermarks_due_ms(const stream::Tumble& view, const stream::TumblePlan& plan, const Arrivals& arrivals,
                               std::int64_t idle_after_ms) {
    if (view.open_groups() == 0 || arrivals.first_ms == INT64_MIN) return INT64_MAX;
    const std::int64_t least_ms = view.least_watermark_ms();
    // A window becomes final at its end, its state goes at end + lateness. Minus infinity: any watermark is news.
    std::int64_t target_ms = INT64_MIN + 1;
    if (least_ms != INT64_MIN) {
        target_ms =
            std::min(boundary_above(least_ms, plan.size_ms, plan.offset_ms),
                     boundary_above(least_ms, plan.size_ms, (plan.offset_ms + plan.lateness_ms % plan.size_ms)));
    }
    std::int64_t due_ms = INT64_MIN;
    bool any = false;
    const auto& partitions = view.partitions();
    for (std::size_t p = 0; p < partitions.size(); p++) {
        const auto& partition = partitions[p];
        any = any || partition.any;
        const std::int64_t watermark_ms = view.watermark_ms(static_cast<PartitionNo>(p));
        if (watermark_ms != INT64_MIN && watermark_ms >= target_ms) continue;
        if (!partition.any) {
            due_ms = std::max(due_ms, plus(arrivals.first_ms, unused_after_ms));
            continue;
        }
        if (idle_after_ms < 0 || arrivals.last_ms[p] == INT64_MIN) return INT64_MAX;
        const std::int64_t missing_ms = minus(target_ms, minus(partition.max_event_time_ms, plan.delay_ms));
        due_ms = std::max(due_ms, plus(plus(arrivals.last_ms[p], idle_after_ms), missing_ms));
    }
    return any && due_ms != INT64_MIN ? due_ms : INT64_MAX;
}

}  // namespace

std::int64_t tick_due_ms(const stream::Tumble& view, const stream::TumblePlan& plan, const Arrivals& arrivals,
                         std::int64_t idle_after_ms) {
    return std::min(view.rows_due_at_ms(), watermarks_due_ms(view, plan, arrivals, idle_after_ms));
}

}  // namespace weir::apply
