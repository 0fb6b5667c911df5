// Kafka record batch, magic 2 (KIP-98; the protocol guide's "Record Batch"): the one layout of an accepted batch on the
// wire, in memory, in the write-ahead log and in the segment.
//
//   base_offset i64 | batch_length i32 | leader_epoch i32 | magic i8 = 2 | crc u32 | attributes i16 | last_offset_delta
//   i32 base_timestamp i64 | max_timestamp i64 | producer_id i64 | producer_epoch i16 | base_sequence i32 | count i32 |
//   records record: length varint | attributes i8 | timestamp_delta varlong | offset_delta varint | key | value |
//   headers
//
// All big-endian; varints are zigzag. The CRC-32C starts at attributes, after the fields that the leader sets.
#pragma once

#include "base/result.h"
#include "base/wire.h"

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace weir::record {

struct BatchHeader {
    be64 base_offset;
    be32 batch_length;  // bytes after this field
    be32 leader_epoch;
    std::int8_t magic;  // 2
    beu32 crc;          // of everything after this field
    be16 attributes;    // bits 0-2 codec, 3 timestamp type, 4 transactional, 5 control
    be32 last_offset_delta;
    be64 base_timestamp_ms;
    be64 max_timestamp_ms;
    be64 producer_id;
    be16 producer_epoch;
    be32 base_sequence;
    be32 count;
};
static_assert(sizeof(BatchHeader) == 61 && alignof(BatchHeader) == 1);

constexpr std::size_t batch_header_bytes = sizeof(BatchHeader);

enum class Codec : std::uint8_t { none = 0, gzip = 1, snappy = 2, lz4 = 3, zstd = 4 };

struct Header {
    std::string_view key;
    std::string_view value;  // data() == nullptr is Kafka's null value
};

// Appends records; finish() completes the header. One object is reused for many batches (reset keeps the memory).
class BatchBuilder {
  public:
    void reset();
    bool empty() const { return count_ == 0; }
    std::int32_t count() const { return count_; }
    std::size_t bytes() const { return out_.size(); }  // header included
    std::int64_t min_timestamp_ms() const { return min_ms_; }
    std::int64_t max_timestamp_ms() const { return max_ms_; }
    // `key` nullopt is Kafka's null key; a value with data() == nullptr is its null value (a tombstone). Bytes are
    // copied unchanged. Cost: about 40 ns for a value of 260 bytes.
    void add(std::int64_t timestamp_ms, std::optional<std::string_view> key, std::string_view value,
             std::span<const Header> headers = {});
    // Sets lengths, counts, offsets, epoch and CRC; returns the batch, valid until the next call on this object.
    // `codec` none, lz4 or zstd compresses the records part; the other two are CHECKed. Precondition: !empty().
    std::string_view finish(std::int64_t base_offset, std::int32_t leader_epoch, Codec codec = Codec::none);
    std::string take();  // after finish(): moves the bytes out; the object is as if reset

  private:
    std::string out_;     // header, then the records uncompressed
    std::string packed_;  // the last finish() with a codec wrote here
    bool is_packed_ = false;
    std::int32_t count_ = 0;
    std::int64_t base_ms_ = 0, min_ms_ = 0, max_ms_ = 0;
};

// The header of the batch at the front of `bytes`, checked for length and magic but not for the CRC.
// Errors: corrupt (too short, wrong magic, negative or absurd length or count).
struct BatchView {
    BatchHeader header;
    std::string_view bytes;  // the whole batch
    std::string_view records() const { return bytes.substr(batch_header_bytes); }
    Codec codec() const { return static_cast<Codec>(header.attributes & 7); }
    std::int64_t next_offset() const { return header.base_offset + header.last_offset_delta + 1; }
};
Result<BatchView> read_batch(std::string_view bytes);
// The CRC over a batch from read_batch. Errors: corrupt.
Status check_crc(const BatchView& batch);
// Everything Kafka would refuse at produce: CRC, count = last_offset_delta + 1, records well formed and dense, no
// trailing bytes, no control or transactional bit, decompression within `inflated_bytes_max`. Errors: corrupt,
// too_large, unsupported. Cost: the CRC (0.05 ns a byte), the inflation and about 10 ns a record.
Status validate(const BatchView& batch, std::size_t inflated_bytes_max);

struct Record {
    std::int64_t offset = 0;
    std::int64_t timestamp_ms = 0;
    bool has_key = false;
    std::string_view key;
    bool has_value = false;  // false: Kafka's null value (tombstone)
    std::string_view value;
    std::string_view headers;  // raw: varint count, then {key, value} pairs
};

// The headers of a record. Errors: corrupt.
Result<std::vector<Header>> read_headers(std::string_view raw);

// Walks a batch's records lazily. Bytes stay where they are (uncompressed) or in this object's buffer (compressed).
class RecordIterator {
  public:
    // Errors: corrupt, too_large (inflated beyond the limit), unsupported (codec).
    static Result<RecordIterator> open(const BatchView& batch, std::size_t inflated_bytes_max);
    // The next record; false at the end. Errors: corrupt. Slices are valid until this object dies or moves.
    Result<bool> next(Record& out);
    // The uncompressed records have at least this many readable bytes behind each value: 0 for uncompressed input whose
    // caller did not promise padding, 64 for what this object inflated.
    bool inflated() const { return inflated_; }

  private:
    std::string buffer_;
    std::string_view at_;
    std::int64_t base_offset_ = 0, base_ms_ = 0;
    std::int32_t left_ = 0;
    bool inflated_ = false;
};

}  // namespace weir::record
