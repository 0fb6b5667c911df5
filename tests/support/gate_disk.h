// A real disk with gates where a shard's threads come by, for tests that look at a shard while one of them stands
// still.
#pragma once

#include "os/disk.h"
#include "support/gate.h"

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace weir::test {

class GateDisk final : public os::Disk {
  public:
    explicit GateDisk(std::unique_ptr<os::Disk> real) : real_(std::move(real)) {}

    Gate apply;  // the apply thread: after each entry, and before it writes rows or a checkpoint
    Gate flush;  // the flusher: before an fdatasync of the write-ahead log
    std::atomic<std::uint64_t> free_bytes_max{UINT64_MAX};  // what is said to be free, at most

    Result<std::unique_ptr<os::File>> open(const std::string& path, os::OpenMode mode) override {
        auto file = real_->open(path, mode);
        if (!file || path.find("/wal/") == std::string::npos) return file;
        return std::unique_ptr<os::File>(std::make_unique<LogFile>(std::move(file).value(), flush));
    }
    Result<std::uint64_t> free_bytes(const std::string& dir) override {
        if (dir.find("/shards/") != std::string::npos) apply.pass();
        auto bytes = real_->free_bytes(dir);
        if (bytes && bytes.value() > free_bytes_max) return free_bytes_max.load();
        return bytes;
    }
    Status remove(const std::string& path) override { return real_->remove(path); }
    Status rename(const std::string& from, const std::string& to) override { return real_->rename(from, to); }
    Result<std::vector<std::string>> list(const std::string& dir) override { return real_->list(dir); }
    Status make_dirs(const std::string& dir) override { return real_->make_dirs(dir); }
    Status remove_tree(const std::string& dir) override { return real_->remove_tree(dir); }
    Status sync_dir(const std::string& dir) override { return real_->sync_dir(dir); }
    Result<bool> exists(const std::string& path) override { return real_->exists(path); }

  private:
    class LogFile final : public os::File {
      public:
        LogFile(std::unique_ptr<os::File> real, Gate& gate) : real_(std::move(real)), gate_(gate) {}
        Result<std::size_t> read_at(std::uint64_t offset, std::span<char> out) override {
            return real_->read_at(offset, out);
        }
        Status write_at(std::uint64_t offset, std::span<const std::string_view> pieces) override {
            return real_->write_at(offset, pieces);
        }
        Status sync() override {
            gate_.pass();
            return real_->sync();
        }
        Result<std::uint64_t> size() override { return real_->size(); }
        Status truncate(std::uint64_t bytes) override { return real_->truncate(bytes); }
        Status allocate(std::uint64_t bytes) override { return real_->allocate(bytes); }
        void write_behind(std::uint64_t offset, std::uint64_t bytes) override { real_->write_behind(offset, bytes); }
        void drop_cache(std::uint64_t offset, std::uint64_t bytes) override { real_->drop_cache(offset, bytes); }

      private:
        std::unique_ptr<os::File> real_;
        Gate& gate_;
    };

    std::unique_ptr<os::Disk> real_;
};

}  // namespace weir::test
