#include "stream/tumble.h"

#include "base/check.h"
#include "base/limits.h"
#include "base/wire.h"
#include "stream/detail/aggregate.h"
#include "stream/detail/group_key.h"
#include "stream/detail/group_table.h"

#include <algorithm>
#include <map>

namespace weir::stream {

namespace {

using detail::AggregateLayout;
using detail::Group;
using detail::GroupTable;
using detail::no_group;
using detail::Window;
using record::ColumnType;
using store::Value;

// Keys in the state store: the view's prefix, then one of these.
constexpr char meta_key = 'm';    // watermarks and counts
constexpr char window_key = 'w';  // + window: how many groups it has
constexpr char group_key = 'g';   // + encoded key: the group's state

constexpr std::uint8_t meta_version = 1;
constexpr std::size_t overhead_bytes = 64;  // of a group's change beside its words: keys, page headers
constexpr std::size_t eviction_steps_per_call = 4096;

std::int64_t saturating_add(std::int64_t a, std::int64_t b) {
    std::int64_t sum;
    if (!__builtin_add_overflow(a, b, &sum)) return sum;
    return b > 0 ? INT64_MAX : INT64_MIN;
}

std::int64_t saturating_subtract(std::int64_t a, std::int64_t b) {
    std::int64_t difference;
    if (!__builtin_sub_overflow(a, b, &difference)) return difference;
    return b < 0 ? INT64_MAX : INT64_MIN;
}

// One part of a group's key beside the window, and how to read it.
struct PlannedKey {
    enum class Source : std::uint8_t { whole, real, text, blob, expression } source = Source::whole;
    std::size_t column = 0;
    std::size_t expression = 0;
};

class TumbleView final : public Tumble {
  public:
    TumbleView(TumblePlan plan, StateStore& state, std::string prefix)
        : plan_(std::move(plan)), state_(state), prefix_(std::move(prefix)) {}

    Status set_up(const record::Schema& schema) {
        TRY(check_plan(schema));
        std::vector<std::string> expressions;
        TRY(plan_keys(schema, expressions));
        layout_ = TRY(detail::plan_aggregates(schema, plan_, expressions));
        if (!expressions.empty()) expression_ = TRY(store::Expression::compile(schema, expressions));
        if (!plan_.where_sql.empty()) {
            TRY(store::Expression::compile(schema, {plan_.where_sql}));  // alone, for the error's position
            where_ = TRY(store::Expression::compile(schema, {"(" + plan_.where_sql + "\n) IS TRUE"}));
        }
        groups_ = std::make_unique<GroupTable>(layout_.words, layout_.texts);
        partitions_.resize(static_cast<std::size_t>(plan_.partitions));
        return load();
    }

    Status process(const PartitionRows& rows, std::vector<LateRow>& late) override {
        CHECK(rows.partition >= 0 && rows.partition < plan_.partitions);
        if (deferred_error_) return *deferred_error_;
        if (rows.rows.empty()) return {};
        const std::size_t late_before = late.size();
        const auto partition = static_cast<std::size_t>(rows.partition);
        PartitionWatermark watermark = partitions_[partition];
        ViewCounts counts = counts_;

        TRY(pick(rows, watermark, counts, late));
        Status grouped = group(*rows.columns);
        if (!grouped) {
            late.resize(late_before);
            forget_created();
            return grouped;
        }
        // From here on nothing fails.
        for (const std::uint32_t index : created_)
            count_new_group(index);
        created_.clear();
        if (!picked_.empty()) update(rows);
        partitions_[partition] = watermark;
        counts_ = counts;
        meta_dirty_ = true;
        drop_windows();
        evict();
        return {};
    }

    void raise_watermark(PartitionNo partition, std::int64_t watermark_ms) override {
        CHECK(partition >= 0 && partition < plan_.partitions);
        if (watermark_ms <= this->watermark_ms(partition)) return;
        partitions_[static_cast<std::size_t>(partition)].raised_ms = watermark_ms;
        meta_dirty_ = true;
        drop_windows();
    }

