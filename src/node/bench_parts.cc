#include "node/detail/bench_parts.h"

#include "node/rows.h"
#include "node/sql_command.h"

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fcntl.h>
#include <sys/resource.h>
#include <unistd.h>

namespace weir::node {
namespace {

Error as_error(const Problem& problem) {
    return Error{problem.exit == Exit::unreachable ? Errc::io : Errc::invalid_argument, problem.detail};
}

}  // namespace

std::int64_t own_cpu_ns() {
    rusage use{};
    getrusage(RUSAGE_SELF, &use);
    const auto ns = [](const timeval& time) { return time.tv_sec * 1'000'000'000LL + time.tv_usec * 1000LL; };
    return ns(use.ru_utime) + ns(use.ru_stime);
}

std::int64_t core_count() {
    return std::max(1L, sysconf(_SC_NPROCESSORS_ONLN));
}

Result<std::string> bench_query(Client& client, const std::string& statement, const std::string& min_index) {
    SqlOptions options;
    options.min_index = min_index;
    options.timeout_ms = bench_deadline_ms;
    options.rows_max = 1'000'000;
    const Client::Outcome outcome = client.post("/v1/sql", "application/json", sql_request(statement, options));
    if (!outcome.ok()) return as_error(outcome.problem);
    return outcome.answer.body;
}

Result<OwnServer> bench_server(const Console& console, const std::string& program, const std::string& dir) {
    OwnServer::Options start;
    start.program = program;
    start.parent_dir = dir;
    start.clock = console.clock;
    return OwnServer::start(start);
}

void subtract_cpu(std::vector<ProcessUse>& after, const std::vector<ProcessUse>& before) {
    for (ProcessUse& use : after) {
        const auto earlier = std::ranges::find(before, use.pid, &ProcessUse::pid);
        if (earlier != before.end()) use.cpu_ns -= earlier->cpu_ns;
    }
}

Result<std::vector<double>> fdatasync_ms(const std::string& dir, std::size_t bytes, std::int64_t samples,
                                         Clock& clock) {
    std::string path = dir + "/weir-fsync-XXXXXX";
    const int fd = mkostemp(path.data(), O_CLOEXEC);
    if (fd < 0) return Error{Errc::io, "cannot write in " + dir + ": " + std::strerror(errno), errno};
    ::unlink(path.c_str());
    // Preallocated and written once, as the write-ahead log's files are: the sync then has no metadata to write.
    const std::string block(bytes, 'w');
    std::vector<double> took;
    for (int round = 0; round < 2; ++round) {
        for (std::int64_t i = 0; i < samples; ++i) {
            const std::int64_t start_us = clock.monotonic_us();
            const bool wrote = ::pwrite(fd, block.data(), block.size(), i * static_cast<std::int64_t>(bytes)) ==
                               static_cast<ssize_t>(block.size());
            if (!wrote || (round == 1 && ::fdatasync(fd) != 0)) {
                const int failure = errno;
                ::close(fd);
                return Error{Errc::io, dir + ": " + std::strerror(failure), failure};
            }
            if (round == 1) took.push_back(static_cast<double>(clock.monotonic_us() - start_us) / 1000);
        }
        if (round == 0) ::fsync(fd);
    }
    ::close(fd);
    std::ranges::sort(took);
    return took;
}

Exit bench_failed(const Console& console, const Error& error, const BenchOptions& options) {
    console.error(error.detail);
    return error.code == Errc::cancelled && options.stop_fd >= 0 ? Exit::interrupted : exit_of(error.code);
}

double resident_mb(const std::vector<ProcessUse>& processes) {
    double bytes = 0;
    for (const ProcessUse& use : processes)
        bytes += static_cast<double>(use.rss_bytes);
    return static_cast<double>(std::llround(bytes / 1e4)) / 100;
}

double rounded(double value) {
    return static_cast<double>(std::llround(value * 1000)) / 1000;
}

std::string milliseconds(double value) {
    char text[32];
    std::snprintf(text, sizeof text, value < 10 ? "%.2f" : "%.1f", value);
    return text;
}

std::string latency_table(const std::vector<std::string>& columns,
                          const std::vector<std::pair<std::string, std::vector<double>>>& rows) {
    RowSet table;
    table.names = {""};
    table.names.insert(table.names.end(), columns.begin(), columns.end());
    for (const auto& [name, values] : rows) {
        std::vector<Cell> cells{{Cell::Kind::text, name}};
        for (const double value : values)
            cells.push_back({Cell::Kind::number, value < 0 ? "-" : milliseconds(value)});
        table.rows.push_back(std::move(cells));
    }
    return format_table(table, 0);
}

Json bench_conditions() {
    Json conditions = Json::object();
    conditions["cores"] = core_count();
    conditions["version"] = WEIR_VERSION;
    conditions["generator"] = "beside the server on the same cores";
    return conditions;
}

}  // namespace weir::node
