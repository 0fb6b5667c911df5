// HTTP/1.1 over one socket without waiting: requests are written ahead, answers are read in order (RFC 9112 9.3.2).
// AnswerParser cuts the answers out of the bytes; Pipe owns the socket. For produce and the load generator.
//
// Owner: one thread.
#pragma once

#include "base/result.h"
#include "node/client.h"

#include <cstdint>
#include <string>
#include <string_view>

namespace weir::node {

struct PipeAnswer {
    int status = 0;
    std::int64_t retry_after_s = -1;  // -1: not said
    bool closes = false;              // the server takes nothing more on this connection (RFC 9112 9.6)
    std::string body;
};

// Bytes in, answers out. Content-Length and chunked bodies; 1xx answers are skipped. Bounded: heads up to 64 KiB,
// bodies up to 16 MiB.
class AnswerParser {
  public:
    void feed(std::string_view bytes);
    // True: `out` is the next whole answer. False: more bytes are needed. Errors: corrupt (the peer does not speak
    // HTTP/1.1).
    Result<bool> next(PipeAnswer& out);
    void reset();
    bool is_between_answers() const { return at_ == buffer_.size(); }

  private:
    Result<bool> take_head(PipeAnswer& out);
    Result<bool> take_chunked(PipeAnswer& out);

    std::string buffer_;
    std::size_t at_ = 0;  // parsed up to here
    bool has_head_ = false;
    bool is_chunked_ = false;
    std::size_t body_bytes_ = 0;  // Content-Length
    std::size_t chunk_at_ = 0;    // where the next chunk's head starts
    PipeAnswer head_;
};

// One connection that never blocks after it is made.
class Pipe {
  public:
    // Connects within `timeout_ms`; name look-up is beside that limit. Errors: io (says why: refused, no such host
    // ...).
    static Result<Pipe> connect(const ServerAddress& address, std::int64_t timeout_ms);
    ~Pipe();
    Pipe(Pipe&& other) noexcept;
    Pipe& operator=(Pipe&& other) noexcept;

    int fd() const { return fd_; }
    // Bytes taken by the kernel, 0 when its buffer is full. Errors: io (the connection is gone).
    Result<std::size_t> write(std::string_view bytes);
    // Reads what is there into `parser`. False: nothing was there. Errors: io (gone; "closed by the server" at its
    // end).
    Result<bool> read_into(AnswerParser& parser);

  private:
    explicit Pipe(int fd) : fd_(fd) {}
    int fd_ = -1;
};

// The bytes of a POST with its head. `host` as in the Host header.
std::string request_head(const ServerChoice& choice, const std::string& path, std::string_view content_type,
                         std::size_t body_bytes);

}  // namespace weir::node
