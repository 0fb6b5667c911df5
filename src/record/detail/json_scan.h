// A walk over one JSON value, strict to the last byte, that notes where the wanted values are.
//
// Why not simdjson On-Demand: it does not look into what it skips, and an event is malformed if any of its bytes are.
// So every byte has to be walked by our own code anyway; doing only that, with 16 bytes of a string at a time, costs
// less than finding the structure first and walking it afterwards. Positions come exact, and no index of the input is
// kept. UTF-8 is not checked here (the decoder checks a whole body at once).
//
// The input needs 16 readable bytes behind it. Iterative: nesting costs a frame of a fixed array.
#pragma once

#include <array>
#include <bit>
#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>
#include <vector>

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

#include "base/limits.h"
#include "record/detail/json_plan.h"

namespace weir::record::detail {

enum class Kind : std::uint8_t { absent, null, text, integer, real, yes, no, object, array };

// Where a wanted value stands. For text the bytes between the quotes, else the token.
struct Token {
    std::uint64_t serial = 0;  // of the walk that found it; another: not in this event
    const char* begin = nullptr;
    std::uint32_t size = 0;
    Kind kind = Kind::absent;
    bool escaped = false;  // text with a backslash in it
    // The value as it was sent, quotes included.
    std::string_view raw() const {
        return kind == Kind::text ? std::string_view(begin - 1, size + std::size_t{2}) : std::string_view(begin, size);
    }
};

enum class Fault : std::uint8_t {
    none,
    value_expected,
    key_expected,
    colon_expected,
    comma_or_brace_expected,
    comma_or_bracket_expected,
    bad_literal,
    bad_number,
    control_character,
    bad_escape,
    lone_surrogate,
    unclosed_string,
    text_behind,
    bad_utf8,
    too_deep,
};

inline bool is_space(char c) {
    return c == ' ' || c == '\n' || c == '\r' || c == '\t';
}

inline const char* skip_space(const char* at, const char* end) {
    if (at<end&& * at> ' ') return at;  // the common case
    while (at < end && is_space(*at))
        ++at;
    return at;
}

// Appends the text of a string token's inside whose escapes a walk has checked.
void unescape(std::string_view inside, std::string& out);

// The position of the first byte that is not UTF-8 (RFC 3629: no surrogates, no overlong forms), or npos.
std::size_t first_bad_utf8(std::string_view text);

class Scanner {
  public:
    // Forgets the last event and looks for the plan's places from now on.
    void use(const Plan& plan) {
        plan_ = &plan;
        tokens_.assign(plan.node_count(), Token{});
        serial_ = 0;
    }

    // Walks the value that begins after white space at `at`; returns the byte behind it, or null (fault(), fault_at()).
    // `stop_early`: returns as soon as all places are found, wherever it is then.
    template <bool stop_early>
    const char* walk(const char* at, const char* end);

    // The value of a place in the last event that was walked.
    const Token& token(std::uint32_t node) const {
        const Token& t = tokens_[node];
        return t.serial == serial_ ? t : nothing;
    }
    Fault fault() const { return fault_; }
    const char* fault_at() const { return fault_at_; }

  private:
    static constexpr Token nothing{};

    struct Frame {
        const char* begin;
        std::uint32_t node;
        std::int32_t index;  // of the element, in an array
        bool object;
    };

    const char* fail(Fault fault, const char* at) {
        fault_ = fault;
        fault_at_ = at;
        return nullptr;
    }
    const char* close_quote(const char* at, const char* end, bool& escaped);
    const char* skip_escape(const char* at, const char* end);
    const char* skip_number(const char* at, const char* end, Kind& kind);
    std::uint32_t member(std::uint32_t node, const char* key, const char* key_end, bool escaped);
    // Takes a place once: the first of duplicate keys is the one that is read.
    std::uint32_t claim(std::uint32_t node) {
        Token& t = tokens_[node];
        if (t.serial == serial_) return 0;
        t.serial = serial_;
        t.kind = Kind::absent;
        return node;
    }
    void note(std::uint32_t node, Kind kind, const char* begin, const char* value_end, bool escaped = false) {
        Token& t = tokens_[node];
        t.begin = begin;
        t.size = static_cast<std::uint32_t>(value_end - begin);
        t.kind = kind;
        t.escaped = escaped;
    }

