#include "node/detail/tree.h"

#include "node/console.h"

#include <algorithm>

namespace weir::node {
namespace {

constexpr const char* data_dir_text = "the data directory, default ./weir-data (WEIR_NODE_DATA_DIR)";
constexpr const char* output_text = "table (default), json, ndjson, csv";

// A value the command takes: `argument` is its name in the help.
template <typename T>
CLI::Option* value(CLI::App* command, const char* names, T& into, const char* argument, const std::string& text) {
    return command->add_option(names, into, text)->type_name(argument);
}

// Without words of its own, which CLI11 would add to the argument's name.
template <typename T>
CLI::Validator between(T least, T most) {
    return CLI::Range(least, most).description("");
}
CLI::Validator from_1_to(std::int64_t most) {
    return between(std::int64_t{1}, most);
}

void add_client_options(CLI::App* command, Words& words) {
    value(command, "--server", words.server, "URL", "the server, default http://127.0.0.1:8080 (WEIR_SERVER)");
    value(command, "--api-key", words.api_key, "KEY", "sent as a bearer token (WEIR_API_KEY)");
    value(command, "--api-key-file", words.api_key_file, "FILE", "holds the API key (WEIR_API_KEY_FILE)");
}

void add_setting_options(CLI::App* command, Words& words) {
    value(command, "--config", words.config_file, "FILE", "settings as TOML (WEIR_CONFIG)");
    for (const SettingRecord& record : setting_records()) {
        if (record.flag[0] == '\0') continue;
        const std::string flag = record.flag;
        const auto note = [&words, flag](const std::string& said) { words.serve_flags[flag] = said; };
        std::string text = record.help;
        if (record.default_text[0] != '\0' && record.type != SettingType::boolean) {
            text += "; default " + std::string(record.default_text);
        }
        text += " (" + setting_name(record) + ")";
        if (record.argument[0] == '\0') {
            command->add_flag_callback(
                flag, [note] { note("true"); }, text);
        } else {
            command->add_option_function<std::string>(flag, note, text)->type_name(record.argument);
        }
    }
}

// What every measurement takes; `events` says what one is and how many by default.
void add_bench_options(CLI::App* command, Words& words, const std::string& events) {
    value(command, "--events", words.bench.load.events, "N", events)->check(from_1_to(load_events_max));
    value(command, "--dir", words.bench.dir, "DIR", "the disk to measure, default .");
    command->add_flag("--json", words.bench.json, "one JSON object on stdout");
}

void add_load_options(CLI::App* command, Words& words) {
    BenchOptions& bench = words.bench;
    value(command, "--batch", bench.load.batch, "N", "events a request, default 1000")->check(from_1_to(100'000));
    value(command, "--connections", bench.connections, "N", "default 8")->check(from_1_to(10'000));
    value(command, "--seed", bench.load.seed, "N", "other events, default 42");
}

void add_duplicates_option(CLI::App* command, Words& words, const std::string& by_default) {
    value(command, "--duplicates", words.bench.load.duplicates_percent, "P",
          "percent of events that repeat an earlier one, default " + by_default)
        ->check(between(0.0, 99.0));
}

void plant_bench_commands(Tree& tree, Words& words) {
    BenchOptions& bench = words.bench;
    tree.bench = tree.app.add_subcommand("bench", "measure a node; each count must be what was sent");
    tree.bench->require_subcommand(1);
    const auto plant = [&](BenchKind kind, const char* name, const char* what, const std::string& events) {
        CLI::App* command = tree.bench->add_subcommand(name, what);
        command->parse_complete_callback([&bench, kind] { bench.kind = kind; });
        add_bench_options(command, words, events);
        return command;
    };
    CLI::App* ingest = plant(BenchKind::ingest, "ingest", "as fast as it goes",
                             "default 1000000 (about 264 bytes each, made before, in memory)");
    CLI::App* e2e = plant(BenchKind::e2e, "e2e", "how soon is an event visible in a view?",
                          "default 1000000 (about 264 bytes each, made before, in memory)");
    CLI::App* sql = plant(BenchKind::sql, "sql", "scans of a stream; pages of a view while events come in",
                          "default 4000000 (about 264 bytes each, made before, in memory)");
    CLI::App* dedup = plant(BenchKind::dedup, "dedup", "many live ids, a restart, then duplicates of all of them",
                            "live ids, default 10000000; a fifth as many events follow");
    CLI::App* nexmark = plant(BenchKind::nexmark, "nexmark", "views and scans of the Nexmark benchmark that run here",
                              "bids, default 1000000 (about 260 bytes each, made before, in memory)");
    plant(BenchKind::wal, "wal", "the write-ahead log alone, beside the bare disk", "appends a size, default 2000");
    for (CLI::App* command : {ingest, e2e}) {
        add_load_options(command, words);
        add_duplicates_option(command, words, "2");
        value(command, "--rate", bench.events_per_s, "N", "events a second, open loop; 0 (default): closed loop")
            ->check(between(0.0, 1e9));
        value(command, "--runs", bench.runs, "N", "show the median of N runs, default 1")->check(from_1_to(100));
        value(command, "--server", words.server, "URL", "measure this node; a bench_ stream stays there");
        value(command, "--api-key", words.api_key, "KEY", "its key (WEIR_API_KEY)");
        value(command, "--api-key-file", words.api_key_file, "FILE", "holds its key (WEIR_API_KEY_FILE)");
    }
    add_load_options(sql, words);
    value(sql, "--rate", bench.events_per_s, "N", "events a second while pages are read, default 200000")
        ->check(between(1.0, 1e9));
    add_load_options(dedup, words);
    add_load_options(nexmark, words);
    add_duplicates_option(dedup, words, "5");
}

void plant_server_commands(Tree& tree, Words& words) {
    tree.serve =
        tree.app.add_subcommand("serve", "run a node, in the foreground; SIGTERM or Ctrl-C drains and stops it");
    tree.demo = tree.app.add_subcommand("demo", "a node with live traffic of its own, to look around in");
    value(tree.demo, "--nodes", words.nodes, "N", "nodes to start; this version has one")->check(from_1_to(1));
    value(tree.demo, "--rate", words.demo.events_per_s, "N", "events a second, default 500")
        ->check(from_1_to(demo_rate_max));
    value(tree.demo, "--seed", words.demo.seed, "N", "another story, default 42");
    value(tree.demo, "--data", words.demo.data_dir, "DIR",
          "keep the data there, go on from it the next time; default: a fresh folder, removed");
    value(tree.demo, "--http", words.demo.http_listen, "HOST:PORT",
          "default 127.0.0.1:8080, or another port where that is in use");
    tree.demo->add_flag("--no-open", words.no_open, "do not show the page in a browser");
    tree.config = tree.app.add_subcommand("config", "the settings of a node, and where each comes from");
    tree.config->require_subcommand(1);
    tree.config_check = tree.config->add_subcommand("check", "tell every mistake in the settings");
    tree.config_print = tree.config->add_subcommand("print", "the settings in effect");
    for (CLI::App* command : {tree.serve, tree.config_check, tree.config_print})
        add_setting_options(command, words);
    tree.config_print->add_flag("--origin", words.origin, "say where each value comes from");
    value(tree.config_print, "-o,--output", words.output, "WHAT", "toml (default), table, json, ndjson, csv");
}

void plant_client_commands(Tree& tree, Words& words) {
    CLI::App& app = tree.app;
    tree.sql = app.add_subcommand("sql", "run statements: DDL and queries");
    value(tree.sql, "STATEMENT", words.statement, "", "several with ';'; - reads them from stdin");
    value(tree.sql, "-f,--file", words.file, "FILE", "read the statements from FILE");
    value(tree.sql, "-o,--output", words.output, "WHAT", output_text);
    value(tree.sql, "--min-index", words.min_index, "INDEX",
          "wait until the node has applied shard:index (read your writes)");
    value(tree.sql, "--timeout", words.timeout, "TIME", "give up after, as 30s; default 10s");
    value(tree.sql, "--max-rows", words.rows_max, "N", "rows to return at most; default 10000")
        ->check(from_1_to(std::int64_t{1} << 40));

    tree.produce = app.add_subcommand("produce", "send NDJSON, gzip or not, to a stream, keeping its order");
    value(tree.produce, "STREAM", words.stream, "", "made by its first event where nobody declared it")->required();
    value(tree.produce, "FILE", words.file, "", "default -, stdin");
    value(tree.produce, "--batch", words.batch, "N", "lines a request, default 1000; 1 MiB at most")
        ->check(from_1_to(100'000));
    value(tree.produce, "--in-flight", words.in_flight, "N", "requests on their way at once, default 8")
        ->check(from_1_to(256));
    value(tree.produce, "--retry-for", words.retry_for, "TIME",
          "after the first connection: keep trying so long without progress, default 30s");
    value(tree.produce, "-o,--output", words.output, "WHAT", "table (default); json: one document with the counts");

    tree.tail = app.add_subcommand("tail", "print the events of a stream, as they were sent");
    value(tree.tail, "STREAM", words.stream, "", "its name")->required();
    value(tree.tail, "--from", words.from, "WHERE",
          "beginning, end, a cursor (shard:index:ordinal), a time, or an age such as 5m");
    value(tree.tail, "-n", words.count, "N", "so many events")->check(between(std::int64_t{0}, std::int64_t{1} << 60));
    value(tree.tail, "--where", words.where, "SQL",
          "those for which this holds: an expression over the stream's columns");
    tree.tail->add_flag("-f,-F,--follow", words.follow, "wait for more; Ctrl-C ends");
    value(tree.tail, "-o,--output", words.output, "WHAT",
          "raw (default), pretty, json (one object a line, with cursor and offset)");

    tree.stream = app.add_subcommand("stream", "the streams there are");
    tree.stream->require_subcommand(1);
    tree.stream_ls = tree.stream->add_subcommand("ls", "all of them, with their counters");
    value(tree.stream_ls, "--prefix", words.prefix, "TEXT", "only names that begin so");
    value(tree.stream_ls, "-o,--output", words.output, "WHAT", output_text);
    tree.stream_info = tree.stream->add_subcommand("info", "one: columns, settings, partitions, counters");
    value(tree.stream_info, "STREAM", words.stream, "", "its name")->required();
    value(tree.stream_info, "-o,--output", words.output, "WHAT", output_text);

    tree.status = app.add_subcommand("status", "is the node healthy, which streams and views, how fast");
    value(tree.status, "-o,--output", words.output, "WHAT", "table (default), json");
    for (CLI::App* command : {tree.sql, tree.produce, tree.tail, tree.stream_ls, tree.stream_info, tree.status})
        add_client_options(command, words);
}

void plant_inspect(Tree& tree, Words& words) {
    tree.inspect = tree.app.add_subcommand("inspect", "what is inside of a data directory's files, offline");
    tree.inspect->require_subcommand(1);
    tree.inspect_wal = tree.inspect->add_subcommand("wal", "the entries of the write-ahead log behind the checkpoint");
    tree.inspect_segment = tree.inspect->add_subcommand("segment", "the batches of one segment file");
    value(tree.inspect_segment, "FILE", words.file, "", "DIR/shards/0/streams/ID/pN/OFFSET.log")->required();
    tree.inspect_checkpoint = tree.inspect->add_subcommand("checkpoint", "streams, views, partitions, journals, runs");
    tree.inspect_state = tree.inspect->add_subcommand("state", "how many values the state store has, by kind");
    for (CLI::App* command : {tree.inspect_wal, tree.inspect_checkpoint, tree.inspect_state})
        value(command, "--data", words.data_dir, "DIR", data_dir_text);
    for (CLI::App* command : {tree.inspect_wal, tree.inspect_segment, tree.inspect_checkpoint, tree.inspect_state})
        value(command, "-o,--output", words.output, "WHAT", "table (default), json (one object a line), ndjson, csv");
}

// The commands right below, but for those that no help tells of.
std::vector<std::string> names_of(const CLI::App& app) {
    std::vector<std::string> names;
    for (const CLI::App* part : app.get_subcommands([](const CLI::App* a) { return !a->get_group().empty(); }))
        names.push_back(part->get_name());
    return names;
}

}  // namespace

std::string did_you_mean(std::string_view word, const std::vector<std::string>& candidates) {
    const std::string meant = nearest(word, candidates);
    return meant.empty() ? std::string() : "; did you mean " + meant + "?";
}

void plant(Tree& tree, Words& words) {
    CLI::App& app = tree.app;
    app.set_help_flag("-h,--help", "examples and options");
    app.set_version_flag("--version", "weir " WEIR_VERSION, "the version");
    app.require_subcommand(0, 1);
    plant_server_commands(tree, words);
    plant_client_commands(tree, words);
    tree.doctor = app.add_subcommand("doctor", "is what a data directory holds whole? every checksum, offline");
    value(tree.doctor, "--data", words.data_dir, "DIR", data_dir_text);
    value(tree.doctor, "-o,--output", words.output, "WHAT", output_text);
    plant_inspect(tree, words);
    plant_bench_commands(tree, words);
    tree.completion = app.add_subcommand("completion", "print a shell's completion script");
    value(tree.completion, "SHELL", words.topic, "", "bash, zsh, fish")->required();
    tree.man = app.add_subcommand("man", "print the man page");
    tree.version = app.add_subcommand("version", "print the version");
    tree.help = app.add_subcommand("help", "help on a command");
    value(tree.help, "TOPIC", words.topics, "", "a command, or exit-codes");
    tree.worker = app.add_subcommand("sql-worker", "")->group("");
    value(tree.worker, "--fd", words.worker_fd, "N", "")->required();
    value(tree.worker, "--dir", words.worker_dir, "DIR", "")->required();
}

std::string path_of(const Tree& tree) {
    std::string path;
    const CLI::App* at = &tree.app;
    while (!at->get_subcommands().empty()) {
        at = at->get_subcommands().front();
        path += (path.empty() ? "" : " ") + at->get_name();
    }
    return path;
}

WrongCommand wrong_command(const Tree& tree, const std::vector<std::string>& words) {
    const CLI::App* at = &tree.app;
    std::string path;
    for (const std::string& word : words) {
        std::vector<const CLI::App*> parts = at->get_subcommands([](const CLI::App*) { return true; });
        if (parts.empty() || word.starts_with('-')) return {};
        const auto found = std::ranges::find(parts, word, [](const CLI::App* part) { return part->get_name(); });
        if (found == parts.end()) {
            return {"there is no command \"" + path + printable(word) + "\"" + did_you_mean(word, names_of(*at)),
                    path.substr(0, path.size() - (path.empty() ? 0 : 1))};
        }
        at = *found;
        path += word + " ";
    }
    return {};
}

std::string explain(const CLI::ParseError& failure, const Tree& tree) {
    const CLI::App* at = &tree.app;
    while (at->remaining().empty() && !at->get_subcommands().empty())
        at = at->get_subcommands().front();
    if (failure.get_exit_code() == static_cast<int>(CLI::ExitCodes::RequiredError)) {
        if (const std::vector<std::string> parts = names_of(*at); !parts.empty()) {
            std::string text;
            for (std::size_t i = 0; i < parts.size(); ++i)
                text += (i == 0 ? "" : i + 1 == parts.size() ? " or " : ", ") + parts[i];
            return text + " is needed";
        }
    }
    if (failure.get_exit_code() != static_cast<int>(CLI::ExitCodes::ExtrasError)) return failure.what();
    // The words that nothing wanted are kept by the command that met them.
    const std::vector<std::string> extra = at->remaining();
    if (extra.empty()) return failure.what();
    const std::string word = extra.front().substr(0, extra.front().find('='));
    if (!word.starts_with('-')) return "one word too many: \"" + printable(word) + "\"";
    std::vector<std::string> known{"--help"};
    for (const CLI::Option* option : at->get_options()) {
        for (const std::string& name : option->get_lnames())
            known.push_back("--" + name);
    }
    return "there is no option " + printable(word) + did_you_mean(word, known);
}

}  // namespace weir::node
