#include "stream/detail/group_key.h"

#include "base/check.h"

namespace weir::stream::detail {

namespace {

__extension__ typedef __int128 int128;
using beu16 = WireInt<std::uint16_t, std::endian::big>;

constexpr int residual_bias = 32768;  // an integer differs from the nearest double by at most 512

std::uint64_t load(std::string_view bytes) {
    beu64 wire;
    std::memcpy(&wire, bytes.data(), sizeof wire);
    return wire;
}

}  // namespace

void KeyWriter::add_value(const store::Value& value) {
    switch (value.type) {
        case store::ValueType::null:
            add_null();
            return;
        case store::ValueType::integer:
        case store::ValueType::real: {
            const bool is_real = value.type == store::ValueType::real;
            const double nearest = is_real ? value.real : static_cast<double>(value.integer);
            const auto residual = is_real ? 0 : static_cast<int>(int128{value.integer} - static_cast<int128>(nearest));
            tag(KeyTag::number, 12);
            store(size_ - 11, ordered_bits(nearest));
            const beu16 wire(static_cast<std::uint16_t>(residual + residual_bias));
            std::memcpy(bytes_.data() + size_ - 3, &wire, sizeof wire);
            bytes_[size_ - 1] = is_real ? 1 : 0;
            return;
        }
        case store::ValueType::text:
            add_escaped(KeyTag::text, value.text);
            return;
        case store::ValueType::blob:
            add_escaped(KeyTag::blob, value.text);
            return;
    }
}

void KeyWriter::add_escaped(KeyTag kind, std::string_view text) {
    tag(kind, 1);
    if (size_ + 2 * text.size() + 2 > bytes_.size()) bytes_.resize(2 * (size_ + 2 * text.size() + 2));
    char* out = bytes_.data() + size_;
    const char* const begin = out;
    while (true) {
        // Zeros are rare: copy up to the next.
        const std::size_t zero = text.find('\0');
        const std::size_t run = zero == std::string_view::npos ? text.size() : zero;
        if (run > 0) std::memcpy(out, text.data(), run);
        out += run;
        if (zero == std::string_view::npos) break;
        *out++ = '\0';
        *out++ = '\xff';
        text.remove_prefix(run + 1);
    }
    *out++ = '\0';
    *out++ = '\0';
    size_ += static_cast<std::size_t>(out - begin);
}

std::int64_t key_window_start(std::string_view key) {
    CHECK(key.size() >= window_bytes);
    return static_cast<std::int64_t>(load(key) ^ (std::uint64_t{1} << 63));
}

bool decode_key(std::string_view key, std::vector<store::Value>& values, std::vector<std::string>& scratch) {
    values.clear();
    scratch.clear();
    if (key.size() < window_bytes) return false;
    scratch.reserve(key.size() - window_bytes);  // at most one value a byte: nothing below moves
    key.remove_prefix(window_bytes);
    while (!key.empty()) {
        const auto tag = static_cast<KeyTag>(key.front());
        key.remove_prefix(1);
        switch (tag) {
            case KeyTag::null:
                values.push_back(store::Value::null());
                break;
            case KeyTag::whole:
            case KeyTag::real: {
                if (key.size() < 8) return false;
                const std::uint64_t bits = load(key);
                values.push_back(tag == KeyTag::real
                                     ? store::Value::of(from_ordered_bits(bits))
                                     : store::Value::of(static_cast<std::int64_t>(bits ^ (std::uint64_t{1} << 63))));
                key.remove_prefix(8);
                break;
            }
            case KeyTag::number: {
                if (key.size() < 11) return false;
                const double nearest = from_ordered_bits(load(key));
                beu16 wire;
                std::memcpy(&wire, key.data() + 8, sizeof wire);
                if (key[10] != 0) {
                    values.push_back(store::Value::of(nearest));
                } else {
                    if (!(nearest >= -9.3e18 && nearest <= 9.3e18)) return false;
                    const int residual = static_cast<int>(static_cast<std::uint16_t>(wire)) - residual_bias;
                    values.push_back(
                        store::Value::of(static_cast<std::int64_t>(static_cast<int128>(nearest) + residual)));
                }
                key.remove_prefix(11);
                break;
            }
            case KeyTag::text:
            case KeyTag::blob: {
                // Up to 00 00; 00 FF in between stands for 00.
                std::size_t end = 0;
                bool escaped = false;
                while (true) {
                    end = key.find('\0', end);
                    if (end == std::string_view::npos || end + 1 >= key.size()) return false;
                    if (key[end + 1] == '\0') break;
                    if (key[end + 1] != '\xff') return false;
                    escaped = true;
                    end += 2;
                }
                std::string_view text = key.substr(0, end);
                if (escaped) {
                    std::string& plain = scratch.emplace_back();
                    for (std::size_t i = 0; i < text.size(); ++i) {
                        plain.push_back(text[i]);
                        if (text[i] == '\0') ++i;  // the FF behind it
                    }
                    text = plain;
                }
                values.push_back(tag == KeyTag::text ? store::Value::of(text) : store::Value::of_blob(text));
                key.remove_prefix(end + 2);
                break;
            }
            default:
                return false;
        }
    }
    return true;
}

}  // namespace weir::stream::detail
