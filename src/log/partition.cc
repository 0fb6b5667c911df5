// Writing and reading of a partition's segments; the formats stand in partition.h.
#include "log/partition.h"

#include "base/check.h"
#include "base/crc32c.h"
#include "base/limits.h"
#include "base/wire.h"
#include "log/detail/folder.h"
#include "record/batch.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <optional>
#include <utility>

namespace weir::log {
namespace {

constexpr std::uint8_t state_version = 1;
constexpr std::size_t segment_state_bytes = 56;
// Write-back is asked for in steps of this size, so that a checkpoint's fsync finds little left to write.
constexpr std::uint64_t write_behind_bytes = 8 * limits::mib;
// Blocks grow from the first size to the second, so that a look-up of one batch does not read a whole block.
constexpr std::size_t first_block_bytes = 64 * limits::kib;
constexpr std::size_t block_bytes_max = 1 * limits::mib;
constexpr std::size_t read_padding_bytes = 64;

struct IndexEntry {
    lei64 base_offset;
    le64 position;
    lei64 min_time_ms;
    lei64 max_time_ms;
    le32 bytes;
    le32 crc;

    std::uint32_t computed_crc() const { return crc32c(0, bytes_of(*this).substr(0, 36)); }
};
static_assert(sizeof(IndexEntry) == 40);
// An entry's range ends with the batch that takes it over the interval, so it fits its 32 bits.
constexpr std::uint32_t index_interval_max = 64 * limits::mib;
static_assert(limits::batch_bytes_max + index_interval_max < UINT32_MAX / 2);

std::string log_name(std::int64_t base) {
    return detail::numbered_name(static_cast<std::uint64_t>(base), ".log");
}
std::string index_name(std::int64_t base) {
    return detail::numbered_name(static_cast<std::uint64_t>(base), ".idx");
}

Error corrupt_at(const std::string& path, std::uint64_t position, const std::string& what) {
    return Error{Errc::corrupt, path + " at byte " + std::to_string(position) + ": " + what};
}

// ---- PartitionLog ---------------------------------------------------------------------------------------------------

class SegmentedLog final : public PartitionLog {
  public:
    SegmentedLog(os::Disk& disk, std::string dir, PartitionState state, PartitionOptions options)
        : disk_(disk), dir_(std::move(dir)), state_(std::move(state)), options_(within_limits(options)), dirty_(disk) {
        for (const SegmentState& segment : state_.segments)
            bytes_ += segment.log_bytes;
        end_offset_ = state_.end_offset;
    }

    void set_options(const PartitionOptions& options) override {
        CHECK(queue_.empty());
        options_ = within_limits(options);
    }

    Status make_real();

    Status append(std::string_view batch, std::int64_t base_offset, std::int32_t count, std::int64_t min_time_ms,
                  std::int64_t max_time_ms, std::int64_t append_ms) override {
        if (batch.size() > limits::batch_bytes_max)
            return Error{Errc::too_large, "a batch of " + std::to_string(batch.size()) + " bytes for " + dir_};
        if (base_offset != end_offset_ || count <= 0 || batch.size() < record::batch_header_bytes ||
            base_offset > INT64_MAX - count)
            return Error{Errc::invalid_argument, dir_ + ": a batch of " + std::to_string(count) +
                                                     " records at offset " + std::to_string(base_offset) +
                                                     ", expected offset " + std::to_string(end_offset_)};
        queue_.push_back({batch, base_offset, min_time_ms, max_time_ms, append_ms});
        end_offset_ += count;
        return {};
    }

    Status flush() override;

    Status sync() override { return dirty_.sync(); }
    std::int64_t start_offset() const override { return state_.start_offset; }
    std::int64_t end_offset() const override { return end_offset_; }
    std::uint64_t bytes() const override { return bytes_; }
    const PartitionState& state() const override { return state_; }
    std::vector<std::shared_ptr<os::File>> take_dirty_files() override { return dirty_.take(); }

    std::vector<std::string> advance_start(std::int64_t offset) override;
    std::int64_t offset_before(std::int64_t append_ms) const override;

