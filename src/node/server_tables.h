// System tables whose rows only this process knows: settings, nodes, metrics. query/ sends them to its workers.
#pragma once

#include "node/settings.h"
#include "obs/metrics.h"
#include "query/pool.h"

#include <cstdint>
#include <memory>
#include <string>

namespace weir::node {

// sys.config(key, value, origin): fixed from the start on.
query::ServerTable config_table(const LoadedSettings& loaded);

// sys.nodes(name, address, role, version, started_at): this one, which leads all that there is.
struct NodeFacts {
    std::string name;
    std::string version;
    std::int64_t started_at_ms = 0;
    std::string address;  // where its door listens; set before the door opens
};
query::ServerTable nodes_table(std::shared_ptr<const NodeFacts> facts);

// sys.metrics(name, labels, value): what /metrics shows when the query comes. `metrics` outlives the table.
query::ServerTable metrics_table(const obs::Metrics& metrics);

}  // namespace weir::node
