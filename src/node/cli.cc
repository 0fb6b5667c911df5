#include "node/cli.h"

#include "node/bench.h"
#include "node/client.h"
#include "node/config_command.h"
#include "node/exit_code.h"
#include "node/inspect.h"
#include "node/produce.h"
#include "node/root_key.h"
#include "node/sql_command.h"
#include "node/tail.h"
#include "os/clock.h"
#include "os/signals.h"
#include "record/time.h"
#include "sql/statement.h"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <array>
#include <cstdlib>
#include <optional>
#include <sys/ioctl.h>
#include <unistd.h>

namespace weir::node {
namespace {

struct CommandHelp {
    const char* name;
    const char* text;
};

constexpr const char* server_lines =
    "  --server URL        the server, default http://127.0.0.1:8080 (WEIR_SERVER)\n"
    "  --api-key KEY       sent as a bearer token (WEIR_API_KEY); or --api-key-file FILE (WEIR_API_KEY_FILE)\n";

// Examples first; at most 24 lines with server_lines, which client commands get appended.
constexpr std::array command_helps{
    CommandHelp{"",
                "weir: events in over HTTP, deduplicated, logged, windowed, out through SQL. One binary.\n"
                "\n"
                "  weir serve                                          start a node on 127.0.0.1:8080\n"
                "  curl -d '{\"hello\":\"world\"}' http://127.0.0.1:8080/v1/streams/test/events\n"
                "  weir sql 'SELECT * FROM test'                       read it back\n"
                "\n"
                "Commands\n"
                "  serve      run a node\n"
                "  sql        run statements: DDL and queries\n"
                "  produce    send NDJSON from a file or stdin to a stream\n"
                "  tail       print the events of a stream\n"
                "  stream     ls, info: the streams there are\n"
                "  status     is it healthy, and how fast does it go\n"
                "  bench      ingest, e2e: measure a node, with every count checked\n"
                "  config     check, print: the settings of a node, and where each comes from\n"
                "  version    print the version\n"
                "  help       help on a command, or: weir help exit-codes\n"
                "\n"
                "weir COMMAND --help shows examples and options.\n"},
    CommandHelp{"sql",
                "weir sql 'STATEMENT' | -f FILE | -     run statements, several with ';'\n"
                "\n"
                "  weir sql 'SHOW STREAMS'\n"
                "  weir sql \"SELECT status, count(*) FROM access GROUP BY 1\" -o csv > by_status.csv\n"
                "  weir sql -f examples/access.sql\n"
                "  echo 'SELECT 1' | weir sql -\n"
                "\n"
                "Options\n"
                "  -f, --file FILE     read the statements from FILE\n"
                "  -o, --output WHAT   table (default, on a terminal and off it), json, ndjson, csv\n"
                "  --min-index INDEX   wait until the node has applied shard:index (read your writes)\n"
                "  --timeout TIME      give up after, as 30s; default 10s\n"
                "  --max-rows N        rows to return at most; default 10000\n"},
    CommandHelp{
        "produce",
        "weir produce STREAM [FILE|-]     send NDJSON, gzip or not, keeping its order\n"
        "\n"
        "  weir produce access events.ndjson.gz\n"
        "  tail -f app.log | weir produce app -\n"
        "  weir produce access events.ndjson -o json | jq .accepted\n"
        "\n"
        "Options\n"
        "  --batch N           lines a request, default 1000; 1 MiB at most\n"
        "  --in-flight N       requests on their way at once, default 8\n"
        "  --retry-for TIME    after the first connection: keep trying so long without progress, default 30s\n"
        "  -o, --output json   one JSON document with the counts on stdout\n"
        "\n"
        "Exit code 7 when some lines were rejected, 1 when all were or FILE is broken. What a lost connection left\n"
        "unacknowledged is sent again; without DEDUP it may then be stored twice (the summary says how much).\n"},
    CommandHelp{"tail",
                "weir tail STREAM     print the events of a stream, as they were sent\n"
                "\n"
                "  weir tail access                            the last 10\n"
                "  weir tail access --follow                   and what comes\n"
                "  weir tail access --from 5m -o pretty        of the last five minutes\n"
                "  weir tail access --follow --where 'status >= 500'\n"
                "  weir tail access --from beginning -n 100 | jq .user_id\n"
                "\n"
                "Options\n"
                "  --from WHERE        beginning, end, a cursor (shard:index:ordinal), a time, or an age such as 5m\n"
                "  -n N                so many events\n"
                "  --where SQL         those for which this holds: an expression over the stream's columns\n"
                "  -f, --follow        wait for more; Ctrl-C ends\n"
                "  -o, --output WHAT   raw (default), pretty, json (one object a line, with cursor and offset)\n"},
    CommandHelp{"stream",
                "weir stream ls | info NAME     the streams there are\n"
                "\n"
                "  weir stream ls\n"
                "  weir stream info access\n"
                "  weir stream ls --prefix shop. -o json\n"
                "\n"
                "Options\n"
                "  --prefix TEXT       ls: only names that begin so\n"
                "  -o, --output WHAT   table (default), json, ndjson, csv\n"},
    CommandHelp{"status",
                "weir status     is the node healthy, which streams and views, how fast\n"
                "\n"
                "  weir status\n"
                "  weir status -o json | jq .ready\n"
                "\n"
                "Rates are measured over one second. Exit code 0 healthy, 1 not ready, 3 no answer.\n"
                "\n"
                "Options\n"
                "  -o, --output WHAT   table (default), json\n"},
    CommandHelp{"bench",
                "weir bench ingest | e2e     measure a node; every count is compared with what was sent\n"
                "\n"
                "  weir bench ingest                       a fresh node on this disk, as fast as it goes\n"
                "  weir bench e2e --rate 100000            at 100,000 events a second: how soon are they visible?\n"
                "  weir bench ingest --runs 5 --json       the median of five, one JSON object\n"
                "\n"
                "Options\n"
                "  --events N          default 1000000 (about 264 bytes each, made beforehand, kept in memory)\n"
                "  --batch N           events a request, default 1000\n"
                "  --connections N     default 8\n"
                "  --duplicates P      percent of events that repeat an earlier one, default 2\n"
                "  --rate N            events a second, open loop; 0 (default): closed loop\n"
                "  --runs N            show the median of N runs, default 1\n"
                "  --seed N            other events, default 42\n"
                "  --dir DIR           the disk to measure, default .\n"
                "  --json              one JSON object on stdout\n"
                "Exit code 1 when a count differs. --server URL measures that node; a bench_ stream stays there.\n"},
    CommandHelp{"config",
                "weir config check | print     what `weir serve` would do with the same file, variables and flags\n"
                "\n"
                "  weir config check --config /etc/weir.toml\n"
                "  weir config print --origin                  each setting, and where its value comes from\n"
                "  weir config print > weir.toml               a file to begin with\n"
                "\n"
                "Options\n"
                "  --config FILE       settings as TOML (WEIR_CONFIG)\n"
                "  --origin            print: say where each value comes from\n"
                "  -o, --output WHAT   print: toml (default), table, json, ndjson, csv\n"
                "and those of `weir serve`. Exit code 2: something is wrong; each mistake is told with its line.\n"},
    CommandHelp{"version", "weir version     print the version\n"},
    CommandHelp{"help", "weir help [COMMAND | exit-codes]     help on a command\n"},
};

constexpr std::array<std::string_view, 5> client_commands{"sql", "produce", "tail", "stream", "status"};
constexpr std::array<std::string_view, 10> first_words{"serve",  "sql",   "produce", "tail",    "stream",
                                                       "status", "bench", "config",  "version", "help"};

// A line a setting: its flag, or its key in the file, and what it is.
std::string setting_lines(bool with_flag) {
    std::string text;
    for (const SettingRecord& record : setting_records()) {
        if ((record.flag[0] != '\0') != with_flag) continue;
        std::string left = "  " + (with_flag ? std::string(record.flag) : setting_name(record));
        if (record.argument[0] != '\0') left += " " + std::string(record.argument);
        left.resize(std::max<std::size_t>(left.size() + 2, 28), ' ');
        text += left + record.help;
        if (record.default_text[0] != '\0' && record.type != SettingType::boolean)
            text += "; default " + std::string(record.default_text);
        if (with_flag) text += " (" + setting_name(record) + ")";
        text += "\n";
    }
    return text;
}

std::string serve_help() {
    return "weir serve     run a node, in the foreground; SIGTERM or Ctrl-C drains and stops it\n"
           "\n"
           "  weir serve\n"
           "  weir serve --config /etc/weir.toml --http 127.0.0.1:9000\n"
           "  WEIR_LIMITS_MEMORY=2GiB weir serve\n"
           "\n"
           "Options; each is a key of the file too, and a variable (http.listen: WEIR_HTTP_LISTEN). A flag wins over "
           "a\n"
           "variable, a variable over the file.\n"
           "  --config FILE             settings as TOML (WEIR_CONFIG)\n" +
           setting_lines(true) + setting_lines(false);
}

// What the words said. One for all commands: they share most of it.
struct Words {
    TextMap serve_flags;
    std::string config_file;
    bool origin = false;
    std::string server;
    std::string api_key;
    std::string api_key_file;
    std::string output;
    std::string statement;
    std::string file;
    std::string min_index;
    std::string timeout;
    std::int64_t rows_max = 0;
    std::string stream;
    std::string from;
    std::string where;
    std::int64_t count = -1;
    bool follow = false;
    std::int64_t batch = 1000;
    std::int64_t in_flight = 8;
    std::string retry_for = "30s";
    std::string prefix;
    BenchOptions bench;
    std::string topic;
    std::vector<std::string> topics;
    int worker_fd = -1;
    std::string worker_dir;
};

struct Tree {
    CLI::App app{"weir", "weir"};
    CLI::App* serve = nullptr;
    CLI::App* sql = nullptr;
    CLI::App* produce = nullptr;
    CLI::App* tail = nullptr;
    CLI::App* stream_ls = nullptr;
    CLI::App* stream_info = nullptr;
    CLI::App* stream = nullptr;
    CLI::App* status = nullptr;
    CLI::App* bench = nullptr;
    CLI::App* bench_ingest = nullptr;
    CLI::App* bench_e2e = nullptr;
    CLI::App* config = nullptr;
    CLI::App* config_check = nullptr;
    CLI::App* config_print = nullptr;
    CLI::App* version = nullptr;
    CLI::App* help = nullptr;
    CLI::App* worker = nullptr;
};

void add_client_options(CLI::App* command, Words& words) {
    command->add_option("--server", words.server);
    command->add_option("--api-key", words.api_key);
    command->add_option("--api-key-file", words.api_key_file);
}

void add_setting_options(CLI::App* command, Words& words) {
    command->add_option("--config", words.config_file);
    for (const SettingRecord& record : setting_records()) {
        if (record.flag[0] == '\0') continue;
        const std::string flag = record.flag;
        const auto note = [&words, flag](const std::string& value) { words.serve_flags[flag] = value; };
        if (record.argument[0] == '\0') {
            command->add_flag_callback(flag, [note] { note("true"); });
        } else {
            command->add_option_function<std::string>(flag, note);
        }
    }
}

void add_bench_options(CLI::App* command, Words& words) {
    add_client_options(command, words);
    command->add_option("--events", words.bench.load.events)->check(CLI::Range(std::int64_t{1}, load_events_max));
    command->add_option("--batch", words.bench.load.batch)->check(CLI::Range(std::int64_t{1}, std::int64_t{100'000}));
    command->add_option("--connections", words.bench.connections)
        ->check(CLI::Range(std::int64_t{1}, std::int64_t{10'000}));
    command->add_option("--duplicates", words.bench.load.duplicates_percent)->check(CLI::Range(0.0, 99.0));
    command->add_option("--rate", words.bench.events_per_s)->check(CLI::Range(0.0, 1e9));
    command->add_option("--runs", words.bench.runs)->check(CLI::Range(std::int64_t{1}, std::int64_t{100}));
    command->add_option("--seed", words.bench.load.seed);
    command->add_option("--dir", words.bench.dir);
    command->add_flag("--json", words.bench.json);
}

void plant(Tree& tree, Words& words) {
    CLI::App& app = tree.app;
    app.set_help_flag("-h,--help");
    app.set_version_flag("--version", "weir " WEIR_VERSION);
    app.require_subcommand(0, 1);
    tree.serve = app.add_subcommand("serve");
    tree.config = app.add_subcommand("config");
    tree.config->require_subcommand(1);
    tree.config_check = tree.config->add_subcommand("check");
    tree.config_print = tree.config->add_subcommand("print");
    tree.config_print->add_flag("--origin", words.origin);
    tree.config_print->add_option("-o,--output", words.output);
    for (CLI::App* command : {tree.serve, tree.config_check, tree.config_print})
        add_setting_options(command, words);
    tree.sql = app.add_subcommand("sql");
    tree.sql->add_option("statement", words.statement);
    tree.sql->add_option("-f,--file", words.file);
    tree.sql->add_option("-o,--output", words.output);
    tree.sql->add_option("--min-index", words.min_index);
    tree.sql->add_option("--timeout", words.timeout);
    tree.sql->add_option("--max-rows", words.rows_max)->check(CLI::Range(std::int64_t{1}, std::int64_t{1} << 40));
    tree.produce = app.add_subcommand("produce");
    tree.produce->add_option("STREAM", words.stream)->required();
    tree.produce->add_option("file", words.file);
    tree.produce->add_option("-o,--output", words.output);
    tree.produce->add_option("--batch", words.batch)->check(CLI::Range(std::int64_t{1}, std::int64_t{100'000}));
    tree.produce->add_option("--in-flight", words.in_flight)->check(CLI::Range(std::int64_t{1}, std::int64_t{256}));
    tree.produce->add_option("--retry-for", words.retry_for);
    tree.tail = app.add_subcommand("tail");
    tree.tail->add_option("STREAM", words.stream)->required();
    tree.tail->add_option("--from", words.from);
    tree.tail->add_option("--where", words.where);
    tree.tail->add_option("-n", words.count)->check(CLI::Range(std::int64_t{0}, std::int64_t{1} << 60));
    tree.tail->add_flag("-f,-F,--follow", words.follow);
    tree.tail->add_option("-o,--output", words.output);
    tree.stream = app.add_subcommand("stream");
    tree.stream->require_subcommand(1);
    tree.stream_ls = tree.stream->add_subcommand("ls");
    tree.stream_ls->add_option("--prefix", words.prefix);
    tree.stream_ls->add_option("-o,--output", words.output);
    tree.stream_info = tree.stream->add_subcommand("info");
    tree.stream_info->add_option("NAME", words.stream)->required();
    tree.stream_info->add_option("-o,--output", words.output);
    tree.status = app.add_subcommand("status");
    tree.status->add_option("-o,--output", words.output);
    tree.bench = app.add_subcommand("bench");
    tree.bench->require_subcommand(1);
    tree.bench_ingest = tree.bench->add_subcommand("ingest");
    tree.bench_e2e = tree.bench->add_subcommand("e2e");
    for (CLI::App* command : {tree.bench_ingest, tree.bench_e2e})
        add_bench_options(command, words);
    tree.version = app.add_subcommand("version");
    tree.help = app.add_subcommand("help");
    tree.help->add_option("topic", words.topics);
    tree.worker = app.add_subcommand("sql-worker");
    tree.worker->add_option("--fd", words.worker_fd)->required();
    tree.worker->add_option("--dir", words.worker_dir)->required();
    for (CLI::App* command : {tree.sql, tree.produce, tree.tail, tree.stream_ls, tree.stream_info, tree.status}) {
        add_client_options(command, words);
    }
}

// "stream ls": the commands that the words named so far.
std::string path_of(const CLI::App& app) {
    std::string path;
    const CLI::App* at = &app;
    while (!at->get_subcommands().empty()) {
        at = at->get_subcommands().front();
        path += (path.empty() ? "" : " ") + at->get_name();
    }
    return path;
}

std::string did_you_mean(std::string_view word, const std::vector<std::string>& candidates) {
    const std::string meant = nearest(word, candidates);
    return meant.empty() ? std::string() : "; did you mean " + meant + "?";
}

// The first word that is no command, where one must be. "" all is well.
std::string wrong_command(const std::vector<std::string>& words) {
    if (words.empty() || words[0].starts_with('-') || words[0] == "sql-worker") return {};
    const std::vector<std::string> names(first_words.begin(), first_words.end());
    if (std::ranges::find(names, words[0]) == names.end()) {
        return "there is no command \"" + printable(words[0]) + "\"" + did_you_mean(words[0], names);
    }
    if (words.size() < 2 || words[1].starts_with('-')) return {};
    std::vector<std::string> inner;
    if (words[0] == "stream") inner = {"ls", "info"};
    if (words[0] == "bench") inner = {"ingest", "e2e"};
    if (words[0] == "config") inner = {"check", "print"};
    if (inner.empty() || std::ranges::find(inner, words[1]) != inner.end()) return {};
    return "there is no command \"" + words[0] + " " + printable(words[1]) + "\"" + did_you_mean(words[1], inner);
}

std::string explain(const CLI::ParseError& failure, const Tree& tree) {
    if (failure.get_exit_code() == static_cast<int>(CLI::ExitCodes::RequiredError)) {
        if (tree.stream->parsed() && tree.stream->get_subcommands().empty()) return "ls or info NAME is needed";
        if (tree.bench->parsed() && tree.bench->get_subcommands().empty()) return "ingest or e2e is needed";
        if (tree.config->parsed() && tree.config->get_subcommands().empty()) return "check or print is needed";
    }
    if (failure.get_exit_code() != static_cast<int>(CLI::ExitCodes::ExtrasError)) return failure.what();
    // The words that nothing wanted are kept by the command that met them.
    const CLI::App* at = &tree.app;
    while (at->remaining().empty() && !at->get_subcommands().empty())
        at = at->get_subcommands().front();
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

Exit usage_error(const Console& console, const std::string& text, const std::string& command) {
    console.error(text, command.empty() ? "weir --help" : "weir " + command + " --help");
    return Exit::usage;
}

Result<ServerChoice> choose_server(const Words& words, const TextMap& environment) {
    const auto value_of = [&](const std::string& flag, const char* variable, const char* otherwise) {
        if (!flag.empty()) return flag;
        const auto found = environment.find(variable);
        return found == environment.end() || found->second.empty() ? std::string(otherwise) : found->second;
    };
    ServerChoice choice;
    choice.address = TRY(parse_server(value_of(words.server, "WEIR_SERVER", default_server)));
    const std::string file = value_of(words.api_key_file, "WEIR_API_KEY_FILE", "");
    const bool by_file =
        words.api_key.empty() && (!words.api_key_file.empty() || !environment.contains("WEIR_API_KEY"));
    choice.api_key = by_file && !file.empty() ? TRY(read_key_file(file)) : value_of(words.api_key, "WEIR_API_KEY", "");
    if (std::ranges::any_of(choice.api_key, [](char c) { return c <= ' ' || c > '~'; })) {
        return Error{Errc::invalid_argument, "an API key has printable ASCII letters only"};
    }
    return choice;
}

Result<std::int64_t> duration_of(const std::string& text, const char* option) {
    const std::optional<std::int64_t> ms = record::parse_duration_ms(text);
    if (!ms || *ms == 0)
        return Error{Errc::invalid_argument,
                     std::string(option) + " takes a time such as 30s, not \"" + printable(text) + "\""};
    return *ms;
}

// Each: options from words, then the command. An Error is a usage error.
Result<Exit> do_sql(const Console& console, const Words& words, const ServerChoice& server) {
    SqlOptions options;
    options.statement = words.statement;
    options.file = words.file;
    options.min_index = words.min_index;
    options.rows_max = words.rows_max;
    options.format = TRY(parse_output_format(words.output.empty() ? "table" : words.output));
    if (!words.timeout.empty()) options.timeout_ms = TRY(duration_of(words.timeout, "--timeout"));
    if (options.statement.empty() == options.file.empty()) {
        return Error{Errc::invalid_argument, "one of 'STATEMENT', -f FILE or - is needed"};
    }
    Client client(server);
    return run_sql(console, client, options);
}

Result<Exit> do_produce(const Console& console, const Words& words, const ServerChoice& server) {
    ProduceOptions options;
    TRY(sql::check_name(words.stream));
    options.stream = words.stream;
    options.batch_lines = words.batch;
    options.in_flight = static_cast<std::size_t>(words.in_flight);
    options.retry_for_ms = TRY(duration_of(words.retry_for, "--retry-for"));
    if (!words.output.empty() && words.output != "json" && words.output != "table") {
        return Error{Errc::invalid_argument, "-o takes json or table, not \"" + printable(words.output) + "\""};
    }
    options.json = words.output == "json";
    const std::string file = words.file.empty() ? "-" : words.file;
    EventInput input = TRY(EventInput::open(file));
    if (file == "-" && isatty(STDIN_FILENO) != 0) {
        console.say("reading events from the terminal, one a line; Ctrl-D ends");
    }
    os::StopSignals stop = TRY(os::StopSignals::take());
    options.stop_fd = stop.fd();
    return run_produce(console, server, std::move(input), options);
}

Result<Exit> do_tail(const Console& console, const Words& words, const ServerChoice& server) {
    TailOptions options;
    for (const auto& [suffix, what] : {std::pair{"_dead_letters", "dead letters"}, std::pair{"_late", "late events"}}) {
        if (!words.stream.ends_with(suffix)) continue;
        console.error(std::string(what) + " are a table",
                      "weir sql 'SELECT * FROM " + sql_name(printable(words.stream)) + "'");
        return Exit::usage;
    }
    TRY(sql::check_name(words.stream));
    options.stream = words.stream;
    options.from = words.from;
    if (!options.from.empty() && !is_from(options.from)) {
        return Error{Errc::invalid_argument,
                     "--from takes beginning, end, a cursor (shard:index:ordinal), a time such as "
                     "2025-01-31T12:00:00Z, or an age such as 5m, not \"" +
                         printable(options.from) + "\""};
    }
    options.count = words.count;
    options.follow = words.follow;
    options.where = words.where;
    if (!options.where.empty() && options.from.empty() && !options.follow) {
        return Error{Errc::invalid_argument,
                     "--where needs --from, to know where to begin looking, or --follow, for what comes"};
    }
    if (options.from.empty() && options.count > tail_last_max) {
        return Error{Errc::invalid_argument, "-n of more than 10000 needs --from: the server looks back no further"};
    }
    options.format = TRY(parse_tail_format(words.output.empty() ? "raw" : words.output));
    os::StopSignals stop = TRY(os::StopSignals::take());
    options.stop_fd = stop.fd();
    Client client(server);
    return run_tail(console, client, options);
}

Result<Exit> do_bench(const Console& console, Words& words, const TextMap& environment, bool is_e2e) {
    BenchOptions options = words.bench;
    options.kind = is_e2e ? BenchKind::e2e : BenchKind::ingest;
    // Only the flag: a WEIR_SERVER left in the environment must not turn a bench loose on a server in use.
    if (!words.server.empty()) options.server = TRY(choose_server(words, environment));
    os::StopSignals stop = TRY(os::StopSignals::take());
    options.stop_fd = stop.fd();
    return run_bench(console, options);
}

Result<Exit> do_client_command(const Console& console, const Tree& tree, Words& words, const TextMap& environment) {
    const ServerChoice server = TRY(choose_server(words, environment));
    if (tree.sql->parsed()) return do_sql(console, words, server);
    if (tree.produce->parsed()) return do_produce(console, words, server);
    if (tree.tail->parsed()) return do_tail(console, words, server);
    const OutputFormat format = TRY(parse_output_format(words.output.empty() ? "table" : words.output));
    Client client(server);
    if (tree.stream_ls->parsed()) return run_stream_list(console, client, words.prefix, format);
    if (tree.stream_info->parsed()) {
        TRY(sql::check_name(words.stream));
        return run_stream_info(console, client, words.stream, format);
    }
    os::StopSignals stop = TRY(os::StopSignals::take());
    return run_status(console, client, format, stop.fd());
}

// Of serve and config: what they share of loading.
int do_settings(const Console& console, const Tree& tree, const Words& words, const TextMap& environment,
                const ServeFn& serve) {
    const auto variable = environment.find("WEIR_CONFIG");
    std::string path = words.config_file;
    if (path.empty() && variable != environment.end()) path = variable->second;
    Result<ConfigFile> file = ConfigFile();
    if (!path.empty()) file = read_config(path);
    const Result<LoadedSettings> loaded =
        file ? load_settings(words.serve_flags, environment, file.value()) : Result<LoadedSettings>(file.error());
    if (!loaded) {
        // A line a mistake.
        std::string_view rest = loaded.error().detail;
        while (rest.find('\n') != std::string_view::npos) {
            console.error(rest.substr(0, rest.find('\n')));
            rest.remove_prefix(rest.find('\n') + 1);
        }
        return code_of(usage_error(console, std::string(rest), path_of(tree.app)));
    }
    PrintFormat format = PrintFormat::toml;
    if (!words.output.empty()) {
        const auto parsed = parse_print_format(words.output);
        if (!parsed) return code_of(usage_error(console, parsed.error().detail, path_of(tree.app)));
        format = parsed.value();
    }
    for (const std::string& warning : loaded.value().warnings)
        console.say("warning: " + warning);
    if (tree.serve->parsed()) return serve(loaded.value());
    return code_of(tree.config_check->parsed()
                       ? run_config_check(console, loaded.value(), path)
                       : run_config_print(console, loaded.value(), {.origin = words.origin, .format = format}));
}

int do_help(const Console& console, const Words& words) {
    std::string topic;
    for (const std::string& word : words.topics)
        topic += (topic.empty() ? "" : " ") + word;
    const std::string text = help_text(topic);
    if (text.empty()) {
        std::vector<std::string> topics = command_names();
        topics.emplace_back("exit-codes");
        const std::string meant = did_you_mean(topic, topics);
        return code_of(usage_error(console, "there is no help on \"" + printable(topic) + "\"" + meant, ""));
    }
    console.write(text);
    console.flush();
    return 0;
}

}  // namespace

std::vector<std::string> command_names() {
    std::vector<std::string> names(first_words.begin(), first_words.end());
    for (const char* name : {"stream ls", "stream info", "bench ingest", "bench e2e", "config check", "config print"})
        names.emplace_back(name);
    return names;
}

std::string help_text(std::string_view command) {
    if (command == "exit-codes") return exit_codes_text();
    if (command == "serve") return serve_help();
    // "stream ls" and its like are told by their first word.
    const std::string_view first = command.substr(0, command.find(' '));
    const std::vector<std::string> names = command_names();
    if (first != command && std::ranges::find(names, command) == names.end()) return {};
    const auto found =
        std::ranges::find(command_helps, first, [](const CommandHelp& help) { return std::string_view(help.name); });
    if (found == command_helps.end()) return {};
    const bool is_client = std::ranges::find(client_commands, first) != client_commands.end();
    std::string text = found->text;
    // They are options like the others: what is said behind those stays behind these.
    const std::size_t options = text.find("\nOptions\n");
    const std::size_t end = options == std::string::npos ? options : text.find("\n\n", options + 1);
    if (is_client) text.insert(end == std::string::npos ? text.size() : end + 1, server_lines);
    return text;
}

int run_cli_on(const Console& console, const std::vector<std::string>& words, const TextMap& environment,
               const ServeFn& serve, const WorkerFn& sql_worker) {
    if (words.empty()) {
        std::fputs(help_text("").c_str(), console.err);
        return code_of(Exit::usage);
    }
    if (const std::string wrong = wrong_command(words); !wrong.empty()) return code_of(usage_error(console, wrong, ""));
    Words said;
    Tree tree;
    plant(tree, said);
    try {
        // CLI11 takes the words from the back.
        std::vector<std::string> reversed(words.rbegin(), words.rend());
        tree.app.parse(reversed);
    } catch (const CLI::CallForHelp&) {
        console.write(help_text(path_of(tree.app)));
        console.flush();
        return 0;
    } catch (const CLI::CallForVersion&) {
        console.write("weir " WEIR_VERSION "\n");
        console.flush();
        return 0;
    } catch (const CLI::ParseError& failure) {
        return code_of(usage_error(console, explain(failure, tree), path_of(tree.app)));
    }
    if (tree.worker->parsed()) return sql_worker(said.worker_fd, said.worker_dir);
    if (tree.serve->parsed() || tree.config->parsed()) return do_settings(console, tree, said, environment, serve);
    if (tree.help->parsed()) return do_help(console, said);
    if (tree.version->parsed()) {
        console.write("weir " WEIR_VERSION "\n");
        console.flush();
        return 0;
    }
    const Result<Exit> exit = tree.bench->parsed() ? do_bench(console, said, environment, tree.bench_e2e->parsed())
                                                   : do_client_command(console, tree, said, environment);
    if (!exit) return code_of(usage_error(console, exit.error().detail, path_of(tree.app)));
    return code_of(exit.value());
}

int run_cli(int argc, char** argv, const ServeFn& serve, const WorkerFn& sql_worker) {
    os::ignore_sigpipe();
    os::RealClock clock;
    Console console;
    console.clock = &clock;
    console.out_is_terminal = isatty(STDOUT_FILENO) != 0;
    console.err_is_terminal = isatty(STDERR_FILENO) != 0;
    winsize size{};
    if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0) console.width = size.ws_col;
    const std::vector<std::string> words(argv + std::min(argc, 1), argv + argc);
    return run_cli_on(console, words, process_environment(), serve, sql_worker);
}

}  // namespace weir::node
