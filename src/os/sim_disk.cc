#include "os/sim_disk.h"

#include "base/check.h"

#include <algorithm>
#include <cstring>
#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

namespace weir::os {
namespace {

constexpr std::uint64_t sector_bytes = 512;

// One file's bytes, whatever its names are.
struct Inode {
    std::string durable;            // what a power cut leaves for certain
    std::string cached;             // what readers see
    std::set<std::uint64_t> dirty;  // sectors of `cached` that are not in `durable` yet
    bool size_dirty = false;

    void mark_dirty(std::uint64_t from, std::uint64_t to) {
        if (from >= to) return;
        for (std::uint64_t s = from / sector_bytes; s <= (to - 1) / sector_bytes; s++)
            dirty.insert(s);
    }
    // Puts one sector of the cache on disk. Beyond the cached end it is zeros, as far as the durable file reaches.
    void write_sector(std::uint64_t sector) {
        const std::uint64_t from = sector * sector_bytes;
        const std::uint64_t cached_to = std::min<std::uint64_t>(from + sector_bytes, cached.size());
        if (cached_to > durable.size() && cached_to > from) durable.resize(cached_to, '\0');
        const std::uint64_t to = std::min<std::uint64_t>(from + sector_bytes, durable.size());
        for (std::uint64_t i = from; i < to; i++)
            durable[i] = i < cached.size() ? cached[i] : '\0';
    }
    void write_all() {
        for (std::uint64_t sector : dirty)
            write_sector(sector);
        durable.resize(cached.size(), '\0');
        dirty.clear();
        size_dirty = false;
    }
    void write_some(Prng& prng, double chance) {
        for (auto it = dirty.begin(); it != dirty.end();) {
            if (prng.chance(chance)) {
                write_sector(*it);
                it = dirty.erase(it);
            } else {
                ++it;
            }
        }
    }
    void resize(std::uint64_t bytes) {
        const std::uint64_t before = cached.size();
        cached.resize(bytes, '\0');
        size_dirty = true;
        if (bytes < before) {
            // What was cut off is not written any more; the rest of the last sector becomes zeros.
            dirty.erase(dirty.lower_bound((bytes + sector_bytes - 1) / sector_bytes), dirty.end());
            if (bytes % sector_bytes != 0) dirty.insert(bytes / sector_bytes);
        } else {
            // Zeros come where an earlier, not yet synced cut left other bytes on the disk.
            mark_dirty(before, std::min<std::uint64_t>(bytes, durable.size()));
        }
    }
};

using InodePtr = std::shared_ptr<Inode>;
using Names = std::map<std::string, InodePtr>;

// A change of names that no sync_dir has made durable.
struct NameChange {
    std::string gone;  // this name goes ("" none)
    std::string made;  // this name comes ("" none) ...
    InodePtr inode;    // ... and means this file; for a rename also what `gone` meant
    const std::string& owner_path() const { return made.empty() ? gone : made; }
    void apply_to(Names& names) const {
        if (!made.empty()) {
            // Across folders the two names' folders are synced apart: what stands at the old name by now may be
            // another.
            auto old = gone.empty() ? names.end() : names.find(gone);
            if (old != names.end() && old->second == inode) names.erase(old);
            names[made] = inode;
        } else {
            names.erase(gone);
        }
    }
};

std::string normal(const std::string& path) {
    std::string out;
    for (char c : path) {
        if (c == '/' && !out.empty() && out.back() == '/') continue;
        out.push_back(c);
    }
    while (out.size() > 1 && out.back() == '/')
        out.pop_back();
    while (out.starts_with("./") && out.size() > 2)
        out.erase(0, 2);
    return out.empty() ? "." : out;
}

bool is_below(const std::string& path, const std::string& dir) {
    return path.size() > dir.size() && path.starts_with(dir) && path[dir.size()] == '/';
}

Error power_error() {
    return Error{Errc::io, "simulated disk: the power is cut", 5};
}
Error full_error(const std::string& path) {
    return Error{Errc::disk_full, "simulated disk is full: " + path, 28};
}
Error absent(const std::string& path) {
    return Error{Errc::not_found, "simulated disk: no " + path, 2};
}

}  // namespace

struct SimDisk::State {
    State(std::uint64_t seed, SimDiskOptions given) : prng(seed), options(given) {}

    Prng prng;
    SimDiskOptions options;
    Names names;  // as processes see them
    Names durable_names;
    std::vector<NameChange> pending;  // in the order they were made
    std::set<std::string> dirs{".", "/"};
    std::function<bool()> hook;
    std::uint64_t operations = 0;
    std::uint64_t life = 0;  // files opened in an earlier one answer io
    bool cut = false;
    bool full = false;
    bool sync_fails = false;

