#include "record/compress.h"

#include "base/check.h"
#include "record/detail/grow.h"
#include "record/detail/inflaters.h"
#include "record/detail/snappy.h"

#include <algorithm>
#include <bit>
#include <lz4frame.h>
#include <memory>
#include <zstd.h>

namespace weir::record {
namespace {

constexpr int zstd_level = 3;
// zstd's own default: the largest window that any client's compressor uses without being forced to.
constexpr int zstd_window_log_max = 27;

struct FreeLz4 {
    void operator()(LZ4F_dctx* context) const { LZ4F_freeDecompressionContext(context); }
};

// Space for a frame is taken behind `out`'s end; what the compressor leaves over is given back.
void deflate_lz4(std::string_view in, std::string& out) {
    LZ4F_preferences_t preferences{};
    // Kafka's Java client reads only frames of independent blocks (KIP-57).
    preferences.frameInfo.blockMode = LZ4F_blockIndependent;
    preferences.frameInfo.blockSizeID = LZ4F_max64KB;
    const std::size_t before = out.size();
    out.resize(before + LZ4F_compressFrameBound(in.size(), &preferences));
    const std::size_t size =
        LZ4F_compressFrame(out.data() + before, out.size() - before, in.data(), in.size(), &preferences);
    CHECK(!LZ4F_isError(size));  // the bound above leaves no other cause than a bug
    out.resize(before + size);
}

void deflate_zstd(std::string_view in, std::string& out) {
    const std::size_t before = out.size();
    out.resize(before + ZSTD_compressBound(in.size()));
    const std::size_t size = ZSTD_compress(out.data() + before, out.size() - before, in.data(), in.size(), zstd_level);
    CHECK(!ZSTD_isError(size));
    out.resize(before + size);
}

Result<std::string> inflate_lz4(std::string_view in, std::size_t bytes_max) {
    LZ4F_dctx* raw = nullptr;
    if (LZ4F_isError(LZ4F_createDecompressionContext(&raw, LZ4F_VERSION)))
        return Error{Errc::overloaded, "no memory for an LZ4 decoder"};
    const std::unique_ptr<LZ4F_dctx, FreeLz4> context(raw);
    detail::GrowingOutput out(in.size() * 4, bytes_max);
    std::size_t hint = 1;  // 0 exactly at the end of a frame
    while (hint != 0 || !in.empty()) {
        std::size_t read = in.size();
        const std::span<char> space = out.space();
        std::size_t wrote = space.size();
        hint = LZ4F_decompress(context.get(), space.data(), &wrote, in.data(), &read, nullptr);
        if (LZ4F_isError(hint)) return Error{Errc::corrupt, std::string("LZ4 frame: ") + LZ4F_getErrorName(hint)};
        in.remove_prefix(read);
        out.produced(wrote);
        if (out.is_over()) return Error{Errc::too_large, "LZ4 frame inflates beyond the limit"};
        if (hint != 0 && read == 0 && wrote == 0) return Error{Errc::corrupt, "LZ4 frame is cut off"};
    }
    return std::move(out).take();
}

}  // namespace

Status deflate(Codec codec, std::string_view in, std::string& out) {
    switch (codec) {
        case Codec::none:
            out.append(in);
            return {};
        case Codec::lz4:
            deflate_lz4(in, out);
            return {};
        case Codec::zstd:
            deflate_zstd(in, out);
            return {};
        case Codec::gzip:
        case Codec::snappy:
            break;
    }
    return Error{Errc::unsupported, "compression codec " + std::to_string(static_cast<int>(codec))};
}

Result<std::string> inflate(Codec codec, std::string_view in, std::size_t bytes_max) {
    switch (codec) {
        case Codec::none: {
            if (in.size() > bytes_max) return Error{Errc::too_large, "records are beyond the limit"};
            detail::GrowingOutput out(in.size(), bytes_max);
            std::copy(in.begin(), in.end(), out.space().begin());
            out.produced(in.size());
            return std::move(out).take();
        }
        case Codec::lz4:
            return inflate_lz4(in, bytes_max);
        case Codec::zstd: {
            // A window beyond what may come out serves nothing.
            const int log = static_cast<int>(std::bit_width(bytes_max));
            return detail::unzstd(in, bytes_max, std::clamp(log, 17, zstd_window_log_max), Errc::corrupt);
        }
        case Codec::gzip:
            return detail::gunzip(in, bytes_max, Errc::corrupt);
        case Codec::snappy:
            return detail::unsnappy(in, bytes_max);
    }
    return Error{Errc::unsupported, "compression codec " + std::to_string(static_cast<int>(codec))};
}

}  // namespace weir::record
