// A committed entry on its way from consensus to the apply thread (queue 2).
#pragma once

#include "base/ids.h"
#include "base/result.h"
#include "log/wal.h"
#include "record/json.h"

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace weir::log {

// The columns of a batch section, as validation decoded them: rows of one or several requests, in the batch's order.
struct CarriedRows {
    std::shared_ptr<const record::DecodedEvents> events;
    std::vector<std::uint32_t> rows;
};

// An entry in memory: its bytes in pieces (what the write-ahead log gathers), and what travels beside them.
struct EntryBuffer {
    std::vector<std::string> owned;  // heads and batches, in the order of the entry's bytes
    std::size_t bytes = 0;           // of all pieces
    std::int64_t append_time_ms = 0;
    // Per section in order: for batch sections the index in `owned` of its head and of its batch (then no decoding of
    // the head is needed), else only its bytes.
    struct Part {
        bool is_batch = false;
        std::uint32_t head = 0;            // index in owned
        std::uint32_t batch = 0;           // index in owned, batch sections only
        std::vector<CarriedRows> carried;  // empty: decode from the batch
    };
    std::vector<Part> parts;
    std::size_t carried_bytes = 0;  // estimate of the columns' memory
};

// How a control section ended, told on the apply thread once its effects are visible.
using ControlDone = std::function<void(LogIndex, Status)>;

struct Committed {
    LogIndex index;
    Term term;
    bool is_command = true;                     // false: consensus' own (barrier, membership)
    std::shared_ptr<const EntryBuffer> buffer;  // null: read it at `place`
    WalPlace place;
    std::vector<ControlDone> done;  // one a control section of the entry, in order; may be empty
};

}  // namespace weir::log
