// What a user may type, as values: the command line's tree with the words of its help. --help, the shells' completions
// and the man page are made from this one description.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace weir::node {

struct OptionInfo {
    std::vector<std::string> names;  // "-o", "--output"; of a positional argument its name, "STREAM"
    bool is_positional = false;
    std::string argument;              // "WHAT", "" for a switch
    std::string text;                  // one line
    std::vector<std::string> choices;  // the words it may be, where those are few
};

struct CommandInfo {
    std::string name;      // "stream ls"; "" weir itself
    std::string usage;     // "weir stream ls"
    std::string summary;   // one line
    std::string examples;  // lines, each beginning with two spaces
    std::vector<OptionInfo> options;
    std::string notes;  // lines behind the options
    bool has_children = false;
};

// In the order of the help; weir itself first, a command before its parts. Made anew at each call.
std::vector<CommandInfo> describe_commands();

// The help of a command ("" is weir itself, "stream ls", "exit-codes"), at most 24 lines; "" where there is no such
// command.
std::string help_text(std::string_view command);
// "serve", "sql", ..., and "stream ls", "bench ingest" ...: what a user may type.
std::vector<std::string> command_names();

}  // namespace weir::node