    Status take_dirty_rows(
        const std::function<Status(std::string_view encoded_key, const std::vector<Value>& row)>& on_row) override {
        std::vector<std::uint32_t> order;
        collect_flagged(dirty_rows_, detail::row_dirty, order);
        std::sort(order.begin(), order.end(), [this](std::uint32_t a, std::uint32_t b) {
            return groups_->group(a).key() < groups_->group(b).key();
        });
        for (const std::uint32_t index : order) {
            read_row(index);
            TRY(on_row(groups_->group(index).key(), row_));
        }
        forget_dirty_rows(order);
        return {};
    }

    bool has_dirty_rows() const override { return dirty_row_count_ > 0; }

    void discard_dirty_rows() override {
        std::vector<std::uint32_t> order;
        collect_flagged(dirty_rows_, detail::row_dirty, order);
        forget_dirty_rows(order);
    }

    void collect_checkpoint(std::vector<StateChange>& changes) override {
        collect_groups(changes);
        collect_windows(changes);
        collect_dropped(changes);
        if (meta_dirty_ || meta_in_flight_) {
            changes.push_back({prefix_ + meta_key, encode_meta()});
            meta_dirty_ = false;
            meta_in_flight_ = true;
        }
    }

    void checkpoint_done() override {
        for (const std::uint32_t index : in_flight_)
            clear_flag(index, detail::in_flight);
        in_flight_.clear();
        for (auto& [start, window] : windows_)
            window.in_flight = false;
        meta_in_flight_ = false;
        dropped_in_flight_.clear();
        evict();
    }

    std::uint64_t dirty_bytes() const override { return dirty_bytes_; }
    ViewCounts counts() const override { return counts_; }
    const std::vector<PartitionWatermark>& partitions() const override { return partitions_; }
    std::uint64_t open_groups() const override { return open_groups_; }
    std::uint64_t groups_created() const override { return groups_created_; }

    std::int64_t watermark_ms(PartitionNo partition) const override {
        CHECK(partition >= 0 && partition < plan_.partitions);
        return watermark_of(partitions_[static_cast<std::size_t>(partition)]);
    }

    std::int64_t least_watermark_ms() const override {
        std::int64_t least = INT64_MAX;
        for (const PartitionWatermark& p : partitions_)
            least = std::min(least, watermark_of(p));
        return least;
    }

  private:
    // ---- The plan

    Status check_plan(const record::Schema& schema) const {
        const auto refuse = [](const char* why) { return Error{Errc::invalid_argument, why}; };
        if (plan_.size_ms <= 0) return refuse("a window's size must be above zero");
        if (plan_.offset_ms <= -plan_.size_ms || plan_.offset_ms >= plan_.size_ms) {
            return refuse("a window's offset must be smaller than its size");
        }
        if (plan_.lateness_ms < 0 || plan_.delay_ms < 0) return refuse("LATENESS and DELAY cannot be negative");
        if (plan_.partitions < 1 || plan_.partitions > limits::partitions_max)
            return refuse("a bad number of partitions");
        for (const TumbleKey& key : plan_.keys) {
            if (key.input.column >= static_cast<int>(schema.columns.size()))
                return refuse("a key reads an unknown column");
        }
        return {};
    }

    Status plan_keys(const record::Schema& schema, std::vector<std::string>& expressions) {
        for (const TumbleKey& key : plan_.keys) {
            if (key.kind != TumbleKey::Kind::input) continue;
            PlannedKey planned;
            if (key.input.column < 0) {
                planned.source = PlannedKey::Source::expression;
                planned.expression = expressions.size();
                expressions.push_back(key.input.sql);
            } else {
                planned.column = static_cast<std::size_t>(key.input.column);
                switch (schema.columns[planned.column].type) {
                    case ColumnType::integer:
                    case ColumnType::boolean:
                    case ColumnType::timestamp:
                        planned.source = PlannedKey::Source::whole;
                        break;
                    case ColumnType::real:
                        planned.source = PlannedKey::Source::real;
                        break;
                    case ColumnType::text:
                    case ColumnType::json:
                        planned.source = PlannedKey::Source::text;
                        break;
                    case ColumnType::blob:
                        planned.source = PlannedKey::Source::blob;
                        break;
                }
            }
            keys_.push_back(planned);
        }
        return {};
    }

