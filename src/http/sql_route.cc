// POST /v1/sql: reads go to the query workers and come back row by row, definitions go to the catalog.
#include "http/detail/call.h"
#include "http/detail/read_wait.h"
#include "http/detail/result_writer.h"
#include "http/detail/sql_request.h"
#include "sql/statement.h"

#include <algorithm>
#include <optional>
#include <variant>

namespace weir::http {
namespace {

// Text a result gathers before the answer begins. Until then an error has its own status; from then on it can only
// cut the answer off. NDJSON is for those who want rows as they come, the others get the better errors.
constexpr std::size_t unsent_max = 1 << 20;
constexpr std::size_t ndjson_unsent_max = 32 << 10;
constexpr std::int64_t ndjson_patience_us = 50'000;

// Rows on their way from a query to a client, no more than `unsent_max` behind each other.
class AnswerSink : public query::ResultSink {
  public:
    AnswerSink(const RouteContext& context, ResultFormat format, Reply& reply)
        : context_(context),
          format_(format),
          writer_(format),
          reply_(reply),
          sent_us_(context.parts.clock.monotonic_us()) {}

    bool columns(const std::vector<query::QueryColumn>& columns) override {
        writer_.columns(columns, text_);
        return !context_.stopping.load();
    }
    bool row(const std::vector<store::Value>& values) override {
        writer_.row(values, text_);
        if (format_ == ResultFormat::ndjson) {
            const std::int64_t now = context_.parts.clock.monotonic_us();
            if (text_.size() < ndjson_unsent_max && now - sent_us_ < ndjson_patience_us) return true;
            sent_us_ = now;
        } else if (text_.size() < unsent_max) {
            return true;
        }
        if (!reply_.began() && !reply_.begin(200, content_type_of(format_))) return false;
        return reply_.piece(text_) && !context_.stopping.load();
    }
    // Who closes its end gives a query up that has nothing to say yet; one that sends rows meets the closed end itself.
    bool wanted() override { return !reply_.hung_up(); }
    ResultWriter& writer() { return writer_; }
    std::string& text() { return text_; }

