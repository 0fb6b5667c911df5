// Everybody who follows something: tails over server-sent events, and the subscriptions of WebSockets. Who they are,
// where they stand, what they may be sent now; what they are sent is read by the feeds.
//
// A tail is served page by page, in turn with the others. It waits, keeping its place and nothing else, while
//   - there is nothing behind its place (a shard tells after each row commit what changed; nothing is polled)
//   - its reader is slow: more than client_unsent_max bytes are on their way to it, or all_unsent_max to all
//   - it has no credit (WebSockets), or it had its last batch less than batch_every_us ago and has caught up
// So what a reader misses while it is slow is in the log, and it reads on from there. Only retention can take it, and
// that is said ("skipped"). A WebSocket whose client does not read is not heard either: each message may have an
// answer.
//
// A state machine without threads: the live thread (live_door.cc) hands it messages and calls step().
// Owner: the live thread.
#pragma once

#include "base/clock.h"
#include "base/ids.h"
#include "http/detail/call.h"
#include "http/detail/filter_thread.h"
#include "http/detail/live_request.h"
#include "http/detail/mailbox.h"
#include "http/detail/stream_feed.h"
#include "http/detail/view_feed.h"
#include "http/server.h"
#include "log/changes.h"
#include "replica/shard.h"

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

namespace weir::http {

inline constexpr std::size_t filtered_max = 256;     // tails with `where`, and their last steps; above: overloaded
inline constexpr std::size_t socket_tails_max = 64;  // of one WebSocket
inline constexpr std::int64_t client_unsent_max = 64 * 1024;
inline constexpr std::int64_t all_unsent_max = 48 << 20;
inline constexpr std::size_t all_unheard_max = 16u << 20;  // messages of WebSockets that read nothing; above: an end
inline constexpr std::size_t all_rings_bytes_max = 32u << 20;
inline constexpr std::int64_t batch_every_us = 50'000;
inline constexpr std::int64_t beat_every_us = 15'000'000;
inline constexpr std::int64_t view_kept_us = 60'000'000;  // a view's changes, for who comes back

// A request that turned into a tail or a WebSocket.
struct LiveOpen {
    ConnectionId connection;
    RouteId route = RouteId::none;
    std::string parameter;  // of the path
    std::string query;      // raw, behind '?'
    std::string last_event_id;
    std::string headers;  // further lines for the answer (CORS)
    bool keep_alive = true;
    bool http10 = false;
    std::shared_ptr<Flow> flow;
};

class Tails {
  public:
    struct Outputs {
        std::function<void(Mail&&)> mail;
        std::function<void(FilterJob&&)> filter;
        // Look on at a shard's changes of these views and all streams, or (no `number`) no more.
        std::function<void(replica::ShardPort&, std::uint64_t number, std::set<ObjectId> views)> watch;
    };
    Tails(const ServerOptions& options, ServerParts parts, Outputs outputs);
    ~Tails();

    void open(LiveOpen&& open);
    void text(ConnectionId connection, std::string&& message);  // of a WebSocket
    void credited(ConnectionId connection);                     // its Flow has news
    void changed(ShardId shard, log::Changes&& changes);
    void lost_changes(ShardId shard);  // some went untold
    void filtered(FilterDone&& done);
    void stop();  // an end to each, with its place; whoever comes later is turned away

    // Does what is due. Returns microseconds until something is due again; 0: at once.
    std::int64_t step();

    std::size_t size() const { return tails_.size(); }

  private:
    using TailId = std::uint64_t;
    enum class Phase : std::uint8_t { checking, waiting, snapshot, following };

