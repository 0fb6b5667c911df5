#include "stream/tumble.h"

#include "base/check.h"
#include "base/limits.h"
#include "stream/detail/aggregate.h"
#include "stream/detail/distinct.h"
#include "stream/detail/emission.h"
#include "stream/detail/group_cache.h"
#include "stream/detail/group_layout.h"
#include "stream/detail/having.h"
#include "stream/detail/key_plan.h"
#include "stream/detail/picked_rows.h"
#include "stream/detail/view_meta.h"
#include "stream/detail/watermarks.h"

#include <algorithm>
#include <optional>
#include <set>

namespace weir::stream {

namespace {

using detail::Emission;
using detail::GroupCache;
using detail::GroupLayout;
using detail::no_group;
using detail::no_word;
using detail::Window;

// Keys in the state store: the view's prefix, then this, or what GroupCache adds: 'w' and 'g' of groups, 'e' and 'd' of
// distinct values.
constexpr char meta_key = 'm';  // detail/view_meta.h

Status check_plan(const TumblePlan& plan) {
    const auto refuse = [](const char* why) { return Error{Errc::invalid_argument, why}; };
    if (plan.size_ms <= 0) return refuse("a window's size must be above zero");
    if (plan.offset_ms <= -plan.size_ms || plan.offset_ms >= plan.size_ms) {
        return refuse("a window's offset must be smaller than its size");
    }
    if (plan.lateness_ms < 0 || plan.delay_ms < 0) return refuse("LATENESS and DELAY cannot be negative");
    if (plan.partitions < 1 || plan.partitions > limits::partitions_max) return refuse("a bad number of partitions");
    if (plan.emit_every_ms < 0) return refuse("EVERY cannot be negative");
    if (plan.emit_every_ms > 0 && plan.emit != Emit::changes) return refuse("EVERY is of EMIT CHANGES");
    return {};
}

// Whether the first row of a window must be told apart from its corrections although they came before it. With one
// partition none can: it is its own least watermark.
bool needs_second_set(const TumblePlan& plan) {
    return plan.emit == Emit::final_rows && plan.lateness_ms > 0 && plan.partitions > 1;
}

GroupLayout plan_layout(const TumblePlan& plan, detail::AggregateLayout aggregates) {
    GroupLayout layout;
    layout.has_second = needs_second_set(plan);
    const std::uint32_t sets = layout.has_second ? 2 : 1;
    layout.words = aggregates.words * sets;
    layout.texts = aggregates.texts * sets;
    const bool has_distinct = std::any_of(aggregates.aggregates.begin(), aggregates.aggregates.end(),
                                          [](const auto& a) { return a.shape == detail::Shape::distinct; });
    if (has_distinct) layout.id_word = layout.words++;
    if (plan.emit_every_ms > 0) layout.epoch_word = layout.words++;
    if (layout.has_second) layout.sets_word = layout.words++;
    layout.aggregates = std::move(aggregates);
    return layout;
}

GroupCache::Options groups_options(const TumblePlan& plan, const GroupLayout& layout, const std::string& prefix) {
    GroupCache::Options options;
    options.prefix = prefix;
    options.words = layout.words;
    options.texts = layout.texts;
    options.groups_max = plan.groups_max;
    options.cache_bytes = layout.id_word == no_word ? plan.cache_bytes : plan.cache_bytes / 2;
    options.many = "open groups";
    options.tells_loaded = plan.emit_every_ms > 0;
    options.is_sound = [&layout](const std::uint64_t* words) {
        return is_sound(layout.aggregates, words) &&
               (!layout.has_second || is_sound(layout.aggregates, words + layout.aggregates.words));
    };
    return options;
}

// Expressions of a plan, compiled.
struct Compiled {
    std::unique_ptr<store::Expression> where;
    std::unique_ptr<store::Expression> values;  // keys, then arguments
    std::unique_ptr<detail::Having> having;
};

class TumbleView final : public Tumble {
  public:
    TumbleView(const record::Schema& schema, TumblePlan plan, StateStore& state, std::string prefix,
               detail::KeyPlan keys, GroupLayout layout, Compiled compiled)
        : plan_(std::move(plan)),
          state_(state),
          prefix_(std::move(prefix)),
          keys_(std::move(keys)),
          layout_(std::move(layout)),
          picked_(plan_, std::move(compiled.where), {layout_.aggregates.has_positions, layout_.has_second}),
          expression_(std::move(compiled.values)),
          budget_{0, plan_.state_bytes_max},
          groups_(groups_options(plan_, layout_, prefix_), state, budget_),
          emission_(plan_, layout_, keys_, groups_, std::move(compiled.having)),
          watermarks_(plan_.partitions, plan_.delay_ms) {
        if (layout_.id_word != no_word)
            sets_.emplace(schema, plan_, layout_, prefix_, plan_.cache_bytes / 2, state, budget_);
    }

