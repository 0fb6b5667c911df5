#include "store/detail/real_text.h"

#include "store/detail/lexer.h"

#include <algorithm>
#include <charconv>
#include <cstdint>
#include <iterator>
#include <utility>
#include <vector>

namespace weir::store::detail {

namespace {

enum class Real : unsigned char { never, maybe, yes };

// What a function does with REAL.
enum class Gives : unsigned char {
    never,     // never a REAL
    maybe,     // a REAL for some arguments that are none
    real,      // a REAL
    number,    // a REAL from a REAL or a text
    any,       // one of its arguments
    first,     // its first argument
    branches,  // one of its arguments but the first
};
enum class TextArguments : unsigned char { none, first, all };

struct Function {
    std::string_view name;
    TextArguments text;  // arguments that it reads as text
    Gives gives;
};

constexpr Function functions[] = {
    {"->", TextArguments::all, Gives::never},
    {"->>", TextArguments::all, Gives::maybe},
    {"abs", TextArguments::none, Gives::number},
    {"bucket", TextArguments::none, Gives::never},
    {"ceil", TextArguments::none, Gives::number},
    {"ceiling", TextArguments::none, Gives::number},
    {"char", TextArguments::none, Gives::never},
    {"coalesce", TextArguments::none, Gives::any},
    {"epoch_ms", TextArguments::none, Gives::never},
    {"floor", TextArguments::none, Gives::number},
    {"glob", TextArguments::all, Gives::never},
    {"hex", TextArguments::all, Gives::never},
    {"ifnull", TextArguments::none, Gives::any},
    {"iif", TextArguments::none, Gives::branches},
    {"instr", TextArguments::all, Gives::never},
    {"json", TextArguments::all, Gives::never},
    {"json_array_length", TextArguments::all, Gives::never},
    {"json_extract", TextArguments::all, Gives::maybe},
    {"json_type", TextArguments::all, Gives::never},
    {"json_valid", TextArguments::all, Gives::never},
    {"length", TextArguments::all, Gives::never},
    {"like", TextArguments::all, Gives::never},
    {"likelihood", TextArguments::none, Gives::first},
    {"likely", TextArguments::none, Gives::first},
    {"lower", TextArguments::all, Gives::never},
    {"ltrim", TextArguments::all, Gives::never},
    {"max", TextArguments::none, Gives::any},
    {"min", TextArguments::none, Gives::any},
    {"mod", TextArguments::none, Gives::real},
    {"nullif", TextArguments::none, Gives::first},
    {"replace", TextArguments::all, Gives::never},
    {"rfc3339", TextArguments::none, Gives::never},
    {"round", TextArguments::none, Gives::real},
    {"rtrim", TextArguments::all, Gives::never},
    {"sign", TextArguments::none, Gives::never},
    {"substr", TextArguments::first, Gives::never},
    {"substring", TextArguments::first, Gives::never},
    {"trim", TextArguments::all, Gives::never},
    {"trunc", TextArguments::none, Gives::number},
    {"typeof", TextArguments::none, Gives::never},
    {"unicode", TextArguments::all, Gives::never},
    {"unlikely", TextArguments::none, Gives::first},
    {"upper", TextArguments::all, Gives::never},
    {"weir_time", TextArguments::none, Gives::first},
};

const Function* find_function(std::string_view name) {
    const auto* found =
        std::find_if(std::begin(functions), std::end(functions), [&](const Function& f) { return f.name == name; });
    return found == std::end(functions) ? nullptr : found;
}

// SQLite's operators, those that bind loosest first.
enum Binding : int {
    binds_or = 1,
    binds_and,
    binds_not,
    binds_equality,  // = <> IS IN LIKE BETWEEN ISNULL
    binds_order,     // < <= > >=
    binds_bits,
    binds_sum,
    binds_product,
    binds_concat,  // || -> ->>
    binds_collate,
    binds_sign,
};

struct Operator {
    std::string_view text;
    Binding binding;
};

constexpr Operator symbols[] = {
    {"=", binds_equality}, {"==", binds_equality}, {"<>", binds_equality}, {"!=", binds_equality},
    {"<", binds_order},    {"<=", binds_order},    {">", binds_order},     {">=", binds_order},
    {"&", binds_bits},     {"|", binds_bits},      {"<<", binds_bits},     {">>", binds_bits},
    {"+", binds_sum},      {"-", binds_sum},       {"*", binds_product},   {"/", binds_product},
    {"%", binds_product},  {"||", binds_concat},   {"->", binds_concat},   {"->>", binds_concat},
};
constexpr Operator words[] = {
    {"or", binds_or},         {"and", binds_and},         {"is", binds_equality},      {"isnull", binds_equality},
    {"in", binds_equality},   {"not", binds_equality},    {"notnull", binds_equality}, {"like", binds_equality},
    {"glob", binds_equality}, {"collate", binds_collate}, {"between", binds_equality},
};

// SQLite's parser gives up far below this; here it bounds the recursion.
constexpr int depth_max = 400;

struct Operand {
    std::size_t begin = 0;  // its bytes
    std::size_t end = 0;
    Real real = Real::never;
    bool pulls_text = false;  // has TEXT affinity: what it is compared with becomes text
    bool is_settled = false;  // has an affinity of its own, so a comparison with TEXT makes the text a number instead
    bool is_row = false;      // (a, b)
    std::string why;          // when real: what makes it so
};

class Walk {
  public:
    Walk(const std::vector<record::Column>& columns, std::string_view sql) : columns_(columns), sql_(sql), lexer_(sql) {
        advance();
    }

