// What a door hands to a shard, and what it gets back.
#pragma once

#include "base/ids.h"
#include "base/result.h"
#include "record/json.h"
#include "record/stream.h"

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

namespace weir::replica {

struct DuplicateOf {
    std::uint32_t index = 0;  // of the event in the request
    PartitionNo partition = 0;
    std::int64_t offset = 0;  // of the first one
};

struct PartitionRange {
    PartitionNo partition = 0;
    std::int64_t base_offset = 0;
    std::uint32_t count = 0;
};

struct IngestError {
    std::uint32_t index = 0;
    record::Reject reason = record::Reject::none;
    std::string message;
};

struct IngestOutcome;

// What makes a whole request retriable: its answer is kept in the log under its key.
struct RequestKey {
    record::Fingerprint id;  // of the stream, the principal and the key
    // What is kept of an outcome that is not an error: bytes that the door reads back. Called on a thread of the shard.
    std::function<std::string(const IngestOutcome&)> answer;
};

// How a request ended. `status` in error: nothing was stored (overloaded, disk_full, not_found, recovering,
// shutting_down) or the fate is unknown (timed_out).
struct IngestOutcome {
    Status status;
    std::uint32_t accepted = 0;
    std::uint32_t duplicates = 0;
    std::uint32_t rejected = 0;             // dead-lettered or refused
    std::vector<IngestError> errors;        // the first limits::answer_list_max
    std::vector<DuplicateOf> duplicate_of;  // likewise
    bool errors_truncated = false, duplicate_of_truncated = false;
    std::vector<PartitionRange> partitions;  // of the accepted
    ShardId shard;
    LogIndex applied_index;  // wait for this index to read your own write
    // Of a request whose key is known already: nothing was done, as the first one with it ...
    std::int64_t answered_at = -1;  // >= 0: has its answer at this offset of the answers, once applied_index is visible
    bool in_progress = false;       // or has none yet
};

struct IngestRequest {
    record::StreamPtr stream;                       // as validated; an ALTER may come before admission does
    std::string body;                               // what the slices of `events` point into
    std::unique_ptr<record::DecodedEvents> events;  // columns travel on to the apply thread
    std::string content_type;                       // kept with dead letters
    std::unique_ptr<RequestKey> key;                // null: the request has none
    std::function<void(IngestOutcome&&)> done;      // exactly once, on a thread of the shard: must only hand over
};

}  // namespace weir::replica