    Status process(const PartitionRows& rows, std::vector<LateRow>& late) override {
        CHECK(rows.partition >= 0 && rows.partition < plan_.partitions);
        if (groups_.deferred_error()) return *groups_.deferred_error();
        if (sets_ && sets_->values().deferred_error()) return *sets_->values().deferred_error();
        (void)on_append_time(rows.append_time_ms);
        if (rows.rows.empty()) return {};
        const std::size_t late_before = late.size();
        PartitionWatermark watermark = watermarks_.at(rows.partition);
        ViewCounts counts = counts_;

        TRY(picked_.pick(rows, watermarks_, watermark, counts, late));
        Status grouped = group(*rows.columns);
        const detail::GroupedRows batch = grouped_rows(rows);
        if (grouped && sets_) grouped = sets_->find(batch, groups_.table());
        if (!grouped) {
            late.resize(late_before);
            groups_.forget_created();
            if (sets_) sets_->forget();
            return grouped;
        }
        // From here on nothing fails.
        keep_created();
        if (picked_.size() > 0) update(batch);
        watermarks_.at(rows.partition) = watermark;
        counts_ = counts;
        meta_dirty_ = true;
        on_watermark();
        groups_.evict(picked_.size());
        if (sets_) sets_->values().evict(picked_.size());
        return {};
    }

    void raise_watermark(PartitionNo partition, std::int64_t watermark_ms) override {
        if (!watermarks_.raise(partition, watermark_ms)) return;
        meta_dirty_ = true;
        on_watermark();
    }

    void set_delay(std::int64_t delay_ms) override {
        watermarks_.set_delay(delay_ms);
        meta_dirty_ = true;
        on_watermark();
    }

    bool on_append_time(std::int64_t append_ms) override {
        const Emission::State before = emission_.state();
        const bool is_due = emission_.on_append_time(append_ms);
        meta_dirty_ = meta_dirty_ || emission_.state().boundary_ms != before.boundary_ms;
        return is_due;
    }
    std::int64_t rows_due_at_ms() const override { return emission_.due_at_ms(); }
    void release_rows() override {
        emission_.release_all();
        meta_dirty_ = true;
    }

    Status take_dirty_rows(const OnRow& on_row, const OnGone& on_gone) override {
        if (!emission_.has_rows()) return {};
        TRY(emission_.take(on_row, on_gone));
        meta_dirty_ = meta_dirty_ || has_epochs();
        return {};
    }
    bool has_dirty_rows() const override { return emission_.has_rows(); }
    Status take_changed_windows(
        const std::function<Status(std::int64_t start_ms, std::uint64_t groups)>& on_window) override {
        while (!changed_windows_.empty()) {
            const auto window = groups_.windows().find(*changed_windows_.begin());
            const std::uint64_t groups = window == groups_.windows().end() ? 0 : window->second.groups;
            TRY(on_window(*changed_windows_.begin(), groups));
            changed_windows_.erase(changed_windows_.begin());
        }
        return {};
    }
    void discard_dirty_rows() override {
        changed_windows_.clear();
        if (!emission_.has_rows()) return;
        emission_.discard();
        meta_dirty_ = meta_dirty_ || has_epochs();
    }

    void collect_checkpoint(std::vector<StateChange>& changes) override {
        groups_.collect(changes);
        if (sets_) sets_->values().collect(changes);
        if (meta_dirty_ || meta_in_flight_) {
            changes.push_back({prefix_ + meta_key, encode_meta(shape(), {counts_, groups_created_, emission_.state()},
                                                               watermarks_, has_epochs())});
            meta_dirty_ = false;
            meta_in_flight_ = true;
        }
    }

    void checkpoint_done() override {
        groups_.checkpoint_done();
        if (sets_) sets_->values().checkpoint_done();
        meta_in_flight_ = false;
    }

