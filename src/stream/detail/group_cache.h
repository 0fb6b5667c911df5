// Keyed state of a view by window: as much of it in memory as the bound allows, all of it in the state store as of the
// last checkpoint. Private to stream/. Owner: the apply thread.
//
// State store keys: the view's prefix, then
//   <window letter> + window (8 bytes)    groups u64 | bytes u64 | last epoch u64       (earlier versions: groups only)
//   <group letter> + encoded key          the group's state, GroupTable::encode
//
// A batch makes its groups first and counts them when nothing can fail any more: keep_created() or forget_created().
// What is dirty, or is about to be stored, is pinned in memory; what is clean leaves when memory is over its bound.
#pragma once

#include "base/result.h"
#include "stream/detail/group_key.h"
#include "stream/detail/group_table.h"
#include "stream/state_store.h"

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace weir::stream::detail {

// What all state of one view may weigh, in memory or not.
struct StateBudget {
    std::uint64_t bytes = 0;
    std::uint64_t bytes_max = UINT64_MAX;
};

class GroupCache {
  public:
    struct Options {
        std::string prefix;  // of the view
        char window_letter = 'w';
        char group_letter = 'g';
        std::uint32_t words = 0;  // of a group
        std::uint32_t texts = 0;
        std::uint64_t groups_max = UINT64_MAX;
        std::uint64_t cache_bytes = UINT64_MAX;
        std::string many;  // what there are too many of, for the error
        // Whether a batch wants to know which groups came back from the state store.
        bool tells_loaded = false;
        // Of words that were read from the state store; null: any are.
        std::function<bool(const std::uint64_t* words)> is_sound;
    };
    using Windows = std::map<std::int64_t, Window>;  // by start; groups point into it

    // `state` and `budget` must outlive it.
    GroupCache(Options options, StateStore& state, StateBudget& budget);

    // What the state store has of windows. Errors: corrupt.
    Status load();

    GroupTable& table() { return table_; }
    Windows& windows() { return windows_; }
    Window& window_at(std::int64_t start_ms) {
        Window& window = windows_[start_ms];
        window.start_ms = start_ms;
        return window;
    }
    std::uint64_t count() const { return count_; }  // groups that exist

    // A group that memory does not have. The state store is asked only while it holds groups of this window that memory
    // does not. Errors: too_large (groups_max, the budget), corrupt, io.
    Result<std::uint32_t> load_or_create(std::uint64_t hash, std::string_view key, Window& window);
    const std::vector<std::uint32_t>& created() const { return created_; }
    const std::vector<std::uint32_t>& loaded() const { return loaded_; }
    void keep_created();
    void forget_created();
    // After updates that may have changed texts.
    void account_texts() { budget_.bytes += static_cast<std::uint64_t>(table_.take_text_growth()); }

    void set_flag(std::uint32_t index, std::uint8_t flag) {
        Group& group = table_.group(index);
        if ((group.flags & pinning_flags) == 0 && (flag & pinning_flags) != 0) ++pinned_;
        group.flags |= flag;
    }
    void clear_flag(std::uint32_t index, std::uint8_t flag) {
        Group& group = table_.group(index);
        const bool was_pinned = (group.flags & pinning_flags) != 0;
        group.flags = static_cast<std::uint8_t>(group.flags & ~flag);
        if (was_pinned && (group.flags & pinning_flags) == 0) --pinned_;
    }
    // Its state changed.
    void mark_changed(std::uint32_t index) {
        if ((table_.group(index).flags & checkpoint_dirty) == 0) mark_first_change(index);
        table_.group(index).flags |= touched;
    }
    // The indices of `list` that still have the flag, once each; an index may have been given to another group since.
    void collect_flagged(const std::vector<std::uint32_t>& list, std::uint8_t flag,
                         std::vector<std::uint32_t>& out) const;

    // Groups of the window that only the state store has, in its order. `words` and `texts` are valid inside the call.
    // Errors: corrupt, io, what on_group answers.
    Status for_each_stored(const Window& window,
                           const std::function<Status(std::string_view key, const std::vector<std::uint64_t>& words,
                                                      const std::vector<std::string>& texts)>& on_group);

    // The window is over: it counts no more and its state is not stored any more. With `keep`, its groups can still be
    // read (find, Window::first, for_each_stored) until free_closing().
    void drop(Windows::iterator window, bool keep);
    const std::vector<Windows::node_type>& closing() const { return closing_; }
    void free_closing();

    // Clean groups leave memory when it is over its bound: the hand goes round, and what was used since it last came by
    // gets another round.
    void evict(std::size_t batch_rows);

    // See Tumble::collect_checkpoint. A scan that fails is said by the next deferred_error().
    void collect(std::vector<StateChange>& changes);
    void checkpoint_done();
    std::uint64_t dirty_bytes() const { return dirty_bytes_; }
    const std::optional<Error>& deferred_error() const { return deferred_error_; }

  private:
    std::uint64_t state_bytes(std::uint32_t index) const;
    void mark_first_change(std::uint32_t index);
    void release(std::uint32_t index);
    void collect_groups(std::vector<StateChange>& changes);
    void collect_windows(std::vector<StateChange>& changes);
    void collect_dropped(std::vector<StateChange>& changes);
    std::string window_record_key(std::int64_t start_ms) const;
    std::string group_prefix(std::int64_t start_ms) const;

    Options options_;
    StateStore& state_;
    StateBudget& budget_;
    GroupTable table_;
    Windows windows_;
    std::vector<Windows::node_type> closing_;
    std::uint64_t count_ = 0;
    std::vector<std::uint32_t> created_;
    std::vector<std::uint32_t> loaded_;

    std::vector<std::uint32_t> checkpoint_dirty_;  // indices with checkpoint_dirty, and stale ones
    std::vector<std::uint32_t> in_flight_;         // indices of the last collect, and stale ones
    std::vector<std::int64_t> dropped_;            // windows to delete from the state store
    std::vector<std::int64_t> dropped_in_flight_;
    std::uint64_t dirty_bytes_ = 0;
    std::uint32_t pinned_ = 0;  // groups that may not leave memory
    std::uint32_t hand_ = 0;
    std::optional<Error> deferred_error_;
};

}  // namespace weir::stream::detail
