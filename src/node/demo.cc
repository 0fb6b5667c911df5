#include "node/demo.h"

#include "node/demo_traffic.h"
#include "node/detail/json.h"
#include "node/own_server.h"
#include "node/rows.h"

#include <algorithm>
#include <arpa/inet.h>
#include <array>
#include <cstdlib>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

namespace weir::node {
namespace {

constexpr std::uint16_t usual_port = 8080;
constexpr std::int64_t tick_ms = 100;
constexpr std::int64_t retry_ms = 200;
constexpr std::int64_t show_every_us = 1'000'000;
// The shop is an hour old when the demo begins: windows that are final, and a view that has rows, at first sight.
constexpr std::int64_t history_events = 36'000;
constexpr std::int64_t history_ms = 3'600'000;
constexpr std::int64_t history_batch = 3'600;

bool usual_port_is_free() {
    const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0) return false;
    const int on = 1;
    ::setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(usual_port);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    sockaddr generic{};
    static_assert(sizeof generic == sizeof address);
    std::copy_n(reinterpret_cast<const char*>(&address), sizeof address, reinterpret_cast<char*>(&generic));
    const bool is_free = ::bind(fd, &generic, sizeof generic) == 0;
    ::close(fd);
    return is_free;
}

// Nothing but system calls between the forks and exec. The browser is nobody's child: it may live on.
void show_in_browser(const std::string& url) {
    const char* const words[] = {"xdg-open", url.c_str(), nullptr};
    const int pid = fork();
    if (pid == 0) {
        if (fork() == 0) {
            setsid();
            sigset_t none;
            sigemptyset(&none);
            sigprocmask(SIG_SETMASK, &none, nullptr);
            dup2(STDIN_FILENO, STDOUT_FILENO);
            execvp(words[0], const_cast<char* const*>(words));
        }
        _exit(0);
    }
    if (pid > 0) waitpid(pid, nullptr, 0);
}

struct Counts {
    std::int64_t accepted = 0, duplicates = 0, rejected = 0;
};

class Demo {
  public:
    Demo(const Console& console, const DemoOptions& options, OwnServer server)
        : console_(console),
          options_(options),
          clock_(*console.clock),
          server_(std::move(server)),
          client_(ServerChoice{server_.address(), ""}),
          traffic_(options.seed, 0) {}

    Exit run();

  private:
    // An answer's rows, or nothing; then said_ has told why.
    Result<RowSet> ask(const std::string& statement);
    Result<Exit> prepare();
    void print_banner(bool has_page) const;
    void show_counts(bool last);
    bool stopped(std::int64_t within_ms) const;
    // Sends until it is stored; ok also when it was told to stop.
    Status send(const std::string& stream, const std::string& body);
    Status send(const DemoLines& lines);
    Status send_history();
    Status send_live();

