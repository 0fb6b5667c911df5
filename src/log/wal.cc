#include "log/wal.h"

#include "base/check.h"
#include "base/limits.h"
#include "log/detail/wal_format.h"
#include "log/detail/wal_recovery.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <deque>
#include <optional>
#include <utility>

namespace weir::log {
namespace {

using namespace detail;

// Room that only marks may use, so that a log whose last file is full opens even where no other file can be made.
constexpr std::uint64_t reserve_bytes = page_bytes;
constexpr std::size_t spares_max = 2;
// A file system turns a block that was only reserved into a written one at the first write, and the fdatasync behind it
// then costs half as much again (135 against 89 us measured). Zeros written ahead in one go spare most flushes that;
// writes of this size and more pay it themselves, for them doubling the bytes would be dearer.
constexpr std::uint64_t zero_ahead_bytes = limits::mib;
constexpr std::uint64_t zero_ahead_write_max = 256 * limits::kib;

const std::string& zeros() {
    static const std::string bytes(static_cast<std::size_t>(zero_ahead_bytes + page_bytes), '\0');
    return bytes;
}

// What of a shard must be known to check and carry on.
struct ShardState {
    struct Run {
        LogIndex first;
        Term term;
    };
    ShardStart start;
    LogIndex last;          // its last entry, or its checkpoint
    std::vector<Run> runs;  // of the entries above the checkpoint, ascending

    std::optional<Term> term_at(LogIndex index) const {
        if (index == start.checkpoint_index) return start.checkpoint_term;
        if (index > last) return std::nullopt;
        for (auto run = runs.rbegin(); run != runs.rend(); ++run) {
            if (run->first <= index) return run->term;
        }
        return std::nullopt;
    }
    void add(LogIndex index, Term term) {
        while (!runs.empty() && runs.back().first >= index)
            runs.pop_back();
        if (runs.empty() || runs.back().term != term) runs.push_back({index, term});
        last = index;
    }
    void trim() {
        while (runs.size() > 1 && runs[1].first <= LogIndex(start.checkpoint_index.value + 1))
            runs.erase(runs.begin());
    }
};

class WalFiles final : public Wal {
  public:
    WalFiles(os::Disk& disk, std::string dir, WalOptions options)
        : disk_(disk), dir_(std::move(dir)), options_(options) {
        options_.file_bytes = round_up(std::max<std::uint64_t>(options_.file_bytes, records_at + 2 * reserve_bytes));
    }

    ~WalFiles() override { close(); }

    // Takes over what recovery found, makes its tail durable, and puts a mark behind it.
    Status start(Recovery recovered) {
        for (auto& [shard, found] : recovered.shards) {
            ShardState state{found.start, found.start.checkpoint_index, {}};
            for (const auto& entry : found.entries)
                state.add(entry.index, entry.term);
            shards_.emplace(shard, std::move(state));
        }
        recovered_ = std::move(recovered.shards);
        sequence_max_ = recovered.sequence_max;
        slots_ = recovered.slots;
        boot_ = recovered.boot + 1;
        // The process before may have died, in this same boot of the machine, before it made its files' names durable.
        TRY(disk_.sync_dir(dir_));
        for (const auto& spare : recovered.spares)
            TRY(keep_or_remove(spare));
        if (recovered.files.empty()) {
            TRY(roll(0));
        } else {
            TRY(resume(recovered));
        }
        publish();
        return {};
    }

    const std::map<ShardId, RecoveredShard>& recovered() const override { return recovered_; }
    void forget_recovered() override { recovered_.clear(); }

    Status append(const std::vector<WalEntry>& entries, std::vector<WalPlace>& places) override {
        places.clear();
        if (entries.empty()) return {};
        const std::uint64_t bytes = TRY(check_entries(entries));
        TRY(make_room(bytes));
        TRY(write_entries(entries, places));
        for (const auto& entry : entries) {
            auto& shard = shards_.at(entry.shard);
            if (entry.index <= shard.last) supersede(entry.shard, entry.index);
            shard.add(entry.index, entry.term);
            files_.back().highest[entry.shard] = entry.index;
        }
        publish();
        return {};
    }

