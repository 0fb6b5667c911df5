// Any text as a configuration file. A mistake names the file and its line, on lines that a terminal can show; what is
// accepted prints as a file that says the same, and never a key's digest.
#include "node/config_command.h"
#include "node/settings.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

using namespace weir;
using namespace weir::node;

namespace {

void require(bool claim) {
    if (!claim) std::abort();
}

void check_mistakes(const Error& error, std::string_view text) {
    require(error.code == Errc::invalid_argument && !error.detail.empty());
    const auto lines = static_cast<std::size_t>(std::ranges::count(text, '\n')) + 1;
    std::string_view rest = error.detail;
    while (!rest.empty()) {
        const std::string_view mistake = rest.substr(0, rest.find('\n'));
        rest.remove_prefix(std::min(mistake.size() + 1, rest.size()));
        require(
            std::ranges::none_of(mistake, [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7f; }));
        if (!mistake.starts_with("f.toml:")) continue;
        const auto line = std::strtoul(std::string(mistake.substr(7)).c_str(), nullptr, 10);
        require(line >= 1 && line <= lines);
    }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    const std::string_view text(reinterpret_cast<const char*>(data), size);
    const auto file = parse_config(text, "f.toml");
    if (!file) {
        check_mistakes(file.error(), text);
        return 0;
    }
    // The key's file is not the fuzzer's to choose.
    TextMap environment{{"WEIR_AUTH_ROOT_KEY_FILE", ""}};
    const auto loaded = load_settings({}, environment, file.value());
    if (!loaded) {
        check_mistakes(loaded.error(), text);
        return 0;
    }
    const std::string printed = settings_as_toml(loaded.value(), true);
    for (const http::ApiKey& key : loaded.value().settings.auth_keys) {
        const std::string digest = os::hex_of(key.sha256);
        require(printed.find(digest) == std::string::npos);
        environment["WEIR_AUTH_KEYS"] += key.name + ':' + http::role_name(key.role) + ':' + digest + ',';
    }
    const auto again_file = parse_config(printed, "again.toml");
    require(again_file.has_value());
    const auto again = load_settings({}, environment, again_file.value());
    require(again.has_value());
    for (std::size_t i = 0; i < loaded.value().effective.size(); ++i)
        require(again.value().effective[i].value == loaded.value().effective[i].value);
    return 0;
}
