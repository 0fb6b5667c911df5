#include "http/detail/json_text.h"

#include "base/limits.h"

#include <array>
#include <bitset>
#include <charconv>
#include <cmath>
#include <cstddef>

namespace weir::http {
namespace {

constexpr const char* hex_digits = "0123456789abcdef";

// Bytes of the UTF-8 sequence at `p` (RFC 3629: no overlong forms, no surrogates, nothing above U+10FFFF); 0: not one.
std::size_t utf8_length(const char* p, std::size_t left) {
    auto byte = [&](std::size_t i) { return static_cast<unsigned char>(p[i]); };
    auto tail = [&](std::size_t i) { return i < left && (byte(i) & 0xC0) == 0x80; };
    const unsigned lead = byte(0);
    if (lead < 0x80) return 1;
    if (lead < 0xC2) return 0;
    if (lead < 0xE0) return tail(1) ? 2 : 0;
    if (lead < 0xF0) {
        if (!tail(1) || !tail(2)) return 0;
        if (lead == 0xE0 && byte(1) < 0xA0) return 0;
        if (lead == 0xED && byte(1) > 0x9F) return 0;
        return 3;
    }
    if (lead > 0xF4 || !tail(1) || !tail(2) || !tail(3)) return 0;
    if (lead == 0xF0 && byte(1) < 0x90) return 0;
    if (lead == 0xF4 && byte(1) > 0x8F) return 0;
    return 4;
}

// A cursor over JSON text that only ever moves forward.
struct JsonText {
    std::string_view text;
    std::size_t at = 0;

