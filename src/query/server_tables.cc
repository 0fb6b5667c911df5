#include "query/server_tables.h"

#include "sql/tokens.h"

#include <algorithm>
#include <string>

namespace weir::query {
namespace {

// Every name and every `a.b` of the text: more than the tables that are meant, and never fewer.
std::vector<std::string> names_in(std::string_view text) {
    auto tokens = sql::tokenize(text);
    if (!tokens) return {};
    const std::vector<sql::Token>& all = tokens.value();
    std::vector<std::string> names;
    for (std::size_t i = 0; i < all.size(); ++i) {
        if (!all[i].is_name()) continue;
        names.push_back(sql::token_value(all[i]));
        if (i + 2 < all.size() && all[i + 1].is(".") && all[i + 2].is_name())
            names.push_back(names.back() + '.' + sql::token_value(all[i + 2]));
    }
    return names;
}

}  // namespace

std::vector<TableRows> mentioned_tables(const std::vector<ServerTable>& tables, std::string_view sql) {
    std::vector<TableRows> mentioned;
    if (tables.empty()) return mentioned;
    const std::vector<std::string> names = names_in(sql);
    for (const ServerTable& table : tables) {
        const auto same = [&](const std::string& name) { return sql::same_word(name, table.name); };
        if (std::ranges::any_of(names, same)) mentioned.push_back({table.name, table.columns, table.rows()});
    }
    return mentioned;
}

std::size_t size_of(const std::vector<TableRows>& tables) {
    std::size_t bytes = 0;
    for (const TableRows& table : tables) {
        bytes += table.name.size() + 64 * (table.columns.size() + 1);
        for (const auto& row : table.rows)
            for (const OwnedValue& value : row)
                bytes += value.text.size() + 16;
    }
    return bytes;
}

}  // namespace weir::query
