#include "stream/detail/distinct.h"

#include <cmath>

namespace weir::stream::detail {

using store::Value;
using store::ValueType;

namespace {

// Where a value counts.
enum ValueSet : std::uint64_t { counts_nowhere = 0, counts_in_first = 1, counts_in_second = 2 };

GroupCache::Options cache_options(const TumblePlan& plan, const GroupLayout& layout, std::string prefix,
                                  std::uint64_t cache_bytes) {
    GroupCache::Options options;
    options.prefix = std::move(prefix);
    options.window_letter = 'e';
    options.group_letter = 'd';
    options.words = layout.has_second ? 1 : 0;
    options.groups_max = plan.distinct_max;
    options.cache_bytes = cache_bytes;
    options.many = "distinct values in count(DISTINCT)";
    return options;
}

// 1 and 1.0 are one value.
Value one_of_equals(const Value& value) {
    constexpr double limit = 9223372036854775808.0;
    if (value.type != ValueType::real || value.real < -limit || value.real >= limit) return value;
    return std::trunc(value.real) == value.real ? Value::of(static_cast<std::int64_t>(value.real)) : value;
}

}  // namespace

DistinctSets::DistinctSets(const record::Schema& schema, const TumblePlan& plan, const GroupLayout& layout,
                           std::string prefix, std::uint64_t cache_bytes, StateStore& state, StateBudget& budget)
    : layout_(layout), values_(cache_options(plan, layout, std::move(prefix), cache_bytes), state, budget) {
    for (const PlannedAggregate& aggregate : layout.aggregates.aggregates) {
        if (aggregate.shape != Shape::distinct) continue;
        Set set;
        set.word = aggregate.word;
        if (aggregate.expression < 0) {
            set.argument = column_part(schema, static_cast<int>(aggregate.column));
        } else {
            set.argument.source = KeyPart::Source::expression;
            set.argument.expression = static_cast<std::size_t>(aggregate.expression);
        }
        sets_.push_back(set);
    }
}

// False: NULL, which is not in any set.
bool DistinctSets::write_value(const Set& set, const GroupedRows& rows, std::size_t i) {
    if (set.argument.source == KeyPart::Source::expression) {
        const Value& value = rows.evaluated->values[i * rows.evaluated->expressions + set.argument.expression];
        if (value.type == ValueType::null) return false;
        writer_.add_value(one_of_equals(value));
        return true;
    }
    if (rows.batch->columns[set.argument.column].present[rows.rows[i]] == 0) return false;
    write_part(writer_, set.argument, *rows.batch, rows.rows[i], nullptr, i);
    return true;
}

Status DistinctSets::find(const GroupedRows& rows, GroupTable& groups) {
    found_.clear();
    for (std::uint32_t s = 0; s < sets_.size(); ++s) {
        const Set& set = sets_[s];
        std::uint32_t last = no_group;
        for (std::size_t i = 0; i < rows.rows.size(); ++i) {
            const std::uint32_t group = rows.groups[i];
            const std::int64_t start_ms = groups.group(group).window->start_ms;
            writer_.begin(start_ms);
            writer_.add_raw64(groups.words(group)[layout_.id_word]);
            writer_.add_raw16(static_cast<std::uint16_t>(s));
            if (!write_value(set, rows, i)) continue;
            const std::string_view key = writer_.key();
            std::uint32_t value = last;
            bool is_new = false;
            if (last == no_group || values_.table().group(last).key() != key) {
                const std::uint64_t hash = hash_key(key);
                value = values_.table().find(hash, key);
                if (value == no_group) {
                    const std::size_t created = values_.created().size();
                    value = TRY(values_.load_or_create(hash, key, values_.window_at(start_ms)));
                    is_new = values_.created().size() > created;
                }
                last = value;
            }
            if (is_new || layout_.has_second) found_.push_back({static_cast<std::uint32_t>(i), s, value});
            values_.table().group(value).flags |= touched;
        }
    }
    return {};
}

void DistinctSets::keep(const GroupedRows& rows, GroupTable& groups) {
    values_.keep_created();
    for (const auto& [i, s, value] : found_) {
        std::uint64_t* first = groups.words(rows.groups[i]) + sets_[s].word;
        if (!layout_.has_second) {
            ++*first;
            values_.mark_changed(value);
            continue;
        }
        std::uint64_t* second = first + layout_.aggregates.words;
        std::uint64_t& where = *values_.table().words(value);
        const bool in_time = rows.second[i] == 0;
        if (where == counts_in_first || (where == counts_in_second && !in_time)) continue;
        if (where == counts_in_second) --*second;
        ++*(in_time ? first : second);
        where = in_time ? counts_in_first : counts_in_second;
        values_.mark_changed(value);
    }
}

}  // namespace weir::stream::detail
