// Writing and reading of a stream's journal; the format stands in journal.h.
#include "log/journal.h"

#include "base/check.h"
#include "base/crc32c.h"
#include "base/limits.h"
#include "base/wire.h"
#include "log/detail/folder.h"

#include <algorithm>
#include <cstring>
#include <utility>

namespace weir::log {
namespace {

constexpr std::uint8_t state_version = 1;
constexpr std::size_t record_prefix_bytes = 8;  // length and crc, not counted in the length
constexpr std::size_t record_fixed_bytes = 25;  // index to batch count
constexpr std::size_t record_batch_bytes = 16;
// An entry has a batch a partition or a few; more than this fits no entry.
constexpr std::uint32_t record_batches_max = limits::entry_bytes_max / 64;
constexpr std::size_t file_state_bytes = 32;
constexpr std::size_t read_block_bytes = 256 * limits::kib;

std::string journal_name(LogIndex index) {
    return detail::numbered_name(index.value, ".jnl");
}

Error corrupt_at(const std::string& path, std::uint64_t position, const std::string& what) {
    return Error{Errc::corrupt, path + " at byte " + std::to_string(position) + ": " + what};
}

void encode_record(const JournalRecord& record, std::string& out) {
    const std::size_t begin = out.size();
    WireWriter w(out);
    w.u32(static_cast<std::uint32_t>(record_fixed_bytes + record.batches.size() * record_batch_bytes));
    w.u32(0);
    w.u64(record.index.value);
    w.i64(record.append_time_ms);
    w.u32(record.definition_version);
    w.u8(static_cast<std::uint8_t>(record.kind));
    w.u32(static_cast<std::uint32_t>(record.batches.size()));
    for (const JournalBatch& batch : record.batches) {
        w.i32(batch.partition);
        w.u32(batch.count);
        w.i64(batch.base_offset);
    }
    std::string_view body = std::string_view(out).substr(begin + record_prefix_bytes);
    out.replace(begin + 4, 4, bytes_of(le32(crc32c(0, body))));
}

// ---- Journal --------------------------------------------------------------------------------------------------------

class FileJournal final : public Journal {
  public:
    FileJournal(os::Disk& disk, std::string dir, JournalState state, JournalOptions options)
        : disk_(disk), dir_(std::move(dir)), state_(std::move(state)), options_(options), dirty_(disk) {
        last_index_ = state_.last_index;
        options_.file_ms = std::max<std::int64_t>(options_.file_ms, 1);
    }

    Status make_real();
    Status append(const JournalRecord& record) override;
    void set_options(const JournalOptions& options) override {
        CHECK(queue_.empty());
        options_ = options;
        options_.file_ms = std::max<std::int64_t>(options_.file_ms, 1);
    }
    Status flush() override;
    Status sync() override { return dirty_.sync(); }
    const JournalState& state() const override { return state_; }
    std::vector<std::shared_ptr<os::File>> take_dirty_files() override { return dirty_.take(); }
    std::vector<std::string> advance_start(LogIndex index) override;
    std::vector<std::string> advance_before(std::int64_t append_ms) override;

  private:
    std::vector<std::string> forget_first(std::size_t count);

    // Records of one index stay in one file: else two files could have one name, and an index two places.
    struct Group {
        LogIndex index;
        std::size_t end = 0;  // in queue_
        std::int64_t first_append_ms = 0, last_append_ms = 0;
    };