    std::uint64_t dirty_bytes() const override {
        return groups_.dirty_bytes() + (sets_ ? sets_->values().dirty_bytes() : 0);
    }
    ViewCounts counts() const override { return counts_; }
    const std::vector<PartitionWatermark>& partitions() const override { return watermarks_.all(); }
    std::uint64_t open_groups() const override { return groups_.count(); }
    std::uint64_t distinct_values() const override { return sets_ ? sets_->values().count() : 0; }
    std::uint64_t state_bytes() const override { return budget_.bytes; }
    std::uint64_t groups_created() const override { return groups_created_; }
    std::int64_t watermark_ms(PartitionNo partition) const override { return watermarks_.of(partition); }
    std::int64_t least_watermark_ms() const override { return watermarks_.least(); }

    Status load() {
        const std::optional<std::string> meta = TRY(state_.get(prefix_ + meta_key));
        if (!meta) return {};
        detail::ViewMeta loaded;
        if (!decode_meta(*meta, shape(), has_epochs(), loaded, watermarks_)) {
            return Error{Errc::corrupt, "the state of a view is not of this view's shape"};
        }
        counts_ = loaded.counts;
        groups_created_ = loaded.groups_created;
        TRY(groups_.load());
        if (sets_) TRY(sets_->load());
        emission_.restore(loaded.epochs, watermarks_.least());
        return {};
    }

  private:
    bool has_epochs() const { return emission_.mode() == Emission::Mode::every; }
    std::string shape() const { return detail::state_shape(plan_, layout_, keys_.parts().size()); }

    // ---- A batch

    // Finds or makes the group of each picked row. New ones do not count yet.
    Status group(const record::ColumnBatch& batch) {
        row_groups_.resize(picked_.size());
        accumulators_.resize(picked_.size());
        if (picked_.size() == 0) return {};
        if (expression_ != nullptr) TRY(expression_->evaluate(batch, picked_.rows, evaluated_));

        detail::GroupTable& table = groups_.table();
        std::uint32_t last = no_group;
        Window* window = nullptr;
        for (std::size_t i = 0; i < picked_.size(); ++i) {
            if (i == 0 || picked_.starts_ms[i] != picked_.starts_ms[i - 1]) {
                writer_.begin(picked_.starts_ms[i]);
                window = nullptr;
            } else {
                writer_.begin_same_window();
            }
            for (const detail::KeyPart& part : keys_.parts())
                write_part(writer_, part, batch, picked_.rows[i], &evaluated_, i);
            const std::string_view key = writer_.key();
            // Neighbours often share their group; comparing is cheaper than hashing.
            if (last == no_group || table.group(last).key() != key) {
                const std::uint64_t hash = detail::hash_key(key);
                last = table.find(hash, key);
                if (last == no_group) {
                    if (window == nullptr) window = &groups_.window_at(picked_.starts_ms[i]);
                    last = TRY(load_or_create(hash, key, *window));
                }
            }
            row_groups_[i] = last;
            accumulators_[i] = table.words(last);
        }
        if (layout_.has_second) {
            for (std::size_t i = 0; i < picked_.size(); ++i)
                accumulators_[i] += picked_.second[i] != 0 ? layout_.aggregates.words : 0;
        }
        return {};
    }

    Result<std::uint32_t> load_or_create(std::uint64_t hash, std::string_view key, Window& window) {
        const std::size_t created = groups_.created().size();
        const std::uint32_t index = TRY(groups_.load_or_create(hash, key, window));
        const bool is_new = groups_.created().size() > created;
        if (is_new && layout_.id_word != no_word)
            groups_.table().words(index)[layout_.id_word] = groups_created_ + groups_.created().size();
        return index;
    }

    void keep_created() {
        groups_created_ += groups_.created().size();
        const Window* last = nullptr;
        for (const std::uint32_t index : groups_.created()) {
            emission_.on_created(index);
            const Window* window = groups_.table().group(index).window;
            if (window != last) changed_windows_.insert(window->start_ms);
            last = window;
        }
        emission_.before_update(row_groups_, groups_.loaded());
        groups_.keep_created();
    }

    detail::GroupedRows grouped_rows(const PartitionRows& rows) const {
        detail::GroupedRows grouped;
        grouped.batch = rows.columns;
        grouped.rows = picked_.rows;
        grouped.groups = row_groups_;
        grouped.accumulators = accumulators_;
        grouped.evaluated = expression_ != nullptr ? &evaluated_ : nullptr;
        grouped.partition = static_cast<std::uint32_t>(rows.partition);
        grouped.event_times_ms = picked_.times_ms;
        grouped.offsets = picked_.offsets;
        grouped.second = picked_.second;
        return grouped;
    }

