// How other threads reach the loop: one inbox of messages and an eventfd that the loop polls. Shared by shared_ptr,
// so that a shard or a worker that answers after the door has gone posts into something that still exists. post:
// any thread. drain: the loop.
#pragma once

#include "base/ids.h"
#include "base/result.h"
#include "os/inbox.h"
#include "record/stream.h"
#include "replica/ingest.h"

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <variant>
#include <vector>

namespace weir::http {

// Callbacks carry this, never a pointer: the connection may die first.
using ConnectionId = Id<struct ConnectionTag, std::uint64_t>;

struct IngestDone {  // from a shard
    ConnectionId connection;
    replica::IngestOutcome outcome;
};
struct StreamEnsured {  // from a worker: an undeclared stream was made, or was there
    ConnectionId connection;
    Result<record::StreamPtr> stream;
};
struct AnswerRead {  // from a worker: what was kept under an Idempotency-Key
    ConnectionId connection;
    Result<std::string> kept;
};
struct ReplyPart {  // from a worker: bytes of an answer
    ConnectionId connection;
    std::string bytes;
    int status = 200;
    bool last = false;
    bool close = false;  // with the last part: the end of the connection ends the answer (HTTP/1.0)
    bool cut = false;    // the answer cannot be finished: close, so that nobody takes it for whole
};
struct Decoding;
struct DecodeDone {  // from the decode thread
    std::shared_ptr<Decoding> work;
};
struct WorkerFree {
    std::size_t worker = 0;
};
struct SocketRoom {  // from the live thread: it has looked at so much that reading may go on
    ConnectionId connection;
};
struct StopRequested {
    std::int64_t drain_ms = 0;
};
using Mail =
    std::variant<IngestDone, StreamEnsured, AnswerRead, DecodeDone, ReplyPart, WorkerFree, SocketRoom, StopRequested>;

class Mailbox {
  public:
    static Result<std::shared_ptr<Mailbox>> make();  // io
    ~Mailbox();
    Mailbox(const Mailbox&) = delete;
    Mailbox& operator=(const Mailbox&) = delete;

    // Never refuses: a connection has one operation in flight, and answers are bounded by Flow.
    void post(Mail&& mail);
    void drain(std::vector<Mail>& out);
    int fd() const { return fd_; }  // readable when there is mail

  private:
    explicit Mailbox(int fd) : fd_(fd) {}
    os::Inbox<Mail> inbox_{SIZE_MAX};
    std::atomic<bool> signalled_{false};
    int fd_;
};

// Slows a worker down to the pace of its client: the loop posts how many bytes have left, or `gone`.
struct Flow {
    static constexpr std::int64_t gone = -1;
    os::Inbox<std::int64_t> credits{SIZE_MAX};
    // Of a WebSocket: bytes of messages that the live thread has not looked at. Above incoming_max reading stops.
    static constexpr std::size_t incoming_max = 64 * 1024;
    static constexpr std::size_t message_cost = 256;  // of each, beside its bytes
    std::atomic<std::size_t> incoming{0};
    // The client's end is closed, or at least says no more: nobody may be listening.
    std::atomic<bool> hung_up{false};
};

}  // namespace weir::http
