// `weir bench dedup`: many live ids, a restart, then events of which some repeat ids drawn from all of them. The
// generator knows which; the answers' counts must say the same.
#include "base/prng.h"
#include "node/detail/bench_kinds.h"
#include "node/detail/bench_parts.h"
#include "node/load_run.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <optional>
#include <system_error>

namespace weir::node {
namespace {

constexpr std::int64_t again_share = 5;  // the second load is a fifth of the ids

// {"event_id":"<24 hex digits>","n":N}: short, so that ids are what is measured.
void append_id_event(std::string& out, std::uint64_t seed, std::uint64_t number) {
    char text[80];
    const int n =
        std::snprintf(text, sizeof text, "{\"event_id\":\"%016llx%08llx\",\"n\":%llu}\n",
                      static_cast<unsigned long long>(mix64(seed ^ number)),
                      static_cast<unsigned long long>(number & 0xffffffff), static_cast<unsigned long long>(number));
    out.append(text, static_cast<std::size_t>(n));
}

// `events` events; each is new with a number from `first_new` on, or repeats one below it.
Load make_ids(std::int64_t events, std::uint64_t first_new, double percent, const LoadOptions& options) {
    Load load;
    load.events = events;
    load.bodies.reserve(static_cast<std::size_t>(events) * 52);
    load.at.push_back(0);
    Prng chance(options.seed + first_new);
    for (std::int64_t i = 0; i < events; ++i) {
        const bool repeats = first_new > 0 && chance.chance(percent / 100);
        append_id_event(load.bodies, options.seed,
                        repeats ? chance.below(first_new) : first_new + static_cast<std::uint64_t>(load.distinct));
        load.distinct += repeats ? 0 : 1;
        if ((i + 1) % options.batch == 0 || i + 1 == events) load.at.push_back(load.bodies.size());
    }
    return load;
}

struct Figures {
    double filled_per_s = 0;
    double ready_ms = 0;  // of the restart
    double events_per_s = 0;
    double p50_ms = 0, p99_ms = 0;
    double cpu_ns = 0;       // the server's, an event of the second load
    double index_bytes = 0;  // as the server's gauge says
    std::vector<ProcessUse> processes;
    std::vector<std::string> differences;
};

class Folder {
  public:
    static Result<Folder> make(const std::string& parent) {
        std::string path = parent + "/weir-bench-XXXXXX";
        if (mkdtemp(path.data()) == nullptr)
            return Error{Errc::io, "cannot make a folder in " + parent + ": " + std::generic_category().message(errno)};
        return Folder(std::move(path));
    }
    Folder(Folder&& other) noexcept : path_(std::exchange(other.path_, "")) {}
    Folder& operator=(Folder&&) = delete;
    ~Folder() {
        std::error_code ignored;
        if (!path_.empty()) std::filesystem::remove_all(path_, ignored);
    }
    const std::string& path() const { return path_; }

