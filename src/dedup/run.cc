// Run files: writing, merging, opening, looking up; the format stands in run.h.
#include "dedup/run.h"

#include "base/check.h"
#include "base/crc32c.h"
#include "base/limits.h"
#include "base/wire.h"
#include "dedup/detail/huge_array.h"

#include <algorithm>
#include <atomic>
#include <bit>
#include <charconv>
#include <cstring>
#include <map>
#include <numeric>
#include <utility>

namespace weir::dedup {
namespace {

// Filter words and fences are read from the file straight into integers.
static_assert(std::endian::native == std::endian::little);

constexpr std::uint64_t page_entries_max = 170;
constexpr std::uint64_t filter_bits_an_id = 20;
constexpr std::uint64_t magic = 0x314e555252494557;  // "WEIRRUN1"
constexpr std::uint32_t version = 1;
constexpr std::size_t write_block_bytes = 1 * limits::mib;
constexpr std::uint64_t write_behind_bytes = 8 * limits::mib;
// Simulated with four runs a bucket: an id is written 8 times in a bucket of 600 equal runs, 9.5 times in one of 1000
// and 16 times in one of 5000, within 10 % of the best possible; a ratio of 1 writes 12, 17 and 70 times.
constexpr std::uint64_t tier_ratio = 3;
constexpr std::uint64_t merge_block_pages = 128;  // 510 KiB of entries, a run

struct PageEntry {
    le64 hi, lo, place;
};
struct Page {
    le32 crc;
    le32 count;
    le64 spare;
    PageEntry entries[page_entries_max];

    std::uint32_t computed_crc(std::uint64_t number) const {
        return crc32c(static_cast<std::uint32_t>(number), bytes_of(*this).substr(4));
    }
};
static_assert(sizeof(Page) == 4096 && alignof(Page) == 1);

struct Footer {
    le64 magic_number;
    le32 format_version;
    le32 page_bytes;
    le64 count;
    le64 pages;
    le64 lines;
    le32 fences_crc;
    le32 filter_crc;
    char spare[76] = {};
    le32 crc;

    std::uint32_t computed_crc() const { return crc32c(0, bytes_of(*this).substr(0, 124)); }
};
static_assert(sizeof(Footer) == 128);

// Where the parts of a run of `count` ids stand.
struct Layout {
    std::uint64_t pages, lines, fences_at, filter_at, footer_at;

    explicit Layout(std::uint64_t count)
        : pages((count + page_entries_max - 1) / page_entries_max),
          lines(count * filter_bits_an_id / 512 + 1),
          fences_at(pages * sizeof(Page)),
          filter_at(fences_at + pages * 8),
          footer_at(filter_at + lines * 64) {}
};
// No file is large enough to hold more, and no product above overflows.
constexpr std::uint64_t count_max = std::uint64_t{1} << 48;

bool before(const RunEntry& a, const RunEntry& b) {
    return a.id < b.id;
}

std::string parent_of(const std::string& path) {
    std::size_t slash = path.find_last_of('/');
    if (slash == std::string::npos) return ".";
    return slash == 0 ? "/" : path.substr(0, slash);
}

Error damaged(const std::string& path, const std::string& what) {
    return Error{Errc::corrupt, path + ": " + what};
}
Error damaged_page(const std::string& path, std::uint64_t page, const std::string& what) {
    return damaged(path,
                   "page " + std::to_string(page) + " at byte " + std::to_string(page * sizeof(Page)) + ": " + what);
}

// ---- writing --------------------------------------------------------------------------------------------------------

// One part of the file, written in order through a buffer.
class Section {
  public:
    Section(os::File& file, std::uint64_t at, std::size_t buffer_bytes)
        : file_(file), at_(at), buffer_bytes_(buffer_bytes) {
        buffer_.reserve(buffer_bytes);
    }
    Status add(std::string_view bytes) {
        if (buffer_.size() + bytes.size() > buffer_bytes_) TRY(flush());
        buffer_.append(bytes);
        return {};
    }
    Status flush() {
        if (buffer_.empty()) return {};
        std::string_view piece = buffer_;
        TRY(file_.write_at(at_, std::span(&piece, 1)));
        crc_ = crc32c(crc_, piece);
        at_ += piece.size();
        behind_ += piece.size();
        if (behind_ >= write_behind_bytes) {
            file_.write_behind(at_ - behind_, behind_);
            behind_ = 0;
        }
        buffer_.clear();
        return {};
    }
    std::uint32_t crc() const { return crc_; }  // of what was flushed
    std::uint64_t at() const { return at_; }    // where the next flush writes

