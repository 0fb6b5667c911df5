#include "node/dump.h"

#include "apply/checkpoint.h"
#include "base/limits.h"
#include "base/wire.h"
#include "consensus/group.h"
#include "log/entry.h"
#include "log/wal.h"
#include "node/offline.h"
#include "record/batch.h"
#include "record/time.h"
#include "stream/state_store.h"

#include <algorithm>
#include <cstring>
#include <map>
#include <optional>
#include <utility>
#include <variant>

namespace weir::node {
namespace {

constexpr std::size_t rows_at_once = 1000;
constexpr std::size_t statement_shown_bytes = 60;

// Rows go out in pieces, so that a large log costs no memory; a table's columns are as wide as a piece needs.
class Output {
  public:
    Output(const Console& console, OutputFormat format, std::vector<std::string> names)
        : console_(console), format_(format) {
        rows_.names = std::move(names);
        rows_.types.assign(rows_.names.size(), "TEXT");
    }
    // False: the reader has gone.
    bool add(std::vector<Cell> row) {
        rows_.rows.push_back(std::move(row));
        return rows_.rows.size() < rows_at_once || flush();
    }
    bool flush() {
        std::string text;
        if (format_ == OutputFormat::table) text = format_table(rows_, 0);
        if (format_ == OutputFormat::csv) {
            text = format_csv(rows_);
            if (std::exchange(began_, true)) text.erase(0, text.find('\n') + 1);
        }
        if (format_ == OutputFormat::ndjson || format_ == OutputFormat::json) text = format_ndjson(rows_);
        rows_.rows.clear();
        return console_.write(text) && console_.flush();
    }

