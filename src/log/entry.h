// What a consensus entry says: the bytes that are replicated, and from which every replica derives everything.
//
//   entry:   magic u8 'E' | version u8 1 | spare u16 | section count u32 | append_time i64
//   section: type u8 | spare u8 | spare u16 | body length u32 | body
//
//   batch:    stream u64 | definition version u32 | partition i32 | count u32 | fingerprint count u32 (count or 0) |
//             base_offset i64 | min_time i64 | max_time i64 | {hi u64 | lo u64}... | Kafka batch
//   counts:   stream u64 | duplicate u64 | refused u64          since the entry before
//   catalog put:   kind u8 | name | statement                   (strings: u32 length, bytes); gives the id shard:index
//   catalog drop:  id u64
//   define stream: id u64 | version u32 | name | statement
//   define view:   id u64 | stream u64 | name | statement
//   drop stream: id u64 | with its views: u8 1      drop view: id u64
//   retain:   stream u64 | segments whose appends are all before, i64 | bytes to keep i64 (-1: any) | dedup buckets
//   through, i64
//             | definition version that it was decided under, u32 (none in entries of before there was ALTER)
//   tick:          stream u64     its quiet partitions' watermarks move with the entry's append time
//   flush:         view u64       its watermarks move to the highest event time seen minus DELAY
//   view live:     view u64       a view that was being built is read from here on
//
// All little-endian. A section of an unknown type makes the entry unreadable: replicas must not guess.
// A fingerprint without a key (lo = 0) stands for a record that has no dedup identity.
#pragma once

#include "base/ids.h"
#include "base/result.h"
#include "record/fingerprint.h"

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

namespace weir::log {

// The stream `shard:0`, which no entry defines: the answers to requests with an Idempotency-Key, one record each, with
// the key's fingerprint beside it. To the log it is a stream like others.
constexpr ObjectId answers_stream(ShardId shard) {
    return {shard, LogIndex(0)};
}
// Keys are known for a day; answers stay for longer than the bucket of the last of them, so that a key that is found
// has its answer.
constexpr std::int64_t answers_within_ms = 24 * 3'600'000;
constexpr std::int64_t answers_retain_ms = 30 * 3'600'000;

struct BatchSection {
    ObjectId stream;
    std::uint32_t version = 0;
    PartitionNo partition = 0;
    std::uint32_t count = 0;
    std::int64_t base_offset = 0;
    std::int64_t min_time_ms = 0, max_time_ms = 0;
    std::vector<record::Fingerprint> fingerprints;  // empty: the stream has no dedup
    std::string_view batch;                         // into the entry's bytes
};
struct CountsSection {
    ObjectId stream;
    std::uint64_t duplicate = 0;
    std::uint64_t refused = 0;
};
enum class ObjectKind : std::uint8_t { stream = 1, view = 2 };
struct CatalogPut {
    ObjectKind kind = ObjectKind::stream;
    std::string name;
    std::string statement;
};
struct CatalogDrop {
    ObjectId id;
};
struct DefineStream {
    ObjectId id;
    std::uint32_t version = 1;
    std::string name;
    std::string statement;
};
struct DefineView {
    ObjectId id;
    ObjectId stream;
    std::string name;
    std::string statement;
};
struct DropStream {
    ObjectId id;
    bool with_views = false;  // CASCADE: what reads it as of this entry; else the entry does nothing while there is any
};
struct DropView {
    ObjectId id;
};
struct Retain {
    ObjectId stream;
    std::int64_t appended_before_ms = INT64_MIN;  // whole segments below
    std::int64_t bytes_kept = -1;
    std::int64_t dedup_bucket = INT64_MIN;  // this bucket and older ones are forgotten
    // Behind an ALTER the entry does nothing: RETAIN or the buckets' width may be others. The leader decides again.
    std::uint32_t version = 1;
};

struct Tick {
    ObjectId stream;
};
struct Flush {
    ObjectId view;
};
struct ViewLive {
    ObjectId view;
};

using Section = std::variant<BatchSection, CountsSection, CatalogPut, CatalogDrop, DefineStream, DefineView, DropStream,
                             DropView, Retain, Tick, Flush, ViewLive>;

struct Entry {
    std::int64_t append_time_ms = 0;
    std::vector<Section> sections;
};

// Errors: corrupt. Slices point into `bytes`.
Result<Entry> decode_entry(std::string_view bytes);
// The same of an entry that is still in memory in pieces (log/committed.h).
struct EntryBuffer;
Result<Entry> decode_entry(const EntryBuffer& buffer);

// One section, framed. A batch section's batch bytes are appended too.
std::string encode_section(const Section& section);
// A batch section's frame and head, fingerprints included, without the batch: for gathered writing.
std::string encode_batch_head(const BatchSection& section);
std::string encode_entry_head(std::int64_t append_time_ms, std::uint32_t sections);

}  // namespace weir::log
