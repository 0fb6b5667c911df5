#include "node/help.h"

#include "node/detail/tree.h"
#include "node/exit_code.h"

#include <algorithm>
#include <array>

namespace weir::node {
namespace {

// What the tree does not hold. `usage` is what stands behind the command's name.
struct CommandWords {
    const char* name;
    const char* usage;
    const char* examples;
    const char* notes;
};

constexpr std::array command_words{
    CommandWords{"", "",
                 "  weir demo                                           look around in a node with live traffic\n"
                 "  weir serve                                          start a node on 127.0.0.1:8080\n"
                 "  curl -d '{\"hello\":\"world\"}' http://127.0.0.1:8080/v1/streams/test/events\n"
                 "  weir sql 'SELECT * FROM test'                       read it back\n",
                 "weir COMMAND --help shows examples and options.\n"},
    CommandWords{"serve", "",
                 "  weir serve\n"
                 "  weir serve --config /etc/weir.toml --http 127.0.0.1:9000\n"
                 "  WEIR_LIMITS_MEMORY=2GiB weir serve\n",
                 ""},
    CommandWords{"demo", "",
                 "  weir demo\n"
                 "  weir demo --rate 5000 --seed 7\n"
                 "  weir demo --data ./weir-demo                kept, and gone on from the next time\n",
                 "A web shop's requests and orders, some sent twice, some late, some broken. The same seed sends\n"
                 "the same. It says what to try; Ctrl-C ends it and its node.\n"},
    CommandWords{
        "config", "check | print",
        "  weir config check --config /etc/weir.toml\n"
        "  weir config print --origin                  each setting, and where its value comes from\n"
        "  weir config print > weir.toml               a file to begin with\n",
        "It reads what `weir serve` would read. Exit code 2: something is wrong; each mistake is told with its "
        "line.\n"},
    CommandWords{
        "sql", "['STATEMENT' | -f FILE | -]",
        "  weir sql                                    on a terminal: type statements; Tab completes, \\? helps\n"
        "  weir sql 'SHOW STREAMS'\n"
        "  weir sql \"SELECT status, count(*) FROM access GROUP BY 1\" -o csv > by_status.csv\n"
        "  weir sql -f examples/access.sql\n"
        "  echo 'SELECT 1' | weir sql -\n",
        ""},
    CommandWords{"produce", "STREAM [FILE|-]",
                 "  weir produce access events.ndjson.gz\n"
                 "  tail -f app.log | weir produce app -\n"
                 "  weir produce access events.ndjson -o json | jq .accepted\n",
                 "Exit code 7 when some lines were rejected, 1 when all were or FILE is broken. What a lost connection "
                 "left\n"
                 "unacknowledged is sent again; without DEDUP it may then be stored twice (the summary says how "
                 "much).\n"},
    CommandWords{"tail", "STREAM",
                 "  weir tail access                            the last 10\n"
                 "  weir tail access --follow                   and what comes\n"
                 "  weir tail access --from 5m -o pretty        of the last five minutes\n"
                 "  weir tail access --follow --where 'status >= 500'\n"
                 "  weir tail access --from beginning -n 100 | jq .user_id\n",
                 ""},
    CommandWords{"stream", "ls | info STREAM",
                 "  weir stream ls\n"
                 "  weir stream info access\n"
                 "  weir stream ls --prefix shop. -o json\n",
                 ""},
    CommandWords{"status", "",
                 "  weir status\n"
                 "  weir status -o json | jq .ready\n",
                 "Rates are measured over one second. Exit code 0 healthy, 1 not ready, 3 no answer.\n"},
    CommandWords{
        "doctor", "",
        "  weir doctor\n"
        "  weir doctor --data /var/lib/weir -o json | jq .healthy\n",
        "No server may hold the directory: stop it first. It looks at the write-ahead log, the checkpoint, segments\n"
        "and their indexes, journals, dedup runs and the database, and repairs nothing. What fails is told with what\n"
        "to do. Exit code 0 all is well, 1 something is not, 5 no data directory, 6 a server holds it.\n"},
    CommandWords{
        "inspect", "wal | segment FILE | checkpoint | state",
        "  weir inspect wal --data ./weir-data\n"
        "  weir inspect segment weir-data/shards/0/streams/0_2/p0/00000000000000000000.log\n"
        "  weir inspect checkpoint -o ndjson | jq .holds\n",
        "No server may hold the directory; a segment may be looked at beside one. Exit code 1: something cannot be\n"
        "read; what could be is shown before. Whether all is well is asked by: weir doctor\n"},
    CommandWords{"bench", "ingest | e2e | sql | dedup | wal | nexmark",
                 "  weir bench ingest                       a fresh node on this disk, as fast as it goes\n"
                 "  weir bench e2e --rate 100000            at 100,000 events a second: how soon are they visible?\n"
                 "  weir bench ingest --runs 5 --json       the median of five, one JSON object\n"
                 "  weir bench sql                          scans of 4,000,000 events, pages of a large view\n"
                 "  weir bench dedup                        10,000,000 live ids, restarted\n"
                 "  weir bench nexmark                      each view on a fresh node, compared row by row\n",
                 "Exit code 1 when a count differs.\n"},
    CommandWords{"completion", "bash | zsh | fish",
                 "  source <(weir completion bash)              for this shell\n"
                 "  weir completion fish > ~/.config/fish/completions/weir.fish\n",
                 "It completes commands, options, files, and the names of the server's streams.\n"},
    CommandWords{"man", "", "  weir man | man -l -\n", ""},
    CommandWords{"version", "", "  weir version\n", ""},
    CommandWords{"help", "[COMMAND | exit-codes]", "  weir help sql\n  weir help exit-codes\n", ""},
};

const CommandWords& words_of(std::string_view name) {
    static constexpr CommandWords none{"", "", "", ""};
    const auto* found =
        std::ranges::find(command_words, name, [](const CommandWords& words) { return std::string_view(words.name); });
    return found == command_words.end() ? none : *found;
}

// What `text` lists, where an option wants one of a few known words.
std::vector<std::string> choices_in(std::string_view text) {
    constexpr auto known = std::to_array<std::string_view>(
        {"table", "json", "ndjson", "csv", "toml", "raw", "pretty", "bash", "zsh", "fish", "exit-codes"});
    std::vector<std::string> choices;
    for (std::size_t at = 0; at < text.size();) {
        const std::size_t end = std::min(text.find_first_not_of("abcdefghijklmnopqrstuvwxyz-", at), text.size());
        const std::string_view word = text.substr(at, end - at);
        if (std::ranges::find(known, word) != known.end()) choices.emplace_back(word);
        at = end + 1;
    }
    return choices;
}

OptionInfo describe(const CLI::Option& option) {
    OptionInfo info;
    info.text = option.get_description();
    info.is_positional = option.get_positional();
    if (info.is_positional) {
        info.names.push_back(option.get_name());
        if (info.names.front() != "FILE" && info.names.front() != "STATEMENT") info.choices = choices_in(info.text);
        return info;
    }
    for (const std::string& name : option.get_snames())
        info.names.push_back("-" + name);
    for (const std::string& name : option.get_lnames())
        info.names.push_back("--" + name);
    if (option.get_items_expected_max() > 0) info.argument = option.get_type_name();
    if (info.argument == "WHAT") info.choices = choices_in(info.text);
    return info;
}

// "  -o, --output WHAT"
std::string left_of(const OptionInfo& option) {
    std::string left = "  ";
    for (const std::string& name : option.names)
        left += (left.size() > 2 ? ", " : "") + name;
    if (!option.argument.empty()) left += " " + option.argument;
    return left;
}

struct Line {
    std::string left, text;
};

// Left sides padded to the widest of them.
std::string aligned(const std::vector<Line>& lines, std::size_t least) {
    std::size_t width = least;
    for (const Line& line : lines)
        width = std::max(width, line.left.size() + 2);
    std::string text;
    for (const Line& line : lines) {
        text += line.left + std::string(width - line.left.size(), ' ') + line.text + "\n";
    }
    return text;
}

std::vector<Line> option_lines(const std::vector<OptionInfo>& options) {
    std::vector<Line> lines;
    for (const OptionInfo& option : options) {
        const bool is_help = std::ranges::find(option.names, "--help") != option.names.end();
        if (option.is_positional || is_help) continue;
        lines.push_back({left_of(option), option.text});
    }
    return lines;
}

// The keys that only the file and the environment have.
std::vector<Line> key_lines() {
    std::vector<Line> lines;
    for (const SettingRecord& record : setting_records()) {
        if (record.flag[0] != '\0') continue;
        std::string text = record.help;
        if (record.default_text[0] != '\0' && record.type != SettingType::boolean) {
            text += "; default " + std::string(record.default_text);
        }
        lines.push_back({"  " + setting_name(record), text});
    }
    return lines;
}

// Options of the parts of a command, each once; said behind a part's name where not all have it.
std::vector<OptionInfo> options_of_parts(const std::vector<CommandInfo>& commands, const std::string& name) {
    std::vector<const CommandInfo*> parts;
    for (const CommandInfo& command : commands) {
        if (command.name.starts_with(name + " ")) parts.push_back(&command);
    }
    std::vector<OptionInfo> options;
    for (const CommandInfo* part : parts) {
        for (const OptionInfo& option : part->options) {
            const auto same = [&](const OptionInfo& other) { return other.names == option.names; };
            if (std::ranges::any_of(options, same)) continue;
            const auto has = [&](const CommandInfo* other) { return std::ranges::any_of(other->options, same); };
            options.push_back(option);
            if (!std::ranges::all_of(parts, has)) {
                std::string names;
                for (const CommandInfo* other : parts) {
                    if (has(other)) names += (names.empty() ? "" : ", ") + other->name.substr(name.size() + 1);
                }
                options.back().text = names + ": " + option.text;
            }
        }
    }
    return options;
}

std::string command_list(const std::vector<CommandInfo>& commands) {
    std::vector<Line> lines;
    for (const CommandInfo& command : commands) {
        if (!command.name.empty() && command.name.find(' ') == std::string::npos) {
            lines.push_back({"  " + command.name, command.summary});
        }
    }
    return "Commands\n" + aligned(lines, 0);
}

void describe_below(const CLI::App& app, const std::string& path, std::vector<CommandInfo>& into) {
    const auto parts = app.get_subcommands([](const CLI::App* part) { return !part->get_group().empty(); });
    CommandInfo info;
    info.name = path;
    info.summary = app.get_description();
    const CommandWords& words = words_of(path);
    info.usage = std::string(path.empty() ? "weir" : "weir ") + path;
    if (words.usage[0] != '\0') {
        info.usage += std::string(" ") + words.usage;
    } else {
        for (const CLI::Option* option : app.get_options()) {
            if (option->get_positional()) info.usage += " " + option->get_name();
        }
    }
    info.examples = words.examples;
    info.notes = words.notes;
    info.has_children = !parts.empty();
    // Arguments first, as they are typed.
    for (const bool positional : {true, false}) {
        for (const CLI::Option* option : app.get_options()) {
            if (option->get_positional() == positional) info.options.push_back(describe(*option));
        }
    }
    into.push_back(std::move(info));
    for (const CLI::App* part : parts)
        describe_below(*part, path.empty() ? part->get_name() : path + " " + part->get_name(), into);
}

}  // namespace

std::vector<CommandInfo> describe_commands() {
    Words words;
    Tree tree;
    plant(tree, words);
    std::vector<CommandInfo> commands;
    describe_below(tree.app, "", commands);
    // Help is on any of them.
    const auto help = std::ranges::find(commands, "help", &CommandInfo::name);
    std::vector<std::string>& topics = help->options.front().choices;
    for (const CommandInfo& command : commands) {
        if (!command.name.empty() && command.name.find(' ') == std::string::npos) topics.push_back(command.name);
    }
    return commands;
}

std::vector<std::string> command_names() {
    std::vector<std::string> names;
    for (const CommandInfo& command : describe_commands()) {
        if (!command.name.empty()) names.push_back(command.name);
    }
    return names;
}

std::string help_text(std::string_view command) {
    if (command == "exit-codes") return exit_codes_text();
    const std::vector<CommandInfo> commands = describe_commands();
    if (std::ranges::find(commands, command, &CommandInfo::name) == commands.end()) return {};
    // "stream ls" and its like are told by their first word.
    const std::string first(command.substr(0, command.find(' ')));
    const CommandInfo& info = *std::ranges::find(commands, first, &CommandInfo::name);
    if (first.empty()) {
        return info.summary + "\n\n" + info.examples + "\n" + command_list(commands) + info.notes;
    }
    std::string text = info.usage + "     " + info.summary + "\n\n" + info.examples;
    if (first == "serve") {
        std::vector<Line> lines = option_lines(info.options);
        std::ranges::move(key_lines(), std::back_inserter(lines));
        return text +
               "\nOptions; each is a key of the file too, and a variable (http.listen: WEIR_HTTP_LISTEN). A flag wins "
               "over a\nvariable, a variable over the file.\n" +
               aligned(lines, 28);
    }
    const std::vector<Line> lines = option_lines(info.has_children ? options_of_parts(commands, first) : info.options);
    if (!lines.empty()) text += "\nOptions\n" + aligned(lines, 0);
    if (!info.notes.empty()) text += "\n" + info.notes;
    return text;
}

}  // namespace weir::node
