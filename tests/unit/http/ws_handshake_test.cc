#include "http/detail/ws_handshake.h"

#include <catch2/catch_test_macros.hpp>

using namespace weir::http;

namespace {

RequestHead good() {
    RequestHead head;
    head.method = "GET";
    head.upgrade = "websocket";
    head.connection = "keep-alive, Upgrade";
    head.ws_key = "dGhlIHNhbXBsZSBub25jZQ==";
    head.ws_version = "13";
    return head;
}

}  // namespace

TEST_CASE("the handshake of RFC 6455") {
    CHECK(ws_accept_of("dGhlIHNhbXBsZSBub25jZQ==") == "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");  // 1.3
    RequestHead head = good();
    CHECK_FALSE(refuse_upgrade(head));
    CHECK(accept_upgrade(head, "now") ==
          "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
          "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\nDate: now\r\n\r\n");
    head.ws_protocols = "weir.key.YQ, weir";
    CHECK(accept_upgrade(head, "now").find("\r\nSec-WebSocket-Protocol: weir\r\n") != std::string::npos);
    head.upgrade = "h2c, WebSocket";
    CHECK_FALSE(refuse_upgrade(head));
}

TEST_CASE("what is no WebSocket handshake is refused with what would be one") {
    const auto status = [](auto change) {
        RequestHead head = good();
        change(head);
        const auto refusal = refuse_upgrade(head);
        return refusal ? refusal->status : 0;
    };
    CHECK(status([](RequestHead& h) { h.upgrade = {}; }) == 426);
    CHECK(status([](RequestHead& h) { h.upgrade = "websockets"; }) == 426);
    CHECK(status([](RequestHead& h) { h.connection = "keep-alive"; }) == 400);
    CHECK(status([](RequestHead& h) { h.method = "HEAD"; }) == 400);
    CHECK(status([](RequestHead& h) { h.http10 = true; }) == 400);
    CHECK(status([](RequestHead& h) { h.ws_version = "8"; }) == 426);
    for (const char* key : {"", "dGhlIHNhbXBsZSBub25jZQ=", "dGhlIHNhbXBsZSBub25jZQ",
                            "dGhlIHNhbXBsZSBub25jZ===", "dGhlIHNhbXBsZSBub25jZR==", "dGhlIHNhbXBsZSBub25 ZQ=="})
        CHECK(status([key](RequestHead& h) { h.ws_key = key; }) == 400);
    RequestHead head = good();
    head.ws_version = "8";
    CHECK(refuse_upgrade(head)->headers.find("Sec-WebSocket-Version: 13\r\n") != std::string::npos);
}

TEST_CASE("a page's key comes as a subprotocol") {
    CHECK(key_of_protocols("weir, weir.key.c2VjcmV0LWtleQ") == "secret-key");
    CHECK(key_of_protocols("weir.key._-8") == "\xff\xef");
    CHECK_FALSE(key_of_protocols("weir"));
    CHECK_FALSE(key_of_protocols(""));
    CHECK_FALSE(key_of_protocols("weir.key.a"));
    CHECK_FALSE(key_of_protocols("weir.key.a!"));
    CHECK(key_of_protocols("weir.key.") == "");
}
