// Compares what a request presents with the keys there are, and what its key may with what is asked. Attempts that fail
// are counted, and logged at most once a second, with the peer and never with what was presented.
#pragma once

#include "base/clock.h"
#include "http/auth.h"
#include "http/detail/parser.h"
#include "http/detail/problem.h"
#include "obs/metrics.h"

#include <array>
#include <atomic>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace weir::http {

// Longer ones are wrong without a look: hashing is work for somebody who is not known yet.
inline constexpr std::size_t key_bytes_max = 1024;

// Why an attempt failed, as the metric says it.
enum class AuthFailure : std::uint8_t { missing, malformed, wrong_key, role };
inline constexpr std::size_t auth_failures = 4;

// Whose request it is. Without keys everybody is an admin.
struct Caller {
    std::string_view name;  // of the key, "" where there are none; lives as long as the Authenticator
    Role role = Role::reader;
};

class Authenticator {
  public:
    // `metrics` and `clock` outlive this object.
    Authenticator(std::vector<ApiKey> keys, obs::Metrics& metrics, Clock& clock);

    bool has_keys() const { return !keys_.empty(); }
    // Whether the request may go where `needs` is wanted; `caller` is set unless the answer is a problem (401, 403).
    // `peer` and `route` are asked for the log only. Takes as long for a wrong key as for a right one.
    // Owner: the loop.
    std::optional<Problem> check(const RequestHead& head, Permission needs, std::string_view route,
                                 const std::function<std::string()>& peer, Caller& caller);
    // 403 where the caller's role is less than `needed`; `what` completes "... needs the role X". Any thread.
    std::optional<Problem> demand(const Caller& caller, Role needed, std::string_view what);

  private:
    const ApiKey* find(std::string_view presented);
    void note(AuthFailure reason, std::string_view key, std::string_view what, std::string_view peer);

    const std::vector<ApiKey> keys_;
    Clock& clock_;
    os::Sha256 sha256_;
    std::array<obs::Counter, auth_failures> failures_;
    std::atomic<std::int64_t> next_line_us_{0};
    std::atomic<std::uint64_t> unlogged_{0};
};

}  // namespace weir::http
