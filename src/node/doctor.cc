#include "node/doctor.h"

#include "apply/checkpoint.h"
#include "apply/tables.h"
#include "base/crc32c.h"
#include "base/wire.h"
#include "dedup/run.h"
#include "log/journal.h"
#include "log/partition.h"
#include "log/wal.h"
#include "node/detail/json.h"
#include "node/node.h"
#include "node/offline.h"
#include "record/batch.h"
#include "store/database.h"
#include "stream/state_store.h"

#include <algorithm>
#include <cstring>
#include <map>
#include <optional>
#include <utility>

namespace weir::node {
namespace {

constexpr std::uint64_t pages_at_once = 256;
constexpr std::size_t index_entry_bytes = 40;
constexpr std::size_t index_block_bytes = index_entry_bytes * 1024;

constexpr const char* restore =
    "restore the data directory from a backup, or start with a new --data directory and send the events again";

class Doctor {
  public:
    Doctor(os::Disk& disk, const std::string& data_dir)
        : disk_(disk), data_dir_(data_dir), shard_dir_(data_dir + "/shards/0") {}

    std::vector<DoctorCheck> examine();

  private:
    // `check` says what it looked at. A failure is noted, and the next check follows.
    template <typename Check>
    void note(const std::string& name, const std::string& advice, Check check) {
        Result<std::string> found = check();
        if (found) {
            checks_.push_back({name, CheckResult::ok, std::move(found).value(), ""});
        } else if (found.error().code == Errc::not_found && found.error().detail.starts_with("nothing")) {
            checks_.push_back({name, CheckResult::skipped, found.error().detail, ""});
        } else {
            checks_.push_back({name, CheckResult::failed, found.error().detail, advice});
        }
    }
    Result<std::string> check_identity();
    Result<std::string> check_wal();
    Result<std::string> check_checkpoint();
    Result<std::string> check_segments(ObjectId id, const apply::StreamRecord& stream);
    Result<std::string> check_index(const std::string& path, std::uint64_t bytes) const;
    Result<std::string> check_journal(ObjectId id, const apply::StreamRecord& stream);
    Result<std::string> check_runs(ObjectId id, const apply::StreamRecord& stream);
    Result<std::string> check_database();
    Result<std::string> check_tables();
    Result<std::int64_t> number_of(const std::string& sql);

