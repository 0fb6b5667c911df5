#include "query/where.h"

#include "base/limits.h"
#include "sql/tokens.h"

#include <algorithm>
#include <array>
#include <map>
#include <utility>
#include <vector>

namespace weir::query {
namespace {

constexpr std::size_t partitions_max = 16;  // of one statement: each repeats the expression
static_assert(partitions_max * (where_bytes_max + 1000) < limits::sql_bytes_max);

// The words that begin a query of its own. In a page-wise evaluation it would see other rows than in a SELECT.
constexpr std::array<std::string_view, 3> subquery_words{"select", "with", "values"};

// A wrong ')' would end the parentheses around the expression, a ';' the statement.
Status check_shape(std::string_view where) {
    const auto wrong = [](const sql::Token& token, std::string why, Errc code = Errc::invalid_argument) {
        return Error{code, std::move(why), 0, static_cast<std::int64_t>(token.position)};
    };
    if (where.size() > where_bytes_max)
        return Error{Errc::too_large, "where has more than " + std::to_string(where_bytes_max) + " bytes"};
    const auto tokens = TRY(sql::tokenize(where));
    if (tokens.front().kind == sql::TokenKind::end) return wrong(tokens.front(), "where is empty");
    int open = 0;
    for (const sql::Token& token : tokens) {
        if (token.kind == sql::TokenKind::bad) return wrong(token, sql::bad_token_reason(token));
        if (token.kind == sql::TokenKind::parameter) return wrong(token, "where takes no parameters");
        if (token.is(";")) return wrong(token, "where is one expression: no ';'");
        if (token.is("(")) ++open;
        if (token.is(")") && --open < 0) return wrong(token, "')' without '('");
        for (const std::string_view word : subquery_words)
            if (token.is_word(word)) return wrong(token, "where takes no subquery", Errc::forbidden);
    }
    if (open > 0) return wrong(tokens.back(), "'(' without ')'");
    return {};
}

// The line break ends a comment that the expression may end with.
std::string statement_head(const std::string& stream, PartitionNo partition, std::int64_t from, std::int64_t to) {
    return "SELECT " + std::to_string(partition) + ", _offset FROM " + sql::quoted_if_needed(stream) +
           " WHERE _partition = " + std::to_string(partition) + " AND _offset >= " + std::to_string(from) +
           " AND _offset < " + std::to_string(to) + " AND (";
}

// Offsets, by partition.
class OffsetSink final : public ResultSink {
  public:
    bool columns(const std::vector<QueryColumn>& columns) override { return columns.size() == 2; }
    bool row(const std::vector<store::Value>& values) override {
        if (values[0].type != store::ValueType::integer || values[1].type != store::ValueType::integer) return false;
        found[static_cast<PartitionNo>(values[0].integer)].push_back(values[1].integer);
        return true;
    }
    std::map<PartitionNo, std::vector<std::int64_t>> found;
};

QueryRequest request_of(const WhereQuery& query, std::string sql, std::int64_t rows) {
    QueryRequest request;
    request.sql = std::move(sql);
    request.timeout_ms = query.timeout_ms;
    request.rows_max = rows;
    request.now_ms = query.now_ms;
    return request;
}

struct Range {
    std::int64_t from = 0, to = 0;
};

}  // namespace

Status check_where(Pool& pool, const WhereQuery& query) {
    TRY(check_shape(query.where));
    const std::string head = statement_head(query.stream, 0, 0, 0);
    OffsetSink sink;
    const auto ran = pool.run(request_of(query, head + query.where + "\n)", 1), sink);
    if (ran) return {};
    Error error = ran.error();
    error.position -= static_cast<std::int64_t>(head.size());
    if (error.position < 0 || error.position > static_cast<std::int64_t>(query.where.size())) error.position = -1;
    return error;
}

Result<EventPage> read_where(EventReader& reader, Pool& pool, const WhereQuery& query) {
    TRY(check_shape(query.where));
    EventQuery scan = query.events;
    scan.limit = query.scan_max;
    const EventPlan plan = TRY(reader.plan(scan));
    // Offsets are dense, so what the plan holds of a partition is one range.
    std::map<PartitionNo, Range> ranges;
    for (const PlannedBatch& batch : plan.batches) {
        auto [range, is_new] = ranges.try_emplace(batch.partition, Range{batch.from_offset, batch.to_offset});
        range->second.from = std::min(range->second.from, batch.from_offset);
        range->second.to = std::max(range->second.to, batch.to_offset);
    }
    OffsetSink sink;
    for (auto range = ranges.begin(); range != ranges.end();) {
        std::string sql;
        for (std::size_t n = 0; n < partitions_max && range != ranges.end(); ++n, ++range) {
            if (n > 0) sql += " UNION ALL ";
            sql += statement_head(query.stream, range->first, range->second.from, range->second.to);
            sql += query.where + "\n)";
        }
        const auto ran = pool.run(request_of(query, std::move(sql), static_cast<std::int64_t>(plan.events)), sink);
        if (!ran)
            return Error{ran.error().code, ran.error().detail};  // a position in our statement tells nobody anything
    }
    for (auto& [partition, offsets] : sink.found)
        std::ranges::sort(offsets);
    // Back into log order.
    std::vector<std::uint64_t> chosen;
    std::map<PartitionNo, std::size_t> next;
    std::uint64_t number = 0;
    for (const PlannedBatch& batch : plan.batches) {
        const auto& offsets = sink.found[batch.partition];
        std::size_t& at = next[batch.partition];
        for (; at < offsets.size() && offsets[at] < batch.to_offset; ++at)
            if (offsets[at] >= batch.from_offset)
                chosen.push_back(number + static_cast<std::uint64_t>(offsets[at] - batch.from_offset));
        number += static_cast<std::uint64_t>(batch.to_offset - batch.from_offset);
    }
    return reader.read_planned(query.events, plan, chosen);
}

}  // namespace weir::query