    Status append_start(ShardId shard, const ShardStart& start) override {
        if (start.membership.size() > membership_bytes_max) {
            return Error{Errc::too_large,
                         "a shard's membership of " + std::to_string(start.membership.size()) + " bytes"};
        }
        auto found = shards_.find(shard);
        const bool is_same = found != shards_.end() && found->second.start.incarnation == start.incarnation;
        if (is_same && start.checkpoint_index < found->second.start.checkpoint_index) {
            return Error{Errc::invalid_argument,
                         "a checkpoint of shard " + std::to_string(shard.value) + " that goes back"};
        }
        // Entries above a checkpoint that was installed from elsewhere follow it only where its entry is ours too.
        const bool keeps = is_same && found->second.term_at(start.checkpoint_index) == start.checkpoint_term;
        const std::string payload = encode_start(start);
        RecordHeader header;
        header.type = static_cast<std::uint8_t>(RecordType::start);
        header.entry_type = keeps ? 0 : 1;
        header.shard = shard.value;
        header.term = start.term.value;
        TRY(make_room(sizeof header + payload.size()));
        TRY(write_one(header, payload));
        if (keeps) {
            found->second.start = start;
            found->second.last = std::max(found->second.last, start.checkpoint_index);
            found->second.trim();
        } else {
            forget_entries(shard);
            shards_[shard] = ShardState{start, start.checkpoint_index, {}};
        }
        publish();
        return {};
    }

    Status append_tombstone(ShardId shard) override {
        if (!shards_.contains(shard)) {
            return Error{Errc::not_found, "the write-ahead log has no shard " + std::to_string(shard.value)};
        }
        RecordHeader header;
        header.type = static_cast<std::uint8_t>(RecordType::tombstone);
        header.shard = shard.value;
        TRY(make_room(sizeof header));
        TRY(write_one(header, {}));
        forget_entries(shard);
        shards_.erase(shard);
        publish();
        return {};
    }

    Status sync() override {
        TRY(check_alive());
        if (end_ == synced_ && !is_dirty_) return {};
        TRY(sync_file(*file_));
        synced_ = end_;
        is_dirty_ = false;
        return {};
    }

    std::uint64_t bytes_in_use() const override { return in_use_.load(std::memory_order_relaxed); }

    bool wants_checkpoint(ShardId& which) const override {
        const std::int32_t pinning = pinning_.load(std::memory_order_relaxed);
        if (pinning < 0 || bytes_in_use() <= options_.wal_bytes) return false;
        which = ShardId(static_cast<std::uint16_t>(pinning));
        return true;
    }

  private:
    // --- opening and closing

    Status resume(Recovery& recovered) {
        files_.assign(recovered.files.begin(), recovered.files.end());
        file_ = std::move(recovered.file);
        seed(recovered.header);
        end_ = recovered.end;
        crc_ = recovered.crc;
        zeroed_ = end_;
        // Nothing says that what we read is on the disk: the process before may have died between a write and its
        // flush, or because of a flush that failed. Written again it is dirty again, and this sync means it.
        std::string buffer;
        for (std::uint64_t at = recovered.proven;
             at < end_;) {  // from 0, the header too, where no mark proves anything
            buffer.resize(static_cast<std::size_t>(std::min<std::uint64_t>(window_bytes, end_ - at)));
            std::span<char> part(buffer);
            const std::size_t got = TRY(file_->read_at(at, part));
            if (got != part.size()) {
                return Error{Errc::io, "write-ahead log " + slot_path(dir_, files_.back().slot) +
                                           " became shorter while it was read"};
            }
            const std::string_view pieces[] = {{part.data(), got}};
            TRY(file_->write_at(at, pieces));
            at += got;
        }
        if (recovered.header_damaged) {
            const std::string head = header_pages(recovered.header);
            const std::string_view pieces[] = {head};
            TRY(file_->write_at(0, pieces));
        }
        TRY(sync_file(*file_));
        synced_ = end_;
        if (end_ + mark_bytes > files_.back().bytes) {
            // Not even the reserve is left. The new file's header carries the boot.
            return roll(0);
        }
        TRY(write_mark(false));
        return sync();
    }

    // Leaves the log such that what was synced last is proven to have been.
    void close() {
        if (failed_ || file_ == nullptr) return;
        if (!sync() || end_ + mark_bytes > files_.back().bytes) return;
        if (write_mark(true)) (void)file_->sync();
    }

    Status check_alive() const {
        if (failed_) return Error{Errc::io, "the write-ahead log failed before; the process must end"};
        return {};
    }

