#include "http/detail/view_feed.h"

#include "base/check.h"
#include "http/detail/live_text.h"

#include <algorithm>
#include <unordered_map>
#include <unordered_set>
#include <utility>

namespace weir::http {

void ViewFeed::begin(LogIndex visible) {
    if (begun_) return;
    begun_ = true;
    complete_from_ = visible;
}

void ViewFeed::add(const log::Changes::Rows& rows, LogIndex visible) {
    if (!begun_) return;
    if (rows.too_many) return lose(visible);
    for (const std::string& key : rows.keys) {
        ring_bytes_ += key.size() + sizeof(Change);
        ring_.push_back({visible, key});
    }
    trim();
}

// Everybody's place is left behind, also that of those who had read everything.
void ViewFeed::lose(LogIndex visible) {
    if (!begun_) return;
    first_ += ring_.size() + 1;
    ring_.clear();
    ring_bytes_ = 0;
    complete_from_ = visible;
    kept_.reset();
}

void ViewFeed::trim() {
    while (ring_.size() > view_ring_keys_max || ring_bytes_ > view_ring_bytes_max) {
        complete_from_ = std::max(complete_from_, ring_.front().index);
        ring_bytes_ -= ring_.front().key.size() + sizeof(Change);
        ring_.pop_front();
        ++first_;
    }
}

bool ViewFeed::place_of(LogIndex index, std::uint64_t& place) const {
    if (!begun_ || index < complete_from_) return false;
    const auto later = std::ranges::upper_bound(ring_, index, {}, &Change::index);
    place = first_ + static_cast<std::uint64_t>(later - ring_.begin());
    return true;
}

Result<EncodedRows> ViewFeed::page(query::ViewRows& rows, bool begins, const std::string& after) const {
    EncodedRows out;
    out.at_end = true;
    out.index =
        TRY(rows.page(shape_, begins, after, [&](std::string_view key, const std::vector<store::Value>* values) {
            if (out.ends.size() >= view_batch_rows || out.text.size() >= view_batch_bytes) {
                out.at_end = false;
                return false;
            }
            append_view_row(out.text, shape_.columns, key, values);
            out.ends.push_back(out.text.size());
            out.last_key = key;
            return true;
        }));
    return out;
}

Result<std::shared_ptr<const EncodedRows>> ViewFeed::changes(query::ViewRows& rows, std::uint64_t place) {
    CHECK(holds(place) && place <= end());
    if (kept_ && kept_place_ == place) return kept_;
    auto out = std::make_shared<EncodedRows>();
    // Keys from the place on, each once; where in the ring each first stands.
    std::vector<std::string_view> keys;
    std::unordered_map<std::string_view, std::size_t> first_at;
    std::size_t at = place - first_;
    for (; at < ring_.size() && keys.size() < view_batch_rows; ++at)
        if (first_at.emplace(ring_[at].key, at).second) keys.push_back(ring_[at].key);
    std::unordered_set<std::string_view> seen;
    out->index = TRY(rows.rows(shape_, keys, [&](std::string_view key, const std::vector<store::Value>* values) {
        if (!seen.empty() && out->text.size() >= view_batch_bytes) return false;
        append_view_row(out->text, shape_.columns, key, values);
        out->ends.push_back(out->text.size());
        seen.insert(first_at.find(key)->first);
        return true;
    }));
    // Cut short by bytes: on from the first one that was not read. Those behind it come again, as they are then.
    for (const std::string_view key : keys)
        if (!seen.contains(key)) at = std::min(at, first_at[key]);
    out->next = first_ + at;
    kept_place_ = place;
    kept_ = out;
    return kept_;
}

}  // namespace weir::http
