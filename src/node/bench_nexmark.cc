// `weir bench nexmark`: the queries of Nexmark that run here, over bids from the generator. Each view has a fresh
// server and all the bids to itself, as Nexmark counts a query; the stateless queries scan a stream that is there.
#include "node/detail/bench_kinds.h"
#include "node/detail/bench_parts.h"
#include "node/load_run.h"
#include "node/nexmark_queries.h"
#include "node/rows.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <optional>

namespace weir::node {
namespace {

constexpr int scan_samples = 5;
constexpr std::int64_t build_deadline_ms = 600'000;
constexpr double cpu_bound_share = 0.85;
constexpr double flushes_max = 10;    // an answer that takes more of them waits for something else
constexpr double behind_share = 1.1;  // a view that takes so much longer than the answers is what bounds

struct ViewFigures {
    const NexmarkQuery* query = nullptr;
    std::size_t rows = 0;
    double acknowledged_s = 0;
    double visible_s = 0;          // until the view held everything
    std::vector<double> ack_ms{};  // sorted
    double cpu_ns = 0;             // the server's, an event
    double cpu_share = 0;          // of the machine, with the generator
    double rss_mb = 0;
    double rss_peak_mb = 0;
};

struct ScanFigures {
    const NexmarkQuery* query = nullptr;
    std::size_t rows = 0;
    std::vector<double> ms{};  // sorted
};

struct Figures {
    double fdatasync_ms = 0;  // p50, bare
    std::vector<ViewFigures> views;
    std::vector<ScanFigures> scans;
    std::vector<std::string> differences;
};

std::string difference_of(const std::string& name, const NexmarkRows& got, const NexmarkRows& want) {
    std::string text = name + ": " + people_count_of(static_cast<std::int64_t>(got.size()), "row");
    if (got.size() != want.size()) return text + " instead of " + people_count(static_cast<std::int64_t>(want.size()));
    const auto [wrong, right] = std::ranges::mismatch(got, want);
    return text + ", of which one is " + printable(*wrong) + "instead of " + printable(*right);
}

class NexmarkBench {
  public:
    NexmarkBench(const Console& console, const BenchOptions& options, const NexmarkLoad& made)
        : console_(console), options_(options), made_(made) {}

    Result<Figures> run() {
        figures_.fdatasync_ms = percentile(TRY(fdatasync_ms(options_.dir, 4096, 200, *console_.clock)), 0.5);
        for (const NexmarkQuery& query : nexmark_views()) {
            console_.say(std::string(query.name) + ": " + query.asks + " ...");
            TRY(measure_view(query));
        }
        console_.say("scanning ...");
        TRY(measure_scans());
        return std::move(figures_);
    }

  private:
    struct House {
        OwnServer server;
        ServerChoice choice;
        Client client;
    };

