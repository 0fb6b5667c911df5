// Waiting for an index to be visible, on a pool thread, without holding up the end of the server.
#pragma once

#include "base/ids.h"
#include "base/result.h"
#include "http/detail/call.h"
#include "replica/shard.h"

#include <atomic>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace weir::http {

struct ShardIndex {
    ShardId shard;
    LogIndex index;
    bool operator==(const ShardIndex&) const = default;
};
// "0:17" or "0:17,1:3", at most 64. Errors: invalid_argument.
Result<std::vector<ShardIndex>> parse_min_index(std::string_view text);
std::string index_text(ShardId shard, LogIndex index);  // "0:17"

// Errors: recovering, until everything that was committed before the start is applied.
Status check_ready(const RouteContext& context);

// True once `shard` shows `index`; false: `timeout_ms` has passed or the server is stopping.
bool wait_visible(const RouteContext& context, replica::ShardPort& shard, LogIndex index, std::int64_t timeout_ms);

// How long a read without min_index waits for what was committed when it came: a client that writes and then reads sees
// its write, and a shard that lags does not hold readers up for longer.
inline constexpr std::int64_t own_writes_wait_ms = 1000;

// Digits only, at most `max`.
std::optional<std::int64_t> parse_unsigned(std::string_view text, std::int64_t max);

// Whether every parameter is one of `known`; else the problem that names the first that is not.
std::optional<Problem> check_known(const Parameters& parameters, std::initializer_list<std::string_view> known);

Problem bad_parameter(std::string detail);

}  // namespace weir::http