  private:
    os::File& file_;
    std::uint64_t at_, behind_ = 0;
    const std::size_t buffer_bytes_;
    std::string buffer_;
    std::uint32_t crc_ = 0;
};

// Takes `count` entries in order.
class RunWriter {
  public:
    RunWriter(os::File& file, std::uint64_t count)
        : file_(file),
          count_(count),
          layout_(count),
          pages_(file, 0, write_block_bytes),
          fences_(file, layout_.fences_at, 64 * limits::kib),
          filter_(file, layout_.filter_at, write_block_bytes / 4) {}

    Status add(const RunEntry& entry) {
        DCHECK(in_page_ == 0 || !(entry.id < last_));
        if (in_page_ == 0) {
            le64 fence = entry.id.hi;
            TRY(fences_.add(bytes_of(fence)));
        }
        PageEntry& slot = page_.entries[in_page_++];
        slot.hi = entry.id.hi;
        slot.lo = entry.id.lo;
        slot.place = entry.place.packed;
        last_ = entry.id;
        added_++;
        const std::uint64_t line =
            static_cast<std::uint64_t>((static_cast<__uint128_t>(entry.id.hi) * layout_.lines) >> 64);
        if (line != line_) TRY(next_line(line));
        std::uint64_t bits = entry.id.lo >> 1;
        for (std::uint64_t& word : words_) {
            word |= std::uint64_t{1} << (bits & 63);
            bits >>= 6;
        }
        if (in_page_ == page_entries_max) TRY(seal());
        return {};
    }

    // Writes what is left and the footer, and syncs.
    Status finish() {
        CHECK(added_ == count_);
        TRY(seal());
        TRY(next_line(layout_.lines));
        TRY(pages_.flush());
        TRY(fences_.flush());
        TRY(filter_.flush());
        CHECK(pages_.at() == layout_.fences_at && fences_.at() == layout_.filter_at &&
              filter_.at() == layout_.footer_at);
        Footer footer;
        footer.magic_number = magic;
        footer.format_version = version;
        footer.page_bytes = sizeof(Page);
        footer.count = count_;
        footer.pages = layout_.pages;
        footer.lines = layout_.lines;
        footer.fences_crc = fences_.crc();
        footer.filter_crc = filter_.crc();
        footer.crc = footer.computed_crc();
        std::string_view piece = bytes_of(footer);
        TRY(file_.write_at(layout_.footer_at, std::span(&piece, 1)));
        return file_.sync();
    }

  private:
    Status seal() {
        if (in_page_ == 0) return {};
        page_.count = static_cast<std::uint32_t>(in_page_);
        page_.crc = page_.computed_crc(page_number_++);
        TRY(pages_.add(bytes_of(page_)));
        page_ = Page{};
        in_page_ = 0;
        return {};
    }
    // The lines up to `line` are complete: ids come in order, and the line grows with hi.
    Status next_line(std::uint64_t line) {
        CHECK(line_ < line);
        for (; line_ < line; line_++) {
            TRY(filter_.add({reinterpret_cast<const char*>(words_), sizeof words_}));
            std::ranges::fill(words_, 0);
        }
        return {};
    }