    std::int64_t watermark_of(const PartitionWatermark& p) const {
        const std::int64_t by_records = p.any ? saturating_subtract(p.max_event_time_ms, plan_.delay_ms) : INT64_MIN;
        return std::max(by_records, p.raised_ms);
    }

    // The watermark from which on a window takes no more rows and its state is dropped.
    std::int64_t closes_at(std::int64_t window_start_ms) const {
        return saturating_add(saturating_add(window_start_ms, plan_.size_ms), plan_.lateness_ms);
    }

    // ---- A batch

    // WHERE, then the test for lateness, record by record: fills picked_ and starts_, changes the copies it was given.
    Status pick(const PartitionRows& rows, PartitionWatermark& watermark, ViewCounts& counts,
                std::vector<LateRow>& late) {
        const std::vector<std::int64_t>& event_time = rows.columns->event_time_ms;
        const std::size_t count = rows.rows.size();
        picked_.clear();
        starts_.clear();
        picked_.reserve(count);
        starts_.reserve(count);
        if (where_ != nullptr) TRY(where_->evaluate(*rows.columns, rows.rows, passes_));

        std::int64_t window_begin = 0;
        std::int64_t window_end = 0;  // empty: the first row computes its window
        std::int64_t closes = 0;
        std::int64_t now = watermark_of(watermark);
        std::uint64_t filtered = 0;
        std::uint64_t late_count = 0;
        for (std::size_t i = 0; i < count; ++i) {
            const std::uint32_t row = rows.rows[i];
            const std::int64_t e = event_time[row];
            if (where_ != nullptr && passes_.values[i].integer == 0) {
                ++filtered;
            } else {
                // Rows come mostly in order: the division is skipped while they stay in one window.
                if (e < window_begin || e >= window_end) {
                    window_begin = window_start(e, plan_.size_ms, plan_.offset_ms);
                    window_end = saturating_add(window_begin, plan_.size_ms);
                    closes = closes_at(window_begin);
                }
                if (closes <= now) {
                    ++late_count;
                    late.push_back(
                        {rows.partition, rows.base_offset + static_cast<std::int64_t>(i), row, window_begin, e});
                } else {
                    picked_.push_back(row);
                    starts_.push_back(window_begin);
                }
            }
            if (e > watermark.max_event_time_ms || !watermark.any) {
                watermark.any = true;
                watermark.max_event_time_ms = e;
                now = watermark_of(watermark);
            }
        }
        counts.seen += count;
        counts.filtered += filtered;
        counts.late += late_count;
        counts.windowed += picked_.size();
        return {};
    }

    // Finds or makes the group of each picked row. New ones are in created_ and do not count yet.
    Status group(const record::ColumnBatch& batch) {
        row_groups_.resize(picked_.size());
        accumulators_.resize(picked_.size());
        if (picked_.empty()) return {};
        if (expression_ != nullptr) TRY(expression_->evaluate(batch, picked_, evaluated_));

        std::uint32_t last = no_group;
        Window* window = nullptr;
        for (std::size_t i = 0; i < picked_.size(); ++i) {
            if (i == 0 || starts_[i] != starts_[i - 1]) {
                writer_.begin(starts_[i]);
                window = nullptr;
            } else {
                writer_.begin_same_window();
            }
            for (const PlannedKey& key : keys_)
                write_key(batch, key, i);
            const std::string_view key = writer_.key();
            // Neighbours often share their group; comparing is cheaper than hashing.
            if (last == no_group || groups_->group(last).key() != key) {
                const std::uint64_t hash = detail::hash_key(key);
                last = groups_->find(hash, key);
                if (last == no_group) {
                    if (window == nullptr) window = &window_at(starts_[i]);
                    last = TRY(load_or_create(hash, key, *window));
                }
            }
            row_groups_[i] = last;
            accumulators_[i] = groups_->words(last);
        }
        return {};
    }