  private:
    explicit Folder(std::string path) : path_(std::move(path)) {}
    std::string path_;
};

double gauge(Client& client, const std::string& name) {
    const Client::Outcome outcome = client.get("/metrics");
    if (!outcome.ok()) return std::nan("");
    const std::size_t at = outcome.answer.body.find("\n" + name + " ");
    if (at == std::string::npos) return std::nan("");
    return std::strtod(outcome.answer.body.c_str() + at + name.size() + 2, nullptr);
}

Result<Figures> measure(const Console& console, const BenchOptions& options, const Load& ids, const Load& again) {
    Figures figures;
    const Folder folder = TRY(Folder::make(options.dir));
    OwnServer::Options start;
    start.program = options.program;
    start.parent_dir = folder.path();
    start.data_dir = folder.path() + "/data";
    start.clock = console.clock;
    std::optional<OwnServer> server;
    ServerChoice choice;
    LoadRunOptions to_send;
    to_send.stream = "bench";
    to_send.connections = options.connections;
    to_send.stop_fd = options.stop_fd;
    const auto start_it = [&]() -> Status {
        const std::int64_t begin_us = console.clock->monotonic_us();
        server.emplace(TRY(OwnServer::start(start)));
        figures.ready_ms = static_cast<double>(console.clock->monotonic_us() - begin_us) / 1000;
        choice.address = server->address();
        return {};
    };
    const auto send = [&](const Load& load) -> Result<LoadRunResult> {
        LoadRunResult sent = TRY(run_load(choice, load, to_send, *console.clock));
        const auto check = [&](const std::string& what, std::int64_t got, std::int64_t want) {
            if (got != want)
                figures.differences.push_back(what + ": " + people_count(got) + " instead of " + people_count(want));
        };
        check("accepted", sent.accepted, load.distinct);
        check("duplicates", sent.duplicates, load.events - load.distinct);
        check("rejected", sent.rejected, 0);
        return sent;
    };
    TRY(start_it());
    {
        Client client(choice);
        TRY(bench_query(client, "CREATE STREAM bench (event_id TEXT, n INTEGER, DEDUP KEY (event_id) WITHIN 7d)", ""));
    }
    console.say("sending " + people_count_of(ids.events, "id") + " ...");
    figures.filled_per_s = static_cast<double>(ids.events) / TRY(send(ids)).seconds;
    console.say("restarting ...");
    server.reset();  // SIGTERM, and its end
    TRY(start_it());
    console.say("sending " + people_count_of(again.events, "event") + ", some of them again ...");
    std::vector<ProcessUse> before = processes_of(server->pid());
    LoadRunResult sent = TRY(send(again));
    figures.processes = processes_of(server->pid());
    subtract_cpu(figures.processes, before);
    std::ranges::sort(sent.ack_ms);
    figures.events_per_s = static_cast<double>(again.events) / sent.seconds;
    figures.p50_ms = percentile(sent.ack_ms, 0.5);
    figures.p99_ms = percentile(sent.ack_ms, 0.99);
    for (const ProcessUse& use : figures.processes)
        figures.cpu_ns += static_cast<double>(use.cpu_ns) / static_cast<double>(again.events);
    Client client(choice);
    figures.index_bytes = gauge(client, "weir_dedup_memory_bytes");
    return figures;
}

std::string document(const BenchOptions& options, const Load& ids, const Load& again, const Figures& figures) {
    Json out = Json::object();
    out["bench"] = "dedup";
    out["ok"] = figures.differences.empty();
    out["events_per_s"] = std::llround(figures.events_per_s);
    out["mb_per_s"] = rounded(figures.events_per_s * static_cast<double>(again.bodies.size()) /
                              static_cast<double>(again.events) / 1e6);
    out["p50_ms"] = rounded(figures.p50_ms);
    out["p99_ms"] = rounded(figures.p99_ms);
    out["cpu_ns_per_event"] = std::llround(figures.cpu_ns);
    out["rss_mb"] = resident_mb(figures.processes);
    if (!std::isnan(figures.index_bytes)) out["index_mb"] = rounded(figures.index_bytes / 1e6);
    out["fill_events_per_s"] = std::llround(figures.filled_per_s);
    out["restart_ms"] = rounded(figures.ready_ms);
    out["differences"] = figures.differences;
    Json conditions = bench_conditions();
    conditions["ids"] = ids.events;
    conditions["events"] = again.events;
    conditions["duplicates"] = again.events - again.distinct;
    conditions["batch"] = options.load.batch;
    conditions["connections"] = options.connections;
    conditions["seed"] = options.load.seed;
    out["conditions"] = std::move(conditions);
    out["bound_by"] = "cpu and fdatasync, as ingest";
    return to_text(out);
}

std::string table(const Load& ids, const Load& again, const Figures& figures) {
    std::string out = people_count(std::llround(figures.events_per_s)) + " ev/s with " + people_count(ids.events) +
                      " live ids behind a restart; " + people_count_of(again.events - again.distinct, "duplicate") +
                      " of " + people_count(again.events) + " drawn from all of them\n\n";
    out += latency_table({"p50 ms", "p99 ms"}, {{"acknowledged", {figures.p50_ms, figures.p99_ms}}}) + "\n";
    out += "filled at " + people_count(std::llround(figures.filled_per_s)) + " ev/s, ready again in " +
           people_duration_ms(figures.ready_ms) + "\n";
    if (!std::isnan(figures.index_bytes))
        out += "the index holds " + people_bytes(figures.index_bytes) + " in memory\n";
    for (const ProcessUse& use : figures.processes)
        out += "rss " + people_bytes(static_cast<double>(use.rss_bytes)) + " (peak " +
               people_bytes(static_cast<double>(use.rss_peak_bytes)) + ")   " + printable(use.name) + "\n";
    out += "cpu " + people_count(std::llround(figures.cpu_ns)) + " ns/event, the server\n";
    if (figures.differences.empty()) out += "counts agree\n";
    return out;
}

}  // namespace

Exit run_dedup_bench(const Console& console, const BenchOptions& options) {
    console.say("making " + people_count_of(options.load.events, "id") + " ...");
    const Load ids = make_ids(options.load.events, 0, 0, options.load);
    const Load again =
        make_ids(std::max<std::int64_t>(options.load.events / again_share, 1),
                 static_cast<std::uint64_t>(options.load.events), options.load.duplicates_percent, options.load);
    const auto ran = measure(console, options, ids, again);
    if (!ran) return bench_failed(console, ran.error(), options);
    const Figures& figures = ran.value();
    console.write(options.json ? document(options, ids, again, figures) + "\n" : table(ids, again, figures));
    console.flush();
    for (const std::string& difference : figures.differences)
        console.error(difference);
    return figures.differences.empty() ? Exit::ok : Exit::failed;
}

}  // namespace weir::node
