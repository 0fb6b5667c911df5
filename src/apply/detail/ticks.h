// What a tick entry does to a view, and when the next one would do something. contract.md "Time"; stream-sql.md S7.
//
// A tick at append time a raises, in a view of the stream:
//   a partition with records, where IDLE AFTER i is declared, to  E - delay + max(0, a - last append - i)
//   a partition without one, 30 s after the stream's first record, to the least watermark of those that have records
// A watermark never falls. A tick is also how the log comes to the next cut of EMIT CHANGES EVERY. Nothing but log
// content decides: a stands in the entry, the rest follows from entries before it.
#pragma once

#include "base/ids.h"
#include "stream/tumble.h"

#include <cstdint>
#include <vector>

namespace weir::apply {

// Append times of a stream's stored records. INT64_MIN: none yet.
struct Arrivals {
    std::int64_t first_ms = INT64_MIN;
    std::vector<std::int64_t> last_ms;  // by partition

    void on_records(PartitionNo partition, std::int64_t append_ms) {
        if (first_ms == INT64_MIN) first_ms = append_ms;
        last_ms.at(static_cast<std::size_t>(partition)) = append_ms;
    }
};

// `idle_after_ms` -1: never idle.
void tick_view(stream::Tumble& view, const stream::TumblePlan& plan, const Arrivals& arrivals,
               std::int64_t idle_after_ms, std::int64_t append_ms);

// Moves every watermark to the highest event time that the view has seen, minus DELAY.
void flush_view(stream::Tumble& view, const stream::TumblePlan& plan);

// The earliest append time at which a tick would make a window of the view final, drop one's state or release rows that
// EVERY holds back; INT64_MAX: none would (no window is open, or a partition waits for records that only the sender can
// bring).
std::int64_t tick_due_ms(const stream::Tumble& view, const stream::TumblePlan& plan, const Arrivals& arrivals,
                         std::int64_t idle_after_ms);

// True: a tick at `append_ms` counts the partition as idle.
bool is_idle(const Arrivals& arrivals, PartitionNo partition, std::int64_t idle_after_ms, std::int64_t append_ms);

}  // namespace weir::apply
