#include "query/stream_table.h"

#include "apply/tables.h"
#include "base/check.h"
#include "base/limits.h"
#include "query/append_times.h"
#include "query/scan_range.h"
#include "record/batch.h"
#include "record/json.h"
#include "record/time.h"

#include <algorithm>
#include <array>
#include <optional>
#include <utility>

namespace weir::query {
namespace {

using store::Value;

enum Hidden : std::size_t {
    hidden_partition,
    hidden_offset,
    hidden_append_time,
    hidden_key,
    hidden_headers,
    hidden_value,
    hidden_count
};
constexpr std::array<std::pair<const char*, const char*>, hidden_count> hidden_columns = {{
    {"_partition", "INTEGER"},
    {"_offset", "INTEGER"},
    {"_append_time", "TIMESTAMP"},
    {"_key", "TEXT"},
    {"_headers", "JSON"},
    {"_value", "TEXT"},
}};

// Rows are decoded in blocks: small at first, so that LIMIT 10 does not pay for 256.
constexpr std::size_t block_rows_first = 16;
constexpr std::size_t block_rows_max = 256;
constexpr std::int64_t block_numbers_max = 65'536;        // of rows that are only counted
constexpr std::size_t block_bytes_max = 4 * limits::mib;  // closes a block of large events early

// Which partitions and offsets, and the times beyond which batches are skipped.
struct ScanPlan {
    std::vector<PartitionBound> partitions;
    IntegerRange offsets;
    IntegerRange times;
};

struct Uses {
    bool decode = false;
    bool append_time = false, key = false, headers = false, value = false;
    std::vector<bool> columns;  // of the schema
    bool records() const { return decode || key || headers || value; }
};

void append_json_text(std::string& out, std::string_view text) {
    constexpr std::string_view hex = "0123456789abcdef";
    out.push_back('"');
    for (const char c : text) {
        const auto byte = static_cast<unsigned char>(c);
        if (c == '"' || c == '\\') {
            out.push_back('\\');
            out.push_back(c);
        } else if (byte < 0x20) {
            out += "\\u00";
            out.push_back(hex[byte >> 4]);
            out.push_back(hex[byte & 15]);
        } else {
            out.push_back(c);
        }
    }
    out.push_back('"');
}

// [["name","value"],...]: a header's name may stand twice, so an object would lose some.
std::string headers_json(std::string_view raw) {
    const auto headers = record::read_headers(raw);
    if (!headers) return "[]";
    std::string out = "[";
    for (const record::Header& header : headers.value()) {
        if (out.size() > 1) out += ",";
        out += "[";
        append_json_text(out, header.key);
        out += ",";
        append_json_text(out, header.value);
        out += "]";
    }
    return out + "]";
}

// One pass over the planned partitions. Rows come in blocks of one partition; all columns of a block are decoded at
// once.
class StreamScan final : public store::Scan {
  public:
    StreamScan(std::shared_ptr<const StreamTableParts> parts, ScanPlan plan, Uses uses)
        : parts_(std::move(parts)), plan_(std::move(plan)), uses_(std::move(uses)) {
        if (uses_.decode) decoder_ = std::make_unique<record::JsonDecoder>();
    }

    Result<bool> next() override {
        if (++row_ < rows_) return true;
        return fill();
    }

    Value column(int index) override {
        const auto c = static_cast<std::size_t>(index);
        const std::size_t schema_columns = parts_->stream->schema.columns.size();
        return c < schema_columns ? schema_column(c) : hidden(static_cast<Hidden>(c - schema_columns));
    }

  private:
    Value schema_column(std::size_t c) const {
        if (!uses_.decode || !uses_.columns[c]) return Value::null();
        const record::ColumnData& data = columns_.columns[c];
        if (data.present[row_] == 0) return Value::null();
        switch (parts_->stream->schema.columns[c].type) {
            case record::ColumnType::integer:
            case record::ColumnType::timestamp:
            case record::ColumnType::boolean:
                return Value::of(data.number[row_]);
            case record::ColumnType::real:
                return Value::of(columns_.real(c, row_));
            case record::ColumnType::text:
            case record::ColumnType::json:
                return Value::of(columns_.text(c, row_));
            case record::ColumnType::blob:
                return Value::of_blob(columns_.text(c, row_));
        }
        return Value::null();
    }

