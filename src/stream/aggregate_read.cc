#include "base/check.h"
#include "stream/detail/aggregate.h"
#include "stream/detail/aggregate_value.h"
#include "stream/detail/word_sum.h"

#include <algorithm>
#include <bit>
#include <cmath>

namespace weir::stream::detail {

namespace {

using store::Value;

Value sum_of(const PlannedAggregate& aggregate, const std::uint64_t* words, std::uint32_t partitions) {
    const std::uint64_t n = words[0];
    if (n == 0) return Value::null();
    const bool has_whole = aggregate.shape != Shape::sum_real;
    const bool has_real = aggregate.shape != Shape::sum_whole;
    const std::uint64_t* whole_words = aggregate.shape == Shape::sum_whole ? words + 1 : words + 2;
    const std::uint64_t* real_words = aggregate.shape == Shape::sum_real ? words + 1 : words + 4;
    const int128 whole = has_whole ? read128(whole_words) : int128{0};
    const bool is_real = aggregate.shape == Shape::sum_real || (has_real && words[1] > 0);

    double real = static_cast<double>(whole);
    if (is_real) {
        double reals = 0;
        for (std::uint32_t p = 0; p < partitions; ++p)
            reals += std::bit_cast<double>(real_words[p]);
        real = has_whole ? real + reals : reals;
    }
    if (aggregate.kind == Aggregate::avg) real /= static_cast<double>(n);
    if (aggregate.kind == Aggregate::avg || is_real) return std::isnan(real) ? Value::null() : Value::of(real);
    // A sum that does not fit is NULL: a wrong number would be worse, and an error would stop the view.
    if (whole < int128{INT64_MIN} || whole > int128{INT64_MAX}) return Value::null();
    return Value::of(static_cast<std::int64_t>(whole));
}

void add_reals(const std::uint64_t* from, std::uint32_t partitions, std::uint64_t* to) {
    for (std::uint32_t p = 0; p < partitions; ++p)
        add_real(to[p], std::bit_cast<double>(from[p]));
}

// `to` and `text` are a copy of the first set and become the merged one.
void merge_one(const AggregateLayout& layout, const PlannedAggregate& aggregate, const std::uint64_t* from,
               const std::string* from_texts, std::uint64_t* to, std::string* to_texts) {
    const bool is_min = aggregate.kind == Aggregate::min;
    switch (aggregate.shape) {
        case Shape::count_rows:
        case Shape::count_column:
        case Shape::count_value:
        case Shape::distinct:  // the second set counts what the first one does not hold
            to[0] += from[0];
            return;
        case Shape::sum_whole:
            to[0] += from[0];
            add128(to + 1, read128(from + 1));
            return;
        case Shape::sum_real:
            to[0] += from[0];
            add_reals(from + 1, layout.partitions, to + 1);
            return;
        case Shape::sum_value:
            to[0] += from[0];
            to[1] += from[1];
            add128(to + 2, read128(from + 2));
            add_reals(from + 4, layout.partitions, to + 4);
            return;
        case Shape::extreme_whole:
        case Shape::extreme_real: {
            if (from[0] == 0) return;
            const auto value = [&](std::uint64_t bits) {
                return aggregate.shape == Shape::extreme_whole ? Value::of(static_cast<std::int64_t>(bits))
                                                               : Value::of(std::bit_cast<double>(bits));
            };
            if (to[0] == 0 || replaces_extreme(is_min, value(from[1]), value(to[1]))) std::copy_n(from, 2, to);
            return;
        }
        case Shape::extreme_value: {
            const std::string& text = from_texts[aggregate.text];
            if (from[0] == 0) return;
            if (!replaces_extreme(is_min, held_value(from[0], from[1], text),
                                  held_value(to[0], to[1], to_texts[aggregate.text])))
                return;
            std::copy_n(from, 2, to);
            to_texts[aggregate.text] = text;
            return;
        }
        case Shape::position_number:
        case Shape::position_value:
            if (from[0] == 0 ||
                !replaces_position(aggregate.kind == Aggregate::first, to, static_cast<std::int64_t>(from[1]), from[2],
                                   static_cast<std::int64_t>(from[3])))
                return;
            std::copy_n(from, position_words, to);
            if (aggregate.shape == Shape::position_value) to_texts[aggregate.text] = from_texts[aggregate.text];
            return;
    }
}

}  // namespace

void read_aggregates(const AggregateLayout& layout, Accumulators from, std::vector<Value>& values) {
    for (const PlannedAggregate& aggregate : layout.aggregates) {
        const std::uint64_t* words = from.words + aggregate.word;
        switch (aggregate.shape) {
            case Shape::count_rows:
            case Shape::count_column:
            case Shape::count_value:
            case Shape::distinct:
                values.push_back(Value::of(static_cast<std::int64_t>(words[0])));
                break;
            case Shape::sum_whole:
            case Shape::sum_real:
            case Shape::sum_value:
                values.push_back(sum_of(aggregate, words, layout.partitions));
                break;
            case Shape::extreme_whole:
                values.push_back(words[0] == 0 ? Value::null() : Value::of(static_cast<std::int64_t>(words[1])));
                break;
            case Shape::extreme_real:
                values.push_back(words[0] == 0 ? Value::null() : Value::of(std::bit_cast<double>(words[1])));
                break;
            case Shape::extreme_value:
                values.push_back(held_value(words[0], words[1], from.texts[aggregate.text]));
                break;
            case Shape::position_number:
                values.push_back(held_value(words[0], words[4], {}));
                break;
            case Shape::position_value:
                values.push_back(held_value(words[0], words[4], from.texts[aggregate.text]));
                break;
        }
    }
}

void merge_aggregates(const AggregateLayout& layout, Accumulators a, Accumulators b, MergedAccumulators& out) {
    out.words.assign(a.words, a.words + layout.words);
    out.texts.assign(a.texts, a.texts + layout.texts);
    for (const PlannedAggregate& aggregate : layout.aggregates)
        merge_one(layout, aggregate, b.words + aggregate.word, b.texts, out.words.data() + aggregate.word,
                  out.texts.data());
}

}  // namespace weir::stream::detail