    bool end() const { return at == text.size(); }
    char peek() const { return end() ? '\0' : text[at]; }
    bool take(char c) {
        if (end() || text[at] != c) return false;
        ++at;
        return true;
    }
    void space() {
        while (!end() && (text[at] == ' ' || text[at] == '\t' || text[at] == '\n' || text[at] == '\r'))
            ++at;
    }
    bool digits() {
        const std::size_t from = at;
        while (!end() && text[at] >= '0' && text[at] <= '9')
            ++at;
        return at > from;
    }
    bool word(std::string_view w) {
        if (text.substr(at, w.size()) != w) return false;
        at += w.size();
        return true;
    }
    bool string() {
        if (!take('"')) return false;
        while (!end()) {
            const char c = text[at++];
            if (c == '"') return true;
            if (static_cast<unsigned char>(c) < 0x20) return false;
            if (c != '\\') continue;
            if (end()) return false;
            const char e = text[at++];
            if (std::string_view("\"\\/bfnrt").find(e) != std::string_view::npos) continue;
            if (e != 'u' || text.size() - at < 4) return false;
            for (int i = 0; i < 4; ++i)
                if (std::string_view("0123456789abcdefABCDEF").find(text[at++]) == std::string_view::npos) return false;
        }
        return false;
    }
    bool number() {
        take('-');
        if (!take('0') && !digits()) return false;
        if (take('.') && !digits()) return false;
        if (peek() == 'e' || peek() == 'E') {
            ++at;
            if (!take('+')) take('-');
            if (!digits()) return false;
        }
        return true;
    }
    bool scalar() {
        switch (peek()) {
            case '"':
                return string();
            case 't':
                return word("true");
            case 'f':
                return word("false");
            case 'n':
                return word("null");
            default:
                return number();
        }
    }
};

}  // namespace

void append_json_string(std::string& out, std::string_view text) {
    out += '"';
    std::size_t from = 0, at = 0;
    auto flush = [&] { out.append(text, from, at - from); };
    while (at < text.size()) {
        const auto c = static_cast<unsigned char>(text[at]);
        if (c >= 0x20 && c < 0x80 && c != '"' && c != '\\') [[likely]] {
            ++at;
            continue;
        }
        if (c >= 0x80) {
            const std::size_t length = utf8_length(text.data() + at, text.size() - at);
            if (length > 0) {
                at += length;
                continue;
            }
        }
        flush();
        switch (c) {
            case '"':
                out += "\\\"";
                break;
            case '\\':
                out += "\\\\";
                break;
            case '\n':
                out += "\\n";
                break;
            case '\r':
                out += "\\r";
                break;
            case '\t':
                out += "\\t";
                break;
            default:
                if (c >= 0x80) {
                    out += "\xEF\xBF\xBD";
                } else {
                    out += "\\u00";
                    out += hex_digits[c >> 4];
                    out += hex_digits[c & 15];
                }
        }
        from = ++at;
    }
    flush();
    out += '"';
}

void append_integer(std::string& out, std::int64_t value) {
    std::array<char, 24> text;
    const auto end = std::to_chars(text.data(), text.data() + text.size(), value).ptr;
    out.append(text.data(), end);
}

void append_json_real(std::string& out, double value) {
    if (!std::isfinite(value)) {
        out += "null";
        return;
    }
    std::array<char, 32> text;
    const auto end = std::to_chars(text.data(), text.data() + text.size(), value).ptr;
    const std::string_view shortest(text.data(), static_cast<std::size_t>(end - text.data()));
    out += shortest;
    if (shortest.find_first_of(".e") == std::string_view::npos) out += ".0";
}

void append_base64(std::string& out, std::string_view bytes) {
    constexpr const char* alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    std::size_t i = 0;
    auto byte = [&](std::size_t k) { return static_cast<std::uint32_t>(static_cast<unsigned char>(bytes[k])); };
    for (; i + 2 < bytes.size(); i += 3) {
        const std::uint32_t v = byte(i) << 16 | byte(i + 1) << 8 | byte(i + 2);
        const std::array<char, 4> four{alphabet[v >> 18], alphabet[v >> 12 & 63], alphabet[v >> 6 & 63],
                                       alphabet[v & 63]};
        out.append(four.data(), 4);
    }
    const std::size_t left = bytes.size() - i;
    if (left == 0) return;
    const std::uint32_t v = byte(i) << 16 | (left == 2 ? byte(i + 1) << 8 : 0u);
    out += alphabet[v >> 18];
    out += alphabet[v >> 12 & 63];
    out += left == 2 ? alphabet[v >> 6 & 63] : '=';
    out += '=';
}

void append_comma(std::string& out) {
    if (!out.ends_with('{') && !out.ends_with('[')) out += ',';
}

void append_name(std::string& out, std::string_view name) {
    append_comma(out);
    out += '"';
    out += name;
    out += "\":";
}

void append_member(std::string& out, std::string_view name, std::string_view text) {
    append_name(out, name);
    append_json_string(out, text);
}

void append_member(std::string& out, std::string_view name, std::int64_t number) {
    append_name(out, name);
    append_integer(out, number);
}

void append_flag(std::string& out, std::string_view name, bool flag) {
    append_name(out, name);
    out += flag ? "true" : "false";
}

bool is_json(std::string_view text) {
    constexpr std::size_t depth_max = 512;
    JsonText in{text};
    std::bitset<depth_max> is_object;
    std::size_t depth = 0;
    in.space();
    while (true) {
        // Here a value begins.
        if (in.take('{')) {
            if (depth == depth_max) return false;
            is_object[depth++] = true;
            in.space();
            if (!in.take('}')) {
                if (!in.string()) return false;
                in.space();
                if (!in.take(':')) return false;
                in.space();
                continue;
            }
            --depth;
        } else if (in.take('[')) {
            if (depth == depth_max) return false;
            is_object[depth++] = false;
            in.space();
            if (!in.take(']')) continue;
            --depth;
        } else if (!in.scalar()) {
            return false;
        }
        // Here a value has ended: close what ends with it, until another value is due.
        while (true) {
            in.space();
            if (depth == 0) return in.end();
            if (in.take(',')) {
                in.space();
                if (is_object[depth - 1]) {
                    if (!in.string()) return false;
                    in.space();
                    if (!in.take(':')) return false;
                    in.space();
                }
                break;
            }
            if (!in.take(is_object[depth - 1] ? '}' : ']')) return false;
            --depth;
        }
    }
}

bool is_shallow_json(std::string_view text) {
    std::size_t depth = 0;
    bool in_string = false;
    for (std::size_t i = 0; i < text.size(); ++i) {
        const char c = text[i];
        if (in_string) {
            if (c == '\\')
                ++i;
            else if (c == '"')
                in_string = false;
        } else if (c == '"') {
            in_string = true;
        } else if (c == '{' || c == '[') {
            if (++depth > limits::json_depth_max) return false;
        } else if ((c == '}' || c == ']') && depth > 0) {
            --depth;
        }
    }
    return true;
}

}  // namespace weir::http
