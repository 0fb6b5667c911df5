// The tests' worker process: `--dir` names a shard's folder, or a way to misbehave.
#include "query/pool.h"

#include <csignal>
#include <cstdlib>
#include <string>
#include <string_view>
#include <sys/socket.h>
#include <unistd.h>

namespace {

void say(std::string_view bytes) {
    (void)!::send(3, bytes.data(), bytes.size(), MSG_NOSIGNAL);
}

// The hello and at least the beginning of a query.
void hear() {
    char buffer[4096];
    std::size_t heard = 0;
    while (heard < 60) {
        const ssize_t got = ::recv(3, buffer, sizeof buffer, 0);
        if (got <= 0) ::_exit(0);
        heard += static_cast<std::size_t>(got);
    }
}

int misbehave(std::string_view how) {
    using namespace std::string_view_literals;
    hear();
    if (how == "abort") std::abort();
    if (how == "exit") return 9;
    if (how == "kill") ::raise(SIGKILL);
    if (how == "cpu") ::raise(SIGXCPU);
    if (how == "call") ::raise(SIGSYS);
    if (how == "noise") say("GET / HTTP/1.1\r\n\r\n");
    if (how == "zero") say("\0\0\0\0"sv);
    if (how == "type") say("\1\0\0\0\x63"sv);
    if (how == "rows_first") say("\5\0\0\0\4\0\0\0\0"sv);
    if (how == "no_columns") say("\5\0\0\0\3\0\0\0\0"sv);
    if (how == "many_columns") say("\5\0\0\0\3\xff\xff\xff\xff"sv);
    if (how == "bad_value") say("\x10\0\0\0\3\1\0\0\0\1\0\0\0x\0\0\0\0\0\0"sv);
    if (how == "bad_error") say("\2\0\0\0\6\x77"sv);
    if (how == "echo") say("\1\0\0\0\2"sv);
    // One column, then a row of a type that there is none of.
    if (how == "bad_row") say("\x0e\0\0\0\3\1\0\0\0\1\0\0\0x\0\0\0\0\6\0\0\0\4\1\0\0\0\x09"sv);
    if (how == "row_overrun") say("\x0e\0\0\0\3\1\0\0\0\1\0\0\0x\0\0\0\0\x0a\0\0\0\4\1\0\0\0\3\xff\xff\xff\xff"sv);
    while (true)
        ::pause();  // silent: the parent kills
}

}  // namespace

int main(int argc, char** argv) {
    std::string dir;
    for (int i = 1; i + 1 < argc; ++i) {
        if (std::string_view(argv[i]) == "--dir") dir = argv[i + 1];
    }
    if (dir.rfind("bad:", 0) == 0) return misbehave(std::string_view(dir).substr(4));
    return weir::query::worker_main(3, dir);
}