    Value hidden(Hidden column) const {
        switch (column) {
            case hidden_partition:
                return Value::of(std::int64_t{partition_});
            case hidden_offset:
                return Value::of(offset(row_));
            case hidden_append_time:
                if (!uses_.append_time || !append_times_[row_]) return Value::null();
                return Value::of(*append_times_[row_]);
            case hidden_key:
                return uses_.key ? extra(keys_[row_]) : Value::null();
            case hidden_headers:
                return uses_.headers ? extra(headers_[row_]) : Value::null();
            case hidden_value:
                return uses_.value ? extra(values_[row_]) : Value::null();
            case hidden_count:
                break;
        }
        return Value::null();
    }

    std::int64_t offset(std::size_t row) const {
        return uses_.records() ? offsets_[row] : first_offset_ + static_cast<std::int64_t>(row);
    }

    // Bytes that outlive their batch, which the next one of the block may replace.
    struct Extra {
        std::size_t begin = 0, size = 0;
        bool null = true;
    };
    Value extra(Extra e) const {
        return e.null ? Value::null() : Value::of(std::string_view(bytes_).substr(e.begin, e.size));
    }
    Extra keep(std::string_view text) {
        const Extra e{bytes_.size(), text.size(), false};
        bytes_ += text;
        return e;
    }

    Result<bool> fill() {
        rows_ = row_ = 0;
        while (true) {
            const bool any = TRY(uses_.records() ? fill_records() : Result<bool>(fill_numbers()));
            if (any) {
                if (uses_.append_time) TRY(read_append_times());
                return true;
            }
            if (!TRY(next_partition())) return false;
        }
    }

    Result<bool> next_partition() {
        reader_.reset();
        iterator_.reset();
        append_cursor_.reset();
        while (next_partition_ < plan_.partitions.size()) {
            const PartitionBound& next = plan_.partitions[next_partition_++];
            log::ReadRange range;
            range.from_offset = std::max(next.bound.start_offset, plan_.offsets.least);
            const std::int64_t last = std::min(next.bound.end_offset - 1, plan_.offsets.greatest);
            if (range.from_offset > last) continue;
            range.to_offset = last + 1;
            range.min_time_ms = plan_.times.least;
            range.max_time_ms = plan_.times.greatest;
            range.aside = parts_->aside;
            from_ = range.from_offset;
            to_ = range.to_offset;
            partition_ = next.partition;
            const ObjectId id = parts_->stream->id;
            if (uses_.records()) {
                reader_ = TRY(log::PartitionReader::open(
                    *parts_->disk, apply::partition_dir(parts_->shard_dir, id, partition_), next.bound, range, true));
            }
            if (uses_.append_time) {
                append_cursor_ = TRY(AppendTimes::open(
                    *parts_->disk, apply::stream_dir(parts_->shard_dir, id) + "/journal", parts_->journal, partition_));
            }
            return true;
        }
        return false;
    }

    // The next batch that has something of the range; false at the partition's end.
    Result<bool> next_batch() {
        while (reader_) {
            const auto bytes = TRY(reader_->next());
            if (!bytes) return false;
            batch_ = TRY(record::read_batch(*bytes));
            if (batch_.header.base_offset >= to_) return false;
            if (batch_.next_offset() <= from_) continue;
            if (parts_->counters) ++parts_->counters->batches;
            return true;
        }
        return false;
    }

    // Rows that nobody looks into: a partition's offsets are dense between the bounds, so they need no file.
    bool fill_numbers() {
        first_offset_ = from_;
        rows_ = static_cast<std::size_t>(std::min<std::int64_t>(to_ - from_, block_numbers_max));
        from_ += static_cast<std::int64_t>(rows_);
        return rows_ > 0;
    }

