// Any bytes as a compressed body or batch, by every decoder. What comes out stays within its bound, is padded, and does
// not depend on how large the bound is as long as it suffices. The first byte picks the decoder.
#include "record/inflate.h"

#include "record/compress.h"

#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

using namespace weir;
using namespace weir::record;

namespace {

void require(bool claim) {
    if (!claim) std::abort();
}

Result<std::string> decode(unsigned which, std::string_view in, std::size_t bytes_max) {
    switch (which % 6) {
        case 0:
            return gunzip(in, bytes_max);
        case 1:
            return unzstd(in, bytes_max);
        default:
            return inflate(static_cast<Codec>(which % 6 - 1), in, bytes_max);
    }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    if (size == 0) return 0;
    const unsigned which = data[0];
    const std::string_view in(reinterpret_cast<const char*>(data) + 1, size - 1);
    constexpr std::size_t bytes_max = 1 << 20;
    const auto out = decode(which, in, bytes_max);
    if (!out) return 0;
    const std::size_t n = out.value().size();
    require(n <= bytes_max && out.value().capacity() >= n + inflate_padding_bytes);
    // A zstd window is measured against the bound, so the exact one may be too small for it.
    const auto exact = decode(which, in, n);
    require(exact.has_value() ? exact.value() == out.value() : exact.error().code == Errc::too_large);
    if (n > 0) {
        const auto less = decode(which, in, n - 1);
        require(!less.has_value() && less.error().code == Errc::too_large);
    }
    return 0;
}