    os::File& file_;
    const std::uint64_t count_;
    const Layout layout_;
    Section pages_, fences_, filter_;
    Page page_;
    std::size_t in_page_ = 0;
    std::uint64_t page_number_ = 0, added_ = 0;
    record::Fingerprint last_;
    std::uint64_t line_ = 0;
    std::uint64_t words_[8] = {};
};

Result<std::unique_ptr<os::File>> open_empty(os::Disk& disk, const std::string& path) {
    auto file = TRY(disk.open(path, os::OpenMode::create));
    if (TRY(file->size()) > 0) TRY(file->truncate(0));
    return file;
}

// Fingerprints are uniform: one pass deals them to groups of about 64 by their top bits, which are then sorted in
// cache.
std::vector<RunEntry> sorted(std::vector<RunEntry>&& entries) {
    const int bits = std::clamp(static_cast<int>(std::bit_width(entries.size() / 64)), 1, 18);
    std::vector<std::size_t> ends((std::size_t{1} << bits) + 1);
    auto group = [&](const RunEntry& entry) { return static_cast<std::size_t>(entry.id.hi >> (64 - bits)); };
    for (const RunEntry& entry : entries)
        ends[group(entry) + 1]++;
    std::partial_sum(ends.begin(), ends.end(), ends.begin());
    std::vector<RunEntry> out(entries.size());
    // After the deal ends[g] is where group g ends; before it, where it begins.
    for (const RunEntry& entry : entries)
        out[ends[group(entry)]++] = entry;
    entries = {};
    auto begin = out.begin();
    for (std::size_t g = 0; g + 1 < ends.size(); g++) {
        auto end = out.begin() + static_cast<std::ptrdiff_t>(ends[g]);
        std::sort(begin, end, before);
        begin = end;
    }
    return out;
}

// ---- an open run ----------------------------------------------------------------------------------------------------

class FileRun final : public Run {
  public:
    FileRun(std::string path, const RunState& state, std::unique_ptr<os::File> file)
        : path_(std::move(path)), state_(state), file_(std::move(file)) {}

    Status load(bool with_filter);

    const RunState& state() const override { return state_; }
    const std::string& path() const override { return path_; }
    bool has_filter() const override { return has_filter_.load(std::memory_order_acquire); }
    std::size_t memory_bytes() const override {
        return fences_bytes(state_.count) + (has_filter() ? filter_bytes(state_.count) : 0);
    }
    FilterView filter() const override { return view_; }
    void drop_filter() const override {
        has_filter_.store(false, std::memory_order_release);
        view_ = FilterView{};
        filter_ = detail::HugeArray<std::uint64_t>();
    }
    void prefetch(const record::Fingerprint& id) const override {
        if (view_) view_.prefetch(id);
    }
    bool may_hold(const record::Fingerprint& id) const override { return !view_ || view_.may_hold(id); }
    Result<std::optional<Place>> find(const record::Fingerprint& id) const override;
    std::uint64_t page_count() const override { return fences_.size(); }
    Status read_pages(std::uint64_t page, std::uint64_t count, std::vector<RunEntry>& out) const override;

  private:
    // Reads exactly bytes.size(); the footer said that they are there.
    Status read_exactly(std::uint64_t at, std::span<char> bytes) const {
        if (bytes.empty()) return {};
        std::size_t got = TRY(file_->read_at(at, bytes));
        if (got != bytes.size()) return damaged(path_, "ends at byte " + std::to_string(at + got));
        return {};
    }
    Status check_page(const Page& page, std::uint64_t number) const;