    Result<bool> fill_records() {
        offsets_.clear();
        keys_.clear();
        headers_.clear();
        values_.clear();
        bytes_.clear();
        block_bytes_ = 0;
        if (uses_.decode) columns_.reset(parts_->stream->schema);
        while (rows_ < block_rows_ && block_bytes_ < block_bytes_max) {
            if (!iterator_) {
                if (!TRY(next_batch())) break;
                iterator_ = TRY(record::RecordIterator::open(batch_, limits::batch_bytes_max));
            }
            record::Record record;
            if (!TRY(iterator_->next(record))) {
                iterator_.reset();
                continue;
            }
            if (record.offset < from_) continue;
            if (record.offset >= to_) {
                iterator_.reset();
                reader_.reset();
                break;
            }
            add(record);
        }
        block_rows_ = std::min(block_rows_ * 2, block_rows_max);
        return rows_ > 0;
    }

    void add(const record::Record& record) {
        // What a tombstone (null value) decodes to: an event without members, with the padding that simdjson reads.
        static constexpr std::array<char, 2 + record::JsonDecoder::padding_bytes> no_event = {'{', '}'};
        offsets_.push_back(record.offset);
        if (uses_.decode) {
            const std::string_view event = record.has_value ? record.value : std::string_view(no_event.data(), 2);
            decoder_->decode_stored(parts_->stream->schema, event, record.timestamp_ms, uses_.columns, columns_);
            if (parts_->counters) ++parts_->counters->decoded;
        }
        if (uses_.key) keys_.push_back(record.has_key ? keep(record.key) : Extra{});
        if (uses_.headers) headers_.push_back(keep(headers_json(record.headers)));
        if (uses_.value) values_.push_back(record.has_value ? keep(record.value) : Extra{});
        block_bytes_ += record.value.size() + record.key.size() + record.headers.size();
        if (parts_->counters) ++parts_->counters->records;
        ++rows_;
    }

    Status read_append_times() {
        append_times_.resize(rows_);
        for (std::size_t row = 0; row < rows_; ++row)
            append_times_[row] = TRY(append_cursor_->at(offset(row)));
        return {};
    }

    std::shared_ptr<const StreamTableParts> parts_;
    ScanPlan plan_;
    Uses uses_;
    std::unique_ptr<record::JsonDecoder> decoder_;

    std::size_t next_partition_ = 0;
    PartitionNo partition_ = 0;
    std::int64_t from_ = 0, to_ = 0;  // offsets wanted of the present partition
    std::unique_ptr<log::PartitionReader> reader_;
    std::optional<AppendTimes> append_cursor_;
    record::BatchView batch_;
    std::optional<record::RecordIterator> iterator_;  // into batch_

    // The present block.
    std::size_t rows_ = 0, row_ = 0;
    std::size_t block_rows_ = block_rows_first;
    std::size_t block_bytes_ = 0;
    std::int64_t first_offset_ = 0;
    std::vector<std::int64_t> offsets_;
    record::ColumnBatch columns_;
    std::vector<std::optional<std::int64_t>> append_times_;
    std::vector<Extra> keys_, headers_, values_;
    std::string bytes_;
};

class StreamTable final : public store::TableSource {
  public:
    explicit StreamTable(StreamTableParts parts) : parts_(std::make_shared<const StreamTableParts>(std::move(parts))) {
        const record::Schema& schema = parts_->stream->schema;
        for (const record::Column& column : schema.columns)
            columns_.push_back({column.name, std::string(record::type_name(column.type)), false});
        for (const auto& [name, type] : hidden_columns)
            columns_.push_back({name, type, true});
    }

    const std::vector<store::SourceColumn>& columns() const override { return columns_; }

    bool can_prune(int column, store::Comparison) const override {
        return column == index_of(hidden_partition) || column == index_of(hidden_offset) ||
               column == parts_->stream->schema.event_time;
    }

    Result<std::unique_ptr<store::Scan>> open_scan(const std::vector<bool>& used,
                                                   const std::vector<store::Constraint>& constraints) override {
        return std::unique_ptr<store::Scan>(std::make_unique<StreamScan>(parts_, plan_of(constraints), uses_of(used)));
    }

