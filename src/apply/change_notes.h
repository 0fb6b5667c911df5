// What changed since the last row commit, noted for those who look on; nothing is noted while nobody does.
// Owner: the apply thread.
#pragma once

#include "log/changes.h"

#include <cstddef>
#include <map>
#include <string_view>

namespace weir::apply {

class ChangeNotes {
  public:
    // Above, of one row commit, a view's changes are `too_many`.
    static constexpr std::size_t keys_max = 20'000;
    static constexpr std::size_t key_bytes_max = 2u << 20;

    void watch(log::Watch&& watch, LogIndex visible);
    bool wants(ObjectId view) const { return watch_.views.contains(view); }
    void stream(ObjectId id);
    void row(ObjectId view, std::string_view key);
    // Tells what was noted, after the row commit of `visible`.
    void tell(LogIndex visible);

  private:
    struct Noted {
        log::Changes::Rows rows;
        std::size_t bytes = 0;
    };
    log::Watch watch_;
    std::vector<ObjectId> streams_;
    std::map<ObjectId, Noted> views_;
};

}  // namespace weir::apply
