// The catalog of a node that holds shard 0 itself.
#pragma once

#include "apply/applier.h"
#include "cluster/catalog.h"

#include <memory>

namespace weir::cluster {

class LocalCatalog : public Catalog {
  public:
    // `undeclared`: an event for an unknown name makes its stream.
    static std::unique_ptr<LocalCatalog> make(bool undeclared);
    // The shard that the catalog proposes to; once, before any statement.
    virtual void attach(replica::ShardPort& shard) = 0;
    // From the apply thread. The first call after a start proposes again what a crash left half done.
    virtual void on_definitions(std::shared_ptr<const apply::Definitions> definitions) = 0;
};

}  // namespace weir::cluster
