// An HTTP server for tests of clients: real sockets, answers from a function, and faults that a real server has.
#pragma once

#include "node/client.h"

#include <arpa/inet.h>
#include <cstdlib>
#include <functional>
#include <mutex>
#include <netinet/in.h>
#include <string>
#include <sys/socket.h>
#include <thread>
#include <unistd.h>
#include <vector>

namespace weir::node::test {

struct FakeRequest {
    std::string method;
    std::string target;
    std::string head;
    std::string body;
};

struct FakeReply {
    int status = 200;
    std::string body;
    std::string headers;          // each with its CRLF
    bool hang_up_before = false;  // the connection is cut instead of an answer
    bool hang_up_after = false;
    std::size_t pieces = 1;  // how many writes the answer is cut into
};

class FakeServer {
  public:
    using Handler = std::function<FakeReply(const FakeRequest&)>;

    // The handler runs for one request at a time, whatever the number of connections.
    explicit FakeServer(Handler handler) : handler_(std::move(handler)) {
        listener_ = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        sockaddr_in address{};
        address.sin_family = AF_INET;
        address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        socklen_t length = sizeof address;
        if (bind(listener_, reinterpret_cast<sockaddr*>(&address), length) != 0 || listen(listener_, 64) != 0)
            std::abort();
        getsockname(listener_, reinterpret_cast<sockaddr*>(&address), &length);
        port_ = ntohs(address.sin_port);
        acceptor_ = std::thread([this] { accept_all(); });
    }
    ~FakeServer() {
        shutdown(listener_, SHUT_RDWR);
        acceptor_.join();
        {
            const std::lock_guard lock(mutex_);
            for (const int fd : fds_)
                shutdown(fd, SHUT_RDWR);
        }
        for (std::thread& thread : threads_)
            thread.join();
        for (const int fd : fds_)
            close(fd);
        close(listener_);
    }
    FakeServer(const FakeServer&) = delete;
    FakeServer& operator=(const FakeServer&) = delete;

    ServerChoice choice() const { return {{"127.0.0.1", port_, ""}, ""}; }
    std::string url() const { return "http://127.0.0.1:" + std::to_string(port_); }
    std::vector<FakeRequest> seen() {
        const std::lock_guard lock(mutex_);
        return seen_;
    }

  private:
    void accept_all() {
        for (;;) {
            const int fd = accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC);
            if (fd < 0) return;
            const std::lock_guard lock(mutex_);
            fds_.push_back(fd);
            threads_.emplace_back([this, fd] { serve(fd); });
        }
    }

    void serve(int fd) {
        std::string in;
        while (true) {
            FakeRequest request;
            if (!receive(fd, in, request)) break;
            FakeReply reply;
            {
                const std::lock_guard lock(mutex_);
                seen_.push_back(request);
                reply = handler_(request);
            }
            if (reply.hang_up_before) break;
            std::string out = "HTTP/1.1 " + std::to_string(reply.status) + " Word\r\n" + reply.headers;
            if (reply.hang_up_after) out += "Connection: close\r\n";
            out += "Content-Length: " + std::to_string(reply.body.size()) + "\r\n\r\n" + reply.body;
            const std::size_t step = out.size() / reply.pieces + 1;
            for (std::size_t at = 0; at < out.size(); at += step) {
                send(fd, out.data() + at, std::min(step, out.size() - at), MSG_NOSIGNAL);
            }
            if (reply.hang_up_after) break;
        }
        shutdown(fd, SHUT_RDWR);
    }

    static bool receive(int fd, std::string& in, FakeRequest& request) {
        std::size_t end = 0;
        while ((end = in.find("\r\n\r\n")) == std::string::npos) {
            if (!more(fd, in)) return false;
        }
        request.head = in.substr(0, end + 2);
        request.method = request.head.substr(0, request.head.find(' '));
        const std::size_t target = request.method.size() + 1;
        request.target = request.head.substr(target, request.head.find(' ', target) - target);
        std::size_t body_bytes = 0;
        if (const std::size_t at = request.head.find("Content-Length: "); at != std::string::npos) {
            body_bytes = std::strtoull(request.head.c_str() + at + 16, nullptr, 10);
        }
        while (in.size() < end + 4 + body_bytes) {
            if (!more(fd, in)) return false;
        }
        request.body = in.substr(end + 4, body_bytes);
        in.erase(0, end + 4 + body_bytes);
        return true;
    }

    static bool more(int fd, std::string& in) {
        char bytes[16384];
        const ssize_t got = recv(fd, bytes, sizeof bytes, 0);
        if (got > 0) in.append(bytes, static_cast<std::size_t>(got));
        return got > 0;
    }

    Handler handler_;
    int listener_ = -1;
    std::uint16_t port_ = 0;
    std::mutex mutex_;
    std::vector<int> fds_;
    std::vector<FakeRequest> seen_;
    std::vector<std::thread> threads_;
    std::thread acceptor_;
};

}  // namespace weir::node::test