    os::Disk& disk_;
    const std::string dir_;
    JournalState state_;
    JournalOptions options_;
    LogIndex last_index_;             // what is queued included
    std::string queue_;               // encoded records
    std::vector<Group> groups_;       // of the queue
    std::shared_ptr<os::File> file_;  // the last file; opened by the first flush()
    detail::DirtyFiles dirty_;
};

Status FileJournal::make_real() {
    TRY(detail::make_folder(disk_, dir_, state_.files.empty(), dirty_));
    for (const std::string& name : TRY(disk_.list(dir_))) {
        auto index = detail::parse_numbered_name(name, ".jnl");
        if (!index || std::ranges::binary_search(state_.files, LogIndex(*index), {}, &JournalFileState::first_index))
            continue;
        TRY(disk_.remove(dir_ + "/" + name));
        dirty_.names_changed(dir_);
    }
    for (const JournalFileState& file : state_.files)
        TRY(detail::cut_file(disk_, dir_ + "/" + journal_name(file.first_index), file.bytes, dirty_));
    return {};
}

Status FileJournal::append(const JournalRecord& record) {
    if (record.index.value == 0 || record.index < last_index_ || record.index.value > INT64_MAX)
        return Error{Errc::invalid_argument, dir_ + ": a record of index " + std::to_string(record.index.value) +
                                                 " after one of " + std::to_string(last_index_.value)};
    if (state_.files.empty() && record.index == state_.last_index)
        return Error{Errc::invalid_argument, dir_ + ": a record of index " + std::to_string(record.index.value) +
                                                 ", which retention has passed"};
    if (record.batches.size() > record_batches_max)
        return Error{Errc::too_large, dir_ + ": a record of " + std::to_string(record.batches.size()) + " batches"};
    encode_record(record, queue_);
    if (groups_.empty() || record.index != groups_.back().index)
        groups_.push_back({record.index, 0, record.append_time_ms, record.append_time_ms});
    groups_.back().end = queue_.size();
    groups_.back().last_append_ms = std::max(groups_.back().last_append_ms, record.append_time_ms);
    last_index_ = record.index;
    return {};
}

Status FileJournal::flush() {
    if (queue_.empty()) return {};
    std::vector<JournalFileState> written;  // [0] replaces the last file where there is one
    std::shared_ptr<os::File> file;
    JournalFileState at;
    if (!state_.files.empty()) {
        at = state_.files.back();
        if (!file_) file_ = TRY(disk_.open(dir_ + "/" + journal_name(at.first_index), os::OpenMode::write));
        file = file_;
    }
    std::size_t begin = 0, end = 0;  // of the queue: what goes to `file` next
    auto write = [&]() -> Status {
        if (begin == end) return {};
        std::string_view piece = std::string_view(queue_).substr(begin, end - begin);
        dirty_.add(file);
        TRY(file->write_at(at.bytes, std::span(&piece, 1)));
        at.bytes += piece.size();
        begin = end;
        return {};
    };
    for (const Group& group : groups_) {
        const bool goes_on = group.index == state_.last_index;
        const bool is_full = at.bytes + (group.end - begin) > options_.file_bytes ||
                             detail::is_aged(at.first_append_ms, group.first_append_ms, options_.file_ms);
        if (!file || (!goes_on && is_full && at.bytes + (end - begin) > 0)) {
            if (file) {
                TRY(write());
                written.push_back(at);
            }
            // A flush() that failed may have made and filled it before.
            file = TRY(disk_.open(dir_ + "/" + journal_name(group.index), os::OpenMode::create));
            if (TRY(file->size()) > 0) TRY(file->truncate(0));
            dirty_.names_changed(dir_);
            at = {group.index, 0, group.first_append_ms, group.last_append_ms};
        }
        at.last_append_ms = std::max(at.last_append_ms, group.last_append_ms);
        end = group.end;
    }
    TRY(write());
    written.push_back(at);

    if (!state_.files.empty()) state_.files.pop_back();
    state_.files.insert(state_.files.end(), written.begin(), written.end());
    state_.last_index = last_index_;
    file_ = std::move(file);
    queue_.clear();
    groups_.clear();
    return {};
}

std::vector<std::string> FileJournal::advance_start(LogIndex index) {
    std::size_t count = 0;
    while (count + 1 < state_.files.size() && state_.files[count + 1].first_index <= index)
        count++;
    return forget_first(count);
}

std::vector<std::string> FileJournal::advance_before(std::int64_t append_ms) {
    std::size_t count = 0;
    while (count < state_.files.size() && state_.files[count].last_append_ms < append_ms)
        count++;
    if (!queue_.empty() && count == state_.files.size() && count > 0) count--;
    return forget_first(count);
}

std::vector<std::string> FileJournal::forget_first(std::size_t count) {
    std::vector<std::string> gone;
    for (std::size_t i = 0; i < count; i++)
        gone.push_back(dir_ + "/" + journal_name(state_.files[i].first_index));
    state_.files.erase(state_.files.begin(), state_.files.begin() + static_cast<std::ptrdiff_t>(count));
    if (state_.files.empty()) file_.reset();
    return gone;
}

// ---- JournalReader --------------------------------------------------------------------------------------------------

class FileJournalReader final : public JournalReader {
  public:
    FileJournalReader(os::Disk& disk, std::string dir, const JournalState& bound, LogIndex from, JournalPlace place)
        : disk_(disk), dir_(std::move(dir)), files_(bound.files), from_(from) {
        const auto known = std::ranges::find(files_, place.file, &JournalFileState::first_index);
        if (known != files_.end() && place.position <= known->bytes) {
            files_.erase(files_.begin(), known);
            first_position_ = place.position;
            return;
        }
        // The last file that begins at or below `from`: indexes within a file ascend.
        auto first = std::ranges::upper_bound(files_, from_, {}, &JournalFileState::first_index);
        if (first != files_.begin()) files_.erase(files_.begin(), first - 1);
    }

