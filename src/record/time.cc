// RFC 3339 section 5.6, proleptic Gregorian. Days are counted in years that begin on the first of March, so that the
// leap day is the last of its year and the month table needs no exception.
#include "record/time.h"

namespace weir::record {
namespace {

constexpr std::int64_t day_ms = 86'400'000;
constexpr std::int64_t days_before_epoch = 719'468;          // 0000-03-01 to 1970-01-01
constexpr std::int64_t year_0_ms = -62'167'219'200'000;      // 0000-01-01T00:00:00Z
constexpr std::int64_t year_10000_ms = 253'402'300'800'000;  // the first millisecond after 9999

constexpr std::int64_t days_since_epoch(int year, int month, int day) {
    const int shifted = month > 2 ? month - 3 : month + 9;  // months since March
    const std::int64_t y = month > 2 ? year : year - 1;     // -1 for the first two months of year 0
    const std::int64_t era = (y >= 0 ? y : y - 399) / 400;
    const std::int64_t of_era = y - era * 400;
    const std::int64_t day_of_year = (153 * shifted + 2) / 5 + day - 1;
    return era * 146'097 + of_era * 365 + of_era / 4 - of_era / 100 + day_of_year - days_before_epoch;
}
static_assert(days_since_epoch(1970, 1, 1) == 0 && days_since_epoch(2000, 2, 29) == 11'016);
static_assert(days_since_epoch(0, 1, 1) * day_ms == year_0_ms &&
              days_since_epoch(10'000, 1, 1) * day_ms == year_10000_ms);

constexpr bool is_leap(int year) {
    return (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
}

int days_in_month(int year, int month) {
    static constexpr std::uint8_t days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    return month == 2 && is_leap(year) ? 29 : days[month - 1];
}

// Exactly `count` digits, or -1.
template <int count>
int digits(const char* at) {
    int value = 0;
    for (int i = 0; i < count; ++i) {
        const unsigned digit = static_cast<unsigned>(at[i]) - '0';
        if (digit > 9) return -1;
        value = value * 10 + static_cast<int>(digit);
    }
    return value;
}

// "YYYY-MM-DD" at the front of at least 10 bytes: milliseconds of its midnight, or nullopt.
std::optional<std::int64_t> parse_date(const char* at) {
    const int year = digits<4>(at), month = digits<2>(at + 5), day = digits<2>(at + 8);
    if (year < 0 || at[4] != '-' || at[7] != '-' || month < 1 || month > 12 || day < 1) return std::nullopt;
    if (day > 28 && day > days_in_month(year, month)) return std::nullopt;
    return days_since_epoch(year, month, day) * day_ms;
}

// ".fff..." at `i`, cut to milliseconds; leaves `i` behind it. False: a point without digits.
bool parse_fraction(std::string_view text, std::size_t& i, std::int64_t& ms) {
    if (i >= text.size() || text[i] != '.') return true;
    const std::size_t begin = ++i;
    std::int64_t unit = 100;
    for (; i < text.size() && text[i] >= '0' && text[i] <= '9'; ++i) {
        ms += (text[i] - '0') * unit;
        unit /= 10;
    }
    return i > begin;
}

// "Z" or "+hh:mm" that must be the whole rest: what to subtract, in milliseconds.
std::optional<std::int64_t> parse_zone(std::string_view rest) {
    if (rest == "Z" || rest == "z") return 0;
    if (rest.size() != 6 || (rest[0] != '+' && rest[0] != '-') || rest[3] != ':') return std::nullopt;
    const int hours = digits<2>(rest.data() + 1), minutes = digits<2>(rest.data() + 4);
    if (hours < 0 || hours > 23 || minutes < 0 || minutes > 59) return std::nullopt;
    const std::int64_t ms = (hours * 60 + minutes) * 60'000LL;
    return rest[0] == '-' ? -ms : ms;
}

char* put_digits(char* at, std::int64_t value, int count) {
    for (int i = count; i-- > 0; value /= 10)
        at[i] = static_cast<char>('0' + value % 10);
    return at + count;
}

struct Unit {
    std::string_view name;
    std::int64_t ms;
};
constexpr Unit units[] = {{"w", 7 * day_ms}, {"d", day_ms}, {"h", 3'600'000}, {"m", 60'000}, {"s", 1'000}, {"ms", 1}};

}  // namespace

std::optional<std::int64_t> parse_rfc3339(std::string_view text) {
    if (text.size() < 20) return std::nullopt;
    const char* at = text.data();
    const std::optional<std::int64_t> date = parse_date(at);
    if (!date || (at[10] != 'T' && at[10] != 't' && at[10] != ' ')) return std::nullopt;
    const int hour = digits<2>(at + 11), minute = digits<2>(at + 14), second = digits<2>(at + 17);
    if (at[13] != ':' || at[16] != ':') return std::nullopt;
    if (hour < 0 || hour > 23 || minute < 0 || minute > 59 || second < 0 || second > 60) return std::nullopt;
    std::size_t i = 19;
    std::int64_t ms = *date + ((hour * 60 + minute) * 60 + second) * 1000LL;
    if (!parse_fraction(text, i, ms)) return std::nullopt;
    const std::optional<std::int64_t> offset = parse_zone(text.substr(i));
    if (!offset) return std::nullopt;
    return ms - *offset;
}

std::optional<std::int64_t> parse_time_literal(std::string_view text) {
    if (const std::optional<std::int64_t> full = parse_rfc3339(text)) return full;
    if (text.size() < 10) return std::nullopt;
    const char* at = text.data();
    const std::optional<std::int64_t> date = parse_date(at);
    if (!date || text.size() == 10) return date;
    if (text.size() < 16 || (at[10] != 'T' && at[10] != 't' && at[10] != ' ') || at[13] != ':') return std::nullopt;
    const int hour = digits<2>(at + 11), minute = digits<2>(at + 14);
    if (hour < 0 || hour > 23 || minute < 0 || minute > 59) return std::nullopt;
    std::int64_t ms = *date + (hour * 60 + minute) * 60'000LL;
    if (text.size() == 16) return ms;
    const int second = text.size() >= 19 && at[16] == ':' ? digits<2>(at + 17) : -1;
    if (second < 0 || second > 60) return std::nullopt;
    ms += second * 1000LL;
    std::size_t i = 19;
    if (!parse_fraction(text, i, ms) || i != text.size()) return std::nullopt;
    return ms;
}

std::string format_rfc3339(std::int64_t epoch_ms) {
    if (epoch_ms < year_0_ms || epoch_ms >= year_10000_ms) return std::to_string(epoch_ms);
    std::int64_t days = epoch_ms / day_ms, ms = epoch_ms % day_ms;
    if (ms < 0) {
        ms += day_ms;
        --days;
    }
    days += days_before_epoch;
    const std::int64_t era = (days >= 0 ? days : days - 146'096) / 146'097;
    const std::int64_t of_era = days - era * 146'097;
    const std::int64_t year_of_era = (of_era - of_era / 1'460 + of_era / 36'524 - of_era / 146'096) / 365;
    const std::int64_t day_of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    const std::int64_t shifted = (5 * day_of_year + 2) / 153;
    const std::int64_t month = shifted < 10 ? shifted + 3 : shifted - 9;
    const std::int64_t year = era * 400 + year_of_era + (month <= 2 ? 1 : 0);

    std::string out(24, 'Z');
    char* at = put_digits(out.data(), year, 4);
    *at++ = '-';
    at = put_digits(at, month, 2);
    *at++ = '-';
    at = put_digits(at, day_of_year - (153 * shifted + 2) / 5 + 1, 2);
    *at++ = 'T';
    at = put_digits(at, ms / 3'600'000, 2);
    *at++ = ':';
    at = put_digits(at, ms / 60'000 % 60, 2);
    *at++ = ':';
    at = put_digits(at, ms / 1000 % 60, 2);
    *at++ = '.';
    put_digits(at, ms % 1000, 3);
    return out;
}

std::optional<std::int64_t> parse_duration_ms(std::string_view text) {
    constexpr std::int64_t longest_ms = std::int64_t{1} << 62;
    std::size_t i = 0;
    std::int64_t count = 0;
    for (; i < text.size() && text[i] >= '0' && text[i] <= '9'; ++i) {
        const int digit = text[i] - '0';
        if (count > (longest_ms - digit) / 10) return std::nullopt;
        count = count * 10 + digit;
    }
    if (i == 0) return std::nullopt;
    for (const Unit& unit : units)
        if (text.substr(i) == unit.name) {
            if (count > longest_ms / unit.ms) return std::nullopt;
            return count * unit.ms;
        }
    return std::nullopt;
}

std::string format_duration(std::int64_t ms) {
    if (ms == 0) return "0s";
    for (const Unit& unit : units)
        if (unit.name != "w" && ms % unit.ms == 0) return std::to_string(ms / unit.ms) + std::string(unit.name);
    return std::to_string(ms) + "ms";
}

}  // namespace weir::record