    const Plan* plan_ = nullptr;
    std::vector<Token> tokens_;  // by node
    std::uint64_t serial_ = 0;
    Fault fault_ = Fault::none;
    const char* fault_at_ = nullptr;
    std::string key_;  // a key without its escapes
};

// Bit i: byte i cannot simply be passed over inside a string (quote, backslash, control character).
inline unsigned special_bytes(const char* at) {
#if defined(__SSE2__)
    const __m128i bytes = _mm_loadu_si128(reinterpret_cast<const __m128i*>(at));
    const __m128i last_control = _mm_set1_epi8(0x1f);
    const __m128i control = _mm_cmpeq_epi8(_mm_max_epu8(bytes, last_control), last_control);
    const __m128i quote = _mm_cmpeq_epi8(bytes, _mm_set1_epi8('"'));
    const __m128i backslash = _mm_cmpeq_epi8(bytes, _mm_set1_epi8('\\'));
    return static_cast<unsigned>(_mm_movemask_epi8(_mm_or_si128(control, _mm_or_si128(quote, backslash))));
#else
    unsigned mask = 0;
    for (unsigned i = 0; i < 16; ++i) {
        const unsigned char c = static_cast<unsigned char>(at[i]);
        mask |= static_cast<unsigned>(c < 0x20 || c == '"' || c == '\\') << i;
    }
    return mask;
#endif
}

// From the byte behind the opening quote to the closing one.
inline const char* Scanner::close_quote(const char* at, const char* end, bool& escaped) {
    escaped = false;
    for (;;) {
        const unsigned mask = special_bytes(at);
        if (mask == 0) {
            at += 16;
            if (at >= end) return fail(Fault::unclosed_string, end);
            continue;
        }
        at += std::countr_zero(mask);
        if (at >= end) return fail(Fault::unclosed_string, end);
        if (*at == '"') return at;
        if (*at != '\\') return fail(Fault::control_character, at);
        escaped = true;
        at = skip_escape(at, end);
        if (at == nullptr) return nullptr;
    }
}

inline const char* Scanner::skip_number(const char* at, const char* end, Kind& kind) {
    const auto digit = [end](const char* p) { return p < end && static_cast<unsigned char>(*p - '0') <= 9; };
    const char* p = at;
    const auto skip_digits = [&p, digit] {
        do {
            ++p;
        } while (digit(p));
    };
    kind = Kind::integer;
    if (*p == '-') ++p;
    if (!digit(p)) return fail(Fault::bad_number, p);
    if (*p == '0')
        ++p;
    else
        skip_digits();
    if (p < end && *p == '.') {
        kind = Kind::real;
        if (!digit(++p)) return fail(Fault::bad_number, p);
        skip_digits();
    }
    if (p < end && (*p == 'e' || *p == 'E')) {
        kind = Kind::real;
        ++p;
        if (p < end && (*p == '+' || *p == '-')) ++p;
        if (!digit(p)) return fail(Fault::bad_number, p);
        skip_digits();
    }
    return p;
}

inline std::uint32_t Scanner::member(std::uint32_t node, const char* key, const char* key_end, bool escaped) {
    std::size_t size = static_cast<std::size_t>(key_end - key);
    if (escaped) [[unlikely]] {
        key_.clear();
        unescape({key, size}, key_);
        size = key_.size();
        key_.append(8, '\0');  // the look-up reads a whole word
        key = key_.data();
    }
    const std::uint32_t found = plan_->member(node, key, size);
    return found == 0 ? 0 : claim(found);
}

template <bool stop_early>
const char* Scanner::walk(const char* at, const char* end) {
    std::array<Frame, limits::json_depth_max> frames;  // what is above `depth` is never read
    std::size_t depth = 0;
    std::uint32_t node = 1;  // of the value at hand
    std::uint32_t missing = plan_->places();
    bool escaped = false;
    Kind kind = Kind::absent;
    ++serial_;
    fault_ = Fault::none;
    claim(node);

value:
    at = skip_space(at, end);
    if (at == end) return fail(Fault::value_expected, at);
    switch (*at) {
        case '"': {
            const char* close = close_quote(at + 1, end, escaped);
            if (close == nullptr) return nullptr;
            if (node != 0) note(node, Kind::text, at + 1, close, escaped);
            at = close + 1;
            break;
        }
        case '{':
        case '[': {
            if (depth == limits::json_depth_max) return fail(Fault::too_deep, at);
            Frame& frame = frames[depth++];
            frame = Frame{at, node, 0, *at == '{'};
            at = skip_space(at + 1, end);
            if (frame.object) {
                if (at < end && *at == '}') goto close;
                goto key;
            }
            if (at < end && *at == ']') goto close;
            node = node == 0 ? 0 : plan_->element(node, 0);
            if (node != 0) node = claim(node);
            goto value;
        }
        case 't':
            if (end - at < 4 || std::memcmp(at, "true", 4) != 0) return fail(Fault::bad_literal, at);
            if (node != 0) note(node, Kind::yes, at, at + 4);
            at += 4;
            break;
        case 'f':
            if (end - at < 5 || std::memcmp(at, "false", 5) != 0) return fail(Fault::bad_literal, at);
            if (node != 0) note(node, Kind::no, at, at + 5);
            at += 5;
            break;
        case 'n':
            if (end - at < 4 || std::memcmp(at, "null", 4) != 0) return fail(Fault::bad_literal, at);
            if (node != 0) note(node, Kind::null, at, at + 4);
            at += 4;
            break;
        // clang-format off
        case '-': case '0': case '1': case '2': case '3': case '4': case '5': case '6': case '7': case '8': case '9': {
            // clang-format on
            const char* behind = skip_number(at, end, kind);
            if (behind == nullptr) return nullptr;
            if (node != 0) note(node, kind, at, behind);
            at = behind;
            break;
        }
        default:
            return fail(Fault::value_expected, at);
    }

value_done:
    if (stop_early && node != 0 && plan_->is_place(node) && --missing == 0) return at;
    if (depth == 0) return at;
    at = skip_space(at, end);
    {
        Frame& frame = frames[depth - 1];
        const char c = at < end ? *at : '\0';
        if (c == ',') {
            at = skip_space(at + 1, end);
            if (frame.object) goto key;
            node = 0;
            if (frame.node != 0) {
                frame.index += frame.index < INT32_MAX ? 1 : 0;
                node = plan_->element(frame.node, frame.index);
                if (node != 0) node = claim(node);
            }
            goto value;
        }
        if (c == (frame.object ? '}' : ']')) goto close;
        return fail(frame.object ? Fault::comma_or_brace_expected : Fault::comma_or_bracket_expected, at);
    }

key:
    if (at == end || *at != '"') return fail(Fault::key_expected, at);
    {
        const char* begin = at + 1;
        const char* close = close_quote(begin, end, escaped);
        if (close == nullptr) return nullptr;
        const std::uint32_t parent = frames[depth - 1].node;
        node = parent == 0 ? 0 : member(parent, begin, close, escaped);
        at = close + 1;
        if (at == end || *at != ':') {
            at = skip_space(at, end);
            if (at == end || *at != ':') return fail(Fault::colon_expected, at);
        }
        ++at;
        goto value;
    }

close :  // at the closing bracket
{
    const Frame& frame = frames[--depth];
    ++at;
    node = frame.node;
    if (node != 0) note(node, frame.object ? Kind::object : Kind::array, frame.begin, at);
    goto value_done;
}
}

}  // namespace weir::record::detail
