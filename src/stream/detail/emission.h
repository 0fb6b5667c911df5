// Which rows of the view's table are to be written, and when. Private to stream/. Owner: the apply thread.
//
//   EMIT CHANGES          a group's row when the group changed
//   EMIT CHANGES EVERY d  the rows of an epoch when the next one begins; an epoch is what stands between two multiples
//                         of d in append time. A window that is over has its last rows written at once.
//   EMIT FINAL            all rows of a window when the least watermark has passed its end, then a group's row when the
//                         group changed
//
// Due is what the log has decided to write; take() writes it a little later. A row that is due as of an epoch's end is
// copied before a batch of the next epoch changes its group.
//
// HAVING is asked when a row is written: one that does not satisfy it is not the view's, and goes if it was.
#pragma once

#include "base/result.h"
#include "stream/detail/group_cache.h"
#include "stream/detail/group_layout.h"
#include "stream/detail/having.h"
#include "stream/detail/key_plan.h"
#include "stream/tumble.h"

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace weir::stream::detail {

class Emission {
  public:
    enum class Mode : std::uint8_t { changes, every, final_rows };

    // The references must outlive it. `having`: null where the plan has none.
    Emission(const TumblePlan& plan, const GroupLayout& layout, KeyPlan& keys, GroupCache& groups,
             std::unique_ptr<Having> having);

    Mode mode() const { return mode_; }

    // ---- In the order of a batch

    // EVERY: an append time that the log came to. True: rows became due.
    bool on_append_time(std::int64_t append_ms);
    // These groups' states are about to change; those that came back from the state store are told again in `loaded`.
    void before_update(std::span<const std::uint32_t> groups, const std::vector<std::uint32_t>& loaded);
    void on_created(std::uint32_t index);
    // A changed group that has all of these flags has been marked since its row and its state were written.
    std::uint8_t marks() const {
        return mode_ == Mode::changes ? row_dirty | checkpoint_dirty : row_dirty | row_held | checkpoint_dirty;
    }
    void on_changed(std::uint32_t index) {
        Group& group = groups_.table().group(index);
        if (mode_ == Mode::every) {
            on_held_change(index);
        } else if ((group.flags & row_dirty) == 0 && (mode_ == Mode::changes || group.window->is_final)) {
            groups_.set_flag(index, row_dirty);
            dirty_.push_back(index);
        }
    }
    // FINAL: windows that end at or before it are final.
    void on_watermark(std::int64_t least_ms);
    // Whether rows of the window may still be wanted when its state goes.
    bool wants(const Window& window) const;
    void on_closing();

    // ---- Rows

    bool has_rows() const { return !dirty_.empty() || !due_windows_.empty() || is_due() || has_closing_rows_; }
    Status take(const OnRow& on_row, const OnGone& on_gone);
    // As if they had been taken.
    void discard() { forget_due(); }
    void release_all();
    std::int64_t due_at_ms() const;

    // ---- What a restart needs beside the groups: EVERY only

    struct State {
        std::int64_t boundary_ms = INT64_MIN;
        std::uint64_t epoch = 1;
        std::uint64_t written_epoch = 1;
    };
    State state() const { return {boundary_ms_, epoch_, written_epoch_}; }
    // After the cache has its windows. `least_ms`: what was final at the checkpoint was written before it.
    void restore(const State& state, std::int64_t least_ms);

  private:
    // A row whose values are its own. It moves with its texts: a vector gives its buffer on.
    struct OwnedRow {
        std::string key;
        std::vector<store::Value> values;
        std::vector<std::string> texts;  // that the values point to
        void own_texts();
        std::size_t bytes() const;
    };
    class Writer;
    using OnState = std::function<Status(const GroupState& state, bool with_first)>;

    bool is_due() const { return due_epoch_ > written_epoch_; }
    void on_held_change(std::uint32_t index);
    void hold(std::uint32_t index);
    bool has_held_rows() const { return last_change_epoch_ >= due_epoch_; }  // that are not due
    void read_row(const GroupState& state, bool first_only, std::vector<store::Value>& row);
    std::uint64_t epoch_of(const std::uint64_t* words) const { return words[layout_.epoch_word]; }
    std::vector<std::uint32_t> in_key_order(std::vector<std::uint32_t> indices) const;

    // Every group whose row is due, EVERY's snapshots left out.
    Status for_each_due(const OnState& on_state);
    Status for_each_of_due_windows(const OnState& on_state);
    Status for_each_held(const OnState& on_state);
    void forget_due();
    void forget_held();

    const Mode mode_;
    const std::int64_t size_ms_;
    const std::int64_t every_ms_;
    const GroupLayout& layout_;
    KeyPlan& keys_;
    GroupCache& groups_;
    std::unique_ptr<Having> having_;

    std::vector<std::uint32_t> dirty_;  // indices with row_dirty, and stale ones

    // FINAL
    std::vector<Window*> due_windows_;            // that became final
    std::int64_t next_final_end_ms_ = INT64_MAX;  // the least end of the windows that are not

    // EVERY
    std::int64_t boundary_ms_ = INT64_MIN;
    std::uint64_t epoch_ = 1;  // that changes belong to now
    std::uint64_t last_change_epoch_ = 0;
    std::uint64_t due_epoch_ = 1;      // changes of epochs before it are due
    std::uint64_t written_epoch_ = 1;  // changes of epochs before it are written
    std::vector<std::uint32_t> held_;  // indices with row_held, and stale ones
    std::vector<OwnedRow> snapshots_;  // due rows whose groups have changed since
    bool has_closing_rows_ = false;    // a window is over whose rows are held

    MergedAccumulators merged_;
    std::vector<store::Value> row_;
};

}  // namespace weir::stream::detail
