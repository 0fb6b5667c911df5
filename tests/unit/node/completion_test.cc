#include "node/completion.h"

#include "node/help.h"

#include <catch2/catch_test_macros.hpp>

#include <algorithm>

namespace weir::node {
namespace {

std::string script(const char* shell) {
    const Result<std::string> text = completion_script(shell);
    REQUIRE(text);
    return text.value();
}

// As fish writes an option.
std::string fish_name(const std::string& name) {
    return name.starts_with("--") ? " -l " + name.substr(2) : " -s " + name.substr(1);
}

std::string man_name(std::string name) {
    for (std::size_t at = 0; (at = name.find('-', at)) != std::string::npos; at += 2)
        name.insert(at, "\\");
    return name;
}

TEST_CASE("every command and option of the help is in each completion and in the man page") {
    const std::string bash = script("bash"), zsh = script("zsh"), fish = script("fish"), man = man_page();
    for (const CommandInfo& command : describe_commands()) {
        INFO("weir " << command.name);
        const std::size_t in_bash = bash.find("\n        '" + command.name + "') words=");
        const std::size_t in_zsh = zsh.find("\n        '" + command.name + "')\n");
        REQUIRE(in_bash != std::string::npos);
        REQUIRE(in_zsh != std::string::npos);
        const std::string bash_case = bash.substr(in_bash, bash.find(";;", in_bash) - in_bash);
        const std::string zsh_case = zsh.substr(in_zsh, zsh.find(";;", in_zsh) - in_zsh);
        const std::size_t in_man =
            command.name.empty() ? man.find(".SH OPTIONS") : man.find(".SS weir " + man_name(command.name) + "\n");
        REQUIRE(in_man != std::string::npos);
        const std::string section = man.substr(in_man, man.find("\n.S", in_man + 1) - in_man);
        if (!command.name.empty()) {
            CHECK(fish.find(" -a " + command.name.substr(command.name.rfind(' ') + 1) + " -d ") != std::string::npos);
            CHECK(help_text(command.name).find(command.name.substr(0, command.name.find(' '))) != std::string::npos);
        }
        for (const OptionInfo& option : command.options) {
            for (const std::string& name : option.names) {
                INFO(name);
                CHECK(section.find("\\fB" + man_name(name) + "\\fR") != std::string::npos);
                if (option.is_positional) continue;
                CHECK((bash_case + " ").find(name) != std::string::npos);
                CHECK(zsh_case.find("'" + name + ":") != std::string::npos);
                CHECK(fish.find(fish_name(name)) != std::string::npos);
                const bool is_on_first_page = command.name.empty() || name == "--help" || name == "-h";
                if (!is_on_first_page) CHECK(help_text(command.name).find(name) != std::string::npos);
            }
        }
    }
}

TEST_CASE("what an option may be is completed too") {
    CHECK(script("bash").find("'sql -o'|'sql --output') COMPREPLY=($(compgen -W 'table json ndjson csv'") !=
          std::string::npos);
    CHECK(script("bash").find("'serve --config') COMPREPLY=($(compgen -f") != std::string::npos);
    CHECK(script("bash").find("'help') words='exit-codes serve") != std::string::npos);
    CHECK(script("zsh").find("'tail -o'|'tail --output') compadd -- raw pretty json; return") != std::string::npos);
    CHECK(script("fish").find("seen_subcommand_from completion' -a 'bash zsh fish'") != std::string::npos);
    // The server's own command is nobody's to type.
    CHECK(script("bash").find("sql-worker") == std::string::npos);
}

TEST_CASE("shells that there are not") {
    CHECK(completion_script("tcsh").error().detail == "SHELL is bash, zsh or fish, not \"tcsh\"");
    CHECK_FALSE(completion_script(""));
}

TEST_CASE("no line of the man page is taken for a macro by chance") {
    const std::string man = man_page();
    CHECK(man.starts_with(".TH WEIR 1 "));
    std::size_t macros = 0;
    for (std::size_t at = 0; at < man.size(); at = man.find('\n', at) + 1) {
        if (man[at] != '.') continue;
        ++macros;
        const std::string word = man.substr(at, man.find_first_of(" \n", at) - at);
        const std::vector<std::string> known{".TH", ".SH", ".SS", ".TP", ".PP", ".nf", ".fi", ".B", ".br"};
        INFO(word);
        CHECK(std::ranges::find(known, word) != known.end());
    }
    CHECK(macros > 100);
    CHECK(man.find("124  timeout") != std::string::npos);
}

}  // namespace
}  // namespace weir::node