    Result<std::string> run(std::string_view guard) {
        TRY(expression(binds_or));
        if (token_.kind != TokenKind::end) return unknown();
        std::vector<std::pair<std::size_t, std::string>> inserted;
        std::sort(guarded_.begin(), guarded_.end());
        guarded_.erase(std::unique(guarded_.begin(), guarded_.end()), guarded_.end());
        for (const auto& [begin, end] : guarded_) {
            inserted.emplace_back(begin, std::string(guard) + "(");
            inserted.emplace_back(end, ")");
        }
        // No operand ends where another begins, so those of one place are all alike.
        std::sort(inserted.begin(), inserted.end());
        std::string out;
        std::size_t at = 0;
        for (const auto& [position, text] : inserted) {
            out += sql_.substr(at, position - at);
            out += text;
            at = position;
        }
        out += sql_.substr(at);
        return out;
    }

  private:
    void advance() {
        end_ = token_.position + token_.text.size();
        token_ = lexer_.next();
    }
    bool is_symbol(std::string_view symbol) const { return token_.kind == TokenKind::symbol && token_.text == symbol; }
    bool is_word(std::string_view word) const { return token_.kind == TokenKind::name && same_name(token_.text, word); }
    bool take_symbol(std::string_view symbol) {
        if (!is_symbol(symbol)) return false;
        advance();
        return true;
    }
    bool take_word(std::string_view word) {
        if (!is_word(word)) return false;
        advance();
        return true;
    }
    Status expect_symbol(std::string_view symbol) {
        if (!take_symbol(symbol)) return unknown();
        return {};
    }
    Status expect_word(std::string_view word) {
        if (!take_word(word)) return unknown();
        return {};
    }

    Error unknown() const {
        std::string detail = "this construct is not allowed in an expression";
        if (token_.kind != TokenKind::end) detail += ", at " + std::string(token_.text.substr(0, 40));
        return Error{Errc::forbidden, detail, 0, static_cast<std::int64_t>(token_.position)};
    }

    // `operand` stands where `reader` wants text.
    Status read_as_text(const Operand& operand, std::string_view reader) {
        if (operand.real == Real::never) return {};
        if (operand.real == Real::yes || operand.is_row) {
            std::string detail = operand.real == Real::yes ? operand.why : "a row can hold a REAL";
            detail += ", and " + std::string(reader) +
                      " would write it as text, whose digits depend on the version of SQLite; make it an integer "
                      "first, as in CAST(round(x) AS INTEGER)";
            return Error{Errc::forbidden, detail, 0, static_cast<std::int64_t>(operand.begin)};
        }
        guarded_.emplace_back(operand.begin, operand.end);
        return {};
    }

