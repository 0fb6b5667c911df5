// One HTTP/1.1 request from bytes that arrive in any cuts (RFC 9112), strict wherever two readers could disagree:
// that is how requests get smuggled. Boost.Beast reads the grammar; this adds what it lets pass and receives the
// body into one buffer that a JSON decoder can read in place.
//
// Refused beyond the grammar: Content-Length twice or beside Transfer-Encoding, Transfer-Encoding other than `chunked`,
// folded header lines, trailers, more than 100 fields, no Host or two of them.
// Owner: one thread. After `failed` only reset() may follow, and the connection must end.
#pragma once

#include "http/detail/problem.h"

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace weir::http {

// Views into the parser, valid until reset().
struct RequestHead {
    std::string_view method;
    std::string_view target;
    std::string_view host;  // of the target where it is absolute, else of the Host field
    std::string_view content_type;
    std::string_view content_encoding;
    std::string_view expect;
    std::string_view idempotency_key;
    std::string_view webhook_request_origin;
    std::vector<std::pair<std::string_view, std::string_view>> cloud_fields;  // ce-NAME: NAME and the value
    std::string_view authorization;                                           // the last, where there are several
    std::string_view origin;
    std::string_view upgrade, connection;               // as sent
    std::string_view ws_key, ws_version, ws_protocols;  // Sec-WebSocket-...
    std::string_view last_event_id;                     // of an EventSource that comes back
    std::string_view sec_fetch_site;
    std::string_view sec_fetch_mode;
    std::optional<std::uint64_t> content_length;
    bool chunked = false;
    bool http10 = false;
    bool keep_alive = true;
    bool content_encoding_twice = false, content_type_twice = false, idempotency_key_twice = false;
    std::size_t authorizations = 0;
};

enum class ParseStep : std::uint8_t {
    need_more,  // everything usable was consumed; what was not must be offered again with more behind it
    head,       // the head is complete: decide about the body, then go on (complete() may hold already)
    done,       // the request is complete; bytes behind it were not consumed
    failed,     // see failure()
};

class RequestParser {
  public:
    RequestParser();
    ~RequestParser();
    RequestParser(RequestParser&&) noexcept;

    struct Put {
        std::size_t consumed = 0;
        ParseStep step = ParseStep::need_more;
    };
    // Offers bytes. Returns at each step; call again with the rest.
    Put put(std::string_view bytes);
    void reset();

    const RequestHead& head() const;  // from the step `head` on
    bool complete() const;
    const Problem& failure() const;

    // Between `head` and the next put(). The body's ceiling in bytes (above: 413), or not to keep it at all.
    void limit_body(std::size_t bytes_max);
    void discard_body();

    // Where the next bytes of a body of declared length should be received, to be offered by put() from right there
    // without a copy. Empty: there is no such place now (no body, chunked, discarded): use any buffer.
    std::span<char> body_space();
    std::size_t body_bytes() const;   // received so far, discarded ones counted
    std::size_t body_memory() const;  // held
    // The body; at least 64 initialised bytes lie behind its end within its capacity.
    std::string take_body();

  private:
    struct State;
    std::unique_ptr<State> state_;
};

}  // namespace weir::http
