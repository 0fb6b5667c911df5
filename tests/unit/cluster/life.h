// One life of a shard with its threads, its catalog and its metrics, on real files; and those who send to it.
#pragma once

#include "base/limits.h"
#include "cluster/local_catalog.h"
#include "cluster/local_shard.h"
#include "log/entry.h"
#include "os/clock.h"
#include "os/progress.h"
#include "os/real_disk.h"
#include "record/json.h"
#include "sql/statement.h"
#include "store/reader.h"
#include "support/gate_disk.h"
#include "support/must.h"
#include "support/temp_dir.h"

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <variant>
#include <vector>

namespace weir::cluster::test {

using weir::test::must;

// The real clocks, which a test may set forward: threads that wait for real go on doing so.
class JumpClock final : public Clock {
  public:
    std::int64_t wall_ms() override { return real_.wall_ms() + wall_ahead_ms.load(); }
    std::int64_t monotonic_us() override { return real_.monotonic_us() + ahead_us.load(); }
    void jump_ms(std::int64_t ms) {
        ahead_us += ms * 1000;
        wall_ahead_ms += ms;
    }
    std::atomic<std::int64_t> ahead_us{0}, wall_ahead_ms{0};

  private:
    os::RealClock real_;
};

constexpr std::int64_t no_checkpoint_us = 86'400'000'000;  // a day: none but the one at a clean stop

// Waits for what another thread brings about. False: it did not within half a minute.
inline bool eventually(const std::function<bool()>& condition) {
    os::Progress never;
    for (int i = 0; i < 15'000; i++) {
        if (condition()) return true;
        (void)never.wait_for(1, std::chrono::milliseconds(2));
    }
    return false;
}

// What became of requests, counted; the outcomes in the order of their arrival.
struct Answers {
    std::atomic<std::uint64_t> answered{0}, accepted{0}, duplicates{0}, rejected{0}, failed{0};

    std::function<void(replica::IngestOutcome&&)> one() {
        return [this, told = progress](replica::IngestOutcome&& outcome) {
            accepted += outcome.accepted;
            duplicates += outcome.duplicates;
            rejected += outcome.rejected;
            failed += outcome.status ? 0 : 1;
            told->advance(answered.fetch_add(1) + 1);
        };
    }
    bool wait_for(std::uint64_t count) { return progress->wait_for(count, std::chrono::seconds(60)); }

  private:
    // Shared: whoever tells may still be in it when the one who waited has gone on.
    std::shared_ptr<os::Progress> progress = std::make_shared<os::Progress>();
};

struct Life {
    weir::test::GateDisk disk{os::make_real_disk()};
    JumpClock clock;
    obs::Metrics metrics;
    std::unique_ptr<LocalCatalog> catalog = LocalCatalog::make(true);
    std::unique_ptr<LocalShard> shard;

    static LocalShardOptions small() {
        LocalShardOptions options;
        options.wal.file_bytes = 4 << 20;
        options.disk_reserve_bytes = 1;
        options.state_map_bytes = 1 << 28;
        return options;
    }

    struct Start {
        LocalShardOptions options = small();
        std::int64_t later_ms = 0;  // how far the clocks are ahead
        bool held = false;          // the apply thread stands before its first entry's end, and nobody waits for ready
    };
    explicit Life(const std::string& dir) : Life(dir, Start{}) {}
    Life(const std::string& dir, Start start) {
        clock.jump_ms(start.later_ms);
        start.options.data_dir = dir;
        if (start.held) disk.apply.close();
        shard = must(LocalShard::open(std::move(start.options), disk, clock, metrics,
                                      [this](auto d) { catalog->on_definitions(std::move(d)); }));
        catalog->attach(*shard);
        shard->start();
        if (!start.held) must_be_ready();
    }
    ~Life() {
        disk.apply.open();
        disk.flush.open();
        shard->stop();
    }
    Life(const Life&) = delete;

    void must_be_ready() {
        if (!eventually([this] { return shard->ready(); })) std::abort();
    }
    Result<Changed> change(const std::string& text) {
        auto parsed = must(sql::parse(text));
        if (auto* stream = std::get_if<sql::CreateStream>(&parsed)) return catalog->create(*stream);
        if (auto* view = std::get_if<sql::CreateView>(&parsed)) return catalog->create(*view);
        if (auto* alter = std::get_if<sql::AlterStream>(&parsed)) return catalog->alter(*alter);
        if (auto* drop = std::get_if<sql::DropObject>(&parsed)) return catalog->drop(*drop);
        std::abort();
    }
    void statement(const std::string& text) { must(change(text)); }
    Errc refusal(const std::string& text) {
        const auto changed = change(text);
        if (changed) std::abort();
        return changed.error().code;
    }
    record::StreamPtr stream(const std::string& name = "s") const { return catalog->snapshot()->stream(name); }

