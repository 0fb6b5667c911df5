// Changed rows of views for tails. What changed is told by the shard (log/changes.h) as keys, in the order of the row
// commits; the rows themselves are read by key when a tail gets them. So a row that changes ten times while a reader is
// slow is sent once, as it is then: what a tail holds of a view is right after each batch, though not each step to it.
//
// The keys stand in a ring, bounded in number and bytes. A tail is a place in it; one that the ring has left behind
// gets all rows again ("resync"). A snapshot is pages in key order, each of its own index: behind it come the changes
// since it began, whichever of the two has seen them. Owner: the live thread.
#pragma once

#include "base/result.h"
#include "log/changes.h"
#include "os/disk.h"
#include "query/view_rows.h"

#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace weir::http {

inline constexpr std::size_t view_ring_keys_max = 100'000;
inline constexpr std::size_t view_ring_bytes_max = 8u << 20;
inline constexpr std::uint32_t view_batch_rows = 512;
inline constexpr std::size_t view_batch_bytes = 128 * 1024;  // at least one row

// Rows as JSON, one behind the other in `text`.
struct EncodedRows {
    std::string text;
    std::vector<std::size_t> ends;  // of each row in `text`
    LogIndex index;                 // that they are of
    // Of a page: the last key and whether it was the last page. Of changes: the place behind them.
    std::string last_key;
    bool at_end = false;
    std::uint64_t next = 0;
    std::string_view row(std::size_t i) const {
        const std::size_t begin = i == 0 ? 0 : ends[i - 1];
        return std::string_view(text).substr(begin, ends[i] - begin);
    }
};

// One view that somebody tails.
class ViewFeed {
  public:
    ViewFeed(query::ViewShape shape, std::string shard_dir)
        : shape_(std::move(shape)), shard_dir_(std::move(shard_dir)) {}

    const query::ViewShape& shape() const { return shape_; }
    const std::string& shard_dir() const { return shard_dir_; }

    // The shard tells of this view from `visible` on.
    void begin(LogIndex visible);
    bool begun() const { return begun_; }
    void add(const log::Changes::Rows& rows, LogIndex visible);
    void lose(LogIndex visible);  // changes up to there went untold

    std::size_t ring_bytes() const { return ring_bytes_; }
    std::uint64_t end() const { return first_ + ring_.size(); }
    bool holds(std::uint64_t place) const { return place >= first_; }  // false: the ring has left it behind
    // The place behind everything of an index; false: changes after it are not all there.
    bool place_of(LogIndex index, std::uint64_t& place) const;

    // Rows behind `after` in key order. Errors: as ViewRows::page().
    Result<EncodedRows> page(query::ViewRows& rows, bool begins, const std::string& after) const;
    // Rows that changed from `place` on (holds(place)), each once. Errors: likewise.
    Result<std::shared_ptr<const EncodedRows>> changes(query::ViewRows& rows, std::uint64_t place);

  private:
    struct Change {
        LogIndex index;
        std::string key;
    };
    void trim();

    query::ViewShape shape_;
    std::string shard_dir_;
    std::deque<Change> ring_;
    std::uint64_t first_ = 0;  // place of ring_.front()
    std::size_t ring_bytes_ = 0;
    LogIndex complete_from_;  // changes of later indexes are all in the ring
    bool begun_ = false;
    // The last batch: those who keep up stand at the same place.
    std::uint64_t kept_place_ = 0;
    std::shared_ptr<const EncodedRows> kept_;
};

}  // namespace weir::http
