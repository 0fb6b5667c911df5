// The sets of count(DISTINCT x): exact, one a group and aggregate. Private to stream/. Owner: the apply thread.
//
// A value of a set is a group of its own, of a cache of its own: window | id of the group it belongs to (8, big-endian)
// | number of the aggregate (2, big-endian) | the value. So sets are read back, evicted, checkpointed and dropped as
// groups are, a checkpoint writes the values that are new and not whole sets, and memory stays within its bound.
//
// A set is a set whatever the order: no row's place shows. Values are equal as SQL's are: 1 and 1.0 are one value, text
// and blob are two. With a second set of accumulators (group_layout.h), a value that came in time counts in the first
// one, another in the second; its word says where it counts now.
#pragma once

#include "base/result.h"
#include "stream/detail/aggregate.h"
#include "stream/detail/group_cache.h"
#include "stream/detail/group_layout.h"
#include "stream/detail/key_plan.h"

#include <cstdint>
#include <vector>

namespace weir::stream::detail {

class DistinctSets {
  public:
    DistinctSets(const record::Schema& schema, const TumblePlan& plan, const GroupLayout& layout, std::string prefix,
                 std::uint64_t cache_bytes, StateStore& state, StateBudget& budget);

    Status load() { return values_.load(); }
    GroupCache& values() { return values_; }
    const GroupCache& values() const { return values_; }

    // Finds or makes the values of these rows; new ones count when keep() follows, not when forget() does. Errors:
    // too_large, corrupt, io.
    Status find(const GroupedRows& rows, GroupTable& groups);
    // Counts what find() found.
    void keep(const GroupedRows& rows, GroupTable& groups);
    void forget() { values_.forget_created(); }

  private:
    struct Set {
        std::uint32_t word = 0;  // of the group, its size
        KeyPart argument;
    };
    struct Found {
        std::uint32_t row = 0;  // position in the rows
        std::uint32_t set = 0;
        std::uint32_t value = 0;  // index in values_
    };

    bool write_value(const Set& set, const GroupedRows& rows, std::size_t i);

    const GroupLayout& layout_;
    std::vector<Set> sets_;
    GroupCache values_;
    KeyWriter writer_;
    std::vector<Found> found_;
};

}  // namespace weir::stream::detail
