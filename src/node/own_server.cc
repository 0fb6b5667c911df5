#include "node/own_server.h"

#include "node/settings.h"

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstdlib>
#include <cstring>
#include <fcntl.h>
#include <filesystem>
#include <map>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>
#include <utility>

namespace weir::node {
namespace {

constexpr int stop_within_ms = 10'000;
constexpr int look_every_ms = 5;
constexpr std::size_t log_tail_bytes = 2000;

std::string read_whole(const std::string& path, std::size_t bytes_max) {
    std::string text;
    const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
    if (fd < 0) return text;
    text.resize(bytes_max);
    const ssize_t got = ::read(fd, text.data(), text.size());
    ::close(fd);
    text.resize(got > 0 ? static_cast<std::size_t>(got) : 0);
    return text;
}

std::int64_t number_behind(std::string_view text, std::string_view word) {
    std::size_t at = text.find(word);
    if (at == std::string_view::npos) return 0;
    at = text.find_first_of("0123456789", at + word.size());
    std::int64_t value = 0;
    if (at != std::string_view::npos) std::from_chars(text.data() + at, text.data() + text.size(), value);
    return value;
}

struct Stat {
    int parent = 0;
    std::int64_t ticks = 0;
};

// /proc/PID/stat: the name stands in parentheses and may hold anything, so fields count from the last ')'.
Stat stat_of(int pid) {
    const std::string text = read_whole("/proc/" + std::to_string(pid) + "/stat", 4096);
    const std::size_t name_end = text.rfind(')');
    Stat stat;
    if (name_end == std::string::npos) return stat;
    std::vector<std::string_view> fields;  // [0] is field 3, the state
    std::string_view rest = std::string_view(text).substr(name_end + 1);
    while (!rest.empty()) {
        const std::size_t start = rest.find_first_not_of(" \n");
        if (start == std::string_view::npos) break;
        rest.remove_prefix(start);
        const std::size_t end = std::min(rest.find_first_of(" \n"), rest.size());
        fields.push_back(rest.substr(0, end));
        rest.remove_prefix(end);
    }
    if (fields.size() < 15) return stat;
    const auto number = [&](std::size_t field) {
        std::int64_t value = 0;
        std::from_chars(fields[field - 3].data(), fields[field - 3].data() + fields[field - 3].size(), value);
        return value;
    };
    stat.parent = static_cast<int>(number(4));
    // Own time, and that of children which have ended: queries that were killed count too.
    stat.ticks = number(14) + number(15) + number(16) + number(17);
    return stat;
}

ProcessUse use_of(int pid) {
    ProcessUse use;
    use.pid = pid;
    std::string line = read_whole("/proc/" + std::to_string(pid) + "/cmdline", 4096);
    const std::size_t end = line.find('\0');
    const std::string program = line.substr(0, end);
    use.name = program.substr(program.rfind('/') + 1);
    if (end != std::string::npos && end + 1 < line.size()) {
        use.name += " " + line.substr(end + 1, line.find('\0', end + 1) - end - 1);
    }
    use.cpu_ns = stat_of(pid).ticks * (1'000'000'000 / std::max(1L, sysconf(_SC_CLK_TCK)));
    const std::string status = read_whole("/proc/" + std::to_string(pid) + "/status", 8192);
    use.rss_bytes = number_behind(status, "VmRSS:") * 1024;
    use.rss_peak_bytes = number_behind(status, "VmHWM:") * 1024;
    return use;
}

// This process's, without what would give the server another file of settings, or API keys that nobody here knows.
std::vector<std::string> environment_of_own_server() {
    std::vector<std::string> variables;
    for (const auto& [name, value] : process_environment()) {
        if (name != "WEIR_CONFIG" && !name.starts_with("WEIR_AUTH_")) variables.push_back(name + "=" + value);
    }
    return variables;
}

// As exec wants them: null behind the last.
std::vector<char*> pointers_to(std::vector<std::string>& texts) {
    std::vector<char*> pointers;
    pointers.reserve(texts.size() + 1);
    for (std::string& text : texts)
        pointers.push_back(text.data());
    pointers.push_back(nullptr);
    return pointers;
}

// Nothing but system calls between fork and exec: the parent's memory may be in any state.
[[noreturn]] void become_server(const char* program, char* const* arguments, char* const* environment, int log,
                                int parent) {
    setpgid(0, 0);  // Ctrl-C is for the measurement, which then stops its server in order
    prctl(PR_SET_PDEATHSIG, SIGTERM);
    if (getppid() != parent) _exit(126);
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, nullptr);
    signal(SIGPIPE, SIG_DFL);
    dup2(log, STDOUT_FILENO);
    dup2(log, STDERR_FILENO);
    execve(program, arguments, environment);
    _exit(127);
}

}  // namespace

std::string ready_address(std::string_view log) {
    if (log.find("ready in") == std::string_view::npos) return {};
    const std::size_t start = log.find("http://");
    if (start == std::string_view::npos) return {};
    const std::size_t end = log.find_first_of("/ \"\r\n\t", start + 7);
    return std::string(log.substr(start, end - start));
}

std::vector<ProcessUse> processes_of(int pid) {
    std::multimap<int, int> children;
    std::error_code failure;
    for (std::filesystem::directory_iterator at("/proc", failure), end; !failure && at != end; at.increment(failure)) {
        const std::string name = at->path().filename().string();
        int number = 0;
        const auto [stop, bad] = std::from_chars(name.data(), name.data() + name.size(), number);
        if (bad != std::errc() || stop != name.data() + name.size()) continue;
        children.emplace(stat_of(number).parent, number);
    }
    std::vector<ProcessUse> found{use_of(pid)};
    for (std::size_t i = 0; i < found.size(); ++i) {
        const auto [first, last] = children.equal_range(found[i].pid);
        for (auto child = first; child != last; ++child)
            found.push_back(use_of(child->second));
    }
    return found;
}

OwnServer::OwnServer(OwnServer&& other) noexcept
    : dir_(std::exchange(other.dir_, {})), pid_(std::exchange(other.pid_, -1)), address_(std::move(other.address_)) {}

OwnServer::~OwnServer() {
    if (pid_ > 0) {
        kill(pid_, SIGTERM);
        bool gone = false;
        for (int waited = 0; waited < stop_within_ms && !gone; waited += look_every_ms) {
            gone = waitpid(pid_, nullptr, WNOHANG) == pid_;
            if (!gone) ::poll(nullptr, 0, look_every_ms);
        }
        if (!gone) {
            kill(pid_, SIGKILL);
            waitpid(pid_, nullptr, 0);
        }
    }
    std::error_code ignored;
    if (!dir_.empty()) std::filesystem::remove_all(dir_, ignored);
}

bool OwnServer::has_ended() {
    if (pid_ > 0 && waitpid(pid_, nullptr, WNOHANG) == pid_) pid_ = -1;
    return pid_ < 0;
}

std::string OwnServer::log_tail() const {
    const std::string text = read_whole(dir_ + "/server.log", 1 << 20);
    return text.size() <= log_tail_bytes ? text : text.substr(text.size() - log_tail_bytes);
}

Result<OwnServer> OwnServer::start(const Options& options) {
    OwnServer server;
    std::string pattern = options.parent_dir + "/weir-" + options.name + "-XXXXXX";
    if (mkdtemp(pattern.data()) == nullptr) {
        return Error{Errc::io, "cannot make a folder in " + options.parent_dir + ": " + std::strerror(errno), errno};
    }
    server.dir_ = pattern;
    const std::string log_path = server.dir_ + "/server.log";
    const int log = ::open(log_path.c_str(), O_CREAT | O_WRONLY | O_APPEND | O_CLOEXEC, 0644);
    if (log < 0) return Error{Errc::io, log_path + ": " + std::strerror(errno), errno};
    const std::string data = options.data_dir.empty() ? server.dir_ + "/data" : options.data_dir;
    std::vector<std::string> words{"weir", "serve", "--data", data, "--http", options.http_listen};
    std::vector<std::string> variables = environment_of_own_server();
    const int parent = getpid();
    std::vector<char*> arguments = pointers_to(words);
    std::vector<char*> environment = pointers_to(variables);
    const int pid = fork();
    if (pid == 0) become_server(options.program.c_str(), arguments.data(), environment.data(), log, parent);
    ::close(log);
    if (pid < 0) return Error{Errc::io, std::string("fork: ") + std::strerror(errno), errno};
    server.pid_ = pid;

    const std::int64_t give_up_us = options.clock->monotonic_us() + options.ready_within_ms * 1000;
    for (;;) {
        const std::string address = ready_address(read_whole(log_path, 1 << 20));
        if (!address.empty()) {
            server.address_ = TRY(parse_server(address));
            return server;
        }
        if (waitpid(pid, nullptr, WNOHANG) == pid) {
            server.pid_ = -1;
            return Error{Errc::io, "the server ended before it was ready:\n" + server.log_tail()};
        }
        if (options.clock->monotonic_us() > give_up_us) {
            return Error{Errc::timed_out, "the server is not ready:\n" + server.log_tail()};
        }
        ::poll(nullptr, 0, look_every_ms);
    }
}

}  // namespace weir::node