  private:
    const Console& console_;
    OutputFormat format_;
    RowSet rows_;
    bool began_ = false;
};

Cell number(std::uint64_t value) {
    return {Cell::Kind::number, std::to_string(value)};
}
Cell number(std::int64_t value) {
    return {Cell::Kind::number, std::to_string(value)};
}
Cell text(std::string value) {
    return {Cell::Kind::text, std::move(value)};
}
Cell time_of(std::int64_t ms) {
    if (ms == INT64_MIN || ms == INT64_MAX) return {Cell::Kind::null, ""};
    return text(record::format_rfc3339(ms));
}

std::string shortened(const std::string& statement) {
    if (statement.size() <= statement_shown_bytes) return printable(statement);
    return printable(statement.substr(0, statement_shown_bytes)) + "...";
}

// What a section of an entry brings, in a few words.
struct SectionWords {
    std::string operator()(const log::BatchSection& s) const {
        return std::to_string(s.count) + " events of " + s.stream.file_text() + " at " + std::to_string(s.partition) +
               ":" + std::to_string(s.base_offset);
    }
    std::string operator()(const log::CountsSection& s) const {
        return "counts of " + s.stream.file_text() + ": " + std::to_string(s.duplicate) + " duplicate, " +
               std::to_string(s.refused) + " refused";
    }
    std::string operator()(const log::CatalogPut& s) const { return "create " + printable(s.name); }
    std::string operator()(const log::CatalogDrop& s) const { return "drop " + s.id.file_text(); }
    std::string operator()(const log::DefineStream& s) const {
        return "stream " + s.id.file_text() + " " + printable(s.name) + " version " + std::to_string(s.version) + ": " +
               shortened(s.statement);
    }
    std::string operator()(const log::DefineView& s) const {
        return "view " + s.id.file_text() + " " + printable(s.name) + ": " + shortened(s.statement);
    }
    std::string operator()(const log::DropStream& s) const { return "drop stream " + s.id.file_text(); }
    std::string operator()(const log::DropView& s) const { return "drop view " + s.id.file_text(); }
    std::string operator()(const log::Retain& s) const { return "retain " + s.stream.file_text(); }
    std::string operator()(const log::Tick& s) const { return "tick of " + s.stream.file_text(); }
    std::string operator()(const log::Flush& s) const { return "flush " + s.view.file_text(); }
    std::string operator()(const log::ViewLive& s) const { return "view live " + s.view.file_text(); }
};

Status dump_wal(os::Disk& disk, const std::string& data_dir, Output& out) {
    const std::string dir = data_dir + "/wal";
    if (!TRY(disk.exists(dir))) return {};
    const std::unique_ptr<log::Wal> wal = TRY(log::Wal::open(disk, dir, {}));
    for (const auto& [shard, recovered] : wal->recovered()) {
        for (const log::RecoveredEntry& entry : recovered.entries) {
            const std::string payload = TRY(log::read_entry(disk, dir, entry.place));
            std::string what = "of consensus";
            Cell when{Cell::Kind::null, ""};
            if (entry.entry_type == static_cast<std::uint8_t>(consensus::EntryType::command)) {
                const Result<log::Entry> decoded = log::decode_entry(payload);
                what = decoded ? "" : "unreadable: " + decoded.error().detail;
                if (decoded) {
                    when = time_of(decoded.value().append_time_ms);
                    for (const log::Section& section : decoded.value().sections)
                        what += (what.empty() ? "" : "; ") + std::visit(SectionWords(), section);
                }
            }
            const bool more =
                out.add({number(std::uint64_t{shard.value}), number(entry.index.value), number(entry.term.value),
                         number(std::uint64_t{payload.size()}), when, text(what)});
            if (!more) return {};
        }
    }
    return {};
}

// The state store of a directory; null where no checkpoint was made.
Result<std::unique_ptr<stream::StateStore>> open_state(os::Disk& disk, const std::string& data_dir) {
    const std::string dir = data_dir + "/shards/0/state";
    if (!TRY(disk.exists(dir))) return std::unique_ptr<stream::StateStore>();
    TRY(try_state(dir));
    return stream::open_lmdb(dir, state_map_bytes);
}

std::string partition_words(const log::PartitionState& state) {
    return "offsets " + std::to_string(state.start_offset) + " to " + std::to_string(state.end_offset) + " in " +
           people_count_of(static_cast<std::int64_t>(state.segments.size()), "segment");
}

void dump_record(std::string_view key, std::string_view value, Output& out) {
    beu64 packed;
    std::memcpy(&packed, key.data() + 1, sizeof packed);
    const std::string id = ObjectId::from_packed(packed).file_text();
    const auto unreadable = [&](const Error& error) { out.add({text(id), text("unreadable"), text(error.detail)}); };
    if (key[0] == 's') {
        const Result<apply::StreamRecord> record = apply::StreamRecord::decode(value);
        if (!record) return unreadable(record.error());
        const apply::StreamRecord& stream = record.value();
        out.add({text(id), text("stream"), text(printable(stream.name) + ": " + shortened(stream.statement))});
        for (std::size_t i = 0; i < stream.partitions.size(); ++i)
            out.add({text(id), text("partition " + std::to_string(i)), text(partition_words(stream.partitions[i]))});
        out.add({text(id), text("dead letters"), text(partition_words(stream.dead))});
        out.add({text(id), text("journal"),
                 text(people_count_of(static_cast<std::int64_t>(stream.journal.files.size()), "file") +
                      ", last index " + std::to_string(stream.journal.last_index.value))});
        for (const dedup::RunState& run : stream.runs)
            out.add({text(id), text("dedup run " + std::to_string(run.number)),
                     text(std::to_string(run.count) + " ids of bucket " + std::to_string(run.bucket))});
    } else if (key[0] == 'v') {
        const Result<apply::ViewRecord> record = apply::ViewRecord::decode(value);
        if (!record) return unreadable(record.error());
        out.add({text(id), text("view"),
                 text(printable(record.value().name) + " of " + record.value().stream.file_text() + ", " +
                      printable(record.value().state))});
    }
}

Status dump_checkpoint(os::Disk& disk, const std::string& data_dir, Output& out) {
    const std::unique_ptr<stream::StateStore> state = TRY(open_state(disk, data_dir));
    if (!state) return {};
    if (const std::optional<std::string> applied = TRY(state->get(apply::applied_key))) {
        const apply::AppliedRecord record = TRY(apply::AppliedRecord::decode(*applied));
        out.add({text("0"), text("applied"),
                 text("index " + std::to_string(record.index.value) + ", term " + std::to_string(record.term.value) +
                      ", append time " + record::format_rfc3339(record.append_time_ms) + ", SQLite " +
                      printable(record.engine))});
    }
    for (const char* kind : {"s", "v"}) {
        TRY(state->scan(kind, [&](std::string_view key, std::string_view value) {
            if (key.size() == 9) dump_record(key, value, out);
            return true;
        }));
    }
    return {};
}

Status dump_state(os::Disk& disk, const std::string& data_dir, Output& out) {
    const std::unique_ptr<stream::StateStore> state = TRY(open_state(disk, data_dir));
    if (!state) return {};
    struct Sum {
        std::int64_t values = 0, bytes = 0;
    };
    std::map<std::pair<std::string, std::string>, Sum> sums;  // as many as there are objects
    TRY(state->scan("", [&](std::string_view key, std::string_view value) {
        const std::map<char, const char*> kinds{
            {'s', "stream"}, {'v', "view"}, {'c', "catalog"}, {'o', "operator state"}};
        const auto kind = kinds.find(key.empty() ? '\0' : key[0]);
        std::string id = "0";
        if (kind != kinds.end() && key.size() >= 9) {
            beu64 packed;
            std::memcpy(&packed, key.data() + 1, sizeof packed);
            id = ObjectId::from_packed(packed).file_text();
        }
        Sum& sum = sums[{id, kind == kinds.end() ? "applied" : kind->second}];
        sum.values += 1;
        sum.bytes += static_cast<std::int64_t>(key.size() + value.size());
        return true;
    }));
    for (const auto& [what, sum] : sums)
        out.add({text(what.first), text(what.second), number(sum.values), number(sum.bytes)});
    return {};
}

Status dump_segment(os::Disk& disk, const std::string& path, Output& out) {
    const auto file = TRY(disk.open(path, os::OpenMode::read));
    const std::uint64_t size = TRY(file->size());
    std::string bytes;
    for (std::uint64_t at = 0; at < size;) {
        const auto wrong = [&](const std::string& why) {
            return Error{Errc::corrupt,
                         path + ", byte " + std::to_string(at) + " of " + std::to_string(size) + ": " + why};
        };
        bytes.resize(std::min<std::uint64_t>(record::batch_header_bytes, size - at));
        if (TRY(file->read_aside(at, std::span<char>(bytes.data(), bytes.size()))) < record::batch_header_bytes) {
            return wrong("the rest is shorter than a batch's header");
        }
        record::BatchHeader header;
        std::memcpy(&header, bytes.data(), sizeof header);
        const std::int64_t length = std::int64_t{header.batch_length} + 12;
        if (header.magic != 2 || length < static_cast<std::int64_t>(record::batch_header_bytes)) {
            return wrong("here is no batch");
        }
        if (static_cast<std::uint64_t>(length) > size - at ||
            static_cast<std::uint64_t>(length) > limits::entry_bytes_max) {
            return wrong("the batch says that it has " + std::to_string(length) + " bytes");
        }
        bytes.resize(static_cast<std::size_t>(length));
        if (TRY(file->read_aside(at, std::span<char>(bytes.data(), bytes.size()))) < bytes.size()) {
            return wrong("the file became shorter");
        }
        const Result<record::BatchView> batch = record::read_batch(bytes);
        if (!batch) return wrong(batch.error().detail);
        const Status crc = record::check_crc(batch.value());
        const bool more = out.add({number(at), number(std::int64_t{header.base_offset}),
                                   number(batch.value().next_offset() - std::int64_t{header.base_offset}),
                                   number(length), time_of(header.base_timestamp_ms), time_of(header.max_timestamp_ms),
                                   text(crc ? "ok" : "does not match")});
        if (!more) return {};
        at += static_cast<std::uint64_t>(length);
    }
    return {};
}

Exit finish(const Console& console, Output& out, const Status& status) {
    out.flush();
    if (status) return Exit::ok;
    const bool corrupt = status.error().code == Errc::corrupt;
    console.error(printable(status.error().detail), corrupt ? "weir doctor" : "");
    return corrupt ? Exit::failed : exit_of(status.error().code);
}

}  // namespace

Exit run_dump(const Console& console, const std::string& data_dir, DumpWhat what, OutputFormat format) {
    const std::unique_ptr<os::Disk> disk = os::make_real_disk();
    const Result<os::DirLock> lock = lock_data_dir(*disk, data_dir);
    if (!lock) return tell_unlocked(console, lock.error());
    switch (what) {
        case DumpWhat::wal: {
            Output out(console, format, {"shard", "index", "term", "bytes", "append_time", "brings"});
            return finish(console, out, dump_wal(*disk, data_dir, out));
        }
        case DumpWhat::checkpoint: {
            Output out(console, format, {"object", "part", "holds"});
            return finish(console, out, dump_checkpoint(*disk, data_dir, out));
        }
        case DumpWhat::state: {
            Output out(console, format, {"object", "kind", "values", "bytes"});
            return finish(console, out, dump_state(*disk, data_dir, out));
        }
    }
    return Exit::failed;
}

Exit run_dump_segment(const Console& console, const std::string& path, OutputFormat format) {
    const std::unique_ptr<os::Disk> disk = os::make_real_disk();
    Output out(console, format, {"position", "offset", "count", "bytes", "first_time", "last_time", "checksum"});
    return finish(console, out, dump_segment(*disk, path, out));
}

}  // namespace weir::node
