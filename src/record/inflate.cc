#include "record/inflate.h"

#include "record/detail/grow.h"
#include "record/detail/zstd_stream.h"

#include <algorithm>
#include <limits>
#include <zlib.h>

namespace weir::record {
namespace {

// inflateEnd on every way out. zlib keeps a pointer back to the stream: it must not move.
struct Inflater {
    z_stream stream{};
    bool is_open = false;
    Inflater() = default;
    Inflater(const Inflater&) = delete;
    Inflater& operator=(const Inflater&) = delete;
    ~Inflater() {
        if (is_open) inflateEnd(&stream);
    }
};

constexpr int gzip_window_bits = 15 + 16;  // zlib: 16 more means gzip and nothing else
constexpr int http_window_log = 23;        // RFC 9659: 8 MiB at most

uInt clamp_uint(std::size_t n) {
    return static_cast<uInt>(std::min<std::size_t>(n, std::numeric_limits<uInt>::max()));
}

}  // namespace

Result<std::string> gunzip(std::string_view in, std::size_t bytes_max) {
    Inflater inflater;
    z_stream& z = inflater.stream;
    if (inflateInit2(&z, gzip_window_bits) != Z_OK) return Error{Errc::overloaded, "no memory for a gzip decoder"};
    inflater.is_open = true;
    detail::GrowingOutput out(in.size() * 4, bytes_max);
    bool at_member_end = false;
    while (!at_member_end || !in.empty()) {
        if (at_member_end) {
            inflateReset(&z);
            at_member_end = false;
        }
        // zlib's interface is older than const; it does not write here.
        z.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(in.data()));
        z.avail_in = clamp_uint(in.size());
        const std::span<char> space = out.space();
        z.next_out = reinterpret_cast<Bytef*>(space.data());
        z.avail_out = clamp_uint(space.size());
        const uInt in_before = z.avail_in, out_before = z.avail_out;
        const int code = ::inflate(&z, Z_NO_FLUSH);
        const std::size_t read = in_before - z.avail_in, wrote = out_before - z.avail_out;
        in.remove_prefix(read);
        out.produced(wrote);
        if (out.is_over()) return Error{Errc::too_large, "the gzip body inflates beyond the limit"};
        if (code == Z_STREAM_END)
            at_member_end = true;
        else if (code != Z_OK && code != Z_BUF_ERROR)
            return Error{Errc::invalid_argument, std::string("gzip: ") + (z.msg != nullptr ? z.msg : "not readable")};
        else if (read == 0 && wrote == 0)
            return Error{Errc::invalid_argument, "the gzip body is cut off"};
    }
    return std::move(out).take();
}

Result<std::string> unzstd(std::string_view in, std::size_t bytes_max) {
    return detail::unzstd(in, bytes_max, http_window_log, Errc::invalid_argument);
}

}  // namespace weir::record
