#include "stream/detail/emission.h"

#include "stream/detail/time.h"

#include <algorithm>

namespace weir::stream::detail {

using store::Value;
using store::ValueType;

namespace {

constexpr std::size_t having_rows_max = 256;  // judged together
constexpr std::size_t having_bytes_max = 4u << 20;

}  // namespace

void Emission::OwnedRow::own_texts() {
    texts.reserve(values.size());  // nothing below moves
    for (Value& value : values) {
        if (value.type == ValueType::text || value.type == ValueType::blob) value.text = texts.emplace_back(value.text);
    }
}

std::size_t Emission::OwnedRow::bytes() const {
    std::size_t bytes = key.size();
    for (const std::string& text : texts)
        bytes += text.size();
    return bytes;
}

Emission::Emission(const TumblePlan& plan, const GroupLayout& layout, KeyPlan& keys, GroupCache& groups,
                   std::unique_ptr<Having> having)
    : mode_(plan.emit == Emit::final_rows ? Mode::final_rows
            : plan.emit_every_ms > 0      ? Mode::every
                                          : Mode::changes),
      size_ms_(plan.size_ms),
      every_ms_(plan.emit_every_ms),
      layout_(layout),
      keys_(keys),
      groups_(groups),
      having_(std::move(having)) {}

// ---- A batch

bool Emission::on_append_time(std::int64_t append_ms) {
    if (mode_ != Mode::every) return false;
    const std::int64_t boundary_ms = window_start(append_ms, every_ms_, 0);
    if (boundary_ms <= boundary_ms_) return false;
    boundary_ms_ = boundary_ms;
    if (!has_held_rows()) return false;
    release_all();
    return true;
}

void Emission::release_all() {
    if (mode_ != Mode::every) return;
    // What was copied has changed since, so its group is held, and due again as it is now.
    snapshots_.clear();
    due_epoch_ = ++epoch_;
}

std::int64_t Emission::due_at_ms() const {
    if (mode_ != Mode::every || !has_held_rows()) return INT64_MAX;
    return saturating_add(boundary_ms_, every_ms_);
}

void Emission::before_update(std::span<const std::uint32_t> groups, const std::vector<std::uint32_t>& loaded) {
    if (mode_ != Mode::every) return;
    for (const std::uint32_t index : loaded) {
        if (epoch_of(groups_.table().words(index)) >= written_epoch_) hold(index);
    }
    if (!is_due()) return;
    for (const std::uint32_t index : groups) {
        std::uint64_t* words = groups_.table().words(index);
        const bool is_held = (groups_.table().group(index).flags & row_held) != 0;
        if (!is_held || epoch_of(words) < written_epoch_ || epoch_of(words) >= due_epoch_) continue;
        OwnedRow& copy = snapshots_.emplace_back();
        const GroupState state = group_state(groups_.table(), index);
        copy.key = std::string(state.key);
        read_row(state, false, copy.values);
        copy.own_texts();
        words[layout_.epoch_word] = epoch_;  // once
    }
}

void Emission::on_created(std::uint32_t index) {
    if (mode_ != Mode::final_rows) return;
    const Window& window = *groups_.table().group(index).window;
    if (!window.is_final) next_final_end_ms_ = std::min(next_final_end_ms_, saturating_add(window.start_ms, size_ms_));
}

void Emission::hold(std::uint32_t index) {
    if ((groups_.table().group(index).flags & row_held) != 0) return;
    groups_.set_flag(index, row_held);
    held_.push_back(index);
}

void Emission::on_held_change(std::uint32_t index) {
    hold(index);
    last_change_epoch_ = epoch_;
    groups_.table().words(index)[layout_.epoch_word] = epoch_;
    Window& window = *groups_.table().group(index).window;
    if (window.last_epoch == epoch_) return;
    window.last_epoch = epoch_;
    window.is_changed = true;
}

void Emission::on_watermark(std::int64_t least_ms) {
    if (mode_ != Mode::final_rows || least_ms < next_final_end_ms_) return;
    next_final_end_ms_ = INT64_MAX;
    // All windows are of one size, so their starts order their ends.
    for (auto& [start_ms, window] : groups_.windows()) {
        if (window.is_final) continue;
        const std::int64_t end_ms = saturating_add(start_ms, size_ms_);
        if (end_ms > least_ms) {
            next_final_end_ms_ = end_ms;
            break;
        }
        window.is_final = window.is_due = true;
        due_windows_.push_back(&window);
    }
}

bool Emission::wants(const Window& window) const {
    if (mode_ == Mode::every) return window.last_epoch >= written_epoch_;
    return !dirty_.empty() || !due_windows_.empty();
}

void Emission::on_closing() {
    has_closing_rows_ = has_closing_rows_ || mode_ == Mode::every;
}

void Emission::restore(const State& state, std::int64_t least_ms) {
    boundary_ms_ = state.boundary_ms;
    epoch_ = state.epoch;
    // Nothing is due: what the checkpoint's index had decided to write was written before it.
    due_epoch_ = written_epoch_ = state.written_epoch;
    next_final_end_ms_ = INT64_MAX;
    for (auto& [start_ms, window] : groups_.windows()) {
        const std::int64_t end_ms = saturating_add(start_ms, size_ms_);
        window.is_final = mode_ == Mode::final_rows && end_ms <= least_ms;
        window.has_evicted_rows = mode_ == Mode::every && window.last_epoch >= written_epoch_;
        last_change_epoch_ = std::max(last_change_epoch_, window.last_epoch);
        if (!window.is_final) next_final_end_ms_ = std::min(next_final_end_ms_, end_ms);
    }
}

// ---- Which rows are due

std::vector<std::uint32_t> Emission::in_key_order(std::vector<std::uint32_t> indices) const {
    std::sort(indices.begin(), indices.end(), [this](std::uint32_t a, std::uint32_t b) {
        return groups_.table().group(a).key() < groups_.table().group(b).key();
    });
    return indices;
}

Status Emission::for_each_due(const OnState& on_state) {
    TRY(for_each_of_due_windows(on_state));
    std::vector<std::uint32_t> dirty;
    groups_.collect_flagged(dirty_, row_dirty, dirty);
    for (const std::uint32_t index : in_key_order(std::move(dirty))) {
        const Window* window = groups_.table().group(index).window;
        if (window->is_due) continue;
        TRY(on_state(group_state(groups_.table(), index), false));
    }
    return mode_ == Mode::every ? for_each_held(on_state) : Status();
}

Status Emission::for_each_of_due_windows(const OnState& on_state) {
    for (const Window* window : due_windows_) {
        std::vector<std::uint32_t> indices;
        for (std::uint32_t index = window->first; index != no_group; index = groups_.table().group(index).next)
            indices.push_back(index);
        for (const std::uint32_t index : in_key_order(std::move(indices)))
            TRY(on_state(group_state(groups_.table(), index), true));
        TRY(groups_.for_each_stored(*window, [&](std::string_view key, const std::vector<std::uint64_t>& words,
                                                 const std::vector<std::string>& texts) {
            return on_state({key, words.data(), texts.data(), no_group}, true);
        }));
    }
    return {};
}

Status Emission::for_each_held(const OnState& on_state) {
    std::vector<std::uint32_t> held;
    groups_.collect_flagged(held_, row_held, held);
    for (const std::uint32_t index : in_key_order(std::move(held))) {
        const GroupState state = group_state(groups_.table(), index);
        if (epoch_of(state.words) < due_epoch_ || groups_.table().group(index).window->is_closing)
            TRY(on_state(state, false));
    }
    const auto read_back = [&](const Window& window, std::uint64_t before_epoch) -> Status {
        if (!window.has_evicted_rows) return {};
        return groups_.for_each_stored(window,
                                       [&](std::string_view key, const std::vector<std::uint64_t>& words,
                                           const std::vector<std::string>& texts) -> Status {
                                           const std::uint64_t epoch = epoch_of(words.data());
                                           if (epoch < written_epoch_ || epoch >= before_epoch) return {};
                                           return on_state({key, words.data(), texts.data(), no_group}, false);
                                       });
    };
    if (is_due()) {
        for (const auto& [start_ms, window] : groups_.windows())
            TRY(read_back(window, due_epoch_));
    }
    for (const auto& node : groups_.closing())
        TRY(read_back(node.mapped(), UINT64_MAX));
    return {};
}

// ---- Rows

void Emission::read_row(const GroupState& state, bool first_only, std::vector<Value>& row) {
    row.clear();
    keys_.read(state.key, row);
    if (first_only || !layout_.has_second || (state.words[layout_.sets_word] & second_has_rows) == 0) {
        read_aggregates(layout_.aggregates, state.first(), row);
        return;
    }
    merge_aggregates(layout_.aggregates, state.first(), state.second(layout_), merged_);
    read_aggregates(layout_.aggregates, {merged_.words.data(), merged_.texts.data()}, row);
}

// Gives rows on, through HAVING where there is one.
class Emission::Writer {
  public:
    Writer(Emission& emission, const OnRow& on_row, const OnGone& on_gone)
        : emission_(emission), on_row_(on_row), on_gone_(on_gone) {
        if (emission_.having_ != nullptr) emission_.having_->clear();  // what an error left
    }