    // Passes `status` on; anything but a full disk is the end of this object.
    Status fatal_unless_full(Status status) {
        if (!status && status.error().code != Errc::disk_full) failed_ = true;
        return status;
    }

    Status sync_file(os::File& file) {
        auto status = file.sync();
        if (status) return status;
        failed_ = true;
        // Even where the reason was a full disk: the kernel may have dropped the bytes.
        Error error = std::move(status).error();
        error.code = Errc::io;
        return error;
    }

    // --- which files are needed

    bool is_needed_by(const LiveFile& file, ShardId& which) const {
        for (const auto& [shard, index] : file.highest) {
            auto found = shards_.find(shard);
            if (found != shards_.end() && index > found->second.start.checkpoint_index) {
                which = shard;
                return true;
            }
        }
        return false;
    }

    void publish() {
        std::uint64_t bytes = 0;
        std::int32_t pinning = -1;
        for (std::size_t i = 0; i < files_.size(); i++) {
            ShardId which;
            if (pinning < 0 && is_needed_by(files_[i], which)) pinning = which.value;
            if (pinning >= 0 || i + 1 == files_.size()) bytes += files_[i].bytes;
        }
        in_use_.store(bytes, std::memory_order_relaxed);
        pinning_.store(pinning, std::memory_order_relaxed);
    }

    void forget_entries(ShardId shard) {
        for (auto& file : files_)
            file.highest.erase(shard);
    }

    // Entries from `index` on do not count any more: they must not pin the files that hold them.
    void supersede(ShardId shard, LogIndex index) {
        for (auto& file : files_) {
            auto highest = file.highest.find(shard);
            if (highest != file.highest.end() && highest->second >= index) highest->second = LogIndex(index.value - 1);
        }
    }

    Status keep_or_remove(const SpareFile& spare) {
        if (spare.bytes == options_.file_bytes && spares_.size() < spares_max) {
            spares_.push_back(spare);
            return {};
        }
        // A file that is still there after a power cut is found spare again.
        auto removed = disk_.remove(slot_path(dir_, spare.slot));
        if (!removed && removed.error().code == Errc::not_found) return {};
        return removed;
    }

    // --- rolling

    Status make_room(std::uint64_t bytes) {
        TRY(check_alive());
        if (!must_roll_ && end_ + mark_bytes + bytes + reserve_bytes <= files_.back().bytes) return {};
        return roll(bytes);
    }

    struct Opened {
        SpareFile slot;
        std::unique_ptr<os::File> file;
    };

    Result<Opened> open_next(std::uint64_t bytes) {
        auto spare = std::ranges::find_if(spares_, [&](const SpareFile& s) { return s.bytes >= bytes; });
        if (spare != spares_.end()) {
            Opened opened{*spare, TRY(disk_.open(slot_path(dir_, spare->slot), os::OpenMode::write))};
            spares_.erase(spare);
            return opened;
        }
        Opened opened{{slots_, bytes}, nullptr};
        const std::string path = slot_path(dir_, slots_);
        opened.file = TRY(disk_.open(path, os::OpenMode::create_new));
        slots_++;
        has_new_name_ = true;
        auto allocated = opened.file->allocate(bytes);
        if (!allocated) {
            (void)disk_.remove(path);  // blank as it is, the next start would take it for a spare or remove it
            return std::move(allocated).error();
        }
        return opened;
    }

