// JSON values as the bytes they were sent as: an event that is parsed and printed again loses the spelling of its
// numbers, its duplicate keys and its white space, and `weir tail` promises the event itself.
#pragma once

#include "base/result.h"

#include <string_view>
#include <utility>
#include <vector>

namespace weir::node {

struct RawMember {
    std::string_view key;    // still escaped, without the quotes
    std::string_view value;  // one value, without white space around
};

// The members of an object and the items of an array, in order; views into `text`. Iterative; checks the structure, not
// every token. Errors: invalid_argument (not an object, not an array, cut off).
Result<std::vector<RawMember>> raw_members(std::string_view text);
Result<std::vector<std::string_view>> raw_items(std::string_view text);

// The value of a member, "" where there is none.
std::string_view raw_member(const std::vector<RawMember>& members, std::string_view key);

}  // namespace weir::node
