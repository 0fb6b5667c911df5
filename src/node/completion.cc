#include "node/completion.h"

#include "node/help.h"

#include <algorithm>

namespace weir::node {
namespace {

// How the scripts ask for the names of streams: quick, and silent where there is no server.
constexpr const char* stream_names =
    "weir sql -o csv --timeout 2s 'SELECT name FROM sys.streams ORDER BY 1' 2>/dev/null | tail -n +2";

std::string joined(const std::vector<std::string>& words, std::string_view between) {
    std::string text;
    for (const std::string& word : words)
        text += (text.empty() ? "" : std::string(between)) + word;
    return text;
}

std::string in_single_quotes(std::string_view text) {
    std::string out = "'";
    for (const char c : text)
        out += c == '\'' ? std::string("'\\''") : std::string(1, c);
    return out + "'";
}

// The words right below a command.
std::vector<const CommandInfo*> parts_of(const std::vector<CommandInfo>& commands, const std::string& name) {
    std::vector<const CommandInfo*> parts;
    for (const CommandInfo& command : commands) {
        if (command.name.empty()) continue;
        const std::size_t gap = command.name.rfind(' ');
        if ((gap == std::string::npos ? "" : command.name.substr(0, gap)) == name) parts.push_back(&command);
    }
    return parts;
}

std::string last_word(const std::string& name) {
    return name.substr(name.rfind(' ') + 1);
}

bool takes_file(const OptionInfo& option) {
    return option.argument == "FILE" || option.argument == "DIR" ||
           (option.is_positional && option.names.front() == "FILE");
}

bool takes_stream(const CommandInfo& command) {
    return std::ranges::any_of(command.options,
                               [](const OptionInfo& o) { return o.is_positional && o.names.front() == "STREAM"; });
}

std::vector<std::string> flags_of(const CommandInfo& command) {
    std::vector<std::string> flags;
    for (const OptionInfo& option : command.options) {
        if (!option.is_positional) flags.insert(flags.end(), option.names.begin(), option.names.end());
    }
    return flags;
}

// What may stand as a word of its own behind a command: its parts, what its argument may be.
std::vector<std::string> words_behind(const std::vector<CommandInfo>& commands, const CommandInfo& command) {
    std::vector<std::string> words;
    for (const CommandInfo* part : parts_of(commands, command.name))
        words.push_back(last_word(part->name));
    for (const OptionInfo& option : command.options) {
        if (option.is_positional) words.insert(words.end(), option.choices.begin(), option.choices.end());
    }
    return words;
}

// Which of the words on the line name the command; shared by bash and zsh, whose words count from 0 and 1.
std::string path_case(const std::vector<CommandInfo>& commands, const char* first, const char* second) {
    std::vector<std::string> doubles;
    for (const CommandInfo& command : commands) {
        if (command.name.find(' ') != std::string::npos) doubles.push_back(in_single_quotes(command.name));
    }
    return std::string("    case \"") + first + " " + second + "\" in\n        " + joined(doubles, "|") + ") path=\"" +
           first + " " + second + "\" ;;\n        *) path=\"" + first + "\" ;;\n    esac\n";
}

// The pattern of a `case` over "command previous-word": what stands behind this option is completed.
std::string option_case(const CommandInfo& command, const OptionInfo& option) {
    std::vector<std::string> patterns;
    for (const std::string& name : option.names)
        patterns.push_back(in_single_quotes(command.name + " " + name));
    return "        " + joined(patterns, "|") + ") ";
}

std::string bash_script(const std::vector<CommandInfo>& commands) {
    std::string text =
        "# Completion of weir for bash: source it, or put it into /usr/share/bash-completion/completions/weir\n"
        "_weir() {\n"
        "    local current=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD-1]} path= words=\n"
        "    local first=${COMP_WORDS[1]} second=\n"
        "    [ \"$COMP_CWORD\" -gt 1 ] || first=\n"
        "    [ \"$COMP_CWORD\" -lt 3 ] || second=${COMP_WORDS[2]}\n" +
        path_case(commands, "$first", "$second") + "    COMPREPLY=()\n    case \"$path $previous\" in\n";
    for (const CommandInfo& command : commands) {
        for (const OptionInfo& option : command.options) {
            if (option.is_positional || option.argument.empty()) continue;
            text += option_case(command, option);
            if (takes_file(option)) {
                text += "COMPREPLY=($(compgen -f -- \"$current\")); ";
            } else if (!option.choices.empty()) {
                text +=
                    "COMPREPLY=($(compgen -W " + in_single_quotes(joined(option.choices, " ")) + " -- \"$current\")); ";
            }
            text += "return ;;\n";
        }
    }
    text += "    esac\n    case \"$path\" in\n";
    for (const CommandInfo& command : commands) {
        std::vector<std::string> words = words_behind(commands, command);
        std::ranges::move(flags_of(command), std::back_inserter(words));
        text += "        " + in_single_quotes(command.name) + ") words=" + in_single_quotes(joined(words, " "));
        if (takes_stream(command)) {
            text += "\n            [ \"${current#-}\" != \"$current\" ] || words=\"$words $(" +
                    std::string(stream_names) + ")\"";
        }
        if (std::ranges::any_of(command.options,
                                [](const OptionInfo& o) { return o.is_positional && takes_file(o); })) {
            text += "\n            [ \"${current#-}\" != \"$current\" ] || COMPREPLY=($(compgen -f -- \"$current\"))";
        }
        text += " ;;\n";
    }
    return text +
           "    esac\n    COMPREPLY+=($(compgen -W \"$words\" -- \"$current\"))\n}\n"
           "complete -o filenames -F _weir weir\n";
}

std::string zsh_item(const std::string& name, std::string text) {
    for (std::size_t at = 0; (at = text.find(':', at)) != std::string::npos; at += 2)
        text.insert(at, "\\");
    return in_single_quotes(name + ":" + text);
}

std::string zsh_script(const std::vector<CommandInfo>& commands) {
    std::string text =
        "#compdef weir\n"
        "# Completion of weir for zsh: put it as _weir into a folder of $fpath\n"
        "_weir() {\n"
        "    local first='' second='' where previous=${words[CURRENT-1]}\n"
        "    local -a items\n"
        "    (( CURRENT > 2 )) && first=${words[2]}\n"
        "    (( CURRENT > 3 )) && second=${words[3]}\n" +
        path_case(commands, "$first", "$second") + "    case \"$where $previous\" in\n";
    // In zsh `path` is the search path.
    for (std::size_t at = 0; (at = text.find("path=\"", at)) != std::string::npos; at += 5)
        text.replace(at, 4, "where");
    for (const CommandInfo& command : commands) {
        for (const OptionInfo& option : command.options) {
            if (option.is_positional || option.argument.empty()) continue;
            text += option_case(command, option);
            if (takes_file(option)) {
                text += "_files; ";
            } else if (!option.choices.empty()) {
                text += "compadd -- " + joined(option.choices, " ") + "; ";
            } else {
                text += "_message " + in_single_quotes(option.argument) + "; ";
            }
            text += "return ;;\n";
        }
    }
    text += "    esac\n    case \"$where\" in\n";
    for (const CommandInfo& command : commands) {
        text += "        " + in_single_quotes(command.name) + ")\n            items=(";
        for (const CommandInfo* part : parts_of(commands, command.name))
            text += "\n                " + zsh_item(last_word(part->name), part->summary);
        for (const OptionInfo& option : command.options) {
            if (option.is_positional) {
                for (const std::string& choice : option.choices)
                    text += "\n                " + zsh_item(choice, "");
                continue;
            }
            for (const std::string& name : option.names)
                text += "\n                " + zsh_item(name, option.text);
        }
        text += ")\n";
        if (takes_stream(command)) text += "            compadd -- ${(f)\"$(" + std::string(stream_names) + ")\"}\n";
        if (std::ranges::any_of(command.options,
                                [](const OptionInfo& o) { return o.is_positional && takes_file(o); })) {
            text += "            _files\n";
        }
        text += "            ;;\n";
    }
    return text + "    esac\n    _describe weir items\n}\n_weir \"$@\"\n";
}

std::string fish_script(const std::vector<CommandInfo>& commands) {
    std::string text =
        "# Completion of weir for fish: put it into ~/.config/fish/completions/weir.fish\n"
        "complete -c weir -f\n";
    for (const CommandInfo& command : commands) {
        // A command's options stand behind its words, its parts where none of them stands yet.
        std::string condition = "__fish_use_subcommand";
        if (!command.name.empty()) {
            std::string seen = command.name;
            const std::size_t gap = seen.find(' ');
            if (gap != std::string::npos) seen.replace(gap, 1, "; and __fish_seen_subcommand_from ");
            condition = "__fish_seen_subcommand_from " + seen;
        }
        std::vector<std::string> parts;
        for (const CommandInfo* part : parts_of(commands, command.name))
            parts.push_back(last_word(part->name));
        const std::string head = "complete -c weir -n " + in_single_quotes(condition);
        std::string part_head = head;
        if (!command.name.empty() && !parts.empty()) {
            part_head = "complete -c weir -n " +
                        in_single_quotes(condition + "; and not __fish_seen_subcommand_from " + joined(parts, " "));
        }
        for (const CommandInfo* part : parts_of(commands, command.name))
            text += part_head + " -a " + last_word(part->name) + " -d " + in_single_quotes(part->summary) + "\n";
        if (takes_stream(command))
            text += head + " -a " + in_single_quotes("(" + std::string(stream_names) + ")") + "\n";
        for (const OptionInfo& option : command.options) {
            if (option.is_positional) {
                if (takes_file(option)) text += head + " -F\n";
                if (!option.choices.empty()) {
                    text += head + " -a " + in_single_quotes(joined(option.choices, " ")) + "\n";
                }
                continue;
            }
            text += head;
            for (const std::string& name : option.names)
                text += name.starts_with("--") ? " -l " + name.substr(2) : " -s " + name.substr(1);
            if (!option.argument.empty()) text += takes_file(option) ? " -r -F" : " -x";
            if (!option.choices.empty()) text += " -a " + in_single_quotes(joined(option.choices, " "));
            text += " -d " + in_single_quotes(option.text) + "\n";
        }
    }
    return text;
}

}  // namespace

Result<std::string> completion_script(std::string_view shell) {
    const std::vector<CommandInfo> commands = describe_commands();
    if (shell == "bash") return bash_script(commands);
    if (shell == "zsh") return zsh_script(commands);
    if (shell == "fish") return fish_script(commands);
    return Error{Errc::invalid_argument, "SHELL is bash, zsh or fish, not \"" + std::string(shell) + "\""};
}

}  // namespace weir::node
