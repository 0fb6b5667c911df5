#include "stream/detail/group_table.h"

#include "base/check.h"
#include "base/wire.h"

#include <algorithm>

namespace weir::stream::detail {

namespace {

constexpr std::uint8_t state_version = 1;

}  // namespace

GroupTable::GroupTable(std::uint32_t words, std::uint32_t texts) : words_(words), texts_(texts), slots_(1024, 0) {}

std::uint32_t GroupTable::insert(std::uint64_t hash, std::string_view key, Window& window) {
    std::uint32_t index;
    if (!free_.empty()) {
        index = free_.back();
        free_.pop_back();
    } else {
        index = index_end_++;
        CHECK(index_end_ < no_group);
        if (index / chunk_groups == chunks_.size()) {
            chunks_.push_back({std::make_unique<Group[]>(chunk_groups),
                               std::make_unique<std::uint64_t[]>(std::size_t{chunk_groups} * words_)});
        }
    }
    Group& g = group(index);
    DCHECK(g.flags == 0);
    g.hash = hash;
    g.key_size = static_cast<std::uint32_t>(key.size());
    if (key.size() <= Group::inline_bytes) {
        std::memcpy(g.inline_key, key.data(), key.size());
    } else {
        g.long_key = std::make_unique<char[]>(key.size());
        std::memcpy(g.long_key.get(), key.data(), key.size());
    }
    g.flags = in_use;
    if (texts_ > 0) g.texts = std::make_unique<std::string[]>(texts_);
    std::fill_n(this->words(index), words_, std::uint64_t{0});

    g.window = &window;
    g.previous = no_group;
    g.next = window.first;
    if (g.next != no_group) group(g.next).previous = index;
    window.first = index;
    ++window.in_memory;

    ++size_;
    ++linked_;
    if (std::uint64_t{linked_} * 2 > slots_.size()) grow();
    const std::uint64_t mask = slots_.size() - 1;
    std::uint64_t at = hash & mask;
    while (slots_[at] != 0)
        at = (at + 1) & mask;
    slots_[at] = (hash >> 32 << 32) | (std::uint64_t{index} + 1);
    bytes_ += bytes_of(index);
    return index;
}

void GroupTable::unlink(std::uint32_t index) {
    Group& g = group(index);
    CHECK(g.window != nullptr);
    if (g.previous != no_group) {
        group(g.previous).next = g.next;
    } else {
        g.window->first = g.next;
    }
    if (g.next != no_group) group(g.next).previous = g.previous;
    --g.window->in_memory;
    g.window = nullptr;

    const std::uint64_t mask = slots_.size() - 1;
    std::uint64_t hole = g.hash & mask;
    while (static_cast<std::uint32_t>(slots_[hole]) != index + 1)
        hole = (hole + 1) & mask;
    // What stands behind the hole moves into it unless its own place lies between the two.
    for (std::uint64_t at = (hole + 1) & mask; slots_[at] != 0; at = (at + 1) & mask) {
        const std::uint64_t home = group(static_cast<std::uint32_t>(slots_[at]) - 1).hash & mask;
        if (((at - home) & mask) < ((at - hole) & mask)) continue;
        slots_[hole] = slots_[at];
        hole = at;
    }
    slots_[hole] = 0;
    --linked_;
}

void GroupTable::release(std::uint32_t index) {
    Group& g = group(index);
    CHECK(g.window == nullptr && (g.flags & in_use) != 0);
    bytes_ -= bytes_of(index);
    g.flags = 0;
    g.long_key.reset();
    g.texts.reset();
    --size_;
    free_.push_back(index);
}

std::size_t GroupTable::bytes_of(std::uint32_t index) const {
    const Group& g = group(index);
    std::size_t bytes = sizeof(Group) + std::size_t{words_} * 8 + 16;  // two slots
    if (g.key_size > Group::inline_bytes) bytes += g.key_size;
    for (std::uint32_t t = 0; t < texts_; ++t)
        bytes += sizeof(std::string) + g.texts[t].size();
    return bytes;
}

void GroupTable::encode(std::uint32_t index, std::string& out) const {
    WireWriter writer(out);
    writer.u8(state_version);
    const std::uint64_t* words = this->words(index);
    for (std::uint32_t w = 0; w < words_; ++w)
        writer.u64(words[w]);
    for (std::uint32_t t = 0; t < texts_; ++t)
        writer.bytes(group(index).texts[t]);
}

bool GroupTable::decode(std::string_view bytes, std::vector<std::uint64_t>& words,
                        std::vector<std::string>& texts) const {
    WireReader reader(bytes);
    if (reader.u8() != state_version) return false;
    words.resize(words_);
    for (std::uint64_t& word : words)
        word = reader.u64();
    texts.resize(texts_);
    for (std::string& text : texts)
        text.assign(reader.bytes());
    return reader.ok() && reader.at_end();
}

bool GroupTable::decode(std::string_view bytes, std::uint32_t index) {
    WireReader reader(bytes);
    if (reader.u8() != state_version) return false;
    std::uint64_t* words = this->words(index);
    for (std::uint32_t w = 0; w < words_; ++w)
        words[w] = reader.u64();
    for (std::uint32_t t = 0; t < texts_; ++t) {
        const std::string_view text = reader.bytes();
        // The window has these bytes already: it is the same group as before.
        bytes_ = bytes_ - group(index).texts[t].size() + text.size();
        group(index).texts[t].assign(text);
    }
    return reader.ok() && reader.at_end();
}

void GroupTable::grow() {
    std::vector<std::uint64_t> larger(slots_.size() * 2, 0);
    const std::uint64_t mask = larger.size() - 1;
    for (const std::uint64_t slot : slots_) {
        if (slot == 0) continue;
        std::uint64_t at = group(static_cast<std::uint32_t>(slot) - 1).hash & mask;
        while (larger[at] != 0)
            at = (at + 1) & mask;
        larger[at] = slot;
    }
    slots_ = std::move(larger);
}

}  // namespace weir::stream::detail
