// What a partition's folder and a journal's folder have in common: numbered files, cutting to a checkpoint's lengths,
// and the account of what the next checkpoint must sync. Private to log/.
#pragma once

#include "base/result.h"
#include "os/disk.h"

#include <algorithm>
#include <charconv>
#include <cstdint>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace weir::log::detail {

constexpr std::size_t number_digits = 20;  // of the greatest u64, so that names sort as their numbers do

inline std::string numbered_name(std::uint64_t number, std::string_view suffix) {
    std::string digits = std::to_string(number);
    return std::string(number_digits - digits.size(), '0').append(digits).append(suffix);
}

// nullopt: not a name that numbered_name() makes with this suffix for a number below 2^63.
inline std::optional<std::uint64_t> parse_numbered_name(std::string_view name, std::string_view suffix) {
    if (name.size() != number_digits + suffix.size() || !name.ends_with(suffix)) return std::nullopt;
    name.remove_suffix(suffix.size());
    std::uint64_t number = 0;
    auto [end, error] = std::from_chars(name.data(), name.data() + name.size(), number);
    if (error != std::errc() || end != name.data() + name.size() || number > INT64_MAX) return std::nullopt;
    return number;
}

// Whether what is appended at `now_ms` comes `age_ms` or more after the first append to an open file, whatever order
// the two times are in.
inline bool is_aged(std::int64_t first_ms, std::int64_t now_ms, std::int64_t age_ms) {
    if (now_ms < first_ms) return false;
    const std::uint64_t passed_ms = static_cast<std::uint64_t>(now_ms) - static_cast<std::uint64_t>(first_ms);
    return passed_ms >= static_cast<std::uint64_t>(age_ms);
}

inline std::string parent_of(const std::string& path) {
    std::size_t slash = path.find_last_of('/');
    if (slash == std::string::npos) return ".";
    return slash == 0 ? "/" : path.substr(0, slash);
}

// Folders in the shape of an open file, so that whoever syncs a checkpoint's files syncs their names with them.
class FolderNames final : public os::File {
  public:
    FolderNames(os::Disk& disk, std::set<std::string> folders) : disk_(disk), folders_(std::move(folders)) {}
    Status sync() override {
        for (const std::string& folder : folders_)
            TRY(disk_.sync_dir(folder));
        return {};
    }
    Result<std::size_t> read_at(std::uint64_t, std::span<char>) override { return not_a_file(); }
    Status write_at(std::uint64_t, std::span<const std::string_view>) override { return not_a_file(); }
    Result<std::uint64_t> size() override { return not_a_file(); }
    Status truncate(std::uint64_t) override { return not_a_file(); }
    Status allocate(std::uint64_t) override { return not_a_file(); }
    void write_behind(std::uint64_t, std::uint64_t) override {}
    void drop_cache(std::uint64_t, std::uint64_t) override {}

  private:
    static Error not_a_file() { return Error{Errc::unsupported, "a folder can only be synced"}; }
    os::Disk& disk_;
    const std::set<std::string> folders_;
};

// What was changed since the last checkpoint began.
class DirtyFiles {
  public:
    explicit DirtyFiles(os::Disk& disk) : disk_(disk) {}

    void add(const std::shared_ptr<os::File>& file) {
        if (std::ranges::find(files_, file) == files_.end()) files_.push_back(file);
    }
    void names_changed(const std::string& folder) { folders_.insert(folder); }

    // The files, and behind them one that stands for the folders.
    std::vector<std::shared_ptr<os::File>> take() {
        std::vector<std::shared_ptr<os::File>> taken = std::exchange(files_, {});
        if (!folders_.empty()) taken.push_back(std::make_shared<FolderNames>(disk_, std::exchange(folders_, {})));
        return taken;
    }
    Status sync() {
        for (const auto& file : take())
            TRY(file->sync());
        return {};
    }

  private:
    os::Disk& disk_;
    // A handful: the last segment's two, more only where segments rolled.
    std::vector<std::shared_ptr<os::File>> files_;
    std::set<std::string> folders_;
};

// Makes `dir` and what is missing above it. `fresh`: no checkpoint names anything in it yet, so its own name may not be
// durable even where it exists (a process that died made it).
inline Status make_folder(os::Disk& disk, const std::string& dir, bool fresh, DirtyFiles& dirty) {
    if (fresh) dirty.names_changed(parent_of(dir));
    for (std::string at = dir; at != "/" && at != "."; at = parent_of(at)) {
        if (TRY(disk.exists(at))) break;
        dirty.names_changed(parent_of(at));
    }
    return disk.make_dirs(dir);
}

// Cuts a file to the length that a checkpoint lists. Errors: corrupt (missing or shorter), io.
inline Status cut_file(os::Disk& disk, const std::string& path, std::uint64_t bytes, DirtyFiles& dirty) {
    auto opened = disk.open(path, os::OpenMode::write);
    if (!opened) {
        if (opened.error().code != Errc::not_found) return opened.error();
        return Error{Errc::corrupt,
                     path + " is missing, the checkpoint lists " + std::to_string(bytes) + " bytes of it"};
    }
    std::shared_ptr<os::File> file = std::move(opened).value();
    std::uint64_t has = TRY(file->size());
    if (has < bytes)
        return Error{Errc::corrupt, path + " at byte " + std::to_string(has) +
                                        ": the file ends here, the checkpoint lists " + std::to_string(bytes) +
                                        " bytes of it"};
    if (has == bytes) return {};
    TRY(file->truncate(bytes));
    dirty.add(file);
    return {};
}

}  // namespace weir::log::detail
