// A disk that says yes and does nothing, for the calls that a test names: what the layers above rest on is then absent,
// and a simulation that still passes proves nothing about it.
#pragma once

#include "os/disk.h"

#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace weir::test {

class LyingDisk final : public os::Disk {
  public:
    enum class Call { sync, sync_dir, remove };
    using Lies = std::function<bool(Call, const std::string& path)>;
    // `lies`: whether this call on this path is skipped; empty: an honest disk. `real` must outlive this.
    LyingDisk(os::Disk& real, Lies lies) : real_(real), lies_(std::move(lies)) {}

    Result<std::unique_ptr<os::File>> open(const std::string& path, os::OpenMode mode) override {
        auto file = TRY(real_.open(path, mode));
        return std::unique_ptr<os::File>(std::make_unique<LyingFile>(*this, path, std::move(file)));
    }
    Status remove(const std::string& path) override { return lies(Call::remove, path) ? Status() : real_.remove(path); }
    Status rename(const std::string& from, const std::string& to) override { return real_.rename(from, to); }
    Result<std::vector<std::string>> list(const std::string& dir) override { return real_.list(dir); }
    Status make_dirs(const std::string& dir) override { return real_.make_dirs(dir); }
    Status remove_tree(const std::string& dir) override { return real_.remove_tree(dir); }
    Status sync_dir(const std::string& dir) override {
        return lies(Call::sync_dir, dir) ? Status() : real_.sync_dir(dir);
    }
    Result<bool> exists(const std::string& path) override { return real_.exists(path); }
    Result<std::uint64_t> free_bytes(const std::string& dir) override { return real_.free_bytes(dir); }

  private:
    class LyingFile final : public os::File {
      public:
        LyingFile(LyingDisk& disk, std::string path, std::unique_ptr<os::File> file)
            : disk_(disk), path_(std::move(path)), file_(std::move(file)) {}
        Result<std::size_t> read_at(std::uint64_t offset, std::span<char> out) override {
            return file_->read_at(offset, out);
        }
        Status write_at(std::uint64_t offset, std::span<const std::string_view> pieces) override {
            return file_->write_at(offset, pieces);
        }
        Status sync() override { return disk_.lies(Call::sync, path_) ? Status() : file_->sync(); }
        Result<std::uint64_t> size() override { return file_->size(); }
        Status truncate(std::uint64_t bytes) override { return file_->truncate(bytes); }
        Status allocate(std::uint64_t bytes) override { return file_->allocate(bytes); }
        void write_behind(std::uint64_t offset, std::uint64_t bytes) override { file_->write_behind(offset, bytes); }
        void drop_cache(std::uint64_t offset, std::uint64_t bytes) override { file_->drop_cache(offset, bytes); }

      private:
        LyingDisk& disk_;
        const std::string path_;
        std::unique_ptr<os::File> file_;
    };

    bool lies(Call call, const std::string& path) const { return lies_ && lies_(call, path); }

    os::Disk& real_;
    const Lies lies_;
};

}  // namespace weir::test
