#include "record/detail/json_scan.h"

namespace weir::record::detail {
namespace {

int hex_digit(char c) {
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    if (c >= 'A' && c <= 'F') return c - 'A' + 10;
    return -1;
}

// Four hexadecimal digits as a code unit, or -1.
int code_unit(const char* at) {
    int unit = 0;
    for (int i = 0; i < 4; ++i) {
        const int digit = hex_digit(at[i]);
        if (digit < 0) return -1;
        unit = unit << 4 | digit;
    }
    return unit;
}

bool is_high_surrogate(int unit) {
    return unit >= 0xD800 && unit <= 0xDBFF;
}
bool is_low_surrogate(int unit) {
    return unit >= 0xDC00 && unit <= 0xDFFF;
}

void append_utf8(std::string& out, std::uint32_t code) {
    const auto put = [&out](std::uint32_t byte) { out.push_back(static_cast<char>(byte)); };
    if (code < 0x80) {
        put(code);
    } else if (code < 0x800) {
        put(0xC0 | code >> 6);
        put(0x80 | (code & 0x3F));
    } else if (code < 0x10000) {
        put(0xE0 | code >> 12);
        put(0x80 | (code >> 6 & 0x3F));
        put(0x80 | (code & 0x3F));
    } else {
        put(0xF0 | code >> 18);
        put(0x80 | (code >> 12 & 0x3F));
        put(0x80 | (code >> 6 & 0x3F));
        put(0x80 | (code & 0x3F));
    }
}

}  // namespace

const char* Scanner::skip_escape(const char* at, const char* end) {
    if (end - at < 2) return fail(Fault::unclosed_string, end);
    switch (at[1]) {
        case '"':
        case '\\':
        case '/':
        case 'b':
        case 'f':
        case 'n':
        case 'r':
        case 't':
            return at + 2;
        case 'u':
            break;
        default:
            return fail(Fault::bad_escape, at);
    }
    const int unit = end - at >= 6 ? code_unit(at + 2) : -1;
    if (unit < 0) return fail(Fault::bad_escape, at);
    if (is_low_surrogate(unit)) return fail(Fault::lone_surrogate, at);
    if (!is_high_surrogate(unit)) return at + 6;
    if (end - at < 12 || at[6] != '\\' || at[7] != 'u' || !is_low_surrogate(code_unit(at + 8)))
        return fail(Fault::lone_surrogate, at);
    return at + 12;
}

void unescape(std::string_view inside, std::string& out) {
    for (;;) {
        const std::size_t plain = inside.find('\\');
        out.append(inside.substr(0, plain));
        if (plain == std::string_view::npos) return;
        const char* at = inside.data() + plain;
        std::size_t used = 2;
        switch (at[1]) {
            case 'b':
                out.push_back('\b');
                break;
            case 'f':
                out.push_back('\f');
                break;
            case 'n':
                out.push_back('\n');
                break;
            case 'r':
                out.push_back('\r');
                break;
            case 't':
                out.push_back('\t');
                break;
            case 'u': {
                std::uint32_t code = static_cast<std::uint32_t>(code_unit(at + 2));
                used = 6;
                if (is_high_surrogate(static_cast<int>(code))) {
                    code = 0x10000 + ((code - 0xD800) << 10) + static_cast<std::uint32_t>(code_unit(at + 8)) - 0xDC00;
                    used = 12;
                }
                append_utf8(out, code);
                break;
            }
            default:
                out.push_back(at[1]);  // the quote, the backslash, the slash
        }
        inside.remove_prefix(plain + used);
    }
}

std::size_t first_bad_utf8(std::string_view text) {
    std::size_t i = 0;
    const auto byte = [text](std::size_t at) { return static_cast<unsigned char>(text[at]); };
    while (i < text.size()) {
        const unsigned lead = byte(i);
        if (lead < 0x80) {
            ++i;
            continue;
        }
        const std::size_t size = lead >= 0xF0 ? 4 : lead >= 0xE0 ? 3 : 2;
        if (lead < 0xC2 || lead > 0xF4 || text.size() - i < size) return i;
        // What the second byte may be excludes overlong forms, surrogates and what lies beyond U+10FFFF.
        const unsigned low = lead == 0xE0 ? 0xA0 : lead == 0xF0 ? 0x90 : 0x80;
        const unsigned high = lead == 0xED ? 0x9F : lead == 0xF4 ? 0x8F : 0xBF;
        if (byte(i + 1) < low || byte(i + 1) > high) return i;
        for (std::size_t k = 2; k < size; ++k)
            if ((byte(i + k) & 0xC0) != 0x80) return i;
        i += size;
    }
    return std::string_view::npos;
}

}  // namespace weir::record::detail
