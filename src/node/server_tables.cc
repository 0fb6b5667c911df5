#include "node/server_tables.h"

#include <nlohmann/json.hpp>

#include <cmath>
#include <utility>
#include <vector>

namespace weir::node {
namespace {

using Rows = std::vector<std::vector<query::OwnedValue>>;

query::OwnedValue text(std::string value) {
    return {store::ValueType::text, 0, 0, std::move(value)};
}

// SQL has no NaN: a value that is not known is NULL.
query::OwnedValue real(double value) {
    return std::isnan(value) ? query::OwnedValue() : query::OwnedValue{store::ValueType::real, 0, value, {}};
}

}  // namespace

query::ServerTable config_table(const LoadedSettings& loaded) {
    Rows rows;
    for (const EffectiveSetting& setting : loaded.effective)
        rows.push_back({text(setting.name), text(setting.value), text(origin_name(setting.origin))});
    return {"sys.config", {{"key", "TEXT"}, {"value", "TEXT"}, {"origin", "TEXT"}}, [rows] { return rows; }};
}

query::ServerTable nodes_table(std::shared_ptr<const NodeFacts> facts) {
    return {"sys.nodes",
            {{"name", "TEXT"}, {"address", "TEXT"}, {"role", "TEXT"}, {"version", "TEXT"}, {"started_at", "TIMESTAMP"}},
            [facts = std::move(facts)] {
                const query::OwnedValue started{store::ValueType::integer, facts->started_at_ms, 0, {}};
                return Rows{{text(facts->name), text(facts->address), text("leader"), text(facts->version), started}};
            }};
}

query::ServerTable metrics_table(const obs::Metrics& metrics) {
    return {"sys.metrics", {{"name", "TEXT"}, {"labels", "JSON"}, {"value", "REAL"}}, [&metrics] {
                Rows rows;
                for (const obs::Metrics::Line& line : metrics.lines())
                    rows.push_back({text(line.name), text(nlohmann::json(line.labels).dump()), real(line.value)});
                return rows;
            }};
}

}  // namespace weir::node
