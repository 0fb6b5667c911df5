// The tree of commands as CLI11 knows it, and what the words of a command line said. Help, completion and the man page
// are read from the same tree.
#pragma once

#include "node/bench.h"
#include "node/demo.h"
#include "node/settings.h"

#include <CLI/CLI.hpp>
#include <cstdint>
#include <string>
#include <vector>

namespace weir::node {

// What the words said. One for all commands: they share most of it.
struct Words {
    TextMap serve_flags;
    std::string config_file;
    bool origin = false;
    std::string server;
    std::string api_key;
    std::string api_key_file;
    std::string output;
    std::string statement;
    std::string file;
    std::string min_index;
    std::string timeout;
    std::int64_t rows_max = 0;
    std::string stream;
    std::string from;
    std::string where;
    std::int64_t count = -1;
    bool follow = false;
    std::int64_t batch = 1000;
    std::int64_t in_flight = 8;
    std::string retry_for = "30s";
    std::string prefix;
    BenchOptions bench;
    DemoOptions demo;
    std::string data_dir;
    bool no_open = false;
    std::int64_t nodes = 1;
    std::string topic;
    std::vector<std::string> topics;
    int worker_fd = -1;
    std::string worker_dir;
};

struct Tree {
    CLI::App app{"weir: events in over HTTP, deduplicated, logged, windowed, out through SQL. One binary.", "weir"};
    CLI::App* serve = nullptr;
    CLI::App* demo = nullptr;
    CLI::App* sql = nullptr;
    CLI::App* produce = nullptr;
    CLI::App* tail = nullptr;
    CLI::App* stream = nullptr;
    CLI::App* stream_ls = nullptr;
    CLI::App* stream_info = nullptr;
    CLI::App* status = nullptr;
    CLI::App* doctor = nullptr;
    CLI::App* inspect = nullptr;
    CLI::App* inspect_wal = nullptr;
    CLI::App* inspect_segment = nullptr;
    CLI::App* inspect_checkpoint = nullptr;
    CLI::App* inspect_state = nullptr;
    CLI::App* bench = nullptr;
    CLI::App* config = nullptr;
    CLI::App* config_check = nullptr;
    CLI::App* config_print = nullptr;
    CLI::App* completion = nullptr;
    CLI::App* man = nullptr;
    CLI::App* version = nullptr;
    CLI::App* help = nullptr;
    CLI::App* worker = nullptr;  // the server's own: no help tells of it
};

// Fills the tree; parsing it writes into `words`, which outlives it. A command's description is its one line, an
// option's its words in the help, its type name the argument ("" for a switch).
void plant(Tree& tree, Words& words);

// "stream ls": the commands that the parsed words named.
std::string path_of(const Tree& tree);
// That a word names no command where one must stand, and what was perhaps meant. Before parsing.
struct WrongCommand {
    std::string text;   // "": all is well
    std::string below;  // the command whose help lists what there is; "" the program's own
};
WrongCommand wrong_command(const Tree& tree, const std::vector<std::string>& words);
// Why the words could not be parsed, for people.
std::string explain(const CLI::ParseError& failure, const Tree& tree);
// "; did you mean X?", or "".
std::string did_you_mean(std::string_view word, const std::vector<std::string>& candidates);

}  // namespace weir::node