    const std::string path_;
    const RunState state_;
    const std::unique_ptr<os::File> file_;
    std::vector<std::uint64_t> fences_;
    // Belong to the thread that looks up; the flag is for others who ask.
    mutable detail::HugeArray<std::uint64_t> filter_;
    mutable FilterView view_;
    mutable std::atomic<bool> has_filter_ = false;
};

class RebucketedRun final : public Run {
  public:
    RebucketedRun(std::shared_ptr<const Run> run, std::int64_t bucket) : run_(std::move(run)), state_(run_->state()) {
        state_.bucket = bucket;
    }
    const RunState& state() const override { return state_; }
    const std::string& path() const override { return run_->path(); }
    bool has_filter() const override { return run_->has_filter(); }
    std::size_t memory_bytes() const override { return run_->memory_bytes(); }
    FilterView filter() const override { return run_->filter(); }
    void drop_filter() const override { run_->drop_filter(); }
    void prefetch(const record::Fingerprint& id) const override { run_->prefetch(id); }
    bool may_hold(const record::Fingerprint& id) const override { return run_->may_hold(id); }
    Result<std::optional<Place>> find(const record::Fingerprint& id) const override { return run_->find(id); }
    std::uint64_t page_count() const override { return run_->page_count(); }
    Status read_pages(std::uint64_t page, std::uint64_t count, std::vector<RunEntry>& out) const override {
        return run_->read_pages(page, count, out);
    }

  private:
    const std::shared_ptr<const Run> run_;
    RunState state_;
};

Status FileRun::load(bool with_filter) {
    const std::uint64_t bytes = TRY(file_->size());
    if (bytes < sizeof(Footer)) return damaged(path_, "is too short for a run: " + std::to_string(bytes) + " bytes");
    Footer footer;
    TRY(read_exactly(bytes - sizeof footer, std::span(reinterpret_cast<char*>(&footer), sizeof footer)));
    if (footer.crc != footer.computed_crc()) return damaged(path_, "its footer's checksum is wrong");
    if (footer.magic_number != magic) return damaged(path_, "is not a run");
    if (footer.format_version != version || footer.page_bytes != sizeof(Page))
        return damaged(path_, "is of format version " + std::to_string(footer.format_version) + ", known is " +
                                  std::to_string(version));
    if (footer.count != state_.count)
        return damaged(path_, "holds " + std::to_string(footer.count) + " ids, the checkpoint lists " +
                                  std::to_string(state_.count));
    if (state_.count > count_max) return damaged(path_, "has an absurd count");
    const Layout layout(state_.count);
    if (footer.pages != layout.pages || footer.lines != layout.lines || bytes != layout.footer_at + sizeof footer)
        return damaged(path_, "its length does not fit its count");

    // The file is as long as the counts say, so that the memory taken here is bounded by what is on disk.
    fences_.resize(static_cast<std::size_t>(layout.pages));
    std::span<char> fences(reinterpret_cast<char*>(fences_.data()), fences_.size() * 8);
    TRY(read_exactly(layout.fences_at, fences));
    if (crc32c(0, {fences.data(), fences.size()}) != footer.fences_crc || !std::ranges::is_sorted(fences_))
        return damaged(path_, "its fences' checksum is wrong");
    if (!with_filter) return {};
    detail::HugeArray<std::uint64_t> words(static_cast<std::size_t>(layout.lines * 8));
    std::span<char> all(reinterpret_cast<char*>(words.data()), words.size() * 8);
    std::uint32_t crc = 0;
    for (std::size_t at = 0; at < all.size(); at += limits::mib) {
        std::span<char> block = all.subspan(at, std::min(limits::mib, all.size() - at));
        TRY(read_exactly(layout.filter_at + at, block));
        crc = crc32c(crc, {block.data(), block.size()});
    }
    if (crc != footer.filter_crc) return damaged(path_, "its filter's checksum is wrong");
    filter_ = std::move(words);
    view_ = {filter_.data(), layout.lines};
    has_filter_ = true;
    return {};
}

Status FileRun::check_page(const Page& page, std::uint64_t number) const {
    if (page.crc != page.computed_crc(number)) return damaged_page(path_, number, "its checksum is wrong");
    const std::uint64_t expected =
        number + 1 < fences_.size() ? page_entries_max : state_.count - number * page_entries_max;
    if (page.count != expected || page.entries[0].hi != fences_[static_cast<std::size_t>(number)])
        return damaged_page(path_, number, "it is not the page that the fences know");
    return {};
}

Result<std::optional<Place>> FileRun::find(const record::Fingerprint& id) const {
    // The page before the first fence that is not below hi; pages that begin with the same hi may follow.
    std::size_t number = static_cast<std::size_t>(std::ranges::lower_bound(fences_, id.hi) - fences_.begin());
    if (number > 0) number--;
    for (; number < fences_.size() && fences_[number] <= id.hi; number++) {
        Page page;
        TRY(read_exactly(number * sizeof page, std::span(reinterpret_cast<char*>(&page), sizeof page)));
        TRY(check_page(page, number));
        const PageEntry* const begin = page.entries;
        const PageEntry* const end = begin + page.count;
        const PageEntry* const at = std::partition_point(begin, end, [&](const PageEntry& entry) {
            return entry.hi < id.hi || (entry.hi == id.hi && entry.lo < id.lo);
        });
        if (at == end) continue;
        if (at->hi == id.hi && at->lo == id.lo) return std::optional<Place>(Place{at->place});
        break;
    }
    return std::optional<Place>();
}

Status FileRun::read_pages(std::uint64_t page, std::uint64_t count, std::vector<RunEntry>& out) const {
    CHECK(page <= fences_.size() && count <= fences_.size() - page);
    std::vector<Page> block(static_cast<std::size_t>(count));
    TRY(read_exactly(page * sizeof(Page),
                     std::span(reinterpret_cast<char*>(block.data()), block.size() * sizeof(Page))));
    for (std::size_t i = 0; i < block.size(); i++) {
        TRY(check_page(block[i], page + i));
        for (std::size_t k = 0; k < block[i].count; k++) {
            const PageEntry& entry = block[i].entries[k];
            RunEntry next{{entry.hi, entry.lo}, {entry.place}};
            if (!out.empty() && next.id < out.back().id)
                return damaged_page(path_, page + i, "its ids are not in order");
            out.push_back(next);
        }
    }
    return {};
}

// The entries of a run one after the other, a block in memory.
class RunCursor {
  public:
    explicit RunCursor(const Run& run) : run_(run) {}
    Status start() { return fill(); }
    const RunEntry* get() const { return at_ < block_.size() ? &block_[at_] : nullptr; }
    Status step() { return ++at_ == block_.size() ? fill() : Status(); }

