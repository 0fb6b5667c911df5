// Those queries of Nexmark that this dialect can run, each beside what it must answer.
//
// What differs from the original stands in `rewritten`, and every figure is shown with it: hopping windows, joins,
// processing time and FILTER are not there. The oracle is written once more in C++, over the generator's bids.
#pragma once

#include "base/result.h"
#include "node/nexmark.h"
#include "node/rows.h"

#include <string>
#include <vector>

namespace weir::node {

// A row of an answer as text: its cells with a blank behind each. Numbers with a fraction are printed alike, whatever
// digits the server chose.
using NexmarkRows = std::vector<std::string>;  // sorted

struct NexmarkQuery {
    const char* name;       // "q12"
    const char* asks;       // for people
    const char* rewritten;  // "" as it is in the original
    const char* sql;        // a view's SELECT ... EMIT; or a query over the stream
    NexmarkRows (*oracle)(const std::vector<NexmarkBid>& bids);
};

const std::vector<NexmarkQuery>& nexmark_views();
const std::vector<NexmarkQuery>& nexmark_scans();  // stateless ones

NexmarkRows nexmark_rows(const RowSet& answer);

}  // namespace weir::node
