#include "log/detail/wal_recovery.h"

#include "base/check.h"

#include <algorithm>
#include <charconv>
#include <functional>
#include <optional>
#include <utility>

namespace weir::log::detail {
namespace {

constexpr const char* advice = "; keep the file, and restore this node from a backup or let it join its cluster again";

Error corrupt_at(const std::string& path, std::uint64_t offset, const std::string& what) {
    return Error{Errc::corrupt,
                 "write-ahead log " + path + ", offset " + std::to_string(offset) + ": " + what + advice};
}

// "17.wal" -> 17; other names are not ours.
std::optional<std::uint32_t> slot_of(const std::string& name) {
    std::uint32_t slot = 0;
    const char* end = name.data() + name.size();
    auto [at, error] = std::from_chars(name.data(), end, slot);
    if (error != std::errc() || std::string_view(at, static_cast<std::size_t>(end - at)) != ".wal") return std::nullopt;
    if (name != std::to_string(slot) + ".wal" || slot == UINT32_MAX) return std::nullopt;
    return slot;
}

// Reads a file through one buffer, forward for the most part.
class Window {
  public:
    Window(os::File& file, std::uint64_t file_bytes)
        : file_(file), buffer_bytes_(static_cast<std::size_t>(std::min<std::uint64_t>(file_bytes + 1, window_bytes))) {}
    // `n` bytes at `offset`, fewer only at the end of the file; valid until the next call. n <= window_bytes.
    Result<std::string_view> at(std::uint64_t offset, std::size_t n) {
        DCHECK(n <= window_bytes);
        if (offset < offset_ || offset + n > offset_ + filled_) {
            if (offset >= offset_ && at_end_ && offset <= offset_ + filled_) return view(offset, n);
            buffer_.resize(std::max(n, buffer_bytes_));
            filled_ = 0;
            offset_ = offset;
            filled_ = TRY(file_.read_at(offset, buffer_));
            at_end_ = filled_ < buffer_.size();
        }
        return view(offset, n);
    }