    Result<House> open_house() {
        OwnServer server = TRY(bench_server(console_, options_.program, options_.dir));
        ServerChoice choice;
        choice.address = server.address();
        Client client(choice);
        client.set_read_timeout_ms(build_deadline_ms + 10'000);
        TRY(bench_query(client, nexmark_stream_sql(), ""));
        return House{std::move(server), choice, std::move(client)};
    }

    Result<LoadRunResult> send(const House& house) {
        LoadRunOptions to_send;
        to_send.stream = "bid";
        to_send.connections = options_.connections;
        to_send.stop_fd = options_.stop_fd;
        LoadRunResult sent = TRY(run_load(house.choice, made_.load, to_send, *console_.clock));
        if (sent.accepted != made_.load.events)
            figures_.differences.push_back("accepted: " + people_count(sent.accepted) + " instead of " +
                                           people_count(made_.load.events));
        return sent;
    }

    // A query waits for `index` no longer than its own deadline, and a view may be longer behind.
    Status wait_visible(Client& client, const std::string& index) {
        const std::int64_t until_us = console_.clock->monotonic_us() + build_deadline_ms * 1000;
        for (;;) {
            const auto seen = bench_query(client, "SELECT 1", index);
            if (seen) return {};
            if (console_.clock->monotonic_us() > until_us) return seen.error();
        }
    }

    Status compare(const NexmarkQuery& query, const RowSet& answer, const NexmarkRows& want) {
        if (answer.truncated) figures_.differences.push_back(std::string(query.name) + ": the answer was cut");
        const NexmarkRows got = nexmark_rows(answer);
        if (got != want) figures_.differences.push_back(difference_of(query.name, got, want));
        return {};
    }

    Status measure_view(const NexmarkQuery& query) {
        House house = TRY(open_house());
        const std::string view = std::string("nexmark_") + query.name;
        TRY(bench_query(house.client,
                        "CREATE MATERIALIZED VIEW " + view + " AS " + query.sql + " LATENESS 1h EMIT CHANGES", ""));
        TRY(bench_query(house.client, "SELECT count(*) FROM " + view, ""));  // the query worker starts now
        const std::vector<ProcessUse> before = processes_of(house.server.pid());
        const std::int64_t own_before = own_cpu_ns();
        const std::int64_t begin_us = console_.clock->monotonic_us();
        LoadRunResult sent = TRY(send(house));
        TRY(wait_visible(house.client, sent.applied_index));
        ViewFigures seen{&query};
        seen.acknowledged_s = sent.seconds;
        seen.visible_s = static_cast<double>(console_.clock->monotonic_us() - begin_us) / 1e6;
        std::vector<ProcessUse> processes = processes_of(house.server.pid());
        const auto own_ns = static_cast<double>(own_cpu_ns() - own_before);
        subtract_cpu(processes, before);
        double server_ns = 0;
        for (const ProcessUse& use : processes) {
            server_ns += static_cast<double>(use.cpu_ns);
            seen.rss_peak_mb += static_cast<double>(use.rss_peak_bytes) / 1e6;
        }
        seen.cpu_ns = server_ns / static_cast<double>(made_.load.events);
        seen.cpu_share = (server_ns + own_ns) / (seen.visible_s * 1e9) / static_cast<double>(core_count());
        seen.rss_mb = resident_mb(processes);
        seen.ack_ms = std::move(sent.ack_ms);
        std::ranges::sort(seen.ack_ms);
        const RowSet answer =
            TRY(parse_sql_answer(TRY(bench_query(house.client, "SELECT * FROM " + view, sent.applied_index))));
        seen.rows = answer.rows.size();
        TRY(compare(query, answer, query.oracle(made_.bids)));
        figures_.views.push_back(std::move(seen));
        return {};
    }

    Status measure_scans() {
        House house = TRY(open_house());
        const LoadRunResult sent = TRY(send(house));
        TRY(wait_visible(house.client, sent.applied_index));
        for (const NexmarkQuery& query : nexmark_scans()) {
            const NexmarkRows want = query.oracle(made_.bids);
            ScanFigures scan{&query};
            for (int i = 0; i < scan_samples; ++i) {
                const std::int64_t begin_us = console_.clock->monotonic_us();
                const std::string body = TRY(bench_query(house.client, query.sql, sent.applied_index));
                scan.ms.push_back(static_cast<double>(console_.clock->monotonic_us() - begin_us) / 1000);
                if (i > 0) continue;
                const RowSet answer = TRY(parse_sql_answer(body));
                scan.rows = answer.rows.size();
                TRY(compare(query, answer, want));
            }
            std::ranges::sort(scan.ms);
            figures_.scans.push_back(std::move(scan));
        }
        return {};
    }

    const Console& console_;
    const BenchOptions& options_;
    const NexmarkLoad& made_;
    Figures figures_;
};

double per_second(const NexmarkLoad& made, double seconds) {
    return static_cast<double>(made.load.events) / std::max(seconds, 1e-9);
}

double median_of(const Figures& figures, double (*of)(const ViewFigures&)) {
    std::vector<double> values;
    for (const ViewFigures& view : figures.views)
        values.push_back(of(view));
    std::ranges::sort(values);
    return percentile(values, 0.5);
}

const char* bound_by(const Figures& figures, const ViewFigures& view) {
    if (view.cpu_share >= cpu_bound_share) return "cpu";
    if (view.visible_s > behind_share * view.acknowledged_s) return "apply, one thread a shard";
    return percentile(view.ack_ms, 0.5) < flushes_max * figures.fdatasync_ms ? "fdatasync" : "latency";
}

Json view_document(const NexmarkLoad& made, const Figures& figures, const ViewFigures& view) {
    Json entry = Json::object();
    entry["query"] = view.query->name;
    entry["rewritten"] = view.query->rewritten;
    entry["events_per_s"] = std::llround(per_second(made, view.acknowledged_s));
    entry["visible_events_per_s"] = std::llround(per_second(made, view.visible_s));
    entry["view_caught_up_ms"] = rounded((view.visible_s - view.acknowledged_s) * 1000);
    entry["p50_ms"] = rounded(percentile(view.ack_ms, 0.5));
    entry["p99_ms"] = rounded(percentile(view.ack_ms, 0.99));
    entry["cpu_ns_per_event"] = std::llround(view.cpu_ns);
    entry["rss_mb"] = rounded(view.rss_mb);
    entry["rss_peak_mb"] = rounded(view.rss_peak_mb);
    entry["rows"] = view.rows;
    entry["cpu_share"] = rounded(view.cpu_share);
    entry["bound_by"] = bound_by(figures, view);
    return entry;
}

std::string document(const BenchOptions& options, const NexmarkLoad& made, const Figures& figures) {
    Json out = Json::object();
    out["bench"] = "nexmark";
    out["ok"] = figures.differences.empty();
    // The medians of the views' runs.
    const double seconds = median_of(figures, [](const ViewFigures& view) { return view.acknowledged_s; });
    out["events_per_s"] = std::llround(per_second(made, seconds));
    out["mb_per_s"] = rounded(static_cast<double>(made.load.bodies.size()) / 1e6 / std::max(seconds, 1e-9));
    out["p50_ms"] = rounded(median_of(figures, [](const ViewFigures& view) { return percentile(view.ack_ms, 0.5); }));
    out["p99_ms"] = rounded(median_of(figures, [](const ViewFigures& view) { return percentile(view.ack_ms, 0.99); }));
    out["cpu_ns_per_event"] = std::llround(median_of(figures, [](const ViewFigures& view) { return view.cpu_ns; }));
    out["rss_mb"] = rounded(median_of(figures, [](const ViewFigures& view) { return view.rss_mb; }));
    Json views = Json::array();
    for (const ViewFigures& view : figures.views)
        views.push_back(view_document(made, figures, view));
    out["views"] = std::move(views);
    Json scans = Json::array();
    for (const ScanFigures& scan : figures.scans) {
        Json entry = Json::object();
        entry["query"] = scan.query->name;
        entry["rewritten"] = scan.query->rewritten;
        entry["rows_per_s"] = std::llround(per_second(made, percentile(scan.ms, 0.5) / 1000));
        entry["p50_ms"] = rounded(percentile(scan.ms, 0.5));
        entry["max_ms"] = rounded(percentile(scan.ms, 1));
        entry["rows"] = scan.rows;
        scans.push_back(std::move(entry));
    }
    out["scans"] = std::move(scans);
    out["fdatasync_p50_ms"] = rounded(figures.fdatasync_ms);
    out["differences"] = figures.differences;
    Json conditions = bench_conditions();
    conditions["events"] = made.load.events;
    conditions["event_bytes"] =
        rounded(static_cast<double>(made.load.bodies.size()) / static_cast<double>(made.load.events));
    conditions["batch"] = options.load.batch;
    conditions["connections"] = options.connections;
    conditions["seed"] = options.load.seed;
    conditions["samples_a_scan"] = scan_samples;
    out["conditions"] = std::move(conditions);
    out["bound_by"] = "of each view: its own bound_by; of scans: cpu, one core a scan";
    return to_text(out);
}

std::string table(const BenchOptions& options, const NexmarkLoad& made, const Figures& figures) {
    std::string out = people_count_of(made.load.events, "bid") + " of about " +
                      std::to_string(made.load.bodies.size() / static_cast<std::size_t>(made.load.events)) + " B, " +
                      people_count(options.load.batch) + " a request, " +
                      people_count_of(options.connections, "connection") + "; each view on a fresh server\n\n";
    const auto number = [](std::string text) { return Cell{Cell::Kind::number, std::move(text)}; };
    const auto text = [](const char* words) { return Cell{Cell::Kind::text, words}; };
    RowSet views;
    views.names = {"view", "acknowledged ev/s", "visible ev/s", "cpu ns/event", "rss MB", "rows", "bound by"};
    for (const ViewFigures& view : figures.views) {
        views.rows.push_back(
            {text(view.query->name), number(people_count(std::llround(per_second(made, view.acknowledged_s)))),
             number(people_count(std::llround(per_second(made, view.visible_s)))),
             number(people_count(std::llround(view.cpu_ns))), number(milliseconds(view.rss_mb)),
             number(people_count(static_cast<std::int64_t>(view.rows))), text(bound_by(figures, view))});
    }
    out += format_table(views, 0) + "\nvisible: until the view held every bid\n\n";
    RowSet scans;
    scans.names = {"scan", "rows/s", "p50 ms", "max ms"};
    for (const ScanFigures& scan : figures.scans) {
        const double p50_ms = percentile(scan.ms, 0.5);
        scans.rows.push_back({text(scan.query->name),
                              number(people_count(std::llround(per_second(made, p50_ms / 1000)))),
                              number(milliseconds(p50_ms)), number(milliseconds(percentile(scan.ms, 1)))});
    }
    out += format_table(scans, 0) + "\nscans are bound by cpu: one core each\n";
    out += "bare fdatasync p50 " + people_duration_ms(figures.fdatasync_ms) + " on the same disk\n\n";
    for (const auto* queries : {&nexmark_views(), &nexmark_scans()}) {
        for (const NexmarkQuery& query : *queries) {
            out += std::string(query.name) + "  " + query.asks;
            out += query.rewritten[0] == '\0' ? "\n" : std::string("; here: ") + query.rewritten + "\n";
        }
    }
    if (figures.differences.empty()) out += "\nevery view and every scan equals the oracle\n";
    return out;
}

}  // namespace

Exit run_nexmark_bench(const Console& console, const BenchOptions& options) {
    console.say("making " + people_count_of(options.load.events, "bid") + " ...");
    const NexmarkLoad made = make_nexmark(options.load);
    const auto ran = NexmarkBench(console, options, made).run();
    if (!ran) return bench_failed(console, ran.error(), options);
    const Figures& figures = ran.value();
    console.write(options.json ? document(options, made, figures) + "\n" : table(options, made, figures));
    console.flush();
    for (const std::string& difference : figures.differences)
        console.error(difference);
    return figures.differences.empty() ? Exit::ok : Exit::failed;
}

}  // namespace weir::node