    const Console& console_;
    const DemoOptions& options_;
    Clock& clock_;
    OwnServer server_;
    Client client_;
    DemoTraffic traffic_;
    Counts counts_;
    std::int64_t shown_us_ = 0;
};

bool Demo::stopped(std::int64_t within_ms) const {
    pollfd stop{options_.stop_fd, POLLIN, 0};
    return ::poll(&stop, 1, static_cast<int>(within_ms)) > 0;
}

Result<RowSet> Demo::ask(const std::string& statement) {
    Json request = Json::object();
    request["query"] = statement;
    const Client::Outcome outcome = client_.post("/v1/sql", "application/json", to_text(request));
    if (!outcome.ok()) return Error{Errc::io, outcome.problem.detail};
    return parse_sql_answer(outcome.answer.body);
}

// The directory is the demo's or empty, the streams and views are there, the traffic knows where it was.
Result<Exit> Demo::prepare() {
    const RowSet streams = TRY(ask("SELECT name FROM sys.streams"));
    for (const std::vector<Cell>& row : streams.rows) {
        const std::string& name = row.front().text;
        if (std::ranges::find(demo_streams, name) != demo_streams.end()) continue;
        console_.error(options_.data_dir + " holds the stream " + printable(name) +
                           ", which is not of a demo: its traffic would mix with yours",
                       "weir demo --data ./weir-demo");
        return Exit::conflict;
    }
    for (const std::string& statement : demo_statements())
        TRY(ask(statement));
    const RowSet counters = TRY(ask("SELECT received FROM sys.counters WHERE stream = 'requests'"));
    if (!counters.rows.empty()) {
        traffic_ = DemoTraffic(options_.seed, std::strtoull(counters.rows[0][0].text.c_str(), nullptr, 10));
    }
    return Exit::ok;
}

void Demo::print_banner(bool has_page) const {
    const std::string url = server_.address().text();
    const std::string server = url == default_server ? "" : " --server " + url;
    const std::string data =
        options_.data_dir.empty() ? server_.folder() + " (removed at the end)" : options_.data_dir + " (stays)";
    console_.say("weir " WEIR_VERSION "  demo  " + people_count(options_.events_per_s) + " events/s  seed " +
                 std::to_string(options_.seed) + "  data " + data + "\n");
    if (has_page) console_.say("  Page       " + url + "/");
    console_.say("  HTTP       " + url + "/v1/streams/requests/events\n  Streams    requests, orders\n" +
                 "  Views      requests_1m, paths_10m, revenue_1m\n\n  Try, in another terminal:");
    for (const char* statement :
         {"SELECT window_start, sum(n) AS n, max(max_ms) AS worst FROM requests_1m GROUP BY 1 ORDER BY 1 DESC LIMIT 5",
          "SELECT path, sum(n) AS n FROM paths_10m GROUP BY path ORDER BY n DESC LIMIT 10",
          "SELECT country, sum(cents) / 100 AS total FROM revenue_1m GROUP BY country ORDER BY 2 DESC",
          "SELECT reason, count(*) FROM requests_dead_letters GROUP BY reason",
          "SELECT * FROM requests_1m_late LIMIT 5", "SELECT * FROM sys.counters"}) {
        console_.say("    weir sql" + server + " \"" + statement + "\"");
    }
    console_.say("    weir tail requests -f" + server + " --where 'status >= 500'\n    weir status" + server +
                 "\n  Ctrl-C to stop\n");
}

void Demo::show_counts(bool last) {
    const std::int64_t now_us = clock_.monotonic_us();
    if (!last && (!console_.err_is_terminal || now_us - shown_us_ < show_every_us)) return;
    shown_us_ = now_us;
    const std::string line = people_count(counts_.accepted) + " events, " +
                             people_count_of(counts_.duplicates, "duplicate") + ", " +
                             people_count_of(counts_.rejected, "dead letter");
    if (console_.err_is_terminal) {
        std::fprintf(console_.err, "\r\x1b[K%s%s", line.c_str(), last ? "\n" : "");
        std::fflush(console_.err);
    } else {
        console_.say(line);
    }
}

Status Demo::send(const std::string& stream, const std::string& body) {
    if (body.empty()) return {};
    for (;;) {
        if (server_.has_ended()) return Error{Errc::io, "the server has ended:\n" + server_.log_tail()};
        const Client::Outcome outcome = client_.post("/v1/streams/" + stream + "/events", "application/x-ndjson", body);
        const Result<Json> answer = parse_json(outcome.answer.body);
        // A batch of which every line is bad is answered 400, with counts.
        if (outcome.answered && answer && member(answer.value(), "accepted").is_number_integer()) {
            counts_.accepted += integer_of(member(answer.value(), "accepted"));
            counts_.duplicates += integer_of(member(answer.value(), "duplicates"));
            counts_.rejected += integer_of(member(answer.value(), "rejected"));
            return {};
        }
        // Its fate may be unknown: the streams have keys, so it goes again.
        const bool transient = !outcome.answered || outcome.answer.status == 503 || outcome.answer.status == 504;
        if (!transient) return Error{Errc::io, outcome.problem.detail};
        if (stopped(retry_ms)) return {};
    }
}

Status Demo::send(const DemoLines& lines) {
    TRY(send("requests", lines.requests));
    return send("orders", lines.orders);
}

Status Demo::send_history() {
    const std::int64_t begin_ms = clock_.wall_ms() - history_ms;
    for (std::int64_t sent = 0; sent < history_events && !stopped(0);) {
        DemoLines lines;
        for (const std::int64_t end = sent + history_batch; sent < end; ++sent)
            traffic_.append(begin_ms + sent * history_ms / history_events, lines);
        TRY(send(lines));
    }
    return {};
}

Status Demo::send_live() {
    const std::int64_t begin_us = clock_.monotonic_us();
    DemoPace pace(options_.events_per_s);
    while (!stopped(tick_ms)) {
        DemoLines lines;
        for (std::int64_t left = pace.due(clock_.monotonic_us() - begin_us); left > 0; --left)
            traffic_.append(clock_.wall_ms(), lines);
        TRY(send(lines));
        show_counts(false);
    }
    return {};
}

Exit Demo::run() {
    const Result<Exit> prepared = prepare();
    if (!prepared) {
        console_.error("the demo's streams cannot be made: " + printable(prepared.error().detail));
        return Exit::failed;
    }
    if (prepared.value() != Exit::ok) return prepared.value();
    Status sent;
    if (traffic_.next() == 0) sent = send_history();
    if (sent) {
        const Client::Outcome page = client_.get("/");
        const bool has_page = page.answered && page.answer.status == 200 && page.answer.body.starts_with('<');
        print_banner(has_page);
        const bool has_screen = std::getenv("DISPLAY") != nullptr || std::getenv("WAYLAND_DISPLAY") != nullptr;
        if (has_page && options_.open && console_.err_is_terminal && has_screen) {
            show_in_browser(server_.address().text() + "/");
        }
        sent = send_live();
    }
    show_counts(true);
    if (!sent) {
        console_.error(sent.error().detail);
        return Exit::failed;
    }
    console_.say("stopping");
    return Exit::ok;
}

}  // namespace

std::int64_t DemoPace::due(std::int64_t passed_us) {
    const std::int64_t target =
        passed_us / 1'000'000 * events_per_s_ + passed_us % 1'000'000 * events_per_s_ / 1'000'000;
    const std::int64_t owed = target - told_;
    told_ = target;
    return std::min(owed, events_per_s_);
}

Exit run_demo(const Console& console, const DemoOptions& options) {
    OwnServer::Options start;
    start.name = "demo";
    start.parent_dir = options.parent_dir;
    start.data_dir = options.data_dir;
    start.http_listen = options.http_listen;
    start.program = options.program;
    start.clock = console.clock;
    if (start.http_listen.empty()) {
        start.http_listen = "127.0.0.1:" + std::to_string(usual_port_is_free() ? usual_port : 0);
    }
    Result<OwnServer> server = OwnServer::start(start);
    if (!server) {
        console.error(server.error().detail);
        return Exit::failed;
    }
    Demo demo(console, options, std::move(server).value());
    return demo.run();
}

}  // namespace weir::node
