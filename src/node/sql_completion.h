// What could stand where the cursor is in a statement that is being typed: keywords, streams, views, columns.
#pragma once

#include <cstddef>
#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace weir::node {

// What the server has, as far as it was asked.
struct SqlCatalog {
    std::vector<std::string> tables;                          // streams, views and what comes with them
    std::map<std::string, std::vector<std::string>> columns;  // by table
};

struct SqlCompletion {
    std::size_t from = 0;                 // where the word begins that is to be completed
    std::vector<std::string> candidates;  // what may stand there, sorted, without doubles
};

// `text` up to the cursor. Names of tables where one is expected (FROM, JOIN, INTO, DROP ...), else columns of the
// tables that the statement names, keywords and functions. Inside of a string or comment: nothing. Keywords come in the
// case of what was typed.
SqlCompletion complete_sql(std::string_view text, const SqlCatalog& catalog);

// The tables of `catalog` that the statement names, whose columns it may mean. At most 8.
std::vector<std::string> tables_named(std::string_view text, const SqlCatalog& catalog);

// Whether `text` ends a statement: with a ';' that stands in no string and no comment.
bool ends_statement(std::string_view text);

// The longest beginning that all have.
std::string common_beginning(const std::vector<std::string>& words);

}  // namespace weir::node
