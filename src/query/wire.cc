#include "query/wire.h"

#include "base/check.h"

#include <algorithm>
#include <bit>
#include <cstring>

namespace weir::query {
namespace {

Error broken(std::string_view what) {
    return {Errc::corrupt, "the query's process sent a broken " + std::string(what)};
}

// Codes that a worker may report; anything else it says is broken.
bool is_code(std::uint8_t code) {
    return code <= static_cast<std::uint8_t>(Errc::shutting_down);
}

}  // namespace

char* FrameBuffer::room(std::size_t bytes) {
    if (taken_ > 0) {
        bytes_.erase(0, taken_);
        filled_ -= taken_;
        taken_ = 0;
    }
    if (bytes_.size() < filled_ + bytes) bytes_.resize(filled_ + bytes);
    return bytes_.data() + filled_;
}

Result<std::optional<Frame>> FrameBuffer::next() {
    constexpr std::size_t head = sizeof(le32);
    const std::string_view waiting = std::string_view(bytes_).substr(taken_, filled_ - taken_);
    if (waiting.size() < head) return std::optional<Frame>();
    le32 length;
    std::memcpy(&length, waiting.data(), head);
    const std::size_t size = std::uint32_t{length};
    if (size == 0 || size > frame_bytes_max) return broken("frame length");
    if (waiting.size() < head + size) return std::optional<Frame>();
    taken_ += head + size;
    const auto type = static_cast<std::uint8_t>(waiting[head]);
    if (type < 1 || type > static_cast<std::uint8_t>(FrameType::error)) return broken("frame type");
    return std::optional<Frame>(Frame{static_cast<FrameType>(type), waiting.substr(head + 1, size - 1)});
}

std::size_t begin_frame(std::string& out, FrameType type) {
    const std::size_t start = out.size();
    WireWriter writer(out);
    writer.u32(0);
    writer.u8(static_cast<std::uint8_t>(type));
    return start;
}

void end_frame(std::string& out, std::size_t start) {
    const std::size_t size = out.size() - start - sizeof(le32);
    CHECK(size <= frame_bytes_max);
    const le32 length(static_cast<std::uint32_t>(size));
    std::memcpy(out.data() + start, &length, sizeof length);
}

void put_value(WireWriter& writer, const store::Value& value) {
    writer.u8(static_cast<std::uint8_t>(value.type));
    switch (value.type) {
        case store::ValueType::null:
            return;
        case store::ValueType::integer:
            return writer.i64(value.integer);
        case store::ValueType::real:
            return writer.u64(std::bit_cast<std::uint64_t>(value.real));
        case store::ValueType::text:
        case store::ValueType::blob:
            return writer.bytes(value.text);
    }
}

store::Value get_value(WireReader& reader, bool& ok) {
    const std::uint8_t type = reader.u8();
    if (type > static_cast<std::uint8_t>(store::ValueType::blob)) {
        ok = false;
        return {};
    }
    switch (static_cast<store::ValueType>(type)) {
        case store::ValueType::null:
            return {};
        case store::ValueType::integer:
            return store::Value::of(reader.i64());
        case store::ValueType::real:
            return store::Value::of(std::bit_cast<double>(reader.u64()));
        case store::ValueType::text:
            return store::Value::of(reader.bytes());
        case store::ValueType::blob:
            return store::Value::of_blob(reader.bytes());
    }
    return {};
}

std::string hello_frame(const Hello& hello) {
    std::string out;
    const std::size_t start = begin_frame(out, FrameType::hello);
    WireWriter writer(out);
    writer.u64(hello.memory_bytes);
    writer.bytes(hello.node);
    end_frame(out, start);
    return out;
}

Result<Hello> read_hello(std::string_view body) {
    WireReader reader(body);
    Hello hello;
    hello.memory_bytes = reader.u64();
    hello.node = reader.bytes();
    if (!reader.ok() || !reader.at_end()) return broken("hello");
    return hello;
}

std::string query_frame(const QueryRequest& request) {
    std::string out;
    const std::size_t start = begin_frame(out, FrameType::query);
    WireWriter writer(out);
    writer.bytes(request.sql);
    writer.i64(request.timeout_ms);
    writer.i64(request.rows_max);
    writer.i64(request.now_ms);
    writer.u32(static_cast<std::uint32_t>(request.parameters.size()));
    const auto put_owned = [&](const OwnedValue& value) {
        put_value(writer, {value.type, value.integer, value.real, value.text});
    };
    std::ranges::for_each(request.parameters, put_owned);
    writer.u32(static_cast<std::uint32_t>(request.tables.size()));
    for (const TableRows& table : request.tables) {
        writer.bytes(table.name);
        writer.u32(static_cast<std::uint32_t>(table.columns.size()));
        for (const auto& [name, type] : table.columns) {
            writer.bytes(name);
            writer.bytes(type);
        }
        writer.u32(static_cast<std::uint32_t>(table.rows.size()));
        for (const auto& row : table.rows) {
            CHECK(row.size() == table.columns.size());
            std::ranges::for_each(row, put_owned);
        }
    }
    end_frame(out, start);
    return out;
}

Result<QueryRequest> read_query(std::string_view body) {
    WireReader reader(body);
    QueryRequest request;
    request.sql = reader.bytes();
    request.timeout_ms = reader.i64();
    request.rows_max = reader.i64();
    request.now_ms = reader.i64();
    const std::uint32_t count = reader.u32();
    if (count > reader.left()) return broken("query");  // a value takes a byte at least
    bool ok = true;
    const auto get_owned = [&] {
        const store::Value value = get_value(reader, ok);
        return OwnedValue{value.type, value.integer, value.real, std::string(value.text)};
    };
    for (std::uint32_t i = 0; i < count && ok && reader.ok(); ++i)
        request.parameters.push_back(get_owned());
    for (std::uint32_t tables = reader.u32(); tables > 0 && ok && reader.ok(); --tables) {
        TableRows& table = request.tables.emplace_back();
        table.name = reader.bytes();
        for (std::uint32_t columns = reader.u32(); columns > 0 && reader.ok(); --columns) {
            std::string name(reader.bytes());
            table.columns.emplace_back(std::move(name), reader.bytes());
        }
        if (table.columns.empty()) return broken("query");  // rows of nothing would take no bytes
        for (std::uint32_t rows = reader.u32(); rows > 0 && ok && reader.ok(); --rows) {
            auto& row = table.rows.emplace_back();
            for (std::size_t i = 0; i < table.columns.size() && ok && reader.ok(); ++i)
                row.push_back(get_owned());
        }
    }
    if (!ok || !reader.ok() || !reader.at_end()) return broken("query");
    return request;
}

std::string columns_frame(const std::vector<QueryColumn>& columns) {
    std::string out;
    const std::size_t start = begin_frame(out, FrameType::columns);
    WireWriter writer(out);
    writer.u32(static_cast<std::uint32_t>(columns.size()));
    for (const QueryColumn& column : columns) {
        writer.bytes(column.name);
        writer.bytes(column.type);
    }
    end_frame(out, start);
    return out;
}

Result<std::vector<QueryColumn>> read_columns(std::string_view body) {
    WireReader reader(body);
    const std::uint32_t count = reader.u32();
    if (count == 0 || count > result_columns_max) return broken("list of columns");
    std::vector<QueryColumn> columns;
    for (std::uint32_t i = 0; i < count && reader.ok(); ++i) {
        QueryColumn column;
        column.name = reader.bytes();
        column.type = reader.bytes();
        columns.push_back(std::move(column));
    }
    if (!reader.ok() || !reader.at_end()) return broken("list of columns");
    return columns;
}

std::string done_frame(LogIndex applied, bool truncated) {
    std::string out;
    const std::size_t start = begin_frame(out, FrameType::done);
    WireWriter writer(out);
    writer.u64(applied.value);
    writer.u8(truncated ? 1 : 0);
    end_frame(out, start);
    return out;
}

Result<Done> read_done(std::string_view body) {
    WireReader reader(body);
    Done done;
    done.applied = LogIndex(reader.u64());
    done.truncated = reader.u8() != 0;
    if (!reader.ok() || !reader.at_end()) return broken("end of a result");
    return done;
}

std::string error_frame(const Error& error) {
    constexpr std::size_t detail_bytes_max = 4096;
    std::string out;
    const std::size_t start = begin_frame(out, FrameType::error);
    WireWriter writer(out);
    writer.u8(static_cast<std::uint8_t>(error.code));
    writer.i64(error.position);
    writer.i32(error.os_errno);
    writer.bytes(std::string_view(error.detail).substr(0, detail_bytes_max));
    end_frame(out, start);
    return out;
}

Error decode_error(std::string_view body) {
    WireReader reader(body);
    Error error;
    const std::uint8_t code = reader.u8();
    error.position = reader.i64();
    error.os_errno = reader.i32();
    error.detail = reader.bytes();
    if (!reader.ok() || !reader.at_end() || !is_code(code)) return broken("error");
    error.code = static_cast<Errc>(code);
    if (error.position < -1) error.position = -1;
    return error;
}

Result<bool> RowsReader::next(std::vector<store::Value>& values) {
    if (left_ == 0) {
        if (!reader_.ok() || !reader_.at_end()) return broken("row");
        return false;
    }
    --left_;
    values.clear();
    bool ok = true;
    for (std::size_t i = 0; i < columns_ && ok; ++i)
        values.push_back(get_value(reader_, ok));
    if (!ok || !reader_.ok()) return broken("row");
    return true;
}

}  // namespace weir::query
