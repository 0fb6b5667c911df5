#include "node/setting_values.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>

namespace weir::node {
namespace {

Error expected(std::string what) {
    return Error{Errc::invalid_argument, "expected " + std::move(what)};
}

}  // namespace

std::string_view trimmed(std::string_view text) {
    const auto is_space = [](char c) { return c == ' ' || c == '\t'; };
    while (!text.empty() && is_space(text.front()))
        text.remove_prefix(1);
    while (!text.empty() && is_space(text.back()))
        text.remove_suffix(1);
    return text;
}

Result<bool> parse_bool(std::string_view text) {
    if (text == "true" || text == "yes" || text == "on" || text == "1") return true;
    if (text == "false" || text == "no" || text == "off" || text == "0") return false;
    return expected("true or false");
}

std::vector<std::string> parse_list(std::string_view text) {
    std::vector<std::string> items;
    while (!text.empty()) {
        const std::size_t comma = std::min(text.find(','), text.size());
        const std::string_view item = trimmed(text.substr(0, comma));
        if (!item.empty()) items.emplace_back(item);
        text.remove_prefix(std::min(comma + 1, text.size()));
    }
    return items;
}

Result<std::uint64_t> parse_size(std::string_view text) {
    struct Unit {
        std::string_view name;
        double bytes;
    };
    constexpr std::array<Unit, 10> units{{{"", 1},
                                          {"B", 1},
                                          {"KB", 1e3},
                                          {"MB", 1e6},
                                          {"GB", 1e9},
                                          {"TB", 1e12},
                                          {"KiB", 1024.0},
                                          {"MiB", 1048576.0},
                                          {"GiB", 1073741824.0},
                                          {"TiB", 1099511627776.0}}};
    text = trimmed(text);
    double number = 0;
    const auto [end, failure] =
        std::from_chars(text.data(), text.data() + text.size(), number, std::chars_format::fixed);
    const std::string_view unit = trimmed(text.substr(static_cast<std::size_t>(end - text.data())));
    const auto found = std::ranges::find(units, unit, &Unit::name);
    if (failure != std::errc() || text.front() == '-' || found == units.end()) {
        return expected("a size such as 512MiB or 1GB");
    }
    const double bytes = number * found->bytes;
    if (!(bytes <= 0x1p62)) return expected("a size below 4 EiB");
    return static_cast<std::uint64_t>(std::llround(bytes));
}

Result<HostPort> parse_host_port(std::string_view text) {
    const auto wrong = [] { return expected("an address such as 127.0.0.1:8080 or [::1]:8080"); };
    const std::size_t colon = text.rfind(':');
    if (colon == std::string_view::npos || colon == 0) return wrong();
    std::string_view host = text.substr(0, colon);
    const std::string_view port = text.substr(colon + 1);
    if (host.front() == '[') {
        if (host.size() < 4 || host.back() != ']') return wrong();
        host = host.substr(1, host.size() - 2);
    } else if (host.find_first_of(":/ []") != std::string_view::npos) {
        return wrong();
    }
    HostPort parsed{std::string(host)};
    const auto [end, failure] = std::from_chars(port.data(), port.data() + port.size(), parsed.port);
    if (port.empty() || failure != std::errc() || end != port.data() + port.size()) return wrong();
    return parsed;
}

bool is_loopback(std::string_view host) {
    if (host == "localhost" || host == "::1") return true;
    if (!host.starts_with("127.")) return false;
    // "127.evil.example" is a name: only four numbers are an address.
    return std::ranges::count(host, '.') == 3 && host.find_first_not_of("0123456789.") == std::string_view::npos;
}

}  // namespace weir::node