    // Goes on in another file with room for `bytes`. The order is the point: what the old file holds is durable before
    // the new header says where it was left; the new header and every shard's start are durable before anything stands
    // behind them, and before any older file is given up on their word.
    Status roll(std::uint64_t bytes) {
        std::uint64_t starts_bytes = 0;
        std::vector<std::pair<ShardId, std::string>> starts;
        for (const auto& [shard, state] : shards_) {
            starts.emplace_back(shard, encode_start(state.start));
            starts_bytes += sizeof(RecordHeader) + starts.back().second.size();
        }
        const std::uint64_t wanted = round_up(records_at + starts_bytes + mark_bytes + bytes + reserve_bytes);
        auto opened = open_next(std::max(options_.file_bytes, wanted));
        if (!opened) return fatal_unless_full(std::move(opened).error());
        Opened next = std::move(opened).value();
        if (file_ != nullptr) TRY(sync());

        FileHeader header = next_header(next.slot.bytes, static_cast<std::uint32_t>(starts.size()));
        std::string head = header_pages(header);
        std::uint32_t crc = chain_seed(header);
        for (const auto& [shard, payload] : starts) {
            RecordHeader record;
            record.type = static_cast<std::uint8_t>(RecordType::start);
            record.shard = shard.value;
            record.term = shards_.at(shard).start.term.value;
            record.length = static_cast<std::uint32_t>(payload.size());
            crc = crc32c(record_crc(crc, record), payload);
            record.crc = crc;
            head.append(bytes_of(record)).append(payload);
        }
        const std::uint64_t end = head.size();
        head.resize(static_cast<std::size_t>(round_up(end)), '\0');
        const std::string_view pieces[] = {head};
        auto written = next.file->write_at(0, pieces);
        if (!written) {
            // The disk may hold a whole header that says where the old file was left: that must stay true.
            must_roll_ = file_ != nullptr;
            spares_.push_back(next.slot);
            return fatal_unless_full(std::move(written));
        }
        TRY(sync_file(*next.file));
        const bool is_new = has_new_name_;
        if (is_new) TRY(fatal(disk_.sync_dir(dir_)));
        has_new_name_ = false;

        file_ = std::move(next.file);
        seed(header);
        must_roll_ = false;
        end_ = synced_ = end;
        crc_ = crc;
        zeroed_ = is_new ? head.size() : next.slot.bytes;
        files_.push_back({next.slot.slot, header.sequence, next.slot.bytes, {}});
        while (files_.front().sequence < header.oldest_sequence) {
            TRY(fatal(keep_or_remove({files_.front().slot, files_.front().bytes})));
            files_.pop_front();
        }
        return {};
    }

    Status fatal(Status status) {
        if (!status) failed_ = true;
        return status;
    }

    FileHeader next_header(std::uint64_t file_bytes, std::uint32_t start_count) {
        FileHeader header;
        std::memcpy(header.magic, file_magic.data(), file_magic.size());
        header.version = format_version;
        header.sequence = ++sequence_max_;  // a number whose header failed to be written is never used again
        header.boot = boot_;
        header.file_bytes = file_bytes;
        header.start_count = start_count;
        header.oldest_sequence = sequence_max_;
        for (const auto& file : files_) {
            ShardId ignored;
            if (!is_needed_by(file, ignored)) continue;
            header.oldest_sequence = file.sequence;
            break;
        }
        if (!files_.empty()) {
            header.previous_sequence = files_.back().sequence;
            header.previous_end = end_;
            header.previous_crc = crc_;
        }
        header.crc = header_crc(header);
        return header;
    }

    static std::string header_pages(const FileHeader& header) {
        std::string pages(static_cast<std::size_t>(records_at), '\0');
        const std::string_view bytes = bytes_of(header);
        bytes.copy(pages.data(), bytes.size());
        bytes.copy(pages.data() + second_header_at, bytes.size());
        return pages;
    }

    void seed(const FileHeader& header) {
        mark_key_ = mark_key(header);
        marked_synced_ = 0;
    }

    // --- writing records

    Result<std::uint64_t> check_entries(const std::vector<WalEntry>& entries) {
        std::uint64_t bytes = 0;
        std::map<ShardId, LogIndex> last;
        for (const auto& entry : entries) {
            auto found = shards_.find(entry.shard);
            if (found == shards_.end()) {
                return Error{Errc::invalid_argument,
                             "an entry of shard " + std::to_string(entry.shard.value) + ", which has no start"};
            }
            const auto& state = found->second;
            LogIndex& before = last.try_emplace(entry.shard, state.last).first->second;
            if (entry.index <= state.start.checkpoint_index || entry.index.value > before.value + 1) {
                return Error{Errc::invalid_argument, "entry " + std::to_string(entry.index.value) + " of shard " +
                                                         std::to_string(entry.shard.value) + " behind entry " +
                                                         std::to_string(before.value) + " and checkpoint " +
                                                         std::to_string(state.start.checkpoint_index.value)};
            }
            before = entry.index;
            std::uint64_t length = 0;
            for (auto piece : entry.payload)
                length += piece.size();
            if (length > limits::entry_bytes_max) {
                return Error{Errc::too_large, "an entry of " + std::to_string(length) + " bytes"};
            }
            bytes += sizeof(RecordHeader) + length;
        }
        return bytes;
    }

