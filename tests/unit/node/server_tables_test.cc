#include "node/server_tables.h"

#include <catch2/catch_test_macros.hpp>

#include <cmath>
#include <string>

using namespace weir;
using namespace weir::node;

namespace {

std::string shown(const query::ServerTable& table) {
    std::string all;
    for (const auto& row : table.rows()) {
        for (const query::OwnedValue& value : row) {
            switch (value.type) {
                case store::ValueType::null:
                    all += "NULL|";
                    break;
                case store::ValueType::integer:
                    all += std::to_string(value.integer) + "|";
                    break;
                case store::ValueType::real:
                    all += std::to_string(value.real).substr(0, 4) + "|";
                    break;
                case store::ValueType::text:
                case store::ValueType::blob:
                    all += value.text + "|";
                    break;
            }
        }
        all += "\n";
        CHECK(row.size() == table.columns.size());
    }
    return all;
}

}  // namespace

TEST_CASE("sys.config has every setting with where it came from") {
    LoadedSettings loaded;
    loaded.effective.push_back({"node.id", "n7", Origin::flag});
    CHECK(shown(config_table(loaded)) == "node.id|n7|flag|\n");
}

TEST_CASE("sys.nodes has this node, at the address that its door got") {
    const auto facts = std::make_shared<NodeFacts>();
    *facts = {"n1", "0.1", 1'431'857'104'000, ""};
    const query::ServerTable table = nodes_table(facts);
    facts->address = "127.0.0.1:8080";
    CHECK(shown(table) == "n1|127.0.0.1:8080|leader|0.1|1431857104000|\n");
}

TEST_CASE("sys.metrics has the values of the moment") {
    obs::Metrics metrics;
    const obs::Counter counter = metrics.counter("weir_events_total", "e", {{"stream", "a\"b"}, {"what", "x"}});
    metrics.gauge("weir_unknown", "u").set(std::nan(""));
    const query::ServerTable table = metrics_table(metrics);
    counter.add(3);
    CHECK(shown(table) == "weir_events_total|{\"stream\":\"a\\\"b\",\"what\":\"x\"}|3.00|\nweir_unknown|{}|NULL|\n");
}
