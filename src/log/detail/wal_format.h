// The bytes of a write-ahead log file, shared by the writer (wal.cc) and recovery (detail/wal_recovery.cc).
//
//   0      FileHeader, zeros to 4096
//   4096   the same header again: one damaged sector must not make a whole file of synced entries look like a spare one
//   8192   `start_count` records of type start, one a shard, then records of any type, back to back
//
// Chain: a record's crc = CRC-32C over its header (without the crc) and payload, continued from the crc of the record
// before; the first continues from the CRC of the file header. So a record reads as valid only behind exactly the bytes
// behind which it was written.
//
// Marks. That alone does not exclude that a record that was written once, never synced, and left behind a torn tail (or
// behind a write that failed) comes back when the same bytes happen to be written in front of it again. So whoever
// continues a tail first writes a mark: boot and number never repeat, and nothing older chains behind it. A mark also
// says up to where the file was synced when it was written, and checks by itself (64 bits, keyed by the file header),
// without the chain: found behind a record that does not check it proves that the record was synced once, that is, has
// rotted. Without such proof the same sight is a torn tail.
#pragma once

#include "base/crc32c.h"
#include "base/limits.h"
#include "base/prng.h"
#include "base/wire.h"
#include "log/wal.h"

#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>

namespace weir::log::detail {

constexpr std::uint64_t page_bytes = 4096;
constexpr std::uint64_t second_header_at = page_bytes;
constexpr std::uint64_t records_at = 2 * page_bytes;
constexpr std::string_view file_magic = "WEIRWAL1";
constexpr std::uint32_t format_version = 1;
constexpr std::size_t membership_bytes_max = 256 * limits::kib;
constexpr std::size_t window_bytes = limits::mib;  // recovery reads in pieces of this size

struct FileHeader {
    char magic[8] = {};
    le32 version;
    le32 crc;       // over everything else
    le64 sequence;  // from 1
    le64 boot;      // counts openings of the log
    le64 file_bytes;
    le64 oldest_sequence;    // older files are not needed once this header is durable
    le64 previous_sequence;  // 0 none
    le64 previous_end;       // where the predecessor was left ...
    le32 previous_crc;       // ... and its last record's crc
    le32 start_count;
};
static_assert(sizeof(FileHeader) == 72 && alignof(FileHeader) == 1);

enum class RecordType : std::uint8_t { entry = 1, start = 2, tombstone = 3, mark = 4 };

struct RecordHeader {
    le32 length;  // of the payload
    le32 crc;
    std::uint8_t type = 0;
    std::uint8_t entry_type = 0;  // start: 1 = the shard's entries before it do not count; mark: 1 = closed in peace
    le16 shard;
    le64 index;
    le64 term;
};
static_assert(sizeof(RecordHeader) == 28 && alignof(RecordHeader) == 1);

constexpr std::string_view mark_magic = "\xd7WalMark";

struct MarkPayload {
    char magic[8] = {};
    le64 boot;
    le64 number;  // within the boot
    le64 synced;  // everything before this offset was durable
    le64 check;
};
static_assert(sizeof(MarkPayload) == 40 && mark_magic.size() == 8);
constexpr std::uint64_t mark_bytes = sizeof(RecordHeader) + sizeof(MarkPayload);

inline std::uint32_t header_crc(const FileHeader& header) {
    std::string_view all = bytes_of(header);
    return crc32c(crc32c(0, all.substr(0, 12)), all.substr(16));
}
// What the chain begins with. Covers the stored crc too, so it is not that crc.
inline std::uint32_t chain_seed(const FileHeader& header) {
    return crc32c(0, bytes_of(header));
}

inline std::uint64_t mark_key(const FileHeader& header) {
    std::uint64_t key = 0;
    std::string_view all = bytes_of(header);
    for (std::size_t i = 0; i < all.size(); i += 8) {
        le64 word;
        std::memcpy(&word, all.data() + i, sizeof word);
        key = mix64(key ^ word);
    }
    return key;
}
inline std::uint64_t mark_check(std::uint64_t key, const MarkPayload& mark, std::uint64_t record_offset) {
    std::uint64_t check = key;
    for (std::uint64_t word :
         {std::uint64_t{mark.boot}, std::uint64_t{mark.number}, std::uint64_t{mark.synced}, record_offset}) {
        check = mix64(check ^ word);
    }
    return check;
}

// The crc so far of a record: its header's part. The payload's pieces continue it.
inline std::uint32_t record_crc(std::uint32_t previous, const RecordHeader& header) {
    std::string_view all = bytes_of(header);
    return crc32c(crc32c(previous, all.substr(0, 4)), all.substr(8));
}

inline std::string encode_start(const ShardStart& start) {
    std::string out;
    WireWriter writer(out);
    writer.u64(start.incarnation);
    writer.u64(start.vote);
    writer.u64(start.checkpoint_index.value);
    writer.u64(start.checkpoint_term.value);
    writer.bytes(start.membership);
    return out;
}
// False where the bytes are not what encode_start() makes.
inline bool decode_start(std::string_view payload, Term term, ShardStart& out) {
    WireReader reader(payload);
    out.term = term;
    out.incarnation = reader.u64();
    out.vote = reader.u64();
    out.checkpoint_index = LogIndex(reader.u64());
    out.checkpoint_term = Term(reader.u64());
    out.membership = std::string(reader.bytes());
    return reader.ok() && reader.at_end();
}

inline std::string slot_path(const std::string& dir, std::uint32_t slot) {
    return dir + "/" + std::to_string(slot) + ".wal";
}
constexpr std::uint64_t round_up(std::uint64_t bytes) {
    return (bytes + page_bytes - 1) / page_bytes * page_bytes;
}

}  // namespace weir::log::detail
