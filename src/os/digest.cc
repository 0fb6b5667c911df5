#include "os/digest.h"

#include "base/check.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>

namespace weir::os {
namespace {

int hex_value(char c) {
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    if (c >= 'A' && c <= 'F') return c - 'A' + 10;
    return -1;
}

}  // namespace

struct Sha256::State {
    std::unique_ptr<EVP_MD, decltype(&EVP_MD_free)> algorithm{EVP_MD_fetch(nullptr, "SHA256", nullptr), EVP_MD_free};
    std::unique_ptr<EVP_MD_CTX, decltype(&EVP_MD_CTX_free)> context{EVP_MD_CTX_new(), EVP_MD_CTX_free};
};

Sha256::Sha256() : state_(std::make_unique<State>()) {
    // Only an OpenSSL that is broken or told to do without SHA-256 comes here: then no key could be checked.
    CHECK(state_->algorithm != nullptr);
    CHECK(state_->context != nullptr);
}
Sha256::~Sha256() = default;

Digest Sha256::of(std::string_view bytes) {
    Digest digest{};
    EVP_MD_CTX* context = state_->context.get();
    CHECK(EVP_DigestInit_ex(context, state_->algorithm.get(), nullptr) == 1);
    CHECK(EVP_DigestUpdate(context, bytes.data(), bytes.size()) == 1);
    unsigned size = 0;
    CHECK(EVP_DigestFinal_ex(context, digest.data(), &size) == 1);
    CHECK(size == digest.size());
    return digest;
}

std::array<std::uint8_t, 20> sha1(std::string_view bytes) {
    std::array<std::uint8_t, 20> digest{};
    unsigned size = 0;
    CHECK(EVP_Digest(bytes.data(), bytes.size(), digest.data(), &size, EVP_sha1(), nullptr) == 1);
    CHECK(size == digest.size());
    return digest;
}

bool same_digest(const Digest& a, const Digest& b) {
    return CRYPTO_memcmp(a.data(), b.data(), a.size()) == 0;
}

void wipe(std::string& secret) {
    OPENSSL_cleanse(secret.data(), secret.size());
    secret.clear();
}

std::string hex_of(const Digest& digest) {
    constexpr std::string_view digits = "0123456789abcdef";
    std::string text;
    for (const std::uint8_t byte : digest) {
        text += digits[byte >> 4];
        text += digits[byte & 15];
    }
    return text;
}

std::optional<Digest> parse_digest(std::string_view hex) {
    Digest digest{};
    if (hex.size() != 2 * digest.size()) return std::nullopt;
    for (std::size_t i = 0; i < digest.size(); ++i) {
        const int high = hex_value(hex[2 * i]), low = hex_value(hex[2 * i + 1]);
        if (high < 0 || low < 0) return std::nullopt;
        digest[i] = static_cast<std::uint8_t>(high << 4 | low);
    }
    return digest;
}

}  // namespace weir::os