    void write_key(const record::ColumnBatch& batch, const PlannedKey& key, std::size_t i) {
        if (key.source == PlannedKey::Source::expression) {
            writer_.add_value(evaluated_.values[i * evaluated_.expressions + key.expression]);
            return;
        }
        const std::uint32_t row = picked_[i];
        const record::ColumnData& column = batch.columns[key.column];
        if (column.present[row] == 0) {
            writer_.add_null();
            return;
        }
        switch (key.source) {
            case PlannedKey::Source::whole:
                writer_.add_whole(column.number[row]);
                return;
            case PlannedKey::Source::real:
                writer_.add_real(batch.real(key.column, row));
                return;
            case PlannedKey::Source::text:
                writer_.add_text(batch.text(key.column, row));
                return;
            case PlannedKey::Source::blob:
                writer_.add_value(Value::of_blob(batch.text(key.column, row)));
                return;
            case PlannedKey::Source::expression:
                return;
        }
    }

    Window& window_at(std::int64_t start_ms) {
        Window& window = windows_[start_ms];
        window.start_ms = start_ms;
        return window;
    }

    // A miss in memory. The state store is asked only while it holds groups of this window that memory does not.
    Result<std::uint32_t> load_or_create(std::uint64_t hash, std::string_view key, Window& window) {
        std::optional<std::string> stored;
        if (window.groups > window.in_memory - window.uncounted)
            stored = TRY(state_.get(prefix_ + group_key + std::string(key)));
        if (!stored && open_groups_ + created_.size() >= plan_.groups_max) {
            return Error{Errc::too_large, "the view has " + std::to_string(plan_.groups_max) + " open groups already"};
        }
        const std::uint32_t index = groups_->insert(hash, key, window);
        if (stored) {
            Status decoded = detail::decode_state(layout_, *stored, *groups_, index);
            if (!decoded) {
                groups_->unlink(index);
                groups_->release(index);
                return std::move(decoded).error();
            }
        } else {
            created_.push_back(index);
            ++window.uncounted;
        }
        return index;
    }

    void count_new_group(std::uint32_t index) {
        Window& window = *groups_->group(index).window;
        ++window.groups;
        window.is_changed = true;
        --window.uncounted;
        ++open_groups_;
        ++groups_created_;
    }

    // Undoes what group() did for a batch that failed.
    void forget_created() {
        for (const std::uint32_t index : created_) {
            Window* window = groups_->group(index).window;
            --window->uncounted;
            groups_->unlink(index);
            groups_->release(index);
            if (window->groups == 0 && window->in_memory == 0) windows_.erase(window->start_ms);
        }
        created_.clear();
    }

    void update(const PartitionRows& rows) {
        detail::GroupedRows grouped;
        grouped.batch = rows.columns;
        grouped.rows = picked_;
        grouped.groups = row_groups_;
        grouped.accumulators = accumulators_;
        grouped.evaluated = expression_ != nullptr ? &evaluated_ : nullptr;
        grouped.partition = static_cast<std::uint32_t>(rows.partition);
        detail::update_aggregates(layout_, grouped, *groups_);
        std::uint32_t last = no_group;
        for (const std::uint32_t index : row_groups_) {
            if (index != last) mark_changed(index);
            last = index;
        }
    }

    // ---- Flags: row_dirty and checkpoint_dirty are two things. A row goes to SQLite every few milliseconds, a state
    // to the state store at the next checkpoint, and each is clean on its own.

    void mark_changed(std::uint32_t index) {
        Group& group = groups_->group(index);
        constexpr std::uint8_t both = detail::row_dirty | detail::checkpoint_dirty;
        if ((group.flags & both) != both) {
            if ((group.flags & detail::pinning_flags) == 0) ++pinned_;
            if ((group.flags & detail::row_dirty) == 0) {
                dirty_rows_.push_back(index);
                ++dirty_row_count_;
            }
            if ((group.flags & detail::checkpoint_dirty) == 0) {
                checkpoint_dirty_.push_back(index);
                dirty_bytes_ += state_bytes(index);
            }
        }
        group.flags |= both | detail::touched;
    }

