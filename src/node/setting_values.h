// What settings are made of: sizes, addresses, words. Text in, values out; no state.
#pragma once

#include "base/result.h"

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace weir::node {

// "512MiB", "1GiB", "64KB", "4096", "1.5 GiB": KB is 1000, KiB is 1024. Errors: invalid_argument (not a size, over
// 2^62).
Result<std::uint64_t> parse_size(std::string_view text);

// true, yes, on, 1 and their opposites. Errors: invalid_argument.
Result<bool> parse_bool(std::string_view text);
// Cut at commas, trimmed; empty items are left out.
std::vector<std::string> parse_list(std::string_view text);
std::string_view trimmed(std::string_view text);  // of spaces and tabs

struct HostPort {
    std::string host;  // without the brackets of an IPv6 literal
    std::uint16_t port = 0;
};
// "127.0.0.1:8080", "[::1]:8080", "localhost:0". Errors: invalid_argument.
Result<HostPort> parse_host_port(std::string_view text);
// 127.0.0.0/8, ::1 or localhost. Any other name may lead anywhere, so it is not.
bool is_loopback(std::string_view host);

}  // namespace weir::node
