// The file's side of the settings: which entry is which setting, what type it must have, and what was perhaps meant
// where a name is unknown.
#pragma once

#include "base/result.h"
#include "node/config_file.h"
#include "node/settings.h"

#include <cstddef>
#include <string>
#include <vector>

namespace weir::node {

// "weir.toml:7"
std::string place_in(const ConfigFile& file, std::size_t line);

// The entry of a setting; null: the file does not say it.
const FileEntry* entry_of(const ConfigFile& file, const SettingRecord& record);

// Errors: invalid_argument (another type); the detail begins with file:line, position is the line.
Result<SettingInput> input_of(const ConfigFile& file, const FileEntry& entry, const SettingRecord& record);

// Keys and sections that no setting has, each as such an error.
std::vector<Error> unknown_names(const ConfigFile& file);

}  // namespace weir::node
