// A door over a shard's folder made by hand: what tails need of a server, with a clock that the test turns.
#pragma once

#include "fakes.h"
#include "unit/query/small_shard.h"

#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace weir::http::test {

struct LiveWorld {
    query::test::SmallShard files{log::PartitionOptions{1, 1}};  // a batch a segment: retention can cut each
    record::StreamPtr access = files.add_stream(5, query::test::access_statement);
    cluster::ViewPtr hourly;
    ObjectId view_id{ShardId(0), LogIndex(9)};
    std::unique_ptr<Door> door;

    explicit LiveWorld(ServerOptions options = {}) {
        files.add_view(9, *access,
                       "CREATE MATERIALIZED VIEW hourly AS SELECT window_start, status, count(*) AS n FROM "
                       "TUMBLE(access, 1h) GROUP BY window_start, status");
        files.entry(*access, 50, {}, 9);
        files.commit();
        auto view = std::make_shared<cluster::ViewDefinition>();
        view->id = view_id;
        view->name = "hourly";
        view->stream = access->id;
        view->state = "live";
        hourly = view;
        door = std::make_unique<Door>(std::move(options));
        door->catalog.shard.dir = files.dir();
        door->catalog.shard.visible_index = door->catalog.shard.committed_index = files.applied();
        door->catalog.set({access}, {hourly});
    }
    // An entry of `count` events, numbered from `first` on, and its row commit.
    void append(int first, int count, std::int64_t append_ms = 100) {
        std::vector<query::test::TestEvent> events;
        for (int i = first; i < first + count; ++i)
            events.push_back(query::test::access_event(i, i * 1000));
        files.entry(*access, append_ms, {{first % 2, events}});
        commit();
    }
    // Each row commit comes a second after the one before: nobody waits for the pause between two batches.
    void commit() {
        door->clock.advance_s(1);
        files.commit();
        log::Changes changes;
        changes.streams = {access->id};
        door->catalog.shard.commit(files.applied(), std::move(changes));
    }
    // More than a socket's buffers take, in events of 10 KB.
    void append_large(int count) {
        for (int i = 0; i < count; i += 100) {
            std::vector<query::test::TestEvent> events;
            for (int e = i; e < i + 100; ++e)
                events.push_back(
                    {1, "{\"event_id\":\"e" + std::to_string(e) + "\",\"x\":\"" + std::string(10'000, 'x') + "\"}"});
            files.entry(*access, 100, {{0, events}});
        }
        commit();
    }
    static std::string key(int i) { return "k" + std::string(1, static_cast<char>(i)); }
    static std::string hex(int i) {
        const std::string digits = "0123456789abcdef";
        return "6b" + std::string{digits[static_cast<std::size_t>(i) / 16], digits[static_cast<std::size_t>(i) % 16]};
    }
    // A row of the view in its table; told with the next commit_rows().
    void put_row(int i, int n) {
        files.exec("INSERT OR REPLACE INTO v0_9 VALUES (x'" + hex(i) + "', 3600000, 200, " + std::to_string(n) + ")");
        changed_.push_back(key(i));
    }
    void remove_row(int i) {
        files.exec("DELETE FROM v0_9 WHERE _k = x'" + hex(i) + "'");
        changed_.push_back(key(i));
    }
    void commit_rows(bool too_many = false) {
        door->clock.advance_s(1);
        files.entry(*access, 60, {});
        files.commit();
        log::Changes changes;
        changes.views = {{view_id, std::exchange(changed_, {}), too_many}};
        door->catalog.shard.commit(files.applied(), std::move(changes));
    }
    // A tail's answer has no frame around its events in HTTP/1.0. Reads the head and the first beat.
    Client tail(const std::string& target, const std::string& fields = "", int receive_buffer = 0) {
        Client client = door->client(receive_buffer);
        client.send("GET " + target + " HTTP/1.0\r\nHost: localhost\r\n" + fields + "\r\n");
        const std::string head = client.read_until("\r\n\r\n");
        must(head.find(" 200 ") != std::string::npos);
        must(head.find("Content-Type: text/event-stream\r\n") != std::string::npos);
        client.read_until("\n\n");
        return client;
    }

  private:
    std::vector<std::string> changed_;
};

// The members of the next server-sent event: "live id=0:6:0 {...}".
inline std::string next_event(Client& client) {
    while (true) {
        const std::string block = client.read_until("\n\n");
        if (block.starts_with("(ended)")) return block;
        std::string event, id, data;
        for (std::size_t at = 0; at < block.size();) {
            const std::size_t end = block.find('\n', at);
            const std::string_view line = std::string_view(block).substr(at, end - at);
            at = end + 1;
            if (line.starts_with("event: ")) event = line.substr(7);
            if (line.starts_with("id: ")) id = line.substr(4);
            if (line.starts_with("data: ")) data += (data.empty() ? "" : "\n") + std::string(line.substr(6));
        }
        if (data.empty()) continue;  // a beat
        return event + (event.empty() ? "" : " ") + (id.empty() ? "" : "id=" + id + " ") + data;
    }
}

// A client of /v1/ws.
class SocketClient {
  public:
    explicit SocketClient(Client client, const std::string& fields = "") : client_(std::move(client)) {
        client_.send(
            "GET /v1/ws HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
            "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n" +
            fields + "\r\n");
        head = client_.read_until("\r\n\r\n");
    }
    void frame(unsigned first, std::string_view bytes) {
        std::string out{static_cast<char>(first)};
        if (bytes.size() < 126) {
            out += static_cast<char>(0x80u | bytes.size());
        } else if (bytes.size() <= 0xffff) {
            out += static_cast<char>(0xfe);
            out += static_cast<char>(bytes.size() >> 8);
            out += static_cast<char>(bytes.size() & 0xffu);
        } else {
            out += static_cast<char>(0xff);
            for (int i = 7; i >= 0; --i)
                out += static_cast<char>(bytes.size() >> (8 * i) & 0xffu);
        }
        out += "abcd";
        for (std::size_t i = 0; i < bytes.size(); ++i)
            out += static_cast<char>(bytes[i] ^ "abcd"[i % 4]);
        client_.send(out);
    }
    void say(std::string_view message) { frame(0x81, message); }
    // The next frame: its opcode, and its payload in `payload`. -1: the connection ended.
    int next() {
        const std::string head_bytes = client_.read_bytes(2);
        if (head_bytes.size() < 2) return -1;
        const auto byte = [](char c) { return static_cast<std::size_t>(static_cast<unsigned char>(c)); };
        std::size_t size = byte(head_bytes[1]);
        if (size >= 126) {
            const std::string more = client_.read_bytes(size == 126 ? 2 : 8);
            size = 0;
            for (const char c : more)
                size = size << 8 | byte(c);
        }
        payload = size > 0 ? client_.read_bytes(size) : std::string();
        return static_cast<int>(byte(head_bytes[0]) & 0x0f);
    }
    // The next text; pings are passed over.
    std::string hear() {
        while (true) {
            const int opcode = next();
            if (opcode == 9) continue;
            if (opcode == 1) return payload;
            if (opcode == 8) return "(close " + std::to_string(close_code()) + ")";
            return "(ended)";
        }
    }
    int close_code() const {
        if (payload.size() < 2) return 0;
        return static_cast<int>(static_cast<unsigned char>(payload[0])) << 8 | static_cast<unsigned char>(payload[1]);
    }
    Client& client() { return client_; }
    std::string head, payload;

  private:
    Client client_;
};

}  // namespace weir::http::test