    JournalPlace place() const override {
        if (file_) return {files_[at_file_].first_index, position_ + at_};
        if (at_file_ < files_.size()) return {files_[at_file_].first_index, first_position_};
        if (files_.empty()) return {};
        return {files_.back().first_index, files_.back().bytes};
    }

    Result<std::optional<JournalRecord>> next() override {
        auto result = step();
        if (!result) files_.clear();
        return result;
    }

  private:
    Result<std::optional<JournalRecord>> step();
    Status open_file();
    Status fill(std::size_t wanted);
    Result<JournalRecord> decode(std::string_view body, std::uint64_t position) const;

    os::Disk& disk_;
    const std::string dir_;
    std::vector<JournalFileState> files_;
    const LogIndex from_;
    std::size_t at_file_ = 0;
    std::uint64_t first_position_ = 0;  // where reading begins in the next file that is opened

    std::string path_;
    std::unique_ptr<os::File> file_;
    LogIndex last_index_;       // of the records read so far
    std::vector<char> buffer_;  // have_ bytes of the file from position_ on; at_ of them were read
    std::uint64_t position_ = 0;
    std::size_t have_ = 0, at_ = 0;
};

Status FileJournalReader::open_file() {
    path_ = dir_ + "/" + journal_name(files_[at_file_].first_index);
    auto opened = disk_.open(path_, os::OpenMode::read);
    if (!opened) {
        if (opened.error().code != Errc::not_found) return opened.error();
        return Error{Errc::not_found, path_ + " was removed meanwhile"};
    }
    file_ = std::move(opened).value();
    std::uint64_t bytes = TRY(file_->size());
    if (bytes < files_[at_file_].bytes)
        return corrupt_at(path_, bytes,
                          "the file ends here, expected " + std::to_string(files_[at_file_].bytes) + " bytes");
    position_ = std::exchange(first_position_, 0);
    have_ = at_ = 0;
    return {};
}

Status FileJournalReader::fill(std::size_t wanted) {
    const std::size_t rest = have_ - at_;
    const std::uint64_t left = files_[at_file_].bytes - position_ - have_;
    const std::size_t capacity = std::max(std::min<std::size_t>(read_block_bytes, rest + left), wanted);
    if (buffer_.size() < capacity) {
        std::vector<char> larger(capacity);
        std::copy_n(buffer_.data() + at_, rest, larger.data());
        buffer_ = std::move(larger);
    } else {
        std::memmove(buffer_.data(), buffer_.data() + at_, rest);
    }
    position_ += at_;
    at_ = 0;
    have_ = rest;
    const std::size_t bytes = static_cast<std::size_t>(std::min<std::uint64_t>(left, buffer_.size() - rest));
    have_ += TRY(file_->read_at(position_ + rest, std::span(buffer_.data() + rest, bytes)));
    if (have_ < wanted) return corrupt_at(path_, position_ + have_, "the file became shorter");
    return {};
}

Result<JournalRecord> FileJournalReader::decode(std::string_view body, std::uint64_t position) const {
    WireReader r(body);
    JournalRecord record;
    record.index = LogIndex(r.u64());
    record.append_time_ms = r.i64();
    record.definition_version = r.u32();
    const std::uint8_t kind = r.u8();
    const std::uint32_t count = r.u32();
    if (!r.ok() || r.left() != std::size_t{count} * record_batch_bytes)
        return corrupt_at(path_, position, "a record's length and batch count disagree");
    if (kind > static_cast<std::uint8_t>(JournalKind::flush))
        return corrupt_at(path_, position, "a record of unknown kind " + std::to_string(kind));
    record.kind = static_cast<JournalKind>(kind);
    record.batches.resize(count);
    for (JournalBatch& batch : record.batches) {
        batch.partition = r.i32();
        batch.count = r.u32();
        batch.base_offset = r.i64();
    }
    if (record.index < last_index_ || record.index < files_[at_file_].first_index)
        return corrupt_at(path_, position,
                          "a record of index " + std::to_string(record.index.value) + " after one of " +
                              std::to_string(last_index_.value));
    return record;
}

Result<std::optional<JournalRecord>> FileJournalReader::step() {
    for (;;) {
        if (at_file_ >= files_.size()) return std::optional<JournalRecord>();
        if (!file_) TRY(open_file());
        const std::uint64_t position = position_ + at_;
        const std::uint64_t left = files_[at_file_].bytes - position;
        if (left == 0) {
            file_.reset();
            at_file_++;
            continue;
        }
        if (left < record_prefix_bytes) return corrupt_at(path_, position, "the file ends within a record");
        if (have_ - at_ < record_prefix_bytes) TRY(fill(record_prefix_bytes));
        le32 length, crc;
        std::memcpy(&length, buffer_.data() + at_, sizeof length);
        std::memcpy(&crc, buffer_.data() + at_ + sizeof length, sizeof crc);
        if (length < record_fixed_bytes || length > left - record_prefix_bytes)
            return corrupt_at(path_, position, "a record with length " + std::to_string(length));
        const std::size_t bytes = record_prefix_bytes + length;
        if (have_ - at_ < bytes) TRY(fill(bytes));
        std::string_view body(buffer_.data() + at_ + record_prefix_bytes, length);
        if (crc32c(0, body) != crc) return corrupt_at(path_, position, "a record's checksum is wrong");
        JournalRecord record = TRY(decode(body, position));
        last_index_ = record.index;
        at_ += bytes;
        if (record.index >= from_) return std::optional<JournalRecord>(std::move(record));
    }
}

}  // namespace

// ---- states ---------------------------------------------------------------------------------------------------------

std::string JournalState::encode() const {
    std::string out;
    WireWriter w(out);
    w.u8(state_version);
    w.u64(last_index.value);
    w.u32(static_cast<std::uint32_t>(files.size()));
    for (const JournalFileState& file : files) {
        w.u64(file.first_index.value);
        w.u64(file.bytes);
        w.i64(file.first_append_ms);
        w.i64(file.last_append_ms);
    }
    return out;
}

std::optional<LogIndex> JournalState::first_index() const {
    if (files.empty()) return std::nullopt;
    return files.front().first_index;
}

Result<JournalState> JournalState::decode(std::string_view bytes) {
    const Error bad{Errc::corrupt, "a checkpoint's journal state does not decode"};
    WireReader r(bytes);
    JournalState state;
    if (r.u8() != state_version) return bad;
    state.last_index = LogIndex(r.u64());
    const std::uint32_t count = r.u32();
    if (!r.ok() || r.left() != std::size_t{count} * file_state_bytes) return bad;
    state.files.resize(count);
    LogIndex floor;
    for (JournalFileState& file : state.files) {
        file.first_index = LogIndex(r.u64());
        file.bytes = r.u64();
        file.first_append_ms = r.i64();
        file.last_append_ms = r.i64();
        if (file.first_index <= floor || file.bytes == 0 || file.bytes > INT64_MAX) return bad;
        floor = file.first_index;
    }
    if (floor > state.last_index || state.last_index.value > INT64_MAX) return bad;
    return state;
}

Result<std::unique_ptr<Journal>> Journal::open(os::Disk& disk, std::string dir, const JournalState& state,
                                               JournalOptions options) {
    auto journal = std::make_unique<FileJournal>(disk, std::move(dir), state, options);
    TRY(journal->make_real());
    return std::unique_ptr<Journal>(std::move(journal));
}

Result<std::unique_ptr<JournalReader>> JournalReader::open(os::Disk& disk, std::string dir, const JournalState& bound,
                                                           LogIndex from, JournalPlace place) {
    return std::unique_ptr<JournalReader>(
        std::make_unique<FileJournalReader>(disk, std::move(dir), bound, from, place));
}

}  // namespace weir::log