    struct MarkRecord {
        RecordHeader header;
        MarkPayload payload;
    };
    static_assert(sizeof(MarkRecord) == mark_bytes);

    // The mark that goes in front of the next record, chained; nullopt where the last one still says it all.
    std::optional<MarkRecord> next_mark(std::uint32_t& crc) {
        if (!must_mark_ && marked_synced_ == synced_) return std::nullopt;
        return make_mark(crc, false);
    }

    MarkRecord make_mark(std::uint32_t& crc, bool is_last) {
        MarkRecord mark;
        mark.header.type = static_cast<std::uint8_t>(RecordType::mark);
        mark.header.entry_type = is_last ? 1 : 0;
        mark.header.length = static_cast<std::uint32_t>(sizeof mark.payload);
        std::memcpy(mark.payload.magic, mark_magic.data(), mark_magic.size());
        mark.payload.boot = boot_;
        mark.payload.number = ++marks_;
        mark.payload.synced = synced_;
        mark.payload.check = mark_check(mark_key_, mark.payload, end_);
        crc = crc32c(record_crc(crc, mark.header), bytes_of(mark.payload));
        mark.header.crc = crc;
        return mark;
    }

    Status write_mark(bool is_last) {
        std::uint32_t crc = crc_;
        const MarkRecord mark = make_mark(crc, is_last);
        std::vector<std::string_view> pieces{bytes_of(mark)};
        return write(pieces, mark_bytes, crc, true);
    }

    Status write_one(RecordHeader header, std::string_view payload) {
        std::uint32_t crc = crc_;
        const auto mark = next_mark(crc);
        header.length = static_cast<std::uint32_t>(payload.size());
        crc = crc32c(record_crc(crc, header), payload);
        header.crc = crc;
        std::vector<std::string_view> pieces;
        if (mark) pieces.push_back(bytes_of(*mark));
        pieces.push_back(bytes_of(header));
        pieces.push_back(payload);
        return write(pieces, (mark ? mark_bytes : 0) + sizeof header + payload.size(), crc, mark.has_value());
    }

    Status write_entries(const std::vector<WalEntry>& entries, std::vector<WalPlace>& places) {
        std::uint32_t crc = crc_;
        const auto mark = next_mark(crc);
        std::uint64_t at = end_ + (mark ? mark_bytes : 0);
        std::vector<RecordHeader> headers(entries.size());
        std::vector<std::string_view> pieces;
        if (mark) pieces.push_back(bytes_of(*mark));
        places.reserve(entries.size());
        for (std::size_t i = 0; i < entries.size(); i++) {
            const WalEntry& entry = entries[i];
            RecordHeader& header = headers[i];
            std::size_t length = 0;
            for (auto piece : entry.payload)
                length += piece.size();
            header.length = static_cast<std::uint32_t>(length);
            header.type = static_cast<std::uint8_t>(RecordType::entry);
            header.entry_type = entry.entry_type;
            header.shard = entry.shard.value;
            header.index = entry.index.value;
            header.term = entry.term.value;
            places.push_back({files_.back().slot, files_.back().sequence, at, header.length, crc});
            crc = record_crc(crc, header);
            pieces.push_back(bytes_of(header));
            for (auto piece : entry.payload) {
                crc = crc32c(crc, piece);
                pieces.push_back(piece);
            }
            header.crc = crc;
            at += sizeof header + length;
        }
        auto status = write(pieces, at - end_, crc, mark.has_value());
        if (!status) places.clear();
        return status;
    }

    // Puts `pieces` (`bytes` in all) at the end and, behind them, zeros: to the page's end, so that a page of a file
    // used again need not be read in before a part of it is overwritten, or further (see zero_ahead_bytes).
    Status write(std::vector<std::string_view>& pieces, std::uint64_t bytes, std::uint32_t crc, bool has_mark) {
        const std::uint64_t end = end_ + bytes;
        std::uint64_t filled = std::min(round_up(end), files_.back().bytes);
        CHECK(end <= filled);
        const bool is_ahead = end > zeroed_ && bytes < zero_ahead_write_max;
        if (is_ahead) filled = std::min(round_up(end) + zero_ahead_bytes, files_.back().bytes);
        if (filled > end) pieces.push_back(std::string_view(zeros()).substr(0, static_cast<std::size_t>(filled - end)));
        auto status = file_->write_at(end_, pieces);
        if (!status) {
            // Some of it may stand there, whole and chained: the next write must not continue it by accident, and until
            // there is one a restart had better not find what the caller was told is not there.
            must_mark_ = true;
            is_dirty_ = true;
            const RecordHeader blank;
            const std::string_view nothing[] = {bytes_of(blank)};
            if (status.error().code == Errc::disk_full) (void)file_->write_at(end_, nothing);
            return fatal_unless_full(std::move(status));
        }
        if (has_mark) {
            must_mark_ = false;
            marked_synced_ = synced_;
        }
        end_ = end;
        crc_ = crc;
        zeroed_ = std::max(zeroed_, filled);
        return {};
    }

