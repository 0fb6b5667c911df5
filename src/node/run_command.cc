#include "node/detail/run_command.h"

#include "node/client.h"
#include "node/doctor.h"
#include "node/dump.h"
#include "node/inspect.h"
#include "node/produce.h"
#include "node/root_key.h"
#include "node/sql_command.h"
#include "node/sql_shell.h"
#include "node/statement_history.h"
#include "node/tail.h"
#include "os/signals.h"
#include "record/time.h"
#include "sql/statement.h"

#include <algorithm>
#include <cstdlib>
#include <optional>
#include <unistd.h>
#include <utility>

namespace weir::node {
namespace {

// Ctrl-C and SIGTERM end a command in order, and the shell hears of it. The signal is taken here: pending, it would
// strike when the mask goes back.
Result<Exit> unless_stopped(os::StopSignals& stop, Exit exit) {
    bool came = false;
    while (TRY(stop.wait(0)) != 0)
        came = true;
    return came && exit == Exit::ok ? Exit::interrupted : exit;
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
Result<Exit> do_sql(const Console& console, const Words& words, const ServerChoice& server,
                    const TextMap& environment) {
    SqlOptions options;
    options.statement = words.statement;
    options.file = words.file;
    options.min_index = words.min_index;
    options.rows_max = words.rows_max;
    options.format = TRY(parse_output_format(words.output.empty() ? "table" : words.output));
    if (!words.timeout.empty()) options.timeout_ms = TRY(duration_of(words.timeout, "--timeout"));
    const bool at_terminal = isatty(STDIN_FILENO) != 0 && console.out_is_terminal;
    if (options.statement.empty() && options.file.empty() && at_terminal) {
        const auto value_of = [&](const char* variable) {
            const auto found = environment.find(variable);
            return found == environment.end() ? std::string() : found->second;
        };
        os::StopSignals stop = TRY(os::StopSignals::take());
        return run_sql_shell(console, server, options, history_path(value_of("XDG_STATE_HOME"), value_of("HOME")),
                             stop);
    }
    if (options.statement.empty() == options.file.empty()) {
        return Error{Errc::invalid_argument, "one of 'STATEMENT', -f FILE or - is needed where there is no terminal"};
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
    return unless_stopped(stop, run_produce(console, server, std::move(input), options));
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
    return unless_stopped(stop, run_tail(console, client, options));
}

Result<Exit> do_bench(const Console& console, const Words& words, const TextMap& environment) {
    BenchOptions options = words.bench;
    // Only the flag: a WEIR_SERVER left in the environment must not turn a bench loose on a server in use.
    if (!words.server.empty()) options.server = TRY(choose_server(words, environment));
    os::StopSignals stop = TRY(os::StopSignals::take());
    options.stop_fd = stop.fd();
    return unless_stopped(stop, run_bench(console, options));
}

std::string data_dir_of(const Words& words, const TextMap& environment) {
    const auto variable = environment.find("WEIR_NODE_DATA_DIR");
    if (!words.data_dir.empty()) return words.data_dir;
    return variable == environment.end() || variable->second.empty() ? "./weir-data" : variable->second;
}

Result<Exit> do_doctor(const Console& console, const Words& words, const TextMap& environment) {
    const OutputFormat format = TRY(parse_output_format(words.output.empty() ? "table" : words.output));
    return run_doctor(console, data_dir_of(words, environment), format);
}

Result<Exit> do_inspect(const Console& console, const Tree& tree, const Words& words, const TextMap& environment) {
    const OutputFormat format = TRY(parse_output_format(words.output.empty() ? "table" : words.output));
    if (tree.inspect_segment->parsed()) return run_dump_segment(console, words.file, format);
    const DumpWhat what = tree.inspect_wal->parsed()          ? DumpWhat::wal
                          : tree.inspect_checkpoint->parsed() ? DumpWhat::checkpoint
                                                              : DumpWhat::state;
    return run_dump(console, data_dir_of(words, environment), what, format);
}

Result<Exit> do_demo(const Console& console, const Words& words) {
    DemoOptions options = words.demo;
    options.open = !words.no_open;
    if (const char* folder = std::getenv("TMPDIR"); folder != nullptr && folder[0] != '\0') options.parent_dir = folder;
    os::StopSignals stop = TRY(os::StopSignals::take());
    options.stop_fd = stop.fd();
    const Exit exit = run_demo(console, options);
    (void)TRY(unless_stopped(stop, exit));  // Ctrl-C is how a demo ends well
    return exit;
}

}  // namespace

Result<Exit> run_command(const Console& console, const Tree& tree, const Words& words, const TextMap& environment) {
    if (tree.demo->parsed()) return do_demo(console, words);
    if (tree.doctor->parsed()) return do_doctor(console, words, environment);
    if (tree.inspect->parsed()) return do_inspect(console, tree, words, environment);
    if (tree.bench->parsed()) return do_bench(console, words, environment);
    const ServerChoice server = TRY(choose_server(words, environment));
    if (tree.sql->parsed()) return do_sql(console, words, server, environment);
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
    return unless_stopped(stop, run_status(console, client, format, stop.fd()));
}

}  // namespace weir::node