  private:
    struct Queued {
        std::string_view batch;
        std::int64_t base_offset, min_time_ms, max_time_ms, append_ms;
    };
    // A segment that a flush() writes to: its state so far, and its open files.
    struct Tail {
        SegmentState segment;
        OpenIndexRange open_index;
        std::shared_ptr<os::File> log, index;
        std::uint64_t hinted_bytes = 0;  // of the log: write-back was asked for up to here
        std::vector<std::string_view> pieces;
        std::string entries;

        // The open range ends at `end` of the log: it becomes an entry.
        void close_index_range(std::uint64_t end);
    };

    Result<Tail> open_last();
    static PartitionOptions within_limits(PartitionOptions options) {
        options.index_interval = std::min(options.index_interval, index_interval_max);
        options.segment_ms = std::max<std::int64_t>(options.segment_ms, 1);
        return options;
    }
    Result<Tail> make_segment(std::int64_t base_offset);
    Status write(Tail& tail);

    os::Disk& disk_;
    const std::string dir_;
    PartitionState state_;
    PartitionOptions options_;
    std::int64_t end_offset_ = 0;
    std::uint64_t bytes_ = 0;
    std::vector<Queued> queue_;
    std::shared_ptr<os::File> log_, index_;  // of the last segment; opened by the first flush()
    std::uint64_t hinted_bytes_ = 0;
    detail::DirtyFiles dirty_;
};

void SegmentedLog::Tail::close_index_range(std::uint64_t end) {
    if (open_index.position == end) return;
    CHECK(open_index.position < end && end - open_index.position <= UINT32_MAX);
    IndexEntry entry;
    entry.base_offset = open_index.base_offset;
    entry.position = open_index.position;
    entry.min_time_ms = open_index.min_time_ms;
    entry.max_time_ms = open_index.max_time_ms;
    entry.bytes = static_cast<std::uint32_t>(end - open_index.position);
    entry.crc = entry.computed_crc();
    entries.append(bytes_of(entry));
    open_index = OpenIndexRange{};
    open_index.position = end;
}

Status SegmentedLog::make_real() {
    TRY(detail::make_folder(disk_, dir_, state_.segments.empty(), dirty_));
    // Names first, so that a file that a crash brought back is never taken for one that is listed.
    for (const std::string& name : TRY(disk_.list(dir_))) {
        auto base = detail::parse_numbered_name(name, ".log");
        if (!base) base = detail::parse_numbered_name(name, ".idx");
        if (!base) continue;
        if (std::ranges::binary_search(state_.segments, static_cast<std::int64_t>(*base), {},
                                       &SegmentState::base_offset))
            continue;
        TRY(disk_.remove(dir_ + "/" + name));
        dirty_.names_changed(dir_);
    }
    for (const SegmentState& segment : state_.segments) {
        TRY(detail::cut_file(disk_, dir_ + "/" + log_name(segment.base_offset), segment.log_bytes, dirty_));
        TRY(detail::cut_file(disk_, dir_ + "/" + index_name(segment.base_offset), segment.index_bytes, dirty_));
    }
    return {};
}

Result<SegmentedLog::Tail> SegmentedLog::open_last() {
    const SegmentState& last = state_.segments.back();
    if (!log_) {
        log_ = TRY(disk_.open(dir_ + "/" + log_name(last.base_offset), os::OpenMode::write));
        index_ = TRY(disk_.open(dir_ + "/" + index_name(last.base_offset), os::OpenMode::write));
        hinted_bytes_ = last.log_bytes;
    }
    Tail tail;
    tail.segment = last;
    tail.open_index = state_.open_index;
    tail.log = log_;
    tail.index = index_;
    tail.hinted_bytes = hinted_bytes_;
    return tail;
}

Result<SegmentedLog::Tail> SegmentedLog::make_segment(std::int64_t base_offset) {
    Tail tail;
    tail.segment.base_offset = base_offset;
    tail.open_index.base_offset = base_offset;
    // A flush() that failed may have made and filled them before.
    for (bool is_log : {true, false}) {
        std::shared_ptr<os::File> file = TRY(
            disk_.open(dir_ + "/" + (is_log ? log_name(base_offset) : index_name(base_offset)), os::OpenMode::create));
        if (TRY(file->size()) > 0) TRY(file->truncate(0));
        (is_log ? tail.log : tail.index) = std::move(file);
    }
    dirty_.names_changed(dir_);
    return tail;
}

Status SegmentedLog::write(Tail& tail) {
    if (!tail.pieces.empty()) {
        dirty_.add(tail.log);
        TRY(tail.log->write_at(tail.segment.log_bytes, tail.pieces));
        for (std::string_view piece : tail.pieces)
            tail.segment.log_bytes += piece.size();
        tail.pieces.clear();
        if (tail.segment.log_bytes - tail.hinted_bytes >= write_behind_bytes) {
            tail.log->write_behind(tail.hinted_bytes, tail.segment.log_bytes - tail.hinted_bytes);
            tail.hinted_bytes = tail.segment.log_bytes;
        }
    }
    // A segment that was made and has no entry yet has an empty index, which must become durable too.
    dirty_.add(tail.index);
    if (!tail.entries.empty()) {
        std::string_view entries = tail.entries;
        TRY(tail.index->write_at(tail.segment.index_bytes, std::span(&entries, 1)));
        tail.segment.index_bytes += entries.size();
        tail.entries.clear();
    }
    return {};
}

Status SegmentedLog::flush() {
    if (queue_.empty()) return {};
    std::vector<SegmentState> written;  // [0] replaces the last segment where there is one
    std::optional<Tail> tail;
    if (!state_.segments.empty()) tail = TRY(open_last());
    std::uint64_t added_bytes = 0;
    std::uint64_t tail_bytes = tail ? tail->segment.log_bytes : 0;
    for (const Queued& queued : queue_) {
        if (!tail || (tail_bytes > 0 &&
                      (tail_bytes + queued.batch.size() > options_.segment_bytes ||
                       detail::is_aged(tail->segment.first_append_ms, queued.append_ms, options_.segment_ms)))) {
            if (tail) {
                tail->close_index_range(tail_bytes);  // a segment that is not the last has a complete index
                TRY(write(*tail));
                written.push_back(tail->segment);
            }
            tail = TRY(make_segment(queued.base_offset));
            tail->segment.first_append_ms = tail->segment.last_append_ms = queued.append_ms;
            tail_bytes = 0;
        }
        SegmentState& segment = tail->segment;
        segment.min_time_ms = std::min(segment.min_time_ms, queued.min_time_ms);
        segment.max_time_ms = std::max(segment.max_time_ms, queued.max_time_ms);
        segment.last_append_ms = std::max(segment.last_append_ms, queued.append_ms);
        if (tail->open_index.position == tail_bytes) tail->open_index.base_offset = queued.base_offset;
        tail->open_index.min_time_ms = std::min(tail->open_index.min_time_ms, queued.min_time_ms);
        tail->open_index.max_time_ms = std::max(tail->open_index.max_time_ms, queued.max_time_ms);
        tail->pieces.push_back(queued.batch);
        tail_bytes += queued.batch.size();
        added_bytes += queued.batch.size();
        if (tail_bytes - tail->open_index.position >= options_.index_interval) tail->close_index_range(tail_bytes);
    }
    TRY(write(*tail));
    written.push_back(tail->segment);

    if (!state_.segments.empty()) state_.segments.pop_back();
    state_.segments.insert(state_.segments.end(), written.begin(), written.end());
    state_.open_index = tail->open_index;
    state_.end_offset = end_offset_;
    log_ = std::move(tail->log);
    index_ = std::move(tail->index);
    hinted_bytes_ = tail->hinted_bytes;
    bytes_ += added_bytes;
    queue_.clear();
    return {};
}

std::vector<std::string> SegmentedLog::advance_start(std::int64_t offset) {
    state_.start_offset = std::clamp(offset, state_.start_offset, state_.end_offset);
    std::vector<std::string> gone;
    std::size_t count = 0;
    while (count < state_.segments.size()) {
        const SegmentState& segment = state_.segments[count];
        const bool is_last = count + 1 == state_.segments.size();
        const std::int64_t end = is_last ? end_offset_ : state_.segments[count + 1].base_offset;
        if (state_.start_offset < end) break;
        // A name given up is never used again: the next segment begins at the end, behind a record of this one.
        CHECK(segment.base_offset < state_.end_offset);
        gone.push_back(dir_ + "/" + log_name(segment.base_offset));
        gone.push_back(dir_ + "/" + index_name(segment.base_offset));
        bytes_ -= segment.log_bytes;
        count++;
    }
    state_.segments.erase(state_.segments.begin(), state_.segments.begin() + static_cast<std::ptrdiff_t>(count));
    if (count > 0 && state_.segments.empty()) {
        CHECK(state_.start_offset == state_.end_offset);
        state_.open_index = OpenIndexRange{};
        log_.reset();
        index_.reset();
        hinted_bytes_ = 0;
    }
    return gone;
}

std::int64_t SegmentedLog::offset_before(std::int64_t append_ms) const {
    std::int64_t offset = state_.start_offset;
    for (std::size_t i = 0; i < state_.segments.size() && state_.segments[i].last_append_ms < append_ms; i++)
        offset = i + 1 < state_.segments.size() ? state_.segments[i + 1].base_offset : state_.end_offset;
    return std::max(offset, state_.start_offset);
}

// ---- PartitionReader ------------------------------------------------------------------------------------------------

struct ByteRange {
    std::uint64_t begin = 0, end = 0;
    std::int64_t base_offset = 0;  // of the batch at `begin`
};

class SegmentReader final : public PartitionReader {
  public:
    SegmentReader(os::Disk& disk, std::string dir, const ReadBound& bound, const ReadRange& range, bool check_crc)
        : disk_(disk), dir_(std::move(dir)), bound_(bound), range_(range), check_crc_(check_crc) {
        range_.from_offset = std::max(range_.from_offset, bound_.start_offset);
        range_.to_offset = std::min(range_.to_offset, bound_.end_offset);
    }

