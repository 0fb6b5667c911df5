#include "record/detail/json_value.h"

#include "record/time.h"

#include <array>
#include <bit>
#include <charconv>
#include <cmath>

namespace weir::record::detail {
namespace {

// Beyond it sums of times and durations could overflow, and INT64_MIN has a meaning of its own in event_time_ms.
constexpr std::int64_t epoch_ms_max = std::int64_t{1} << 62;

constexpr std::array<std::int8_t, 256> make_base64_values() {
    std::array<std::int8_t, 256> values{};
    for (std::int8_t& v : values)
        v = -1;
    constexpr std::string_view alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    for (std::size_t i = 0; i < alphabet.size(); ++i)
        values[static_cast<unsigned char>(alphabet[i])] = static_cast<std::int8_t>(i);
    return values;
}
constexpr std::array<std::int8_t, 256> base64_values = make_base64_values();

// Whether a number token that no double can hold is too small (true) rather than too large: the decimal exponent of its
// first digit that is not zero.
bool is_tiny(std::string_view number) {
    std::int64_t exponent = 0, point = 0;  // `point`: places from the first significant digit to the decimal point
    bool significant = false, fraction = false;
    std::size_t i = number[0] == '-' ? 1 : 0;
    for (; i < number.size() && number[i] != 'e' && number[i] != 'E'; ++i) {
        if (number[i] == '.') {
            fraction = true;
            continue;
        }
        significant = significant || number[i] != '0';
        if (!fraction && significant) ++point;
        if (fraction && !significant) --point;
    }
    if (!significant) return true;
    if (i < number.size()) {
        const bool negative = number[++i] == '-';
        if (number[i] == '-' || number[i] == '+') ++i;
        for (; i < number.size(); ++i)
            if (exponent < 1'000'000'000'000) exponent = exponent * 10 + (number[i] - '0');
        if (negative) exponent = -exponent;
    }
    return exponent + point < 0;
}

Slice append(std::string& bytes, std::string_view text) {
    const Slice slice{static_cast<std::uint32_t>(bytes.size()), static_cast<std::uint32_t>(text.size())};
    bytes.append(text);
    return slice;
}

Read read_text(const Token& token, std::string& bytes, Cell& cell) {
    switch (token.kind) {
        case Kind::text:
            if (token.escaped) {
                cell.slice.offset = static_cast<std::uint32_t>(bytes.size());
                unescape({token.begin, token.size}, bytes);
                cell.slice.size = static_cast<std::uint32_t>(bytes.size()) - cell.slice.offset;
                return Read::value;
            }
            [[fallthrough]];
        case Kind::integer:
        case Kind::real:
        case Kind::yes:
        case Kind::no:
            cell.slice = append(bytes, {token.begin, token.size});
            return Read::value;
        case Kind::absent:
        case Kind::null:
        case Kind::object:
        case Kind::array:
            break;
    }
    return Read::wrong_type;
}

Read read_blob(const Token& token, std::string& bytes, std::string& scratch, Cell& cell) {
    if (token.kind != Kind::text) return Read::wrong_type;
    std::string_view text(token.begin, token.size);
    if (token.escaped) {
        scratch.clear();
        unescape(text, scratch);
        text = scratch;
    }
    cell.slice.offset = static_cast<std::uint32_t>(bytes.size());
    if (!decode_base64(text, bytes)) return Read::wrong_type;
    cell.slice.size = static_cast<std::uint32_t>(bytes.size()) - cell.slice.offset;
    return Read::value;
}

}  // namespace

bool read_integer(std::string_view digits, std::int64_t& out) {
    const bool negative = digits[0] == '-';
    if (negative) digits.remove_prefix(1);
    if (digits.size() > 19) return false;  // a JSON integer has no leading zeros
    std::uint64_t magnitude = 0;
    for (const char c : digits)
        magnitude = magnitude * 10 + static_cast<std::uint64_t>(c - '0');
    const std::uint64_t limit = static_cast<std::uint64_t>(INT64_MAX) + (negative ? 1 : 0);
    if (magnitude > limit) return false;  // 19 digits are below 2^64: nothing has wrapped
    out = static_cast<std::int64_t>(negative ? 0 - magnitude : magnitude);
    return true;
}

bool read_real(std::string_view number, double& out) {
    const std::from_chars_result result = std::from_chars(number.data(), number.data() + number.size(), out);
    if (result.ec == std::errc()) return std::isfinite(out);
    if (result.ec != std::errc::result_out_of_range || !is_tiny(number)) return false;
    out = number[0] == '-' ? -0.0 : 0.0;
    return true;
}

bool decode_base64(std::string_view text, std::string& out) {
    if (text.size() % 4 != 0) return false;
    if (text.empty()) return true;
    const std::size_t padding = text[text.size() - 1] != '=' ? 0 : text[text.size() - 2] != '=' ? 1 : 2;
    text.remove_suffix(padding);
    const std::size_t mark = out.size();
    std::uint32_t bits = 0;
    for (std::size_t i = 0; i < text.size(); ++i) {
        const std::int8_t value = base64_values[static_cast<unsigned char>(text[i])];
        if (value < 0) {
            out.resize(mark);
            return false;
        }
        bits = bits << 6 | static_cast<std::uint32_t>(value);
        if (i % 4 != 0) out.push_back(static_cast<char>(bits >> (6 - 2 * (i % 4))));
    }
    return true;
}

Read read_time(const Token& token, std::string& scratch, std::int64_t& out) {
    if (token.kind == Kind::absent || token.kind == Kind::null) return Read::null;
    if (token.kind == Kind::integer) {
        if (!read_integer({token.begin, token.size}, out) || out > epoch_ms_max || out < -epoch_ms_max)
            return Read::wrong_type;
        return out < epoch_ms_min && out > -epoch_ms_min ? Read::seconds : Read::value;
    }
    if (token.kind != Kind::text) return Read::wrong_type;
    std::string_view text(token.begin, token.size);
    if (token.escaped) {
        scratch.clear();
        unescape(text, scratch);
        text = scratch;
    }
    const std::optional<std::int64_t> ms = parse_rfc3339(text);
    if (!ms) return Read::wrong_type;
    out = *ms;
    return Read::value;
}

Read read_value(ColumnType type, const Token& token, std::string& bytes, std::string& scratch, Cell& cell) {
    if (token.kind == Kind::absent || token.kind == Kind::null) return Read::null;
    switch (type) {
        case ColumnType::text:
            return read_text(token, bytes, cell);
        case ColumnType::integer:
            if (token.kind != Kind::integer || !read_integer({token.begin, token.size}, cell.number))
                return Read::wrong_type;
            return Read::value;
        case ColumnType::real: {
            double real = 0;
            if ((token.kind != Kind::integer && token.kind != Kind::real) ||
                !read_real({token.begin, token.size}, real))
                return Read::wrong_type;
            cell.number = std::bit_cast<std::int64_t>(real);
            return Read::value;
        }
        case ColumnType::boolean:
            if (token.kind != Kind::yes && token.kind != Kind::no) return Read::wrong_type;
            cell.number = token.kind == Kind::yes ? 1 : 0;
            return Read::value;
        case ColumnType::timestamp:
            return read_time(token, scratch, cell.number);
        case ColumnType::json:
            cell.slice = append(bytes, token.raw());
            return Read::value;
        case ColumnType::blob:
            return read_blob(token, bytes, scratch, cell);
    }
    return Read::wrong_type;
}

}  // namespace weir::record::detail
