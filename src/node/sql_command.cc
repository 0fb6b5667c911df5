#include "node/sql_command.h"

#include "base/limits.h"
#include "node/detail/json.h"
#include "sql/statement.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <unistd.h>

namespace weir::node {
namespace {

constexpr std::size_t script_bytes_max = 16 * limits::mib;
constexpr std::int64_t default_deadline_ms = 10'000;  // the server's; the socket waits longer than the deadline
constexpr std::int64_t deadline_slack_ms = 20'000;
constexpr int terminal_cell_width_max = 80;

std::string error_document(const Problem& problem) {
    Json error = Json::object();
    error["code"] = problem.code;
    error["status"] = problem.status;
    error["detail"] = problem.detail;
    if (problem.position >= 0) error["position"] = problem.position;
    Json document = Json::object();
    document["error"] = std::move(error);
    return to_text(document);
}

std::string trimmed(std::string text) {
    while (!text.empty() && (text.back() == '\n' || text.back() == ' ' || text.back() == '\r'))
        text.pop_back();
    return text;
}

}  // namespace

void report_problem(const Console& console, const Problem& problem, const std::string& statement, std::int64_t line) {
    console.error(printable(problem.detail), problem.exit == Exit::unreachable ? "weir serve" : "");
    const std::string where = point_at(statement, problem.position, line);
    std::fwrite(where.data(), 1, where.size(), console.err);
}

bool show_rows(const Console& console, const RowSet& rows, OutputFormat format) {
    switch (format) {
        case OutputFormat::table: {
            const std::string table = format_table(rows, console.out_is_terminal ? terminal_cell_width_max : 0);
            if (!console.write(table)) return false;
            const auto count = static_cast<std::int64_t>(rows.rows.size());
            std::string note = rows.names.empty() ? "ok" : people_count(count) + (count == 1 ? " row" : " rows");
            if (rows.truncated) note += " (cut here; --max-rows N raises the limit)";
            console.flush();
            console.say(note + " in " + people_duration_ms(rows.elapsed_ms));
            return true;
        }
        case OutputFormat::json:
            return true;  // the caller prints the server's own bytes
        case OutputFormat::ndjson:
            return console.write(format_ndjson(rows));
        case OutputFormat::csv:
            return console.write(format_csv(rows));
    }
    return true;
}

std::int64_t silence_max_ms(const SqlOptions& options) {
    return (options.timeout_ms > 0 ? options.timeout_ms : default_deadline_ms) + deadline_slack_ms;
}

Result<std::string> read_script(const std::string& path) {
    const bool is_stdin = path == "-";
    const int fd = is_stdin ? STDIN_FILENO : ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        return Error{errno == ENOENT ? Errc::not_found : Errc::io, path + ": " + std::strerror(errno), errno};
    }
    std::string text;
    std::array<char, 65536> piece;
    ssize_t got = 0;
    while ((got = ::read(fd, piece.data(), piece.size())) != 0) {
        if (got < 0 && errno == EINTR) continue;
        if (got < 0 || text.size() > script_bytes_max) break;
        text.append(piece.data(), static_cast<std::size_t>(got));
    }
    const int failure = errno;
    if (!is_stdin) ::close(fd);
    if (got < 0) return Error{Errc::io, path + ": " + std::strerror(failure), failure};
    if (text.size() > script_bytes_max) return Error{Errc::too_large, path + ": a script may have 16 MiB"};
    return text;
}

std::string sql_request(const std::string& statement, const SqlOptions& options) {
    Json request = Json::object();
    request["query"] = statement;
    if (!options.min_index.empty()) request["min_index"] = options.min_index;
    if (options.timeout_ms > 0) request["timeout_ms"] = options.timeout_ms;
    if (options.rows_max > 0) request["max_rows"] = options.rows_max;
    return to_text(request);
}

Exit run_sql(const Console& console, Client& client, const SqlOptions& options) {
    std::string script = options.statement;
    if (!options.file.empty() || options.statement == "-") {
        const Result<std::string> read = read_script(options.file.empty() ? "-" : options.file);
        if (!read) {
            console.error(read.error().detail);
            return read.error().code == Errc::not_found ? Exit::usage : Exit::failed;
        }
        script = read.value();
    }
    const std::vector<std::string> statements = sql::split_statements(script);
    if (statements.empty()) {
        console.error("there is no statement", "weir sql 'SHOW STREAMS'");
        return Exit::usage;
    }
    client.set_read_timeout_ms(silence_max_ms(options));

    Exit exit = Exit::ok;
    std::string document;  // -o json
    std::size_t searched = 0;
    for (const std::string& statement : statements) {
        // Where the statement stands in the script, so that an error names the file's line.
        const std::size_t found = script.find(statement, searched);
        const std::size_t start = found == std::string::npos ? searched : found;
        searched = found == std::string::npos ? searched : found + statement.size();
        const std::int64_t line = 1 + std::ranges::count(std::string_view(script).substr(0, start), '\n');

        const Client::Outcome outcome = client.post("/v1/sql", "application/json", sql_request(statement, options));
        Problem problem = outcome.problem;
        bool failed = !outcome.ok();
        if (!failed && options.format == OutputFormat::json) {
            document += (document.empty() ? "" : ",\n") + trimmed(outcome.answer.body);
        } else if (!failed) {
            const Result<RowSet> rows = parse_sql_answer(outcome.answer.body);
            if (rows && !show_rows(console, rows.value(), options.format)) return exit;
            if (rows && rows.value().truncated && options.format != OutputFormat::table) {
                console.say("note: the result was cut; --max-rows N raises the limit");
            }
            failed = !rows;
            if (failed) problem = Problem{Exit::failed, outcome.answer.status, "", rows.error().detail, -1};
        }
        if (failed) {
            if (options.format == OutputFormat::json) {
                document += (document.empty() ? "" : ",\n") + error_document(problem);
            }
            report_problem(console, problem, statement, line);
            exit = problem.exit;
            break;
        }
    }
    if (options.format == OutputFormat::json) {
        console.write(statements.size() == 1 ? document + "\n" : "[" + document + "]\n");
    }
    console.flush();
    return exit;
}

}  // namespace weir::node
