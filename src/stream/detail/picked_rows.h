// Which rows of a batch a view takes, and the window that each falls in. Private to stream/. Owner: the apply thread.
#pragma once

#include "base/result.h"
#include "record/columns.h"
#include "store/expression.h"
#include "stream/detail/time.h"
#include "stream/detail/watermarks.h"
#include "stream/tumble.h"

#include <cstdint>
#include <memory>
#include <vector>

namespace weir::stream::detail {

// What is asked of the rows beside their windows.
struct PickedWants {
    bool positions = false;  // event times and offsets
    bool second = false;     // whether a row came after its partition's watermark had passed its window's end
};

// Of one batch; reused, so that its memory is kept.
class PickedRows {
  public:
    // `where`: null takes every row.
    PickedRows(const TumblePlan& plan, std::unique_ptr<store::Expression> where, PickedWants wants)
        : size_ms_(plan.size_ms),
          offset_ms_(plan.offset_ms),
          lateness_ms_(plan.lateness_ms),
          where_(std::move(where)),
          wants_(wants) {}

    // WHERE, then the test for lateness, record by record. Changes the copies that it is given; `late` is appended to.
    // Errors: io.
    Status pick(const PartitionRows& rows, const Watermarks& watermarks, PartitionWatermark& watermark,
                ViewCounts& counts, std::vector<LateRow>& late);

    // The watermark from which on a window takes no more rows and its state is dropped.
    std::int64_t closes_at(std::int64_t window_start_ms) const {
        return saturating_add(saturating_add(window_start_ms, size_ms_), lateness_ms_);
    }

    std::size_t size() const { return rows.size(); }

    std::vector<std::uint32_t> rows;  // neither filtered nor late
    std::vector<std::int64_t> starts_ms;
    std::vector<std::int64_t> times_ms, offsets;
    std::vector<std::uint8_t> second;

  private:
    std::int64_t size_ms_, offset_ms_, lateness_ms_;
    std::unique_ptr<store::Expression> where_;
    PickedWants wants_;
    store::Evaluated passes_;
};

}  // namespace weir::stream::detail
