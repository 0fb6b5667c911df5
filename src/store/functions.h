// The scalar functions that Weirhouse adds to SQLite, on every connection of this room.
//
//   epoch_ms(x)        a TIMESTAMP (integer ms, or text that is a time literal) as integer ms; NULL for anything else
//   rfc3339(x)         the same as text, "2015-05-17T10:05:04.000Z"
//   bucket(x, '1m')    the start of the duration that x falls in, counted from the epoch, as integer ms; floor, so that
//                      times before 1970 fall in the bucket that begins before them. Not a duration, or 0: an error
//   weir_time(x)       text that is a time literal as integer ms, everything else unchanged
//   now(), ago('15m')  queries only: the query's time as integer ms, and that much before it
//
// NULL gives NULL everywhere. All but now and ago depend on nothing but their arguments.
#pragma once

#include "base/result.h"

#include <cstdint>

struct sqlite3;

namespace weir::store {

// What now() and ago() answer. The owner of the connection sets it between statements.
struct QueryClock {
    std::int64_t now_ms = 0;
};

// `clock` null: no now() and no ago(). It must outlive the connection.
Status register_functions(sqlite3* db, const QueryClock* clock);

}  // namespace weir::store
