#include "cluster/local_catalog.h"

#include "apply/view_plan.h"
#include "base/check.h"
#include "log/entry.h"
#include "obs/log.h"
#include "os/progress.h"
#include "os/snapshot.h"
#include "record/json.h"
#include "store/expression.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <functional>
#include <future>
#include <set>
#include <utility>

namespace weir::cluster {
namespace {

// How long a statement waits for its entries. Later its fate is unknown: it may still happen.
constexpr std::chrono::seconds statement_wait{30};
// How long CREATE waits for its view to be live: short builds are over when it answers, long ones say `building`.
constexpr std::chrono::seconds build_wait{2};
constexpr std::int64_t day_ms = 86'400'000;

struct Outcome {
    Status status;
    ObjectId id;
    LogIndex index;
};
using Promise = std::shared_ptr<std::promise<Outcome>>;

// A CHECK that does not compile would refuse every event of its stream. Errors: as compile_checks, at the place of the
// CHECK in the statement.
Status check_checks(const sql::CreateStream& statement) {
    record::Schema one = statement.schema;
    for (record::Column& column : one.columns)
        column.check_sql.clear();
    for (std::size_t i = 0; i < one.columns.size(); ++i) {
        const std::string& check = statement.schema.columns[i].check_sql;
        if (check.empty()) continue;
        one.columns[i].check_sql = check;
        auto compiled = store::compile_checks(one);
        one.columns[i].check_sql.clear();
        if (compiled) continue;
        Error error = std::move(compiled).error();
        error.position = i < statement.check_positions.size() ? statement.check_positions[i] : -1;
        return error;
    }
    TRY(store::compile_checks(statement.schema));  // and all of them together
    return {};
}

// A DEFAULT is a constant: it is evaluated here, once, and the log has its value. So no version of anything reads it
// otherwise later. Errors: invalid_argument and forbidden, at its place in the statement.
Status settle_defaults(sql::CreateStream& statement) {
    for (std::size_t i = 0; i < statement.schema.columns.size(); ++i) {
        record::Column& column = statement.schema.columns[i];
        if (column.default_sql.empty()) continue;
        const std::int64_t position =
            i < statement.default_positions.size() ? statement.default_positions[i] : std::int64_t{-1};
        const auto wrong = [&](Errc code, const std::string& why) {
            return Error{code, "DEFAULT of column " + column.name + ": " + why, 0, position};
        };
        const auto value = store::constant_literal(column.default_sql);
        if (!value) {
            const bool reads = value.error().detail.starts_with("no such column");
            return wrong(
                value.error().code,
                value.error().detail + (reads ? " (a DEFAULT is the same for every event: it reads no column)" : ""));
        }
        column.default_sql = value.value() == "NULL" ? std::string() : value.value();
        if (column.default_sql.empty()) continue;
        const std::string fault = record::default_fault(column.type, column.default_sql);
        if (!fault.empty()) return wrong(Errc::invalid_argument, fault);
    }
    return {};
}

// What a statement of the log defines, to compare with another.
std::string definition_of(const std::string& statement) {
    auto parsed = sql::parse(statement);
    if (!parsed) return {};
    if (auto* stream = std::get_if<sql::CreateStream>(&parsed.value())) return sql::definition(std::move(*stream));
    if (auto* view = std::get_if<sql::CreateView>(&parsed.value())) return sql::definition(std::move(*view));
    return {};
}

// The statement that a stream of the snapshot was made by, or altered to.
Result<sql::CreateStream> stream_of(const record::Stream& stream) {
    auto parsed = sql::parse(stream.statement);
    if (!parsed) return parsed.error();
    auto* create = std::get_if<sql::CreateStream>(&parsed.value());
    if (create == nullptr) return Error{Errc::corrupt, "the definition of " + stream.name + " is not CREATE STREAM"};
    return std::move(*create);
}

class Local final : public LocalCatalog {
  public:
    explicit Local(bool undeclared) : undeclared_(undeclared), snapshot_(std::make_shared<CatalogSnapshot>()) {}

    void attach(replica::ShardPort& shard) override { shard_ = &shard; }
    void on_definitions(std::shared_ptr<const apply::Definitions> definitions) override;
    std::shared_ptr<const CatalogSnapshot> snapshot() const override { return snapshot_.get(); }
    replica::ShardPort& shard_of(const record::Stream&) override { return *shard_; }
    replica::ShardPort& home() override { return *shard_; }

