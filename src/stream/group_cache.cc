#include "stream/detail/group_cache.h"

#include "base/check.h"
#include "base/wire.h"

#include <algorithm>

namespace weir::stream::detail {

namespace {

constexpr std::size_t overhead_bytes = 64;  // of a group's change beside its words: keys, page headers
constexpr std::size_t eviction_steps_per_call = 4096;

}  // namespace

GroupCache::GroupCache(Options options, StateStore& state, StateBudget& budget)
    : options_(std::move(options)), state_(state), budget_(budget), table_(options_.words, options_.texts) {}

Status GroupCache::load() {
    const std::string prefix = options_.prefix + options_.window_letter;
    bool is_sound = true;
    TRY(state_.scan(prefix, [&](std::string_view key, std::string_view value) {
        WireReader reader(value);
        key.remove_prefix(prefix.size());
        is_sound = key.size() == window_bytes;
        if (!is_sound) return false;
        Window& window = window_at(key_window_start(key));
        window.groups = reader.u64();
        window.is_stored = true;
        if (reader.at_end()) {
            // Of an earlier version, which did not weigh its state: a guess that is too low stops the view later.
            window.bytes = window.groups * (overhead_bytes + std::uint64_t{options_.words} * 8);
        } else {
            window.bytes = reader.u64();
            window.last_epoch = reader.u64();
        }
        count_ += window.groups;
        budget_.bytes += window.bytes;
        is_sound = reader.ok() && reader.at_end();
        return is_sound;
    }));
    if (!is_sound) return Error{Errc::corrupt, "a window's record in the state of a view is malformed"};
    return {};
}

std::uint64_t GroupCache::state_bytes(std::uint32_t index) const {
    const Group& group = table_.group(index);
    std::uint64_t bytes = overhead_bytes + group.key_size + std::uint64_t{options_.words} * 8;
    for (std::uint32_t t = 0; t < options_.texts; ++t)
        bytes += group.texts[t].size();
    return bytes;
}

// ---- A batch's groups

Result<std::uint32_t> GroupCache::load_or_create(std::uint64_t hash, std::string_view key, Window& window) {
    std::optional<std::string> stored;
    if (window.groups > window.in_memory - window.uncounted)
        stored = TRY(state_.get(options_.prefix + options_.group_letter + std::string(key)));
    if (!stored) {
        if (count_ + created_.size() >= options_.groups_max) {
            return Error{Errc::too_large, "the view has " + std::to_string(options_.groups_max) + " " + options_.many +
                                              " already: make fewer with WHERE, a shorter LATENESS or smaller windows"};
        }
        if (budget_.bytes >= budget_.bytes_max) {
            return Error{Errc::too_large, "the view's state has " + std::to_string(budget_.bytes_max) +
                                              " bytes already: make less with WHERE, a shorter LATENESS or smaller "
                                              "windows"};
        }
    }
    const std::uint32_t index = table_.insert(hash, key, window);
    if (stored) {
        if (!table_.decode(*stored, index) || (options_.is_sound && !options_.is_sound(table_.words(index)))) {
            release(index);
            return Error{Errc::corrupt, "a group's state is not of this view's shape"};
        }
        if (options_.tells_loaded) loaded_.push_back(index);
    } else {
        created_.push_back(index);
        ++window.uncounted;
        // At once, so that one batch cannot make any amount; forget_created() takes it back.
        budget_.bytes += state_bytes(index);
    }
    return index;
}

void GroupCache::keep_created() {
    for (const std::uint32_t index : created_) {
        Window& window = *table_.group(index).window;
        ++window.groups;
        window.bytes += state_bytes(index);
        window.is_changed = true;
        --window.uncounted;
    }
    count_ += created_.size();
    created_.clear();
    loaded_.clear();
}

void GroupCache::forget_created() {
    for (const std::uint32_t index : created_) {
        Window* window = table_.group(index).window;
        --window->uncounted;
        budget_.bytes -= state_bytes(index);
        release(index);
        if (window->groups == 0 && window->in_memory == 0) windows_.erase(window->start_ms);
    }
    created_.clear();
    loaded_.clear();
}

void GroupCache::mark_first_change(std::uint32_t index) {
    set_flag(index, checkpoint_dirty);
    checkpoint_dirty_.push_back(index);
    dirty_bytes_ += state_bytes(index);
}

void GroupCache::collect_flagged(const std::vector<std::uint32_t>& list, std::uint8_t flag,
                                 std::vector<std::uint32_t>& out) const {
    for (const std::uint32_t index : list) {
        if ((table_.group(index).flags & flag) != 0) out.push_back(index);
    }
    std::sort(out.begin(), out.end());
    out.erase(std::unique(out.begin(), out.end()), out.end());
}

void GroupCache::release(std::uint32_t index) {
    clear_flag(index, pinning_flags);
    table_.unlink(index);
    table_.release(index);
}

// ---- Reading back, dropping and evicting

Status GroupCache::for_each_stored(const Window& window,
                                   const std::function<Status(std::string_view, const std::vector<std::uint64_t>&,
                                                              const std::vector<std::string>&)>& on_group) {
    if (!window.is_stored || window.groups <= window.in_memory) return {};
    std::vector<std::uint64_t> words;
    std::vector<std::string> texts;
    Status status;
    const std::size_t prefix_size = options_.prefix.size() + 1;
    TRY(state_.scan(group_prefix(window.start_ms), [&](std::string_view key, std::string_view value) {
        key.remove_prefix(prefix_size);
        if (table_.find(hash_key(key), key) != no_group) return true;
        if (!table_.decode(value, words, texts) || (options_.is_sound && !options_.is_sound(words.data()))) {
            status = Error{Errc::corrupt, "a group's state is not of this view's shape"};
            return false;
        }
        status = on_group(key, words, texts);
        return status.has_value();
    }));
    return status;
}

void GroupCache::drop(Windows::iterator it, bool keep) {
    Window& window = it->second;
    for (std::uint32_t index = window.first; index != no_group;) {
        const std::uint32_t next = table_.group(index).next;
        const std::uint8_t flags = table_.group(index).flags;
        if ((flags & checkpoint_dirty) != 0) dirty_bytes_ -= std::min(dirty_bytes_, state_bytes(index));
        if (!keep) {
            release(index);
        } else if ((flags & (checkpoint_dirty | in_flight)) != 0) {
            // Its state is not stored any more, and its row is not written yet.
            set_flag(index, detail::closing);
            clear_flag(index, checkpoint_dirty | in_flight);
        }
        index = next;
    }
    count_ -= window.groups;
    budget_.bytes -= std::min(budget_.bytes, window.bytes);
    if (window.is_stored) dropped_.push_back(window.start_ms);
    if (keep) {
        window.is_closing = true;
        closing_.push_back(windows_.extract(it));
    } else {
        windows_.erase(it);
    }
}

void GroupCache::free_closing() {
    for (auto& node : closing_) {
        Window& window = node.mapped();
        while (window.first != no_group)
            release(window.first);
    }
    closing_.clear();
}

void GroupCache::evict(std::size_t batch_rows) {
    if (table_.bytes() <= options_.cache_bytes) return;
    std::size_t steps = eviction_steps_per_call + 2 * batch_rows;
    while (table_.bytes() > options_.cache_bytes && table_.size() > pinned_ && steps-- > 0) {
        hand_ = hand_ + 1 < table_.index_end() ? hand_ + 1 : 0;
        Group& group = table_.group(hand_);
        if ((group.flags & in_use) == 0 || (group.flags & pinning_flags) != 0) continue;
        if ((group.flags & touched) != 0) {
            group.flags = static_cast<std::uint8_t>(group.flags & ~touched);
            continue;
        }
        if ((group.flags & row_held) != 0) group.window->has_evicted_rows = true;
        release(hand_);
    }
}

// ---- Checkpoints

void GroupCache::collect(std::vector<StateChange>& changes) {
    collect_groups(changes);
    collect_windows(changes);
    collect_dropped(changes);
}

void GroupCache::checkpoint_done() {
    for (const std::uint32_t index : in_flight_)
        clear_flag(index, in_flight);
    in_flight_.clear();
    for (auto& [start, window] : windows_)
        window.in_flight = false;
    dropped_in_flight_.clear();
    evict(0);
}

void GroupCache::collect_groups(std::vector<StateChange>& changes) {
    // What was collected before and never declared stored goes along again.
    std::vector<std::uint32_t> order;
    for (const std::uint32_t index : in_flight_) {
        if ((table_.group(index).flags & in_flight) != 0) order.push_back(index);
    }
    collect_flagged(checkpoint_dirty_, checkpoint_dirty, order);
    for (const std::uint32_t index : order) {
        Group& group = table_.group(index);
        StateChange change{options_.prefix + options_.group_letter, std::string()};
        change.key.append(group.key());
        table_.encode(index, *change.value);
        changes.push_back(std::move(change));
        group.window->is_stored = true;
        group.flags |= in_flight;  // pinned before and after: the count stays
        clear_flag(index, checkpoint_dirty);
    }
    in_flight_ = std::move(order);
    checkpoint_dirty_.clear();
    dirty_bytes_ = 0;
}

void GroupCache::collect_windows(std::vector<StateChange>& changes) {
    for (auto& [start, window] : windows_) {
        if (!window.is_changed && !window.in_flight) continue;
        std::string record;
        WireWriter writer(record);
        writer.u64(window.groups);
        writer.u64(window.bytes);
        writer.u64(window.last_epoch);
        changes.push_back({window_record_key(start), std::move(record)});
        window.is_changed = false;
        window.in_flight = true;
        window.is_stored = true;
    }
}

// Everything that the state store has of the dropped windows. They are read back for their keys: most of them are not
// in memory.
void GroupCache::collect_dropped(std::vector<StateChange>& changes) {
    dropped_.insert(dropped_.end(), dropped_in_flight_.begin(), dropped_in_flight_.end());
    dropped_in_flight_.clear();
    std::vector<std::int64_t> left;
    for (const std::int64_t start : dropped_) {
        const bool is_closing = std::any_of(closing_.begin(), closing_.end(),
                                            [&](const Windows::node_type& node) { return node.key() == start; });
        if (is_closing) {  // its rows are still to be read
            left.push_back(start);
            continue;
        }
        const Status scanned = state_.scan(group_prefix(start), [&](std::string_view key, std::string_view) {
            changes.push_back({std::string(key), std::nullopt});
            return true;
        });
        if (!scanned) {
            deferred_error_ = scanned.error();
            left.push_back(start);
            continue;
        }
        changes.push_back({window_record_key(start), std::nullopt});
        dropped_in_flight_.push_back(start);
    }
    dropped_ = std::move(left);
}

std::string GroupCache::window_record_key(std::int64_t start_ms) const {
    KeyWriter window;
    window.begin(start_ms);
    return options_.prefix + options_.window_letter + std::string(window.key());
}

std::string GroupCache::group_prefix(std::int64_t start_ms) const {
    KeyWriter window;
    window.begin(start_ms);
    return options_.prefix + options_.group_letter + std::string(window.key());
}

}  // namespace weir::stream::detail
