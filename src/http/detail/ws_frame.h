// WebSocket frames (RFC 6455), the server's side: what a client sends, in any cuts, to whole messages; and messages to
// frames. No extensions are negotiated, so the reserved bits are zero.
//
//   FIN 1 bit | RSV 3 | opcode 4 | MASK 1 | length 7, or 126 and u16, or 127 and u64, big-endian | key 4 bytes |
//   payload
//
// Strict where the RFC says MUST (5.1 to 5.5): frames of a client are masked, lengths take the fewest bytes, control
// frames are whole and short, fragments follow each other, text is UTF-8.
// Owner: one thread.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace weir::http {

enum class WsOpcode : std::uint8_t { continuation = 0, text = 1, binary = 2, close = 8, ping = 9, pong = 10 };

// Status codes of a Close frame (7.4.1).
enum class WsClose : std::uint16_t {
    normal = 1000,
    going_away = 1001,
    protocol_error = 1002,
    unsupported = 1003,
    bad_text = 1007,
    policy = 1008,
    too_big = 1009,
    try_again = 1013,
};

struct WsMessage {
    WsOpcode opcode = WsOpcode::text;  // text, binary, close, ping or pong
    std::string bytes;                 // unmasked, of all its fragments
};

class WsDecoder {
  public:
    // A data message of more than `message_bytes_max` fails as too_big.
    explicit WsDecoder(std::size_t message_bytes_max) : message_bytes_max_(message_bytes_max) {}

    struct Put {
        std::size_t consumed = 0;
        std::optional<WsMessage> message;  // what was consumed ends with its last byte: offer the rest again
        std::optional<WsClose> failure;    // the connection must end with this; nothing may be offered any more
    };
    // Takes bytes up to the end of the next message, or all of them.
    Put put(std::string_view bytes);
    // Held of a message that is not whole. Never more than message_bytes_max and a control frame.
    std::size_t held_bytes() const { return message_.size() + control_.size(); }

  private:
    enum class Step : std::uint8_t { head, payload };
    std::optional<WsClose> on_head();
    std::optional<WsClose> on_frame(Put& put);
    std::size_t head_bytes() const;  // that the present head has, by what is known of it

    const std::size_t message_bytes_max_;
    Step step_ = Step::head;
    std::array<unsigned char, 14> head_{};
    std::size_t head_have_ = 0;
    WsOpcode opcode_ = WsOpcode::text;  // of the present frame
    bool fin_ = false;
    std::uint64_t left_ = 0;      // of the present payload
    std::size_t mask_at_ = 0;     // next byte of the key
    std::string message_;         // fragments so far
    std::string control_;         // a control frame may come between fragments
    std::optional<WsOpcode> of_;  // opcode of the message that has begun
};

// One unfragmented frame at the end of `out`, not masked, as a server sends it.
void append_ws_frame(std::string& out, WsOpcode opcode, std::string_view payload);
// A Close frame's payload.
std::string ws_close_payload(WsClose code, std::string_view reason);

}  // namespace weir::http