    Status compare(const Operand& a, const Operand& b) {
        if (a.is_row || b.is_row) {
            // Element by element; the parts are no longer known.
            if (a.pulls_text) TRY(read_as_text(b, "a comparison with text"));
            if (b.pulls_text) TRY(read_as_text(a, "a comparison with text"));
            return {};
        }
        if (a.pulls_text && !b.is_settled) TRY(read_as_text(b, "a comparison with text"));
        if (b.pulls_text && !a.is_settled) TRY(read_as_text(a, "a comparison with text"));
        return {};
    }

    static void widen(Operand& to, const Operand& from) {
        if (from.real <= to.real) return;
        to.real = from.real;
        to.why = from.why;
    }

    // The operand that an operator makes of others: it has no affinity.
    Operand made(std::size_t begin) const {
        Operand operand;
        operand.begin = begin;
        operand.end = end_;
        return operand;
    }

    // Everything from here whose operators bind at least as tightly as `least`. Recursion ends at depth_max.
    Result<Operand> expression(int least) {
        if (depth_ == depth_max) return unknown();
        ++depth_;
        auto result = expression_at_depth(least);
        --depth_;
        return result;
    }

    Result<Operand> expression_at_depth(int least) {
        Operand left = TRY(prefixed());
        while (true) {
            const Operator* found = nullptr;
            if (token_.kind == TokenKind::symbol) {
                for (const Operator& o : symbols)
                    if (o.text == token_.text) found = &o;
            } else if (token_.kind == TokenKind::name) {
                for (const Operator& o : words)
                    if (same_name(o.text, token_.text)) found = &o;
            }
            if (found == nullptr || found->binding < least) return left;
            advance();
            left = TRY(applied(std::move(left), *found));
        }
    }

    // `left` with the operator that has just been read and what stands to its right.
    Result<Operand> applied(Operand left, const Operator& op) {
        const std::size_t begin = left.begin;
        switch (op.binding) {
            case binds_collate: {
                if (token_.kind != TokenKind::name && token_.kind != TokenKind::quoted_name &&
                    token_.kind != TokenKind::string) {
                    return unknown();
                }
                advance();
                left.end = end_;
                return left;
            }
            case binds_concat: {
                const Operand right = TRY(expression(binds_concat + 1));
                TRY(read_as_text(left, op.text));
                TRY(read_as_text(right, op.text));
                Operand result = made(begin);
                if (op.text == "->>") result.real = Real::maybe;
                return result;
            }
            case binds_sum:
            case binds_product: {
                const Operand right = TRY(expression(op.binding + 1));
                Operand result = made(begin);
                result.real = Real::maybe;  // an overflow, or a text such as '1.5'
                widen(result, left);
                widen(result, right);
                return result;
            }
            case binds_order: {
                const Operand right = TRY(expression(binds_order + 1));
                TRY(compare(left, right));
                return made(begin);
            }
            case binds_bits:
            case binds_and:
            case binds_or:
                TRY(expression(op.binding + 1));
                return made(begin);
            case binds_equality:
                return equality(left, op.text);
            case binds_not:
            case binds_sign:
                break;
        }
        return unknown();
    }

    Result<Operand> equality(const Operand& left, std::string_view op) {
        const std::size_t begin = left.begin;
        if (op == "isnull" || op == "notnull") return made(begin);
        if (op == "not") {
            if (take_word("null")) return made(begin);
            for (const std::string_view word : {"like", "glob", "between", "in"})
                if (take_word(word)) return equality(left, word);
            return unknown();
        }
        if (op == "is") {
            take_word("not");
            if (take_word("distinct")) TRY(expect_word("from"));
        }
        if (op == "between") {
            // The grammar takes anything up to AND as the lower bound.
            const Operand low = TRY(expression(binds_and + 1));
            TRY(expect_word("and"));
            const Operand high = TRY(expression(binds_equality + 1));
            TRY(compare(left, low));
            TRY(compare(left, high));
            return made(begin);
        }
        if (op == "in") {
            TRY(expect_symbol("("));
            while (!is_symbol(")")) {
                Operand element = TRY(expression(binds_or));
                // Only the affinity of the left side counts here.
                if (left.pulls_text) TRY(read_as_text(element, "a comparison with text"));
                if (!take_symbol(",")) break;
            }
            TRY(expect_symbol(")"));
            return made(begin);
        }
        const Operand right = TRY(expression(binds_equality + 1));
        if (op == "like" || op == "glob") {
            TRY(read_as_text(left, op));
            TRY(read_as_text(right, op));
            if (take_word("escape")) {
                const Operand escape = TRY(expression(binds_equality + 1));
                TRY(read_as_text(escape, op));
            }
            return made(begin);
        }
        TRY(compare(left, right));
        return made(begin);
    }

