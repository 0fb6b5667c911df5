// SHA-256 and SHA-1 (FIPS 180-4) and the comparison of secrets, from OpenSSL's libcrypto.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

namespace weir::os {

using Digest = std::array<std::uint8_t, 32>;

// Keeps the algorithm at hand, which is most of what hashing a short text costs (100 ns instead of 300).
// Owner: one thread.
class Sha256 {
  public:
    Sha256();
    ~Sha256();
    Sha256(const Sha256&) = delete;
    Sha256& operator=(const Sha256&) = delete;
    Digest of(std::string_view bytes);

  private:
    struct State;
    std::unique_ptr<State> state_;
};

// For protocols that are built on it (the handshake of RFC 6455): it keeps nothing secret.
std::array<std::uint8_t, 20> sha1(std::string_view bytes);

// How long it takes tells nothing about where the two differ.
bool same_digest(const Digest& a, const Digest& b);

// Overwrites, also where the compiler sees that nobody reads the bytes again.
void wipe(std::string& secret);

std::string hex_of(const Digest& digest);  // 64 lower-case digits
// 64 hex digits in either case; nullopt: anything else.
std::optional<Digest> parse_digest(std::string_view hex);

}  // namespace weir::os