    void update(const detail::GroupedRows& rows) {
        detail::update_aggregates(layout_.aggregates, rows, groups_.table());
        if (layout_.aggregates.texts > 0) groups_.account_texts();
        if (sets_) sets_->keep(rows, groups_.table());
        if (layout_.has_second) {
            for (std::size_t i = 0; i < row_groups_.size(); ++i) {
                groups_.table().words(row_groups_[i])[layout_.sets_word] |=
                    picked_.second[i] != 0 ? detail::second_has_rows : detail::first_has_rows;
            }
        }
        // Most groups are marked already: one look at their flags is all that they cost.
        const std::uint8_t marked = emission_.marks();
        std::uint32_t last = no_group;
        for (const std::uint32_t index : row_groups_) {
            if (index == last) continue;
            last = index;
            std::uint8_t& flags = groups_.table().group(index).flags;
            if ((flags & marked) == marked) {
                flags |= detail::touched;
                continue;
            }
            groups_.mark_changed(index);
            emission_.on_changed(index);
        }
    }

    void on_watermark() {
        if (groups_.windows().empty()) return;
        const std::int64_t least_ms = watermarks_.least();
        emission_.on_watermark(least_ms);
        // All windows are of one size, so their starts order their ends.
        while (!groups_.windows().empty() && picked_.closes_at(groups_.windows().begin()->first) <= least_ms)
            drop_window(groups_.windows().begin());
    }

    void drop_window(GroupCache::Windows::iterator window) {
        if (sets_) {
            GroupCache& values = sets_->values();
            if (const auto it = values.windows().find(window->first); it != values.windows().end())
                values.drop(it, false);
        }
        changed_windows_.insert(window->first);
        const bool keep = emission_.wants(window->second);
        groups_.drop(window, keep);
        if (keep) emission_.on_closing();
    }

    TumblePlan plan_;
    StateStore& state_;
    std::string prefix_;
    detail::KeyPlan keys_;
    GroupLayout layout_;
    detail::PickedRows picked_;
    std::unique_ptr<store::Expression> expression_;  // keys, then arguments

    detail::StateBudget budget_;
    GroupCache groups_;
    std::optional<detail::DistinctSets> sets_;  // where there is a count(DISTINCT)
    Emission emission_;
    detail::Watermarks watermarks_;
    ViewCounts counts_;
    std::set<std::int64_t> changed_windows_;  // starts; not yet taken
    std::uint64_t groups_created_ = 0;
    bool meta_dirty_ = false;
    bool meta_in_flight_ = false;

    // Of one batch; members so that their memory is kept.
    std::vector<std::uint32_t> row_groups_;
    std::vector<std::uint64_t*> accumulators_;
    store::Evaluated evaluated_;
    detail::KeyWriter writer_;
};

}  // namespace

std::int64_t window_start(std::int64_t event_ms, std::int64_t size_ms, std::int64_t offset_ms) {
    __extension__ typedef __int128 int128;
    const int128 from_offset = int128{event_ms} - offset_ms;
    int128 quotient = from_offset / size_ms;
    if (from_offset % size_ms < 0) --quotient;
    const int128 start = quotient * size_ms + offset_ms;
    // A window that would begin before time itself begins with it.
    return start < int128{INT64_MIN} ? INT64_MIN : static_cast<std::int64_t>(start);
}

Status check_having(const record::Schema& schema, const TumblePlan& plan) {
    TRY(detail::Having::compile(schema, plan));
    return {};
}

Result<std::unique_ptr<Tumble>> Tumble::open(const record::Schema& schema, TumblePlan plan, StateStore& state,
                                             std::string prefix) {
    TRY(check_plan(plan));
    std::vector<std::string> expressions;
    detail::KeyPlan keys = TRY(detail::KeyPlan::make(schema, plan, expressions));
    GroupLayout layout = plan_layout(plan, TRY(detail::plan_aggregates(schema, plan, expressions)));
    Compiled compiled;
    if (!expressions.empty()) compiled.values = TRY(store::Expression::compile(schema, expressions));
    if (!plan.where_sql.empty()) {
        TRY(store::Expression::compile(schema, {plan.where_sql}));  // alone, for the error's position
        compiled.where = TRY(store::Expression::compile(schema, {"(" + plan.where_sql + "\n) IS TRUE"}));
    }
    if (!plan.having_sql.empty()) compiled.having = TRY(detail::Having::compile(schema, plan));
    auto view = std::make_unique<TumbleView>(schema, std::move(plan), state, std::move(prefix), std::move(keys),
                                             std::move(layout), std::move(compiled));
    TRY(view->load());
    return std::unique_ptr<Tumble>(std::move(view));
}

}  // namespace weir::stream
