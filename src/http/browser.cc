#include "http/detail/browser.h"

#include "http/detail/media_type.h"

#include <algorithm>
#include <arpa/inet.h>
#include <array>

namespace weir::http {
namespace {

bool is_port(std::string_view text) {
    return text.size() <= 5 && std::all_of(text.begin(), text.end(), [](char c) { return c >= '0' && c <= '9'; });
}

bool is_ip(std::string_view text, int family) {
    std::array<char, 64> terminated{};
    std::array<unsigned char, 16> address;
    if (text.size() >= terminated.size()) return false;
    std::copy(text.begin(), text.end(), terminated.begin());
    return inet_pton(family, terminated.data(), address.data()) == 1;
}

}  // namespace

BrowserRules::BrowserRules(std::vector<std::string> hosts, std::vector<std::string> origins)
    : hosts_(std::move(hosts)), origins_(std::move(origins)) {}

bool BrowserRules::allows_origin(std::string_view origin) const {
    return std::any_of(origins_.begin(), origins_.end(), [&](const std::string& o) { return same_text(o, origin); });
}

bool BrowserRules::allows_host(std::string_view host) const {
    std::string_view name = host;
    if (host.starts_with('[')) {
        const std::size_t close = host.find(']');
        if (close == std::string_view::npos) return false;
        const std::string_view rest = host.substr(close + 1);
        if (!rest.empty() && (rest[0] != ':' || !is_port(rest.substr(1)))) return false;
        return is_ip(host.substr(1, close - 1), AF_INET6);
    }
    if (const std::size_t colon = host.find(':'); colon != std::string_view::npos) {
        if (!is_port(host.substr(colon + 1))) return false;
        name = host.substr(0, colon);
    }
    if (same_text(name, "localhost") || is_ip(name, AF_INET)) return true;
    return std::any_of(hosts_.begin(), hosts_.end(),
                       [&](const std::string& h) { return same_text(h, name) || same_text(h, host); });
}

std::optional<Problem> BrowserRules::check(const RequestHead& head, bool is_page) const {
    // HTTP/1.0 without Host: no browser sends that.
    if (!(head.http10 && head.host.empty()) && !allows_host(head.host)) {
        Problem p;
        p.status = 421;
        p.code = "misdirected";
        p.detail =
            "this server does not go by the name in Host; add it to [http] hosts, or use its IP address or localhost";
        return p;
    }
    if (allows_origin(head.origin)) return std::nullopt;
    bool crosses = false;
    if (!head.origin.empty()) {
        std::string_view authority = head.origin;
        if (authority.starts_with("http://"))
            authority.remove_prefix(7);
        else if (authority.starts_with("https://"))
            authority.remove_prefix(8);
        else
            authority = {};
        crosses = authority.empty() || !same_text(authority, head.host);
    }
    const bool other_site = same_text(head.sec_fetch_site, "cross-site") || same_text(head.sec_fetch_site, "same-site");
    if (other_site && !(is_page && same_text(head.sec_fetch_mode, "navigate"))) crosses = true;
    if (!crosses) return std::nullopt;
    Problem p;
    p.status = 403;
    p.code = "cross_origin";
    p.detail = "a web page of another origin may not use this server; add that origin to [http] origins to allow it";
    return p;
}

}  // namespace weir::http
