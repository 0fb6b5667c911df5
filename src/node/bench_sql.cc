// `weir bench sql`: what a reader gets. Scans of a stream on an idle server, then pages of a large view by its key
// while events come in.
#include "base/prng.h"
#include "node/detail/bench_kinds.h"
#include "node/detail/bench_parts.h"
#include "node/load_run.h"
#include "node/rows.h"
#include "os/thread.h"
#include "record/time.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <optional>

namespace weir::node {
namespace {

constexpr int scan_samples = 9;
constexpr int page_samples_min = 200;
constexpr std::int64_t page_rows = 100;
constexpr double page_ingest_per_s = 200'000;  // unless --rate says otherwise
constexpr std::int64_t page_events_max = 1'000'000;
constexpr std::int64_t build_deadline_ms = 600'000;

struct Scan {
    std::string sql;
    double rows_per_s = 0;
    std::vector<double> ms{};  // sorted
};

struct Pages {
    std::int64_t view_rows = 0;
    double ingest_per_s = 0;   // what came in meanwhile
    std::vector<double> ms{};  // sorted
};

struct Figures {
    std::vector<Scan> scans;
    Pages pages;
    std::vector<ProcessUse> processes;
    std::vector<std::string> differences;
};

// The text of each cell, row by row: what two answers are compared by.
std::string cells_of(const RowSet& rows) {
    std::string out;
    for (const std::vector<Cell>& row : rows.rows) {
        for (const Cell& cell : row)
            out += cell.text + " ";
        out += "\n";
    }
    return out;
}

// The statements and what they must answer, from the generator's own sums.
std::vector<std::pair<std::string, std::string>> scans_of(const Load& load) {
    GroupSum all;
    std::map<std::int64_t, std::int64_t> by_status;
    for (const auto& [key, sum] : load.groups) {
        all = {all.count + sum.count, all.bytes + sum.bytes};
        by_status[key.second] += sum.count;
    }
    std::string grouped;
    for (const auto& [status, count] : by_status)
        grouped += std::to_string(status) + " " + std::to_string(count) + " \n";
    const std::string count = std::to_string(all.count);
    return {{"SELECT count(*) FROM bench", count + " \n"},
            {"SELECT count(*), sum(bytes) FROM bench", count + " " + std::to_string(all.bytes) + " \n"},
            {"SELECT status, count(*) FROM bench GROUP BY status ORDER BY status", grouped}};
}

class SqlBench {
  public:
    SqlBench(const Console& console, const BenchOptions& options, const OwnServer& server)
        : console_(console), options_(options), server_(server), client_(choice()) {
        client_.set_read_timeout_ms(build_deadline_ms + 10'000);
    }

    Result<Figures> run(const Load& load) {
        Figures figures;
        TRY(bench_query(client_, load_stream_sql("bench"), ""));
        TRY(bench_query(client_,
                        "CREATE MATERIALIZED VIEW bench_users AS SELECT window_start, user_id, count(*) AS n FROM "
                        "TUMBLE(bench, 10m) GROUP BY window_start, user_id LATENESS 1h",
                        ""));
        console_.say("sending them ...");
        LoadRunOptions to_send;
        to_send.stream = "bench";
        to_send.connections = options_.connections;
        to_send.stop_fd = options_.stop_fd;
        const LoadRunResult sent = TRY(run_load(choice(), load, to_send, *console_.clock));
        TRY(wait_visible(sent.applied_index));
        if (sent.accepted != load.distinct)
            figures.differences.push_back("accepted: " + people_count(sent.accepted) + " instead of " +
                                          people_count(load.distinct));
        console_.say("scanning ...");
        for (const auto& [sql, wanted] : scans_of(load)) {
            Scan scan{sql};
            for (int i = 0; i < scan_samples; ++i) {
                const std::int64_t begin_us = console_.clock->monotonic_us();
                const std::string body = TRY(bench_query(client_, sql, sent.applied_index));
                scan.ms.push_back(static_cast<double>(console_.clock->monotonic_us() - begin_us) / 1000);
                if (cells_of(TRY(parse_sql_answer(body))) == wanted) continue;
                figures.differences.push_back(sql + " does not answer what was sent");
                return figures;
            }
            std::ranges::sort(scan.ms);
            scan.rows_per_s = static_cast<double>(load.distinct) / (percentile(scan.ms, 0.5) / 1000);
            figures.scans.push_back(std::move(scan));
        }
        figures.pages = TRY(read_pages(sent.applied_index, figures.differences));
        figures.processes = processes_of(server_.pid());
        return figures;
    }

  private:
    ServerChoice choice() const {
        ServerChoice choice;
        choice.address = server_.address();
        return choice;
    }

    // A query waits for `index` no longer than its own deadline, and a view of a million groups may take longer.
    Status wait_visible(const std::string& index) {
        const std::int64_t until_us = console_.clock->monotonic_us() + build_deadline_ms * 1000;
        for (;;) {
            const auto seen = bench_query(client_, "SELECT 1", index);
            if (seen) return {};
            if (console_.clock->monotonic_us() > until_us) return seen.error();
        }
    }

    // Each page begins at a user drawn at random, in a window drawn at random.
    Result<Pages> read_pages(const std::string& index, std::vector<std::string>& differences) {
        Pages pages;
        const RowSet count =
            TRY(parse_sql_answer(TRY(bench_query(client_, "SELECT count(*) FROM bench_users", index))));
        const RowSet windows = TRY(parse_sql_answer(
            TRY(bench_query(client_, "SELECT DISTINCT window_start FROM bench_users ORDER BY 1", index))));
        if (count.rows.empty() || windows.rows.empty()) return Error{Errc::corrupt, "the view has no rows"};
        pages.view_rows = std::strtoll(count.rows[0][0].text.c_str(), nullptr, 10);
        LoadOptions more = options_.load;
        more.events = std::min(page_events_max, options_.load.events);
        more.seed = options_.load.seed + 1;
        more.duplicates_percent = 0;
        const Load load = make_load(more);
        LoadRunOptions to_send;
        to_send.stream = "bench";
        to_send.connections = options_.connections;
        to_send.events_per_s = options_.events_per_s > 0 ? options_.events_per_s : page_ingest_per_s;
        to_send.stop_fd = options_.stop_fd;
        console_.say("reading pages while " + people_count(std::llround(to_send.events_per_s)) +
                     " events/s come in ...");
        std::optional<Result<LoadRunResult>> sent;
        std::atomic<bool> over{false};
        Status read;
        {
            const auto sender = os::start_thread("bench-load", [&] {
                sent.emplace(run_load(choice(), load, to_send, *console_.clock));
                over = true;
            });
            Prng chance(options_.load.seed);
            while (read && (!over || pages.ms.size() < page_samples_min)) {
                read = one_page(windows.rows[chance.below(windows.rows.size())][0].text, chance, index, pages);
            }
        }
        if (!sent || !*sent) return sent ? sent->error() : Error{Errc::io, "the load did not run"};
        if (!read) {
            if (read.error().code != Errc::corrupt) return read.error();
            differences.push_back(read.error().detail);
        }
        pages.ingest_per_s = static_cast<double>(load.events) / sent->value().seconds;
        std::ranges::sort(pages.ms);
        return pages;
    }

    // Errors: corrupt where the page is not one.
    Status one_page(const std::string& window, Prng& chance, const std::string& index, Pages& pages) {
        const std::string from = "10." + std::to_string(chance.below(78)) + "." + std::to_string(chance.below(256));
        const std::string sql = "SELECT window_start, user_id, n FROM bench_users WHERE window_start = '" + window +
                                "' AND user_id > '" + from + "' ORDER BY user_id LIMIT " + std::to_string(page_rows);
        const std::int64_t begin_us = console_.clock->monotonic_us();
        const std::string body = TRY(bench_query(client_, sql, index));
        pages.ms.push_back(static_cast<double>(console_.clock->monotonic_us() - begin_us) / 1000);
        const RowSet page = TRY(parse_sql_answer(body));
        std::string last = from;
        for (const std::vector<Cell>& row : page.rows) {
            if (row[0].text != window || row[1].text <= last)
                return Error{Errc::corrupt, "a page of the view is out of order behind user " + printable(last)};
            last = row[1].text;
        }
        return {};
    }

    const Console& console_;
    const BenchOptions& options_;
    const OwnServer& server_;
    Client client_;
};

std::string document(const BenchOptions& options, const Load& load, const Figures& figures) {
    Json out = Json::object();
    out["bench"] = "sql";
    out["ok"] = figures.differences.empty();
    Json scans = Json::array();
    for (const Scan& scan : figures.scans) {
        Json entry = Json::object();
        entry["sql"] = scan.sql;
        entry["rows_per_s"] = std::llround(scan.rows_per_s);
        entry["p50_ms"] = rounded(percentile(scan.ms, 0.5));
        entry["max_ms"] = rounded(percentile(scan.ms, 1));
        scans.push_back(std::move(entry));
    }
    out["scans"] = std::move(scans);
    Json pages = Json::object();
    pages["view_rows"] = figures.pages.view_rows;
    pages["page_rows"] = page_rows;
    pages["ingest_events_per_s"] = std::llround(figures.pages.ingest_per_s);
    pages["pages"] = figures.pages.ms.size();
    pages["p50_ms"] = rounded(percentile(figures.pages.ms, 0.5));
    pages["p99_ms"] = rounded(percentile(figures.pages.ms, 0.99));
    pages["max_ms"] = rounded(percentile(figures.pages.ms, 1));
    out["pages"] = std::move(pages);
    out["rss_mb"] = resident_mb(figures.processes);
    out["differences"] = figures.differences;
    Json conditions = bench_conditions();
    conditions["events"] = load.distinct;
    conditions["seed"] = options.load.seed;
    conditions["samples_a_scan"] = scan_samples;
    out["conditions"] = std::move(conditions);
    out["bound_by"] = "cpu: one core a scan";
    return to_text(out);
}

std::string table(const Load& load, const Figures& figures) {
    std::string out = people_count_of(load.distinct, "event") + " on an idle server, " + std::to_string(scan_samples) +
                      " times each\n\n";
    RowSet rows;
    rows.names = {"", "rows/s", "p50 ms", "max ms"};
    for (const Scan& scan : figures.scans)
        rows.rows.push_back({{Cell::Kind::text, scan.sql},
                             {Cell::Kind::number, people_count(std::llround(scan.rows_per_s))},
                             {Cell::Kind::number, milliseconds(percentile(scan.ms, 0.5))},
                             {Cell::Kind::number, milliseconds(percentile(scan.ms, 1))}});
    out += format_table(rows, 0) + "\n";
    const Pages& pages = figures.pages;
    out += people_count_of(static_cast<std::int64_t>(pages.ms.size()), "page") + " of " + std::to_string(page_rows) +
           " rows by key, of a view of " + people_count(pages.view_rows) + " rows, while " +
           people_count(std::llround(pages.ingest_per_s)) + " ev/s came in\n\n";
    out +=
        latency_table({"p50 ms", "p99 ms", "max ms"},
                      {{"a page", {percentile(pages.ms, 0.5), percentile(pages.ms, 0.99), percentile(pages.ms, 1)}}});
    return out + "\nbound by cpu: one core a scan\n";
}

}  // namespace

Exit run_sql_bench(const Console& console, const BenchOptions& options) {
    console.say("making " + people_count_of(options.load.events, "event") + " ...");
    LoadOptions to_make = options.load;
    to_make.duplicates_percent = 0;
    const Load load = make_load(to_make);
    const auto server = bench_server(console, options.program, options.dir);
    if (!server) return bench_failed(console, server.error(), options);
    const auto ran = SqlBench(console, options, server.value()).run(load);
    if (!ran) return bench_failed(console, ran.error(), options);
    const Figures& figures = ran.value();
    console.write(options.json ? document(options, load, figures) + "\n" : table(load, figures));
    console.flush();
    for (const std::string& difference : figures.differences)
        console.error(difference);
    return figures.differences.empty() ? Exit::ok : Exit::failed;
}

}  // namespace weir::node
