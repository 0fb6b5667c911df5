// The groups of a view that are in memory: a hash table over a slab. Private to stream/. Owner: the apply thread.
//
// A group has an index for as long as it is in memory; its accumulators are `words` 64-bit words and `texts` strings
// whose meaning aggregate.h knows. Slots hold (hash's upper half, index + 1), probed linearly; removal shifts back, so
// no slot is ever dead. Groups of one window form a list, so that a window can be dropped without looking at the
// others.
#pragma once

#include "stream/detail/group_key.h"

#include <cstdint>
#include <cstring>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace weir::stream::detail {

constexpr std::uint32_t no_group = UINT32_MAX;

struct Window {
    std::int64_t start_ms = 0;
    std::uint64_t groups = 0;        // that exist, in memory or in the state store
    std::uint64_t bytes = 0;         // of their state: keys, words, texts
    std::uint64_t in_memory = 0;     // uncounted ones included
    std::uint64_t uncounted = 0;     // made by the batch in progress, not yet in `groups`
    std::uint32_t first = no_group;  // of the list of those in memory
    bool is_stored = false;          // the state store may have something of it
    bool is_changed = false;         // `groups` differs from what the state store has
    bool in_flight = false;          // collected, not yet known to be stored
    // Of the rows, see emission.h
    bool is_final = false;          // EMIT FINAL: the least watermark has passed its end
    bool is_due = false;            // EMIT FINAL: it became so, and its rows are not written yet
    bool is_closing = false;        // its state is not stored any more, its rows are still to be read
    bool has_evicted_rows = false;  // EVERY: the state store may have groups whose rows are held back
    std::uint64_t last_epoch = 0;   // EVERY: in which a group of it changed last
};

// Why a group may not leave memory, and which lists it is on.
enum GroupFlag : std::uint8_t {
    row_dirty = 1,         // its row changed since take_dirty_rows
    checkpoint_dirty = 2,  // its state changed since collect_checkpoint
    in_flight = 4,         // collected, not yet known to be stored
    closing = 8,           // its window is gone and the state store lacks its last state; only its row is still wanted
    touched = 16,          // used since the eviction hand last came by
    in_use = 32,           // this place of the slab is taken
    row_held = 64,         // its row changed and is held back; it may leave memory all the same
};
constexpr std::uint8_t pinning_flags = row_dirty | checkpoint_dirty | in_flight | closing;

struct Group {
    static constexpr std::size_t inline_bytes = 32;

    std::uint64_t hash = 0;
    Window* window = nullptr;
    std::uint32_t key_size = 0;
    std::uint32_t next = no_group;  // in the window's list
    std::uint32_t previous = no_group;
    std::uint8_t flags = 0;
    char inline_key[inline_bytes];
    std::unique_ptr<char[]> long_key;  // keys that do not fit
    std::unique_ptr<std::string[]> texts;

    std::string_view key() const { return {key_size <= inline_bytes ? inline_key : long_key.get(), key_size}; }
};

class GroupTable {
  public:
    GroupTable(std::uint32_t words, std::uint32_t texts);

    // The group with this key, or no_group. Amortised O(1): 5 ns while the table is in cache.
    std::uint32_t find(std::uint64_t hash, std::string_view key) const {
        const std::uint64_t mask = slots_.size() - 1;
        for (std::uint64_t at = hash & mask;; at = (at + 1) & mask) {
            const std::uint64_t slot = slots_[at];
            if (slot == 0) return no_group;
            if (slot >> 32 != hash >> 32) continue;
            const auto index = static_cast<std::uint32_t>(slot) - 1;
            const Group& candidate = group(index);
            if (candidate.key_size == key.size() && std::memcmp(candidate.key().data(), key.data(), key.size()) == 0) {
                return index;
            }
        }
    }
    // Adds a group that find() did not know, with zeroed accumulators, to the window's list. The table may grow.
    std::uint32_t insert(std::uint64_t hash, std::string_view key, Window& window);
    // find() no longer knows it and its window's list neither; index and accumulators stay.
    void unlink(std::uint32_t index);
    // Gives the index back. The group must be unlinked.
    void release(std::uint32_t index);

    Group& group(std::uint32_t index) { return chunks_[index / chunk_groups].groups[index % chunk_groups]; }
    const Group& group(std::uint32_t index) const { return chunks_[index / chunk_groups].groups[index % chunk_groups]; }
    const std::uint64_t* words(std::uint32_t index) const {
        return chunks_[index / chunk_groups].words.get() + std::size_t{index % chunk_groups} * words_;
    }
    std::uint64_t* words(std::uint32_t index) {
        return chunks_[index / chunk_groups].words.get() + std::size_t{index % chunk_groups} * words_;
    }
    // Memory of one group with its share of the table; texts by their present size.
    std::size_t bytes_of(std::uint32_t index) const;
    // Of all groups. Who changes the length of a text says so.
    std::size_t bytes() const { return bytes_; }
    void on_text_resize(std::uint32_t index, std::size_t from, std::size_t to) {
        bytes_ = bytes_ - from + to;
        text_growth_ += static_cast<std::int64_t>(to) - static_cast<std::int64_t>(from);
        Window& window = *group(index).window;
        window.bytes = window.bytes - from + to;
        window.is_changed = true;
    }
    // How much longer the texts of all groups became since the last call.
    std::int64_t take_text_growth() { return std::exchange(text_growth_, 0); }

    // A group's state as bytes: version u8 | a u64 a word | length u32 and bytes a text. Golden in group_table_test.
    void encode(std::uint32_t index, std::string& out) const;
    // Into a group that insert() just made. False: not such bytes.
    bool decode(std::string_view bytes, std::uint32_t index);
    // The same into memory of the caller's.
    bool decode(std::string_view bytes, std::vector<std::uint64_t>& words, std::vector<std::string>& texts) const;
    std::uint32_t size() const { return size_; }            // taken indices
    std::uint32_t index_end() const { return index_end_; }  // all indices are below

  private:
    static constexpr std::uint32_t chunk_groups = 256;
    struct Chunk {
        std::unique_ptr<Group[]> groups;
        std::unique_ptr<std::uint64_t[]> words;
    };

    void grow();

    std::uint32_t words_;
    std::uint32_t texts_;
    std::vector<std::uint64_t> slots_;
    std::vector<Chunk> chunks_;
    std::vector<std::uint32_t> free_;
    std::uint32_t index_end_ = 0;
    std::uint32_t size_ = 0;
    std::uint32_t linked_ = 0;
    std::size_t bytes_ = 0;
    std::int64_t text_growth_ = 0;
};

}  // namespace weir::stream::detail
