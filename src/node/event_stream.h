// Server-sent events as they come (WHATWG HTML, 9.2), over one connection that can be waited on beside other things.
//
// It asks in HTTP/1.0: the answer is the body's bytes up to the end of the connection, which is what a stream of events
// is.
// Owner: one thread.
#pragma once

#include "base/result.h"
#include "node/client.h"
#include "node/pipe.h"

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace weir::node {

struct ServerEvent {
    std::string event;  // "" for an ordinary one
    std::string data;   // lines joined by LF
};

// Bytes in, events out. An event may have 64 MiB.
class ServerEventParser {
  public:
    void feed(std::string_view bytes) { buffer_ += bytes; }
    // The next whole event that has data; nullopt: more bytes are needed. Errors: too_large.
    Result<std::optional<ServerEvent>> next();
    // What Last-Event-ID says when the client comes back: of the last whole block, events without data included.
    const std::string& last_id() const { return last_id_; }

  private:
    std::string buffer_;
    std::size_t at_ = 0;  // read up to here
    std::string last_id_;
};

class EventStream {
  public:
    // Asks and reads the answer's head. An answer other than 200 is a Problem in `refused` (and no error). Errors: io
    // (says why), cancelled (`stop_fd` became readable first), corrupt (no HTTP), deadline.
    static Result<EventStream> open(const ServerChoice& choice, const std::string& path, const std::string& last_id,
                                    int stop_fd, std::int64_t timeout_ms, std::optional<Problem>& refused);

    enum class Next : std::uint8_t { event, quiet, ended, stopped };
    // The next event. quiet: none came within `timeout_ms`, but bytes may have. ended: the connection has. stopped:
    // `stop_fd` became readable, or `out_fd` has no reader any more; -1: none. Errors: too_large.
    Result<Next> next(ServerEvent& event, int stop_fd, int out_fd, std::int64_t timeout_ms);
    const std::string& last_id() const { return parser_.last_id(); }
    bool heard() const { return heard_; }  // bytes since the last call of next()

  private:
    explicit EventStream(Pipe pipe) : pipe_(std::move(pipe)) {}
    Pipe pipe_;
    ServerEventParser parser_;
    bool heard_ = false;
};

}  // namespace weir::node
