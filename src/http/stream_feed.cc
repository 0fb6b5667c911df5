#include "http/detail/stream_feed.h"

#include "http/detail/live_text.h"

#include <utility>

namespace weir::http {
namespace {

std::size_t cost_of(const EncodedPage& page) {
    return sizeof page + page.text.capacity() + page.events.capacity() * sizeof(EncodedPage::Event);
}

}  // namespace

EncodedPage encode(const query::EventPage& page, query::Cursor from) {
    EncodedPage out;
    out.from = from;
    out.next = page.next;
    out.scanned = page.scanned;
    out.skipped = page.skipped;
    out.at_end = page.at_end;
    out.at = page.at;
    out.events.reserve(page.events.size());
    for (const query::Event& event : page.events) {
        EncodedPage::Event e;
        e.cursor = e.next = event.cursor;
        ++e.next.ordinal;
        e.begin = out.text.size();
        append_event(out.text, event);
        e.end = out.text.size();
        out.events.push_back(e);
    }
    return out;
}

Result<std::shared_ptr<const EncodedPage>> StreamFeed::page(const std::string& shard_dir, ObjectId stream,
                                                            query::Cursor cursor, log::JournalPlace at) {
    const Place place{stream, cursor};
    auto found = kept_.upper_bound(place);
    if (found != kept_.begin()) {
        --found;
        const bool holds = found->first.first == stream && is_before(cursor, found->second->next);
        if (holds) return found->second;
    }
    query::EventQuery query;
    query.shard_dir = shard_dir;
    query.stream = stream;
    query.limit = tail_page_events;
    query.bytes_max = tail_page_bytes;
    // The beginning is where retention left it: what it took before is nobody's loss.
    if (cursor.index.value > 0) {
        query.from = query::EventQuery::From::cursor;
        query.cursor = cursor;
        query.at = at;
    }
    auto page = std::make_shared<const EncodedPage>(encode(TRY(read(query)), cursor));
    if (!page->events.empty()) keep(place, page);
    return std::shared_ptr<const EncodedPage>(std::move(page));
}

Result<std::shared_ptr<const EncodedPage>> StreamFeed::page_of_time(const std::string& shard_dir, ObjectId stream,
                                                                    std::int64_t append_time_ms) {
    query::EventQuery query;
    query.shard_dir = shard_dir;
    query.stream = stream;
    query.limit = tail_page_events;
    query.bytes_max = tail_page_bytes;
    query.from = query::EventQuery::From::append_time;
    query.append_time_ms = append_time_ms;
    return std::shared_ptr<const EncodedPage>(
        std::make_shared<const EncodedPage>(encode(TRY(read(query)), {stream.shard, LogIndex(0), 0})));
}

// A file that retention unlinked under the read is no error: the next snapshot does not name it any more.
Result<query::EventPage> StreamFeed::read(query::EventQuery& query) {
    query::EventReader* reader = TRY(this->reader(query.shard_dir));
    auto page = reader->read(query);
    if (!page && page.error().code == Errc::not_found) page = reader->read(query);
    // A fresh connection for the next one: view.db may have been replaced.
    if (!page && (page.error().code == Errc::io || page.error().code == Errc::corrupt)) readers_.erase(query.shard_dir);
    return page;
}

Result<query::EventReader*> StreamFeed::reader(const std::string& shard_dir) {
    auto& reader = readers_[shard_dir];
    if (!reader) reader = TRY(query::EventReader::open(disk_, shard_dir));
    return reader.get();
}

void StreamFeed::keep(const Place& place, std::shared_ptr<const EncodedPage> page) {
    kept_bytes_ += cost_of(*page);
    if (const auto old = kept_.find(place); old != kept_.end()) {
        kept_bytes_ -= cost_of(*old->second);
        old->second = std::move(page);
    } else {
        kept_.emplace(place, std::move(page));
        order_.push_back({place, age_});
    }
    while (kept_bytes_ > feed_cache_bytes_max && order_.size() > 1)
        drop_oldest();
}

void StreamFeed::drop_oldest() {
    const auto oldest = kept_.find(order_.front().place);
    if (oldest != kept_.end()) {
        kept_bytes_ -= cost_of(*oldest->second);
        kept_.erase(oldest);
    }
    order_.pop_front();
}

void StreamFeed::age() {
    while (!order_.empty() && order_.front().age < age_)
        drop_oldest();
    ++age_;
}

void StreamFeed::forget(ObjectId stream) {
    std::erase_if(order_, [&](const Kept& kept) { return kept.place.first == stream; });
    for (auto it = kept_.begin(); it != kept_.end();) {
        if (it->first.first != stream) {
            ++it;
            continue;
        }
        kept_bytes_ -= cost_of(*it->second);
        it = kept_.erase(it);
    }
}

}  // namespace weir::http
