#include "http/detail/ws_handshake.h"

#include "http/detail/json_text.h"
#include "http/detail/media_type.h"
#include "os/digest.h"

#include <algorithm>

namespace weir::http {
namespace {

constexpr std::string_view guid = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
constexpr std::string_view protocol = "weir";
constexpr std::string_view key_prefix = "weir.key.";

std::string_view trimmed(std::string_view text) {
    const auto blank = [](char c) { return c == ' ' || c == '\t'; };
    while (!text.empty() && blank(text.front()))
        text.remove_prefix(1);
    while (!text.empty() && blank(text.back()))
        text.remove_suffix(1);
    return text;
}

// Whether one of the comma-separated elements fits.
template <class Fits>
bool any_element(std::string_view list, Fits fits) {
    while (true) {
        const std::size_t comma = std::min(list.find(','), list.size());
        if (fits(trimmed(list.substr(0, comma)))) return true;
        if (comma == list.size()) return false;
        list.remove_prefix(comma + 1);
    }
}

int sextet(char c) {
    if (c >= 'A' && c <= 'Z') return c - 'A';
    if (c >= 'a' && c <= 'z') return c - 'a' + 26;
    if (c >= '0' && c <= '9') return c - '0' + 52;
    if (c == '-' || c == '+') return 62;
    if (c == '_' || c == '/') return 63;
    return -1;
}

// Base64 in either alphabet, without padding.
std::optional<std::string> decode(std::string_view text) {
    std::string out;
    unsigned bits = 0;
    int have = 0;
    for (const char c : text) {
        const int value = sextet(c);
        if (value < 0) return std::nullopt;
        bits = bits << 6 | static_cast<unsigned>(value);
        have += 6;
        if (have < 8) continue;
        have -= 8;
        out.push_back(static_cast<char>(bits >> have & 0xffu));
    }
    if (have >= 6 || (bits & ((1u << have) - 1)) != 0) return std::nullopt;
    return out;
}

// 16 bytes in base64.
bool is_nonce(std::string_view key) {
    if (key.size() != 24 || !key.ends_with("==")) return false;
    const auto bytes = decode(key.substr(0, 22));
    return bytes && bytes->size() == 16;
}

Answer refusal(int status, std::string code, std::string detail, const std::string& headers) {
    Problem p;
    p.status = status;
    p.code = std::move(code);
    p.detail = std::move(detail);
    Answer a = answer_of(p);
    a.headers += headers;
    return a;
}

}  // namespace

std::optional<Answer> refuse_upgrade(const RequestHead& head) {
    const auto is = [](std::string_view wanted) {
        return [wanted](std::string_view element) { return same_text(element, wanted); };
    };
    if (!any_element(head.upgrade, is("websocket")))
        return refusal(426, "upgrade_required", "this address speaks WebSocket alone: wss or ws, not HTTP",
                       "Upgrade: websocket\r\n");
    if (head.http10 || head.method != "GET" || !any_element(head.connection, is("upgrade")))
        return refusal(400, "bad_request", "a WebSocket begins with GET in HTTP/1.1 and Connection: Upgrade", "");
    if (head.ws_version != "13")
        return refusal(426, "upgrade_required", "the only WebSocket version that is spoken here is 13",
                       "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n");
    if (!is_nonce(head.ws_key)) return refusal(400, "bad_request", "Sec-WebSocket-Key must be 16 bytes in base64", "");
    return std::nullopt;
}

std::string accept_upgrade(const RequestHead& head, std::string_view date) {
    std::string out = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n";
    out += "Sec-WebSocket-Accept: " + ws_accept_of(head.ws_key) + "\r\nDate: ";
    out += date;
    out += "\r\n";
    if (any_element(head.ws_protocols, [](std::string_view offered) { return offered == protocol; }))
        out += "Sec-WebSocket-Protocol: weir\r\n";
    return out + "\r\n";
}

std::optional<std::string> key_of_protocols(std::string_view protocols) {
    std::optional<std::string> key;
    any_element(protocols, [&](std::string_view offered) {
        if (!offered.starts_with(key_prefix)) return false;
        key = decode(offered.substr(key_prefix.size()));
        return true;
    });
    return key;
}

std::string ws_accept_of(std::string_view key) {
    const auto digest = os::sha1(std::string(key) + std::string(guid));
    std::string out;
    append_base64(out, {reinterpret_cast<const char*>(digest.data()), digest.size()});
    return out;
}

}  // namespace weir::http
