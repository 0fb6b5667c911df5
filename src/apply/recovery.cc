// Opening a shard at its checkpoint, before the log after it is replayed.
#include "apply/applier.h"
#include "apply/detail/build.h"
#include "apply/detail/state.h"
#include "apply/tables.h"
#include "base/check.h"
#include "base/wire.h"
#include "dedup/run.h"
#include "obs/log.h"
#include "sql/statement.h"

#include <algorithm>
#include <set>
#include <utility>

namespace weir::apply {
namespace {

Result<ObjectId> id_of_key(std::string_view key) {
    if (key.size() != 9) return Error{Errc::corrupt, "the state store has a key of the wrong length"};
    beu64 packed;
    std::memcpy(&packed, key.data() + 1, sizeof packed);
    return ObjectId::from_packed(packed);
}

// Every record of one kind, by id.
template <class Record>
Result<std::vector<std::pair<ObjectId, Record>>> read_records(stream::StateStore& state, char kind) {
    std::vector<std::pair<ObjectId, Record>> records;
    Status status;
    TRY(state.scan(std::string(1, kind), [&](std::string_view key, std::string_view value) {
        auto id = id_of_key(key);
        auto record = Record::decode(value);
        if (!id || !record) {
            status = id ? record.error() : id.error();
            return false;
        }
        records.emplace_back(id.value(), std::move(record).value());
        return true;
    }));
    TRY(std::move(status));
    return records;
}

Error at(Error error, const std::string& where) {
    error.detail = where + ": " + error.detail;
    return error;
}

// A record of before there were ticks has no arrivals: the segments tell what is left of them.
Arrivals arrivals_of(const StreamRecord& record) {
    Arrivals arrivals{record.first_arrival_ms, record.last_arrival_ms};
    if (!arrivals.last_ms.empty()) return arrivals;
    for (const auto& partition : record.partitions) {
        const auto& segments = partition.segments;
        std::int64_t last_ms = partition.end_offset > 0 ? record.created_at_ms : INT64_MIN;
        std::int64_t first_ms = last_ms;
        if (!segments.empty()) {
            first_ms = segments.front().first_append_ms;
            last_ms = segments.back().last_append_ms;
        }
        arrivals.last_ms.push_back(last_ms);
        if (first_ms != INT64_MIN && (arrivals.first_ms == INT64_MIN || first_ms < arrivals.first_ms))
            arrivals.first_ms = first_ms;
    }
    return arrivals;
}

}  // namespace

Status Applier::recover() {
    TRY(disk_.make_dirs(options_.dir + "/streams"));
    std::string engine = store::Database::engine_version();
    const auto applied = TRY(state_.get(applied_key));
    if (applied) {
        const auto record = TRY(AppliedRecord::decode(*applied));
        applied_ = checkpointed_ = record.index;
        applied_term_ = record.term;
        last_append_ms_ = record.append_time_ms;
        after_gap_ms_ = record.after_gap_ms;
        engine = record.engine;
    }
    TRY(recover_streams());
    TRY(recover_views());
    for (auto& [id, record] : TRY(read_records<CatalogRecord>(state_, 'c'))) {
        names_[folded(record.name)] = id;
        catalog_[id] = std::move(record);
    }
    TRY(open_database());
    TRY(check_parts_agree());
    TRY(check_engine(engine));
    return remove_unlisted_files();
}

// What an expression means is part of the log's meaning, and SQLite says what it means. Entries that one version has
// applied and another would apply again might give another state than the rows that stand there. A stop in peace leaves
// nothing to apply again; then the version may change, and the next checkpoint says so.
Status Applier::check_engine(const std::string& engine) const {
    const auto now = store::Database::engine_version();
    if (engine == now) return {};
    const bool evaluates =
        std::any_of(views_.begin(), views_.end(), [](const auto& v) { return !v.second->stopped(); });
    if (evaluates && options_.last_at_start > checkpointed_) {
        return Error{Errc::unsupported,
                     options_.dir + " was left by a server with SQLite " + engine +
                         " that did not stop in peace; this " + "one has SQLite " + now + ", and " +
                         std::to_string(options_.last_at_start.value - checkpointed_.value) +
                         " log entries after the checkpoint would be evaluated again, perhaps to other results. Once "
                         "more start the former version and stop it with SIGTERM (it then makes a checkpoint), then "
                         "start this one"};
    }
    obs::log(obs::Level::warning, "sqlite_version_changed",
             {{"checkpoint", engine},
              {"now", now},
              {"what", "views keep the rows that they have; to have them evaluated anew, DROP and CREATE them"}});
    return {};
}

// The log, the state store and SQLite are moved on in a fixed order, so each pair tells when one was lost or is older.
// Before any file is removed: what looks unlisted may be listed in the part that is missing.
Status Applier::check_parts_agree() const {
    const char* what_to_do =
        "Restore the data directory from a backup, or start with a new --data directory and send the events again";
    auto index = [](LogIndex i) { return std::to_string(i.value); };
    if (rows_index_ < checkpointed_) {
        return Error{Errc::corrupt, options_.dir + "/view.db stands at index " + index(rows_index_) +
                                        ", behind the checkpoint at " + index(checkpointed_) +
                                        ": the file was lost or replaced by an older copy. " + what_to_do};
    }
    if (options_.wal_checkpoint > checkpointed_) {
        return Error{Errc::corrupt, options_.dir + "/state stands at index " + index(checkpointed_) +
                                        ", behind the write-ahead log's checkpoint at " +
                                        index(options_.wal_checkpoint) +
                                        ": the folder was lost or replaced by an older copy. " + what_to_do};
    }
    if (std::max(rows_index_, checkpointed_) > options_.last_at_start) {
        return Error{Errc::corrupt,
                     options_.wal_dir + " ends at index " + index(options_.last_at_start) + ", before index " +
                         index(std::max(rows_index_, checkpointed_)) +
                         " that is applied already: the write-ahead log was lost or replaced by an older copy. " +
                         what_to_do};
    }
    return {};
}

Status Applier::recover_streams() {
    auto records = TRY(read_records<StreamRecord>(state_, 's'));
    for (auto& [id, record] : records) {
        auto parsed = sql::parse(record.statement);
        if (!parsed) return at(parsed.error(), "the definition of stream " + record.name + " in the checkpoint");
        const auto* create = std::get_if<sql::CreateStream>(&parsed.value());
        if (create == nullptr || static_cast<std::size_t>(create->schema.partitions) != record.partitions.size()) {
            return Error{Errc::corrupt,
                         "the checkpoint's record of stream " + record.name + " contradicts its definition"};
        }
        auto def = std::make_shared<record::Stream>();
        def->id = id;
        def->name = record.name;
        def->version = record.version;
        def->schema = create->schema;
        def->retain_ms = create->retain_ms;
        def->retain_bytes = create->retain_bytes;
        def->statement = record.statement;
        def->created_at_ms = record.created_at_ms;

        auto stream = std::make_unique<Stream>();
        stream->def = def;
        stream->dir = stream_dir(options_.dir, id);
        stream->counters = record.counters;
        stream->next_run = record.next_run;
        stream->expired_bucket = record.expired_bucket;
        stream->changed = false;
        for (std::size_t p = 0; p < record.partitions.size(); p++) {
            auto log = log::PartitionLog::open(disk_, partition_dir(options_.dir, id, static_cast<PartitionNo>(p)),
                                               record.partitions[p], partition_options(*def));
            if (!log) return at(log.error(), "partition " + std::to_string(p) + " of stream " + record.name);
            stream->partitions.push_back(std::move(log).value());
        }
        auto dead = log::PartitionLog::open(disk_, partition_dir(options_.dir, id, dead_letter_partition), record.dead,
                                            partition_options(*def));
        if (!dead) return at(dead.error(), "dead letters of stream " + record.name);
        stream->dead = std::move(dead).value();
        auto journal = log::Journal::open(disk_, stream->dir + "/journal", record.journal, journal_options(*def));
        if (!journal) return at(journal.error(), "journal of stream " + record.name);
        stream->journal = std::move(journal).value();

        stream->arrivals = arrivals_of(record);
        stream->last_tick_ms = record.last_tick_ms;
        streams_[id] = std::move(stream);
    }
    // Newest runs get their filters first; what does not fit costs a page read a look-up.
    std::vector<std::size_t> wants;
    for (const auto& [id, record] : records) {
        std::size_t bytes = 0;
        for (const auto& run : record.runs)
            bytes += dedup::fences_bytes(run.count) + dedup::filter_bytes(run.count);
        wants.push_back(bytes);
    }
    const std::size_t kept_bytes =
        dedup::run_memory_level(dedup::run_memory(options_.dedup_memory).kept_bytes, std::move(wants));
    for (const auto& [id, record] : records) {
        auto& stream = *streams_.at(id);
        auto runs = dedup::open_runs(disk_, stream.dir + "/dedup", record.runs, {}, kept_bytes);
        if (!runs) return at(runs.error(), "dedup index of stream " + record.name);
        stream.runs = std::move(runs).value();
    }
    return {};
}

Status Applier::recover_views() {
    auto records = TRY(read_records<ViewRecord>(state_, 'v'));
    for (auto& [id, record] : records) {
        const auto stream = streams_.find(record.stream);
        if (stream == streams_.end())
            return Error{Errc::corrupt, "the checkpoint has view " + record.name + " without its stream"};
        auto parsed = sql::parse(record.statement);
        if (!parsed) return at(parsed.error(), "the definition of view " + record.name + " in the checkpoint");
        const auto* create = std::get_if<sql::CreateView>(&parsed.value());
        if (create == nullptr)
            return Error{Errc::corrupt, "the checkpoint's record of view " + record.name + " is not a view"};
        auto plan = plan_view(*stream->second->def, *create);
        if (!plan) return at(plan.error(), "the definition of view " + record.name);
        auto view = std::make_unique<View>();
        view->id = id;
        view->stream = record.stream;
        view->name = record.name;
        view->statement = record.statement;
        view->created_at_ms = record.created_at_ms;
        view->state = record.state;
        view->plan = std::move(plan).value();
        view->plan.tumble.groups_max = options_.groups_max;
        if (record.state == "building" || record.built_up_to.value != 0)
            view->build = std::make_shared<Build>(record.built_up_to, stream->second->partitions.size());
        view->changed = false;
        auto tumble = stream::Tumble::open(stream->second->def->schema, view->plan.tumble, state_, object_key('o', id));
        if (!tumble) return at(tumble.error(), "state of view " + record.name);
        view->tumble = std::move(tumble).value();
        stream->second->views.push_back(view.get());
        views_[id] = std::move(view);
    }
    count_builds();
    return {};
}

// Files in the shard's own folders that no checkpoint lists: what a crash left. Names that are not ours stay.
Status Applier::remove_unlisted_files() {
    const auto folders = TRY(disk_.list(options_.dir + "/streams"));
    std::set<std::string> known;
    for (const auto& [id, stream] : streams_)
        known.insert(id.file_text());
    for (const auto& name : folders) {
        const auto split = name.find('_');
        const bool ours = split != std::string::npos && split > 0 && split + 1 < name.size() &&
                          name.find_first_not_of("0123456789_") == std::string::npos;
        if (ours && !known.contains(name)) TRY(disk_.remove_tree(options_.dir + "/streams/" + name));
    }
    for (const auto& [id, stream] : streams_) {
        if (stream->def->schema.dedup_key.empty()) continue;
        std::vector<dedup::RunState> listed;
        for (const auto& run : stream->runs)
            listed.push_back(run->state());
        TRY(dedup::remove_unlisted_runs(disk_, stream->dir + "/dedup", listed));
    }
    return {};
}

Status Applier::open_database() {
    const std::string path = options_.dir + "/view.db";
    database_ = TRY(store::Database::open(path, options_.database));
    TRY(database_->exec(tables_ddl));
    TRY(database_->exec("PRAGMA user_version = " + std::to_string(tables_version)));
    auto read = TRY(database_->prepare("SELECT idx FROM _applied"));
    if (TRY(read->step())) rows_index_ = LogIndex(static_cast<std::uint64_t>(read->column(0).integer));
    read.reset();
    put_applied_ =
        TRY(database_->prepare("INSERT INTO _applied VALUES (1, ?1, ?2) ON CONFLICT DO UPDATE SET idx = excluded.idx, "
                               "append_time = excluded.append_time"));
    put_ends_ = TRY(database_->prepare("INSERT OR REPLACE INTO _ends VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)"));
    put_journal_ = TRY(database_->prepare("INSERT OR REPLACE INTO _journals VALUES (?1, ?2)"));
    put_counters_ = TRY(database_->prepare("INSERT OR REPLACE INTO _counters VALUES (?1, ?2, ?3, ?4, ?5)"));
    // No number of rows: triggers of the view's table count them (tables.h).
    put_view_ = TRY(database_->prepare(
        "INSERT INTO _views VALUES (?1, coalesce(?2, 0), ?3, ?4, ?5, ?6, ?7) ON CONFLICT DO UPDATE SET "
        "row_count = coalesce(?2, row_count), seen = excluded.seen, filtered = excluded.filtered, "
        "windowed = excluded.windowed, late = excluded.late, open_groups = excluded.open_groups"));
    put_watermark_ = TRY(database_->prepare("INSERT OR REPLACE INTO _watermarks VALUES (?1, ?2, ?3, ?4, ?5)"));
    put_window_ = TRY(database_->prepare("INSERT OR REPLACE INTO _windows VALUES (?1, ?2, ?3, ?4)"));
    delete_window_ = TRY(database_->prepare("DELETE FROM _windows WHERE view = ?1 AND window_start = ?2"));
    visible_ = applied_.value;
    return {};
}

}  // namespace weir::apply
