// Any bytes as what a client sends over a WebSocket. The messages, and how it ends, must be the same in any cuts; what
// is held of them stays within the bound. The first byte picks the size of the pieces, the second the bound.
#include "http/detail/ws_frame.h"

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

namespace {

using weir::http::WsDecoder;

void require(bool claim) {
    if (!claim) std::abort();
}

std::string read(std::string_view bytes, std::size_t cut, std::size_t bound) {
    WsDecoder decoder(bound);
    std::string out;
    while (!bytes.empty()) {
        std::string_view piece = bytes.substr(0, std::min(cut, bytes.size()));
        bytes.remove_prefix(piece.size());
        while (true) {
            const WsDecoder::Put put = decoder.put(piece);
            require(put.consumed <= piece.size());
            piece.remove_prefix(put.consumed);
            if (put.failure) return out + "!" + std::to_string(static_cast<int>(*put.failure));
            if (!put.message) break;
            require(put.message->bytes.size() <= std::max<std::size_t>(bound, 125));
            out += std::to_string(static_cast<int>(put.message->opcode)) + ":" + put.message->bytes + ";";
            // What a server says of it is well-formed too.
            std::string frame;
            append_ws_frame(frame, put.message->opcode, put.message->bytes);
            require(frame.size() >= put.message->bytes.size() + 2);
        }
        require(piece.empty());
        require(decoder.held_bytes() <= bound + 125);
    }
    return out;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    if (size < 2) return 0;
    const std::string_view bytes(reinterpret_cast<const char*>(data) + 2, size - 2);
    const std::size_t bound = data[1] * 64u;
    const std::string whole = read(bytes, bytes.size() + 1, bound);
    require(whole == read(bytes, 1 + data[0] % 32, bound));
    require(whole == read(bytes, 1, bound));
    return 0;
}