    std::string describe(const std::vector<bool>& used,
                         const std::vector<store::Constraint>& constraints) const override {
        const ScanPlan plan = plan_of(constraints);
        const Uses uses = uses_of(used);
        if (plan.partitions.empty()) return "reads nothing: no partition, offset or time satisfies the conditions";
        std::int64_t events = 0;
        std::string numbers;
        for (const PartitionBound& partition : plan.partitions) {
            const std::int64_t least = std::max(partition.bound.start_offset, plan.offsets.least);
            const std::int64_t greatest = std::min(partition.bound.end_offset - 1, plan.offsets.greatest);
            events += std::max<std::int64_t>(greatest - least + 1, 0);
            numbers += (numbers.empty() ? "" : ", ") + std::to_string(partition.partition);
        }
        const std::string of = " of " + std::to_string(parts_->partitions.size());
        const bool all = plan.partitions.size() == parts_->partitions.size();
        std::string out =
            all ? "all " + std::to_string(parts_->partitions.size()) + " partitions" : "partitions " + numbers + of;
        const auto range = [](const IntegerRange& r, const auto& text) {
            if (r.least == INT64_MIN) return " up to " + text(r.greatest);
            if (r.greatest == INT64_MAX) return " from " + text(r.least);
            return r.least == r.greatest ? " " + text(r.least) : " " + text(r.least) + " to " + text(r.greatest);
        };
        const auto is_open = [](const IntegerRange& r) { return r.least == INT64_MIN && r.greatest == INT64_MAX; };
        if (!is_open(plan.offsets))
            out += ", offset" + range(plan.offsets, [](std::int64_t v) { return std::to_string(v); });
        if (!is_open(plan.times))
            out += ", batches with event times" +
                   range(plan.times, [](std::int64_t v) { return record::format_rfc3339(v); });
        out += ": at most " + std::to_string(events) + " events";
        if (!uses.records()) return out + ", counted by their offsets without reading the log";
        if (!uses.decode) return out + ", whose JSON is not decoded";
        out += "; decodes";
        for (std::size_t c = 0, told = 0; c < uses.columns.size(); ++c) {
            if (!uses.columns[c]) continue;
            out += (told++ > 0 ? ", " : " ") + columns_[c].name;
        }
        return out + (parts_->aside ? "; past the page cache" : "");
    }

    std::int64_t estimated_rows() const override {
        std::int64_t rows = 0;
        for (const PartitionBound& partition : parts_->partitions)
            rows += partition.bound.end_offset - partition.bound.start_offset;
        return rows;
    }

  private:
    ScanPlan plan_of(const std::vector<store::Constraint>& constraints) const {
        ScanPlan plan;
        IntegerRange partitions;
        for (const store::Constraint& constraint : constraints) {
            if (constraint.column == index_of(hidden_partition)) partitions.narrow(constraint.op, constraint.value);
            if (constraint.column == index_of(hidden_offset)) plan.offsets.narrow(constraint.op, constraint.value);
            if (constraint.column == parts_->stream->schema.event_time)
                plan.times.narrow(constraint.op, constraint.value);
        }
        const bool none = partitions.empty() || plan.offsets.empty() || plan.times.empty();
        for (const PartitionBound& partition : parts_->partitions) {
            if (!none && partitions.holds(partition.partition)) plan.partitions.push_back(partition);
        }
        return plan;
    }

    Uses uses_of(const std::vector<bool>& used) const {
        CHECK(used.size() == columns_.size());
        const std::size_t schema_columns = parts_->stream->schema.columns.size();
        Uses uses;
        uses.columns.assign(used.begin(), used.begin() + static_cast<std::ptrdiff_t>(schema_columns));
        uses.decode = std::ranges::find(uses.columns, true) != uses.columns.end();
        uses.append_time = used[schema_columns + hidden_append_time];
        uses.key = used[schema_columns + hidden_key];
        uses.headers = used[schema_columns + hidden_headers];
        uses.value = used[schema_columns + hidden_value];
        return uses;
    }

    int index_of(Hidden hidden) const { return static_cast<int>(parts_->stream->schema.columns.size() + hidden); }

    std::shared_ptr<const StreamTableParts> parts_;
    std::vector<store::SourceColumn> columns_;
};

}  // namespace

std::shared_ptr<store::TableSource> make_stream_table(StreamTableParts parts) {
    return std::make_shared<StreamTable>(std::move(parts));
}

}  // namespace weir::query