    void clear_flag(std::uint32_t index, std::uint8_t flag) {
        Group& group = groups_->group(index);
        const bool was_pinned = (group.flags & detail::pinning_flags) != 0;
        group.flags = static_cast<std::uint8_t>(group.flags & ~flag);
        if (was_pinned && (group.flags & detail::pinning_flags) == 0) --pinned_;
    }

    std::uint64_t state_bytes(std::uint32_t index) const {
        const Group& group = groups_->group(index);
        std::uint64_t bytes = overhead_bytes + group.key_size + std::uint64_t{layout_.words} * 8;
        for (std::uint32_t t = 0; t < layout_.texts; ++t)
            bytes += group.texts[t].size();
        return bytes;
    }

    // The indices of `list` that still have the flag, once each; an index may have been given to another group since.
    void collect_flagged(const std::vector<std::uint32_t>& list, std::uint8_t flag,
                         std::vector<std::uint32_t>& out) const {
        for (const std::uint32_t index : list) {
            if ((groups_->group(index).flags & flag) != 0) out.push_back(index);
        }
        std::sort(out.begin(), out.end());
        out.erase(std::unique(out.begin(), out.end()), out.end());
    }

    // ---- Rows

    void read_row(std::uint32_t index) {
        const std::string_view key = groups_->group(index).key();
        CHECK(detail::decode_key(key, key_values_, key_texts_));
        CHECK(key_values_.size() == keys_.size());
        const std::int64_t start = detail::key_window_start(key);
        row_.clear();
        std::size_t next = 0;
        for (const TumbleKey& k : plan_.keys) {
            switch (k.kind) {
                case TumbleKey::Kind::window_start:
                    row_.push_back(Value::of(start));
                    break;
                case TumbleKey::Kind::window_end:
                    row_.push_back(Value::of(saturating_add(start, plan_.size_ms)));
                    break;
                case TumbleKey::Kind::input:
                    row_.push_back(key_values_[next++]);
                    break;
            }
        }
        detail::read_aggregates(layout_, *groups_, index, row_);
    }

    void forget_dirty_rows(const std::vector<std::uint32_t>& taken) {
        for (const std::uint32_t index : taken) {
            clear_flag(index, detail::row_dirty);
            if ((groups_->group(index).flags & detail::dropped) != 0) {
                clear_flag(index, detail::pinning_flags);
                groups_->release(index);
            }
        }
        dirty_rows_.clear();
        dirty_row_count_ = 0;
    }

    // ---- Dropping and evicting

    void drop_windows() {
        if (windows_.empty()) return;
        const std::int64_t least = least_watermark_ms();
        // All windows are of one size, so their starts order their ends.
        while (!windows_.empty() && closes_at(windows_.begin()->first) <= least)
            drop_window(windows_.begin());
    }

    void drop_window(std::map<std::int64_t, Window>::iterator it) {
        Window& window = it->second;
        while (window.first != no_group) {
            const std::uint32_t index = window.first;
            groups_->unlink(index);
            Group& group = groups_->group(index);
            if ((group.flags & detail::checkpoint_dirty) != 0)
                dirty_bytes_ -= std::min(dirty_bytes_, state_bytes(index));
            // Its state is not wanted any more, but its last row may be on its way.
            if ((group.flags & detail::row_dirty) != 0) {
                group.flags |= detail::dropped;
                clear_flag(index, detail::checkpoint_dirty | detail::in_flight);
            } else {
                clear_flag(index, detail::pinning_flags);
                groups_->release(index);
            }
        }
        open_groups_ -= window.groups;
        if (window.is_stored) dropped_.push_back(window.start_ms);
        windows_.erase(it);
    }

