#include "record/schema.h"

#include <atomic>

namespace weir::record {
namespace {

char ascii_lower(char c) {
    return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
}

bool same_name(std::string_view a, std::string_view b) {
    if (a.size() != b.size()) return false;
    for (std::size_t i = 0; i < a.size(); ++i)
        if (ascii_lower(a[i]) != ascii_lower(b[i])) return false;
    return true;
}

}  // namespace

std::string_view type_name(ColumnType type) {
    switch (type) {
        case ColumnType::text:
            return "TEXT";
        case ColumnType::integer:
            return "INTEGER";
        case ColumnType::real:
            return "REAL";
        case ColumnType::boolean:
            return "BOOLEAN";
        case ColumnType::timestamp:
            return "TIMESTAMP";
        case ColumnType::json:
            return "JSON";
        case ColumnType::blob:
            return "BLOB";
    }
    return "TEXT";
}

std::uint64_t SchemaIdentity::next() noexcept {
    static std::atomic<std::uint64_t> last{0};  // only ever compared for equality: its order means nothing
    return last.fetch_add(1, std::memory_order_relaxed) + 1;
}

int Schema::column(std::string_view name) const {
    for (std::size_t i = 0; i < columns.size(); ++i)
        if (columns[i].name == name) return static_cast<int>(i);
    for (std::size_t i = 0; i < columns.size(); ++i)
        if (same_name(columns[i].name, name)) return static_cast<int>(i);
    return -1;
}

}  // namespace weir::record