  private:
    std::string_view view(std::uint64_t offset, std::size_t n) const {
        return std::string_view(buffer_.data(), filled_).substr(static_cast<std::size_t>(offset - offset_), n);
    }
    os::File& file_;
    const std::size_t buffer_bytes_;
    std::string buffer_;
    std::uint64_t offset_ = 0;
    std::size_t filled_ = 0;
    bool at_end_ = false;
};

struct OnDisk {
    std::uint32_t slot = 0;
    std::string path;
    std::unique_ptr<os::File> file;
    std::uint64_t bytes = 0;
    FileHeader header;
    bool damaged = false;  // one copy of the header
};

struct Record {
    RecordHeader header;
    std::uint64_t offset = 0;
    std::uint32_t previous_crc = 0;
    std::string_view payload;  // empty for entries
};

struct ScanEnd {
    std::uint64_t offset = records_at;
    std::uint32_t crc = 0;
    std::uint32_t records = 0;
};

using Visit = std::function<Status(const Record&)>;

// The record at `offset`, if one that checks is there. Errors: io.
Result<std::optional<Record>> read_record(Window& window, std::uint64_t offset, std::uint32_t previous) {
    std::optional<Record> none;
    auto bytes = TRY(window.at(offset, sizeof(RecordHeader)));
    if (bytes.size() < sizeof(RecordHeader)) return none;
    Record record;
    std::memcpy(&record.header, bytes.data(), sizeof record.header);
    record.offset = offset;
    record.previous_crc = previous;
    const std::uint32_t length = record.header.length;
    std::uint64_t length_max = 0;
    switch (static_cast<RecordType>(record.header.type)) {
        case RecordType::entry:
            length_max = limits::entry_bytes_max;
            break;
        case RecordType::start:
            length_max = membership_bytes_max + 64;
            break;
        case RecordType::tombstone:
            length_max = 0;
            break;
        case RecordType::mark:
            length_max = sizeof(MarkPayload);
            break;
        default:
            return none;
    }
    if (length > length_max) return none;
    std::uint32_t crc = record_crc(previous, record.header);
    std::uint64_t at = offset + sizeof(RecordHeader);
    if (static_cast<RecordType>(record.header.type) == RecordType::entry) {
        for (std::uint64_t left = length; left > 0;) {
            auto piece = TRY(window.at(at, static_cast<std::size_t>(std::min<std::uint64_t>(left, window_bytes))));
            if (piece.empty()) return none;
            crc = crc32c(crc, piece);
            at += piece.size();
            left -= piece.size();
        }
    } else {
        record.payload = TRY(window.at(at, length));
        if (record.payload.size() < length) return none;
        crc = crc32c(crc, record.payload);
    }
    if (crc != record.header.crc) return none;
    return std::optional<Record>(record);
}

// Visits records until one does not check or `end` (of the records wanted) is reached.
Result<ScanEnd> scan(const OnDisk& from, std::uint64_t end, std::uint32_t records_max, const Visit& visit) {
    Window window(*from.file, from.bytes);
    ScanEnd at{records_at, chain_seed(from.header), 0};
    while (at.offset < end && at.records < records_max) {
        auto record = TRY(read_record(window, at.offset, at.crc));
        if (!record) break;
        TRY(visit(*record));
        at.offset += sizeof(RecordHeader) + record->header.length;
        at.crc = record->header.crc;
        at.records++;
    }
    return at;
}

// Is there a mark behind `bad` that proves that what stands at `bad` was synced once?
Result<bool> proves_rot(const OnDisk& from, std::uint64_t bad) {
    Window window(*from.file, from.bytes);
    const std::uint64_t key = mark_key(from.header);
    for (std::uint64_t base = bad; base < from.bytes;) {
        auto bytes = TRY(window.at(base, window_bytes));
        for (std::size_t at = bytes.find(mark_magic); at != std::string_view::npos;
             at = bytes.find(mark_magic, at + 1)) {
            if (bytes.size() - at < sizeof(MarkPayload) || base + at < sizeof(RecordHeader)) break;
            MarkPayload mark;
            std::memcpy(&mark, bytes.data() + at, sizeof mark);
            if (mark.synced > bad && mark.check == mark_check(key, mark, base + at - sizeof(RecordHeader))) return true;
        }
        if (bytes.size() < window_bytes) break;
        base += window_bytes - sizeof(MarkPayload);  // one that lies across the border is whole in the next
    }
    return false;
}

enum class HeaderState : std::uint8_t { valid, blank, damaged };

HeaderState parse_header(std::string_view bytes, FileHeader& out) {
    if (bytes.size() < sizeof out)
        return bytes.find_first_not_of('\0') == std::string_view::npos ? HeaderState::blank : HeaderState::damaged;
    std::memcpy(&out, bytes.data(), sizeof out);
    if (std::string_view(out.magic, sizeof out.magic) == file_magic && out.version == format_version &&
        out.crc == header_crc(out) && out.sequence > 0 && out.previous_sequence < out.sequence &&
        out.oldest_sequence <= out.sequence && out.oldest_sequence > 0) {
        return HeaderState::valid;
    }
    return bytes.substr(0, sizeof out).find_first_not_of('\0') == std::string_view::npos ? HeaderState::blank
                                                                                         : HeaderState::damaged;
}

// Whether `found` has a header; false: it was never opened as a part of a log (or wiped).
Result<bool> read_header(OnDisk& found) {
    std::string head(static_cast<std::size_t>(records_at), '\0');
    head.resize(TRY(found.file->read_at(0, head)));
    FileHeader first;
    FileHeader second;
    std::string_view view = head;
    auto first_state = parse_header(view.substr(0, sizeof(FileHeader)), first);
    auto second_state = parse_header(
        view.substr(std::min<std::size_t>(view.size(), second_header_at)).substr(0, sizeof(FileHeader)), second);
    if (first_state != HeaderState::valid && second_state != HeaderState::valid) {
        if (first_state == HeaderState::blank && second_state == HeaderState::blank) return false;
        if (first_state == HeaderState::damaged && first.version != format_version &&
            std::string_view(first.magic, sizeof first.magic) == file_magic && first.crc == header_crc(first)) {
            return Error{Errc::unsupported, "write-ahead log " + found.path + " has format version " +
                                                std::to_string(first.version) + ", this program knows " +
                                                std::to_string(format_version)};
        }
        return corrupt_at(found.path, 0, "neither copy of the file's header checks");
    }
    // Two valid ones that differ: a power cut while the file was opened anew. The newer one is what was meant; whether
    // it counts, its shard starts decide.
    bool take_first =
        first_state == HeaderState::valid && (second_state != HeaderState::valid || first.sequence >= second.sequence);
    found.header = take_first ? first : second;
    found.damaged = bytes_of(first) != bytes_of(second);
    return true;
}

// Puts records together into what the log says.
class Replay {
  public:
    explicit Replay(Recovery& out) : out_(out) {}

