// The API key of an admin from a file of its own, so that it stands in no configuration and on no command line.
#pragma once

#include "base/result.h"
#include "http/auth.h"

#include <string>

namespace weir::node {

inline constexpr const char* root_key_name = "root";

// The file's first and only line; spaces around it do not count. What is kept is the key's SHA-256. Errors:
// invalid_argument (not there, not a file, readable for others, too short, not one line of printable ASCII).
Result<http::ApiKey> read_root_key(const std::string& path);

// A key for the client commands from a file: the same rules, but for its length, and the key itself.
Result<std::string> read_key_file(const std::string& path);

}  // namespace weir::node
