#include "node/console.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cmath>

namespace weir::node {
namespace {

// One code point of UTF-8 from the front; a broken byte is one code point by itself.
char32_t take_code_point(std::string_view& text) {
    const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
    const unsigned char lead = byte(0);
    std::size_t length = lead < 0x80 ? 1 : lead >= 0xf0 ? 4 : lead >= 0xe0 ? 3 : lead >= 0xc2 ? 2 : 1;
    char32_t point = length == 1 ? lead : lead & (0x7fu >> length);
    if (length > text.size()) length = 1;
    for (std::size_t i = 1; i < length; ++i) {
        if ((byte(i) & 0xc0) != 0x80) {
            length = 1;
            point = 0xfffd;
            break;
        }
        point = point << 6 | (byte(i) & 0x3fu);
    }
    text.remove_prefix(length);
    return point;
}

struct Range {
    char32_t first;
    char32_t last;
};

// The blocks that matter in practice, after Unicode's EastAsianWidth (W, F) and general category Mn.
constexpr std::array<Range, 11> wide_ranges{{{0x1100, 0x115f},
                                             {0x2e80, 0x303e},
                                             {0x3041, 0xa4cf},
                                             {0xac00, 0xd7a3},
                                             {0xf900, 0xfaff},
                                             {0xfe30, 0xfe6f},
                                             {0xff00, 0xff60},
                                             {0xffe0, 0xffe6},
                                             {0x1f300, 0x1f64f},
                                             {0x1f900, 0x1f9ff},
                                             {0x20000, 0x3fffd}}};
constexpr std::array<Range, 4> zero_ranges{{{0x0300, 0x036f}, {0x200b, 0x200f}, {0x20d0, 0x20ff}, {0xfe00, 0xfe0f}}};

template <std::size_t N>
bool within(const std::array<Range, N>& ranges, char32_t point) {
    return std::ranges::any_of(ranges, [&](const Range& r) { return r.first <= point && point <= r.last; });
}

std::size_t edit_distance(std::string_view a, std::string_view b) {
    std::vector<std::size_t> row(b.size() + 1);
    for (std::size_t j = 0; j <= b.size(); ++j)
        row[j] = j;
    for (std::size_t i = 1; i <= a.size(); ++i) {
        std::size_t diagonal = row[0];
        row[0] = i;
        for (std::size_t j = 1; j <= b.size(); ++j) {
            const std::size_t change = diagonal + (a[i - 1] == b[j - 1] ? 0 : 1);
            diagonal = row[j];
            row[j] = std::min({change, row[j] + 1, row[j - 1] + 1});
        }
    }
    return row[b.size()];
}

std::string with_one_digit(double value, const char* unit) {
    char text[48];
    std::snprintf(text, sizeof text, value < 9.95 ? "%.1f %s" : "%.0f %s", value, unit);
    return text;
}

}  // namespace

bool Console::write(std::string_view data) const {
    const bool wrote = std::fwrite(data.data(), 1, data.size(), out) == data.size();
    if (!wrote && write_error == 0) write_error = errno;
    return wrote;
}

bool Console::flush() const {
    const bool flushed = std::fflush(out) == 0;
    if (!flushed && write_error == 0) write_error = errno;
    return flushed;
}

void Console::say(std::string_view line) const {
    std::fprintf(err, "%.*s\n", static_cast<int>(line.size()), line.data());
}

void Console::error(std::string_view text, std::string_view next) const {
    flush();
    std::fprintf(err, "error: %.*s\n", static_cast<int>(text.size()), text.data());
    if (!next.empty()) std::fprintf(err, "  try: %.*s\n", static_cast<int>(next.size()), next.data());
}

std::string printable(std::string_view text) {
    std::string out;
    out.reserve(text.size());
    for (std::size_t i = 0; i < text.size(); ++i) {
        const auto c = static_cast<unsigned char>(text[i]);
        const bool c1 = c == 0xc2 && i + 1 < text.size() && (static_cast<unsigned char>(text[i + 1]) & 0xe0) == 0x80;
        if (c == '\n') {
            out += "\\n";
        } else if (c == '\t') {
            out += "\\t";
        } else if (c == '\r') {
            out += "\\r";
        } else if (c < 0x20 || c == 0x7f || c1) {
            char escape[8];
            std::snprintf(escape, sizeof escape, "\\x%02x", c1 ? static_cast<unsigned char>(text[++i]) : c);
            out += escape;
        } else {
            out += static_cast<char>(c);
        }
    }
    return out;
}

int display_width(std::string_view text) {
    int width = 0;
    while (!text.empty()) {
        const char32_t point = take_code_point(text);
        width += within(zero_ranges, point) ? 0 : within(wide_ranges, point) ? 2 : 1;
    }
    return width;
}

std::string people_count(std::int64_t count) {
    std::string digits = std::to_string(count);
    const std::size_t first = count < 0 ? 1 : 0;
    for (std::size_t at = digits.size(); at > first + 3;) {
        at -= 3;
        digits.insert(at, ",");
    }
    return digits;
}

std::string people_count_of(std::int64_t count, std::string_view noun) {
    return people_count(count) + " " + std::string(noun) + (count == 1 ? "" : "s");
}

std::string people_bytes(double bytes) {
    constexpr std::array<const char*, 6> units{"B", "KiB", "MiB", "GiB", "TiB", "PiB"};
    std::size_t unit = 0;
    while (bytes >= 1023.5 && unit + 1 < units.size()) {
        bytes /= 1024;
        ++unit;
    }
    if (unit == 0) return std::to_string(static_cast<std::int64_t>(bytes)) + " B";
    char text[48];
    std::snprintf(text, sizeof text, bytes < 99.95 ? "%.1f %s" : "%.0f %s", bytes, units[unit]);
    return text;
}

std::string people_duration_ms(double ms) {
    if (ms < 0.9995) return std::to_string(std::lround(ms * 1000)) + " µs";
    if (ms < 999.5) return with_one_digit(ms, "ms");
    if (ms < 59'950) return with_one_digit(ms / 1000, "s");
    const auto seconds = static_cast<std::int64_t>(ms / 1000);
    char text[64];
    if (seconds < 3600) {
        std::snprintf(text, sizeof text, "%d m %02d s", static_cast<int>(seconds / 60), static_cast<int>(seconds % 60));
    } else {
        std::snprintf(text, sizeof text, "%lld h %02d m", static_cast<long long>(seconds / 3600),
                      static_cast<int>(seconds / 60 % 60));
    }
    return text;
}

std::string nearest(std::string_view word, const std::vector<std::string>& candidates) {
    constexpr std::size_t word_bytes_max = 64;  // the distance costs the product of both lengths
    if (word.size() > word_bytes_max) return {};
    std::string best;
    std::size_t best_distance = word.size() / 3 + 2;
    for (const std::string& candidate : candidates) {
        const std::size_t distance = edit_distance(word, candidate);
        // Changing every letter makes any word into any other: that is no resemblance.
        if (distance < best_distance && distance < std::max(word.size(), candidate.size())) {
            best_distance = distance;
            best = candidate;
        }
    }
    return best;
}

}  // namespace weir::node
