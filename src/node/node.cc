#include "node/node.h"

#include "base/limits.h"
#include "node/server_tables.h"
#include "obs/log.h"
#include "os/clock.h"
#include "os/process.h"
#include "os/usage.h"

#include <charconv>
#include <cmath>
#include <cstdio>
#include <malloc.h>
#include <string_view>
#include <utility>

namespace weir::node {
namespace {

constexpr std::int64_t drain_ms = 5'000;
constexpr std::uint64_t tail_worker_bytes = 256ull << 20;
constexpr std::uint64_t open_files_wanted = 16'384;  // connections_max and some thousand partitions
constexpr const char* identity_head = "weirhouse data directory, format 1\n";

std::string hex(std::uint64_t value) {
    char text[17];
    std::snprintf(text, sizeof text, "%016llx", static_cast<unsigned long long>(value));
    return text;
}

bool parse_hex(std::string_view text, std::uint64_t& value) {
    const auto end = text.data() + text.size();
    const auto parsed = std::from_chars(text.data(), end, value, 16);
    return parsed.ec == std::errc() && parsed.ptr == end && text.size() == 16;
}

// Batches of megabytes come and go all the time: keep their memory instead of giving it back to the kernel and faulting
// it in again, which costs more than the copies.
void keep_large_blocks() {
    mallopt(M_MMAP_THRESHOLD, static_cast<int>(32 * limits::mib));
    mallopt(M_TRIM_THRESHOLD, static_cast<int>(64 * limits::mib));
    mallopt(M_ARENA_MAX, 4);
}

// What the machine says of this process and its disk.
void register_machine(obs::Metrics& metrics, os::Disk& disk, const std::string& data_dir) {
    const auto one = [&metrics](const char* name, const char* help, bool is_counter, auto read) {
        metrics.on_scrape(name, help, is_counter, [read] {
            return std::vector<obs::Metrics::Sample>{{{}, static_cast<double>(read())}};
        });
    };
    one("process_resident_memory_bytes", "Resident memory of the server's process, without its workers.", false,
        [] { return os::usage_of_this_process().resident_bytes; });
    one("process_cpu_seconds_total", "User and system time of the server's process.", true,
        [] { return static_cast<double>(os::usage_of_this_process().cpu_us) / 1e6; });
    one("weir_disk_free_bytes", "Free on the disk of the data directory.", false, [&disk, data_dir] {
        const auto free_bytes = disk.free_bytes(data_dir);
        return free_bytes ? static_cast<double>(free_bytes.value()) : std::nan("");
    });
}

}  // namespace

Result<Identity> load_identity(os::Disk& disk, const std::string& data_dir) {
    const std::string path = data_dir + "/weir.identity";
    if (!TRY(disk.exists(path))) {
        if (TRY(disk.exists(data_dir + "/wal"))) {
            return Error{Errc::corrupt,
                         path + " is missing, but " + data_dir +
                             "/wal is there: restore it from a backup; without it the dedup index cannot be read"};
        }
        Identity identity;
        identity.id = hex(os::random_u64()) + hex(os::random_u64());
        identity.hash_seed = os::random_u64();
        TRY(disk.make_dirs(data_dir));
        TRY(os::replace_file(disk, path,
                             identity_head + ("id " + identity.id + "\nhash_seed " + hex(identity.hash_seed) + "\n")));
        return identity;
    }
    const std::string text = TRY(os::read_file(disk, path, 4096));
    const std::string_view head = identity_head;
    Identity identity;
    std::string_view rest = text;
    const bool well_formed = rest.starts_with(head) && rest.size() == head.size() + 3 + 32 + 11 + 16 + 1 &&
                             rest.substr(head.size(), 3) == "id " &&
                             rest.substr(head.size() + 35, 11) == "\nhash_seed " &&
                             parse_hex(rest.substr(head.size() + 46, 16), identity.hash_seed);
    if (!well_formed) return Error{Errc::corrupt, path + " is not readable by this version: restore it from a backup"};
    identity.id = std::string(rest.substr(head.size() + 3, 32));
    return identity;
}

Result<std::unique_ptr<Node>> Node::start(const LoadedSettings& loaded) {
    const Settings& settings = loaded.settings;
    keep_large_blocks();
    const std::uint64_t files = os::raise_open_files();
    if (files < open_files_wanted) {
        obs::log(obs::Level::warning, "few_open_files",
                 {{"limit", std::to_string(files)},
                  {"wanted", std::to_string(open_files_wanted)},
                  {"try", "ulimit -n 65536"}});
    }
    auto node = std::unique_ptr<Node>(new Node());
    node->disk_ = os::make_real_disk();
    TRY(node->disk_->make_dirs(settings.data_dir));
    node->lock_ = std::make_unique<os::DirLock>(TRY(os::DirLock::take(settings.data_dir)));
    const auto identity = TRY(load_identity(*node->disk_, settings.data_dir));
    node->metrics_ = std::make_unique<obs::Metrics>();
    register_machine(*node->metrics_, *node->disk_, settings.data_dir);
    node->history_ = std::make_unique<obs::History>(*node->metrics_, obs::node_series());
    node->catalog_ = cluster::LocalCatalog::make(settings.undeclared_streams);

    query::PoolOptions pool;
    pool.shard_dir = settings.data_dir + "/shards/0";
    pool.node_id = settings.node_id;
    const auto facts = std::make_shared<NodeFacts>();
    *facts = {settings.node_id, WEIR_VERSION, node->clock_.wall_ms(), ""};
    pool.server_tables = {config_table(loaded), nodes_table(facts), metrics_table(*node->metrics_)};
    node->queries_ = query::Pool::make(pool);
    pool.server_tables.clear();
    pool.workers_max = 1;
    pool.worker_memory_bytes = tail_worker_bytes;
    node->tail_queries_ = query::Pool::make(pool);

    cluster::LocalShardOptions shard;
    shard.hold_readers = [queries = node->queries_.get(), tails = node->tail_queries_.get()](bool on) {
        queries->hold(on);
        tails->hold(on);
    };
    shard.data_dir = settings.data_dir;
    shard.dedup_memory = settings.dedup_memory_bytes;
    shard.apply_lag_bytes = settings.apply_lag_bytes;
    shard.wal.wal_bytes = settings.wal_bytes;
    shard.incarnation = os::random_u64();
    shard.seed = os::random_u64();
    shard.fingerprint_key = {identity.hash_seed};
    auto* catalog = node->catalog_.get();
    node->shard_ = TRY(cluster::LocalShard::open(std::move(shard), *node->disk_, node->clock_, *node->metrics_,
                                                 [catalog](std::shared_ptr<const apply::Definitions> definitions) {
                                                     catalog->on_definitions(std::move(definitions));
                                                 }));
    catalog->attach(*node->shard_);
    node->shard_->start();

    http::ServerOptions http;
    http.listen = settings.http_listen;
    http.hosts = settings.http_hosts;
    http.origins = settings.http_origins;
    http.keys = settings.api_keys;
    http.undeclared_streams = settings.undeclared_streams;
    http.node_id = settings.node_id;
    http.version = WEIR_VERSION;
    node->http_ = TRY(http::Server::open(http, {*node->catalog_, *node->queries_, *node->metrics_, *node->disk_,
                                                node->clock_, node->tail_queries_.get(), node->history_.get()}));
    facts->address = node->http_->address();
    node->http_->start();
    node->sampler_ = std::make_unique<Sampler>(*node->history_, node->clock_);
    return node;
}

Node::~Node() {
    sampler_.reset();
    if (http_) http_->stop(drain_ms);
    if (queries_) queries_->stop();
    if (tail_queries_) tail_queries_->stop();
    if (shard_) shard_->stop();
}

}  // namespace weir::node
