// What the names in a query mean: which tables each SELECT reads, under which aliases, and which columns and types they
// give on. Enough of SQL to know a TIMESTAMP when one is compared; whatever it does not understand has no type. Private
// to sql/.
//
// Built in one pass over the tokens with a stack of open parentheses: an inner SELECT is complete before the outer one
// needs its columns, so nothing recurses.
#pragma once

#include "base/result.h"
#include "sql/detail/cursor.h"
#include "sql/rewrite.h"

#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

namespace weir::sql {

using Columns = std::vector<std::pair<std::string, std::string>>;  // name, type

class Scopes {
  public:
    using Find = std::function<const TableShape*(std::string_view name)>;

    // Errors: invalid_argument (parentheses that do not match), unsupported (TUMBLE outside of a view).
    static Result<Scopes> of_query(const Cursor& cursor, const Find& find);
    // An expression over one table's columns.
    static Result<Scopes> of_expression(const Cursor& cursor, const TableShape& shape);

    // A run of tokens that names a catalog table, and the name as SQL wants it.
    struct TableName {
        TokenSpan span;
        std::string text;
    };
    const std::vector<TableName>& table_names() const { return table_names_; }
    const std::vector<std::string>& tables() const { return tables_; }  // catalog names, each once, in order

    // The type of an expression where the text tells: a column, min/max of one, bucket(), now() ... Empty: unknown.
    std::string type_of(TokenSpan span) const;
    // Tokens of the column reference that begins at `token` (a, t.a, sys.x.a), empty span: not a name.
    TokenSpan reference_at(std::size_t token) const;
    // The closing parenthesis of the opening one at `token`.
    std::size_t closing(std::size_t token) const { return partner_[token]; }
    // Columns of the outermost SELECT (of a compound the first), as far as each is known by its position.
    Columns result_columns() const;

  private:
    struct Table {
        std::string qualifier;                               // lower case: alias, else the name
        std::unordered_map<std::string, std::string> types;  // lower-case column name -> type
        const Columns* ordered = nullptr;                    // for `*`; null: unknown
    };
    struct Item {
        TokenSpan span;
        std::string name;  // alias or column name
        std::string star;  // "*": all, "t.*": lower-case t
    };
    struct Scope {
        int parent = -1;
        std::vector<Table> tables;
        std::vector<Item> items;
        std::unordered_map<std::string, std::string> alias_types;  // of items, where a type is known
        bool using_join = false;  // USING or NATURAL merges columns: `*` is not countable
        Columns outputs;
        bool outputs_exact = true;  // else the first exact_count are known by position
        std::size_t exact_count = 0;
        bool finished = false;
    };
    struct Frame;
    class Builder;

    explicit Scopes(const Cursor& cursor) : cursor_(&cursor) {}
    Status match_parentheses();
    std::string type_of_in(TokenSpan span, int scope) const;
    std::string column_type(int scope, std::string_view qualifier, std::string_view column) const;

    const Cursor* cursor_;
    std::vector<std::size_t> partner_;  // per token: the other parenthesis
    std::vector<int> scope_of_;         // per token
    std::vector<Scope> scopes_;
    std::vector<std::unique_ptr<Columns>> shapes_;  // what Table::ordered points to
    std::vector<TableName> table_names_;
    std::vector<std::string> tables_;
    std::unordered_map<std::size_t, std::string> subquery_types_;  // opening parenthesis -> type of its first column
};

}  // namespace weir::sql