    enum class Go : std::uint8_t { yes, cut_here, dead };
    Go begin() {
        if (cut) return Go::dead;
        operations++;
        if (hook && !hook()) {
            cut = true;
            return Go::cut_here;
        }
        return Go::yes;
    }
    std::uint64_t used() const {
        std::uint64_t sum = 0;
        for (const auto& [path, inode] : names)
            sum += inode->cached.size();
        return sum;
    }
    std::uint64_t room() const {
        std::uint64_t now = used();
        return now >= options.capacity_bytes ? 0 : options.capacity_bytes - now;
    }
    void change(NameChange change) {
        change.apply_to(names);
        pending.push_back(std::move(change));
    }
    // Was a folder removed that stood directly in `dir` and held `path`?
    bool folder_gone_from(const std::string& dir, const std::string& path) const {
        std::string at = parent_of(path);
        while (at != "." && at != "/" && !dirs.contains(at)) {
            std::string up = parent_of(at);
            if (up == dir) return true;
            at = up;
        }
        return false;
    }
};

namespace {

class SimFile final : public File {
  public:
    SimFile(std::shared_ptr<SimDisk::State> state, InodePtr inode, std::string path, bool writable)
        : state_(std::move(state)),
          inode_(std::move(inode)),
          path_(std::move(path)),
          life_(state_->life),
          writable_(writable) {}

    Result<std::size_t> read_at(std::uint64_t offset, std::span<char> out) override {
        if (dead()) return power_error();
        const std::string& bytes = inode_->cached;
        if (offset >= bytes.size()) return std::size_t{0};
        std::size_t n = std::min<std::size_t>(out.size(), bytes.size() - offset);
        std::memcpy(out.data(), bytes.data() + offset, n);
        return n;
    }

    Status write_at(std::uint64_t offset, std::span<const std::string_view> pieces) override {
        if (dead()) return power_error();
        if (!writable_) return read_only();
        auto go = state_->begin();
        if (go == SimDisk::State::Go::dead) return power_error();
        inode_->write_some(state_->prng, state_->options.write_back);
        std::string bytes;
        for (auto piece : pieces)
            bytes.append(piece);
        const std::uint64_t growth = offset + bytes.size() > inode_->cached.size() && !bytes.empty()
                                         ? offset + bytes.size() - inode_->cached.size()
                                         : 0;
        bool is_full = false;
        if (state_->full) {
            is_full = true;
            const std::uint64_t dice = state_->prng.below(4);
            if (dice > 0) bytes.resize(dice == 1 ? 0 : state_->prng.below(bytes.size() + 1));
        } else if (growth > state_->room()) {
            is_full = true;
            std::uint64_t missing = growth - state_->room();
            bytes.resize(bytes.size() > missing ? bytes.size() - missing : 0);
        }
        put(offset, bytes);
        if (go == SimDisk::State::Go::cut_here) return power_error();
        if (is_full) return full_error(path_);
        return {};
    }

    Status sync() override {
        if (dead()) return power_error();
        auto go = state_->begin();
        if (go == SimDisk::State::Go::dead) return power_error();
        if (go == SimDisk::State::Go::cut_here) {
            inode_->write_some(state_->prng, 0.5);
            return power_error();
        }
        if (state_->sync_fails) {
            state_->sync_fails = false;
            inode_->write_some(state_->prng, state_->options.sector_survival);
            inode_->dirty.clear();
            inode_->size_dirty = false;
            if (inode_->durable.size() < inode_->cached.size()) inode_->durable.resize(inode_->cached.size(), '\0');
            return Error{Errc::io, "simulated disk: fdatasync " + path_ + " failed", 5};
        }
        inode_->write_all();
        return {};
    }

    Result<std::uint64_t> size() override {
        if (dead()) return power_error();
        return std::uint64_t{inode_->cached.size()};
    }

    Status truncate(std::uint64_t bytes) override { return resize(bytes, true); }
    Status allocate(std::uint64_t bytes) override { return resize(bytes, false); }
    void write_behind(std::uint64_t, std::uint64_t) override {}

    void drop_cache(std::uint64_t offset, std::uint64_t bytes) override {
        if (dead() || !state_->options.drops_cache) return;
        // Clean sectors are read from the disk again; that shows only where a failed sync lied about them.
        const std::uint64_t end =
            bytes == 0 ? inode_->cached.size() : std::min<std::uint64_t>(inode_->cached.size(), offset + bytes);
        for (std::uint64_t s = offset / sector_bytes; s * sector_bytes < end; s++) {
            if (inode_->dirty.contains(s)) continue;
            const std::uint64_t to = std::min<std::uint64_t>((s + 1) * sector_bytes,
                                                             std::min(inode_->cached.size(), inode_->durable.size()));
            for (std::uint64_t i = s * sector_bytes; i < to; i++)
                inode_->cached[i] = inode_->durable[i];
        }
    }