    void begin_file(const OnDisk& from) {
        path_ = from.path;
        sequence_ = from.header.sequence;
        out_.files.push_back({from.slot, sequence_, from.bytes, {}});
        out_.boot = std::max<std::uint64_t>(out_.boot, from.header.boot);
        out_.proven = 0;
    }

    Status take(const Record& record) {
        const ShardId shard(record.header.shard);
        switch (static_cast<RecordType>(record.header.type)) {
            case RecordType::entry:
                return entry(shard, record);
            case RecordType::start:
                return start(shard, record);
            case RecordType::tombstone:
                forget_entries(shard);
                out_.shards.erase(shard);
                return {};
            case RecordType::mark: {
                if (record.payload.size() != sizeof(MarkPayload)) return nonsense(record, "a mark of a wrong length");
                MarkPayload mark;
                std::memcpy(&mark, record.payload.data(), sizeof mark);
                out_.boot = std::max<std::uint64_t>(out_.boot, mark.boot);
                if (mark.synced <= record.offset) out_.proven = std::max<std::uint64_t>(out_.proven, mark.synced);
                return {};
            }
        }
        return nonsense(record, "a record of an unknown type");
    }

    Status finish() {
        for (auto& [shard, state] : out_.shards) {
            auto& entries = state.entries;
            const LogIndex checkpoint = state.start.checkpoint_index;
            auto first = std::ranges::find_if(entries, [&](const RecoveredEntry& e) { return e.index > checkpoint; });
            entries.erase(entries.begin(), first);
            if (!entries.empty() && entries.front().index.value != checkpoint.value + 1) {
                return Error{Errc::corrupt, "write-ahead log of " + path_ + ": shard " + std::to_string(shard.value) +
                                                " has its checkpoint at " + std::to_string(checkpoint.value) +
                                                " and its first entry at " +
                                                std::to_string(entries.front().index.value) + advice};
            }
        }
        return {};
    }

  private:
    Error nonsense(const Record& record, const std::string& what) const {
        return corrupt_at(path_, record.offset, what);
    }

    void forget_entries(ShardId shard) {
        for (auto& file : out_.files)
            file.highest.erase(shard);
    }

    Status start(ShardId shard, const Record& record) {
        ShardStart read;
        if (!decode_start(record.payload, Term(record.header.term), read))
            return nonsense(record, "a shard start of a wrong form");
        auto [found, is_new] = out_.shards.try_emplace(shard);
        auto& state = found->second;
        if (!is_new && (record.header.entry_type == 1 || state.start.incarnation != read.incarnation)) {
            state.entries.clear();
            forget_entries(shard);
        }
        state.start = std::move(read);
        return {};
    }

    Status entry(ShardId shard, const Record& record) {
        auto found = out_.shards.find(shard);
        if (found == out_.shards.end()) return nonsense(record, "an entry of a shard that has no start");
        auto& entries = found->second.entries;
        const std::uint64_t index = record.header.index;
        if (index == 0) return nonsense(record, "an entry of index 0");
        if (!entries.empty()) {
            const std::uint64_t first = entries.front().index.value;
            const std::uint64_t last = entries.back().index.value;
            if (index > last + 1) {
                return nonsense(record, "entry " + std::to_string(index) + " follows entry " + std::to_string(last));
            }
            if (index <= last) {
                // It supersedes. Below the first that we have: what it also supersedes stood in a file that is gone.
                entries.resize(index < first ? 0 : static_cast<std::size_t>(index - first));
                for (auto& file : out_.files) {
                    auto highest = file.highest.find(shard);
                    if (highest != file.highest.end() && highest->second.value >= index) {
                        highest->second = LogIndex(index - 1);
                    }
                }
            }
        }
        entries.push_back(
            {LogIndex(index),
             Term(record.header.term),
             record.header.entry_type,
             {out_.files.back().slot, sequence_, record.offset, record.header.length, record.previous_crc}});
        out_.files.back().highest[shard] = LogIndex(index);
        return {};
    }

