// `weir bench wal`: the write-ahead log alone, one append and one sync after the other, beside the same bytes written
// and synced bare. What the log adds is the ratio.
#include "log/wal.h"
#include "node/detail/bench_kinds.h"
#include "node/detail/bench_parts.h"
#include "node/load_run.h"
#include "node/rows.h"
#include "os/real_disk.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <system_error>

namespace weir::node {
namespace {

constexpr std::array<std::size_t, 3> sizes{4 << 10, 64 << 10, 1 << 20};
constexpr std::size_t bytes_a_size_max = 512u << 20;  // fewer appends of the large ones

struct Figures {
    std::size_t bytes = 0;
    std::vector<double> bare_ms;  // sorted
    std::vector<double> ms;       // sorted
};

std::int64_t appends_of(const BenchOptions& options, std::size_t bytes) {
    return std::min<std::int64_t>(options.load.events, static_cast<std::int64_t>(bytes_a_size_max / bytes));
}

Result<Figures> measure(const Console& console, const BenchOptions& options, std::size_t bytes) {
    Figures figures;
    figures.bytes = bytes;
    const std::int64_t appends = appends_of(options, bytes);
    figures.bare_ms = TRY(fdatasync_ms(options.dir, bytes, std::min<std::int64_t>(appends, 200), *console.clock));
    std::string folder = options.dir + "/weir-bench-XXXXXX";
    if (mkdtemp(folder.data()) == nullptr)
        return Error{Errc::io,
                     "cannot make a folder in " + options.dir + ": " + std::generic_category().message(errno)};
    const auto run = [&]() -> Status {
        const auto disk = os::make_real_disk();
        log::WalOptions wal_options;
        wal_options.wal_bytes = UINT64_MAX;  // nobody makes checkpoints here
        auto wal = TRY(log::Wal::open(*disk, folder + "/wal", wal_options));
        TRY(wal->append_start(ShardId(0), {}));
        const std::string payload(bytes, 'w');
        std::vector<log::WalPlace> places;
        for (std::int64_t i = 0; i < appends; ++i) {
            const std::int64_t begin_us = console.clock->monotonic_us();
            places.clear();
            log::WalEntry entry{ShardId(0), LogIndex(static_cast<std::uint64_t>(i) + 1), Term(1), 0, {payload}};
            TRY(wal->append({entry}, places));
            TRY(wal->sync());
            figures.ms.push_back(static_cast<double>(console.clock->monotonic_us() - begin_us) / 1000);
        }
        return {};
    };
    const Status ran = run();
    std::error_code ignored;
    std::filesystem::remove_all(folder, ignored);
    TRY(ran);
    std::ranges::sort(figures.ms);
    return figures;
}

double mean(const std::vector<double>& values) {
    double sum = 0;
    for (const double value : values)
        sum += value;
    return values.empty() ? 0 : sum / static_cast<double>(values.size());
}

double per_second(const Figures& figures) {
    return 1000 / std::max(mean(figures.ms), 1e-6);
}

double ratio(const Figures& figures) {
    return percentile(figures.ms, 0.5) / std::max(percentile(figures.bare_ms, 0.5), 1e-6);
}

std::string document(const std::vector<Figures>& all) {
    Json out = Json::object();
    out["bench"] = "wal";
    out["ok"] = true;
    Json sizes_out = Json::array();
    for (const Figures& figures : all) {
        Json entry = Json::object();
        entry["bytes"] = figures.bytes;
        entry["appends_per_s"] = std::llround(per_second(figures));
        entry["mb_per_s"] = rounded(per_second(figures) * static_cast<double>(figures.bytes) / 1e6);
        entry["p50_ms"] = rounded(percentile(figures.ms, 0.5));
        entry["p99_ms"] = rounded(percentile(figures.ms, 0.99));
        entry["bare_p50_ms"] = rounded(percentile(figures.bare_ms, 0.5));
        entry["bare_p99_ms"] = rounded(percentile(figures.bare_ms, 0.99));
        entry["ratio_p50"] = rounded(ratio(figures));
        entry["appends"] = figures.ms.size();
        sizes_out.push_back(std::move(entry));
    }
    out["sizes"] = std::move(sizes_out);
    out["conditions"] = bench_conditions();
    out["bound_by"] = "fdatasync";
    return to_text(out);
}

std::string table(const std::vector<Figures>& all) {
    RowSet rows;
    rows.names = {"append and sync", "a second", "MB/s", "p50 ms", "p99 ms", "bare p50 ms", "ratio"};
    for (const Figures& figures : all) {
        const double rate = per_second(figures);
        rows.rows.push_back({{Cell::Kind::text, people_bytes(static_cast<double>(figures.bytes))},
                             {Cell::Kind::number, people_count(std::llround(rate))},
                             {Cell::Kind::number, milliseconds(rate * static_cast<double>(figures.bytes) / 1e6)},
                             {Cell::Kind::number, milliseconds(percentile(figures.ms, 0.5))},
                             {Cell::Kind::number, milliseconds(percentile(figures.ms, 0.99))},
                             {Cell::Kind::number, milliseconds(percentile(figures.bare_ms, 0.5))},
                             {Cell::Kind::number, milliseconds(ratio(figures))}});
    }
    return format_table(rows, 0) +
           "\nbare: pwrite and fdatasync of as many bytes in a file that is there\n"
           "bound by fdatasync\n";
}

}  // namespace

Exit run_wal_bench(const Console& console, const BenchOptions& options) {
    std::vector<Figures> all;
    for (const std::size_t bytes : sizes) {
        auto figures = measure(console, options, bytes);
        if (!figures) return bench_failed(console, figures.error(), options);
        all.push_back(std::move(figures).value());
    }
    console.write(options.json ? document(all) + "\n" : table(all));
    console.flush();
    return Exit::ok;
}

}  // namespace weir::node
