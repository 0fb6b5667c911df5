#include "record/detail/json_plan.h"

#include "record/detail/json_value.h"
#include "record/time.h"

#include <bit>

namespace weir::record::detail {
namespace {

bool same_word(std::string_view text, std::string_view upper) {
    if (text.size() != upper.size()) return false;
    for (std::size_t i = 0; i < text.size(); ++i)
        if ((text[i] >= 'a' && text[i] <= 'z' ? text[i] - 'a' + 'A' : text[i]) != upper[i]) return false;
    return true;
}

std::string_view trim(std::string_view sql) {
    for (;;) {
        while (!sql.empty() && is_space(sql.front()))
            sql.remove_prefix(1);
        while (!sql.empty() && is_space(sql.back()))
            sql.remove_suffix(1);
        if (sql.size() < 2 || sql.front() != '(' || sql.back() != ')') return sql;
        sql = sql.substr(1, sql.size() - 2);
    }
}

// 'it''s' to it's; false: not one string literal.
bool read_sql_text(std::string_view sql, std::string& out) {
    if (sql.size() < 2 || sql.front() != '\'' || sql.back() != '\'') return false;
    sql = sql.substr(1, sql.size() - 2);
    for (std::size_t i = 0; i < sql.size(); ++i) {
        if (sql[i] == '\'' && (++i == sql.size() || sql[i] != '\'')) return false;
        out.push_back(sql[i]);
    }
    return true;
}

bool read_sql_blob(std::string_view sql, std::string& out) {
    if (sql.size() < 3 || (sql[0] != 'x' && sql[0] != 'X') || sql[1] != '\'' || sql.back() != '\'') return false;
    sql = sql.substr(2, sql.size() - 3);
    if (sql.size() % 2 != 0) return false;
    for (std::size_t i = 0; i < sql.size(); i += 2) {
        int byte = 0;
        for (const char c : sql.substr(i, 2)) {
            const std::size_t digit = std::string_view("0123456789abcdef0123456789ABCDEF").find(c);
            if (digit == std::string_view::npos) return false;
            byte = byte << 4 | static_cast<int>(digit % 16);
        }
        out.push_back(static_cast<char>(byte));
    }
    return true;
}

// Whether the text is a number as JSON writes it (SQL's `.5`, `5.` and `0x1f` are not taken); `integer`: without
// fraction and exponent.
bool is_number(std::string_view text, bool& integer) {
    std::size_t i = !text.empty() && text[0] == '-' ? 1 : 0;
    const auto digits = [&] {
        const std::size_t begin = i;
        while (i < text.size() && text[i] >= '0' && text[i] <= '9')
            ++i;
        return i > begin;
    };
    const std::size_t first = i;
    if (!digits() || (text[first] == '0' && i > first + 1)) return false;
    integer = i == text.size();
    if (i < text.size() && text[i] == '.') {
        ++i;
        if (!digits()) return false;
    }
    if (i < text.size() && (text[i] == 'e' || text[i] == 'E')) {
        ++i;
        if (i < text.size() && (text[i] == '+' || text[i] == '-')) ++i;
        if (!digits()) return false;
    }
    return i == text.size();
}

}  // namespace

DefaultValue literal_default(ColumnType type, std::string_view sql) {
    DefaultValue value;
    sql = trim(sql);
    if (sql.size() > 1 && sql[0] == '+') sql.remove_prefix(1);
    std::string quoted;
    bool integer = false;
    const bool text = read_sql_text(sql, quoted);
    const bool number = !text && is_number(sql, integer);
    const bool yes = same_word(sql, "TRUE"), no = same_word(sql, "FALSE");
    switch (type) {
        case ColumnType::text:
            value.text = text ? quoted : std::string(sql);
            value.present = text || number;
            break;
        case ColumnType::integer:
            value.present = number && integer && read_integer(sql, value.number);
            break;
        case ColumnType::real: {
            double real = 0;
            value.present = number && read_real(sql, real);
            value.number = std::bit_cast<std::int64_t>(real);
            break;
        }
        case ColumnType::boolean:
            value.present = yes || no || sql == "1" || sql == "0";
            value.number = yes || sql == "1" ? 1 : 0;
            break;
        case ColumnType::timestamp:
            if (text) {
                const std::optional<std::int64_t> ms = parse_time_literal(quoted);
                value.present = ms.has_value();
                value.number = ms.value_or(0);
            } else {
                value.present = number && integer && read_integer(sql, value.number);
            }
            break;
        case ColumnType::json:
            value.text = text ? quoted : std::string(sql);
            value.present = text || number;
            break;
        case ColumnType::blob:
            value.present = read_sql_blob(sql, value.text);
            break;
    }
    return value;
}

std::uint32_t Plan::place(const std::vector<PathStep>& path) {
    std::uint32_t node = 1;
    for (const PathStep& step : path) {
        std::uint32_t next = 0;
        for (std::uint32_t i = 2; i < edges_.size() && next == 0; ++i)
            if (edges_[i].parent == node && edges_[i].step == step) next = i;
        if (next == 0) {
            next = static_cast<std::uint32_t>(edges_.size());
            edges_.push_back({node, step});
        }
        node = next;
    }
    return node;
}

void Plan::build(const Schema& schema, const std::vector<bool>& want) {
    edges_.assign(2, Edge{});
    columns_.assign(schema.columns.size(), PlannedColumn{});
    sources_.clear();
    event_time_ = schema.event_time;
    event_time_node_ = 0;
    for (std::size_t c = 0; c < schema.columns.size(); ++c) {
        const Column& column = schema.columns[c];
        PlannedColumn& planned = columns_[c];
        sources_.push_back({column.type, column.path, column.default_sql});
        planned.type = column.type;
        if (schema.event_time == static_cast<int>(c)) event_time_node_ = place(column.path);
        if (!want.empty() && !(c < want.size() && want[c])) continue;
        planned.node = place(column.path);
        if (!column.default_sql.empty()) planned.fallback = literal_default(column.type, column.default_sql);
        if (planned.fallback.present) continue;
        for (std::size_t earlier = 0; earlier < c && planned.same_as < 0; ++earlier) {
            const PlannedColumn& other = columns_[earlier];
            if (other.node == planned.node && other.type == planned.type && !other.fallback.present)
                planned.same_as = static_cast<int>(earlier);
        }
    }
    lay_out();
}

void Plan::lay_out() {
    nodes_.assign(edges_.size(), Node{});
    places_ = 0;
    const auto mark = [this](std::uint32_t node) {
        if (node == 0 || nodes_[node].place) return;
        nodes_[node].place = true;
        ++places_;
    };
    for (const PlannedColumn& column : columns_)
        mark(column.node);
    mark(event_time_node_);

    elements_.clear();
    members_.assign(1, Member{});  // the empty table of every node without members
    for (std::uint32_t parent = 1; parent < nodes_.size(); ++parent) {
        Node& node = nodes_[parent];
        node.elements = static_cast<std::uint32_t>(elements_.size());
        std::size_t count = 0;
        for (std::uint32_t i = 2; i < edges_.size(); ++i) {
            if (edges_[i].parent != parent) continue;
            if (edges_[i].step.index >= 0)
                elements_.push_back({edges_[i].step.index, i});
            else
                ++count;
        }
        node.element_count = static_cast<std::uint32_t>(elements_.size()) - node.elements;
        if (count == 0) continue;
        node.table = static_cast<std::uint32_t>(members_.size());
        node.mask = static_cast<std::uint32_t>(std::bit_ceil(4 * count)) - 1;
        members_.resize(members_.size() + node.mask + 1);
        for (std::uint32_t i = 2; i < edges_.size(); ++i) {
            if (edges_[i].parent != parent || edges_[i].step.index >= 0) continue;
            const std::string& key = edges_[i].step.name;
            const std::size_t size = key.size();
            const std::string padded = key + std::string(8, '\0');
            const std::uint64_t head = key_head(padded.data(), size);
            std::uint32_t at = hash(head, size);
            while (members_[node.table + (at & node.mask)].node != 0)
                ++at;
            members_[node.table + (at & node.mask)] =
                Member{head, size > 8 ? key.data() + 8 : nullptr, static_cast<std::uint32_t>(size), i};
        }
    }
}

bool Plan::fits(const Schema& schema) const {
    if (schema.columns.size() != sources_.size() || schema.event_time != event_time_) return false;
    for (std::size_t c = 0; c < sources_.size(); ++c) {
        const Column& column = schema.columns[c];
        if (column.type != sources_[c].type || column.path != sources_[c].path ||
            column.default_sql != sources_[c].default_sql)
            return false;
    }
    return true;
}

}  // namespace weir::record::detail
