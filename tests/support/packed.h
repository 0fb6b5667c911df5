// Bytes as other people's compressors write them, and bytes that none makes smaller.
#pragma once

#include "base/prng.h"

#include <cstdlib>
#include <string>
#include <string_view>
#include <zlib.h>

namespace weir::test {

// A gzip member; another framing by `window_bits`, as zlib's deflateInit2 takes them. Level 0 stores the text.
inline std::string gzipped(std::string_view in, int level = 6, int window_bits = 15 + 16) {
    z_stream z{};
    if (deflateInit2(&z, level, Z_DEFLATED, window_bits, 8, Z_DEFAULT_STRATEGY) != Z_OK) std::abort();
    std::string out(deflateBound(&z, in.size()) + 64, '\0');
    z.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(in.data()));
    z.avail_in = static_cast<uInt>(in.size());
    z.next_out = reinterpret_cast<Bytef*>(out.data());
    z.avail_out = static_cast<uInt>(out.size());
    if (deflate(&z, Z_FINISH) != Z_STREAM_END) std::abort();
    out.resize(z.total_out);
    deflateEnd(&z);
    return out;
}

inline std::string noise(std::size_t n) {
    Prng prng(n);
    std::string s(n, '\0');
    for (char& c : s)
        c = static_cast<char>(prng.next());
    return s;
}

}  // namespace weir::test