    Result<Operand> prefixed() {
        const std::size_t begin = token_.position;
        if (take_word("not")) {
            TRY(expression(binds_not));
            return made(begin);
        }
        if (is_symbol("+") || is_symbol("-") || is_symbol("~")) {
            const char sign = token_.text.front();
            advance();
            const Operand operand = TRY(expression(binds_sign));
            Operand result = made(begin);
            if (sign == '-') result.real = Real::maybe;  // of a text, or of the least integer
            if (sign != '~') widen(result, operand);
            return result;
        }
        if (take_symbol("(")) return parenthesised(begin);
        const Token first = token_;
        advance();
        switch (first.kind) {
            case TokenKind::number:
                return number(first);
            case TokenKind::string:
                if (is_symbol(".")) return column(first);
                return made(begin);
            case TokenKind::quoted_name:
                if (take_symbol("(")) return call(begin, lower_ascii(unquote(first)));
                return column(first);
            case TokenKind::name:
                if (same_name(first.text, "case")) return case_of(begin);
                if (same_name(first.text, "null")) return made(begin);
                if (same_name(first.text, "x") && token_.kind == TokenKind::string && token_.position == end_) {
                    advance();  // a blob
                    return made(begin);
                }
                if (!take_symbol("(")) return column(first);
                if (same_name(first.text, "cast")) return cast(begin);
                return call(begin, lower_ascii(first.text));
            case TokenKind::symbol:
            case TokenKind::end:
            case TokenKind::broken:
                break;
        }
        return unknown();
    }

    Result<Operand> parenthesised(std::size_t begin) {
        Operand result = TRY(expression(binds_or));
        while (take_symbol(",")) {
            const Operand next = TRY(expression(binds_or));
            widen(result, next);
            result.pulls_text = result.pulls_text || next.pulls_text;
            result.is_row = true;
        }
        TRY(expect_symbol(")"));
        result.begin = begin;
        result.end = end_;
        return result;
    }

    Result<Operand> number(const Token& token) {
        Operand result = made(token.position);
        const std::string_view text = token.text;
        if (text.size() > 1 && text[0] == '0' && (text[1] == 'x' || text[1] == 'X')) {
            // `0xe+1` is one token to the lexer and three to SQLite.
            if (text.find_first_of("+-.") != std::string_view::npos) return unknown();
            return result;
        }
        std::int64_t value = 0;
        const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
        if (error == std::errc() && end == text.data() + text.size()) return result;
        result.real = Real::yes;
        result.why = std::string(text.substr(0, 40)) + " is REAL";
        return result;
    }

    // `first` has been read: a column, perhaps behind the names of its table and database.
    Result<Operand> column(const Token& first) {
        Token last = first;
        while (take_symbol(".")) {
            last = token_;
            if (last.kind != TokenKind::name && last.kind != TokenKind::quoted_name && last.kind != TokenKind::string)
                return unknown();
            advance();
        }
        Operand result = made(first.position);
        const std::string name = unquote(last);
        for (const record::Column& c : columns_) {
            if (!same_name(c.name, name)) continue;
            result.is_settled = true;
            result.pulls_text = c.type == record::ColumnType::text || c.type == record::ColumnType::json;
            if (c.type == record::ColumnType::real) {
                result.real = Real::yes;
                result.why = "column " + c.name + " is REAL";
            }
            return result;
        }
        for (const std::string_view whole : {"true", "false", "rowid", "_rowid_", "oid"})
            if (same_name(name, whole)) return result;
        return unknown();
    }

