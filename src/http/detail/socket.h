// A connection that has become a WebSocket, as the loop sees it. What its messages mean is the live thread's.
// Owner: the loop.
#pragma once

#include "http/detail/live_request.h"
#include "http/detail/ws_frame.h"

#include <cstdint>

namespace weir::http {

inline constexpr std::int64_t socket_ping_us = 15'000'000;    // keeps proxies that end silent connections from it
inline constexpr std::int64_t socket_silent_us = 45'000'000;  // of a peer that answers no ping: it has gone
inline constexpr std::size_t pong_unsent_max = 64 * 1024;     // a peer that reads no pongs gets no more of them

struct Socket {
    WsDecoder decoder{ws_message_bytes_max};
    std::int64_t heard_us = 0;   // when the last bytes came
    std::int64_t pinged_us = 0;  // or when it began
};

}  // namespace weir::http
