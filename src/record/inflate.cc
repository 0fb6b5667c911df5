#include "record/inflate.h"

#include "record/detail/grow.h"
#include "record/detail/inflaters.h"

#include <algorithm>
#include <limits>
#include <memory>
#include <zlib.h>
#include <zstd.h>
#include <zstd_errors.h>

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

struct FreeZstd {
    void operator()(ZSTD_DCtx* context) const { ZSTD_freeDCtx(context); }
};

constexpr int gzip_window_bits = 15 + 16;  // zlib: 16 more means gzip and nothing else
constexpr int http_window_log = 23;        // RFC 9659: 8 MiB at most

uInt clamp_uint(std::size_t n) {
    return static_cast<uInt>(std::min<std::size_t>(n, std::numeric_limits<uInt>::max()));
}

}  // namespace

namespace detail {

Result<std::string> gunzip(std::string_view in, std::size_t bytes_max, Errc broken) {
    Inflater inflater;
    z_stream& z = inflater.stream;
    if (inflateInit2(&z, gzip_window_bits) != Z_OK) return Error{Errc::overloaded, "no memory for a gzip decoder"};
    inflater.is_open = true;
    GrowingOutput out(in.size() * 4, bytes_max);
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
        if (out.is_over()) return Error{Errc::too_large, "gzip inflates beyond the limit"};
        if (code == Z_STREAM_END)
            at_member_end = true;
        else if (code != Z_OK && code != Z_BUF_ERROR)
            return Error{broken, std::string("gzip: ") + (z.msg != nullptr ? z.msg : "not readable")};
        else if (read == 0 && wrote == 0)
            return Error{broken, "gzip is cut off"};
    }
    return std::move(out).take();
}

Result<std::string> unzstd(std::string_view in, std::size_t bytes_max, int window_log_max, Errc broken) {
    const std::unique_ptr<ZSTD_DCtx, FreeZstd> context(ZSTD_createDCtx());
    if (!context || ZSTD_isError(ZSTD_DCtx_setParameter(context.get(), ZSTD_d_windowLogMax, window_log_max)))
        return Error{Errc::overloaded, "no memory for a zstd decoder"};
    GrowingOutput out(in.size() * 4, bytes_max);
    ZSTD_inBuffer input{in.data(), in.size(), 0};
    std::size_t hint = 1;  // 0 exactly at the end of a frame
    while (hint != 0 || input.pos < input.size) {
        const std::span<char> space = out.space();
        ZSTD_outBuffer output{space.data(), space.size(), 0};
        const std::size_t read_before = input.pos;
        hint = ZSTD_decompressStream(context.get(), &output, &input);
        if (ZSTD_isError(hint)) {
            if (ZSTD_getErrorCode(hint) == ZSTD_error_frameParameter_windowTooLarge)
                return Error{Errc::too_large, "zstd needs a window of more than " +
                                                  std::to_string((std::size_t{1} << window_log_max) >> 10) + " KiB"};
            return Error{broken, std::string("zstd: ") + ZSTD_getErrorName(hint)};
        }
        out.produced(output.pos);
        if (out.is_over()) return Error{Errc::too_large, "zstd inflates beyond the limit"};
        if (hint != 0 && input.pos == read_before && output.pos == 0) return Error{broken, "zstd is cut off"};
    }
    return std::move(out).take();
}

}  // namespace detail

Result<std::string> gunzip(std::string_view in, std::size_t bytes_max) {
    return detail::gunzip(in, bytes_max, Errc::invalid_argument);
}

Result<std::string> unzstd(std::string_view in, std::size_t bytes_max) {
    return detail::unzstd(in, bytes_max, http_window_log, Errc::invalid_argument);
}

}  // namespace weir::record
