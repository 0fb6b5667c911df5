#include "query/dead_letter_table.h"

#include "apply/tables.h"
#include "base/limits.h"
#include "query/scan_range.h"
#include "record/batch.h"

#include <algorithm>
#include <optional>
#include <utility>

namespace weir::query {
namespace {

using store::Value;

// A line that was too large may have 64 MiB, of which a query takes 16 in a row: one such line must not end every query
// that reads the others. The message tells its size, the log has its bytes.
constexpr std::size_t raw_bytes_max = 15 * limits::mib;

enum Column : int {
    column_id,
    column_partition,
    column_offset,
    column_received_at,
    column_reason,
    column_column_name,
    column_message,
    column_raw,
    column_content_type
};

class DeadLetterScan final : public store::Scan {
  public:
    DeadLetterScan(std::unique_ptr<log::PartitionReader> reader, std::int64_t from, std::int64_t to)
        : reader_(std::move(reader)), from_(from), to_(to) {}

    Result<bool> next() override {
        while (reader_) {
            if (!iterator_) {
                const auto bytes = TRY(reader_->next());
                if (!bytes) break;
                batch_ = TRY(record::read_batch(*bytes));
                iterator_ = TRY(record::RecordIterator::open(batch_, limits::batch_bytes_max));
            }
            if (!TRY(iterator_->next(record_))) {
                iterator_.reset();
                continue;
            }
            if (record_.offset < from_) continue;
            if (record_.offset >= to_) break;
            TRY(read_record_headers());
            return true;
        }
        reader_.reset();
        return false;
    }

    Value column(int index) override {
        switch (static_cast<Column>(index)) {
            case column_id:
            case column_offset:
                return Value::of(record_.offset);
            case column_partition:
                return Value::of(std::int64_t{dead_letter_partition});
            case column_received_at:
                return Value::of(record_.timestamp_ms);
            case column_reason:
                return text(reason_);
            case column_column_name:
                return column_name_ && column_name_->empty() ? Value::null() : text(column_name_);
            case column_message:
                return text(message_);
            case column_raw:
                if (!record_.has_value || record_.value.size() > raw_bytes_max) return Value::null();
                return is_text(record_.value) ? Value::of(record_.value) : Value::of_blob(record_.value);
            case column_content_type:
                return text(content_type_);
        }
        return Value::null();
    }

  private:
    static Value text(const std::optional<std::string_view>& value) {
        return value ? Value::of(*value) : Value::null();
    }

    Status read_record_headers() {
        reason_ = column_name_ = message_ = content_type_ = std::nullopt;
        headers_ = TRY(record::read_headers(record_.headers));
        for (const record::Header& header : headers_) {
            if (header.key == apply::dead_header_reason) reason_ = header.value;
            if (header.key == apply::dead_header_column) column_name_ = header.value;
            if (header.key == apply::dead_header_message) message_ = header.value;
            if (header.key == apply::dead_header_content_type) content_type_ = header.value;
        }
        return {};
    }

    std::unique_ptr<log::PartitionReader> reader_;
    std::int64_t from_, to_;
    record::BatchView batch_;
    std::optional<record::RecordIterator> iterator_;
    record::Record record_;
    std::vector<record::Header> headers_;
    std::optional<std::string_view> reason_, column_name_, message_, content_type_;
};

class DeadLetterTable final : public store::TableSource {
  public:
    DeadLetterTable(os::Disk& disk, std::string dir, log::ReadBound bound, bool aside)
        : disk_(disk), dir_(std::move(dir)), bound_(bound), aside_(aside) {}

    const std::vector<store::SourceColumn>& columns() const override { return dead_letter_columns(); }
    bool can_prune(int column, store::Comparison) const override {
        return column == column_id || column == column_offset || column == column_received_at;
    }

    Result<std::unique_ptr<store::Scan>> open_scan(const std::vector<bool>&,
                                                   const std::vector<store::Constraint>& constraints) override {
        IntegerRange offsets{bound_.start_offset, bound_.end_offset - 1}, times;
        for (const store::Constraint& constraint : constraints) {
            (constraint.column == column_received_at ? times : offsets).narrow(constraint.op, constraint.value);
        }
        std::unique_ptr<log::PartitionReader> reader;
        if (!offsets.empty() && !times.empty()) {
            const log::ReadRange range{offsets.least, offsets.greatest + 1, times.least, times.greatest, aside_};
            reader = TRY(log::PartitionReader::open(disk_, dir_, bound_, range, true));
        }
        return std::unique_ptr<store::Scan>(std::make_unique<DeadLetterScan>(
            std::move(reader), offsets.least, offsets.empty() ? 0 : offsets.greatest + 1));
    }

    std::int64_t estimated_rows() const override { return bound_.end_offset - bound_.start_offset; }

  private:
    os::Disk& disk_;
    std::string dir_;
    log::ReadBound bound_;
    bool aside_;
};

}  // namespace

const std::vector<store::SourceColumn>& dead_letter_columns() {
    static const std::vector<store::SourceColumn> columns = {
        {"id", "INTEGER", false},        {"partition", "INTEGER", false},
        {"offset", "INTEGER", false},    {"received_at", "TIMESTAMP", false},
        {"reason", "TEXT", false},       {"column_name", "TEXT", false},
        {"message", "TEXT", false},      {"raw", "TEXT", false},
        {"content_type", "TEXT", false},
    };
    return columns;
}

std::shared_ptr<store::TableSource> make_dead_letter_table(os::Disk& disk, std::string dir, log::ReadBound bound,
                                                           bool aside) {
    return std::make_shared<DeadLetterTable>(disk, std::move(dir), bound, aside);
}

bool is_text(std::string_view bytes) {
    for (std::size_t i = 0; i < bytes.size();) {
        const auto at = [&](std::size_t n) {
            return i + n < bytes.size() ? static_cast<unsigned char>(bytes[i + n]) : 0u;
        };
        const auto continues = [&](std::size_t n) { return (at(n) & 0xc0) == 0x80; };
        const unsigned lead = at(0);
        if (lead == 0) return false;
        if (lead < 0x80) {
            i += 1;
        } else if (lead >= 0xc2 && lead < 0xe0) {
            if (!continues(1)) return false;
            i += 2;
        } else if (lead >= 0xe0 && lead < 0xf0) {
            const unsigned low = lead == 0xe0 ? 0xa0 : 0x80, high = lead == 0xed ? 0x9f : 0xbf;
            if (at(1) < low || at(1) > high || !continues(2)) return false;
            i += 3;
        } else if (lead >= 0xf0 && lead < 0xf5) {
            const unsigned low = lead == 0xf0 ? 0x90 : 0x80, high = lead == 0xf4 ? 0x8f : 0xbf;
            if (at(1) < low || at(1) > high || !continues(2) || !continues(3)) return false;
            i += 4;
        } else {
            return false;
        }
    }
    return true;
}

}  // namespace weir::query
