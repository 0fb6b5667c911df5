#include "record/detail/snappy.h"

#include "base/check.h"
#include "base/wire.h"
#include "record/compress.h"

#include <cstring>
#include <snappy-c.h>

namespace weir::record::detail {
namespace {

constexpr std::string_view stream_magic("\x82SNAPPY\0", 8);
constexpr std::size_t stream_head_bytes = 8 + 4 + 4;
// The densest element is a copy of 64 bytes in 3.
constexpr std::size_t expansion_max = 22;

Error broken(const char* what) {
    return Error{Errc::corrupt, std::string("snappy: ") + what};
}

// What the block says it holds.
Result<std::size_t> block_size(std::string_view block) {
    std::size_t size = 0;
    if (snappy_uncompressed_length(block.data(), block.size(), &size) != SNAPPY_OK)
        return broken("a block without its length");
    if (size > block.size() * expansion_max) return broken("a block is shorter than its length can be");
    return size;
}

// Calls `take` (block -> Status) for one block after the other: twice in place of once with a list of them, as there
// may be a block every five bytes. Errors: corrupt, and what `take` says.
template <class F>
Status each_block(std::string_view in, F take) {
    if (!in.starts_with(stream_magic)) return take(in);
    while (!in.empty()) {
        if (in.starts_with(stream_magic)) {
            // The versions are not looked at: there has been one layout.
            if (in.size() < stream_head_bytes) return broken("a stream's head is cut off");
            in.remove_prefix(stream_head_bytes);
            continue;
        }
        beu32 size;
        if (in.size() < sizeof size) return broken("a block's length is cut off");
        std::memcpy(&size, in.data(), sizeof size);
        in.remove_prefix(sizeof size);
        if (size > in.size()) return broken("a block is cut off");
        TRY(take(in.substr(0, size)));
        in.remove_prefix(size);
    }
    return {};
}

}  // namespace

Result<std::string> unsnappy(std::string_view in, std::size_t bytes_max) {
    std::size_t total = 0;
    TRY(each_block(in, [&](std::string_view block) -> Status {
        total += TRY(block_size(block));
        if (total > bytes_max) return Error{Errc::too_large, "snappy inflates beyond the limit"};
        return {};
    }));
    std::string out(total + inflate_padding_bytes, '\0');
    std::size_t at = 0;
    TRY(each_block(in, [&](std::string_view block) -> Status {
        std::size_t size = total - at;
        if (snappy_uncompress(block.data(), block.size(), out.data() + at, &size) != SNAPPY_OK)
            return broken("a block is damaged");
        at += size;
        return {};
    }));
    CHECK(at == total);  // a block gives what it said, or fails
    out.resize(total);   // keeps the capacity and the bytes in it
    return out;
}

}  // namespace weir::record::detail
