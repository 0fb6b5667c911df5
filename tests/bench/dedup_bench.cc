// How many ids a second the dedup index takes: dedup_bench DIR [LIVE_IDS] [EVENTS]
//
// 16 buckets of runs hold LIVE_IDS (10 M). Then EVENTS (4 M) come in batches of 1000, at 0, 5 and 50 % duplicates
// spread over all live ids, with a checkpoint each million new ids. Checkpoints and merges run in line here, on a
// thread of their own in the server: both rates are printed. Files are made below DIR and removed.
#include "base/prng.h"
#include "dedup/index.h"
#include "os/real_disk.h"

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <string>
#include <time.h>
#include <vector>

using namespace weir;
using namespace weir::dedup;

namespace {

// CPU time of this thread, which a busy machine does not inflate.
double cpu_s() {
    timespec at{};
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &at);
    return static_cast<double>(at.tv_sec) + static_cast<double>(at.tv_nsec) / 1e9;
}
double now() {
    return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

record::Fingerprint id_of(std::uint64_t n) {
    return {mix64(n * 2 + 1), mix64(n + 77'777'777'777ull) | 1};
}

void require(const Status& status) {
    if (status) return;
    std::fprintf(stderr, "%s: %s\n", errc_name(status.error().code), status.error().detail.c_str());
    std::exit(1);
}
template <class T>
T require(Result<T> result) {
    if (!result) require(Status(result.error()));
    return std::move(result).value();
}

struct Bench {
    static constexpr std::size_t batch = 1000, checkpoint_ids = 1'000'000;
    static constexpr std::int64_t buckets = 16;

    std::unique_ptr<os::Disk> disk = os::make_real_disk();
    std::string dir;
    Index index{7LL * 86'400'000};
    std::vector<RunState> states;
    std::vector<std::shared_ptr<const Run>> runs;
    std::vector<RunEntry> fresh;  // since the last checkpoint: apply's list
    std::uint64_t next_id = 0, next_run = 1, entry = 0;
    double write_s = 0, merge_s = 0, adopt_worst_s = 0;
    std::uint64_t merged = 0;

    void add_run(std::vector<RunEntry>&& list, std::int64_t bucket) {
        const RunState state{bucket, next_run++, list.size()};
        require(write_run(*disk, run_path(dir, state.number), std::move(list)));
        states.push_back(state);
    }

    void fill(std::uint64_t live) {
        const double start = now();
        for (std::int64_t bucket = 0; bucket < buckets; bucket++) {
            std::vector<RunEntry> list;
            for (std::uint64_t i = 0; i < live / buckets; i++, next_id++)
                list.push_back({id_of(next_id), Place{next_id}});
            add_run(std::move(list), bucket);
        }
        const double written = now();
        runs = require(open_runs(*disk, dir, states, {}, SIZE_MAX));
        index.adopt(runs, LogIndex(0));
        std::printf("%llu ids in %zu runs: written in %.2f s, opened in %.2f s, index memory %.0f MB\n",
                    static_cast<unsigned long long>(next_id), runs.size(), written - start, now() - written,
                    static_cast<double>(index.memory_bytes()) / 1e6);
    }

    void checkpoint() {
        double start = now();
        index.begin_generation();
        add_run(std::move(fresh), buckets);
        fresh = {};
        write_s += now() - start;
        start = now();
        for (const auto& group : plan_merges(states)) {
            std::vector<std::shared_ptr<const Run>> parts;
            RunState to{group[0].bucket, next_run++, 0};
            for (const RunState& part : group) {
                parts.push_back(require(Run::open(*disk, run_path(dir, part.number), part, false)));
                to.count += part.count;
                std::erase_if(states, [&](const RunState& state) { return state.number == part.number; });
            }
            require(merge_runs(*disk, run_path(dir, to.number), parts));
            for (const auto& part : parts)
                require(disk->remove(part->path()));
            states.push_back(to);
            merged += to.count;
        }
        merge_s += now() - start;
        runs = require(open_runs(*disk, dir, states, runs, SIZE_MAX));
        start = cpu_s();
        index.adopt(runs, LogIndex(entry));
        adopt_worst_s = std::max(adopt_worst_s, cpu_s() - start);
    }

    void run(std::uint64_t events, unsigned duplicates) {
        write_s = merge_s = adopt_worst_s = 0;
        merged = 0;
        std::vector<record::Fingerprint> ids(batch);
        std::vector<Index::Found> found;
        std::vector<double> times;
        std::uint64_t found_count = 0, checkpoints = 0;
        double admission_s = 0, admission_cpu_s = 0;
        const double start = now();
        for (std::uint64_t done = 0; done < events; done += batch) {
            const std::uint64_t known = next_id;
            for (std::size_t i = 0; i < batch; i++) {
                const std::uint64_t chance = mix64(done + i + 991 * duplicates);
                ids[i] = id_of(chance % 100 < duplicates ? mix64(chance) % known : next_id++);
            }
            entry++;
            const double before = now(), cpu_before = cpu_s();
            require(index.look_up(ids, found));
            for (std::size_t i = 0; i < batch; i++) {
                if (found[i].duplicate || !index.insert_if_new(ids[i], Place{done + i}, LogIndex(entry), found[i]))
                    found_count++;
                else
                    fresh.push_back({ids[i], Place{done + i}});
            }
            times.push_back(now() - before);
            admission_s += times.back();
            admission_cpu_s += cpu_s() - cpu_before;
            if (fresh.size() >= checkpoint_ids) {
                checkpoint();
                checkpoints++;
            }
        }
        const double all_s = now() - start;
        std::ranges::sort(times);
        std::printf(
            "%2u %% duplicates: %4.0f K ids/s look-up and insert (cpu %.0f ns/id), %4.0f K ids/s with checkpoints in "
            "line; found %.1f %%; "
            "batch of %zu p50 %.2f p99 %.2f worst %.2f ms; adopt worst %.1f ms cpu; checkpoint %.0f ms, merge %.0f "
            "ns/id; "
            "%zu runs, memory %.0f MB\n",
            duplicates, static_cast<double>(events) / admission_s / 1e3,
            admission_cpu_s * 1e9 / static_cast<double>(events), static_cast<double>(events) / all_s / 1e3,
            100.0 * static_cast<double>(found_count) / static_cast<double>(events), batch,
            times[times.size() / 2] * 1e3, times[times.size() * 99 / 100] * 1e3, times.back() * 1e3,
            adopt_worst_s * 1e3, checkpoints ? write_s * 1e3 / static_cast<double>(checkpoints) : 0.0,
            merged ? merge_s * 1e9 / static_cast<double>(merged) : 0.0, runs.size(),
            static_cast<double>(index.memory_bytes()) / 1e6);
        std::fflush(stdout);
    }
};

}  // namespace

int main(int argc, char** argv) {
    if (argc < 2) {
        std::fprintf(stderr, "dedup_bench DIR [LIVE_IDS] [EVENTS]\n");
        return 2;
    }
    Bench bench;
    bench.dir = std::string(argv[1]) + "/dedup_bench";
    require(bench.disk->make_dirs(bench.dir));
    bench.fill(argc > 2 ? std::strtoull(argv[2], nullptr, 10) : 10'000'000);
    for (unsigned duplicates : {0u, 5u, 50u})
        bench.run(argc > 3 ? std::strtoull(argv[3], nullptr, 10) : 4'000'000, duplicates);
    require(bench.disk->remove_tree(bench.dir));
    return 0;
}