    Result<Changed> create(const sql::CreateStream& statement) override;
    Result<Changed> create(const sql::CreateView& statement) override;
    Result<Changed> alter(const sql::AlterStream& statement) override;
    Result<Changed> drop(const sql::DropObject& statement) override;
    Result<Changed> flush(const sql::FlushView& statement) override;
    Result<record::StreamPtr> ensure_stream(std::string_view name, Undeclared kind) override;

  private:
    Status may_change() const;
    Result<Changed> replace(const record::Stream& stream, const sql::CreateStream& statement);
    Result<Changed> redefine(const record::Stream& stream, sql::CreateStream next);
    Result<Changed> create_object(log::CatalogPut put, ObjectId stream);
    Result<Changed> wait(const Promise& promise);
    bool propose(const log::Section& section, std::function<void(LogIndex, Status)> applied, bool gives_id = false);
    // The second half of CREATE: the definition from the catalog's entry; taken back where it cannot be applied.
    void define(ObjectId id, const log::CatalogPut& put, ObjectId stream, const Promise& promise);
    void finish_drop(ObjectId id, const Promise& promise);
    // The second half of whatever was dropped or replaced; then `outcome` is told.
    void finish_drops(const Promise& promise, Outcome outcome);
    void wait_built(ObjectId view);

