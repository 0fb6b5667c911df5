// The server as one value. Members stand in start order; destruction is the stop order.
#pragma once

#include "base/result.h"
#include "cluster/local_catalog.h"
#include "cluster/local_shard.h"
#include "http/server.h"
#include "node/sampler.h"
#include "node/settings.h"
#include "obs/metrics.h"
#include "os/clock.h"
#include "os/disk.h"
#include "os/real_disk.h"
#include "query/pool.h"

#include <cstdint>
#include <memory>
#include <string>

namespace weir::node {

// Who a data directory is: made once, kept in <data>/weir.identity.
struct Identity {
    std::string id;               // 32 hex digits
    std::uint64_t hash_seed = 0;  // keys the dedup fingerprints
};

// Reads the identity, or makes it in a directory that has no data yet. Errors: corrupt (unreadable, or data without an
// identity), io, disk_full.
Result<Identity> load_identity(os::Disk& disk, const std::string& data_dir);

class Node {
  public:
    // Opens everything and listens; reads its log in the background: ready() says when it serves.
    // Errors: conflict (another process has the directory), io (address in use), corrupt, invalid_argument, disk_full.
    static Result<std::unique_ptr<Node>> start(const LoadedSettings& loaded);
    ~Node();  // drains, checkpoints, stops

    bool ready() const { return shard_->ready(); }
    std::string http_address() const { return http_->address(); }

  private:
    Node() = default;

    std::unique_ptr<os::Disk> disk_;
    os::RealClock clock_;
    std::unique_ptr<os::DirLock> lock_;  // nobody else touches the directory
    std::unique_ptr<obs::Metrics> metrics_;
    std::unique_ptr<obs::History> history_;
    std::unique_ptr<cluster::LocalCatalog> catalog_;
    std::unique_ptr<query::Pool> queries_;        // worker processes, made when the first query comes
    std::unique_ptr<query::Pool> tail_queries_;   // one more, for the expressions of filtered tails
    std::unique_ptr<cluster::LocalShard> shard_;  // log, consensus, apply: everything durable
    std::unique_ptr<http::Server> http_;          // the door opens last
    std::unique_ptr<Sampler> sampler_;            // reads metrics of all of them
};

}  // namespace weir::node