  private:
    bool dead() const { return state_->cut || life_ != state_->life; }
    Error read_only() const { return Error{Errc::io, path_ + " is open for reading only", 9}; }

    void put(std::uint64_t offset, const std::string& bytes) {
        if (bytes.empty()) return;
        if (offset + bytes.size() > inode_->cached.size()) inode_->resize(offset + bytes.size());
        std::memcpy(inode_->cached.data() + offset, bytes.data(), bytes.size());
        inode_->mark_dirty(offset, offset + bytes.size());
    }

    Status resize(std::uint64_t bytes, bool may_shrink) {
        if (dead()) return power_error();
        if (!writable_) return read_only();
        auto go = state_->begin();
        if (go == SimDisk::State::Go::dead) return power_error();
        const std::uint64_t now = inode_->cached.size();
        if (bytes > now && (bytes - now > state_->room() || (state_->full && !may_shrink))) return full_error(path_);
        if (bytes != now && (may_shrink || bytes > now)) inode_->resize(bytes);
        if (go == SimDisk::State::Go::cut_here) return power_error();
        return {};
    }

    std::shared_ptr<SimDisk::State> state_;
    InodePtr inode_;
    const std::string path_;
    const std::uint64_t life_;
    const bool writable_;
};

}  // namespace

SimDisk::SimDisk(std::uint64_t seed, SimDiskOptions options) : state_(std::make_shared<State>(seed, options)) {}
SimDisk::~SimDisk() = default;

void SimDisk::crash() {
    State& s = *state_;
    for (const auto& change : s.pending) {
        if (!s.prng.chance(s.options.name_survival)) continue;
        change.apply_to(s.durable_names);
        // A name that is back needs its folders.
        for (std::string at = parent_of(change.owner_path()); at != "." && at != "/"; at = parent_of(at))
            s.dirs.insert(at);
    }
    s.pending.clear();
    s.names = s.durable_names;
    std::set<Inode*> done;  // two names may mean one file (a rename half done across folders)
    for (const auto& [path, inode] : s.names) {
        if (!done.insert(inode.get()).second) continue;
        for (std::string at = parent_of(path); at != "." && at != "/"; at = parent_of(at))
            s.dirs.insert(at);
        if (inode->size_dirty && s.prng.chance(s.options.sector_survival)) {
            inode->durable.resize(inode->cached.size(), '\0');
        }
        inode->write_some(s.prng, s.options.sector_survival);
        inode->cached = inode->durable;
        inode->dirty.clear();
        inode->size_dirty = false;
    }
    s.life++;
    s.cut = false;
    s.sync_fails = false;
}

void SimDisk::kill_process() {
    state_->life++;
}
void SimDisk::on_operation(std::function<bool()> hook) {
    state_->hook = std::move(hook);
}
std::uint64_t SimDisk::operations() const {
    return state_->operations;
}
void SimDisk::set_capacity(std::uint64_t bytes) {
    state_->options.capacity_bytes = bytes;
}
std::uint64_t SimDisk::used_bytes() const {
    return state_->used();
}
void SimDisk::set_full(bool full) {
    state_->full = full;
}
void SimDisk::fail_next_sync() {
    state_->sync_fails = true;
}

void SimDisk::flip_bit(const std::string& path, std::uint64_t bit) {
    auto found = state_->names.find(normal(path));
    CHECK(found != state_->names.end());
    Inode& inode = *found->second;
    CHECK(bit / 8 < inode.cached.size());
    const auto mask = static_cast<char>(1u << (bit % 8));
    inode.cached[bit / 8] = static_cast<char>(inode.cached[bit / 8] ^ mask);
    if (bit / 8 < inode.durable.size()) inode.durable[bit / 8] = static_cast<char>(inode.durable[bit / 8] ^ mask);
}

Result<std::unique_ptr<File>> SimDisk::open(const std::string& given, OpenMode mode) {
    State& s = *state_;
    if (s.cut) return power_error();
    const std::string path = normal(given);
    if (s.dirs.contains(path)) return Error{Errc::io, path + " is a folder", 21};
    auto found = s.names.find(path);
    if (found != s.names.end()) {
        if (mode == OpenMode::create_new) return Error{Errc::already_exists, path + " exists", 17};
        return std::unique_ptr<File>(std::make_unique<SimFile>(state_, found->second, path, mode != OpenMode::read));
    }
    if (mode == OpenMode::read || mode == OpenMode::write) return absent(path);
    if (!s.dirs.contains(parent_of(path))) return absent(parent_of(path));
    auto go = s.begin();
    if (go == State::Go::dead) return power_error();
    if (s.full) return full_error(path);
    auto inode = std::make_shared<Inode>();
    s.change({"", path, inode});
    if (go == State::Go::cut_here) return power_error();
    return std::unique_ptr<File>(std::make_unique<SimFile>(state_, inode, path, true));
}

Status SimDisk::remove(const std::string& given) {
    State& s = *state_;
    if (s.cut) return power_error();
    const std::string path = normal(given);
    if (!s.names.contains(path)) return absent(path);
    auto go = s.begin();
    if (go == State::Go::dead) return power_error();
    s.change({path, "", nullptr});
    if (go == State::Go::cut_here) return power_error();
    return {};
}

Status SimDisk::rename(const std::string& from_given, const std::string& to_given) {
    State& s = *state_;
    if (s.cut) return power_error();
    const std::string from = normal(from_given);
    const std::string to = normal(to_given);
    auto found = s.names.find(from);
    if (found == s.names.end()) return absent(from);
    if (!s.dirs.contains(parent_of(to))) return absent(parent_of(to));
    if (s.dirs.contains(to)) return Error{Errc::io, to + " is a folder", 21};
    auto go = s.begin();
    if (go == State::Go::dead) return power_error();
    if (from != to) s.change({from, to, found->second});
    if (go == State::Go::cut_here) return power_error();
    return {};
}

Result<std::vector<std::string>> SimDisk::list(const std::string& given) {
    State& s = *state_;
    if (s.cut) return power_error();
    const std::string dir = normal(given);
    if (!s.dirs.contains(dir)) return absent(dir);
    std::set<std::string> found;
    auto add = [&](const std::string& path) {
        if (path != dir && path != "." && path != "/" && parent_of(path) == dir) {
            found.insert(path.substr(path.rfind('/') == std::string::npos ? 0 : path.rfind('/') + 1));
        }
    };
    for (const auto& [path, inode] : s.names)
        add(path);
    for (const auto& path : s.dirs)
        add(path);
    return std::vector<std::string>(found.begin(), found.end());
}

Status SimDisk::make_dirs(const std::string& given) {
    State& s = *state_;
    if (s.cut) return power_error();
    const std::string dir = normal(given);
    if (s.dirs.contains(dir)) return {};
    for (std::string at = dir; at != "." && at != "/"; at = parent_of(at)) {
        if (s.names.contains(at)) return Error{Errc::already_exists, at + " is a file", 17};
    }
    auto go = s.begin();
    if (go == State::Go::dead) return power_error();
    if (go == State::Go::cut_here && s.prng.chance(0.5)) return power_error();
    for (std::string at = dir; at != "." && at != "/"; at = parent_of(at))
        s.dirs.insert(at);
    if (go == State::Go::cut_here) return power_error();
    return {};
}

Status SimDisk::remove_tree(const std::string& given) {
    State& s = *state_;
    if (s.cut) return power_error();
    const std::string dir = normal(given);
    if (!s.dirs.contains(dir) && !s.names.contains(dir)) return {};
    auto go = s.begin();
    if (go == State::Go::dead) return power_error();
    std::vector<std::string> gone;
    for (const auto& [path, inode] : s.names) {
        if (path == dir || is_below(path, dir)) gone.push_back(path);
    }
    for (const auto& path : gone) {
        if (go == State::Go::cut_here && s.prng.chance(0.5)) continue;
        s.change({path, "", nullptr});
    }
    if (go == State::Go::cut_here) return power_error();
    std::erase_if(s.dirs, [&](const std::string& at) { return at == dir || is_below(at, dir); });
    return {};
}

Status SimDisk::sync_dir(const std::string& given) {
    State& s = *state_;
    if (s.cut) return power_error();
    const std::string dir = normal(given);
    if (!s.dirs.contains(dir)) return absent(dir);
    auto go = s.begin();
    if (go == State::Go::dead) return power_error();
    std::vector<NameChange> left;
    for (auto& change : s.pending) {
        const std::string& path = change.owner_path();
        bool covered = parent_of(path) == dir || s.folder_gone_from(dir, path);
        if (covered && (go == State::Go::yes || s.prng.chance(0.5))) {
            change.apply_to(s.durable_names);
        } else {
            left.push_back(std::move(change));
        }
    }
    s.pending = std::move(left);
    if (go == State::Go::cut_here) return power_error();
    return {};
}

Result<bool> SimDisk::exists(const std::string& given) {
    State& s = *state_;
    if (s.cut) return power_error();
    const std::string path = normal(given);
    return s.names.contains(path) || s.dirs.contains(path);
}

Result<std::uint64_t> SimDisk::free_bytes(const std::string&) {
    if (state_->cut) return power_error();
    return state_->room();
}

}  // namespace weir::os