    Status write(std::string_view key, const std::vector<Value>& row) {
        if (emission_.having_ == nullptr) return on_row_(key, row);
        Having& having = *emission_.having_;
        having.add(row);
        OwnedRow& pending = pending_.emplace_back(OwnedRow{std::string(key), row, {}});
        pending.own_texts();
        bytes_ += pending.bytes();
        if (having.rows() < having_rows_max && having.bytes() + bytes_ < having_bytes_max) return {};
        return judge();
    }

    // Whether the table has a row that fails is not known: it is taken out all the same.
    Status judge() {
        if (pending_.empty()) return {};
        std::vector<bool> passes;
        TRY(emission_.having_->evaluate(passes));
        for (std::size_t i = 0; i < pending_.size(); ++i) {
            if (passes[i]) {
                TRY(on_row_(pending_[i].key, pending_[i].values));
            } else {
                TRY(on_gone_(pending_[i].key));
            }
        }
        pending_.clear();
        bytes_ = 0;
        return {};
    }

  private:
    Emission& emission_;
    const OnRow& on_row_;
    const OnGone& on_gone_;
    std::vector<OwnedRow> pending_;
    std::size_t bytes_ = 0;
};

Status Emission::take(const OnRow& on_row, const OnGone& on_gone) {
    Writer writer(*this, on_row, on_gone);
    for (const OwnedRow& copy : snapshots_)
        TRY(writer.write(copy.key, copy.values));
    TRY(for_each_due([&](const GroupState& state, bool with_first) -> Status {
        const std::uint64_t sets = layout_.has_second ? state.words[layout_.sets_word] : first_has_rows;
        if (with_first && (sets & first_has_rows) != 0) {
            read_row(state, true, row_);
            TRY(writer.write(state.key, row_));
            if ((sets & second_has_rows) == 0) return {};
        }
        read_row(state, false, row_);
        return writer.write(state.key, row_);
    }));
    TRY(writer.judge());
    forget_due();
    return {};
}

void Emission::forget_due() {
    for (const std::uint32_t index : dirty_)
        groups_.clear_flag(index, row_dirty);
    dirty_.clear();
    for (Window* window : due_windows_)
        window->is_due = false;
    due_windows_.clear();
    if (mode_ == Mode::every) forget_held();
    groups_.free_closing();
}

void Emission::forget_held() {
    std::vector<std::uint32_t> held;
    groups_.collect_flagged(held_, row_held, held);
    held_.clear();
    for (const std::uint32_t index : held) {
        if (epoch_of(groups_.table().words(index)) < due_epoch_) {
            groups_.clear_flag(index, row_held);
        } else {
            held_.push_back(index);
        }
    }
    for (auto& [start_ms, window] : groups_.windows())
        window.has_evicted_rows = window.has_evicted_rows && window.last_epoch >= due_epoch_;
    snapshots_.clear();
    written_epoch_ = due_epoch_;
    has_closing_rows_ = false;
}

}  // namespace weir::stream::detail
