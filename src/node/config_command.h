// `weir config check | print`: what `weir serve` would do with the same file, variables and flags, without doing it.
#pragma once

#include "node/console.h"
#include "node/settings.h"

#include <string>

namespace weir::node {

enum class PrintFormat : std::uint8_t { toml, table, json, ndjson, csv };
// Errors: invalid_argument, lists the formats.
Result<PrintFormat> parse_print_format(std::string_view text);

struct ConfigPrintOptions {
    bool origin = false;  // in toml: say behind each value where it came from
    PrintFormat format = PrintFormat::toml;
};

// A line a setting, each `section.key = value`: a file that `weir serve --config` takes (API keys are a comment: their
// digests are not printed).
std::string settings_as_toml(const LoadedSettings& loaded, bool origin);

Exit run_config_print(const Console& console, const LoadedSettings& loaded, const ConfigPrintOptions& options);
// `path`: of the file, "" none was given.
Exit run_config_check(const Console& console, const LoadedSettings& loaded, const std::string& path);

}  // namespace weir::node