    const bool undeclared_;
    replica::ShardPort* shard_ = nullptr;
    os::Snapshot<CatalogSnapshot> snapshot_;
    os::Progress changes_;  // of the snapshot
    std::atomic<bool> resumed_{false};
    // Of the apply thread: ids that have a catalog entry and no definition any more, and those of them whose entry has
    // been proposed to go.
    std::vector<ObjectId> dropped_;
    std::set<ObjectId> finishing_;
};

Status Local::may_change() const {
    if (shard_ == nullptr || !shard_->ready()) {
        return Error{Errc::recovering, "the server is still reading its log; try again in a moment"};
    }
    return {};
}

bool Local::propose(const log::Section& section, std::function<void(LogIndex, Status)> applied, bool gives_id) {
    replica::Control control;
    control.section = log::encode_section(section);
    control.applied = std::move(applied);
    control.gives_id = gives_id;
    return shard_->propose(std::move(control));
}

void Local::on_definitions(std::shared_ptr<const apply::Definitions> definitions) {
    auto next = std::make_shared<CatalogSnapshot>();
    for (const auto& stream : definitions->streams)
        next->streams[stream->name] = stream;
    for (const auto& view : definitions->views) {
        auto definition = std::make_shared<ViewDefinition>();
        definition->id = view.id;
        definition->name = view.name;
        definition->stream = view.stream;
        definition->statement = view.statement;
        definition->state = view.state;
        next->views[view.name] = std::move(definition);
    }
    dropped_.clear();
    for (const auto& loose : definitions->loose)
        if (loose.dropping) dropped_.push_back(loose.id);
    std::erase_if(finishing_, [this](ObjectId id) { return std::ranges::find(dropped_, id) == dropped_.end(); });
    snapshot_.set(next);
    changes_.advance(changes_.value() + 1);
    if (resumed_.exchange(true)) return;
    for (const auto& loose : definitions->loose) {
        auto promise = std::make_shared<std::promise<Outcome>>();  // nobody waits: its process is gone
        obs::log(obs::Level::info, "resume_statement",
                 {{"name", loose.name}, {"what", loose.dropping ? "drop" : "create"}});
        if (loose.dropping) {
            finish_drop(loose.id, promise);
            continue;
        }
        ObjectId stream;
        if (loose.kind == log::ObjectKind::view) {
            const auto parsed = sql::parse(loose.statement);
            const auto* view = parsed ? std::get_if<sql::CreateView>(&parsed.value()) : nullptr;
            const auto of = view != nullptr ? next->stream(view->stream) : nullptr;
            if (of == nullptr) {
                finish_drop(loose.id, promise);  // its stream went away in between
                continue;
            }
            stream = of->id;
        }
        define(loose.id, {loose.kind, loose.name, loose.statement}, stream, promise);
    }
}

Result<Changed> Local::wait(const Promise& promise) {
    auto future = promise->get_future();
    if (future.wait_for(statement_wait) != std::future_status::ready) {
        return Error{
            Errc::timed_out,
            "the statement was not applied within 30 s and may still be; look with SHOW STREAMS before you repeat it"};
    }
    auto outcome = future.get();
    TRY(std::move(outcome.status));
    return Changed{true, outcome.id, outcome.index};
}

void Local::finish_drop(ObjectId id, const Promise& promise) {
    finishing_.insert(id);
    const bool taken = propose(log::CatalogDrop{id}, [promise, id](LogIndex index, Status status) {
        promise->set_value({std::move(status), id, index});
    });
    if (!taken) promise->set_value({Error{Errc::shutting_down, "the server is stopping"}, id, {}});
}

void Local::finish_drops(const Promise& promise, Outcome outcome) {
    std::vector<ObjectId> ids;
    for (const ObjectId id : dropped_)
        if (!finishing_.contains(id)) ids.push_back(id);
    if (ids.empty()) return promise->set_value(std::move(outcome));
    // What came last goes first: views before the stream that they read. The last one's answer is the statement's.
    std::ranges::sort(ids, std::greater<>());
    for (const ObjectId id : ids) {
        finishing_.insert(id);
        const bool is_last = id == ids.back();
        const bool taken = propose(log::CatalogDrop{id}, [=, of = outcome.id](LogIndex index, Status status) {
            if (is_last) promise->set_value({std::move(status), of, index});
        });
        if (is_last && !taken)
            promise->set_value({Error{Errc::shutting_down, "the server is stopping"}, outcome.id, {}});
    }
}

void Local::define(ObjectId id, const log::CatalogPut& put, ObjectId stream, const Promise& promise) {
    log::Section section;
    if (put.kind == log::ObjectKind::stream) {
        section = log::DefineStream{id, 1, put.name, put.statement};
    } else {
        section = log::DefineView{id, stream, put.name, put.statement};
    }
    const bool taken = propose(section, [this, promise, id](LogIndex index, Status status) {
        if (status) return finish_drops(promise, {{}, id, index});
        // The name must not stay taken by something that cannot be.
        const bool dropping = propose(log::CatalogDrop{id}, [promise, id, status](LogIndex at, const Status&) {
            promise->set_value({status, id, at});
        });
        if (!dropping) promise->set_value({std::move(status), id, index});
    });
    if (!taken) promise->set_value({Error{Errc::shutting_down, "the server is stopping"}, id, {}});
}

Result<Changed> Local::create_object(log::CatalogPut put, ObjectId stream) {
    auto promise = std::make_shared<std::promise<Outcome>>();
    const bool taken = propose(
        put,
        [this, promise, put, stream](LogIndex index, Status status) {
            if (!status) {
                promise->set_value({std::move(status), {}, index});
                return;
            }
            define(ObjectId{shard_->id(), index}, put, stream, promise);
        },
        true);
    if (!taken) return Error{Errc::shutting_down, "the server is stopping"};
    return wait(promise);
}

Result<Changed> Local::create(const sql::CreateStream& as_written) {
    TRY(may_change());
    TRY(sql::check_name(as_written.name));
    sql::CreateStream statement = as_written;
    TRY(settle_defaults(statement));
    const auto present = snapshot();
    if (const auto stream = present->stream(statement.name)) {
        if (statement.if_not_exists) return Changed{false, stream->id, shard_->visible()};
        if (statement.or_replace) return replace(*stream, statement);
        return Error{Errc::already_exists, "there is a stream named " + statement.name};
    }
    if (present->view(statement.name)) return Error{Errc::already_exists, "there is a view named " + statement.name};
    TRY(check_checks(statement));
    auto changed = create_object({log::ObjectKind::stream, statement.name, sql::canonical(statement)}, {});
    if (!changed && changed.error().code == Errc::already_exists && statement.if_not_exists) {
        return Changed{false, {}, shard_->visible()};
    }
    return changed;
}

// The stream by another definition. Errors: conflict, also where another statement changed it first.
Result<Changed> Local::redefine(const record::Stream& stream, sql::CreateStream next) {
    std::string statement = sql::definition(std::move(next));
    if (definition_of(stream.statement) == statement) return Changed{false, stream.id, shard_->visible()};
    auto promise = std::make_shared<std::promise<Outcome>>();
    const log::DefineStream define{stream.id, stream.version + 1, stream.name, std::move(statement)};
    const bool taken = propose(define, [promise, id = stream.id](LogIndex index, Status status) {
        promise->set_value({std::move(status), id, index});
    });
    if (!taken) return Error{Errc::shutting_down, "the server is stopping"};
    return wait(promise);
}

// A stream keeps its events: OR REPLACE does what ALTER can without losing any.
Result<Changed> Local::replace(const record::Stream& stream, const sql::CreateStream& statement) {
    auto present = TRY(stream_of(stream));
    TRY(sql::check_change(present, statement));
    if (const std::string loss = sql::loss_text(present, statement); !loss.empty())
        return Error{Errc::conflict, "OR REPLACE loses nothing, and " + loss + ". ALTER STREAM " + stream.name +
                                         " SET ... does it, if events may go"};
    TRY(check_checks(statement));
    return redefine(stream, statement);
}

Result<Changed> Local::alter(const sql::AlterStream& as_written) {
    TRY(may_change());
    const auto present = snapshot();
    const auto stream = present->stream(as_written.name);
    if (stream == nullptr) {
        if (as_written.if_exists) return Changed{false, {}, shard_->visible()};
        const bool is_view = present->view(as_written.name) != nullptr;
        return Error{Errc::not_found,
                     "there is no stream named " + as_written.name +
                         (is_view ? ", but a view: CREATE OR REPLACE MATERIALIZED VIEW changes one" : "")};
    }
    auto next = TRY(sql::altered(TRY(stream_of(*stream)), as_written));
    TRY(settle_defaults(next));
    TRY(check_checks(next));
    return redefine(*stream, std::move(next));
}

Result<Changed> Local::create(const sql::CreateView& statement) {
    TRY(may_change());
    TRY(sql::check_name(statement.name));
    const auto present = snapshot();
    if (const auto view = present->view(statement.name)) {
        // OR REPLACE by what is there already leaves it alone.
        const bool same = statement.or_replace && definition_of(view->statement) == sql::definition(statement);
        if (statement.if_not_exists || same) return Changed{false, view->id, shard_->visible()};
        if (!statement.or_replace) return Error{Errc::already_exists, "there is a view named " + statement.name};
    }
    if (present->stream(statement.name))
        return Error{Errc::already_exists, "there is a stream named " + statement.name};
    const auto stream = present->stream(statement.stream);
    if (stream == nullptr) return Error{Errc::not_found, "there is no stream named " + statement.stream};
    if (auto planned = apply::plan_view(*stream, statement); !planned) {
        Error error = std::move(planned).error();
        error.position = -1;  // it counts in the text of one expression, not in the statement's
        return error;
    }
    auto changed = create_object({log::ObjectKind::view, statement.name, sql::canonical(statement)}, stream->id);
    if (changed) wait_built(changed.value().id);
    return changed;
}

void Local::wait_built(ObjectId id) {
    for (;;) {
        const std::uint64_t change = changes_.value();
        const auto present = snapshot();
        const auto is_building = [id](const auto& item) {
            return item.second->id == id && item.second->state == "building";
        };
        if (std::none_of(present->views.begin(), present->views.end(), is_building)) return;
        if (!changes_.wait_for(change + 1, build_wait)) return;
    }
}

Result<Changed> Local::drop(const sql::DropObject& statement) {
    TRY(may_change());
    const auto present = snapshot();
    const auto stream = present->stream(statement.name);
    const auto view = present->view(statement.name);
    if (statement.is_view ? view == nullptr : stream == nullptr) {
        if (statement.if_exists) return Changed{false, {}, shard_->visible()};
        std::string text =
            std::string("there is no ") + (statement.is_view ? "view" : "stream") + " named " + statement.name;
        if (statement.is_view && stream) text += ", but a stream: DROP STREAM " + statement.name;
        if (!statement.is_view && view) text += ", but a view: DROP MATERIALIZED VIEW " + statement.name;
        return Error{Errc::not_found, text};
    }
    if (!statement.is_view && !statement.cascade) {
        std::vector<std::string> names;
        for (const auto& [name, other] : present->views)
            if (other->stream == stream->id) names.push_back(name);
        if (!names.empty()) return Error{Errc::conflict, sql::depends_text(statement.name, std::move(names))};
    }
    const ObjectId id = statement.is_view ? view->id : stream->id;
    // Which views CASCADE drops the entry decides, where it stands in the log.
    log::Section section = log::DropStream{id, statement.cascade};
    if (statement.is_view) section = log::DropView{id};
    auto promise = std::make_shared<std::promise<Outcome>>();
    const bool taken = propose(section, [this, promise, id](LogIndex index, Status status) {
        if (!status) {
            promise->set_value({std::move(status), id, index});
            return;
        }
        // Definitions were told before this, of whatever else the entry took. Twice is once for an entry that drops.
        if (std::ranges::find(dropped_, id) == dropped_.end()) dropped_.push_back(id);
        finishing_.erase(id);
        finish_drops(promise, {{}, id, index});
    });
    if (!taken) return Error{Errc::shutting_down, "the server is stopping"};
    return wait(promise);
}

Result<Changed> Local::flush(const sql::FlushView& statement) {
    TRY(may_change());
    const auto view = snapshot()->view(statement.name);
    if (view == nullptr) {
        std::string text = "there is no view named " + statement.name;
        if (snapshot()->stream(statement.name)) text += ", but a stream: FLUSH closes windows of a view";
        return Error{Errc::not_found, text};
    }
    auto promise = std::make_shared<std::promise<Outcome>>();
    const bool taken = propose(log::Flush{view->id}, [promise, id = view->id](LogIndex index, Status status) {
        promise->set_value({std::move(status), id, index});
    });
    if (!taken) return Error{Errc::shutting_down, "the server is stopping"};
    return wait(promise);
}

Result<record::StreamPtr> Local::ensure_stream(std::string_view name, Undeclared kind) {
    if (auto stream = snapshot()->stream(name)) return stream;
    TRY(may_change());  // until then the snapshot does not hold what there is
    if (auto stream = snapshot()->stream(name)) return stream;
    if (!undeclared_) {
        return Error{Errc::not_found, "there is no stream named " + std::string(name) +
                                          ", and this server does not make undeclared ones: CREATE STREAM first"};
    }
    if (snapshot()->view(name)) return Error{Errc::conflict, std::string(name) + " is a view; events go to streams"};
    auto statement = undeclared_stream(name, kind);
    statement.if_not_exists = true;
    TRY(create(statement));
    if (auto stream = snapshot()->stream(name)) return stream;
    return Error{Errc::conflict,
                 "the name " + std::string(name) +
                     " is taken by one that differs only in case, or was dropped in the same moment: SQL does "
                     "not tell such names apart"};
}

}  // namespace

record::StreamPtr CatalogSnapshot::stream(std::string_view name) const {
    const auto it = streams.find(name);
    return it == streams.end() ? nullptr : it->second;
}

ViewPtr CatalogSnapshot::view(std::string_view name) const {
    const auto it = views.find(name);
    return it == views.end() ? nullptr : it->second;
}

sql::CreateStream undeclared_stream(std::string_view name, Undeclared kind) {
    sql::CreateStream statement;
    statement.name = std::string(name);
    auto add = [&statement](const char* column, record::ColumnType type, const char* member) {
        record::Column c;
        c.name = column;
        c.type = type;
        if (member != nullptr) {
            c.path.push_back({member, -1});
            c.path_text = std::string("$.") + member;
        } else {
            c.path_text = "$";
        }
        statement.schema.columns.push_back(std::move(c));
    };
    const bool cloud = kind == Undeclared::cloudevents;
    add("event_id", record::ColumnType::text, cloud ? "id" : "event_id");
    add("event_type", record::ColumnType::text, cloud ? "type" : "event_type");
    add("event_time", record::ColumnType::timestamp, cloud ? "time" : "timestamp");
    add("key", record::ColumnType::text, cloud ? "partitionkey" : "key");
    add("payload", record::ColumnType::json, nullptr);
    statement.schema.event_time = 2;
    statement.schema.dedup_key = {0};
    if (cloud) {
        add("event_source", record::ColumnType::text, "source");
        statement.schema.dedup_key = {5, 0};
        statement.schema.partition_by = 3;
    }
    statement.schema.dedup_within_ms = day_ms;
    statement.schema.lenient = true;
    return statement;
}

std::unique_ptr<LocalCatalog> LocalCatalog::make(bool undeclared) {
    return std::make_unique<Local>(undeclared);
}

}  // namespace weir::cluster
