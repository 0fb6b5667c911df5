// Events of streams for tails: read page by page from the log, encoded once for everybody who stands at the same place.
//
// A tail keeps nothing but its cursor: how far behind it is costs no memory, and nothing is dropped. Pages that several
// tails may want are kept within a bound: those at the end of a busy stream read each event once for all of them.
// Owner: the live thread.
#pragma once

#include "base/result.h"
#include "http/detail/live_request.h"
#include "os/disk.h"
#include "query/events.h"

#include <cstddef>
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

namespace weir::http {

inline constexpr std::uint32_t tail_page_events = 512;
inline constexpr std::size_t tail_page_bytes = 128 * 1024;      // at least one event
inline constexpr std::size_t feed_cache_bytes_max = 16u << 20;  // of kept pages

// Events as JSON, one behind the other in `text`.
struct EncodedPage {
    struct Event {
        query::Cursor cursor, next;  // its own place; where to go on behind it
        std::size_t begin = 0, end = 0;
    };
    query::Cursor from, next;
    std::string text;
    std::vector<Event> events;
    std::uint64_t scanned = 0;
    query::Skipped skipped;
    bool at_end = false;
    log::JournalPlace at;
    std::string_view text_of(const Event& event) const {
        return std::string_view(text).substr(event.begin, event.end - event.begin);
    }
};
EncodedPage encode(const query::EventPage& page, query::Cursor from);

class StreamFeed {
  public:
    explicit StreamFeed(os::Disk& disk) : disk_(disk) {}

    // The page that holds what comes at `cursor` (it may begin before it). Errors: as EventReader::read().
    Result<std::shared_ptr<const EncodedPage>> page(const std::string& shard_dir, ObjectId stream, query::Cursor cursor,
                                                    log::JournalPlace at);
    // The first page of a tail that begins at an append time; not kept.
    Result<std::shared_ptr<const EncodedPage>> page_of_time(const std::string& shard_dir, ObjectId stream,
                                                            std::int64_t append_time_ms);
    void forget(ObjectId stream);
    // Drops what was kept before the call before this one: nobody came for it in between or all have passed.
    void age();
    std::size_t kept_bytes() const { return kept_bytes_; }

  private:
    using Place = std::pair<ObjectId, query::Cursor>;
    struct PlaceLess {
        bool operator()(const Place& a, const Place& b) const {
            const auto key = [](const Place& p) {
                return std::tuple(p.first.packed(), p.second.index.value, p.second.ordinal);
            };
            return key(a) < key(b);
        }
    };
    Result<query::EventReader*> reader(const std::string& shard_dir);
    Result<query::EventPage> read(query::EventQuery& query);
    void keep(const Place& place, std::shared_ptr<const EncodedPage> page);
    void drop_oldest();

    os::Disk& disk_;
    std::map<std::string, std::unique_ptr<query::EventReader>> readers_;  // by shard; there are few
    std::map<Place, std::shared_ptr<const EncodedPage>, PlaceLess> kept_;
    struct Kept {
        Place place;
        std::uint64_t age = 0;
    };
    std::deque<Kept> order_;  // of kept_, oldest first
    std::uint64_t age_ = 0;
    std::size_t kept_bytes_ = 0;
};

// Whether `a` stands before `b`.
inline bool is_before(const query::Cursor& a, const query::Cursor& b) {
    return std::pair(a.index.value, a.ordinal) < std::pair(b.index.value, b.ordinal);
}

}  // namespace weir::http
