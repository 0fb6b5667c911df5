// The table of settings: names, bounds, words, and what a good value becomes.
#include "base/limits.h"
#include "node/root_key.h"
#include "node/settings.h"
#include "sql/tokens.h"

#include <algorithm>
#include <array>

namespace weir::node {
namespace {

constexpr std::size_t name_bytes_max = 64;
constexpr std::size_t keys_max = 256;

// The value is not what `allowed` says, and nothing more is to be said.
Error not_allowed(std::string more = {}, std::int64_t item = -1) {
    return Error{Errc::invalid_argument, std::move(more), 0, item};
}

bool is_name(std::string_view text) {
    const auto fits = [](char c) {
        return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '_' ||
               c == '.';
    };
    return !text.empty() && text.size() <= name_bytes_max && std::ranges::all_of(text, fits);
}

std::string joined(const std::vector<std::string>& items) {
    std::string text;
    for (const std::string& item : items)
        text += (text.empty() ? "" : ", ") + item;
    return text;
}

std::string size_text(std::uint64_t bytes) {
    return sql::format_size(static_cast<std::int64_t>(bytes));
}

Status apply_size(const SettingInput& input, std::uint64_t least, std::uint64_t& out) {
    const Result<std::uint64_t> bytes = parse_size(input.text);
    if (!bytes || bytes.value() < least) return not_allowed();
    out = bytes.value();
    return {};
}

Status apply_data_dir(const SettingInput& input, Settings& settings) {
    if (input.text.empty()) return not_allowed();
    settings.data_dir = input.text;
    return {};
}

Status apply_node_id(const SettingInput& input, Settings& settings) {
    if (!is_name(input.text)) return not_allowed();
    settings.node_id = input.text;
    return {};
}

Status apply_http_listen(const SettingInput& input, Settings& settings) {
    if (!parse_host_port(input.text)) return not_allowed();
    settings.http_listen = input.text;
    return {};
}

Status apply_hosts(const SettingInput& input, Settings& settings) {
    for (std::size_t i = 0; i < input.items.size(); ++i) {
        const std::string& host = input.items[i];
        if (host.empty() || host.find_first_of("/, ") != std::string::npos)
            return not_allowed({}, static_cast<std::int64_t>(i));
    }
    settings.http_hosts = input.items;
    return {};
}

Status apply_origins(const SettingInput& input, Settings& settings) {
    for (std::size_t i = 0; i < input.items.size(); ++i) {
        const std::string& origin = input.items[i];
        const std::size_t scheme = origin.starts_with("http://") ? 7 : origin.starts_with("https://") ? 8 : 0;
        if (scheme == 0 || scheme == origin.size() || origin.find_first_of("/, ", scheme) != std::string::npos)
            return not_allowed({}, static_cast<std::int64_t>(i));
    }
    settings.http_origins = input.items;
    return {};
}

Status apply_auth_mode(const SettingInput& input, Settings& settings) {
    for (const auto& [word, mode] : {std::pair{"auto", AuthMode::automatic}, std::pair{"none", AuthMode::none},
                                     std::pair{"keys", AuthMode::keys}}) {
        if (input.text != word) continue;
        settings.auth_mode = mode;
        return {};
    }
    return not_allowed();
}

// What is in force; without keys what was said, so that a printed file does not switch off keys that it gets later.
std::string show_auth_mode(const Settings& settings) {
    if (!settings.api_keys.empty()) return "keys";
    return settings.auth_mode == AuthMode::none ? "none" : "auto";
}

Status apply_keys(const SettingInput& input, Settings& settings) {
    std::vector<http::ApiKey> keys;
    for (std::size_t i = 0; i < input.keys.size(); ++i) {
        const KeyInput& key = input.keys[i];
        const auto wrong = [&](std::string why) {
            return not_allowed("; the key " + (is_name(key.name) ? key.name : "number " + std::to_string(i + 1)) + ' ' +
                                   std::move(why),
                               static_cast<std::int64_t>(i));
        };
        if (i >= keys_max) return wrong("is one too many");
        if (!is_name(key.name)) return wrong("has no good name");
        if (key.name == root_key_name) return wrong("has the name of the key in auth.root_key_file");
        const auto role = http::parse_role(key.role);
        if (!role) return wrong("has no good role (admin, writer or reader)");
        const auto digest = os::parse_digest(key.sha256);
        if (!digest) return wrong("has no good sha256 (what `printf %s KEY | sha256sum` prints)");
        for (const http::ApiKey& other : keys) {
            if (other.name == key.name) return wrong("is there twice");
            if (other.sha256 == *digest) return wrong("is the same key as " + other.name);
        }
        keys.push_back({key.name, *digest, *role});
    }
    settings.auth_keys = std::move(keys);
    return {};
}

std::string show_keys(const Settings& settings) {
    std::vector<std::string> keys;
    for (const http::ApiKey& key : settings.auth_keys)
        keys.push_back(key.name + ':' + http::role_name(key.role));
    return joined(keys);
}

Status apply_root_key_file(const SettingInput& input, Settings& settings) {
    settings.root_key_file = input.text;
    return {};
}

constexpr std::uint64_t memory_min = 64 * limits::mib;
// Fewer than four files leave nothing to reuse while a checkpoint runs.
constexpr std::uint64_t wal_bytes_min = 4 * limits::wal_file_bytes;
// The words of the table below say these numbers.
static_assert(memory_min == 64 * limits::mib && limits::dedup_memory_min == 4 * limits::mib);
static_assert(wal_bytes_min == 256 * limits::mib && limits::entry_bytes_max == 80 * limits::mib);

Status apply_memory(const SettingInput& input, Settings& settings) {
    return apply_size(input, memory_min, settings.memory_bytes);
}

Status apply_dedup_memory(const SettingInput& input, Settings& settings) {
    if (input.text == "memory/4") return {};  // settled once every value is known
    return apply_size(input, limits::dedup_memory_min, settings.dedup_memory_bytes);
}

Status apply_wal_bytes(const SettingInput& input, Settings& settings) {
    return apply_size(input, wal_bytes_min, settings.wal_bytes);
}

Status apply_lag_bytes(const SettingInput& input, Settings& settings) {
    return apply_size(input, limits::entry_bytes_max, settings.apply_lag_bytes);
}

Status apply_fsync(const SettingInput& input, Settings& /*settings*/) {
    return input.text == "quorum" ? Status() : not_allowed();
}

Status apply_undeclared(const SettingInput& input, Settings& settings) {
    if (input.text != "allow" && input.text != "deny") return not_allowed();
    settings.undeclared_streams = input.text == "allow";
    return {};
}

Status apply_insecure(const SettingInput& input, Settings& settings) {
    const Result<bool> yes = parse_bool(input.text);
    if (!yes) return not_allowed();
    settings.insecure = yes.value();
    return {};
}

// In the order of --help, `weir config print` and sys.config.
constexpr std::array records{
    SettingRecord{"node", "data_dir", SettingType::text, "--data", "DIR", "./weir-data", "where everything is kept",
                  "a folder", apply_data_dir, [](const Settings& s) { return s.data_dir; }},
    SettingRecord{"node", "id", SettingType::text, "--node-id", "NAME", "n1", "this node's name",
                  "1 to 64 of the letters A-Z a-z 0-9 - _ .", apply_node_id,
                  [](const Settings& s) { return s.node_id; }},
    SettingRecord{"http", "listen", SettingType::address, "--http", "HOST:PORT", "127.0.0.1:8080",
                  "where HTTP is served; port 0 picks one", "an address such as 127.0.0.1:8080 or [::1]:8080",
                  apply_http_listen, [](const Settings& s) { return s.http_listen; }},
    SettingRecord{"", "insecure", SettingType::boolean, "--insecure", "", "false",
                  "allow an address that others can reach, without keys", "true or false", apply_insecure,
                  [](const Settings& s) { return std::string(s.insecure ? "true" : "false"); }},
    SettingRecord{"http", "hosts", SettingType::list, "", "", "", "further host names that browsers may use",
                  "host names, without http://", apply_hosts, [](const Settings& s) { return joined(s.http_hosts); }},
    SettingRecord{"http", "origins", SettingType::list, "", "", "", "further origins that browsers may come from",
                  "origins such as https://app.example.com, without a path", apply_origins,
                  [](const Settings& s) { return joined(s.http_origins); }},
    SettingRecord{"auth", "mode", SettingType::choice, "", "", "auto", "none, keys, or auto: keys where there are any",
                  "none, keys or auto", apply_auth_mode, show_auth_mode},
    SettingRecord{"auth", "keys", SettingType::keys, "", "", "",
                  "API keys, each name:role:sha256; roles are reader, writer, admin",
                  "keys with a name (of A-Z a-z 0-9 - _ .), a role (reader, writer or admin) and a sha256 (64 hex "
                  "digits)",
                  apply_keys, show_keys},
    SettingRecord{"auth", "root_key_file", SettingType::text, "", "", "", "file that holds the API key of an admin",
                  "a file that only its owner can read", apply_root_key_file,
                  [](const Settings& s) { return s.root_key_file; }},
    SettingRecord{"limits", "memory", SettingType::size, "", "", "512MiB", "memory that caches and queues may take",
                  "a size such as 512MiB, 64MiB at least", apply_memory,
                  [](const Settings& s) { return size_text(s.memory_bytes); }},
    SettingRecord{"limits", "dedup_memory", SettingType::size, "", "", "memory/4", "memory of the dedup filters",
                  "memory/4, or a size such as 128MiB, 4MiB at least", apply_dedup_memory,
                  [](const Settings& s) { return size_text(s.dedup_memory_bytes); }},
    SettingRecord{"storage", "wal_bytes", SettingType::size, "", "", "1GiB",
                  "write-ahead log above which a checkpoint is due", "a size such as 1GiB, 256MiB at least",
                  apply_wal_bytes, [](const Settings& s) { return size_text(s.wal_bytes); }},
    SettingRecord{"storage", "apply_lag_bytes", SettingType::size, "", "", "1GiB",
                  "lag of apply above which proposals wait", "a size such as 1GiB, 80MiB at least", apply_lag_bytes,
                  [](const Settings& s) { return size_text(s.apply_lag_bytes); }},
    SettingRecord{"storage", "fsync", SettingType::choice, "", "", "quorum",
                  "quorum: answered once it is on the disks of a majority",
                  "quorum: nothing is acknowledged before it is on the disks of a majority", apply_fsync,
                  [](const Settings&) { return std::string("quorum"); }},
    SettingRecord{"streams", "undeclared", SettingType::choice, "", "", "allow",
                  "allow or deny: the first event creates its stream", "allow or deny", apply_undeclared,
                  [](const Settings& s) { return std::string(s.undeclared_streams ? "allow" : "deny"); }},
};

std::string upper(std::string_view text) {
    std::string out(text);
    for (char& c : out) {
        if (c >= 'a' && c <= 'z') c = static_cast<char>(c - 'a' + 'A');
    }
    return out;
}

}  // namespace

const char* setting_type_name(SettingType type) {
    switch (type) {
        case SettingType::text:
            return "text";
        case SettingType::size:
            return "size";
        case SettingType::boolean:
            return "boolean";
        case SettingType::choice:
            return "choice";
        case SettingType::address:
            return "address";
        case SettingType::list:
            return "list";
        case SettingType::keys:
            return "keys";
    }
    return "text";
}

const char* setting_type_in_file(SettingType type) {
    switch (type) {
        case SettingType::size:
            return "a size in quotes, with its unit";
        case SettingType::boolean:
            return "a boolean";
        case SettingType::list:
            return "a list of strings";
        case SettingType::keys:
            return "a list of tables";
        case SettingType::text:
        case SettingType::choice:
        case SettingType::address:
            return "a string";
    }
    return "a string";
}

std::span<const SettingRecord> setting_records() {
    return records;
}

std::string setting_name(const SettingRecord& record) {
    return record.section[0] == '\0' ? record.key : std::string(record.section) + "." + record.key;
}

std::string environment_name(const SettingRecord& record) {
    return "WEIR_" + (record.section[0] == '\0' ? std::string() : upper(record.section) + "_") + upper(record.key);
}

}  // namespace weir::node