    Status find_segments();
    Result<std::optional<std::string_view>> next() override;

  private:
    Result<std::optional<std::string_view>> step();
    Result<bool> next_range();
    Status open_segment();
    Status plan_ranges(std::uint64_t log_bytes);
    Result<std::vector<IndexEntry>> read_index(std::uint64_t log_bytes);
    Status fill(std::size_t wanted);

    bool wants_index() const {
        return range_.min_time_ms != INT64_MIN || range_.max_time_ms != INT64_MAX ||
               range_.from_offset > segments_[at_segment_] || range_.to_offset < bound_.end_offset;
    }

    os::Disk& disk_;
    const std::string dir_;
    const ReadBound bound_;
    ReadRange range_;
    const bool check_crc_;

    std::vector<std::int64_t> segments_;  // base offsets, ascending
    std::size_t at_segment_ = 0;
    bool done_ = false;

    std::string path_;  // of the open segment
    std::unique_ptr<os::File> file_;
    std::vector<ByteRange> ranges_;  // of the open segment that are still to be read, ascending
    std::size_t at_range_ = 0;
    std::int64_t expected_offset_ = 0;  // base offset of the next batch
    bool reached_end_ = false;          // of the open segment: the last range goes up to it

    // What is in memory of the file: have_ bytes from position_ on; at_ of them were handed out.
    std::size_t block_bytes_ = first_block_bytes;
    std::vector<char> buffer_;
    std::uint64_t position_ = 0;
    std::size_t have_ = 0, at_ = 0;
};

Status SegmentReader::find_segments() {
    if (range_.from_offset >= range_.to_offset) {
        done_ = true;
        return {};
    }
    for (const std::string& name : TRY(disk_.list(dir_))) {
        auto base = detail::parse_numbered_name(name, ".log");
        if (base && *base <= static_cast<std::uint64_t>(bound_.last_segment))
            segments_.push_back(static_cast<std::int64_t>(*base));
    }
    std::ranges::sort(segments_);
    auto first = std::ranges::upper_bound(segments_, range_.from_offset);
    if (first == segments_.begin() || segments_.back() != bound_.last_segment)
        return Error{Errc::not_found,
                     dir_ + ": the segment of offset " + std::to_string(range_.from_offset) + " was removed meanwhile"};
    segments_.erase(segments_.begin(), first - 1);
    return {};
}

Result<std::optional<std::string_view>> SegmentReader::next() {
    auto result = step();
    if (!result || !result.value()) {
        done_ = true;
        file_.reset();
    }
    return result;
}

// The index entries that check, form one run from the start of the log and end within `log_bytes` of it.
Result<std::vector<IndexEntry>> SegmentReader::read_index(std::uint64_t log_bytes) {
    std::vector<IndexEntry> entries;
    auto file = disk_.open(dir_ + "/" + index_name(segments_[at_segment_]), os::OpenMode::read);
    if (!file) {
        if (file.error().code == Errc::not_found) return entries;
        return file.error();
    }
    // Every entry covers a batch or more, which bounds what a damaged length of the file can cost.
    std::uint64_t bytes = std::min(TRY(file.value()->size()), log_bytes);
    entries.resize(static_cast<std::size_t>(bytes / sizeof(IndexEntry)));
    std::size_t got = TRY(file.value()->read_at(
        0, std::span(reinterpret_cast<char*>(entries.data()), entries.size() * sizeof(IndexEntry))));
    entries.resize(got / sizeof(IndexEntry));
    std::uint64_t covered = 0;
    std::int64_t offset = segments_[at_segment_];
    std::size_t good = 0;
    for (; good < entries.size(); good++) {
        const IndexEntry& entry = entries[good];
        if (entry.crc != entry.computed_crc() || entry.position != covered || entry.bytes == 0 ||
            entry.bytes > log_bytes - covered ||
            (good == 0 ? entry.base_offset != offset : entry.base_offset <= offset))
            break;
        covered += entry.bytes;
        offset = entry.base_offset;
    }
    entries.resize(good);
    return entries;
}

Status SegmentReader::plan_ranges(std::uint64_t log_bytes) {
    std::vector<IndexEntry> entries;
    if (wants_index()) entries = TRY(read_index(log_bytes));
    auto add = [&](std::uint64_t begin, std::uint64_t end, std::int64_t base_offset) {
        if (!ranges_.empty() && ranges_.back().end == begin)
            ranges_.back().end = end;
        else
            ranges_.push_back({begin, end, base_offset});
    };
    for (std::size_t i = 0; i < entries.size(); i++) {
        const IndexEntry& entry = entries[i];
        if (entry.base_offset >= range_.to_offset) return {};
        // Where an entry's last offset is unknown (it is the last entry), it is read.
        if (i + 1 < entries.size() && entries[i + 1].base_offset <= range_.from_offset) continue;
        if (entry.max_time_ms < range_.min_time_ms || entry.min_time_ms > range_.max_time_ms) continue;
        add(entry.position, entry.position + entry.bytes, entry.base_offset);
    }
    std::uint64_t covered = entries.empty() ? 0 : entries.back().position + entries.back().bytes;
    if (covered == log_bytes) return {};
    // The first offset of the part without an entry is known only when the range before it is read: -1 says so.
    add(covered, log_bytes, covered == 0 ? segments_[at_segment_] : -1);
    return {};
}

Status SegmentReader::open_segment() {
    path_ = dir_ + "/" + log_name(segments_[at_segment_]);
    auto file = disk_.open(path_, os::OpenMode::read);
    if (!file) {
        if (file.error().code != Errc::not_found) return file.error();
        return Error{Errc::not_found, path_ + " was removed meanwhile"};
    }
    file_ = std::move(file).value();
    std::uint64_t bytes = TRY(file_->size());
    if (at_segment_ + 1 == segments_.size()) {
        if (bytes < bound_.last_bytes)
            return corrupt_at(path_, bytes,
                              "the file ends here, expected " + std::to_string(bound_.last_bytes) + " bytes");
        bytes = bound_.last_bytes;
    }
    if (bytes == 0) return corrupt_at(path_, 0, "the file is empty");
    ranges_.clear();
    at_range_ = 0;
    TRY(plan_ranges(bytes));
    reached_end_ = !ranges_.empty() && ranges_.back().end == bytes;
    return {};
}

// Moves on to the next range, over segments where needed. False: there is none.
Result<bool> SegmentReader::next_range() {
    if (file_) {
        at_range_++;
    } else {
        TRY(open_segment());
    }
    while (at_range_ == ranges_.size()) {
        bool dense = reached_end_;
        std::int64_t end = expected_offset_;
        // The bound of the scan may lie before the end of the segment.
        if (at_segment_ + 1 == segments_.size() || segments_[at_segment_ + 1] >= range_.to_offset) {
            if (dense && at_segment_ + 1 == segments_.size() && end != bound_.end_offset)
                return corrupt_at(path_, position_ + at_,
                                  "the log ends with offset " + std::to_string(end - 1) + ", expected " +
                                      std::to_string(bound_.end_offset - 1));
            return false;
        }
        at_segment_++;
        if (dense && end != segments_[at_segment_])
            return corrupt_at(path_, position_ + at_,
                              "the segment ends with offset " + std::to_string(end - 1) +
                                  ", the next one begins with " + std::to_string(segments_[at_segment_]));
        TRY(open_segment());
    }
    const ByteRange& range = ranges_[at_range_];
    position_ = range.begin;
    have_ = at_ = 0;
    expected_offset_ = range.base_offset;
    return true;
}

// Makes `wanted` bytes from the present place readable; they lie within the range.
Status SegmentReader::fill(std::size_t wanted) {
    std::size_t rest = have_ - at_;
    std::size_t capacity = std::max(block_bytes_, wanted);
    block_bytes_ = std::min(block_bytes_ * 4, block_bytes_max);
    if (buffer_.size() < capacity + read_padding_bytes) {
        std::vector<char> larger(capacity + read_padding_bytes);
        std::copy_n(buffer_.data() + at_, rest, larger.data());
        buffer_ = std::move(larger);
    } else {
        std::memmove(buffer_.data(), buffer_.data() + at_, rest);
    }
    position_ += at_;
    at_ = 0;
    have_ = rest;
    std::uint64_t left = ranges_[at_range_].end - position_ - rest;
    std::size_t room = buffer_.size() - read_padding_bytes - rest;
    std::size_t bytes = static_cast<std::size_t>(std::min<std::uint64_t>(left, room));
    const std::span<char> out(buffer_.data() + rest, bytes);
    const std::uint64_t position = position_ + rest;
    have_ += TRY(range_.aside ? file_->read_aside(position, out) : file_->read_at(position, out));
    if (have_ < wanted) return corrupt_at(path_, position_ + have_, "the file became shorter");
    return {};
}

Result<std::optional<std::string_view>> SegmentReader::step() {
    for (;;) {
        if (done_) return std::optional<std::string_view>();
        if (!file_ || position_ + at_ == ranges_[at_range_].end) {
            if (file_ && at_range_ == ranges_.size()) return std::optional<std::string_view>();
            if (!TRY(next_range())) return std::optional<std::string_view>();
        }
        const std::uint64_t position = position_ + at_;
        const std::uint64_t left = ranges_[at_range_].end - position;
        if (left < record::batch_header_bytes) return corrupt_at(path_, position, "the file ends within a batch");
        if (have_ - at_ < record::batch_header_bytes) TRY(fill(record::batch_header_bytes));
        record::BatchHeader header;
        std::memcpy(&header, buffer_.data() + at_, sizeof header);
        const std::int32_t length = header.batch_length;
        // 12 bytes stand before what the length counts.
        if (length < static_cast<std::int32_t>(record::batch_header_bytes - 12) ||
            static_cast<std::size_t>(length) + 12 > limits::batch_bytes_max)
            return corrupt_at(path_, position, "a batch with length " + std::to_string(length));
        const std::size_t bytes = static_cast<std::size_t>(length) + 12;
        if (bytes > left) return corrupt_at(path_, position, "a batch reaches beyond the end of the file");
        if (have_ - at_ < bytes) TRY(fill(bytes));
        std::string_view batch(buffer_.data() + at_, bytes);
        auto view = record::read_batch(batch);
        if (!view) return corrupt_at(path_, position, view.error().detail);
        if (expected_offset_ >= 0 && header.base_offset != expected_offset_)
            return corrupt_at(path_, position,
                              "a batch of offset " + std::to_string(header.base_offset) + ", expected " +
                                  std::to_string(expected_offset_));
        const std::int64_t next_offset = view.value().next_offset();
        if (header.base_offset < segments_[at_segment_] || next_offset <= header.base_offset ||
            next_offset > bound_.end_offset)
            return corrupt_at(path_, position,
                              "a batch of offsets " + std::to_string(header.base_offset) + " to " +
                                  std::to_string(next_offset - 1) + " does not belong here");
        at_ += bytes;
        expected_offset_ = next_offset;
        if (next_offset <= range_.from_offset) continue;
        if (header.base_offset >= range_.to_offset) return std::optional<std::string_view>();
        if (check_crc_) {
            auto good = record::check_crc(view.value());
            if (!good) return corrupt_at(path_, position, good.error().detail);
        }
        return std::optional<std::string_view>(batch);
    }
}

}  // namespace

// ---- states ---------------------------------------------------------------------------------------------------------

std::string PartitionState::encode() const {
    std::string out;
    WireWriter w(out);
    w.u8(state_version);
    w.i64(start_offset);
    w.i64(end_offset);
    w.i64(open_index.base_offset);
    w.u64(open_index.position);
    w.i64(open_index.min_time_ms);
    w.i64(open_index.max_time_ms);
    w.u32(static_cast<std::uint32_t>(segments.size()));
    for (const SegmentState& segment : segments) {
        w.i64(segment.base_offset);
        w.u64(segment.log_bytes);
        w.u64(segment.index_bytes);
        w.i64(segment.min_time_ms);
        w.i64(segment.max_time_ms);
        w.i64(segment.last_append_ms);
        w.i64(segment.first_append_ms);
    }
    return out;
}

Result<PartitionState> PartitionState::decode(std::string_view bytes) {
    const Error bad{Errc::corrupt, "a checkpoint's partition state does not decode"};
    WireReader r(bytes);
    PartitionState state;
    if (r.u8() != state_version) return bad;
    state.start_offset = r.i64();
    state.end_offset = r.i64();
    state.open_index.base_offset = r.i64();
    state.open_index.position = r.u64();
    state.open_index.min_time_ms = r.i64();
    state.open_index.max_time_ms = r.i64();
    std::uint32_t count = r.u32();
    if (!r.ok() || r.left() != std::size_t{count} * segment_state_bytes) return bad;
    state.segments.resize(count);
    std::int64_t floor = -1;
    for (SegmentState& segment : state.segments) {
        segment.base_offset = r.i64();
        segment.log_bytes = r.u64();
        segment.index_bytes = r.u64();
        segment.min_time_ms = r.i64();
        segment.max_time_ms = r.i64();
        segment.last_append_ms = r.i64();
        segment.first_append_ms = r.i64();
        if (segment.base_offset <= floor || segment.log_bytes == 0 || segment.log_bytes > INT64_MAX ||
            segment.index_bytes > INT64_MAX)
            return bad;
        floor = segment.base_offset;
    }
    // A segment has a record, so its base offset is below the end.
    if (state.start_offset < 0 || state.start_offset > state.end_offset || floor >= state.end_offset) return bad;
    if (count == 0 ? state.open_index.position != 0 || state.start_offset != state.end_offset
                   : state.open_index.position > state.segments.back().log_bytes ||
                         state.segments.back().log_bytes - state.open_index.position > UINT32_MAX / 2 ||
                         state.segments.front().base_offset > state.start_offset)
        return bad;
    return state;
}

ReadBound read_bound(const PartitionState& state) {
    ReadBound bound;
    bound.start_offset = state.start_offset;
    bound.end_offset = state.end_offset;
    bound.last_segment = state.segments.empty() ? state.end_offset : state.segments.back().base_offset;
    bound.last_bytes = state.segments.empty() ? 0 : state.segments.back().log_bytes;
    return bound;
}

Result<std::unique_ptr<PartitionLog>> PartitionLog::open(os::Disk& disk, std::string dir, const PartitionState& state,
                                                         PartitionOptions options) {
    auto log = std::make_unique<SegmentedLog>(disk, std::move(dir), state, options);
    TRY(log->make_real());
    return std::unique_ptr<PartitionLog>(std::move(log));
}

Result<std::unique_ptr<PartitionReader>> PartitionReader::open(os::Disk& disk, std::string dir, const ReadBound& bound,
                                                               const ReadRange& range, bool check_crc) {
    auto reader = std::make_unique<SegmentReader>(disk, std::move(dir), bound, range, check_crc);
    TRY(reader->find_segments());
    return std::unique_ptr<PartitionReader>(std::move(reader));
}

}  // namespace weir::log
