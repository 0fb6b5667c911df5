#include "node/settings.h"

#include "base/limits.h"
#include "node/console.h"
#include "node/file_settings.h"
#include "node/root_key.h"

#include <algorithm>
#include <array>
#include <unistd.h>

namespace weir::node {
namespace {

constexpr std::size_t mistakes_told_max = 20;
constexpr std::size_t value_shown_bytes_max = 100;

// WEIR_ names that are no settings: of the client commands, and of the file itself.
constexpr std::array<std::string_view, 4> other_variables{"WEIR_SERVER", "WEIR_API_KEY", "WEIR_API_KEY_FILE",
                                                          "WEIR_CONFIG"};

std::string shown(std::string_view value) {
    const bool cut = value.size() > value_shown_bytes_max;
    return '"' + printable(value.substr(0, value_shown_bytes_max)) + (cut ? "...\"" : "\"");
}

std::vector<std::string> unknown_variables(const TextMap& environment) {
    std::vector<std::string> known;
    for (const SettingRecord& record : setting_records())
        known.push_back(environment_name(record));
    for (const std::string_view name : other_variables)
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

SettingInput input_from_text(const SettingRecord& record, std::string_view text) {
    if (record.type == SettingType::list) return {.items = parse_list(text)};
    if (record.type != SettingType::keys) return {.text = std::string(trimmed(text))};
    SettingInput input;
    for (const std::string& item : parse_list(text)) {
        const std::size_t first = std::min(item.find(':'), item.size());
        const std::size_t second = std::min(item.find(':', first + 1), item.size());
        const auto part = [&](std::size_t from, std::size_t to) {
            return from < to ? item.substr(from, to - from) : std::string();
        };
        input.keys.push_back({part(0, first), part(first + 1, second), part(second + 1, item.size())});
    }
    return input;
}

class Loader {
  public:
    Loader(const TextMap& flags, const TextMap& environment, const ConfigFile& file)
        : flags_(flags), environment_(environment), file_(file) {}

    Result<LoadedSettings> load() {
        for (Error& error : unknown_names(file_))
            add(std::move(error));
        for (const SettingRecord& record : setting_records())
            take(record);
        if (mistakes_.empty()) settle();
        if (!mistakes_.empty()) return Error{Errc::invalid_argument, told()};
        for (std::size_t i = 0; i < setting_records().size(); ++i)
            loaded_.effective[i].value = setting_records()[i].show(loaded_.settings);
        for (std::string& warning : unknown_variables(environment_))
            loaded_.warnings.push_back(std::move(warning));
        return std::move(loaded_);
    }

  private:
    struct Mistake {
        std::int64_t line = -1;  // of the file, -1: elsewhere
        std::string text;
    };
    void add(Error error) { mistakes_.push_back({error.position, std::move(error.detail)}); }
    void add(std::string text) { mistakes_.push_back({-1, std::move(text)}); }

    void take(const SettingRecord& record) {
        EffectiveSetting effective{setting_name(record), {}, Origin::built_in, {}};
        const auto flag = record.flag[0] == '\0' ? flags_.end() : flags_.find(record.flag);
        const auto variable = environment_.find(environment_name(record));
        const FileEntry* entry = entry_of(file_, record);
        std::string_view text = record.default_text;
        if (flag != flags_.end()) {
            text = flag->second;
            effective.origin = Origin::flag;
            effective.source = record.flag;
        } else if (variable != environment_.end()) {
            text = variable->second;
            effective.origin = Origin::environment;
            effective.source = variable->first;
        } else if (entry != nullptr) {
            effective.origin = Origin::file;
            effective.source = place_in(file_, entry->value.line);
        }
        if (entry != nullptr) {
            // What the file says must be right even where something else wins: else it breaks on another day.
            Settings other = loaded_.settings;
            apply_file(record, *entry, effective.origin == Origin::file ? loaded_.settings : other);
        }
        if (effective.origin != Origin::file) apply_text(record, text, effective);
        loaded_.effective.push_back(std::move(effective));
    }

    void apply_text(const SettingRecord& record, std::string_view text, const EffectiveSetting& effective) {
        const Status applied = record.apply(input_from_text(record, text), loaded_.settings);
        if (applied) return;
        const std::string name = effective.source.empty() ? effective.name : effective.source;
        const bool is_secret = record.type == SettingType::keys;
        add(name + (is_secret ? "" : " = " + shown(text)) + ": expected " + record.allowed + applied.error().detail);
    }

    void apply_file(const SettingRecord& record, const FileEntry& entry, Settings& settings) {
        const Result<SettingInput> input = input_of(file_, entry, record);
        if (!input) return add(input.error());
        const Status applied = record.apply(input.value(), settings);
        if (applied) return;
        const auto item = static_cast<std::size_t>(applied.error().position);
        const std::size_t line = item < entry.items.size() ? entry.items[item].value.line : entry.value.line;
        std::string value;
        if (entry.value.kind != FileKind::list) value = " = " + shown(entry.value.text);
        if (item < input.value().items.size()) value = " = " + shown(input.value().items[item]);
        mistakes_.push_back({static_cast<std::int64_t>(line), place_in(file_, line) + ": " + setting_name(record) +
                                                                  value + ": expected " + record.allowed +
                                                                  applied.error().detail});
    }

    // What no single record can decide.
    void settle() {
        Settings& settings = loaded_.settings;
        if (settings.dedup_memory_bytes == 0)
            settings.dedup_memory_bytes = std::max<std::uint64_t>(settings.memory_bytes / 4, limits::dedup_memory_min);
        if (settings.dedup_memory_bytes > settings.memory_bytes)
            add(place_of("limits.dedup_memory") + " is larger than limits.memory, of which it is a part");
        settle_keys();
        settle_listener();
    }

    void settle_keys() {
        Settings& settings = loaded_.settings;
        if (settings.auth_mode == AuthMode::none) {
            if (!settings.auth_keys.empty() || !settings.root_key_file.empty())
                loaded_.warnings.push_back(place_of("auth.mode") +
                                           " is none: there are API keys, and nobody needs one");
            return;
        }
        settings.api_keys = settings.auth_keys;
        if (!settings.root_key_file.empty()) {
            Result<http::ApiKey> root = read_root_key(settings.root_key_file);
            if (!root) return add(place_of("auth.root_key_file") + ": " + root.error().detail);
            settings.api_keys.push_back(std::move(root).value());
        }
        if (settings.auth_mode == AuthMode::keys && settings.api_keys.empty())
            add(place_of("auth.mode") + " is keys, and there are none: set auth.keys or auth.root_key_file");
    }

    void settle_listener() {
        const Settings& settings = loaded_.settings;
        const Result<HostPort> http = parse_host_port(settings.http_listen);
        if (!http || is_loopback(http.value().host)) return;
        const std::string where = place_of("http.listen") + " = " + settings.http_listen;
        if (!settings.api_keys.empty()) {
            loaded_.warnings.push_back(where +
                                       ": API keys travel there unencrypted; where the network is not trusted, "
                                       "put a proxy with TLS in front");
        } else if (!settings.insecure && mistakes_.empty()) {
            add(where +
                ": other machines can reach this address and there are no API keys: anybody could read and drop "
                "everything. Set auth.keys ([auth] keys in the file of --config, or WEIR_AUTH_KEYS), listen on "
                "127.0.0.1 (behind a proxy that authenticates), or say insecure = true (--insecure, "
                "WEIR_INSECURE=true) where the network itself is trusted");
        }
    }

    // Where a setting's value came from: "--http", "WEIR_HTTP_LISTEN", "weir.toml:3: http.listen".
    std::string place_of(std::string_view name) const {
        const auto found = std::ranges::find(loaded_.effective, name, &EffectiveSetting::name);
        if (found == loaded_.effective.end() || found->source.empty()) return std::string(name);
        return found->origin == Origin::file ? found->source + ": " + found->name : found->source;
    }

    std::string told() {
        std::ranges::stable_sort(mistakes_, {}, &Mistake::line);
        std::string text;
        for (std::size_t i = 0; i < std::min(mistakes_.size(), mistakes_told_max); ++i)
            text += (i > 0 ? "\n" : "") + mistakes_[i].text;
        if (mistakes_.size() > mistakes_told_max)
            text += "\nand " + std::to_string(mistakes_.size() - mistakes_told_max) + " more";
        return text;
    }

    const TextMap& flags_;
    const TextMap& environment_;
    const ConfigFile& file_;
    LoadedSettings loaded_;
    std::vector<Mistake> mistakes_;
};

}  // namespace

const char* origin_name(Origin origin) {
    switch (origin) {
        case Origin::built_in:
            return "default";
        case Origin::file:
            return "file";
        case Origin::environment:
            return "env";
        case Origin::flag:
            return "flag";
    }
    return "default";
}

Result<LoadedSettings> load_settings(const TextMap& flags, const TextMap& environment, const ConfigFile& file) {
    return Loader(flags, environment, file).load();
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

}  // namespace weir::node
