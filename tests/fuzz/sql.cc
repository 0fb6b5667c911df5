// Any text as a statement, a script and a query. What parses must parse again from its canonical text, to the same
// canonical text; a position must lie within the text.
#include "sql/rewrite.h"
#include "sql/statement.h"

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

using namespace weir;
using namespace weir::sql;

namespace {

void require(bool claim) {
    if (!claim) std::abort();
}

const TableShape* find(std::string_view name) {
    static const TableShape shape{"s-1", {{"ts", "TIMESTAMP"}, {"a", "TEXT"}}};
    static const TableShape system{"sys.streams", {{"name", "TEXT"}, {"created_at", "TIMESTAMP"}}};
    if (name == "s" || name == "s-1") return &shape;
    return name == "sys.streams" ? &system : nullptr;
}

template <class T>
void round_trip(const T& statement) {
    const std::string text = canonical(statement);
    auto again = parse(text);
    // Names of 249 bytes and paths may push the text over the limit of a statement; everything else must come back.
    if (!again) {
        require(again.error().code == Errc::too_large);
        return;
    }
    require(std::holds_alternative<T>(again.value()));
    require(canonical(std::get<T>(again.value())) == text);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    const std::string_view text(reinterpret_cast<const char*>(data), size);
    auto statement = parse(text);
    if (!statement) {
        require(statement.error().position <= static_cast<std::int64_t>(size));
    } else if (auto* stream = std::get_if<CreateStream>(&statement.value())) {
        round_trip(*stream);
    } else if (auto* view = std::get_if<CreateView>(&statement.value())) {
        round_trip(*view);
    }
    for (const std::string& piece : split_statements(text))
        require(!piece.empty() && piece.size() <= size);
    auto query = rewrite_query(text, find);
    if (query) {
        require(query.value().user_position(query.value().sql.size()) <= size);
    } else {
        require(query.error().position <= static_cast<std::int64_t>(size));
    }
    (void)rewrite_expression(text, *find("s"));
    return 0;
}
