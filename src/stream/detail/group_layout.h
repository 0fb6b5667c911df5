// Where the parts of a group's state lie. Private to stream/.
//
//   words   first set of accumulators | [second set] | [id] | [epoch] | [sets]
//   texts   first set | [second set]
//
// The second set is there where EMIT FINAL must tell apart what came in time: a row that comes after its own
// partition's watermark has passed the window's end, and before end + lateness, goes to the second set, so that the
// first one holds what every partition had accepted up to its own close, however the partitions were interleaved.
// stream-sql.md 4.4 (iii).
#pragma once

#include "stream/detail/aggregate.h"
#include "stream/detail/group_table.h"

#include <cstdint>
#include <string>

namespace weir::stream::detail {

constexpr std::uint32_t no_word = UINT32_MAX;

enum RowSets : std::uint64_t { first_has_rows = 1, second_has_rows = 2 };

struct GroupLayout {
    AggregateLayout aggregates;
    bool has_second = false;
    std::uint32_t id_word = no_word;     // a number that no other group of the view has, for its distinct values
    std::uint32_t epoch_word = no_word;  // EVERY: in which it changed last
    std::uint32_t sets_word = no_word;   // RowSets
    std::uint32_t words = 0;
    std::uint32_t texts = 0;
};

// A group's state, wherever it lies.
struct GroupState {
    std::string_view key;
    const std::uint64_t* words = nullptr;
    const std::string* texts = nullptr;
    std::uint32_t index = no_group;  // no_group: only the state store has it

    Accumulators first() const { return {words, texts}; }
    Accumulators second(const GroupLayout& layout) const {
        return {words + layout.aggregates.words, texts + layout.aggregates.texts};
    }
};

inline GroupState group_state(GroupTable& table, std::uint32_t index) {
    const Group& group = table.group(index);
    return {group.key(), table.words(index), group.texts.get(), index};
}

}  // namespace weir::stream::detail
