#include "http/detail/routes.h"

namespace weir::http {
namespace {

int hex_value(char c) {
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    if (c >= 'A' && c <= 'F') return c - 'A' + 10;
    return -1;
}

// Whether `path` has the shape of `pattern`; the parameter's segment goes to `raw`.
bool fits(std::string_view pattern, std::string_view path, std::string_view& raw) {
    const std::size_t open = pattern.find('{');
    if (open == std::string_view::npos) return pattern == path;
    const std::string_view before = pattern.substr(0, open);
    const std::string_view after = pattern.substr(pattern.find('}') + 1);
    if (path.size() <= before.size() + after.size()) return false;
    if (!path.starts_with(before) || !path.ends_with(after)) return false;
    raw = path.substr(before.size(), path.size() - before.size() - after.size());
    return raw.find('/') == std::string_view::npos;
}

}  // namespace

bool percent_decode(std::string_view text, std::string& out) {
    out.clear();
    for (std::size_t i = 0; i < text.size(); ++i) {
        if (text[i] != '%') {
            out += text[i];
            continue;
        }
        if (text.size() - i < 3) return false;
        const int hi = hex_value(text[i + 1]), lo = hex_value(text[i + 2]);
        if (hi < 0 || lo < 0 || (hi == 0 && lo == 0)) return false;
        out += static_cast<char>(hi << 4 | lo);
        i += 2;
    }
    return true;
}

Match match_route(std::string_view method, std::string_view path) {
    Match m;
    for (const Route& route : routes) {
        std::string_view raw;
        if (!fits(route.pattern, path, raw)) continue;
        if (method == route.method || (method == "HEAD" && route.method == "GET")) {
            if (!percent_decode(raw, m.parameter)) return {};
            m.route = &route;
            m.allow.clear();
            return m;
        }
        if (!m.allow.empty()) m.allow += ", ";
        m.allow += route.method == "GET" ? "GET, HEAD" : route.method;
    }
    return m;
}

}  // namespace weir::http
