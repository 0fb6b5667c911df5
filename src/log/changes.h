// What a row commit changed, on its way from apply/ to those who follow a shard: tails that wait for more. It tells
// where to look, never what is there: a reader takes that from its own snapshot, of this index or a later one.
#pragma once

#include "base/ids.h"

#include <cstdint>
#include <functional>
#include <set>
#include <string>
#include <vector>

namespace weir::log {

struct Changes {
    std::uint64_t watch = 0;        // number of the Watch that this answers
    LogIndex visible;               // what a snapshot shows from here on
    std::vector<ObjectId> streams;  // that got events, ticks or retention
    struct Rows {
        ObjectId view;
        std::vector<std::string> keys;  // of rows that were written or removed; each once
        bool too_many = false;          // more than a watcher is told of: any row may have changed
    };
    std::vector<Rows> views;
    std::size_t bytes() const {
        std::size_t all = sizeof *this + streams.size() * sizeof(ObjectId);
        for (const Rows& rows : views) {
            all += sizeof rows;
            for (const std::string& key : rows.keys)
                all += sizeof(std::string) + key.size();
        }
        return all;
    }
};

// Rows of these views, and all streams. Told once as soon as it holds (nothing changed, but `visible` and `watch` are
// said), then after each row commit. On an apply thread: must not block.
struct Watch {
    std::uint64_t number = 0;
    std::set<ObjectId> views;
    std::function<void(Changes&&)> told;  // empty: nobody looks on any more
};

}  // namespace weir::log