  private:
    const RouteContext& context_;
    ResultFormat format_;
    ResultWriter writer_;
    Reply& reply_;
    std::int64_t sent_us_;
    std::string text_;
};

double elapsed_ms(const RouteContext& context, const Call& call) {
    return static_cast<double>(context.parts.clock.monotonic_us() - call.arrived_us) / 1000;
}

Answer refused(const Error& error, std::string_view statement) {
    return answer_of(sql_problem_of(error, statement));
}

// Waits for what the caller asked to see, or for what was committed when it came. The time it took counts.
Status wait_for_reads(const RouteContext& context, const Call& call, const SqlRequest& request, std::int64_t& left_ms) {
    replica::ShardPort& shard = context.parts.catalog.home();
    if (!shard.ready())
        return Error{Errc::recovering, "this node is still applying what was committed before it started"};
    const std::int64_t began_us = context.parts.clock.monotonic_us();
    for (const ShardIndex& wanted : request.min_index) {
        if (wanted.shard != shard.id())
            return Error{Errc::invalid_argument,
                         "min_index names shard " + std::to_string(wanted.shard.value) + ", which is not here"};
        const std::int64_t spent_ms = (context.parts.clock.monotonic_us() - began_us) / 1000;
        if (!wait_visible(context, shard, wanted.index, left_ms - spent_ms))
            return Error{Errc::deadline, "index " + index_text(wanted.shard, wanted.index) +
                                             " was not applied in time; " + index_text(shard.id(), shard.visible()) +
                                             " is"};
    }
    if (request.min_index.empty()) {
        const std::int64_t patience_ms = std::min(own_writes_wait_ms, left_ms);
        [[maybe_unused]] const bool seen = wait_visible(context, shard, call.committed, patience_ms);
    }
    left_ms = std::max<std::int64_t>(1, left_ms - (context.parts.clock.monotonic_us() - began_us) / 1000);
    return {};
}

Answer run_read(const RouteContext& context, const Call& call, const SqlRequest& request, std::string sql,
                Reply& reply) {
    std::int64_t left_ms = request.timeout_ms;
    if (const Status waited = wait_for_reads(context, call, request, left_ms); !waited)
        return answer_of(problem_of(waited.error()));
    query::QueryRequest query;
    query.sql = std::move(sql);
    query.parameters = request.parameters;
    query.timeout_ms = left_ms;
    query.rows_max = request.rows_max;
    query.now_ms = context.parts.clock.wall_ms();
    reply.wait_until(context.parts.clock.monotonic_us() + left_ms * 1000);
    AnswerSink sink(context, request.format, reply);
    const auto summary = context.parts.queries.run(query, sink);
    if (!summary) {
        if (!reply.began()) return refused(summary.error(), request.statement);
        reply.cut();
        return {};
    }
    ResultEnd end;
    end.truncated = summary.value().truncated;
    end.applied_index = index_text(context.parts.catalog.home().id(), summary.value().applied_index);
    end.elapsed_ms = elapsed_ms(context, call);
    sink.writer().end(end, sink.text());
    if (!reply.began()) {
        Answer answer{.status = 200,
                      .content_type = content_type_of(request.format),
                      .headers = {},
                      .body = std::move(sink.text())};
        if (request.format == ResultFormat::ndjson || request.format == ResultFormat::csv) {
            answer.headers += "X-Applied-Index: " + end.applied_index + "\r\n";
            answer.headers += std::string("X-Truncated: ") + (end.truncated ? "true" : "false") + "\r\n";
        }
        return answer;
    }
    reply.piece(sink.text());
    reply.end();
    return {};
}

Answer changed_answer(const RouteContext& context, const Call& call, const SqlRequest& request,
                      const Result<cluster::Changed>& changed) {
    if (!changed) return refused(changed.error(), request.statement);
    replica::ShardPort& shard = context.parts.catalog.home();
    // IF [NOT] EXISTS that did nothing rests on what is visible now.
    const LogIndex index = changed.value().index.value > 0 ? changed.value().index : shard.visible();
    ResultWriter writer(request.format);
    Answer answer{.status = 200, .content_type = content_type_of(request.format), .headers = {}, .body = {}};
    writer.end(
        {.truncated = false, .applied_index = index_text(shard.id(), index), .elapsed_ms = elapsed_ms(context, call)},
        answer.body);
    return answer;
}

// Whether a reader may say it. A statement that is not listed does not compile.
struct IsRead {
    bool operator()(const sql::Select&) const { return true; }
    bool operator()(const sql::Show&) const { return true; }
    bool operator()(const sql::CreateStream&) const { return false; }
    bool operator()(const sql::CreateView&) const { return false; }
    bool operator()(const sql::AlterStream&) const { return false; }
    bool operator()(const sql::DropObject&) const { return false; }
    bool operator()(const sql::FlushView&) const { return false; }
};

// What a statement and its limits want of the caller's role beyond reading.
std::optional<Problem> check_role(const RouteContext& context, const Caller& caller, const SqlRequest& request,
                                  const sql::Statement& statement) {
    if (!std::visit(IsRead(), statement))
        return context.auth.demand(caller, Role::admin, "a statement that makes, changes or drops something");
    if (request.rows_max > limits::sql_rows_default)
        return context.auth.demand(caller, Role::admin, "max_rows above " + std::to_string(limits::sql_rows_default));
    if (request.timeout_ms > limits::sql_timeout_ms_default)
        return context.auth.demand(caller, Role::admin,
                                   "timeout_ms above " + std::to_string(limits::sql_timeout_ms_default));
    return std::nullopt;
}

}  // namespace

Answer handle_sql(const RouteContext& context, const Call& call, const Parameters& parameters, Reply& reply) {
    auto read = read_sql_request(call.content_type, call.body, parameters);
    if (!read) {
        Problem problem = problem_of(read.error());
        if (read.error().code == Errc::unsupported) {
            problem.status = 415;
            problem.code = "unsupported_media_type";
        }
        return answer_of(problem);
    }
    const SqlRequest request = std::move(read).value();
    auto parsed = sql::parse(request.statement);
    if (!parsed) {
        if (sql::split_statements(request.statement).size() > 1)
            return refused({Errc::invalid_argument, "one statement a request; `weir sql` sends several", 0,
                            parsed.error().position},
                           request.statement);
        return refused(parsed.error(), request.statement);
    }
    sql::Statement& statement = parsed.value();
    if (const auto problem = check_role(context, call.caller, request, statement)) return answer_of(*problem);
    cluster::Catalog& catalog = context.parts.catalog;
    if (const auto* s = std::get_if<sql::CreateStream>(&statement))
        return changed_answer(context, call, request, catalog.create(*s));
    if (const auto* s = std::get_if<sql::CreateView>(&statement))
        return changed_answer(context, call, request, catalog.create(*s));
    if (const auto* s = std::get_if<sql::AlterStream>(&statement))
        return changed_answer(context, call, request, catalog.alter(*s));
    if (const auto* s = std::get_if<sql::DropObject>(&statement))
        return changed_answer(context, call, request, catalog.drop(*s));
    if (const auto* s = std::get_if<sql::FlushView>(&statement))
        return changed_answer(context, call, request, catalog.flush(*s));
    if (const auto* s = std::get_if<sql::Show>(&statement))
        return run_read(context, call, request, sql::show_sql(*s), reply);
    // The user's own text, so that positions in errors are positions in it.
    return run_read(context, call, request, request.statement, reply);
}

}  // namespace weir::http
