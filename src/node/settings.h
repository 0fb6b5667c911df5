// What `weir serve` can be told: one record an option, with its name, type, default, bounds and words. Flags,
// variables, the file's keys, --help, `weir config` and sys.config are all made from this table.
//
// Precedence: flag, then environment (WEIR_SECTION_KEY), then file, then default. A value keeps its origin.
#pragma once

#include "base/result.h"
#include "http/auth.h"
#include "node/config_file.h"
#include "node/setting_values.h"

#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace weir::node {

enum class AuthMode : std::uint8_t { automatic, none, keys };

struct Settings {
    std::string data_dir;
    std::string node_id;
    std::string http_listen;                // host:port
    std::vector<std::string> http_hosts;    // further names that Host may carry
    std::vector<std::string> http_origins;  // further origins that browsers may come from
    AuthMode auth_mode = AuthMode::automatic;
    std::vector<http::ApiKey> auth_keys;  // as configured
    std::string root_key_file;            // "" none
    std::vector<http::ApiKey> api_keys;   // what counts: auth_keys, and the root key's; empty: everybody is an admin
    std::uint64_t memory_bytes = 0;
    std::uint64_t dedup_memory_bytes = 0;  // a quarter of memory_bytes unless told
    std::uint64_t wal_bytes = 0;
    std::uint64_t apply_lag_bytes = 0;
    bool undeclared_streams = true;
    bool insecure = false;
};

enum class SettingType : std::uint8_t { text, size, boolean, choice, address, list, keys };
const char* setting_type_name(SettingType type);  // "text", "size", ...
// A value of the type as the file has it: "a string", "a size in quotes, such as \"512MiB\"".
const char* setting_type_in_file(SettingType type);

// One key of auth.keys, unchecked.
struct KeyInput {
    std::string name, role, sha256;
};
// A value as it came, by the record's type.
struct SettingInput {
    std::string text{};                // all but list and keys
    std::vector<std::string> items{};  // list
    std::vector<KeyInput> keys{};      // keys
};

struct SettingRecord {
    const char* section;  // "" for a key outside of all sections
    const char* key;
    SettingType type;
    const char* flag;          // "--data", or "" where there is none
    const char* argument;      // "DIR", "" for a switch
    const char* default_text;  // as a user would write it in a variable
    const char* help;          // one line
    const char* allowed;       // what a value may be, behind "expected"
    // Errors: invalid_argument; its detail adds to `allowed` ("" nothing). Of a list: position = the item, from 0.
    Status (*apply)(const SettingInput& input, Settings& settings);
    std::string (*show)(const Settings& settings);  // the value in effect; never a secret
};

std::span<const SettingRecord> setting_records();
std::string setting_name(const SettingRecord& record);      // "limits.memory"
std::string environment_name(const SettingRecord& record);  // "WEIR_LIMITS_MEMORY"

enum class Origin : std::uint8_t { built_in, file, environment, flag };
const char* origin_name(Origin origin);  // "default", "file", "env", "flag"

struct EffectiveSetting {
    std::string name;   // "limits.memory"
    std::string value;  // in effect; never a secret
    Origin origin = Origin::built_in;
    std::string source = {};  // "weir.toml:7", "WEIR_LIMITS_MEMORY", "--data", "" the default
};

struct LoadedSettings {
    Settings settings;
    std::vector<EffectiveSetting> effective;  // in the records' order
    std::vector<std::string> warnings;        // unknown WEIR_ variables, keys that travel in the clear
};

using TextMap = std::map<std::string, std::string, std::less<>>;

// `flags`: by flag ("--data"), values as given, "true" for a switch. `environment`: every variable; others than WEIR_
// are ignored. Reads the file that auth.root_key_file names. Errors: invalid_argument; the detail has a line for each
// mistake, which names the flag, the variable or file:line, the key, the value (not of keys) and what is expected.
Result<LoadedSettings> load_settings(const TextMap& flags, const TextMap& environment, const ConfigFile& file = {});

TextMap process_environment();

}  // namespace weir::node
