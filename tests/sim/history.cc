// One history: a client, a node with power cuts, and the checks afterwards.
#include "apply/tables.h"
#include "dedup/run.h"
#include "record/batch.h"
#include "sim/one_node.h"
#include "support/entry_buffer.h"

#include <algorithm>
#include <iterator>
#include <optional>
#include <utility>
#include <variant>

namespace weir::sim {
namespace {

constexpr std::int64_t within_ms = 3'600'000;
constexpr std::int64_t retain_ms = 2 * 3'600'000;
constexpr std::int64_t long_retain_ms = 7 * 86'400'000;
constexpr PartitionNo partitions_count = 3;
// A history has one of them, by its seed.
constexpr const char* view_sqls[] = {
    "CREATE MATERIALIZED VIEW v AS SELECT window_start, kind, count(*) AS c, sum(n) AS total, max(n) AS top, "
    "avg(n * 0.1) AS mean FROM TUMBLE(s, 10m) WHERE n < 90 GROUP BY window_start, kind LATENESS 10m EMIT CHANGES",
    "CREATE MATERIALIZED VIEW v AS SELECT window_start, kind, count(*) AS c, count(DISTINCT n % 10) AS tens, "
    "last(id) AS newest, sum(n * 0.1) AS tenth FROM TUMBLE(s, 10m) GROUP BY window_start, kind LATENESS 10m EMIT FINAL",
    "CREATE MATERIALIZED VIEW v AS SELECT window_start, kind, count(*) AS c, first(n) AS oldest FROM TUMBLE(s, 10m) "
    "GROUP BY window_start, kind HAVING c % 3 > 0 AND max(n) > 20 LATENESS 10m EMIT CHANGES",
    "CREATE MATERIALIZED VIEW v AS SELECT window_start, kind, count(DISTINCT id) AS ids FROM TUMBLE(s, 10m) "
    "GROUP BY window_start, kind HAVING ids % 4 < 3 LATENESS 10m EMIT CHANGES EVERY 200ms",
};
constexpr std::int64_t first_event_ms = 1'700'000'000'000;

std::string stream_sql(bool expiry) {
    return std::string(
               "CREATE STREAM s (id TEXT, n INTEGER CHECK (n >= 0), kind TEXT, ts TIMESTAMP, EVENT TIME ts DELAY 5m "
               "MAX FUTURE 36500d, DEDUP KEY (id) WITHIN 1h) PARTITIONS 3 RETAIN ") +
           (expiry ? "2h" : "7d");
}

std::string id_of(const std::string& line) {
    const auto begin = line.find("\"id\":\"") + 6;
    return line.substr(begin, line.find('"', begin) - begin);
}
// A line whose CHECK fails; it ends as a dead letter each time that it is sent.
bool is_bad(const std::string& line) {
    return line.find("\"n\":-1") != std::string::npos;
}

// What the client remembers.
struct Client {
    std::uint64_t next_id = 1;
    std::vector<std::string> lines;       // every good line ever made
    std::vector<std::string> unanswered;  // whose fate is unknown: sent again
    std::set<std::string> acked;          // ids
    std::set<std::string> acked_bad;      // lines
    std::vector<std::pair<std::string, std::pair<PartitionNo, std::int64_t>>> places;  // that answers named, by id
    struct Range {
        replica::PartitionRange range;
        std::set<std::string> ids;  // of the request
    };
    std::vector<Range> ranges;
    std::uint64_t duplicates = 0;

