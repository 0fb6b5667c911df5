// What `weir serve` can be told: one record an option, with its flag, its environment name, its default and its words.
//
// Precedence: flag, then environment (WEIR_SECTION_KEY), then the default. A value keeps its origin, so that the
// settings page and sys.config can say where it came from.
#pragma once

#include "base/result.h"

#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace weir::node {

struct Settings {
    std::string data_dir;
    std::string node_id;
    std::string http_listen;                // host:port
    std::vector<std::string> http_hosts;    // further names that Host may carry
    std::vector<std::string> http_origins;  // further origins that browsers may come from
    std::uint64_t memory_bytes = 0;
    std::uint64_t dedup_memory_bytes = 0;  // a quarter of memory_bytes unless told
    std::uint64_t wal_bytes = 0;
    std::uint64_t apply_lag_bytes = 0;
    bool undeclared_streams = true;
    bool insecure = false;
};

struct SettingRecord {
    const char* section;  // "" for a key outside of all sections
    const char* key;
    const char* flag;          // "--data", or "" where there is none
    const char* argument;      // "DIR", "" for a switch
    const char* default_text;  // as a user would write it
    const char* help;          // one line
    // Errors: invalid_argument, says what is expected.
    Status (*apply)(std::string_view text, Settings& settings);
};

std::span<const SettingRecord> setting_records();
std::string setting_name(const SettingRecord& record);      // "limits.memory"
std::string environment_name(const SettingRecord& record);  // "WEIR_LIMITS_MEMORY"

enum class Origin : std::uint8_t { built_in, environment, flag };
const char* origin_name(Origin origin);  // "default", "env", "flag"

struct EffectiveSetting {
    std::string name;   // "limits.memory"
    std::string value;  // as given
    Origin origin = Origin::built_in;
};

struct LoadedSettings {
    Settings settings;
    std::vector<EffectiveSetting> effective;  // in the records' order
    std::vector<std::string> warnings;        // unknown WEIR_ variables, with the name that was perhaps meant
};

using TextMap = std::map<std::string, std::string, std::less<>>;

// `flags`: by flag ("--data"), values as given, "true" for a switch. `environment`: every variable; others than WEIR_
// are ignored. Errors: invalid_argument, names the flag or the variable, the value and what is expected.
Result<LoadedSettings> load_settings(const TextMap& flags, const TextMap& environment);

TextMap process_environment();

// "512MiB", "1GiB", "64KB", "4096", "1.5 GiB": KB is 1000, KiB is 1024. Errors: invalid_argument (not a size, over
// 2^62).
Result<std::uint64_t> parse_size(std::string_view text);

struct HostPort {
    std::string host;  // without the brackets of an IPv6 literal
    std::uint16_t port = 0;
};
// "127.0.0.1:8080", "[::1]:8080", "localhost:0". Errors: invalid_argument.
Result<HostPort> parse_host_port(std::string_view text);
// 127.0.0.0/8, ::1 or localhost. Any other name may lead anywhere, so it is not.
bool is_loopback(std::string_view host);

}  // namespace weir::node
