#include "node/bench.h"

#include "node/detail/bench_kinds.h"
#include "node/detail/bench_parts.h"
#include "node/detail/json.h"
#include "node/load_run.h"
#include "node/own_server.h"
#include "node/rows.h"
#include "node/sql_command.h"
#include "record/time.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <fcntl.h>
#include <sys/resource.h>
#include <unistd.h>

namespace weir::node {
namespace {

constexpr int query_samples = 20;
constexpr double cpu_bound_share = 0.85;

struct Figures {
    double events_per_s = 0;
    double mb_per_s = 0;
    double p50_ms = 0, p99_ms = 0, p999_ms = 0, max_ms = 0;
    double lag_p50_ms = 0, lag_p99_ms = 0, lag_max_ms = 0;
    std::int64_t lag_samples = 0;
    double view_caught_up_ms = 0;  // from the last acknowledgement to the view that holds everything
    double query_p50_ms = 0;       // the view's sum, with nothing to wait for: part of every lag
    double server_cpu_ns = 0;      // an event; 0: not known
    double client_cpu_ns = 0;
    double cpu_share = 0;  // of the machine, both together
    double seconds = 0;
    std::int64_t refused = 0;
    std::vector<ProcessUse> processes;  // cpu_ns is of this run
    std::vector<std::string> differences;
};

struct Context {
    const Console& console;
    const BenchOptions& options;
    const Load& load;
    double fdatasync_ms = 0;
};

void compare(const Context& context, const LoadRunResult& run, const GroupSums& view, std::vector<std::string>& out) {
    const auto check = [&](const std::string& what, std::int64_t got, std::int64_t want) {
        if (got != want) out.push_back(what + ": " + people_count(got) + " instead of " + people_count(want));
    };
    check("accepted", run.accepted, context.load.distinct);
    check("duplicates", run.duplicates, context.load.events - context.load.distinct);
    check("rejected", run.rejected, 0);
    if (view == context.load.groups) return;
    GroupSum got, want;
    for (const auto& [key, sum] : view)
        got = {got.count + sum.count, got.bytes + sum.bytes};
    for (const auto& [key, sum] : context.load.groups)
        want = {want.count + sum.count, want.bytes + sum.bytes};
    check("rows of the view", static_cast<std::int64_t>(view.size()),
          static_cast<std::int64_t>(context.load.groups.size()));
    check("the view's events", got.count, want.count);
    check("the view's sum of bytes", got.bytes, want.bytes);
    if (got == want) out.push_back("the view's sums agree in total and differ by window and status");
}

Result<Figures> one_run(const Context& context, std::int64_t number) {
    const BenchOptions& options = context.options;
    Clock& clock = *context.console.clock;
    std::optional<OwnServer> own;
    ServerChoice server;
    if (options.server) {
        server = *options.server;
    } else {
        own.emplace(TRY(bench_server(context.console, options.program, options.dir)));
        server.address = own->address();
    }
    // On a server that goes on living each run needs a stream of its own.
    std::string stream = "bench";
    if (options.server) stream += "_" + std::to_string(clock.wall_ms()) + "_" + std::to_string(number);
    Client client(server);
    client.set_read_timeout_ms(bench_deadline_ms + 10'000);
    TRY(bench_query(client, load_stream_sql(stream), ""));
    TRY(bench_query(client, load_view_sql(stream), ""));
    TRY(bench_query(client, "SELECT count(*) FROM " + stream + "_1h",
                    ""));  // the query worker starts now, not in the run

    const std::string view_sum = "SELECT sum(n) FROM " + stream + "_1h";
    LoadRunOptions run_options;
    run_options.stream = stream;
    run_options.connections = options.connections;
    run_options.events_per_s = options.events_per_s;
    if (options.kind == BenchKind::e2e) run_options.lag_query = view_sum;
    run_options.stop_fd = options.stop_fd;
    std::vector<ProcessUse> before;
    if (own) before = processes_of(own->pid());
    const std::int64_t own_before = own_cpu_ns();
    Result<LoadRunResult> ran = run_load(server, context.load, run_options, clock);
    if (!ran) {
        Error error = std::move(ran).error();
        if (own && error.code != Errc::cancelled) error.detail += "\nthe server's last lines:\n" + own->log_tail();
        return error;
    }
    LoadRunResult run = std::move(ran).value();
    const std::int64_t own_cpu = own_cpu_ns() - own_before;
    const std::int64_t loaded_us = clock.monotonic_us();
    const std::string rows =
        TRY(bench_query(client, "SELECT window_start, status, n, bytes FROM " + stream + "_1h", run.applied_index));

    Figures figures;
    figures.view_caught_up_ms = static_cast<double>(clock.monotonic_us() - loaded_us) / 1000;
    if (own) {
        figures.processes = processes_of(own->pid());
        subtract_cpu(figures.processes, before);
    }
    compare(context, run, TRY(parse_groups(rows)), figures.differences);
    std::vector<double> queries;
    for (int i = 0; i < query_samples; ++i) {
        const std::int64_t start_us = clock.monotonic_us();
        TRY(bench_query(client, view_sum, ""));
        queries.push_back(static_cast<double>(clock.monotonic_us() - start_us) / 1000);
    }
    for (std::vector<double>* values : {&run.ack_ms, &run.lag_ms, &queries})
        std::ranges::sort(*values);

    const auto events = static_cast<double>(context.load.events);
    figures.seconds = run.seconds;
    figures.events_per_s = events / run.seconds;
    figures.mb_per_s = static_cast<double>(context.load.bodies.size()) / 1e6 / run.seconds;
    figures.p50_ms = percentile(run.ack_ms, 0.5);
    figures.p99_ms = percentile(run.ack_ms, 0.99);
    figures.p999_ms = percentile(run.ack_ms, 0.999);
    figures.max_ms = percentile(run.ack_ms, 1);
    figures.lag_p50_ms = percentile(run.lag_ms, 0.5);
    figures.lag_p99_ms = percentile(run.lag_ms, 0.99);
    figures.lag_max_ms = percentile(run.lag_ms, 1);
    figures.lag_samples = static_cast<std::int64_t>(run.lag_ms.size());
    figures.query_p50_ms = percentile(queries, 0.5);
    figures.refused = run.refused;
    double server_cpu = 0;
    for (const ProcessUse& use : figures.processes)
        server_cpu += static_cast<double>(use.cpu_ns);
    figures.server_cpu_ns = server_cpu / events;
    figures.client_cpu_ns = static_cast<double>(own_cpu) / events;
    const double wall_ns = run.seconds * 1e9 + figures.view_caught_up_ms * 1e6;
    figures.cpu_share = (server_cpu + static_cast<double>(own_cpu)) / wall_ns / static_cast<double>(core_count());
    return figures;
}

std::string bound_by(const Context& context, const Figures& figures) {
    if (context.options.server) return "unknown: the server's processes are not measured";
    if (figures.cpu_share >= cpu_bound_share) return "cpu";
    if (context.options.events_per_s > 0 && figures.events_per_s >= 0.98 * context.options.events_per_s) return "rate";
    // The cpu idles: what is left to wait for is the flush under way and the one behind it, and their queue.
    constexpr double flushes_max = 10;
    if (figures.p50_ms < flushes_max * context.fdatasync_ms) return "fdatasync";
    return "latency: more connections or larger batches would use the idle cpu";
}

std::int64_t per_event(const Context& context, std::int64_t total) {
    return std::llround(static_cast<double>(total) / static_cast<double>(context.load.events));
}

double megabytes(std::int64_t bytes) {
    const std::int64_t hundredths = bytes / 10'000;
    return static_cast<double>(hundredths) / 100;
}

Json process_list(const Context& context, const Figures& figures) {
    Json list = Json::array();
    for (const ProcessUse& use : figures.processes) {
        Json entry = Json::object();
        entry["name"] = use.name;
        entry["cpu_ns_per_event"] = per_event(context, use.cpu_ns);
        entry["rss_mb"] = megabytes(use.rss_bytes);
        entry["rss_peak_mb"] = megabytes(use.rss_peak_bytes);
        list.push_back(std::move(entry));
    }
    return list;
}

std::string document(const Context& context, const Figures& figures, const std::vector<double>& rates) {
    const BenchOptions& options = context.options;
    Json out = Json::object();
    out["bench"] = options.kind == BenchKind::ingest ? "ingest" : "e2e";
    out["ok"] = figures.differences.empty();
    out["events_per_s"] = std::llround(figures.events_per_s);
    out["mb_per_s"] = rounded(figures.mb_per_s);
    out["p50_ms"] = rounded(figures.p50_ms);
    out["p99_ms"] = rounded(figures.p99_ms);
    out["p999_ms"] = rounded(figures.p999_ms);
    out["max_ms"] = rounded(figures.max_ms);
    if (figures.lag_samples > 0) {
        out["view_lag_p50_ms"] = rounded(figures.lag_p50_ms);
        out["view_lag_p99_ms"] = rounded(figures.lag_p99_ms);
        out["view_lag_max_ms"] = rounded(figures.lag_max_ms);
        out["view_lag_samples"] = figures.lag_samples;
    }
    out["view_caught_up_ms"] = rounded(figures.view_caught_up_ms);
    out["query_p50_ms"] = rounded(figures.query_p50_ms);
    if (!figures.processes.empty()) {
        out["cpu_ns_per_event"] = std::llround(figures.server_cpu_ns);
        out["rss_mb"] = resident_mb(figures.processes);
        out["processes"] = process_list(context, figures);
    }
    out["client_cpu_ns_per_event"] = std::llround(figures.client_cpu_ns);
    out["fdatasync_p50_ms"] = rounded(context.fdatasync_ms);
    out["refused"] = figures.refused;
    out["differences"] = figures.differences;
    Json conditions = bench_conditions();
    conditions["events"] = context.load.events;
    conditions["distinct"] = context.load.distinct;
    const auto body_bytes = static_cast<double>(context.load.bodies.size());
    conditions["event_bytes"] = rounded(body_bytes / static_cast<double>(context.load.events));
    conditions["batch"] = options.load.batch;
    conditions["connections"] = options.connections;
    conditions["rate"] = options.events_per_s;
    conditions["duplicates_percent"] = options.load.duplicates_percent;
    conditions["seed"] = options.load.seed;
    conditions["cpu_share"] = rounded(figures.cpu_share);
    conditions["runs_events_per_s"] = rates;
    out["conditions"] = std::move(conditions);
    out["bound_by"] = bound_by(context, figures);
    return to_text(out);
}

std::string table(const Context& context, const Figures& figures) {
    const BenchOptions& options = context.options;
    std::vector<std::pair<std::string, std::vector<double>>> latency{
        {"acknowledged", {figures.p50_ms, figures.p99_ms, figures.p999_ms, figures.max_ms}}};
    if (figures.lag_samples > 0)
        latency.push_back({"durable to visible", {figures.lag_p50_ms, figures.lag_p99_ms, -1, figures.lag_max_ms}});
    std::string out =
        people_count(std::llround(figures.events_per_s)) + " ev/s   " + milliseconds(figures.mb_per_s) + " MB/s   " +
        people_count_of(context.load.events, "event") + " of about " +
        std::to_string(per_event(context, static_cast<std::int64_t>(context.load.bodies.size()))) + " B in " +
        people_duration_ms(figures.seconds * 1000) + "\n" + people_count(options.load.batch) + " a request, " +
        people_count_of(options.connections, "connection") + ", " +
        (options.events_per_s > 0 ? "open loop at " + people_count(std::llround(options.events_per_s)) + " ev/s"
                                  : std::string("closed loop")) +
        "\n\n";
    out += latency_table({"p50 ms", "p99 ms", "p99.9 ms", "max ms"}, latency) + "\n";
    for (const ProcessUse& use : figures.processes) {
        out += "cpu " + people_count(per_event(context, use.cpu_ns)) + " ns/event   rss " +
               people_bytes(static_cast<double>(use.rss_bytes)) + " (peak " +
               people_bytes(static_cast<double>(use.rss_peak_bytes)) + ")   " + printable(use.name) + "\n";
    }
    out += "cpu " + people_count(std::llround(figures.client_cpu_ns)) + " ns/event   generator\n";
    out += "view caught up " + people_duration_ms(figures.view_caught_up_ms) +
           " after the last answer; its query alone takes " + people_duration_ms(figures.query_p50_ms) + "\n";
    if (context.fdatasync_ms > 0)
        out += "bare fdatasync p50 " + people_duration_ms(context.fdatasync_ms) + " on the same disk\n";
    if (figures.refused > 0) out += people_count_of(figures.refused, "request") + " answered 503 and sent again\n";
    out += "bound by " + bound_by(context, figures) + "\n";
    out += figures.differences.empty()
               ? "counts agree: " + people_count(context.load.distinct) + " accepted, " +
                     people_count_of(context.load.events - context.load.distinct, "duplicate") + ", " +
                     people_count_of(static_cast<std::int64_t>(context.load.groups.size()), "row") + " of the view\n"
               : std::string();
    return out;
}

}  // namespace

Result<GroupSums> parse_groups(std::string_view answer_body) {
    const RowSet rows = TRY(parse_sql_answer(answer_body));
    GroupSums groups;
    for (const std::vector<Cell>& row : rows.rows) {
        if (row.size() != 4) return Error{Errc::corrupt, "the view's rows have other columns"};
        const auto number = [&](std::size_t column) { return std::strtoll(row[column].text.c_str(), nullptr, 10); };
        const std::optional<std::int64_t> start = row[0].kind == Cell::Kind::number
                                                      ? std::optional<std::int64_t>(number(0))
                                                      : record::parse_rfc3339(row[0].text);
        if (!start) return Error{Errc::corrupt, "window_start is not a time: " + printable(row[0].text)};
        groups[{*start, number(1)}] = {number(2), number(3)};
    }
    return groups;
}

namespace {

Exit run_load_bench(const Console& console, const BenchOptions& options) {
    if (options.server) {
        // Before the events are made, which takes seconds.
        const Client::Outcome there = Client(*options.server).get("/v1/streams?limit=1");
        if (!there.ok()) {
            console.error(printable(there.problem.detail), there.problem.exit == Exit::unreachable ? "weir serve" : "");
            return there.problem.exit;
        }
    }
    console.say("making " + people_count_of(options.load.events, "event") + " ...");
    const Load load = make_load(options.load);
    Context context{console, options, load};
    if (!options.server) {
        const auto floor = fdatasync_ms(options.dir, 4096, 200, *console.clock);
        if (!floor) {
            console.error(floor.error().detail, "weir bench ingest --dir DIR");
            return Exit::disk;
        }
        context.fdatasync_ms = percentile(floor.value(), 0.5);
    }
    std::vector<Figures> runs;
    for (std::int64_t i = 0; i < options.runs; ++i) {
        Result<Figures> run = one_run(context, i);
        if (!run) {
            return bench_failed(console, run.error(), options);
        }
        if (options.runs > 1) {
            console.say("run " + std::to_string(i + 1) + ": " + people_count(std::llround(run.value().events_per_s)) +
                        " ev/s, p99 " + people_duration_ms(run.value().p99_ms));
        }
        runs.push_back(std::move(run).value());
        if (!runs.back().differences.empty()) break;
    }
    std::vector<double> rates;
    rates.reserve(runs.size());
    for (const Figures& run : runs)
        rates.push_back(static_cast<double>(std::llround(run.events_per_s)));
    // A wrong run is shown instead of the median: it is the news.
    Figures shown = runs.back();
    if (shown.differences.empty()) {
        std::ranges::sort(runs, {}, &Figures::events_per_s);
        shown = runs[runs.size() / 2];
    }
    console.write(options.json ? document(context, shown, rates) + "\n" : table(context, shown));
    console.flush();
    for (const std::string& difference : shown.differences)
        console.error(difference);
    return shown.differences.empty() ? Exit::ok : Exit::failed;
}

// What the user did not say. Of wal, events are appends.
void put_defaults(BenchOptions& options) {
    LoadOptions& load = options.load;
    if (load.duplicates_percent < 0) load.duplicates_percent = options.kind == BenchKind::dedup ? 5 : 2;
    if (load.events > 0) return;
    switch (options.kind) {
        case BenchKind::ingest:
        case BenchKind::e2e:
        case BenchKind::nexmark:
            load.events = 1'000'000;
            return;
        case BenchKind::sql:
            load.events = 4'000'000;
            return;
        case BenchKind::dedup:
            load.events = 10'000'000;
            return;
        case BenchKind::wal:
            load.events = 2'000;
            return;
    }
}

}  // namespace

Exit run_bench(const Console& console, const BenchOptions& chosen) {
    BenchOptions options = chosen;
    put_defaults(options);
    switch (options.kind) {
        case BenchKind::ingest:
        case BenchKind::e2e:
            return run_load_bench(console, options);
        case BenchKind::sql:
            return run_sql_bench(console, options);
        case BenchKind::dedup:
            return run_dedup_bench(console, options);
        case BenchKind::wal:
            return run_wal_bench(console, options);
        case BenchKind::nexmark:
            return run_nexmark_bench(console, options);
    }
    return Exit::failed;
}

}  // namespace weir::node
