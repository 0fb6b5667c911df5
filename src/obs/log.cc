// Log lines: our own escaping and limits, spdlog for the time, the sink and its lock.
#include "obs/log.h"

#include <algorithm>
#include <atomic>
#include <memory>
#include <spdlog/logger.h>
#include <spdlog/pattern_formatter.h>
#include <spdlog/sinks/stdout_sinks.h>

namespace weir::obs {
namespace {

std::atomic<Level> least_level = Level::info;

constexpr std::size_t time_and_level_bytes = 33;  // "2015-05-17T10:05:04.123Z warning "
constexpr std::size_t text_bytes_max = log_line_bytes_max - time_and_level_bytes - 1;

bool is_plain(char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           std::string_view("._-:/+@%,").find(c) != std::string_view::npos;
}

// Length of the UTF-8 sequence at the front of `text` that is safe to show; 0: escape its first byte.
std::size_t showable(std::string_view text) {
    const auto byte = [&](std::size_t i) { return i < text.size() ? static_cast<unsigned char>(text[i]) : 0u; };
    const auto follows = [&](std::size_t i) { return (byte(i) & 0xC0u) == 0x80u; };
    const unsigned first = byte(0);
    if (first < 0x80) return first >= 0x20 && first != 0x7F ? 1 : 0;
    // C1 controls (U+0080 to U+009F) steer terminals as the escape byte does.
    if (first >= 0xC2 && first <= 0xDF) return follows(1) && !(first == 0xC2 && byte(1) < 0xA0) ? 2 : 0;
    if (first >= 0xE0 && first <= 0xEF) {
        const bool overlong = first == 0xE0 && byte(1) < 0xA0, surrogate = first == 0xED && byte(1) > 0x9F;
        // U+2028 and U+2029 end a line for some readers; U+202A to U+202E and U+2066 to U+2069 reorder it.
        const bool line_end = first == 0xE2 && byte(1) == 0x80 && byte(2) >= 0xA8 && byte(2) <= 0xAE;
        const bool reorders = first == 0xE2 && byte(1) == 0x81 && byte(2) >= 0xA6 && byte(2) <= 0xA9;
        return follows(1) && follows(2) && !overlong && !surrogate && !line_end && !reorders ? 3 : 0;
    }
    if (first >= 0xF0 && first <= 0xF4) {
        const bool overlong = first == 0xF0 && byte(1) < 0x90, too_high = first == 0xF4 && byte(1) > 0x8F;
        return follows(1) && follows(2) && follows(3) && !overlong && !too_high ? 4 : 0;
    }
    return 0;
}

// Appends one token that ends where it seems to end. False: `out` has reached the limit and the rest was left out.
bool append_escaped(std::string& out, std::string_view text) {
    if (!text.empty() && std::ranges::all_of(text, is_plain)) {
        const std::size_t room = text_bytes_max - std::min(text_bytes_max, out.size());
        out.append(text.substr(0, room));
        return text.size() <= room;
    }
    constexpr const char* hex = "0123456789abcdef";
    out.push_back('"');
    while (!text.empty()) {
        if (out.size() >= text_bytes_max) return false;
        const char c = text.front();
        std::size_t taken = showable(text);
        if (c == '"' || c == '\\') {
            out.push_back('\\');
            out.push_back(c);
        } else if (taken > 0) {
            out.append(text.substr(0, taken));
        } else if (c == '\n' || c == '\r' || c == '\t') {
            out.append(c == '\n' ? "\\n" : c == '\r' ? "\\r" : "\\t");
        } else {
            const auto byte = static_cast<unsigned char>(c);
            out.append("\\x");
            out.push_back(hex[byte >> 4]);
            out.push_back(hex[byte & 15]);
        }
        text.remove_prefix(std::max<std::size_t>(taken, 1));
    }
    out.push_back('"');
    return true;
}

// Cuts at the limit, never within a UTF-8 sequence, and says so.
void cut(std::string& out) {
    constexpr std::string_view mark = "...";
    std::size_t end = std::min(out.size(), text_bytes_max - mark.size());
    while (end > 0 && (static_cast<unsigned char>(out[end]) & 0xC0u) == 0x80u)
        end--;
    out.resize(end);
    out.append(mark);
}

spdlog::level::level_enum spdlog_level(Level level) {
    switch (level) {
        case Level::debug:
            return spdlog::level::debug;
        case Level::info:
            return spdlog::level::info;
        case Level::warning:
            return spdlog::level::warn;
        case Level::error:
            return spdlog::level::err;
    }
    return spdlog::level::err;
}

spdlog::logger& logger() {
    // Made at the first line and never destroyed: threads may still log while the program ends.
    static spdlog::logger* const made = [] {
        auto* fresh = new spdlog::logger("weir", std::make_shared<spdlog::sinks::stderr_sink_mt>());
        fresh->set_level(spdlog::level::trace);
        fresh->set_formatter(std::make_unique<spdlog::pattern_formatter>("%Y-%m-%dT%H:%M:%S.%eZ %l %v",
                                                                         spdlog::pattern_time_type::utc, "\n"));
        fresh->set_error_handler([](const std::string&) {});  // stderr is gone: there is nobody left to tell
        return fresh;
    }();
    return *made;
}

}  // namespace

std::string format_fields(std::string_view event, std::initializer_list<Field> fields) {
    std::string out;
    bool whole = append_escaped(out, event);
    for (const Field& field : fields) {
        if (!whole) break;
        out.push_back(' ');
        whole = append_escaped(out, field.key);
        if (!whole) break;
        out.push_back('=');
        whole = append_escaped(out, field.value);
    }
    if (!whole || out.size() > text_bytes_max) cut(out);
    return out;
}

void set_log_level(Level least) {
    least_level.store(least, std::memory_order_relaxed);
}

void log(Level level, std::string_view event, std::initializer_list<Field> fields) {
    if (level < least_level.load(std::memory_order_relaxed)) return;
    const std::string text = format_fields(event, fields);
    // The overload without format arguments: braces in the text mean nothing.
    logger().log(spdlog_level(level), spdlog::string_view_t(text.data(), text.size()));
}

}  // namespace weir::obs
