// The measurements of `weir bench` that have files of their own; bench.h says what each is for. Exit code 1 when a
// count differs.
#pragma once

#include "node/bench.h"

namespace weir::node {

Exit run_sql_bench(const Console& console, const BenchOptions& options);
Exit run_dedup_bench(const Console& console, const BenchOptions& options);
Exit run_wal_bench(const Console& console, const BenchOptions& options);
Exit run_nexmark_bench(const Console& console, const BenchOptions& options);

}  // namespace weir::node