    std::string new_event(Prng& prng) {
        const std::uint64_t id = next_id++;
        // Event times wander: mostly forward, some far back.
        const std::int64_t at = first_event_ms + static_cast<std::int64_t>(id) * 20'000 -
                                static_cast<std::int64_t>(prng.below(prng.chance(0.1) ? 4'000'000 : 200'000));
        const char* kinds[] = {"a", "b", "c"};
        const bool bad = prng.chance(0.03);
        return "{\"id\":\"e" + std::to_string(id) + "\",\"n\":" + (bad ? "-1" : std::to_string(prng.below(100))) +
               ",\"kind\":\"" + kinds[prng.below(3)] + "\",\"ts\":" + std::to_string(at) + "}";
    }

    void send(World& world, Node& node, const std::vector<std::string>& request) {
        std::string body;
        for (const auto& line : request)
            body += line + "\n";
        node.send(body, [this, w = &world, request](replica::IngestOutcome&& outcome) {
            if (outcome.status) on_answer(*w, request, outcome);  // else the lines stay unanswered
        });
    }

  private:
    void on_answer(World& world, const std::vector<std::string>& request, const replica::IngestOutcome& outcome) {
        if (outcome.accepted + outcome.duplicates + outcome.rejected != request.size())
            return world.fail("an answer that does not count its lines");
        std::set<std::string> ids;
        for (const auto& line : request) {
            std::erase(unanswered, line);
            if (is_bad(line)) {
                acked_bad.insert(line);
            } else {
                acked.insert(id_of(line));
                ids.insert(id_of(line));
            }
        }
        duplicates += outcome.duplicates;
        for (const auto& d : outcome.duplicate_of)
            places.push_back({id_of(request.at(d.index)), {d.partition, d.offset}});
        for (const auto& range : outcome.partitions)
            ranges.push_back({range, ids});
    }
};

// ---- what the committed entries say, read without any of the code that applies them ---------------------------------

struct Model {
    struct Record {
        std::string value;
        std::int64_t append_ms = 0;
    };
    std::map<PartitionNo, std::vector<Record>> partitions;  // by offset
    std::int64_t cut_before_ms = INT64_MIN;                 // by Retain entries
    std::int64_t expired_bucket = INT64_MIN;
    std::uint64_t stored_again = 0, runs_expired = 0;

    std::uint64_t stored() const {
        std::uint64_t count = 0;
        for (const auto& [p, records] : partitions)
            count += p >= 0 ? records.size() : 0;
        return count;
    }
    const Record* at(PartitionNo p, std::int64_t offset) const {
        const auto it = partitions.find(p);
        if (it == partitions.end() || offset < 0 || static_cast<std::size_t>(offset) >= it->second.size())
            return nullptr;
        return &it->second[static_cast<std::size_t>(offset)];
    }
};

struct BatchRecords {
    std::int64_t base_offset = 0;
    std::size_t bytes = 0;
    std::vector<std::string> values;
};
// The batch that `bytes` begin with; nullopt: it is none.
std::optional<BatchRecords> records_of(std::string_view bytes) {
    const auto batch = record::read_batch(bytes);
    if (!batch || !record::check_crc(batch.value())) return std::nullopt;
    auto records = record::RecordIterator::open(batch.value(), 64 << 20);
    if (!records) return std::nullopt;
    BatchRecords out{batch.value().header.base_offset, batch.value().bytes.size(), {}};
    record::Record record;
    for (;;) {
        const auto more = records.value().next(record);
        if (!more) return std::nullopt;
        if (!more.value()) return out;
        if (record.offset != out.base_offset + static_cast<std::int64_t>(out.values.size())) return std::nullopt;
        out.values.emplace_back(record.value);
    }
}

std::string check_batch(const log::BatchSection& section, std::int64_t append_ms, Model& model,
                        std::map<std::string, std::int64_t>& last_append) {
    const auto batch = records_of(section.batch);
    if (!batch || batch->values.size() != section.count) return "an entry's batch does not read";
    auto& log = model.partitions[section.partition];
    if (section.base_offset != static_cast<std::int64_t>(log.size()) || batch->base_offset != section.base_offset)
        return "offsets of partition " + std::to_string(section.partition) + " are not dense";
    if (section.partition >= 0 && section.fingerprints.size() != section.count)
        return "an entry without a fingerprint a record";
    for (const auto& value : batch->values) {
        log.push_back({value, append_ms});
        if (section.partition < 0) continue;
        const auto [known, fresh] = last_append.emplace(id_of(value), append_ms);
        if (fresh) continue;
        if (append_ms - known->second <= within_ms) return id_of(value) + " is stored twice within WITHIN";
        known->second = append_ms;
        model.stored_again++;
    }
    return "";
}

std::string read_entries(const World& world, bool expiry, Model& model) {
    std::map<std::string, std::int64_t> last_append;
    std::int64_t append_ms = INT64_MIN;
    for (const auto& [index, bytes] : world.committed) {
        const auto entry = log::decode_entry(bytes);
        if (!entry) return "entry " + std::to_string(index) + " does not decode";
        if (entry.value().append_time_ms < append_ms) return "append time goes back";
        append_ms = entry.value().append_time_ms;
        for (const auto& section : entry.value().sections) {
            if (const auto* batch = std::get_if<log::BatchSection>(&section)) {
                if (auto wrong = check_batch(*batch, append_ms, model, last_append); !wrong.empty()) return wrong;
            } else if (const auto* retain = std::get_if<log::Retain>(&section)) {
                if (retain->appended_before_ms > append_ms - (expiry ? retain_ms : long_retain_ms))
                    return "retention of what is younger than RETAIN";
                model.cut_before_ms = std::max(model.cut_before_ms, retain->appended_before_ms);
                model.runs_expired += retain->dedup_bucket > model.expired_bucket ? 1 : 0;
                model.expired_bucket = std::max(model.expired_bucket, retain->dedup_bucket);
            }
        }
    }
    return "";
}

std::string check_client(const Client& client, const Model& model) {
    std::set<std::string> ids, bad;
    for (const auto& [p, records] : model.partitions) {
        for (const auto& record : records)
            p >= 0 ? (void)ids.insert(id_of(record.value)) : (void)bad.insert(record.value);
    }
    for (const auto& id : client.acked)
        if (!ids.contains(id)) return id + " was acknowledged and is lost";
    for (const auto& line : client.acked_bad)
        if (!bad.contains(line)) return "a dead letter was acknowledged and is lost";
    for (const auto& [id, place] : client.places) {
        const auto* record = model.at(place.first, place.second);
        if (record == nullptr || id_of(record->value) != id)
            return "the answer to a duplicate of " + id + " names another event";
    }
    for (const auto& [range, request] : client.ranges) {
        for (std::int64_t i = 0; i < range.count; i++) {
            const auto* record = model.at(range.partition, range.base_offset + i);
            if (record == nullptr || !request.contains(id_of(record->value)))
                return "an answer's range holds events of another request";
        }
    }
    return "";
}

// ---- what the node has ----------------------------------------------------------------------------------------------

// Rows of one statement of Applier::digest(): the integers of their columns.
std::vector<std::vector<std::int64_t>> rows_of(std::string_view digest, std::string_view sql) {
    std::vector<std::vector<std::int64_t>> rows;
    const auto head = std::string(sql) + "\n";
    auto at = digest.find(head);
    if (at == std::string_view::npos) return rows;
    digest.remove_prefix(at + head.size());
    while (!digest.empty() && !digest.starts_with("SELECT ")) {
        const auto line = digest.substr(0, digest.find('\n'));
        digest.remove_prefix(std::min(digest.size(), line.size() + 1));
        std::vector<std::int64_t> row;
        for (std::string_view left = line; !left.empty();) {
            const auto value = left.substr(0, left.find('|'));
            left.remove_prefix(std::min(left.size(), value.size() + 1));
            const auto colon = value.find(':') + 1;
            row.push_back(std::stoll(std::string(value.substr(colon, value.find(':', colon) - colon))));
        }
        rows.push_back(std::move(row));
    }
    return rows;
}

// The partition's files against the entries, as a reader would meet them.
std::string check_partition(World& world, ObjectId stream, PartitionNo p, std::int64_t start, std::int64_t end,
                            const Model& model, std::uint64_t& retained) {
    const std::string name = "partition " + std::to_string(p);
    const auto it = model.partitions.find(p);
    const std::int64_t size = it == model.partitions.end() ? 0 : static_cast<std::int64_t>(it->second.size());
    if (end != size) return name + " ends at " + std::to_string(end) + " of " + std::to_string(size);
    for (std::int64_t offset = 0; offset < start; offset++) {
        if (model.at(p, offset)->append_ms >= model.cut_before_ms) return name + " lost what no entry retired";
    }
    retained += static_cast<std::uint64_t>(start);
    const std::string dir = apply::partition_dir(shard_dir, stream, p);
    const auto names = world.disk.list(dir);
    std::int64_t next = -1;
    for (const auto& file : names ? names.value() : std::vector<std::string>()) {
        if (!file.ends_with(".log")) continue;
        const auto read = os::read_file(world.disk, dir + "/" + file, 64 << 20);
        if (!read) return name + ": " + read.error().detail;
        for (std::string_view left = read.value(); !left.empty();) {
            const auto batch = records_of(left);
            if (!batch) return name + " has a batch that does not read";
            left.remove_prefix(batch->bytes);
            if (next >= 0 && batch->base_offset != next) return name + " has a hole";
            if (next < 0 && batch->base_offset > start) return name + " begins after its start";
            next = batch->base_offset;
            for (const auto& value : batch->values) {
                const auto* record = model.at(p, next++);
                if (record == nullptr || record->value != value) return name + " holds what no entry brought";
            }
        }
    }
    if (next != end && !(next < 0 && start == end)) return name + " has events up to " + std::to_string(next);
    return "";
}

// After a checkpoint that everything waited for: the dedup folder holds the runs that the checkpoint lists, no others.
std::string check_runs(World& world, Node& node, ObjectId stream, const Model& model) {
    const auto stored = node.state->get(apply::object_key('s', stream));
    if (!stored || !stored.value()) return "the checkpoint has no record of the stream";
    const auto record = apply::StreamRecord::decode(*stored.value());
    if (!record) return record.error().detail;
    std::set<std::string> listed;
    std::map<std::int64_t, std::size_t> in_bucket;
    for (const auto& run : record.value().runs) {
        listed.insert(dedup::run_name(run.number));
        if (run.bucket <= model.expired_bucket) return "the checkpoint lists a run of a bucket that has expired";
        if (++in_bucket[run.bucket] > dedup::runs_per_bucket_max) return "a bucket has too many runs";
    }
    const auto names = world.disk.list(apply::stream_dir(shard_dir, stream) + "/dedup");
    if (names && std::set<std::string>(names.value().begin(), names.value().end()) != listed)
        return "the dedup folder holds other files than the checkpoint lists";
    return "";
}

// A replica that never crashed: the same entries, decoded from their bytes.
std::string check_replica(const World& world, const Node& node, std::uint64_t seed, const std::string& tables) {
    World other(seed + 1'000'000, {});
    test::SimVfs vfs("sim-replica", other.disk);
    const auto state = stream::make_memory_store();
    apply::ApplyOptions options;
    options.dir = shard_dir;
    options.wal_dir = wal_dir;
    options.database = {"sim-replica", true, 1024};
    options.partition.segment_bytes = 32 * 1024;
    options.partition.index_interval = 1024;
    auto replica = apply::Applier::open(
        options, other.disk, other.clock, *state,
        apply::Applier::Outputs{[](auto) {}, [](auto&&) {}, [](auto&&) {}, [](auto) {}, [](auto) {}, [] {},
                                [](auto&&, auto) {}, [](auto, auto) {}, [](bool) {}, [](auto&&) {}});
    if (!replica) return "the replica does not open: " + replica.error().detail;
    for (std::uint64_t index = 1; index <= node.applier->applied().value; index++) {
        log::Committed entry;
        entry.index = LogIndex(index);
        entry.term = Term(1);
        const auto it = world.committed.find(index);
        entry.is_command = it != world.committed.end();
        if (entry.is_command) entry.buffer = test::buffer_of(it->second);
        if (const auto applied = replica.value()->apply(std::move(entry)); !applied)
            return "the replica does not apply entry " + std::to_string(index) + ": " + applied.error().detail;
    }
    if (!replica.value()->settle(true)) return "the replica does not settle";
    const auto its = replica.value()->digest();
    if (!its) return its.error().detail;
    return its.value() == tables ? "" : "the tables differ from those of a replica that did not crash";
}

// ---- the run --------------------------------------------------------------------------------------------------------

class History {
  public:
    explicit History(const HistoryOptions& options)
        : options_(options),
          world_(options.seed, {.sector_survival = options.survival, .name_survival = options.survival}, options.off) {}

    HistoryResult run() {
        restart(true);
        for (int i = 0; i < options_.steps && world_.violation.empty(); i++) {
            auto& prng = world_.prng;
            if (options_.crash_chance > 0 && world_.cut_at == 0 && prng.chance(options_.crash_chance))
                world_.cut_at = world_.real_disk.operations() + prng.below(40) + 1;
            if (options_.crash_chance > 0 && prng.chance(options_.crash_chance / 4)) {
                restart(world_.power_is_cut());  // kill -9: the machine lives on
                continue;
            }
            if (options_.expiry && prng.chance(0.02))
                world_.clock.advance_ms(static_cast<std::int64_t>(prng.below(900)) * 1000);
            if (!node_->step(prng.next())) {
                restart(true);
                continue;
            }
            drive(i);
        }
        if (world_.violation.empty()) finish();
        result_.violation = world_.violation;
        return std::move(result_);
    }

  private:
    // A power cut, or the death of the process alone; then a new life.
    void restart(bool power) {
        while (world_.violation.empty()) {
            // First: what destructors still write must not arrive.
            power ? world_.real_disk.crash() : world_.real_disk.kill_process();
            world_.cut_at = 0;
            node_.reset();
            world_.dead = false;
            result_.crashes++;
            asked_stream_ = asked_view_ = false;
            // Recovery itself may lose its power too.
            world_.cut_at = options_.crash_chance > 0 && world_.prng.chance(0.3)
                                ? world_.real_disk.operations() + world_.prng.below(60) + 1
                                : 0;
            node_ = std::make_unique<Node>(world_);
            const auto opened = node_->open();
            if (opened && !world_.dead) return;
            if (!world_.power_is_cut())
                world_.fail("recovery: " + (opened ? "the process ended" : opened.error().detail));
            power = true;
        }
    }

    // What the catalog and the client do between two steps.
    void drive(int step) {
        auto& prng = world_.prng;
        auto& node = *node_;
        if (!node.ready() || !node.definitions) return;
        if (node.definitions->streams.empty() && node.definitions->loose.empty() && !asked_stream_) {
            asked_stream_ = true;
            node.control(log::CatalogPut{log::ObjectKind::stream, "s", stream_sql(options_.expiry)}, true);
        }
        node.define_loose();
        // The view comes into being over events that are there.
        if (node.stream() && node.definitions->views.empty() && step > options_.steps / 4 && !asked_view_ &&
            prng.chance(0.02)) {
            asked_view_ = true;
            node.control(log::CatalogPut{log::ObjectKind::view, "v", view_sqls[options_.seed % std::size(view_sqls)]},
                         true);
        }
        if (!node.stream() || !prng.chance(0.15)) return;
        std::vector<std::string> lines;
        for (std::size_t n = prng.below(8) + 1; n > 0; n--) {
            if (!client_.unanswered.empty() && prng.chance(0.3)) {
                lines.push_back(client_.unanswered[prng.below(client_.unanswered.size())]);
            } else if (!client_.lines.empty() && prng.chance(0.1)) {
                lines.push_back(client_.lines[prng.below(client_.lines.size())]);
            } else {
                lines.push_back(client_.new_event(prng));
                client_.unanswered.push_back(lines.back());
                if (!is_bad(lines.back())) client_.lines.push_back(lines.back());
            }
        }
        client_.send(world_, node, lines);
    }

    void finish() {
        world_.cut_at = 0;
        if (!node_->run_until_quiet() || node_->stream() == nullptr) return;
        // Everything unanswered is sent once more: now each event has an answer.
        for (const auto& line : std::vector<std::string>(client_.unanswered))
            client_.send(world_, *node_, {line});
        if (!node_->run_until_quiet()) return;
        if (!client_.unanswered.empty()) return world_.fail("an event without an answer");
        if (!node_->checkpoint()) return;
        const auto tables = node_->applier->digest();
        if (!tables) return world_.fail(tables.error().detail);
        result_.tables = tables.value();
        result_.views = node_->definitions->views.size();
        if (auto wrong = check(); !wrong.empty()) world_.fail(std::move(wrong));
    }

    std::string check() {
        Model model;
        if (auto wrong = read_entries(world_, options_.expiry, model); !wrong.empty()) return wrong;
        result_.stored = model.stored();
        result_.dead_letters = model.partitions[dead_letter_partition].size();
        result_.duplicates = client_.duplicates;
        result_.stored_again = model.stored_again;
        result_.runs_expired = model.runs_expired;
        if (auto wrong = check_client(client_, model); !wrong.empty()) return wrong;
        const ObjectId stream = node_->stream()->id;
        const auto ends = rows_of(result_.tables, "SELECT * FROM _ends ORDER BY stream, partition");
        if (ends.size() != partitions_count + 1) return "not every partition has its ends";
        for (const auto& row : ends) {
            auto wrong = check_partition(world_, stream, static_cast<PartitionNo>(row.at(1)), row.at(2), row.at(3),
                                         model, result_.retained);
            if (!wrong.empty()) return wrong;
        }
        const auto counters = rows_of(result_.tables, "SELECT * FROM _counters ORDER BY stream");
        if (counters.size() != 1 || counters[0].at(1) != static_cast<std::int64_t>(result_.stored) ||
            counters[0].at(3) != static_cast<std::int64_t>(result_.dead_letters))
            return "the counters are not those of the entries";
        if (auto wrong = check_runs(world_, *node_, stream, model); !wrong.empty()) return wrong;
        return check_replica(world_, *node_, options_.seed, result_.tables);
    }

    const HistoryOptions options_;
    World world_;
    Client client_;
    std::unique_ptr<Node> node_;
    bool asked_stream_ = false, asked_view_ = false;
    HistoryResult result_;
};

}  // namespace

HistoryResult run_history(const HistoryOptions& options) {
    return History(options).run();
}

}  // namespace weir::sim
