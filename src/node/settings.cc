#include "node/settings.h"

#include "base/limits.h"
#include "node/console.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <optional>
#include <unistd.h>

namespace weir::node {
namespace {

Error expected(std::string what) {
    return Error{Errc::invalid_argument, "expected " + std::move(what)};
}

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

Status apply_size(std::string_view text, std::uint64_t least, std::uint64_t most, std::uint64_t& out) {
    const std::uint64_t bytes = TRY(parse_size(text));
    if (bytes < least) return expected("at least " + people_bytes(static_cast<double>(least)));
    if (bytes > most) return expected("at most " + people_bytes(static_cast<double>(most)));
    out = bytes;
    return {};
}

Status apply_data_dir(std::string_view text, Settings& settings) {
    if (text.empty()) return expected("a folder");
    settings.data_dir = text;
    return {};
}

Status apply_node_id(std::string_view text, Settings& settings) {
    const auto is_name = [](char c) {
        return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '_' ||
               c == '.';
    };
    constexpr std::size_t node_id_bytes_max = 64;
    if (text.empty() || text.size() > node_id_bytes_max || !std::ranges::all_of(text, is_name)) {
        return expected("1 to 64 of the letters A-Z a-z 0-9 - _ .");
    }
    settings.node_id = text;
    return {};
}

Status apply_http_listen(std::string_view text, Settings& settings) {
    TRY(parse_host_port(text));
    settings.http_listen = text;
    return {};
}

Status apply_hosts(std::string_view text, Settings& settings) {
    settings.http_hosts = parse_list(text);
    for (const std::string& host : settings.http_hosts) {
        if (host.find_first_of("/ ") != std::string::npos) {
            return expected("host names with commas between, without http://");
        }
    }
    return {};
}

Status apply_origins(std::string_view text, Settings& settings) {
    settings.http_origins = parse_list(text);
    for (const std::string& origin : settings.http_origins) {
        const std::size_t scheme = origin.starts_with("http://") ? 7 : origin.starts_with("https://") ? 8 : 0;
        if (scheme == 0 || scheme == origin.size() || origin.find_first_of("/ ", scheme) != std::string::npos) {
            return expected("origins such as https://app.example.com with commas between, without a path");
        }
    }
    return {};
}

constexpr std::uint64_t no_ceiling = 1ull << 62;

Status apply_memory(std::string_view text, Settings& settings) {
    return apply_size(text, 64 * limits::mib, no_ceiling, settings.memory_bytes);
}

Status apply_dedup_memory(std::string_view text, Settings& settings) {
    if (text == "memory/4") return {};  // settled once every value is known
    return apply_size(text, limits::dedup_memory_min, no_ceiling, settings.dedup_memory_bytes);
}

Status apply_wal_bytes(std::string_view text, Settings& settings) {
    // Fewer than four files leave nothing to reuse while a checkpoint runs.
    return apply_size(text, 4 * limits::wal_file_bytes, no_ceiling, settings.wal_bytes);
}

Status apply_lag_bytes(std::string_view text, Settings& settings) {
    return apply_size(text, limits::entry_bytes_max, no_ceiling, settings.apply_lag_bytes);
}

Status apply_undeclared(std::string_view text, Settings& settings) {
    if (text != "allow" && text != "deny") return expected("allow or deny");
    settings.undeclared_streams = text == "allow";
    return {};
}

Status apply_insecure(std::string_view text, Settings& settings) {
    settings.insecure = TRY(parse_bool(text));
    return {};
}

constexpr std::array records{
    SettingRecord{"node", "data_dir", "--data", "DIR", "./weir-data", "where everything is kept", apply_data_dir},
    SettingRecord{"http", "listen", "--http", "HOST:PORT", "127.0.0.1:8080", "where HTTP is served; port 0 picks one",
                  apply_http_listen},
    SettingRecord{"node", "id", "--node-id", "NAME", "n1", "this node's name", apply_node_id},
    SettingRecord{"", "insecure", "--insecure", "", "false", "allow an address that others can reach, without keys",
                  apply_insecure},
    SettingRecord{"http", "hosts", "", "", "", "further host names that browsers may use", apply_hosts},
    SettingRecord{"http", "origins", "", "", "", "further origins that browsers may come from", apply_origins},
    SettingRecord{"limits", "memory", "", "", "512MiB", "memory that caches and queues may take", apply_memory},
    SettingRecord{"limits", "dedup_memory", "", "", "memory/4", "memory of the dedup filters", apply_dedup_memory},
    SettingRecord{"storage", "wal_bytes", "", "", "1GiB", "write-ahead log above which a checkpoint is due",
                  apply_wal_bytes},
    SettingRecord{"storage", "apply_lag_bytes", "", "", "1GiB", "lag of apply above which proposals wait",
                  apply_lag_bytes},
    SettingRecord{"streams", "undeclared", "", "", "allow", "allow or deny: the first event creates its stream",
                  apply_undeclared},
};

// WEIR_ names that belong to the client commands.
constexpr std::array<std::string_view, 2> client_variables{"WEIR_SERVER", "WEIR_API_KEY"};

std::string upper(std::string_view text) {
    std::string out(text);
    for (char& c : out) {
        if (c >= 'a' && c <= 'z') c = static_cast<char>(c - 'a' + 'A');
    }
    return out;
}

std::vector<std::string> unknown_variables(const TextMap& environment) {
    std::vector<std::string> known;
    for (const SettingRecord& record : records)
        known.push_back(environment_name(record));
    for (const std::string_view name : client_variables)
        known.emplace_back(name);
    std::vector<std::string> warnings;
    for (const auto& [name, value] : environment) {
        if (!name.starts_with("WEIR_") || std::ranges::find(known, name) != known.end()) continue;
        const std::string meant = nearest(name, known);
        warnings.push_back("unknown variable " + name + " is ignored" +
                           (meant.empty() ? std::string() : " (did you mean " + meant + "?)"));
    }
    return warnings;
}

// What no single record can decide.
Status settle(Settings& settings) {
    if (settings.dedup_memory_bytes == 0) {
        settings.dedup_memory_bytes = std::max<std::uint64_t>(settings.memory_bytes / 4, limits::dedup_memory_min);
    }
    if (settings.dedup_memory_bytes > settings.memory_bytes) {
        return Error{Errc::invalid_argument,
                     "WEIR_LIMITS_DEDUP_MEMORY is larger than WEIR_LIMITS_MEMORY, of which it is a part"};
    }
    const HostPort http = TRY(parse_host_port(settings.http_listen));
    if (!is_loopback(http.host) && !settings.insecure) {
        return Error{Errc::invalid_argument,
                     "--http " + settings.http_listen +
                         " (WEIR_HTTP_LISTEN) can be reached from other machines and this version has no API keys: "
                         "anybody could read and "
                         "drop everything. Listen on 127.0.0.1 (behind a proxy that authenticates), or say --insecure "
                         "(WEIR_INSECURE=true) where the network itself is trusted"};
    }
    return {};
}

}  // namespace

std::span<const SettingRecord> setting_records() {
    return records;
}

std::string setting_name(const SettingRecord& record) {
    return record.section[0] == '\0' ? record.key : std::string(record.section) + "." + record.key;
}

std::string environment_name(const SettingRecord& record) {
    return "WEIR_" + (record.section[0] == '\0' ? std::string() : upper(record.section) + "_") + upper(record.key);
}

const char* origin_name(Origin origin) {
    switch (origin) {
        case Origin::built_in:
            return "default";
        case Origin::environment:
            return "env";
        case Origin::flag:
            return "flag";
    }
    return "default";
}

Result<LoadedSettings> load_settings(const TextMap& flags, const TextMap& environment) {
    LoadedSettings loaded;
    for (const SettingRecord& record : records) {
        EffectiveSetting effective{setting_name(record), record.default_text, Origin::built_in};
        std::string source = effective.name;
        const auto variable = environment.find(environment_name(record));
        const auto flag = record.flag[0] == '\0' ? flags.end() : flags.find(record.flag);
        if (flag != flags.end()) {
            effective.value = flag->second;
            effective.origin = Origin::flag;
            source = record.flag;
        } else if (variable != environment.end()) {
            effective.value = variable->second;
            effective.origin = Origin::environment;
            source = variable->first;
        }
        const Status applied = record.apply(trimmed(effective.value), loaded.settings);
        if (!applied) {
            return Error{Errc::invalid_argument,
                         source + " = \"" + printable(effective.value) + "\": " + applied.error().detail};
        }
        loaded.effective.push_back(std::move(effective));
    }
    TRY(settle(loaded.settings));
    loaded.warnings = unknown_variables(environment);
    return loaded;
}

TextMap process_environment() {
    TextMap variables;
    for (char** entry = environ; entry != nullptr && *entry != nullptr; ++entry) {
        const std::string_view text = *entry;
        const std::size_t equals = text.find('=');
        if (equals != std::string_view::npos) variables.emplace(text.substr(0, equals), text.substr(equals + 1));
    }
    return variables;
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
