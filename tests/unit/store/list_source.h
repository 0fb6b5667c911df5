// A TableSource over rows in memory that notes what it was asked.
#pragma once

#include "store/table_source.h"
#include "unit/store/batch_builder.h"

#include <optional>
#include <string>
#include <vector>

namespace weir::store {

class ListSource final : public TableSource {
  public:
    ListSource(std::vector<SourceColumn> columns, std::vector<std::vector<Value>> rows)
        : columns_(std::move(columns)), rows_(std::move(rows)) {}

    std::string asked;  // constraints of the last scan: "0 ge 5; 1 eq 'x'"
    std::vector<bool> used;
    std::optional<Error> fail_at_row;  // what next() answers at row 1
    int scans = 0;

    const std::vector<SourceColumn>& columns() const override { return columns_; }
    bool can_prune(int, Comparison) const override { return true; }
    std::int64_t estimated_rows() const override { return static_cast<std::int64_t>(rows_.size()); }
    Result<std::unique_ptr<Scan>> open_scan(const std::vector<bool>& wanted,
                                            const std::vector<Constraint>& constraints) override {
        constexpr const char* names[] = {"eq", "gt", "ge", "lt", "le"};
        ++scans;
        used = wanted;
        asked.clear();
        for (const Constraint& c : constraints) {
            if (!asked.empty()) asked += "; ";
            asked += std::to_string(c.column) + " " + names[static_cast<int>(c.op)] + " " + show(c.value);
        }
        return std::unique_ptr<Scan>(std::make_unique<ListScan>(*this));
    }

  private:
    class ListScan final : public Scan {
      public:
        explicit ListScan(ListSource& source) : source_(source) {}
        Result<bool> next() override {
            if (source_.fail_at_row && at_ == 1) return *source_.fail_at_row;
            return at_++ < source_.rows_.size();
        }
        Value column(int index) override {
            const Value& value = source_.rows_[at_ - 1][static_cast<std::size_t>(index)];
            if (value.type != ValueType::text) return value;
            text_ = std::string(value.text);  // gone with the next row
            return Value::of(std::string_view(text_));
        }

      private:
        ListSource& source_;
        std::size_t at_ = 0;
        std::string text_;
    };

    std::vector<SourceColumn> columns_;
    std::vector<std::vector<Value>> rows_;
};

}  // namespace weir::store