  private:
    Status fill() {
        block_.clear();
        at_ = 0;
        const std::uint64_t count = std::min(merge_block_pages, run_.page_count() - page_);
        if (count == 0) return {};
        TRY(run_.read_pages(page_, count, block_));
        if (page_ > 0 && block_.front().id < last_) return damaged_page(run_.path(), page_, "its ids are not in order");
        last_ = block_.back().id;
        page_ += count;
        return {};
    }
    const Run& run_;
    std::uint64_t page_ = 0;
    std::vector<RunEntry> block_;
    std::size_t at_ = 0;
    record::Fingerprint last_;
};

std::vector<std::size_t> newest_first(const std::vector<RunState>& runs) {
    std::vector<std::size_t> order(runs.size());
    std::iota(order.begin(), order.end(), 0);
    std::ranges::sort(order, [&](std::size_t a, std::size_t b) {
        return std::pair(runs[a].bucket, runs[a].number) > std::pair(runs[b].bucket, runs[b].number);
    });
    return order;
}

// What plan_merges() does within one bucket.
std::vector<RunState> plan_bucket(std::vector<RunState> runs, bool newest) {
    if (runs.size() < 2) return {};
    if (!newest) return runs;
    if (runs.size() <= runs_per_bucket_max) return {};
    std::ranges::sort(runs, [](const RunState& a, const RunState& b) {
        return std::pair(a.count, a.number) < std::pair(b.count, b.number);
    });
    // The smallest ones, as many as must go; then every next one that is not much larger than all before it together.
    std::size_t take = runs.size() - runs_per_bucket_max + 1;
    std::uint64_t sum = 0;
    for (std::size_t i = 0; i < take; i++)
        sum += runs[i].count;
    for (; take < runs.size() && runs[take].count / tier_ratio <= sum; take++)
        sum += runs[take].count;
    runs.resize(take);
    return runs;
}

}  // namespace

Result<std::shared_ptr<const Run>> Run::open(os::Disk& disk, const std::string& path, const RunState& state,
                                             bool with_filter) {
    auto run = std::make_shared<FileRun>(path, state, TRY(disk.open(path, os::OpenMode::read)));
    TRY(run->load(with_filter));
    return std::shared_ptr<const Run>(std::move(run));
}

std::shared_ptr<const Run> in_bucket(std::shared_ptr<const Run> run, std::int64_t bucket) {
    if (run->state().bucket == bucket) return run;
    return std::make_shared<RebucketedRun>(std::move(run), bucket);
}

Status write_run(os::Disk& disk, const std::string& path, std::vector<RunEntry>&& entries) {
    const std::vector<RunEntry> in_order = sorted(std::move(entries));
    auto file = TRY(open_empty(disk, path));
    RunWriter writer(*file, in_order.size());
    for (const RunEntry& entry : in_order)
        TRY(writer.add(entry));
    TRY(writer.finish());
    return disk.sync_dir(parent_of(path));
}

Status merge_runs(os::Disk& disk, const std::string& path, const std::vector<std::shared_ptr<const Run>>& runs) {
    std::vector<const Run*> by_number;
    by_number.reserve(runs.size());
    for (const auto& run : runs)
        by_number.push_back(run.get());
    std::ranges::sort(by_number, {}, [](const Run* run) { return run->state().number; });
    std::uint64_t count = 0;
    std::vector<RunCursor> cursors;
    for (const Run* run : by_number) {
        count += run->state().count;
        TRY(cursors.emplace_back(*run).start());
    }
    auto file = TRY(open_empty(disk, path));
    RunWriter writer(*file, count);
    for (;;) {
        // A handful of inputs: looking at each is cheaper than a heap. The first of equal ids is of the lowest number.
        RunCursor* least = nullptr;
        for (RunCursor& cursor : cursors)
            if (cursor.get() && (!least || before(*cursor.get(), *least->get()))) least = &cursor;
        if (!least) break;
        TRY(writer.add(*least->get()));
        TRY(least->step());
    }
    TRY(writer.finish());
    return disk.sync_dir(parent_of(path));
}

std::vector<std::vector<RunState>> plan_merges(const std::vector<RunState>& runs) {
    std::map<std::int64_t, std::vector<RunState>> buckets;
    for (const RunState& run : runs)
        buckets[run.bucket].push_back(run);
    std::vector<std::vector<RunState>> groups;
    for (auto& [bucket, in_bucket] : buckets) {
        auto group = plan_bucket(std::move(in_bucket), bucket == buckets.rbegin()->first);
        if (!group.empty()) groups.push_back(std::move(group));
    }
    return groups;
}

std::string run_name(std::uint64_t number) {
    return "run" + std::to_string(number) + ".dd";
}
std::string run_path(const std::string& dir, std::uint64_t number) {
    return dir + "/" + run_name(number);
}
std::size_t fences_bytes(std::uint64_t count) {
    return static_cast<std::size_t>(Layout(count).pages * 8);
}
std::size_t filter_bytes(std::uint64_t count) {
    return detail::HugeArray<std::uint64_t>::memory_bytes(static_cast<std::size_t>(Layout(count).lines * 8));
}

std::vector<bool> filters_within(const std::vector<RunState>& runs, std::size_t memory_bytes) {
    for (const RunState& run : runs)
        memory_bytes -= std::min(memory_bytes, fences_bytes(run.count));
    std::vector<bool> keeps(runs.size());
    for (const std::size_t i : newest_first(runs)) {
        const std::size_t bytes = filter_bytes(runs[i].count);
        if (bytes > memory_bytes) continue;
        memory_bytes -= bytes;
        keeps[i] = true;
    }
    return keeps;
}

Status load_filters(os::Disk& disk, std::vector<std::shared_ptr<const Run>>& runs, std::size_t kept_bytes,
                    std::size_t bytes_max, std::size_t& held_bytes) {
    std::vector<RunState> states;
    states.reserve(runs.size());
    for (const auto& run : runs)
        states.push_back(run->state());
    const std::vector<bool> keeps = filters_within(states, kept_bytes);
    for (const std::size_t i : newest_first(states)) {
        if (!keeps[i] || runs[i]->has_filter()) continue;
        // The run that is open now lives on beside the new one until nobody looks up in it any more.
        const std::size_t bytes = fences_bytes(states[i].count) + filter_bytes(states[i].count);
        if (held_bytes + bytes > bytes_max) return {};
        runs[i] = TRY(Run::open(disk, runs[i]->path(), states[i], true));
        held_bytes += bytes;
    }
    return {};
}

Result<std::vector<std::shared_ptr<const Run>>> open_runs(os::Disk& disk, const std::string& dir,
                                                          const std::vector<RunState>& states,
                                                          const std::vector<std::shared_ptr<const Run>>& present,
                                                          std::size_t memory_bytes) {
    std::vector<std::shared_ptr<const Run>> runs;
    const std::vector<bool> with_filter = filters_within(states, memory_bytes);
    for (std::size_t i = 0; i < states.size(); i++) {
        auto same = std::ranges::find_if(present, [&](const std::shared_ptr<const Run>& run) {
            return run->state().number == states[i].number && run->path() == run_path(dir, states[i].number) &&
                   (run->has_filter() || !with_filter[i]);
        });
        if (same != present.end()) {
            runs.push_back(*same);
            continue;
        }
        auto run = Run::open(disk, run_path(dir, states[i].number), states[i], with_filter[i]);
        if (!run && run.error().code == Errc::not_found)
            return damaged(run_path(dir, states[i].number), "is missing, the checkpoint lists it");
        runs.push_back(TRY(std::move(run)));
    }
    return runs;
}

Status remove_unlisted_runs(os::Disk& disk, const std::string& dir, const std::vector<RunState>& listed) {
    TRY(disk.make_dirs(dir));
    for (const std::string& name : TRY(disk.list(dir))) {
        if (!name.starts_with("run") || !name.ends_with(".dd")) continue;
        std::uint64_t number = 0;
        std::from_chars(name.data() + 3, name.data() + name.size(), number);
        if (name != run_name(number)) continue;  // not a name that we make
        if (std::ranges::find(listed, number, &RunState::number) != listed.end()) continue;
        TRY(disk.remove(dir + "/" + name));
    }
    return {};
}

std::string encode_runs(const std::vector<RunState>& runs) {
    std::string out;
    WireWriter w(out);
    w.u8(1);
    w.u32(static_cast<std::uint32_t>(runs.size()));
    for (const RunState& run : runs) {
        w.i64(run.bucket);
        w.u64(run.number);
        w.u64(run.count);
    }
    return out;
}

Result<std::vector<RunState>> decode_runs(std::string_view bytes) {
    const Error bad{Errc::corrupt, "a checkpoint's list of dedup runs does not decode"};
    WireReader r(bytes);
    if (r.u8() != 1) return bad;
    const std::uint32_t count = r.u32();
    if (!r.ok() || r.left() != std::size_t{count} * 24) return bad;
    std::vector<RunState> runs(count);
    for (RunState& run : runs) {
        run.bucket = r.i64();
        run.number = r.u64();
        run.count = r.u64();
        if (run.count > count_max) return bad;
    }
    return runs;
}

}  // namespace weir::dedup
