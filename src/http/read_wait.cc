#include "http/detail/read_wait.h"

#include <algorithm>
#include <charconv>
#include <chrono>

namespace weir::http {

std::optional<std::int64_t> parse_unsigned(std::string_view text, std::int64_t max) {
    if (text.empty() || text[0] < '0' || text[0] > '9') return std::nullopt;
    std::int64_t value = 0;
    const auto [end, ec] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (ec != std::errc() || end != text.data() + text.size() || value > max) return std::nullopt;
    return value;
}

Result<std::vector<ShardIndex>> parse_min_index(std::string_view text) {
    constexpr std::size_t shards_max = 64;
    const Error bad{Errc::invalid_argument, "min_index is shard:index, several joined by commas: \"0:17\""};
    std::vector<ShardIndex> out;
    while (true) {
        const std::string_view one = text.substr(0, text.find(','));
        const std::size_t colon = one.find(':');
        if (colon == std::string_view::npos || out.size() == shards_max) return bad;
        const auto shard = parse_unsigned(one.substr(0, colon), UINT16_MAX);
        const auto index = parse_unsigned(one.substr(colon + 1), INT64_MAX);
        if (!shard || !index) return bad;
        out.push_back({ShardId(static_cast<std::uint16_t>(*shard)), LogIndex(static_cast<std::uint64_t>(*index))});
        if (one.size() == text.size()) return out;
        text.remove_prefix(one.size() + 1);
    }
}

std::string index_text(ShardId shard, LogIndex index) {
    return std::to_string(shard.value) + ':' + std::to_string(index.value);
}

Status check_ready(const RouteContext& context) {
    if (context.parts.catalog.home().ready()) return {};
    return Error{Errc::recovering, "this node is still applying what was committed before it started"};
}

bool wait_visible(const RouteContext& context, replica::ShardPort& shard, LogIndex index, std::int64_t timeout_ms) {
    // In slices, so that a stopping server waits for none of them to its end.
    constexpr std::int64_t slice_ms = 100;
    while (true) {
        if (shard.visible() >= index) return true;
        if (timeout_ms <= 0 || context.stopping.load()) return false;
        const std::int64_t slice = std::min(slice_ms, timeout_ms);
        if (shard.wait_visible(index, std::chrono::milliseconds(slice))) return true;
        timeout_ms -= slice;
    }
}

Problem bad_parameter(std::string detail) {
    return problem_of({Errc::invalid_argument, std::move(detail)});
}

std::optional<Problem> check_known(const Parameters& parameters, std::initializer_list<std::string_view> known) {
    for (const auto& [name, value] : parameters) {
        if (std::find(known.begin(), known.end(), name) != known.end()) continue;
        std::string detail = "unknown parameter " + name + "; this route takes";
        const char* separator = " ";
        for (const std::string_view k : known) {
            detail += separator;
            detail += k;
            separator = ", ";
        }
        return bad_parameter(std::move(detail));
    }
    return std::nullopt;
}

}  // namespace weir::http
