#include "apply/change_notes.h"

#include <utility>

namespace weir::apply {

void ChangeNotes::watch(log::Watch&& watch, LogIndex visible) {
    watch_ = std::move(watch);
    std::erase_if(views_, [this](const auto& noted) { return !watch_.views.contains(noted.first); });
    if (!watch_.told) {
        streams_.clear();
        return;
    }
    log::Changes begun;
    begun.watch = watch_.number;
    begun.visible = visible;
    watch_.told(std::move(begun));
}

void ChangeNotes::stream(ObjectId id) {
    if (watch_.told) streams_.push_back(id);
}

void ChangeNotes::row(ObjectId view, std::string_view key) {
    Noted& noted = views_[view];
    if (noted.rows.too_many) return;
    noted.bytes += key.size() + sizeof(std::string);
    if (noted.rows.keys.size() >= keys_max || noted.bytes > key_bytes_max) {
        noted.rows.too_many = true;
        noted.rows.keys = {};
        return;
    }
    noted.rows.keys.emplace_back(key);
}

void ChangeNotes::tell(LogIndex visible) {
    if (!watch_.told) return;
    log::Changes changes;
    changes.watch = watch_.number;
    changes.visible = visible;
    changes.streams = std::exchange(streams_, {});
    for (auto& [view, noted] : views_) {
        noted.rows.view = view;
        changes.views.push_back(std::move(noted.rows));
    }
    views_.clear();
    watch_.told(std::move(changes));
}

}  // namespace weir::apply
