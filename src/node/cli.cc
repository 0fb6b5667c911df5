#include "node/cli.h"

#include "node/completion.h"
#include "node/config_command.h"
#include "node/detail/run_command.h"
#include "node/detail/tree.h"
#include "node/exit_code.h"
#include "node/help.h"
#include "os/clock.h"
#include "os/signals.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <sys/ioctl.h>
#include <unistd.h>

namespace weir::node {
namespace {

Exit usage_error(const Console& console, const std::string& text, const std::string& command) {
    console.error(text, command.empty() ? "weir --help" : "weir " + command + " --help");
    return Exit::usage;
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
        return code_of(usage_error(console, std::string(rest), path_of(tree)));
    }
    PrintFormat format = PrintFormat::toml;
    if (!words.output.empty()) {
        const auto parsed = parse_print_format(words.output);
        if (!parsed) return code_of(usage_error(console, parsed.error().detail, path_of(tree)));
        format = parsed.value();
    }
    for (const std::string& warning : loaded.value().warnings)
        console.say("warning: " + warning);
    if (tree.serve->parsed()) return serve(loaded.value());
    return code_of(tree.config_check->parsed()
                       ? run_config_check(console, loaded.value(), path)
                       : run_config_print(console, loaded.value(), {.origin = words.origin, .format = format}));
}

int do_page(const Console& console, const Tree& tree, const Words& words) {
    const Result<std::string> page =
        tree.man->parsed() ? Result<std::string>(man_page()) : completion_script(words.topic);
    if (!page) return code_of(usage_error(console, page.error().detail, path_of(tree)));
    console.write(page.value());
    console.flush();
    return 0;
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

// A command whose output did not arrive has failed, whatever it did.
int delivered(const Console& console, int code) {
    console.flush();
    const int failure = console.write_error;
    if (failure == 0 || failure == EPIPE) return code;
    console.error(std::string("cannot write the output: ") + std::strerror(failure));
    if (code != 0) return code;
    const bool is_disk = failure == ENOSPC || failure == EDQUOT || failure == EFBIG || failure == EIO;
    return code_of(is_disk ? Exit::disk : Exit::failed);
}

// A standard stream that came closed must not become the first file or socket that is opened: what is written to it
// fails instead.
void hold_standard_streams() {
    for (const int fd : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO})
        if (::fcntl(fd, F_GETFD) < 0) (void)::open("/dev/null", O_RDONLY);
}

int run_words(const Console& console, const std::vector<std::string>& words, const TextMap& environment,
              const ServeFn& serve, const WorkerFn& sql_worker) {
    if (words.empty()) {
        std::fputs(help_text("").c_str(), console.err);
        return code_of(Exit::usage);
    }
    Words said;
    Tree tree;
    plant(tree, said);
    if (const WrongCommand wrong = wrong_command(tree, words); !wrong.text.empty())
        return code_of(usage_error(console, wrong.text, wrong.below));
    try {
        // CLI11 takes the words from the back.
        std::vector<std::string> reversed(words.rbegin(), words.rend());
        tree.app.parse(reversed);
    } catch (const CLI::CallForHelp&) {
        console.write(help_text(path_of(tree)));
        console.flush();
        return 0;
    } catch (const CLI::CallForVersion&) {
        console.write("weir " WEIR_VERSION "\n");
        console.flush();
        return 0;
    } catch (const CLI::ParseError& failure) {
        return code_of(usage_error(console, explain(failure, tree), path_of(tree)));
    }
    if (tree.worker->parsed()) return sql_worker(said.worker_fd, said.worker_dir);
    if (tree.serve->parsed() || tree.config->parsed()) return do_settings(console, tree, said, environment, serve);
    if (tree.help->parsed()) return do_help(console, said);
    if (tree.completion->parsed() || tree.man->parsed()) return do_page(console, tree, said);
    if (tree.version->parsed()) {
        console.write("weir " WEIR_VERSION "\n");
        console.flush();
        return 0;
    }
    const Result<Exit> exit = run_command(console, tree, said, environment);
    if (!exit) return code_of(usage_error(console, exit.error().detail, path_of(tree)));
    return code_of(exit.value());
}

}  // namespace

int run_cli_on(const Console& console, const std::vector<std::string>& words, const TextMap& environment,
               const ServeFn& serve, const WorkerFn& sql_worker) {
    return delivered(console, run_words(console, words, environment, serve, sql_worker));
}

int run_cli(int argc, char** argv, const ServeFn& serve, const WorkerFn& sql_worker) {
    hold_standard_streams();
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
