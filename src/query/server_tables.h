// System tables whose rows only the server's own process knows (settings, metrics): a worker cannot read them anywhere,
// so the rows travel to it with each query that names the table.
#pragma once

#include "query/pool.h"

#include <cstddef>
#include <string_view>
#include <vector>

namespace weir::query {

// The tables that `sql` mentions, with their rows of now. Text that does not tokenize mentions none: the worker says
// what is wrong with it. Thread-safe as far as the tables' own functions are.
std::vector<TableRows> mentioned_tables(const std::vector<ServerTable>& tables, std::string_view sql);

// About what the rows take on their way.
std::size_t size_of(const std::vector<TableRows>& tables);

}  // namespace weir::query
