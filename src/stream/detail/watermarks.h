// One watermark a partition: the highest event time seen minus DELAY, or higher where the log raised it. It never
// falls, and a partition without a record counts as minus infinity. Private to stream/. stream-sql.md S4, S6, S17.
#pragma once

#include "base/check.h"
#include "stream/detail/time.h"
#include "stream/tumble.h"

#include <algorithm>
#include <cstdint>
#include <vector>

namespace weir::stream::detail {

class Watermarks {
  public:
    Watermarks(std::int32_t partitions, std::int64_t delay_ms)
        : delay_ms_(delay_ms), partitions_(static_cast<std::size_t>(partitions)) {}

    std::int64_t of(const PartitionWatermark& p) const {
        const std::int64_t by_records = p.any ? saturating_subtract(p.max_event_time_ms, delay_ms_) : INT64_MIN;
        return std::max(by_records, p.raised_ms);
    }
    std::int64_t of(PartitionNo partition) const { return of(at(partition)); }
    std::int64_t least() const {
        std::int64_t least = INT64_MAX;
        for (const PartitionWatermark& p : partitions_)
            least = std::min(least, of(p));
        return least;
    }
    const PartitionWatermark& at(PartitionNo partition) const {
        CHECK(partition >= 0 && static_cast<std::size_t>(partition) < partitions_.size());
        return partitions_[static_cast<std::size_t>(partition)];
    }
    PartitionWatermark& at(PartitionNo partition) {
        return const_cast<PartitionWatermark&>(static_cast<const Watermarks*>(this)->at(partition));
    }
    // False: it is as high already.
    bool raise(PartitionNo partition, std::int64_t watermark_ms) {
        if (watermark_ms <= of(partition)) return false;
        at(partition).raised_ms = watermark_ms;
        return true;
    }
    // From here on. What a smaller DELAY lets go of rises at once; with a larger one the watermarks stay where they are
    // until event times have come further.
    void set_delay(std::int64_t delay_ms) {
        for (PartitionWatermark& p : partitions_)
            p.raised_ms = of(p);
        delay_ms_ = delay_ms;
    }
    const std::vector<PartitionWatermark>& all() const { return partitions_; }

  private:
    std::int64_t delay_ms_;
    std::vector<PartitionWatermark> partitions_;
};

}  // namespace weir::stream::detail
