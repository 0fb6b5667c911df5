#include "node/help.h"

#include <catch2/catch_test_macros.hpp>

#include <algorithm>

namespace weir::node {
namespace {

const CommandInfo& command(const std::vector<CommandInfo>& commands, std::string_view name) {
    const auto found = std::ranges::find(commands, name, &CommandInfo::name);
    REQUIRE(found != commands.end());
    return *found;
}

TEST_CASE("every command and option says what it does, in one line") {
    for (const CommandInfo& info : describe_commands()) {
        INFO("command \"" << info.name << '"');
        CHECK_FALSE(info.summary.empty());
        CHECK(info.summary.find('\n') == std::string::npos);
        CHECK(info.usage.starts_with("weir"));
        if (info.name.find(' ') == std::string::npos) CHECK(info.examples.starts_with("  "));
        for (const OptionInfo& option : info.options) {
            REQUIRE_FALSE(option.names.empty());
            INFO(option.names.back());
            CHECK_FALSE(option.text.empty());
            CHECK(option.text.find('\n') == std::string::npos);
            if (option.is_positional) CHECK_FALSE(option.names.front().starts_with('-'));
        }
    }
}

TEST_CASE("a command is described with its parts, options and arguments") {
    const std::vector<CommandInfo> commands = describe_commands();
    CHECK(commands.front().name.empty());
    CHECK(commands.front().has_children);
    const CommandInfo& info = command(commands, "stream info");
    CHECK(info.usage == "weir stream info STREAM");
    CHECK_FALSE(info.has_children);
    const CommandInfo& sql = command(commands, "sql");
    const auto output = std::ranges::find_if(sql.options, [](const OptionInfo& o) {
        return o.names == std::vector<std::string>{"-o", "--output"};
    });
    REQUIRE(output != sql.options.end());
    CHECK(output->argument == "WHAT");
    const auto rows = std::ranges::find_if(
        sql.options, [](const OptionInfo& o) { return o.names == std::vector<std::string>{"--max-rows"}; });
    REQUIRE(rows != sql.options.end());
    CHECK(rows->argument == "N");  // and not what its bounds are
    CHECK(std::ranges::none_of(commands, [](const CommandInfo& c) { return c.name == "sql-worker"; }));
}

TEST_CASE("help of a command with parts tells each option once, and of which part it is") {
    const std::string text = help_text("config print");
    CHECK(text == help_text("config"));
    CHECK(text.find("--origin           print: say where") != std::string::npos);
    CHECK(text.find("--config FILE      settings as TOML") != std::string::npos);
    CHECK(text.find("--config FILE", text.find("--config FILE      settings") + 10) == std::string::npos);
}

}  // namespace
}  // namespace weir::node
