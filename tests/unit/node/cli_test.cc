#include "node/cli.h"

#include "capture.h"
#include "fake_server.h"
#include "node/help.h"
#include "support/temp_dir.h"

#include <catch2/catch_test_macros.hpp>

#include <algorithm>
#include <filesystem>
#include <fstream>

namespace weir::node {
namespace {

struct Ran {
    int exit = -1;
    std::string out;
    std::string err;
    int served = 0;
    LoadedSettings settings;
    int worker_fd = -1;
    std::string worker_dir;
};

Ran ran(const std::vector<std::string>& words, const TextMap& environment = {}) {
    Ran result;
    test::Capture capture;
    const ServeFn serve = [&](const LoadedSettings& loaded) {
        ++result.served;
        result.settings = loaded;
        return 42;
    };
    const WorkerFn worker = [&](int fd, const std::string& dir) {
        result.worker_fd = fd;
        result.worker_dir = dir;
        return 43;
    };
    result.exit = run_cli_on(capture.console, words, environment, serve, worker);
    result.out = capture.out();
    result.err = capture.err();
    return result;
}

// The commands that ask a server, the one at `url`.
std::vector<std::vector<std::string>> that_ask(const std::string& url) {
    std::vector<std::vector<std::string>> commands = {{"sql", "SELECT 1"},
                                                      {"sql", "SELECT 1", "-o", "json"},
                                                      {"tail", "s"},
                                                      {"stream", "ls"},
                                                      {"stream", "info", "s"},
                                                      {"status"},
                                                      {"produce", "s", "/proc/self/cmdline"},
                                                      {"bench", "ingest"}};
    for (auto& words : commands)
        words.insert(words.end(), {"--server", url});
    return commands;
}

TEST_CASE("serve gets its settings and its exit code comes back") {
    const Ran r = ran({"serve", "--data", "/d", "--http=127.0.0.1:0", "--node-id", "n2"}, {{"WEIR_NODE_ID", "n9"}});
    CHECK(r.exit == 42);
    CHECK(r.served == 1);
    CHECK(r.settings.settings.data_dir == "/d");
    CHECK(r.settings.settings.http_listen == "127.0.0.1:0");
    CHECK(r.settings.settings.node_id == "n2");
    CHECK(ran({"serve", "--http", "0.0.0.0:1", "--insecure"}).exit == 42);
}

TEST_CASE("what serve refuses") {
    const Ran open = ran({"serve", "--http", "0.0.0.0:1"});
    CHECK(open.exit == 2);
    CHECK(open.served == 0);
    CHECK(open.err.find("error: --http = 0.0.0.0:1: other machines can reach") == 0);
    CHECK(open.err.find("--insecure, WEIR_INSECURE=true") != std::string::npos);
    const Ran warned = ran({"serve"}, {{"WEIR_NODE_DI", "x"}});
    CHECK(warned.exit == 42);
    CHECK(warned.err.find("warning: unknown variable WEIR_NODE_DI") == 0);
    // A door that is not built has no flag.
    for (const char* flag : {"--kafka", "--peer", "--cluster", "--join"}) {
        INFO(flag);
        CHECK(ran({"serve", flag, "x"}).exit == 2);
    }
}

TEST_CASE("the worker's command is there and not in the help") {
    const Ran r = ran({"sql-worker", "--fd", "7", "--dir", "/x"});
    CHECK(r.exit == 43);
    CHECK(r.worker_fd == 7);
    CHECK(r.worker_dir == "/x");
    CHECK(ran({"sql-worker"}).exit == 2);
    CHECK(help_text("").find("sql-worker") == std::string::npos);
}

TEST_CASE("wrong words are refused with what was perhaps meant") {
    const auto refused = [](const std::vector<std::string>& words, const char* must_say) {
        const Ran r = ran(words);
        INFO(r.err);
        CHECK(r.exit == 2);
        CHECK(r.out.empty());
        CHECK(r.err.find(must_say) != std::string::npos);
    };
    refused({"stream", "list"}, "there is no command \"stream list\"; did you mean ls?\n  try: weir stream --help\n");
    refused({"sevre"}, "there is no command \"sevre\"; did you mean serve?\n  try: weir --help\n");
    refused({"stream", "list"}, "there is no command \"stream list\"");
    refused({"bench", "ingets"}, "did you mean ingest?");
    refused({"sql", "SELECT 1", "--min-idnex", "1"},
            "there is no option --min-idnex; did you mean --min-index?\n  try: weir sql --help\n");
    refused({"serve", "--date", "x"}, "did you mean --data?");
    refused({"bench", "ingest", "--evnts=5"}, "there is no option --evnts; did you mean --events?");
    refused({"sql"}, "is needed");
    refused({"sql", "a", "-f", "b"}, "is needed");
    refused({"sql", "a", "b"}, "one word too many: \"b\"");
    refused({"sql", "SELECT 1", "-o", "xml"}, "-o takes table, json, ndjson or csv");
    refused({"sql", "SELECT 1", "--timeout", "soon"}, "--timeout takes a time");
    refused({"sql", "SELECT 1", "--server", "ftp://x"}, "expected a server such as");
    refused({"sql", "SELECT 1", "--api-key", "a\nb"}, "printable");
    refused({"produce"}, "STREAM is required");
    refused({"produce", "s", "--batch", "0"}, "--batch");
    refused({"produce", "bad name"}, "");
    refused({"produce", "s", "/nonexistent"}, "/nonexistent");
    refused({"tail", "s", "-o", "csv"}, "raw, json or pretty");
    refused({"bench", "ingest", "--events", "0"}, "--events");
    refused({"stream"}, "ls or info is needed");
    refused({"stream", "info"}, "STREAM is required");
    refused({"bench"}, "ingest, e2e, sql, dedup, nexmark or wal is needed");
    refused({"config"}, "check or print is needed");
    refused({"config", "chek"}, "did you mean check?");
    refused({"config", "print", "-o", "yaml"}, "-o takes toml, table, json, ndjson or csv, not \"yaml\"");
    refused({"config", "check", "--config", "/nonexistent.toml"},
            "error: /nonexistent.toml: No such file or directory\n  try: weir config check --help\n");
    refused({"serve", "--config", "/"}, "error: / is a folder, not a configuration file\n  try: weir serve --help\n");
    refused({"produce", "s", "/"}, "/ is a folder, not a file");
    refused(
        {"tail", "s", "--from", "garbage"},
        "--from takes beginning, end, a cursor (shard:index:ordinal), a time such as 2025-01-31T12:00:00Z, or an age "
        "such as 5m, not \"garbage\"");
    refused({"tail", "access_dead_letters"},
            "error: dead letters are a table\n  try: weir sql 'SELECT * FROM access_dead_letters'\n");
    refused({"tail", "a.b_late"}, "try: weir sql 'SELECT * FROM \"a.b_late\"'\n");
    refused({"help", "produc"}, "did you mean produce?");
    refused({"\x1b[2J"}, "\\x1b[2J");
    CHECK(ran({}).exit == 2);
}

TEST_CASE("help goes to stdout and fits a screen") {
    std::vector<std::string> topics = command_names();
    topics.emplace_back("");
    topics.emplace_back("exit-codes");
    for (const std::string& topic : topics) {
        INFO(topic);
        const std::string text = help_text(topic);
        REQUIRE_FALSE(text.empty());
        CHECK(std::ranges::count(text, '\n') <= 24);
        std::size_t widest = 0;
        for (std::size_t at = 0; at < text.size(); at = text.find('\n', at) + 1)
            widest = std::max(widest, text.find('\n', at) - at);
        CHECK(widest <= 110);
    }
    CHECK(ran({"--help"}).out == help_text(""));
    CHECK(ran({"--help"}).exit == 0);
    CHECK(ran({"sql", "-h"}).out == help_text("sql"));
    CHECK(ran({"stream", "info", "--help"}).out == help_text("stream"));
    CHECK(ran({"serve", "--help"}).out == help_text("serve"));
    CHECK(ran({"help", "stream", "ls"}).out == help_text("stream"));
    CHECK(ran({"help"}).out == help_text(""));
    CHECK(ran({"help", "exit-codes"}).out.find("74  disk error") != std::string::npos);
    CHECK(help_text("nonsense").empty());
    CHECK(help_text("stream rm").empty());
}

TEST_CASE("serve's help, whole") {
    CHECK(help_text("serve") ==
          "weir serve     run a node, in the foreground; SIGTERM or Ctrl-C drains and stops it\n"
          "\n"
          "  weir serve\n"
          "  weir serve --config /etc/weir.toml --http 127.0.0.1:9000\n"
          "  WEIR_LIMITS_MEMORY=2GiB weir serve\n"
          "\n"
          "Options; each is a key of the file too, and a variable (http.listen: WEIR_HTTP_LISTEN). A flag wins over a\n"
          "variable, a variable over the file.\n"
          "  --config FILE             settings as TOML (WEIR_CONFIG)\n"
          "  --data DIR                where everything is kept; default ./weir-data (node.data_dir)\n"
          "  --node-id NAME            this node's name; default n1 (node.id)\n"
          "  --http HOST:PORT          where HTTP is served; port 0 picks one; default 127.0.0.1:8080 (http.listen)\n"
          "  --insecure                allow an address that others can reach, without keys (insecure)\n"
          "  http.hosts                further host names that browsers may use\n"
          "  http.origins              further origins that browsers may come from\n"
          "  auth.mode                 none, keys, or auto: keys where there are any; default auto\n"
          "  auth.keys                 API keys, each name:role:sha256; roles are reader, writer, admin\n"
          "  auth.root_key_file        file that holds the API key of an admin\n"
          "  limits.memory             memory that caches and queues may take; default 512MiB\n"
          "  limits.dedup_memory       memory of the dedup filters; default memory/4\n"
          "  storage.wal_bytes         write-ahead log above which a checkpoint is due; default 1GiB\n"
          "  storage.apply_lag_bytes   lag of apply above which proposals wait; default 1GiB\n"
          "  storage.fsync             quorum: answered once it is on the disks of a majority; default quorum\n"
          "  streams.undeclared        allow or deny: the first event creates its stream; default allow\n");
}

TEST_CASE("config takes what serve takes: file, variables and flags") {
    const ::weir::test::TempDir dir;
    const std::string path = dir.path() + "/w.toml";
    std::ofstream(path) << "[node]\nid = \"f\"\n[http]\nlisten = \"127.0.0.1:1\"\n[limits]\nmemory = \"1GiB\"\n";
    const Ran printed = ran({"config", "print", "--origin", "--config", path, "--http", "127.0.0.1:3"},
                            {{"WEIR_NODE_ID", "e"}, {"WEIR_HTTP_LISTEN", "127.0.0.1:2"}});
    CHECK(printed.exit == 0);
    CHECK(printed.err.empty());
    CHECK(printed.served == 0);
    for (const std::string& line : {std::string("node.id = \"e\"                               # env WEIR_NODE_ID\n"),
                                    std::string("http.listen = \"127.0.0.1:3\"                 # flag --http\n"),
                                    "limits.memory = \"1GiB\"                      # file " + path + ":6\n",
                                    std::string("storage.wal_bytes = \"1GiB\"                  # default\n")}) {
        INFO(printed.out);
        CHECK(printed.out.find(line) != std::string::npos);
    }
    const Ran checked = ran({"config", "check"}, {{"WEIR_CONFIG", path}});
    CHECK(checked.exit == 0);
    CHECK(checked.out.empty());
    CHECK(checked.err.find("good: 3 settings from " + path + ", ") == 0);
    const Ran served = ran({"serve", "--config", path, "--node-id", "g"});
    CHECK(served.exit == 42);
    CHECK(served.settings.settings.node_id == "g");
    CHECK(served.settings.settings.memory_bytes == 1ull << 30);
    std::ofstream(path) << "[node]\nidd = \"f\"\n[limits]\nmemory = 5\n";
    for (const std::vector<std::string>& words :
         std::vector<std::vector<std::string>>{{"serve"}, {"config", "check"}, {"config", "print"}}) {
        const Ran wrong = ran(words, {{"WEIR_CONFIG", path}});
        CHECK(wrong.exit == 2);
        CHECK(wrong.served == 0);
        CHECK(wrong.out.empty());
        CHECK(wrong.err.find("error: " + path + ":2: unknown key node.idd; did you mean node.id?\nerror: " + path +
                             ":4: limits.memory = 5: expected a size") == 0);
        CHECK(std::ranges::count(wrong.err, '\n') == 3);
    }
}

TEST_CASE("the server's options stand with the others") {
    CHECK(help_text("produce").find("with the counts\n  --server URL         the") != std::string::npos);
    CHECK(help_text("produce").find("(WEIR_API_KEY_FILE)\n\nExit code 7") != std::string::npos);
    CHECK(help_text("tail").ends_with("(WEIR_API_KEY_FILE)\n"));
}

TEST_CASE("a program that is not weir is told apart, by every command") {
    for (const int status : {200, 404}) {
        test::FakeServer server([&](const test::FakeRequest&) {
            test::FakeReply reply;
            reply.status = status;
            reply.body = "<html>hello</html>";
            return reply;
        });
        const std::string want =
            "error: " + server.url() + " answered " + std::to_string(status) + " and is not weir\n";
        for (const std::vector<std::string>& words : that_ask(server.url())) {
            const Ran r = ran(words);
            INFO(words[0] << " " << status << ": " << r.err);
            CHECK(r.exit == 1);
            CHECK(r.err.find(want) != std::string::npos);
            CHECK(r.err.find("making") == std::string::npos);
        }
    }
}

TEST_CASE("pages for others go to stdout") {
    CHECK(ran({"man"}).out.starts_with(".TH WEIR 1"));
    CHECK(ran({"completion", "zsh"}).out.starts_with("#compdef weir"));
    CHECK(ran({"completion", "tcsh"}).exit == 2);
    CHECK(ran({"completion", "tcsh"}).err.find("\n  try: weir completion --help\n") != std::string::npos);
    CHECK(ran({"completion"}).exit == 2);
}

TEST_CASE("version") {
    CHECK(ran({"version"}).out == "weir " WEIR_VERSION "\n");
    CHECK(ran({"--version"}).out == "weir " WEIR_VERSION "\n");
    CHECK(ran({"version"}).exit == 0);
}

TEST_CASE("client commands find the server by flag, then environment") {
    test::FakeServer server([](const test::FakeRequest&) {
        test::FakeReply reply;
        reply.body = R"({"columns":[{"name":"x"}],"rows":[[1]]})";
        return reply;
    });
    CHECK(ran({"sql", "SELECT 1", "--server", server.url()}).exit == 0);
    const Ran by_environment =
        ran({"sql", "SELECT 1", "-o", "csv"}, {{"WEIR_SERVER", server.url()}, {"WEIR_API_KEY", "k"}});
    CHECK(by_environment.exit == 0);
    CHECK(by_environment.out == "x\n1\n");
    CHECK(server.seen().back().head.find("Authorization: Bearer k\r\n") != std::string::npos);
    CHECK(ran({"sql", "SELECT 1", "--server", server.url()}, {{"WEIR_SERVER", "http://127.0.0.1:1"}}).exit == 0);
}

TEST_CASE("the API key: a flag before a variable, the key before its file") {
    test::FakeServer server([](const test::FakeRequest&) {
        test::FakeReply reply;
        reply.body = R"({"columns":[{"name":"x"}],"rows":[[1]]})";
        return reply;
    });
    const ::weir::test::TempDir dir;
    const auto file = [&](const char* name, const char* text, std::filesystem::perms others = {}) {
        const std::string path = dir.path() + '/' + name;
        std::ofstream(path) << text;
        std::filesystem::permissions(path, std::filesystem::perms::owner_read | others);
        return path;
    };
    const std::string one = file("one", "from-file\n"), two = file("two", "from-other-file");
    const auto sent = [&](std::vector<std::string> words, TextMap environment, const char* want) {
        words.insert(words.begin(), {"sql", "SELECT 1"});
        environment.emplace("WEIR_SERVER", server.url());
        CHECK(ran(words, environment).exit == 0);
        INFO(want);
        const std::string head = server.seen().back().head;
        const bool is_there = head.find("Authorization: Bearer " + std::string(want) + "\r\n") != std::string::npos;
        CHECK((want[0] == '\0' ? head.find("Authorization") == std::string::npos : is_there));
    };
    sent({}, {}, "");
    sent({}, {{"WEIR_API_KEY", ""}}, "");
    sent({}, {{"WEIR_API_KEY", "from-variable"}}, "from-variable");
    sent({}, {{"WEIR_API_KEY_FILE", one}}, "from-file");
    sent({}, {{"WEIR_API_KEY", "from-variable"}, {"WEIR_API_KEY_FILE", one}}, "from-variable");
    sent({"--api-key-file", two}, {{"WEIR_API_KEY", "from-variable"}, {"WEIR_API_KEY_FILE", one}}, "from-other-file");
    sent({"--api-key", "from-flag", "--api-key-file", two}, {{"WEIR_API_KEY", "from-variable"}}, "from-flag");
    const Ran open = ran({"status", "--api-key-file", file("open", "x", std::filesystem::perms::others_read)});
    CHECK(open.exit == 2);
    CHECK(open.err.find("can be read by others: chmod 600 it") != std::string::npos);
}

TEST_CASE("a key that is missing, wrong or too small ends every command with 4") {
    for (const auto& [status, code] : {std::pair{401, "unauthorised"}, std::pair{403, "forbidden"}}) {
        test::FakeServer server([status = status, code = code](const test::FakeRequest& request) {
            test::FakeReply reply;
            if (request.target == "/readyz") {  // is open
                reply.body = "ready\n";
                return reply;
            }
            reply.status = status;
            reply.body = R"({"status":)" + std::to_string(status) + R"(,"code":")" + code + R"(","detail":"why not"})";
            return reply;
        });
        for (const std::vector<std::string>& words : that_ask(server.url())) {
            const Ran r = ran(words);
            INFO(words[0] << " " << status << ": " << r.err);
            CHECK(r.exit == 4);
            CHECK(r.err.find("why not") != std::string::npos);
        }
    }
}

TEST_CASE("no server: exit 3, the address and what to do") {
    const Ran r = ran({"sql", "SELECT 1", "--server", "http://127.0.0.1:1"});
    CHECK(r.exit == 3);
    CHECK(r.err.find("error: cannot reach http://127.0.0.1:1: ") == 0);
    CHECK(r.err.find("\n  try: weir serve\n") != std::string::npos);
}

}  // namespace
}  // namespace weir::node
