#include "stream/detail/picked_rows.h"

namespace weir::stream::detail {

Status PickedRows::pick(const PartitionRows& input, const Watermarks& watermarks, PartitionWatermark& watermark,
                        ViewCounts& counts, std::vector<LateRow>& late) {
    const std::vector<std::int64_t>& event_time = input.columns->event_time_ms;
    const std::size_t count = input.rows.size();
    const auto [with_positions, with_second] = wants_;
    const bool has_where = where_ != nullptr;
    rows.clear();
    starts_ms.clear();
    times_ms.clear();
    offsets.clear();
    second.clear();
    rows.reserve(count);
    starts_ms.reserve(count);
    if (has_where) TRY(where_->evaluate(*input.columns, input.rows, passes_));

    std::int64_t window_begin = 0;
    std::int64_t window_end = 0;  // empty: the first row computes its window
    std::int64_t closes = 0;
    std::int64_t now = watermarks.of(watermark);
    std::uint64_t filtered = 0;
    std::uint64_t late_count = 0;
    for (std::size_t i = 0; i < count; ++i) {
        const std::uint32_t row = input.rows[i];
        const bool is_stamped = event_time[row] == record::event_time_is_append_time;
        const std::int64_t e = is_stamped ? input.append_time_ms : event_time[row];
        if (has_where && passes_.values[i].integer == 0) {
            ++filtered;
        } else {
            // Rows come mostly in order: the division is skipped while they stay in one window.
            if (e < window_begin || e >= window_end) {
                window_begin = window_start(e, size_ms_, offset_ms_);
                window_end = saturating_add(window_begin, size_ms_);
                closes = closes_at(window_begin);
            }
            if (closes <= now) {
                ++late_count;
                late.push_back(
                    {input.partition, input.base_offset + static_cast<std::int64_t>(i), row, window_begin, e});
            } else {
                rows.push_back(row);
                starts_ms.push_back(window_begin);
                if (with_positions) {
                    times_ms.push_back(e);
                    offsets.push_back(input.base_offset + static_cast<std::int64_t>(i));
                }
                if (with_second) second.push_back(window_end <= now ? 1 : 0);
            }
        }
        if (e > watermark.max_event_time_ms || !watermark.any) {
            watermark.any = true;
            watermark.max_event_time_ms = e;
            now = watermarks.of(watermark);
        }
    }
    counts.seen += count;
    counts.filtered += filtered;
    counts.late += late_count;
    counts.windowed += rows.size();
    return {};
}

}  // namespace weir::stream::detail
