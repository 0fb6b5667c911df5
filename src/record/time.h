// RFC 3339 (and epoch milliseconds) to time and back; durations as SQL writes them.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace weir::record {

// "2015-05-17T10:05:04.123+02:00": any offset, 'T', 't' or ' ', fraction cut to ms, leap second 60 allowed. nullopt:
// not one. Years 0000 to 9999. A date alone ("2015-05-17") is accepted only by parse_time_literal.
std::optional<std::int64_t> parse_rfc3339(std::string_view text);

// What SQL literals may be: RFC 3339, a date alone (midnight UTC), "YYYY-MM-DD HH:MM[:SS[.fff]]" without zone (UTC).
std::optional<std::int64_t> parse_time_literal(std::string_view text);

// "2015-05-17T10:05:04.000Z" always 24 bytes for years 0000-9999; outside of them the plain integer as text.
std::string format_rfc3339(std::int64_t epoch_ms);

// "30m", "7d", "250ms", "1w": ms s m h d w. nullopt: not a duration, negative, or beyond 2^62 ms.
std::optional<std::int64_t> parse_duration_ms(std::string_view text);
std::string format_duration(std::int64_t ms);  // the largest of d h m s ms that divides: "7d", "90m"; 0 is "0s"

}  // namespace weir::record
