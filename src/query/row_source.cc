#include "query/row_source.h"

#include <utility>

namespace weir::query {
namespace {

using Rows = std::vector<std::vector<OwnedValue>>;

class RowScan final : public store::Scan {
  public:
    explicit RowScan(std::shared_ptr<const Rows> rows) : rows_(std::move(rows)) {}
    Result<bool> next() override { return ++row_ <= rows_->size(); }
    store::Value column(int index) override { return borrow((*rows_)[row_ - 1][static_cast<std::size_t>(index)]); }

  private:
    std::shared_ptr<const Rows> rows_;
    std::size_t row_ = 0;  // counted from 1; 0: before the first
};

class RowSource final : public store::TableSource {
  public:
    RowSource(std::vector<store::SourceColumn> columns, Rows rows)
        : columns_(std::move(columns)), rows_(std::make_shared<const Rows>(std::move(rows))) {}
    const std::vector<store::SourceColumn>& columns() const override { return columns_; }
    bool can_prune(int, store::Comparison) const override { return false; }
    Result<std::unique_ptr<store::Scan>> open_scan(const std::vector<bool>&,
                                                   const std::vector<store::Constraint>&) override {
        return std::unique_ptr<store::Scan>(std::make_unique<RowScan>(rows_));
    }
    std::int64_t estimated_rows() const override { return static_cast<std::int64_t>(rows_->size()); }

  private:
    std::vector<store::SourceColumn> columns_;
    std::shared_ptr<const Rows> rows_;
};

}  // namespace

store::Value borrow(const OwnedValue& value) {
    return {value.type, value.integer, value.real, value.text};
}
OwnedValue own(const store::Value& value) {
    return {value.type, value.integer, value.real, std::string(value.text)};
}

std::shared_ptr<store::TableSource> make_row_source(std::vector<store::SourceColumn> columns,
                                                    std::vector<std::vector<OwnedValue>> rows) {
    return std::make_shared<RowSource>(std::move(columns), std::move(rows));
}

}  // namespace weir::query