    os::Disk& disk_;
    const std::string& data_dir_;
    std::string shard_dir_;
    std::vector<DoctorCheck> checks_;
    std::uint64_t last_in_log_ = 0;
    std::optional<apply::AppliedRecord> applied_;
    std::map<ObjectId, apply::StreamRecord> streams_;
    std::map<ObjectId, apply::ViewRecord> views_;
    std::unique_ptr<store::Database> database_;
};

Error nothing(const std::string& what) {
    return Error{Errc::not_found, "nothing: " + what};
}

Error corrupt(const std::string& what) {
    return Error{Errc::corrupt, what};
}

Result<std::string> Doctor::check_identity() {
    return "node " + TRY(load_identity(disk_, data_dir_)).id;
}

// Opening it checks every record's CRC and that the files follow on each other; here each entry is read as apply would.
Result<std::string> Doctor::check_wal() {
    const std::string dir = data_dir_ + "/wal";
    if (!TRY(disk_.exists(dir))) return nothing("no log was ever written");
    const std::unique_ptr<log::Wal> wal = TRY(log::Wal::open(disk_, dir, {}));
    std::int64_t entries = 0;
    double bytes = 0;
    for (const auto& [shard, recovered] : wal->recovered()) {
        last_in_log_ = std::max(last_in_log_, recovered.start.checkpoint_index.value);
        for (const log::RecoveredEntry& entry : recovered.entries) {
            const std::string payload = TRY(log::read_entry(disk_, dir, entry.place));
            entries += 1;
            bytes += static_cast<double>(payload.size());
            last_in_log_ = std::max(last_in_log_, entry.index.value);
        }
    }
    return people_count(entries) + " entries behind the checkpoint, " + people_bytes(bytes) + "; the last is " +
           std::to_string(last_in_log_);
}

Result<std::string> Doctor::check_checkpoint() {
    const std::string dir = shard_dir_ + "/state";
    if (!TRY(disk_.exists(dir))) return nothing("no checkpoint was ever made");
    TRY(try_state(dir));
    const std::unique_ptr<stream::StateStore> state = TRY(stream::open_lmdb(dir, state_map_bytes));
    const std::optional<std::string> applied = TRY(state->get(apply::applied_key));
    if (!applied) return nothing("no checkpoint was ever made");
    applied_ = TRY(apply::AppliedRecord::decode(*applied));
    std::int64_t values = 0;
    Status wrong;
    TRY(state->scan("", [&](std::string_view key, std::string_view value) {
        ++values;
        if (key.size() != 9 || (key[0] != 's' && key[0] != 'v' && key[0] != 'c')) return true;
        beu64 packed;
        std::memcpy(&packed, key.data() + 1, sizeof packed);
        const ObjectId id = ObjectId::from_packed(packed);
        if (key[0] == 's') {
            if (Result<apply::StreamRecord> record = apply::StreamRecord::decode(value))
                streams_.emplace(id, std::move(record).value());
            else
                wrong = std::move(record).error();
        } else if (key[0] == 'v') {
            if (Result<apply::ViewRecord> record = apply::ViewRecord::decode(value))
                views_.emplace(id, std::move(record).value());
            else
                wrong = std::move(record).error();
        } else if (const auto record = apply::CatalogRecord::decode(value); !record) {
            wrong = record.error();
        }
        return static_cast<bool>(wrong);
    }));
    TRY(std::move(wrong));
    if (last_in_log_ != 0 && applied_->index.value > last_in_log_) {
        return corrupt("the checkpoint stands at index " + std::to_string(applied_->index.value) +
                       ", the write-ahead log ends at " + std::to_string(last_in_log_) +
                       ": the log was lost or replaced by an older copy");
    }
    return "index " + std::to_string(applied_->index.value) + ", " +
           people_count_of(static_cast<std::int64_t>(streams_.size()), "stream") + ", " +
           people_count_of(static_cast<std::int64_t>(views_.size()), "view") + ", " + people_count(values) +
           " values; SQLite " + applied_->engine;
}

// Every entry's own checksum (log/partition.h).
Result<std::string> Doctor::check_index(const std::string& path, std::uint64_t bytes) const {
    if (bytes == 0) return path;
    const auto file = TRY(disk_.open(path, os::OpenMode::read));
    std::string block(index_block_bytes, '\0');
    for (std::uint64_t at = 0; at < bytes;) {
        const std::size_t wanted = static_cast<std::size_t>(std::min<std::uint64_t>(block.size(), bytes - at));
        const std::size_t got = TRY(file->read_aside(at, std::span<char>(block.data(), wanted)));
        if (got < wanted)
            return corrupt(path + " has " + std::to_string(at + got) + " bytes of " + std::to_string(bytes));
        for (std::size_t entry = 0; entry + index_entry_bytes <= got; entry += index_entry_bytes) {
            le32 crc;
            std::memcpy(&crc, block.data() + entry + 36, sizeof crc);
            if (crc32c(0, std::string_view(block.data() + entry, 36)) != crc) {
                return corrupt(path + ", byte " + std::to_string(at + entry) +
                               ": the entry does not match its checksum");
            }
        }
        at += got;
    }
    return path;
}

Result<std::string> Doctor::check_segments(ObjectId id, const apply::StreamRecord& stream) {
    std::int64_t events = 0, dead = 0, files = 0;
    double bytes = 0;
    const auto partition_count = static_cast<PartitionNo>(stream.partitions.size());
    for (PartitionNo number = dead_letter_partition; number < partition_count; ++number) {
        const bool is_dead = number == dead_letter_partition;
        const log::PartitionState& state = is_dead ? stream.dead : stream.partitions[static_cast<std::size_t>(number)];
        const std::string dir = apply::partition_dir(shard_dir_, id, number);
        const auto reader = TRY(log::PartitionReader::open(disk_, dir, log::read_bound(state), {.aside = true}, true));
        std::int64_t next = -1;
        for (;;) {
            const std::optional<std::string_view> bytes_of_batch = TRY(reader->next());
            if (!bytes_of_batch) break;
            const record::BatchView batch = TRY(record::read_batch(*bytes_of_batch));
            const std::int64_t base = batch.header.base_offset;
            // The first batch is the one that holds the log start.
            if (next < 0 && base <= state.start_offset) next = base;
            if (base != next) {
                return corrupt(dir + ": the batch at offset " + std::to_string(base) + " should begin at " +
                               std::to_string(next));
            }
            const std::int64_t count = batch.next_offset() - base;
            next += count;
            (is_dead ? dead : events) += count;
            bytes += static_cast<double>(bytes_of_batch->size());
        }
        if (state.start_offset < state.end_offset && next != state.end_offset) {
            return corrupt(dir + " ends at offset " + std::to_string(std::max<std::int64_t>(next, 0)) +
                           ", the checkpoint says " + std::to_string(state.end_offset));
        }
        for (const log::SegmentState& segment : state.segments) {
            std::string name = std::to_string(segment.base_offset);
            name.insert(0, 20 - std::min<std::size_t>(20, name.size()), '0');
            TRY(check_index(dir + "/" + name + ".idx", segment.index_bytes));
            ++files;
        }
    }
    return people_count_of(events, "event") + ", " + people_count_of(dead, "dead letter") + ", " +
           people_count_of(files, "segment") + ", " + people_bytes(bytes);
}

Result<std::string> Doctor::check_journal(ObjectId id, const apply::StreamRecord& stream) {
    const std::string dir = apply::stream_dir(shard_dir_, id) + "/journal";
    const auto reader = TRY(log::JournalReader::open(disk_, dir, stream.journal, LogIndex(0)));
    std::int64_t records = 0;
    LogIndex last;
    for (;;) {
        const std::optional<log::JournalRecord> record = TRY(reader->next());
        if (!record) break;
        if (record->index < last) return corrupt(dir + ": index " + std::to_string(record->index.value) + " goes back");
        last = record->index;
        ++records;
    }
    if (records > 0 && last != stream.journal.last_index) {
        return corrupt(dir + " ends at index " + std::to_string(last.value) + ", the checkpoint says " +
                       std::to_string(stream.journal.last_index.value));
    }
    return people_count_of(records, "record");
}

Result<std::string> Doctor::check_runs(ObjectId id, const apply::StreamRecord& stream) {
    if (stream.runs.empty()) return nothing("no ids on disk");
    std::int64_t ids = 0;
    const std::string dir = apply::stream_dir(shard_dir_, id) + "/dedup";
    for (const dedup::RunState& state : stream.runs) {
        const auto run = TRY(dedup::Run::open(disk_, dedup::run_path(dir, state.number), state, true));
        std::uint64_t count = 0;
        std::vector<dedup::RunEntry> entries;
        for (std::uint64_t page = 0; page < run->page_count(); page += pages_at_once) {
            entries.clear();
            TRY(run->read_pages(page, std::min(pages_at_once, run->page_count() - page), entries));
            for (const dedup::RunEntry& entry : entries) {
                if (!run->may_hold(entry.id))
                    return corrupt(run->path() + ": the filter denies an id that the run holds");
            }
            count += entries.size();
        }
        if (count != state.count) {
            return corrupt(run->path() + " holds " + std::to_string(count) + " ids, the checkpoint says " +
                           std::to_string(state.count));
        }
        ids += static_cast<std::int64_t>(count);
    }
    return people_count_of(ids, "id") + " in " + people_count_of(static_cast<std::int64_t>(stream.runs.size()), "run");
}

Result<std::int64_t> Doctor::number_of(const std::string& sql) {
    const std::unique_ptr<store::Statement> statement = TRY(database_->prepare(sql));
    if (!TRY(statement->step())) return std::int64_t{0};
    return statement->column(0).integer;
}

Result<std::string> Doctor::check_database() {
    const std::string path = shard_dir_ + "/view.db";
    if (!TRY(disk_.exists(path))) return nothing("no database yet");
    database_ = TRY(store::Database::open(path, {}));
    std::string first;
    {
        const std::unique_ptr<store::Statement> statement = TRY(database_->prepare("PRAGMA integrity_check(1)"));
        if (TRY(statement->step())) first = std::string(statement->column(0).text);
    }
    if (first != "ok") return corrupt(path + ": " + first);
    const std::int64_t index = TRY(number_of("SELECT idx FROM _applied"));
    if (applied_ && index < static_cast<std::int64_t>(applied_->index.value)) {
        return corrupt(path + " stands at index " + std::to_string(index) + ", behind the checkpoint at " +
                       std::to_string(applied_->index.value) + ": the file was lost or replaced by an older copy");
    }
    return "index " + std::to_string(index);
}

// What view.db says twice must be the same both times: it was written in one transaction.
Result<std::string> Doctor::check_tables() {
    if (!database_) return nothing("no database");
    const std::int64_t streams = TRY(number_of("SELECT count(*) FROM _counters"));
    const std::int64_t wrong = TRY(number_of(
        "SELECT count(*) FROM _counters c WHERE stored <> (SELECT coalesce(sum(end_offset), 0) FROM _ends e WHERE "
        "e.stream = c.stream AND e.partition >= 0) OR dead_lettered <> (SELECT coalesce(sum(end_offset), 0) FROM _ends "
        "e "
        "WHERE e.stream = c.stream AND e.partition = -1)"));
    if (wrong > 0) {
        return corrupt(people_count_of(wrong, "stream") + " whose counters are not what its partitions hold");
    }
    const std::int64_t uneven = TRY(number_of("SELECT count(*) FROM _views WHERE seen <> filtered + windowed + late"));
    if (uneven > 0) return corrupt(people_count_of(uneven, "view") + " whose counters do not add up");
    std::int64_t rows = 0;
    std::vector<std::pair<std::int64_t, std::int64_t>> views;
    {
        const std::unique_ptr<store::Statement> list = TRY(database_->prepare("SELECT view, row_count FROM _views"));
        while (TRY(list->step()))
            views.emplace_back(list->column(0).integer, list->column(1).integer);
    }
    for (const auto& [packed, count] : views) {
        const ObjectId id = ObjectId::from_packed(static_cast<std::uint64_t>(packed));
        const std::string table = apply::view_table(id);
        const std::int64_t found = TRY(number_of("SELECT count(*) FROM " + store::quote_name(table)));
        if (found != count) {
            return corrupt("view " + table + " has " + std::to_string(found) + " rows and counts " +
                           std::to_string(count));
        }
        rows += found;
    }
    return people_count_of(streams, "stream") + ", " +
           people_count_of(static_cast<std::int64_t>(views.size()), "view") + ", " + people_count_of(rows, "row");
}

std::vector<DoctorCheck> Doctor::examine() {
    note("identity", restore, [this] { return check_identity(); });
    note("write-ahead log", restore, [this] { return check_wal(); });
    note("checkpoint", restore, [this] { return check_checkpoint(); });
    for (const auto& item : streams_) {
        const ObjectId id = item.first;
        const apply::StreamRecord& stream = item.second;
        const std::string name = printable(stream.name);
        note("segments of " + name, restore, [&] { return check_segments(id, stream); });
        note("journal of " + name, restore, [&] { return check_journal(id, stream); });
        note("dedup runs of " + name, restore, [&] { return check_runs(id, stream); });
    }
    note("database", restore, [this] { return check_database(); });
    note("tables", "DROP and CREATE the views that are concerned; they are built from the log again",
         [this] { return check_tables(); });
    return std::move(checks_);
}

Cell text_cell(const std::string& text) {
    return {text.empty() ? Cell::Kind::null : Cell::Kind::text, text};
}

}  // namespace

const char* check_result_name(CheckResult result) {
    switch (result) {
        case CheckResult::ok:
            return "ok";
        case CheckResult::failed:
            return "failed";
        case CheckResult::skipped:
            return "skipped";
    }
    return "";
}

Result<std::vector<DoctorCheck>> examine(const std::string& data_dir) {
    const std::unique_ptr<os::Disk> disk = os::make_real_disk();
    const os::DirLock lock = TRY(lock_data_dir(*disk, data_dir));
    return Doctor(*disk, data_dir).examine();
}

Exit run_doctor(const Console& console, const std::string& data_dir, OutputFormat format) {
    const Result<std::vector<DoctorCheck>> examined = examine(data_dir);
    if (!examined) return tell_unlocked(console, examined.error());
    const std::vector<DoctorCheck>& checks = examined.value();
    const auto failed = std::ranges::count(checks, CheckResult::failed, &DoctorCheck::result);
    if (format == OutputFormat::json) {
        Json list = Json::array();
        for (const DoctorCheck& check : checks) {
            Json one = Json::object();
            one["check"] = check.name;
            one["result"] = check_result_name(check.result);
            one["found"] = check.found;
            if (!check.advice.empty()) one["advice"] = check.advice;
            list.push_back(std::move(one));
        }
        Json document = Json::object();
        document["data"] = data_dir;
        document["healthy"] = failed == 0;
        document["checks"] = std::move(list);
        console.write(to_text(document) + "\n");
    } else {
        RowSet rows;
        rows.names = {"check", "result", "found"};
        rows.types = {"TEXT", "TEXT", "TEXT"};
        const bool for_programs = format != OutputFormat::table;
        if (for_programs) {
            rows.names.emplace_back("advice");
            rows.types.emplace_back("TEXT");
        }
        for (const DoctorCheck& check : checks) {
            rows.rows.push_back(
                {text_cell(check.name), text_cell(check_result_name(check.result)), text_cell(check.found)});
            if (for_programs) rows.rows.back().push_back(text_cell(check.advice));
        }
        console.write(format == OutputFormat::table ? format_table(rows, 0)
                      : format == OutputFormat::csv ? format_csv(rows)
                                                    : format_ndjson(rows));
    }
    console.flush();
    for (const DoctorCheck& check : checks) {
        if (check.result == CheckResult::failed)
            console.error(check.name + ": " + printable(check.found), check.advice);
    }
    console.say(failed == 0 ? "all is well" : people_count_of(failed, "check") + " failed");
    return failed == 0 ? Exit::ok : Exit::failed;
}

}  // namespace weir::node
