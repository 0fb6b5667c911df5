// What the pool and a worker say to each other over their socket: length-prefixed frames. Private to query/.
//
//   frame: length u32 (of type and body) | type u8 | body         all little-endian, base/wire.h
//   parent to worker   hello: memory bytes u64, node name          once, first
//                      query: sql, timeout ms i64, rows max i64, now ms i64, parameter count u32, values, table count
//                      u32,
//                             {name, column count u32, {name, type}, row count u32, values row by row}
//   worker to parent   columns: count u32, {name, type}            once a query
//                      rows: count u32, values row by row
//                      done: applied index u64, truncated u8       ends a query
//                      error: code u8, position i64, errno i32, detail   ends a query
//   value: type u8 (store::ValueType) | i64, or bits of a double u64, or bytes
//
// A worker runs what users write, so the parent takes nothing it sends on trust: lengths, counts and codes are checked.
#pragma once

#include "base/limits.h"
#include "base/result.h"
#include "base/wire.h"
#include "query/pool.h"
#include "store/value.h"

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace weir::query {

constexpr std::size_t frame_bytes_max = 64 * limits::mib;     // a row of several 16 MiB values
constexpr std::size_t frame_bytes_target = 64 * limits::kib;  // rows are sent when this many bytes wait
constexpr std::size_t request_bytes_max = 16 * limits::mib;   // statement and parameters
constexpr std::size_t result_columns_max = 2'000;

enum class FrameType : std::uint8_t { hello = 1, query = 2, columns = 3, rows = 4, done = 5, error = 6 };

struct Frame {
    FrameType type = FrameType::hello;
    std::string_view body;
};

// Bytes as they arrive, cut into frames.
class FrameBuffer {
  public:
    // Where to receive into: `bytes` of room at the end. Then received(n).
    char* room(std::size_t bytes);
    void received(std::size_t bytes) { filled_ += bytes; }
    // The next whole frame; nullopt: more bytes are needed. Its body is valid until room(). Errors: corrupt.
    Result<std::optional<Frame>> next();
    void clear() { filled_ = taken_ = 0; }

  private:
    std::string bytes_;
    std::size_t filled_ = 0;  // received
    std::size_t taken_ = 0;   // handed out
};

// Begins a frame at the end of `out`; end_frame() fills the length in.
std::size_t begin_frame(std::string& out, FrameType type);
void end_frame(std::string& out, std::size_t start);

struct Hello {
    std::uint64_t memory_bytes = 0;
    std::string node;
};

void put_value(WireWriter& writer, const store::Value& value);
// Text is borrowed from the reader's bytes. An unknown type makes it null and `ok` false.
store::Value get_value(WireReader& reader, bool& ok);

std::string hello_frame(const Hello& hello);
Result<Hello> read_hello(std::string_view body);
std::string query_frame(const QueryRequest& request);
Result<QueryRequest> read_query(std::string_view body);
std::string columns_frame(const std::vector<QueryColumn>& columns);
Result<std::vector<QueryColumn>> read_columns(std::string_view body);
std::string done_frame(LogIndex applied, bool truncated);
struct Done {
    LogIndex applied;
    bool truncated = false;
};
Result<Done> read_done(std::string_view body);
std::string error_frame(const Error& error);
// The error that a worker reports; itself `corrupt` when the frame is none.
Error decode_error(std::string_view body);

// A rows frame, row by row.
class RowsReader {
  public:
    RowsReader(std::string_view body, std::size_t columns) : reader_(body), columns_(columns), left_(reader_.u32()) {}
    // False at the end. `values` borrow from the frame. Errors: corrupt.
    Result<bool> next(std::vector<store::Value>& values);

  private:
    WireReader reader_;
    std::size_t columns_;
    std::uint32_t left_;
};

// Behind an error of these a worker ends: its files are not what they were.
constexpr bool ends_worker(Errc code) {
    return code == Errc::io || code == Errc::corrupt;
}

// For an address space limited by setrlimit: what the worker's process exits with when an allocation fails.
constexpr int exit_out_of_memory = 71;

}  // namespace weir::query