    struct Tail {
        TailId id = 0;
        ConnectionId client;
        std::uint64_t client_id = 0;  // what the client calls it
        Topic topic = Topic::stream;
        std::string name;
        ObjectId object;
        ShardId shard;
        Phase phase = Phase::following;
        std::int64_t credit = INT64_MAX;
        std::int64_t not_before_us = 0;
        bool queued = false;     // in ready_, delayed_ or starved_
        bool said_live = false;  // that it has caught up for the first time
        // A stream's.
        query::Cursor cursor;
        log::JournalPlace at;                 // of cursor, where known
        std::optional<std::int64_t> time_ms;  // the first page is looked for by append time
        std::string where;
        std::shared_ptr<std::atomic<bool>> unwanted;  // of its job
        bool filtering = false;                       // a job is under way
        std::uint32_t scan_max = 4'096;
        int lost_files = 0;  // reads in a row that retention was faster than
        // A view's.
        TailFrom from;
        bool begins = true;  // snapshot: no page yet
        std::string after;
        std::uint64_t place = 0;
        // Metrics'.
        std::vector<std::size_t> series;
        std::int64_t point_ms = 0;  // of the last point sent
    };
    struct Client {
        LiveOpen open;
        bool is_socket = false;
        bool began = false;                     // the head of the answer is out
        std::int64_t unsent = 0;                // bytes handed to the loop that have not left
        std::int64_t said_us = 0;               // when the last bytes were handed over
        std::map<std::uint64_t, TailId> tails;  // by client_id
        std::deque<std::string> unheard;        // a WebSocket's messages, until it has read what it was told
    };
    struct Followed {      // a stream
        LogIndex touched;  // events of entries up to here may be there
        std::set<TailId> tails;
    };
    struct FollowedView {
        ViewFeed feed;
        std::set<TailId> tails;
        std::int64_t unused_since_us = 0;
    };
    struct Shard {
        replica::ShardPort* port = nullptr;
        std::uint64_t asked = 0;  // number of the last watch
        bool outdated = false;    // who is followed has changed since
        LogIndex visible;         // as it was told
        std::map<ObjectId, Followed> streams;
        std::map<ObjectId, FollowedView> views;
        std::unique_ptr<query::ViewRows> rows;
    };

    // Coming and going
    Status open_tail(Client& client, const LiveOpen& open);
    Status begin(Client& client, std::uint64_t client_id, Subscribe&& subscribe);
    Status begin_stream(Tail& tail, Subscribe&& subscribe);
    Status begin_view(Tail& tail, const Subscribe& subscribe);
    Status begin_metrics(Tail& tail, const Subscribe& subscribe);
    void confirm(Tail& tail);
    void end(Tail& tail, std::string_view code, std::string_view detail);
    void end(Tail& tail, const Error& error) { end(tail, errc_name(error.code), error.detail); }
    void remove(TailId id);
    void remove_client(ConnectionId id);
    bool may_be_told(const Client& client) const;
    void hear(Client& client, std::string_view message);
    void hear_on();
    void refuse(Client& client, const Problem& problem);
    void check_catalog();

    // Serving
    void enqueue(Tail& tail);
    bool has_more(const Tail& tail) const;
    void serve(Tail& tail);
    void serve_stream(Tail& tail);
    void serve_page(Tail& tail, const EncodedPage& page);
    void start_filter(Tail& tail, bool only_check);
    void serve_view(Tail& tail);
    void serve_rows(Tail& tail, const EncodedRows& rows, std::string_view phase, bool caught_up);
    void serve_metrics(Tail& tail);
    void after_batch(Tail& tail, bool caught_up);
    void tick(std::int64_t now_us);
    void send_points();
    void bound_rings();
    void watch_shards();
    std::int64_t until_due(std::int64_t now_us) const;

    // Saying
    void say(Tail& tail, std::string_view event, std::string_view id, std::string_view members);
    void send(Client& client, std::string&& payload);
    void post(Client& client, std::string&& bytes, bool last, int status = 200);
    Client& client_of(const Tail& tail) { return clients_.at(tail.client.value); }
    Tail* find(TailId id);
    Shard& shard_of(replica::ShardPort& port);
    std::string place_text(const Tail& tail) const;

    const ServerOptions& options_;
    ServerParts parts_;
    Outputs outputs_;
    StreamFeed feed_;
    std::map<std::uint64_t, Client> clients_;  // by connection
    std::map<TailId, Tail> tails_;
    std::map<std::uint16_t, Shard> shards_;
    TailId next_id_ = 1;
    std::uint64_t next_watch_ = 1;
    std::deque<TailId> ready_;
    std::multimap<std::int64_t, TailId> delayed_;  // by when
    std::deque<TailId> starved_;                   // until all_unsent_ is less
    std::set<std::uint64_t> unheard_;              // connections with messages that wait
    std::int64_t all_unsent_ = 0;
    std::size_t unheard_bytes_ = 0;
    std::size_t filtered_ = 0;
    std::size_t metrics_tails_ = 0;
    std::int64_t next_tick_us_ = 0;
    std::int64_t now_us_ = 0;  // at the beginning of step()
    std::shared_ptr<const cluster::CatalogSnapshot> seen_catalog_;
    bool stopping_ = false;
    obs::Gauge tails_gauge_, unsent_gauge_;
    obs::Counter sent_, skipped_, left_out_, resyncs_;
};

}  // namespace weir::http