    os::Disk& disk_;
    const std::string dir_;
    WalOptions options_;
    std::map<ShardId, RecoveredShard> recovered_;
    std::map<ShardId, ShardState> shards_;
    std::deque<LiveFile> files_;  // oldest first; the last is written to
    std::vector<SpareFile> spares_;
    std::uint32_t slots_ = 0;  // the next new file's
    std::uint64_t sequence_max_ = 0;
    std::uint64_t boot_ = 0;
    std::uint64_t marks_ = 0;  // made since the opening

    std::unique_ptr<os::File> file_;  // files_.back()
    std::uint64_t mark_key_ = 0;
    std::uint64_t end_ = 0;            // where the next record goes
    std::uint32_t crc_ = 0;            // of the last record
    std::uint64_t synced_ = 0;         // durable up to here
    std::uint64_t marked_synced_ = 0;  // what the last mark said
    std::uint64_t zeroed_ = 0;         // blocks below are written ones
    bool is_dirty_ = false;            // a write that failed left something
    bool has_new_name_ = false;        // a file was made since the folder was synced
    bool must_mark_ = false;           // a write failed: what follows needs a new chain
    bool must_roll_ = false;           // a header that names this file's end may be on disk: nothing goes behind it
    bool failed_ = false;

    std::atomic<std::uint64_t> in_use_{0};
    std::atomic<std::int32_t> pinning_{-1};
};

}  // namespace

Result<std::unique_ptr<Wal>> Wal::open(os::Disk& disk, std::string dir, WalOptions options) {
    TRY(disk.make_dirs(dir));
    auto recovered = TRY(recover(disk, dir));
    auto wal = std::make_unique<WalFiles>(disk, std::move(dir), options);
    TRY(wal->start(std::move(recovered)));
    return std::unique_ptr<Wal>(std::move(wal));
}

Result<std::string> read_entry(os::Disk& disk, const std::string& dir, const WalPlace& place) {
    const std::string path = slot_path(dir, place.slot);
    if (place.length > limits::entry_bytes_max) {
        return Error{Errc::invalid_argument, "an entry of " + std::to_string(place.length) + " bytes in " + path};
    }
    auto file = TRY(disk.open(path, os::OpenMode::read));
    std::string payload(place.length, '\0');
    RecordHeader header;
    std::array<char, sizeof header> head{};
    const bool is_whole = TRY(file->read_at(place.offset, head)) == head.size() &&
                          TRY(file->read_at(place.offset + head.size(), payload)) == payload.size();
    std::memcpy(&header, head.data(), sizeof header);
    if (is_whole && static_cast<RecordType>(header.type) == RecordType::entry && header.length == place.length &&
        crc32c(record_crc(place.previous_crc, header), payload) == header.crc) {
        return payload;
    }
    // Only now: is it still the file that it was?
    FileHeader opened;
    std::array<char, sizeof opened> first{};
    for (std::uint64_t copy : {std::uint64_t{0}, second_header_at}) {
        if (TRY(file->read_at(copy, first)) != first.size()) continue;
        std::memcpy(&opened, first.data(), sizeof opened);
        if (std::string_view(opened.magic, sizeof opened.magic) == file_magic && opened.crc == header_crc(opened) &&
            opened.sequence != place.sequence) {
            return Error{Errc::not_found, "the entry at offset " + std::to_string(place.offset) + " of " + path +
                                              " has been overwritten"};
        }
    }
    return Error{Errc::corrupt,
                 "write-ahead log " + path + ", offset " + std::to_string(place.offset) +
                     ": an entry does not check; restore this node from a backup or let it join its cluster again"};
}

}  // namespace weir::log