    // CASE has been read.
    Result<Operand> case_of(std::size_t begin) {
        Operand base;
        const bool has_base = !is_word("when");
        if (has_base) base = TRY(expression(binds_or));
        Operand values;
        while (take_word("when")) {
            const Operand when = TRY(expression(binds_or));
            if (has_base) TRY(compare(base, when));
            TRY(expect_word("then"));
            widen(values, TRY(expression(binds_or)));
        }
        if (take_word("else")) widen(values, TRY(expression(binds_or)));
        TRY(expect_word("end"));
        Operand result = made(begin);
        widen(result, values);
        return result;
    }

    // CAST and "(" have been read.
    Result<Operand> cast(std::size_t begin) {
        const Operand operand = TRY(expression(binds_or));
        TRY(expect_word("as"));
        const std::size_t type_begin = token_.position;
        std::size_t type_end = type_begin;
        bool is_plain = false;
        int open = 0;
        while (open > 0 || !is_symbol(")")) {
            if (token_.kind == TokenKind::end || token_.kind == TokenKind::broken) return unknown();
            if (token_.kind == TokenKind::quoted_name || token_.kind == TokenKind::string) return unknown();
            if (is_symbol("(")) ++open;
            if (is_symbol(")")) --open;
            is_plain = true;
            advance();
            type_end = end_;
        }
        TRY(expect_symbol(")"));
        if (!is_plain) return unknown();  // `CAST(x AS)`, which SQLite takes
        // SQLite looks for these anywhere in the name, in this order.
        const std::string type = lower_ascii(sql_.substr(type_begin, type_end - type_begin));
        const auto has = [&](std::string_view part) { return type.find(part) != std::string::npos; };
        Operand result = made(begin);
        result.is_settled = true;
        if (has("int")) return result;
        if (has("char") || has("clob") || has("text")) {
            TRY(read_as_text(operand, "CAST AS TEXT"));
            result.pulls_text = true;
        } else if (has("blob")) {
            TRY(read_as_text(operand, "CAST AS BLOB"));
        } else if (has("real") || has("floa") || has("doub")) {
            result.real = Real::yes;
            result.why = "CAST AS REAL gives REAL";
        } else {
            result.real = Real::maybe;
            widen(result, operand);
        }
        return result;
    }

    // The name and "(" have been read.
    Result<Operand> call(std::size_t begin, const std::string& name) {
        const Function* function = find_function(name);
        if (function == nullptr) return unknown();
        Operand any;
        Operand first;
        Operand branches;
        for (std::size_t i = 0; !is_symbol(")"); ++i) {
            const Operand argument = TRY(expression(binds_or));
            if (function->text == TextArguments::all || (function->text == TextArguments::first && i == 0))
                TRY(read_as_text(argument, name + "()"));
            widen(any, argument);
            if (i == 0) {
                first = argument;
            } else {
                widen(branches, argument);
            }
            if (!take_symbol(",")) break;
        }
        TRY(expect_symbol(")"));
        if (is_word("filter") || is_word("over")) return unknown();
        Operand result = made(begin);
        switch (function->gives) {
            case Gives::never:
                break;
            case Gives::maybe:
                result.real = Real::maybe;
                break;
            case Gives::real:
                result.real = Real::yes;
                result.why = name + "() gives REAL";
                break;
            case Gives::number:
                result.real = Real::maybe;
                widen(result, any);
                break;
            case Gives::any:
                widen(result, any);
                break;
            case Gives::first:
                widen(result, first);
                break;
            case Gives::branches:
                widen(result, branches);
                break;
        }
        return result;
    }

    const std::vector<record::Column>& columns_;
    std::string_view sql_;
    Lexer lexer_;
    Token token_;
    std::size_t end_ = 0;  // where the token before token_ ends
    int depth_ = 0;
    std::vector<std::pair<std::size_t, std::size_t>> guarded_;
};

}  // namespace

bool is_allowed_function(std::string_view name) {
    return find_function(name) != nullptr;
}

Result<std::string> guard_real_text(const std::vector<record::Column>& columns, std::string_view sql,
                                    std::string_view guard) {
    return Walk(columns, sql).run(guard);
}

}  // namespace weir::store::detail
