// Identities. Each is its own type, so that mixing an offset with an index does not compile.
#pragma once

#include <compare>
#include <cstdint>
#include <functional>
#include <string>

namespace weir {

// A plain number that only compares with its own kind. `.value` is the number.
template <class Tag, class T>
struct Id {
    T value = 0;
    constexpr Id() = default;
    constexpr explicit Id(T v) : value(v) {}
    auto operator<=>(const Id&) const = default;
};

using ShardId = Id<struct ShardTag, std::uint16_t>;
using LogIndex = Id<struct LogIndexTag, std::uint64_t>;  // Raft's index of an entry; the first entry is 1
using Term = Id<struct TermTag, std::uint64_t>;          // Raft's term; Kafka's leader epoch

// A stream or view: the shard of the catalog that made it and the index of the catalog entry that did ("0:17").
// Files, keys and tables carry this, never a name: a name may be dropped and taken again.
struct ObjectId {
    ShardId shard;
    LogIndex index;
    auto operator<=>(const ObjectId&) const = default;
    bool is_null() const { return index.value == 0; }
    std::string text() const { return std::to_string(shard.value) + ":" + std::to_string(index.value); }
    // "0_17": safe in file names and SQL identifiers.
    std::string file_text() const { return std::to_string(shard.value) + "_" + std::to_string(index.value); }
    std::uint64_t packed() const { return static_cast<std::uint64_t>(shard.value) << 48 | index.value; }
    static ObjectId from_packed(std::uint64_t p) {
        return {ShardId(static_cast<std::uint16_t>(p >> 48)), LogIndex(p & 0xffffffffffffull)};
    }
};

using PartitionNo = std::int32_t;  // -1 is the dead letters of a stream
constexpr PartitionNo dead_letter_partition = -1;

}  // namespace weir

template <>
struct std::hash<weir::ObjectId> {
    std::size_t operator()(const weir::ObjectId& id) const noexcept { return std::hash<std::uint64_t>{}(id.packed()); }
};
