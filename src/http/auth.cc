#include "http/auth.h"

#include "http/detail/authenticator.h"
#include "obs/log.h"

#include <algorithm>

namespace weir::http {
namespace {

constexpr std::int64_t log_every_us = 1'000'000;
constexpr std::string_view scheme = "bearer";
constexpr const char* challenge = "Bearer realm=\"weir\"";

// In the order of AuthFailure.
constexpr std::array<const char*, auth_failures> failure_names{"missing", "malformed", "wrong_key", "role"};

bool is_space(char c) {
    return c == ' ' || c == '\t';
}

// What follows "Bearer"; nullopt: another scheme, or nothing follows.
std::optional<std::string_view> bearer_of(std::string_view field) {
    while (!field.empty() && is_space(field.back()))
        field.remove_suffix(1);
    if (field.size() <= scheme.size() || !is_space(field[scheme.size()])) return std::nullopt;
    for (std::size_t i = 0; i < scheme.size(); ++i) {
        const char c = field[i];
        if ((c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c) != scheme[i]) return std::nullopt;
    }
    field.remove_prefix(scheme.size());
    while (!field.empty() && is_space(field.front()))
        field.remove_prefix(1);
    return field;
}

Problem unauthorised(AuthFailure reason) {
    Problem p;
    p.status = 401;
    p.code = errc_name(Errc::unauthorised);
    p.authenticate = challenge;
    switch (reason) {
        case AuthFailure::malformed:
            p.detail = "the field Authorization must be there once and say: Bearer KEY";
            p.authenticate += ", error=\"invalid_request\"";
            break;
        case AuthFailure::wrong_key:
            p.detail = "this server does not know the API key";
            p.authenticate += ", error=\"invalid_token\"";
            break;
        case AuthFailure::missing:
        case AuthFailure::role:
            p.detail =
                "this server wants an API key: send Authorization: Bearer KEY (weir: --api-key-file or WEIR_API_KEY)";
            break;
    }
    return p;
}

Role role_for(Permission needs) {
    return needs == Permission::write ? Role::writer : Role::reader;
}

}  // namespace

const char* role_name(Role role) {
    switch (role) {
        case Role::reader:
            return "reader";
        case Role::writer:
            return "writer";
        case Role::admin:
            return "admin";
    }
    return "reader";
}

std::optional<Role> parse_role(std::string_view text) {
    for (const Role role : {Role::reader, Role::writer, Role::admin})
        if (text == role_name(role)) return role;
    return std::nullopt;
}

Authenticator::Authenticator(std::vector<ApiKey> keys, obs::Metrics& metrics, Clock& clock)
    : keys_(std::move(keys)), clock_(clock) {
    for (std::size_t i = 0; i < auth_failures; ++i)
        failures_[i] = metrics.counter("weir_auth_failures_total", "Requests refused for want of a key or a role",
                                       {{"reason", failure_names[i]}});
}

std::optional<Problem> Authenticator::check(const RequestHead& head, Permission needs, std::string_view route,
                                            const std::function<std::string()>& peer, Caller& caller) {
    caller = {{}, keys_.empty() ? Role::admin : Role::reader};
    if (keys_.empty() || needs == Permission::open) return std::nullopt;
    AuthFailure reason = AuthFailure::missing;
    const ApiKey* key = nullptr;
    if (head.authorizations > 0) {
        const auto presented = bearer_of(head.authorization);
        reason = presented && head.authorizations == 1 ? AuthFailure::wrong_key : AuthFailure::malformed;
        if (reason == AuthFailure::wrong_key) key = find(*presented);
    }
    if (key == nullptr) {
        note(reason, {}, route, peer());
        return unauthorised(reason);
    }
    caller = {key->name, key->role};
    if (caller.role >= role_for(needs)) return std::nullopt;
    return demand(caller, role_for(needs), route);
}

std::optional<Problem> Authenticator::demand(const Caller& caller, Role needed, std::string_view what) {
    if (caller.role >= needed) return std::nullopt;
    note(AuthFailure::role, caller.name, what, {});
    Problem p;
    p.status = 403;
    p.code = errc_name(Errc::forbidden);
    p.detail = std::string(what) + " needs the role " + role_name(needed) + "; this key (" + std::string(caller.name) +
               ") is a " + role_name(caller.role);
    p.authenticate = std::string(challenge) + ", error=\"insufficient_scope\", scope=\"" + role_name(needed) + "\"";
    return p;
}

const ApiKey* Authenticator::find(std::string_view presented) {
    if (presented.size() > key_bytes_max) return nullptr;
    const os::Digest digest = sha256_.of(presented);
    const ApiKey* found = nullptr;
    // To the end, hit or not: the time must not tell which key it was.
    for (const ApiKey& key : keys_)
        if (os::same_digest(digest, key.sha256)) found = &key;
    return found;
}

void Authenticator::note(AuthFailure reason, std::string_view key, std::string_view what, std::string_view peer) {
    failures_[static_cast<std::size_t>(reason)].add();
    const std::int64_t now = clock_.monotonic_us();
    std::int64_t due = next_line_us_.load();
    if (now < due || !next_line_us_.compare_exchange_strong(due, now + log_every_us)) {
        unlogged_.fetch_add(1);
        return;
    }
    obs::log(obs::Level::warning, "auth_failed",
             {{"reason", failure_names[static_cast<std::size_t>(reason)]},
              {"key", std::string(key)},
              {"for", std::string(what)},
              {"peer", std::string(peer)},
              {"not_logged_before", std::to_string(unlogged_.exchange(0))}});
}

}  // namespace weir::http
