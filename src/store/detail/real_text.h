// Keeps REAL from being written as text inside an expression: how many digits SQLite writes has changed with its
// version, so two replicas could store different rows from one log.
//
// A walk over the expression gives every operand one of three marks, and looks at each place where SQLite would turn a
// number into text (`||`, CAST AS TEXT or BLOB, LIKE, text and JSON functions, a comparison with a TEXT column):
//
//   never REAL   TEXT, INTEGER ... columns, text functions, comparisons     left as it is
//   may be REAL  json_extract, `->>`, arithmetic (overflow, text as number) put into a guard: NULL if it is REAL
//   REAL         REAL columns, 1.5, round(), what is computed from these    refused
//
// What the walk does not know it refuses, so it need not follow SQLite's grammar into every corner. Private to store/.
#pragma once

#include "base/result.h"
#include "record/schema.h"

#include <string>
#include <string_view>
#include <vector>

namespace weir::store::detail {

// Functions whose result depends on nothing but their arguments, on every machine. `name` in lower case.
bool is_allowed_function(std::string_view name);

// `sql`, which SQLite has compiled over `columns`, with calls of the one-argument function `guard` put
// around what may be REAL where text is wanted. The guard must yield NULL for REAL and its argument otherwise. Errors:
// forbidden (a REAL as text, or a construct that the walk does not know), with the position in `sql`.
Result<std::string> guard_real_text(const std::vector<record::Column>& columns, std::string_view sql,
                                    std::string_view guard);

}  // namespace weir::store::detail
