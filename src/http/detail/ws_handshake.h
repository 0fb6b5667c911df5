// The request that turns a connection into a WebSocket (RFC 6455, 4.2).
//
// A browser cannot give a WebSocket an Authorization field. Its page offers the key as a subprotocol instead, beside
// the one that is spoken: `new WebSocket(url, ["weir", "weir.key." + base64url(key)])`. The answer names "weir" alone.
#pragma once

#include "http/detail/parser.h"
#include "http/detail/problem.h"

#include <optional>
#include <string>
#include <string_view>

namespace weir::http {

// Why the request is none (400; 426 for one that does not upgrade or wants another version). The Answer has the fields
// that say what would do.
std::optional<Answer> refuse_upgrade(const RequestHead& head);
// The head of the 101 that a good one gets.
std::string accept_upgrade(const RequestHead& head, std::string_view date);
// The key that the subprotocols carry; nullopt: none, or it is no base64url.
std::optional<std::string> key_of_protocols(std::string_view protocols);

// Sec-WebSocket-Accept for a Sec-WebSocket-Key.
std::string ws_accept_of(std::string_view key);

}  // namespace weir::http