    // Clean groups leave memory when it is over its bound: the hand goes round, and what was used since it last came by
    // gets another round.
    void evict() {
        if (groups_->bytes() <= plan_.cache_bytes) return;
        std::size_t steps = eviction_steps_per_call + 2 * picked_.size();
        while (groups_->bytes() > plan_.cache_bytes && groups_->size() > pinned_ && steps-- > 0) {
            hand_ = hand_ + 1 < groups_->index_end() ? hand_ + 1 : 0;
            Group& group = groups_->group(hand_);
            if ((group.flags & detail::in_use) == 0 || (group.flags & detail::pinning_flags) != 0) continue;
            if ((group.flags & detail::touched) != 0) {
                group.flags = static_cast<std::uint8_t>(group.flags & ~detail::touched);
                continue;
            }
            groups_->unlink(hand_);
            groups_->release(hand_);
        }
    }

    // ---- Checkpoints

    void collect_groups(std::vector<StateChange>& changes) {
        // What was collected before and never declared stored goes along again.
        std::vector<std::uint32_t> order;
        for (const std::uint32_t index : in_flight_) {
            if ((groups_->group(index).flags & detail::in_flight) != 0) order.push_back(index);
        }
        collect_flagged(checkpoint_dirty_, detail::checkpoint_dirty, order);
        for (const std::uint32_t index : order) {
            Group& group = groups_->group(index);
            StateChange change{prefix_ + group_key, std::string()};
            change.key.append(group.key());
            detail::encode_state(layout_, *groups_, index, *change.value);
            changes.push_back(std::move(change));
            group.window->is_stored = true;
            group.flags |= detail::in_flight;  // pinned before and after: the count stays
            clear_flag(index, detail::checkpoint_dirty);
        }
        in_flight_ = std::move(order);
        checkpoint_dirty_.clear();
        dirty_bytes_ = 0;
    }

    void collect_windows(std::vector<StateChange>& changes) {
        for (auto& [start, window] : windows_) {
            if (!window.is_changed && !window.in_flight) continue;
            std::string count;
            WireWriter(count).u64(window.groups);
            changes.push_back({window_record_key(start), std::move(count)});
            window.is_changed = false;
            window.in_flight = true;
            window.is_stored = true;
        }
    }

    // Everything that the state store has of the dropped windows. They are read back for their keys: most of them are
    // not in memory.
    void collect_dropped(std::vector<StateChange>& changes) {
        dropped_.insert(dropped_.end(), dropped_in_flight_.begin(), dropped_in_flight_.end());
        dropped_in_flight_.clear();
        std::vector<std::int64_t> failed;
        for (const std::int64_t start : dropped_) {
            detail::KeyWriter window;
            window.begin(start);
            const Status scanned = state_.scan(prefix_ + group_key + std::string(window.key()),
                                               [&](std::string_view key, std::string_view) {
                                                   changes.push_back({std::string(key), std::nullopt});
                                                   return true;
                                               });
            if (!scanned) {
                deferred_error_ = scanned.error();
                failed.push_back(start);
                continue;
            }
            changes.push_back({window_record_key(start), std::nullopt});
            dropped_in_flight_.push_back(start);
        }
        dropped_ = std::move(failed);
    }

    std::string window_record_key(std::int64_t start_ms) const {
        detail::KeyWriter window;
        window.begin(start_ms);
        return prefix_ + window_key + std::string(window.key());
    }

    // ---- What is loaded at the start

    // What a group's bytes depend on: a plan of another shape cannot read them.
    std::string shape() const {
        std::string out;
        WireWriter writer(out);
        writer.i64(plan_.size_ms);
        writer.i64(plan_.offset_ms);
        writer.u32(static_cast<std::uint32_t>(keys_.size()));
        for (const detail::PlannedAggregate& aggregate : layout_.aggregates) {
            writer.u8(static_cast<std::uint8_t>(aggregate.kind));
            writer.u8(static_cast<std::uint8_t>(aggregate.shape));
        }
        return out;
    }

    std::string encode_meta() const {
        std::string out;
        WireWriter writer(out);
        writer.u8(meta_version);
        writer.bytes(shape());
        writer.u64(counts_.seen);
        writer.u64(counts_.filtered);
        writer.u64(counts_.windowed);
        writer.u64(counts_.late);
        writer.u64(groups_created_);
        writer.u32(static_cast<std::uint32_t>(partitions_.size()));
        for (const PartitionWatermark& p : partitions_) {
            writer.u8(p.any ? 1 : 0);
            writer.i64(p.max_event_time_ms);
            writer.i64(p.raised_ms);
        }
        return out;
    }

