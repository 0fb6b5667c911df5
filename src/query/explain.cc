#include "query/explain.h"

#include "sql/tokens.h"

#include <algorithm>
#include <map>
#include <utility>

namespace weir::query {
namespace {

class NoRows final : public store::Scan {
  public:
    Result<bool> next() override { return false; }
    store::Value column(int) override { return store::Value::null(); }
};

class ExplainedSource final : public store::TableSource {
  public:
    ExplainedSource(std::string name, std::shared_ptr<store::TableSource> source, std::vector<std::string>& notes)
        : name_(std::move(name)), source_(std::move(source)), notes_(notes) {}
    const std::vector<store::SourceColumn>& columns() const override { return source_->columns(); }
    bool can_prune(int column, store::Comparison op) const override { return source_->can_prune(column, op); }
    Result<std::unique_ptr<store::Scan>> open_scan(const std::vector<bool>& used,
                                                   const std::vector<store::Constraint>& constraints) override {
        const std::string words = source_->describe(used, constraints);
        const std::string note = "scan " + name_ + (words.empty() ? "" : ": " + words);
        if (notes_.size() < notes_max && std::ranges::find(notes_, note) == notes_.end()) notes_.push_back(note);
        return std::unique_ptr<store::Scan>(std::make_unique<NoRows>());
    }
    std::int64_t estimated_rows() const override { return source_->estimated_rows(); }

  private:
    static constexpr std::size_t notes_max = 64;
    std::string name_;
    std::shared_ptr<store::TableSource> source_;
    std::vector<std::string>& notes_;
};

// Takes no more than the first row.
class Nobody final : public store::RowSink {
  public:
    bool columns(const std::vector<store::ResultColumn>&) override { return true; }
    bool row(const std::vector<store::Value>&) override { return false; }
};

// Rows (id, parent, -, detail) of EXPLAIN QUERY PLAN, as lines indented by level.
class PlanLines final : public store::RowSink {
  public:
    bool columns(const std::vector<store::ResultColumn>&) override { return true; }
    bool row(const std::vector<store::Value>& values) override {
        if (values.size() < 4) return true;
        const auto parent = levels_.find(values[1].integer);
        const std::size_t level = parent == levels_.end() ? 0 : parent->second + 1;
        levels_[values[0].integer] = level;
        std::string detail(values[3].text);
        // What follows is our scans' private number and text; the notes say it in words.
        detail.resize(std::min(detail.find(" VIRTUAL TABLE INDEX "), detail.size()));
        lines.push_back(std::string(2 * level, ' ') + detail);
        return true;
    }
    std::vector<std::string> lines;

  private:
    std::map<std::int64_t, std::size_t> levels_;
};

}  // namespace

std::optional<ExplainStatement> read_explain(std::string_view statement) {
    const auto tokens = sql::tokenize(statement);
    if (!tokens || tokens.value().size() < 3 || !tokens.value()[0].is_word("explain")) return std::nullopt;
    const std::vector<sql::Token>& all = tokens.value();
    if (all[1].is_word("query") && all[2].is_word("plan")) return std::nullopt;
    if (all[1].is_word("view") && all[2].is_name()) return ExplainStatement{true, sql::token_value(all[2])};
    ExplainStatement query{false, std::string(statement)};
    std::fill_n(query.text.begin() + static_cast<std::ptrdiff_t>(all[0].position), all[0].text.size(), ' ');
    return query;
}

std::shared_ptr<store::TableSource> make_explained_source(std::string name, std::shared_ptr<store::TableSource> source,
                                                          std::vector<std::string>& notes) {
    return std::make_shared<ExplainedSource>(std::move(name), std::move(source), notes);
}

Result<std::vector<std::string>> explain_query(store::Reader& reader, const std::string& sql,
                                               const std::vector<store::Value>& parameters,
                                               const store::ReadLimits& limits, const std::vector<std::string>& notes) {
    Nobody nobody;
    const auto ran = reader.run(sql, parameters, limits, nobody);
    // A view's rows are read for it: where that takes long, what was noted is still true.
    if (!ran && ran.error().code != Errc::deadline) return ran.error();
    PlanLines plan;
    store::ReadLimits without_deadline;
    without_deadline.rows_max = limits.rows_max;
    TRY(reader.run("EXPLAIN QUERY PLAN " + sql, parameters, without_deadline, plan));
    std::vector<std::string> lines = notes;
    lines.insert(lines.end(), plan.lines.begin(), plan.lines.end());
    return lines;
}

}  // namespace weir::query
