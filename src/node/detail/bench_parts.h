// What the measurements of `weir bench` share: asking the server, what a run cost, the conditions of a figure, and the
// floor that the disk sets.
#pragma once

#include "node/bench.h"
#include "node/client.h"
#include "node/console.h"
#include "node/detail/json.h"
#include "node/own_server.h"

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

namespace weir::node {

constexpr std::int64_t bench_deadline_ms = 60'000;  // of one query

// CPU of this process, user and system, since its start.
std::int64_t own_cpu_ns();
std::int64_t core_count();

// The answer's body. `min_index`: what it must see; "" whatever the server takes for current. Errors: io (no server),
// invalid_argument (refused; says why).
Result<std::string> bench_query(Client& client, const std::string& statement, const std::string& min_index);

// A fresh server of this binary, on the disk that is measured. Errors: of OwnServer::start.
Result<OwnServer> bench_server(const Console& console, const std::string& program, const std::string& dir);

// Milliseconds, sorted, of writing and fdatasyncing a block of `bytes` in a file that is there in `dir`: the floor of a
// durable acknowledgement. Errors: io.
Result<std::vector<double>> fdatasync_ms(const std::string& dir, std::size_t bytes, std::int64_t samples, Clock& clock);

// Says why a measurement ended early; its exit code.
Exit bench_failed(const Console& console, const Error& error, const BenchOptions& options);

// Leaves in `after` what each process used since `before`; one that came in between counts whole.
void subtract_cpu(std::vector<ProcessUse>& after, const std::vector<ProcessUse>& before);
double resident_mb(const std::vector<ProcessUse>& processes);

double rounded(double value);  // to three decimals: what a document shows
std::string milliseconds(double value);

// A row of numbers under a name; less than 0 is shown as "-".
std::string latency_table(const std::vector<std::string>& columns,
                          const std::vector<std::pair<std::string, std::vector<double>>>& rows);

// `cores`, `version`, `generator` of every bench's `conditions`.
Json bench_conditions();

}  // namespace weir::node