    Status load() {
        const std::optional<std::string> meta = TRY(state_.get(prefix_ + meta_key));
        if (!meta) return {};
        const Error corrupt{Errc::corrupt, "the state of a view is not of this view's shape"};
        WireReader reader(*meta);
        if (reader.u8() != meta_version || reader.bytes() != shape()) return corrupt;
        counts_.seen = reader.u64();
        counts_.filtered = reader.u64();
        counts_.windowed = reader.u64();
        counts_.late = reader.u64();
        groups_created_ = reader.u64();
        if (reader.u32() != partitions_.size()) return corrupt;
        for (PartitionWatermark& p : partitions_) {
            p.any = reader.u8() != 0;
            p.max_event_time_ms = reader.i64();
            p.raised_ms = reader.i64();
        }
        if (!reader.ok() || !reader.at_end()) return corrupt;

        bool is_sound = true;
        const std::string prefix = prefix_ + window_key;
        TRY(state_.scan(prefix, [&](std::string_view key, std::string_view value) {
            WireReader count(value);
            key.remove_prefix(prefix.size());
            is_sound = key.size() == detail::window_bytes;
            if (!is_sound) return false;
            Window& window = window_at(detail::key_window_start(key));
            window.groups = count.u64();
            window.is_stored = true;
            open_groups_ += window.groups;
            is_sound = count.ok() && count.at_end();
            return is_sound;
        }));
        return is_sound ? Status() : Status(corrupt);
    }

    TumblePlan plan_;
    StateStore& state_;
    std::string prefix_;
    std::vector<PlannedKey> keys_;  // those of plan_.keys that are inputs
    AggregateLayout layout_;
    std::unique_ptr<store::Expression> where_;
    std::unique_ptr<store::Expression> expression_;  // keys, then arguments

    std::vector<PartitionWatermark> partitions_;
    ViewCounts counts_;
    std::unique_ptr<GroupTable> groups_;
    std::map<std::int64_t, Window> windows_;  // by start; groups point into it
    std::uint64_t open_groups_ = 0;
    std::uint64_t groups_created_ = 0;

    std::vector<std::uint32_t> dirty_rows_;  // indices with row_dirty, and stale ones
    std::uint64_t dirty_row_count_ = 0;
    std::vector<std::uint32_t> checkpoint_dirty_;  // indices with checkpoint_dirty, and stale ones
    std::vector<std::uint32_t> in_flight_;         // indices of the last collect, and stale ones
    std::vector<std::int64_t> dropped_;            // windows to delete from the state store
    std::vector<std::int64_t> dropped_in_flight_;
    std::uint64_t dirty_bytes_ = 0;
    std::uint32_t pinned_ = 0;  // groups that may not leave memory
    std::uint32_t hand_ = 0;
    bool meta_dirty_ = false;
    bool meta_in_flight_ = false;
    std::optional<Error> deferred_error_;  // of a collect, for the next process()

    // Of one batch; members so that their memory is kept.
    std::vector<std::uint32_t> picked_;  // rows that are neither filtered nor late
    std::vector<std::int64_t> starts_;   // their windows
    std::vector<std::uint32_t> row_groups_;
    std::vector<std::uint64_t*> accumulators_;
    std::vector<std::uint32_t> created_;  // groups made by this batch
    store::Evaluated passes_;
    store::Evaluated evaluated_;
    detail::KeyWriter writer_;
    std::vector<Value> row_;
    std::vector<Value> key_values_;
    std::vector<std::string> key_texts_;
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

Result<std::unique_ptr<Tumble>> Tumble::open(const record::Schema& schema, TumblePlan plan, StateStore& state,
                                             std::string prefix) {
    auto view = std::make_unique<TumbleView>(std::move(plan), state, std::move(prefix));
    TRY(view->set_up(schema));
    return std::unique_ptr<Tumble>(std::move(view));
}

}  // namespace weir::stream
