// Integers with a byte order and no alignment, for structs that are the bytes on the wire or on disk.
#pragma once

#include <bit>
#include <concepts>
#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>
#include <type_traits>

namespace weir {

template <std::integral T, std::endian order>
class WireInt {
  public:
    constexpr WireInt() = default;
    WireInt(T value) { store(value); }  // NOLINT: reads and writes like a plain integer
    operator T() const {                // NOLINT: likewise
        std::make_unsigned_t<T> raw;
        std::memcpy(&raw, bytes_, sizeof raw);
        return static_cast<T>(order == std::endian::native ? raw : swap(raw));
    }

  private:
    using Raw = std::make_unsigned_t<T>;
    void store(T value) {
        Raw raw = static_cast<Raw>(value);
        if (order != std::endian::native) raw = swap(raw);
        std::memcpy(bytes_, &raw, sizeof raw);
    }
    static Raw swap(Raw v) {
        if constexpr (sizeof(T) == 1)
            return v;
        else if constexpr (sizeof(T) == 2)
            return static_cast<Raw>(__builtin_bswap16(v));
        else if constexpr (sizeof(T) == 4)
            return static_cast<Raw>(__builtin_bswap32(v));
        else
            return static_cast<Raw>(__builtin_bswap64(v));
    }
    unsigned char bytes_[sizeof(T)] = {};
};

using be16 = WireInt<std::int16_t, std::endian::big>;
using be32 = WireInt<std::int32_t, std::endian::big>;
using be64 = WireInt<std::int64_t, std::endian::big>;
using beu32 = WireInt<std::uint32_t, std::endian::big>;
using beu64 = WireInt<std::uint64_t, std::endian::big>;
using le16 = WireInt<std::uint16_t, std::endian::little>;
using le32 = WireInt<std::uint32_t, std::endian::little>;
using le64 = WireInt<std::uint64_t, std::endian::little>;
using lei32 = WireInt<std::int32_t, std::endian::little>;
using lei64 = WireInt<std::int64_t, std::endian::little>;

// The bytes of a wire struct, valid while the struct is.
template <class T>
std::string_view bytes_of(const T& wire) {
    static_assert(std::is_trivially_copyable_v<T> && alignof(T) == 1);
    return {reinterpret_cast<const char*>(&wire), sizeof wire};
}

// Appends little-endian integers and length-prefixed bytes to a string: the writer of small internal formats.
class WireWriter {
  public:
    explicit WireWriter(std::string& out) : out_(out) {}
    void u8(std::uint8_t v) { out_.push_back(static_cast<char>(v)); }
    void u16(std::uint16_t v) { out_.append(bytes_of(le16(v))); }
    void u32(std::uint32_t v) { out_.append(bytes_of(le32(v))); }
    void u64(std::uint64_t v) { out_.append(bytes_of(le64(v))); }
    void i32(std::int32_t v) { out_.append(bytes_of(lei32(v))); }
    void i64(std::int64_t v) { out_.append(bytes_of(lei64(v))); }
    void bytes(std::string_view v) {  // u32 length, then the bytes
        u32(static_cast<std::uint32_t>(v.size()));
        out_.append(v);
    }
    void raw(std::string_view v) { out_.append(v); }

  private:
    std::string& out_;
};

// Reads what WireWriter wrote. Hostile input is fine: past the end every getter yields zero or "" and ok() turns false.
class WireReader {
  public:
    explicit WireReader(std::string_view in) : in_(in) {}
    bool ok() const { return ok_; }
    bool at_end() const { return in_.empty(); }
    std::size_t left() const { return in_.size(); }
    std::uint8_t u8() {
        auto v = take(1);
        return v.empty() ? std::uint8_t{0} : static_cast<std::uint8_t>(v[0]);
    }
    std::uint16_t u16() { return get<le16, std::uint16_t>(); }
    std::uint32_t u32() { return get<le32, std::uint32_t>(); }
    std::uint64_t u64() { return get<le64, std::uint64_t>(); }
    std::int32_t i32() { return get<lei32, std::int32_t>(); }
    std::int64_t i64() { return get<lei64, std::int64_t>(); }
    std::string_view bytes() { return take(u32()); }
    std::string_view take(std::size_t n) {
        if (n > in_.size()) {
            ok_ = false;
            in_ = {};
            return {};
        }
        auto v = in_.substr(0, n);
        in_.remove_prefix(n);
        return v;
    }

  private:
    template <class W, class T>
    T get() {
        auto v = take(sizeof(W));
        if (v.empty()) return 0;
        W w;
        std::memcpy(&w, v.data(), sizeof w);
        return w;
    }
    std::string_view in_;
    bool ok_ = true;
};

}  // namespace weir
