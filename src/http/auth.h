// Who may do what at this door: API keys, presented as `Authorization: Bearer KEY` (RFC 6750). Only the SHA-256 of a
// key is known here: who reads the configuration or the memory of a server learns no key.
#pragma once

#include "os/digest.h"

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace weir::http {

// Each may do what the ones before it may.
enum class Role : std::uint8_t {
    reader,  // SELECT and SHOW, streams, events, metrics
    writer,  // sends events
    admin,   // makes, changes and drops; queries without a limit on rows and time
};
const char* role_name(Role role);
std::optional<Role> parse_role(std::string_view text);

struct ApiKey {
    std::string name;  // for people and logs; not secret
    os::Digest sha256{};
    Role role = Role::reader;
};

// What a route wants of its caller. A route that does not say does not compile (detail/routes.h).
enum class Permission : std::uint8_t {
    undecided,
    open,   // nothing: what an orchestrator asks
    read,   // a reader
    write,  // a writer
};

}  // namespace weir::http
