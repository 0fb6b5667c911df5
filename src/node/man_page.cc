#include "node/completion.h"
#include "node/exit_code.h"
#include "node/help.h"

#include <string>

namespace weir::node {
namespace {

// Text for man(7): a backslash and a hyphen are characters, and no line is taken for a macro.
std::string escaped(std::string_view text) {
    std::string out;
    bool at_line_start = true;
    for (const char c : text) {
        if (at_line_start && (c == '.' || c == '\'')) out += "\\&";
        if (c == '\\') {
            out += "\\e";
        } else if (c == '-') {
            out += "\\-";
        } else {
            out += c;
        }
        at_line_start = c == '\n';
    }
    return out;
}

std::string literal(std::string_view lines) {
    return ".PP\n.nf\n" + escaped(lines) + ".fi\n";
}

std::string option_paragraph(const OptionInfo& option) {
    std::string left;
    for (const std::string& name : option.names)
        left += (left.empty() ? "\\fB" : ", \\fB") + escaped(name) + "\\fR";
    if (!option.argument.empty()) left += " \\fI" + escaped(option.argument) + "\\fR";
    return ".TP\n" + left + "\n" + escaped(option.text) + "\n";
}

}  // namespace

std::string man_page() {
    const std::vector<CommandInfo> commands = describe_commands();
    const CommandInfo& weir = commands.front();
    std::string page = ".TH WEIR 1 \"\" \"weir " WEIR_VERSION "\" \"User Commands\"\n.SH NAME\nweir \\- " +
                       escaped(weir.summary.substr(weir.summary.find(' ') + 1)) + "\n.SH SYNOPSIS\n";
    for (const CommandInfo& command : commands) {
        if (!command.name.empty() && command.name.find(' ') == std::string::npos) {
            page += ".B " + escaped(command.usage) + "\n.br\n";
        }
    }
    page += ".SH EXAMPLES\n" + literal(weir.examples) + ".SH OPTIONS\n";
    for (const OptionInfo& option : weir.options)
        page += option_paragraph(option);
    page += ".SH COMMANDS\n";
    for (const CommandInfo& command : commands) {
        if (command.name.empty()) continue;
        page += ".SS " + escaped("weir " + command.name) + "\n" + escaped(command.summary) + "\n";
        if (!command.examples.empty()) page += literal(command.examples);
        for (const OptionInfo& option : command.options)
            page += option_paragraph(option);
        if (!command.notes.empty()) page += ".PP\n" + escaped(command.notes);
    }
    return page + ".SH EXIT STATUS\n" + literal(exit_codes_text());
}

}  // namespace weir::node
