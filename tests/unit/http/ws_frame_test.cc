#include "http/detail/ws_frame.h"

#include <catch2/catch_test_macros.hpp>

#include <string>
#include <string_view>
#include <vector>

using namespace weir::http;

namespace {

// A client's frame, masked. `first`: FIN, reserved bits and opcode as a byte.
std::string frame(unsigned first, std::string_view payload, int length_bytes = -1) {
    std::string out{static_cast<char>(first)};
    const std::size_t size = payload.size();
    if (length_bytes < 0) length_bytes = size < 126 ? 0 : size <= 0xffff ? 2 : 8;
    out += static_cast<char>(0x80u | (length_bytes == 0 ? size : length_bytes == 2 ? 126u : 127u));
    for (int i = length_bytes - 1; i >= 0; --i)
        out += static_cast<char>(static_cast<std::uint64_t>(size) >> (8 * i) & 0xffu);
    const std::string key{'\x37', '\xfa', '\x21', '\x3d'};
    out += key;
    for (std::size_t i = 0; i < size; ++i)
        out += static_cast<char>(payload[i] ^ key[i % 4]);
    return out;
}

// "text:hello ping:x !1002": what comes of `bytes` offered in pieces.
std::string decoded(std::string_view bytes, std::size_t piece = SIZE_MAX, std::size_t message_max = 1000) {
    WsDecoder decoder(message_max);
    std::string out;
    std::string waiting;
    while (!bytes.empty()) {
        const std::size_t n = std::min(piece, bytes.size());
        std::string_view offered = bytes.substr(0, n);
        bytes.remove_prefix(n);
        while (true) {
            const WsDecoder::Put put = decoder.put(offered);
            offered.remove_prefix(put.consumed);
            if (put.failure) return out + "!" + std::to_string(static_cast<int>(*put.failure));
            if (!put.message) {
                CHECK(offered.empty());
                break;
            }
            const WsOpcode o = put.message->opcode;
            out += o == WsOpcode::text     ? "text:"
                   : o == WsOpcode::binary ? "binary:"
                   : o == WsOpcode::close  ? "close:"
                   : o == WsOpcode::ping   ? "ping:"
                                           : "pong:";
            out +=
                (put.message->bytes.size() > 40 ? std::to_string(put.message->bytes.size()) : put.message->bytes) + " ";
        }
        CHECK(decoder.held_bytes() <= message_max + 125);
    }
    return out;
}

}  // namespace

TEST_CASE("WebSocket frames become messages, however they are cut") {
    // RFC 6455, 5.7: a single-frame masked text message.
    CHECK(decoded(std::string_view("\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58")) == "text:Hello ");
    std::string all = frame(0x81, "one") + frame(0x82, std::string("\0\xff", 2)) + frame(0x01, "tw") +
                      frame(0x89, "p") + frame(0x00, "") + frame(0x80, "o") + frame(0x8a, "") +
                      frame(0x81, std::string(125, 'a')) + frame(0x81, std::string(126, 'b')) +
                      frame(0x81, std::string(1000, 'c')) + frame(0x88, std::string("\x03\xe8") + "bye");
    const std::string want = "text:one binary:" + std::string("\0\xff", 2) +
                             " ping:p text:two pong: text:125 text:126 text:1000 close:" + "\x03\xe8" + "bye ";
    for (std::size_t piece = 1; piece < 40; ++piece)
        CHECK(decoded(all, piece) == want);
    CHECK(decoded(all) == want);
    CHECK(decoded(frame(0x81, std::string(70'000, 'd')), 1000, 70'000) == "text:70000 ");
}

TEST_CASE("WebSocket frames that a client may not send end with the code that says why") {
    const auto ends = [](const std::string& bytes, const char* code) {
        for (const std::size_t piece : {std::size_t{1}, bytes.size()})
            CHECK(decoded(bytes, piece) == code);
    };
    ends("\x81\x05Hello", "!1002");   // not masked
    ends(frame(0xc1, "x"), "!1002");  // reserved bits
    ends(frame(0x91, "x"), "!1002");
    ends(frame(0x83, "x"), "!1002");  // unknown opcodes
    ends(frame(0x8b, "x"), "!1002");
    ends(frame(0x80, "x"), "!1002");                     // goes on with nothing
    ends(frame(0x01, "x") + frame(0x81, "y"), "!1002");  // begins within
    ends(frame(0x09, ""), "!1002");                      // a control frame in fragments
    ends(frame(0x89, std::string(126, 'x')), "!1002");
    ends(frame(0x81, "x", 2), "!1002");  // not the fewest bytes
    ends(frame(0x81, std::string(126, 'x'), 8), "!1002");
    ends(std::string("\x81\xff\xff\xff\xff\xff\xff\xff\xff\xff", 10) + "mask", "!1002");
    ends(frame(0x81, std::string(1001, 'x')), "!1009");
    ends(frame(0x01, std::string(600, 'x')) + frame(0x80, std::string(401, 'x')), "!1009");
    ends(frame(0x81, "\xff"), "!1007");
    ends(frame(0x01, "\xc3") + frame(0x80, "x"), "!1007");
    ends(frame(0x88, "\x03"), "!1002");
    ends(frame(0x88, std::string("\x03\xed")), "!1002");  // 1005 may not be sent
    ends(frame(0x88, std::string("\x00\x01", 2)), "!1002");
    ends(frame(0x88, std::string("\x03\xe8\xff")), "!1007");
    // The two halves of a character may come in two frames.
    CHECK(decoded(frame(0x01, "\xc3") + frame(0x80, "\xa4")) == "text:\xc3\xa4 ");
    CHECK(decoded(frame(0x88, "")) == "close: ");
    CHECK(decoded(frame(0x88, std::string("\x0f\xa0"))) == "close:\x0f\xa0 ");
}

TEST_CASE("WebSocket frames of a server") {
    const auto head_of = [](std::size_t size) {
        std::string out;
        append_ws_frame(out, WsOpcode::text, std::string(size, 'x'));
        return out.substr(0, out.size() - size);
    };
    CHECK(head_of(0) == std::string("\x81\x00", 2));
    CHECK(head_of(125) == "\x81\x7d");
    CHECK(head_of(126) == std::string("\x81\x7e\x00\x7e", 4));
    CHECK(head_of(65'535) == "\x81\x7e\xff\xff");
    CHECK(head_of(65'536) == std::string("\x81\x7f\x00\x00\x00\x00\x00\x01\x00\x00", 10));
    std::string out;
    append_ws_frame(out, WsOpcode::close, ws_close_payload(WsClose::going_away, "bye"));
    CHECK(out ==
          "\x88\x05\x03\xe9"
          "bye");
}