    Recovery& out_;
    std::string path_;
    std::uint64_t sequence_ = 0;
};

Status ignore_record(const Record&) {
    return {};
}

// Takes files off the newest end as long as their opening was not finished, which was then never synced.
Status drop_torn_openings(std::map<std::uint64_t, OnDisk>& by_sequence, Recovery& out) {
    while (!by_sequence.empty()) {
        auto newest = std::prev(by_sequence.end());
        OnDisk& candidate = newest->second;
        // What a failed fsync left in the page cache is not on the disk: what we read here must be.
        candidate.file->drop_cache(0, 0);
        const std::uint32_t starts = candidate.header.start_count;
        auto got = TRY(scan(candidate, candidate.bytes, starts, ignore_record));
        // An opening that was finished was synced, the file's length and the starts with it.
        const bool has_starts = got.records == starts;
        if (has_starts && candidate.bytes >= candidate.header.file_bytes) return {};
        if (TRY(proves_rot(candidate, has_starts ? got.offset - 1 : got.offset))) {
            return corrupt_at(
                candidate.path, got.offset,
                has_starts ? "the file is shorter than it was made" : "a shard start that was synced does not check");
        }
        const std::uint64_t previous = candidate.header.previous_sequence;
        if (previous != 0 && !by_sequence.contains(previous)) {
            return corrupt_at(candidate.path, got.offset,
                              "a shard start does not check, and the file before (sequence " +
                                  std::to_string(previous) + ") is missing");
        }
        // It keeps its header until it is used again. That does no harm: its successor will name the file before it.
        out.spares.push_back({candidate.slot, candidate.bytes});
        by_sequence.erase(newest);
    }
    return {};
}

// Moves the files that make up the log out of `by_sequence`, oldest first.
Result<std::vector<OnDisk>> chain_of(std::map<std::uint64_t, OnDisk>& by_sequence) {
    std::vector<OnDisk> chain;
    if (by_sequence.empty()) return chain;
    const std::uint64_t oldest = std::prev(by_sequence.end())->second.header.oldest_sequence;
    std::uint64_t wanted = std::prev(by_sequence.end())->first;
    while (wanted >= oldest) {
        auto found = by_sequence.find(wanted);
        if (found == by_sequence.end()) {
            return Error{Errc::corrupt, "write-ahead log: the file with sequence number " + std::to_string(wanted) +
                                            ", which " + chain.back().path + " follows, is missing" + advice};
        }
        chain.push_back(std::move(found->second));
        by_sequence.erase(found);
        wanted = chain.back().header.previous_sequence;
        if (wanted == 0 && chain.back().header.sequence > oldest) {
            return corrupt_at(chain.back().path, 0, "it has no predecessor, but older files are needed");
        }
        if (wanted == 0) break;
    }
    std::ranges::reverse(chain);
    return chain;
}

}  // namespace

Result<Recovery> recover(os::Disk& disk, const std::string& dir) {
    Recovery out;
    std::map<std::uint64_t, OnDisk> by_sequence;
    for (const auto& name : TRY(disk.list(dir))) {
        auto slot = slot_of(name);
        if (!slot) continue;
        OnDisk found;
        found.slot = *slot;
        found.path = slot_path(dir, *slot);
        found.file = TRY(disk.open(found.path, os::OpenMode::write));
        found.bytes = TRY(found.file->size());
        found.file->drop_cache(0, records_at);
        out.slots = std::max(out.slots, *slot + 1);
        if (!TRY(read_header(found))) {
            out.spares.push_back({found.slot, found.bytes});
            continue;
        }
        const std::uint64_t sequence = found.header.sequence;
        out.sequence_max = std::max(out.sequence_max, sequence);
        auto [there, fresh] = by_sequence.try_emplace(sequence, std::move(found));
        if (!fresh) {
            return corrupt_at(slot_path(dir, *slot), 0, "it has the sequence number of " + there->second.path);
        }
    }
    TRY(drop_torn_openings(by_sequence, out));
    auto chain = TRY(chain_of(by_sequence));
    for (auto& [sequence, rest] : by_sequence)
        out.spares.push_back({rest.slot, rest.bytes});

    Replay replay(out);
    for (std::size_t i = 0; i < chain.size(); i++) {
        OnDisk& from = chain[i];
        const bool is_newest = i + 1 == chain.size();
        replay.begin_file(from);
        const std::uint64_t end = is_newest ? from.bytes : std::uint64_t{chain[i + 1].header.previous_end};
        auto got = TRY(scan(from, end, UINT32_MAX, [&](const Record& record) { return replay.take(record); }));
        if (!is_newest) {
            if (got.offset != end || got.crc != chain[i + 1].header.previous_crc) {
                return corrupt_at(
                    from.path, got.offset,
                    "a record that was synced does not check (the file was left at " + std::to_string(end) + ")");
            }
            continue;
        }
        if (TRY(proves_rot(from, got.offset))) {
            return corrupt_at(from.path, got.offset, "a record that was synced does not check");
        }
        out.end = got.offset;
        out.crc = got.crc;
        out.header = from.header;
        out.header_damaged = from.damaged;
        out.file = std::move(from.file);
    }
    TRY(replay.finish());
    return out;
}

}  // namespace weir::log::detail
