#include "replica/flusher.h"

#include "base/check.h"
#include "obs/log.h"

#include <algorithm>
#include <map>
#include <utility>

namespace weir::replica {
namespace {

constexpr std::int64_t watch_every_us = 250'000;
constexpr std::uint64_t watch_every_bytes = 16ull << 20;
constexpr std::int64_t retry_full_us = 100'000;

}  // namespace

Flusher::Flusher(std::unique_ptr<log::Wal> wal, os::Disk& disk, std::string data_dir, std::uint64_t disk_reserve_bytes,
                 Clock& clock, Outputs outputs)
    : wal_(std::move(wal)),
      disk_(disk),
      data_dir_(std::move(data_dir)),
      disk_reserve_bytes_(disk_reserve_bytes),
      clock_(clock),
      outputs_(std::move(outputs)) {}

void Flusher::on_job(FlushJob&& job) {
    jobs_.push_back(std::move(job));
}

void Flusher::watch_disk() {
    const std::int64_t now_us = clock_.monotonic_us();
    if (now_us < next_watch_us_ && bytes_since_watch_ < watch_every_bytes) return;
    next_watch_us_ = now_us + watch_every_us;
    bytes_since_watch_ = 0;
    const auto free_bytes = disk_.free_bytes(data_dir_);
    if (!free_bytes) return;
    const bool full = free_bytes.value() < disk_reserve_bytes_;
    if (full == full_) return;
    full_ = full;
    counters_.disk_full = full;
    obs::log(
        full ? obs::Level::error : obs::Level::info, full ? "disk_full" : "disk_has_room",
        {{"free_bytes", std::to_string(free_bytes.value())}, {"reserve_bytes", std::to_string(disk_reserve_bytes_)}});
    outputs_.disk_full(full);
}

std::int64_t Flusher::step() {
    watch_disk();
    if (jobs_.empty()) return watch_every_us;

    std::vector<log::WalEntry> entries;
    std::map<ShardId, message::Persisted> persisted;
    std::uint64_t bytes = 0;
    std::vector<log::WalPlace> places;
    auto append = [&]() -> Status {
        if (entries.empty()) return {};
        places.clear();
        TRY(wal_->append(entries, places));
        for (std::size_t i = 0; i < entries.size(); i++) {
            auto& told = persisted[entries[i].shard];
            told.index = std::max(told.index, entries[i].index);
            told.places.emplace_back(entries[i].index, places[i]);
        }
        entries.clear();
        return {};
    };
    auto write_all = [&]() -> Status {
        for (const auto& job : jobs_) {
            if (job.hard_state) {
                TRY(append());  // order within the log is order of the jobs
                TRY(wal_->append_start(job.shard, job.start));
            }
            for (const auto& item : job.items) {
                log::WalEntry entry{job.shard, item.index, item.term, item.entry_type, {}};
                if (item.buffer) {
                    entry.payload.reserve(item.buffer->owned.size());
                    for (const auto& piece : item.buffer->owned)
                        entry.payload.push_back(piece);
                    bytes += item.buffer->bytes;
                } else {
                    entry.payload.push_back(item.own);
                    bytes += item.own.size();
                }
                entries.push_back(std::move(entry));
            }
        }
        return append();
    };
    const auto written = write_all();
    if (!written) {
        if (written.error().code != Errc::disk_full) {
            outputs_.fatal(written.error());
            return retry_full_us;
        }
        // The reserve was not enough. Nothing of this is acknowledged; jobs stay and are tried again (a record that was
        // written already is superseded by its repetition), and admission turns away what comes.
        if (!full_) {
            full_ = true;
            counters_.disk_full = true;
            obs::log(obs::Level::error, "disk_full", {{"error", written.error().detail}});
            outputs_.disk_full(true);
        }
        next_watch_us_ = clock_.monotonic_us() + retry_full_us;
        return retry_full_us;
    }
    const std::int64_t before_us = clock_.monotonic_us();
    const auto synced = wal_->sync();
    if (!synced) {
        // Never tried again: after a failed fdatasync the page cache may have dropped what it could not write.
        outputs_.fatal(synced.error());
        return retry_full_us;
    }
    const std::int64_t took_us = clock_.monotonic_us() - before_us;
    jobs_.clear();

    counters_.flushes.fetch_add(1, std::memory_order_relaxed);
    counters_.bytes.fetch_add(bytes, std::memory_order_relaxed);
    counters_.flush_us.fetch_add(static_cast<std::uint64_t>(took_us), std::memory_order_relaxed);
    counters_.wal_bytes = wal_->bytes_in_use();
    bytes_since_watch_ += bytes;
    if (outputs_.flushed) outputs_.flushed(took_us);
    for (auto& [shard, told] : persisted)
        outputs_.persisted(shard, std::move(told));
    ShardId which;
    if (wal_->wants_checkpoint(which)) outputs_.wants_checkpoint(which);
    return watch_every_us;
}

}  // namespace weir::replica