    replica::IngestRequest request(const record::StreamPtr& stream, std::string body,
                                   std::function<void(replica::IngestOutcome&&)> done) {
        replica::IngestRequest r;
        r.stream = stream;
        r.body = std::move(body);
        r.body.reserve(r.body.size() + record::JsonDecoder::padding_bytes);
        r.events = std::make_unique<record::DecodedEvents>();
        record::JsonDecoder decoder;
        decoder.decode(stream->schema, record::BodyShape::ndjson, r.body, shard->append_clock_ms(),
                       shard->fingerprint_key(), nullptr, *r.events);
        r.content_type = "application/x-ndjson";
        r.done = std::move(done);
        return r;
    }
    bool send(const record::StreamPtr& stream, std::string body, Answers& answers) {
        return shard->submit(request(stream, std::move(body), answers.one()));
    }
    // One request and its answer.
    replica::IngestOutcome ask(const std::string& body, const std::string& name = "s") {
        replica::IngestOutcome outcome;
        const auto done = std::make_shared<os::Progress>();
        auto r = request(stream(name), body, [&outcome, done](replica::IngestOutcome&& o) {
            outcome = std::move(o);
            done->advance(1);
        });
        if (!shard->submit(std::move(r))) std::abort();
        if (!done->wait_for(1, std::chrono::seconds(60))) std::abort();
        return outcome;
    }
    bool see_everything() { return shard->wait_visible(shard->committed(), std::chrono::seconds(60)); }

    // Whatever was posted before has been looked at by admission, and what that led to is committed and answered, when
    // two entries that change nothing are committed, one after the other. Works while apply stands still.
    void settle_admission(ObjectId stream) {
        for (int i = 0; i < 2; i++) {
            const auto before = shard->committed();
            replica::Control nothing;
            nothing.section = log::encode_section(log::Retain{stream, INT64_MIN, -1, INT64_MIN});
            nothing.applied = [](LogIndex, const Status&) {};
            if (!shard->propose(std::move(nothing))) std::abort();
            if (!eventually([&] { return shard->committed() > before; })) std::abort();
        }
    }

    // Rows of view.db as "a|b".
    std::vector<std::string> row_list(const std::string& sql) {
        auto reader = must(store::Reader::open(shard->data_dir() + "/view.db", [] { return std::int64_t{0}; }));
        must(reader->begin_snapshot());
        std::vector<std::string> all;
        must(reader->query_internal(sql, [&all](const std::vector<store::Value>& row) {
            std::string text;
            for (std::size_t i = 0; i < row.size(); i++) {
                text += i > 0 ? "|" : "";
                if (row[i].type == store::ValueType::null) text += "NULL";
                if (row[i].type == store::ValueType::integer) text += std::to_string(row[i].integer);
                if (row[i].type == store::ValueType::real) text += std::to_string(row[i].real);
                text += row[i].text;
            }
            all.push_back(std::move(text));
        }));
        return all;
    }
    std::string rows(const std::string& sql) {
        std::string all;
        for (const auto& row : row_list(sql))
            all += (all.empty() ? "" : ";") + row;
        return all;
    }
    // Everything in view.db, table by table.
    std::string tables() {
        std::string all;
        for (const auto& name : row_list("SELECT name FROM main.sqlite_master WHERE type = 'table' ORDER BY name")) {
            auto lines = row_list("SELECT * FROM main.\"" + name + "\"");
            std::sort(lines.begin(), lines.end());
            all += name + "\n";
            for (const auto& line : lines)
                all += "  " + line + "\n";
        }
        return all;
    }
    // A metric's value as text, "" where there is none. `name` with its labels.
    std::string metric(const std::string& name) const {
        const std::string text = "\n" + metrics.text();
        const std::size_t at = text.find("\n" + name + " ");
        if (at == std::string::npos) return {};
        const std::size_t from = at + name.size() + 2;
        return text.substr(from, text.find('\n', from) - from);
    }
    double number(const std::string& name) const { return std::atof(metric(name).c_str()); }
};

// What a power cut leaves of `from` whose log is durable and whose checkpoint never came: the log alone. The shard must
// be at rest.
inline void keep_the_log_alone(const std::string& from, const std::string& to) {
    std::filesystem::create_directories(to);
    std::filesystem::copy(from + "/wal", to + "/wal", std::filesystem::copy_options::recursive);
}

constexpr const char* stream_s =
    "CREATE STREAM s (id TEXT, ts TIMESTAMP, pad TEXT, EVENT TIME ts MAX FUTURE 36500d, DEDUP KEY (id) WITHIN 1h) "
    "PARTITIONS 2";
constexpr const char* view_v =
    "CREATE MATERIALIZED VIEW v AS SELECT window_start, count(*) AS n FROM TUMBLE(s, 1m) GROUP BY window_start";

inline std::string event(std::uint64_t id, std::int64_t at_ms, std::size_t pad = 0) {
    return "{\"id\":\"" + std::to_string(id) + "\",\"ts\":" + std::to_string(at_ms) +
           (pad > 0 ? ",\"pad\":\"" + std::string(pad, 'x') + "\"" : "") + "}\n";
}

}  // namespace weir::cluster::test
