// What is made of the description of the command line for others to read: the shells' completions, the man page.
#pragma once

#include "base/result.h"

#include <string>
#include <string_view>

namespace weir::node {

// A script for the shell to source: `weir completion bash|zsh|fish`. Names of streams are asked of the server when they
// are wanted. Errors: invalid_argument (another shell; lists those that there are).
Result<std::string> completion_script(std::string_view shell);

// The man page weir(1), as man(7) macros: `weir man`.
std::string man_page();

}  // namespace weir::node
