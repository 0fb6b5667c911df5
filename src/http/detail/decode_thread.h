// One thread for bodies that are too large to inflate and decode between two looks at the sockets: there a body of
// 64 MiB would hold up every other connection. It has its own IngestDoor, so nothing is shared;
// the pool of the control plane is no place for this, because slow queries may have all of it.
// Bounded by what feeds it: one body a connection, and the door's budget for bodies in flight.
// Owner: the loop.
#pragma once

#include "http/detail/ingest.h"
#include "http/detail/mailbox.h"
#include "os/inbox.h"

#include <atomic>
#include <memory>
#include <thread>

namespace weir::http {

// A request on its way there and back (as DecodeDone).
struct Decoding {
    ConnectionId connection;
    IngestOperation op;
    IngestStep step = IngestStep::wants_thread;
    Answer answer;
};

class DecodeThread {
  public:
    DecodeThread(const ServerOptions& options, ServerParts parts, std::shared_ptr<Mailbox> mailbox);
    ~DecodeThread();  // waits for the body at hand; those behind it are dropped
    void submit(std::shared_ptr<Decoding> work) { inbox_.post(std::move(work)); }

  private:
    void run();

    IngestDoor door_;  // the thread's
    std::shared_ptr<Mailbox> mailbox_;
    os::Inbox<std::shared_ptr<Decoding>> inbox_{SIZE_MAX};
    std::atomic<bool> stopping_{false};
    std::jthread thread_;
};

}  // namespace weir::http
