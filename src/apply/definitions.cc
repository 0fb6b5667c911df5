// What there is and what it means: the catalog's entries, and the definitions that follow from them.
#include "apply/applier.h"
#include "apply/detail/build.h"
#include "apply/detail/state.h"
#include "apply/tables.h"
#include "base/limits.h"
#include "sql/statement.h"

#include <algorithm>
#include <utility>
#include <variant>

namespace weir::apply {
namespace {

// A view that takes the place of one: from this entry on the name is its own.
bool is_replacement(const log::CatalogPut& put) {
    if (put.kind != log::ObjectKind::view) return false;
    const auto parsed = sql::parse(put.statement);
    const auto* view = parsed ? std::get_if<sql::CreateView>(&parsed.value()) : nullptr;
    return view != nullptr && view->or_replace;
}

Result<sql::CreateStream> stream_statement(const log::DefineStream& define) {
    auto parsed = sql::parse(define.statement);
    if (!parsed) return parsed.error();
    auto* create = std::get_if<sql::CreateStream>(&parsed.value());
    if (create == nullptr) return Error{Errc::corrupt, "the definition of " + define.name + " is not CREATE STREAM"};
    return std::move(*create);
}

std::shared_ptr<const record::Stream> stream_of(const log::DefineStream& define, const sql::CreateStream& create,
                                                std::int64_t created_at_ms) {
    auto def = std::make_shared<record::Stream>();
    def->id = define.id;
    def->name = define.name;
    def->version = define.version;
    def->schema = create.schema;
    def->retain_ms = create.retain_ms;
    def->retain_bytes = create.retain_bytes;
    def->statement = define.statement;
    def->created_at_ms = created_at_ms;
    return def;
}

}  // namespace

void rebucket(std::vector<std::shared_ptr<const dedup::Run>>& runs, std::int64_t from_ms, std::int64_t to_ms) {
    if (from_ms == to_ms) return;
    for (auto& run : runs)
        run = dedup::in_bucket(run, dedup::rebucketed(run->state().bucket, from_ms, to_ms));
}

Status Applier::put_catalog(const log::CatalogPut& put) {
    const auto named = names_.find(folded(put.name));
    if (named != names_.end() && !(catalog_.at(named->second).kind == put.kind && is_replacement(put))) {
        const auto& present = catalog_.at(named->second);
        return Error{Errc::already_exists, std::string("there is a ") +
                                               (present.kind == log::ObjectKind::stream ? "stream" : "view") +
                                               " named " + present.name +
                                               (present.name == put.name ? "" : " (names are compared without case)")};
    }
    const bool stream = put.kind == log::ObjectKind::stream;
    const auto count = static_cast<std::size_t>(std::count_if(
        catalog_.begin(), catalog_.end(), [&](const auto& item) { return item.second.kind == put.kind; }));
    if (named == names_.end() && count >= (stream ? limits::streams_max : limits::views_max)) {
        return Error{Errc::too_large, std::string("there are ") + std::to_string(count) +
                                          (stream ? " streams" : " views") +
                                          ", the most that one server takes: drop some first"};
    }
    const ObjectId id{options_.shard, applied_};
    catalog_[id] = {put.kind, put.name, put.statement, false};
    names_[folded(put.name)] = id;
    catalog_changed_.push_back(id);
    definitions_changed_ = true;
    return {};
}

void Applier::drop_catalog(ObjectId id) {
    const auto it = catalog_.find(id);
    if (it == catalog_.end()) return;
    const std::string name = folded(it->second.name);
    const auto kind = it->second.kind;
    catalog_.erase(it);
    removed_.push_back({object_key('c', id), std::nullopt});
    definitions_changed_ = true;
    // What replaced it has the name; what was to replace another and could not gives it back.
    if (names_.at(name) != id) return;
    names_.erase(name);
    for (const auto& [other, entry] : catalog_)
        if (entry.kind == kind && folded(entry.name) == name) names_[name] = other;
}

Status Applier::define_stream(const log::DefineStream& define, std::int64_t append_ms) {
    if (const auto it = streams_.find(define.id); it != streams_.end()) return alter_stream(*it->second, define);
    const auto create = TRY(stream_statement(define));
    const auto def = stream_of(define, create, append_ms);

    auto stream = std::make_unique<Stream>();
    stream->def = def;
    stream->dir = stream_dir(options_.dir, define.id);
    // What a crash left of an earlier try is not part of the log.
    TRY(disk_.remove_tree(stream->dir));
    for (std::int32_t p = 0; p < def->schema.partitions; p++) {
        stream->partitions.push_back(TRY(
            log::PartitionLog::open(disk_, partition_dir(options_.dir, define.id, p), {}, partition_options(*def))));
    }
    stream->dead = TRY(log::PartitionLog::open(disk_, partition_dir(options_.dir, define.id, dead_letter_partition), {},
                                               partition_options(*def)));
    stream->journal = TRY(log::Journal::open(disk_, stream->dir + "/journal", {}, journal_options(*def)));
    stream->arrivals.last_ms.assign(static_cast<std::size_t>(def->schema.partitions), INT64_MIN);
    for (std::int32_t p = dead_letter_partition; p < def->schema.partitions; p++)
        stream->touched_partitions.insert(p);
    Stream& present = *stream;
    streams_[define.id] = std::move(stream);
    touch(present);
    // The answers are nobody's to read, and admission has its own beginning of them.
    if (define.id.is_null()) return {};
    if (auto it = catalog_.find(define.id); it != catalog_.end() && !it->second.was_defined) {
        it->second.was_defined = true;
        catalog_changed_.push_back(define.id);
    }
    if (writes_rows()) {
        row_changes_.push_back([this, def]() -> Status {
            auto insert =
                TRY(database_->prepare("INSERT OR REPLACE INTO _objects(id, kind, name, stream, version, statement, "
                                       "created_at, state, progress) "
                                       "VALUES (?1, 'stream', ?2, NULL, ?3, ?4, ?5, 'live', 1)"));
            insert->bind(1, store::Value::of(static_cast<std::int64_t>(def->id.packed())));
            insert->bind(2, store::Value::of(std::string_view(def->name)));
            insert->bind(3, store::Value::of(static_cast<std::int64_t>(def->version)));
            insert->bind(4, store::Value::of(std::string_view(def->statement)));
            insert->bind(5, store::Value::of(def->created_at_ms));
            TRY(insert->step());
            return {};
        });
    }
    definitions_changed_ = true;
    if (recovered_) outputs_.stream_defined(facts_of(present, true));
    return {};
}

// Another definition of a stream, from this entry on. Everything that hangs on it changes here, at one place of the
// log.
Status Applier::alter_stream(Stream& stream, const log::DefineStream& define) {
    const record::Stream& old = *stream.def;
    // CREATE proposed twice, as after a crash; or this very ALTER.
    if (define.version == 1 || (define.version == old.version && define.statement == old.statement)) return {};
    if (define.version != old.version + 1) {
        return Error{Errc::conflict,
                     "the definition of " + old.name +
                         " was changed by somebody else in the same moment: look at it, and repeat what "
                         "is still to do"};
    }
    const auto create = TRY(stream_statement(define));
    TRY(sql::check_change(TRY(stream_statement({old.id, old.version, old.name, old.statement})), create));
    const record::Schema& schema = create.schema;
    const bool times_change =
        schema.delay_ms != old.schema.delay_ms || schema.idle_after_ms != old.schema.idle_after_ms;
    for (const auto* view : stream.views) {
        // How far its build is differs between replicas.
        if (times_change && view->build)
            return Error{Errc::building, "view " + view->name +
                                             " is being built, and its windows follow DELAY and IDLE "
                                             "AFTER: ALTER them when it is live (SHOW VIEWS)"};
    }
    const auto def = stream_of(define, create, old.created_at_ms);
    const std::int64_t old_within_ms = old.schema.dedup_within_ms;
    stream.def = def;
    for (auto& partition : stream.partitions)
        partition->set_options(partition_options(*def));
    stream.dead->set_options(partition_options(*def));
    stream.journal->set_options(journal_options(*def));
    change_within(stream, old_within_ms, schema.dedup_within_ms);
    for (auto* view : stream.views) {
        if (view->plan.tumble.delay_ms == schema.delay_ms) continue;
        view->plan.tumble.delay_ms = schema.delay_ms;
        if (view->tumble) view->tumble->set_delay(schema.delay_ms);
        view->changed = view->touched = true;
    }
    stream.told_due_ms = INT64_MIN;  // ticks may be due at other times
    touch(stream);
    if (writes_rows()) {
        row_changes_.push_back([this, def]() -> Status {
            auto update = TRY(database_->prepare("UPDATE _objects SET version = ?2, statement = ?3 WHERE id = ?1"));
            update->bind(1, store::Value::of(static_cast<std::int64_t>(def->id.packed())));
            update->bind(2, store::Value::of(static_cast<std::int64_t>(def->version)));
            update->bind(3, store::Value::of(std::string_view(def->statement)));
            TRY(update->step());
            return {};
        });
    }
    definitions_changed_ = true;
    if (recovered_ && outputs_.stream_altered) outputs_.stream_altered(facts_of(stream, false));
    return {};
}

// The dedup buckets have another width: everything that counts in them is counted again.
void Applier::change_within(Stream& stream, std::int64_t from_ms, std::int64_t to_ms) {
    if (from_ms == to_ms) return;
    rebucket(stream.runs, from_ms, to_ms);
    if (stream.expired_bucket != INT64_MIN)
        stream.expired_bucket = dedup::expired_rebucketed(stream.expired_bucket, from_ms, to_ms);
    std::map<std::int64_t, std::vector<dedup::RunEntry>> recent;
    for (auto& [bucket, ids] : stream.recent) {
        auto& into = recent[dedup::rebucketed(bucket, from_ms, to_ms)];
        into.insert(into.end(), ids.begin(), ids.end());
    }
    stream.recent = std::move(recent);
}

Applier::View* Applier::view_named(const std::string& name) const {
    for (const auto& [id, view] : views_)
        if (folded(view->name) == folded(name)) return view.get();
    return nullptr;
}

// OR REPLACE makes the rows again from the log. Where the log no longer holds what rows were made of, they would go.
Status Applier::check_replaceable(const View& view, const Stream& stream, const sql::CreateView& create) const {
    const std::string what_to_do = ". DROP MATERIALIZED VIEW " + view.name + " and CREATE it, if they may go";
    for (std::size_t p = 0; p < stream.partitions.size(); p++) {
        const auto& log = *stream.partitions[p];
        if (log.start_offset() > 0) {
            return Error{Errc::conflict, "OR REPLACE makes the rows of view " + view.name +
                                             " anew from the events, and RETAIN has removed some of them (partition " +
                                             std::to_string(p) + " of " + stream.def->name + " begins at offset " +
                                             std::to_string(log.start_offset()) + "): rows would be lost" + what_to_do};
        }
        if (create.from_now && log.end_offset() > 0) {
            return Error{Errc::conflict, "OR REPLACE with FROM NOW: the rows of what " + stream.def->name +
                                             " holds already would be lost" + what_to_do};
        }
    }
    return {};
}

Status Applier::define_view(const log::DefineView& define, std::int64_t append_ms) {
    if (views_.contains(define.id)) return {};
    const auto it = streams_.find(define.stream);
    if (it == streams_.end()) return Error{Errc::not_found, "the stream of view " + define.name + " is gone"};
    auto parsed = sql::parse(define.statement);
    if (!parsed) return parsed.error();
    const auto* create = std::get_if<sql::CreateView>(&parsed.value());
    if (create == nullptr)
        return Error{Errc::corrupt, "the definition of " + define.name + " is not CREATE MATERIALIZED VIEW"};
    auto planned = plan_view(*it->second->def, *create);
    if (!planned) return planned.error();

    const View* replaced = create->or_replace ? view_named(define.name) : nullptr;
    if (replaced != nullptr) TRY(check_replaceable(*replaced, *it->second, *create));

    auto view = std::make_unique<View>();
    view->id = define.id;
    view->stream = define.stream;
    view->name = define.name;
    view->statement = sql::definition(*create);
    view->created_at_ms = append_ms;
    view->plan = std::move(planned).value();
    view->plan.tumble.groups_max = options_.groups_max;
    view->touched = true;
    auto tumble = stream::Tumble::open(it->second->def->schema, view->plan.tumble, state_, object_key('o', define.id));
    if (!tumble) return tumble.error();
    view->tumble = std::move(tumble).value();
    if (replaced != nullptr) TRY(drop_view(replaced->id));
    // Over a stream without events there is nothing to build, and every replica sees that at this entry.
    const bool building =
        !create->from_now && std::any_of(it->second->partitions.begin(), it->second->partitions.end(),
                                         [](const auto& log) { return log->end_offset() > log->start_offset(); });
    if (building) {
        view->state = "building";
        view->build = std::make_shared<Build>(LogIndex(0), it->second->partitions.size());
    }
    View& present = *view;
    views_[define.id] = std::move(view);
    it->second->views.push_back(&present);
    count_builds();
    touch(*it->second);
    if (auto entry = catalog_.find(define.id); entry != catalog_.end() && !entry->second.was_defined) {
        entry->second.was_defined = true;
        catalog_changed_.push_back(define.id);
    }
    if (writes_rows()) {
        std::string columns = "_k BLOB PRIMARY KEY NOT NULL";
        for (std::size_t i = 0; i < present.plan.columns.size(); i++) {
            // "JSON" would give the column numeric affinity and turn '1' into 1.
            const auto& type = present.plan.columns[i].type;
            columns += ", c" + std::to_string(i) + " " + (type == "JSON" ? "TEXT" : type);
        }
        // Pages by key (WHERE window_start = x AND user > y ORDER BY user LIMIT 100) must not read every row. The first
        // term of GROUP BY leads: mostly the window.
        std::string by_key;
        for (std::size_t key = 0; key < create->keys.size(); key++) {
            const auto shown = std::ranges::find(create->items, static_cast<int>(key), &sql::ViewItem::key);
            if (shown == create->items.end()) continue;
            by_key += (by_key.empty() ? "c" : ", c") + std::to_string(shown - create->items.begin());
        }
        // By value: the view may be dropped again before the next row commit.
        const bool counts_rows = !present.plan.row_per_group;
        row_changes_.push_back([this, define, statement = present.statement, append_ms, columns, by_key, building,
                                counts_rows]() -> Status {
            TRY(database_->exec(
                "CREATE TABLE IF NOT EXISTS " + store::quote_name(view_table(define.id)) + "(" + columns +
                ") WITHOUT ROWID; CREATE TABLE IF NOT EXISTS " + store::quote_name(late_table(define.id)) +
                "(partition INTEGER NOT NULL, \"offset\" INTEGER NOT NULL, window_start TIMESTAMP NOT NULL, "
                "event_time TIMESTAMP NOT NULL, raw TEXT, PRIMARY KEY (partition, \"offset\", window_start)) "
                "WITHOUT ROWID"));
            if (!by_key.empty()) {
                const std::string table = view_table(define.id);
                TRY(database_->exec("CREATE INDEX IF NOT EXISTS " + store::quote_name(table + "_by_key") + " ON " +
                                    store::quote_name(table) + "(" + by_key + ")"));
            }
            if (counts_rows) TRY(database_->exec(row_count_triggers(define.id)));
            auto insert =
                TRY(database_->prepare("INSERT OR REPLACE INTO _objects(id, kind, name, stream, version, statement, "
                                       "created_at, state, progress) "
                                       "VALUES (?1, 'view', ?2, ?3, 1, ?4, ?5, ?6, ?7)"));
            insert->bind(1, store::Value::of(static_cast<std::int64_t>(define.id.packed())));
            insert->bind(2, store::Value::of(std::string_view(define.name)));
            insert->bind(3, store::Value::of(static_cast<std::int64_t>(define.stream.packed())));
            insert->bind(4, store::Value::of(std::string_view(statement)));
            insert->bind(5, store::Value::of(append_ms));
            insert->bind(6, store::Value::of(std::string_view(building ? "building" : "live")));
            insert->bind(7, store::Value::of(building ? 0.0 : 1.0));
            TRY(insert->step());
            return {};
        });
    }
    definitions_changed_ = true;
    return {};
}

Status Applier::drop_view(ObjectId id) {
    const auto it = views_.find(id);
    if (it == views_.end()) return {};
    View& view = *it->second;
    const ObjectId of = view.stream;
    if (auto stream = streams_.find(view.stream); stream != streams_.end()) std::erase(stream->second->views, &view);
    std::erase_if(late_, [&](const auto& row) { return row.view == &view; });
    dropped_views_.push_back(id);  // its operator's keys go at the next checkpoint
    removed_.push_back({object_key('v', id), std::nullopt});
    if (writes_rows()) {
        row_changes_.push_back([this, id]() -> Status {
            const auto text = std::to_string(id.packed());
            return database_->exec(
                "DROP TABLE IF EXISTS " + store::quote_name(view_table(id)) + "; DROP TABLE IF EXISTS " +
                store::quote_name(late_table(id)) + "; DELETE FROM _objects WHERE id = " + text +
                "; DELETE FROM _views WHERE view = " + text + "; DELETE FROM _watermarks WHERE view = " + text +
                "; DELETE FROM _windows WHERE view = " + text);
        });
    }
    views_.erase(id);
    count_builds();
    if (auto stream = streams_.find(of); stream != streams_.end()) touch(*stream->second);
    definitions_changed_ = true;
    return {};
}

Status Applier::drop_stream(ObjectId id, bool with_views) {
    const auto it = streams_.find(id);
    if (it == streams_.end()) return {};
    Stream& stream = *it->second;
    if (!stream.views.empty() && !with_views) {
        std::vector<std::string> names;
        for (const auto* view : stream.views)
            names.push_back(view->name);
        return Error{Errc::conflict, sql::depends_text(stream.def->name, std::move(names))};
    }
    while (!stream.views.empty())
        TRY(drop_view(stream.views.back()->id));
    TRY(flush_logs());
    removed_.push_back({object_key('s', id), std::nullopt});
    if (writes_rows()) {
        row_changes_.push_back([this, id]() -> Status {
            const auto text = std::to_string(id.packed());
            return database_->exec(
                "DELETE FROM _objects WHERE id = " + text + "; DELETE FROM _ends WHERE stream = " + text +
                "; DELETE FROM _journals WHERE stream = " + text + "; DELETE FROM _counters WHERE stream = " + text);
        });
    }
    std::erase(touched_, &stream);
    for (const auto& [bucket, ids] : stream.recent)
        recent_ids_ -= ids.size();
    unlink_later({stream.dir}, true);
    streams_.erase(it);
    definitions_changed_ = true;
    if (recovered_) outputs_.stream_dropped(id);
    return {};
}

void Applier::publish_definitions() {
    auto definitions = std::make_shared<Definitions>();
    definitions->index = applied_;
    for (const auto& [id, stream] : streams_)
        if (!id.is_null()) definitions->streams.push_back(stream->def);
    for (const auto& [id, view] : views_) {
        definitions->views.push_back({id, view->name, view->stream, view->statement, view->state});
    }
    for (const auto& [id, entry] : catalog_) {
        const bool defined = entry.kind == log::ObjectKind::stream ? streams_.contains(id) : views_.contains(id);
        if (!defined) definitions->loose.push_back({id, entry.kind, entry.name, entry.statement, entry.was_defined});
    }
    definitions_changed_ = false;
    outputs_.definitions(std::move(definitions));
}

}  // namespace weir::apply
