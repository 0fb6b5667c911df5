#include "node/sql_shell.h"

#include "node/line_editor.h"
#include "node/pipe.h"
#include "node/sql_completion.h"
#include "node/statement_history.h"
#include "sql/statement.h"
#include "sql/tokens.h"

#include <algorithm>
#include <array>
#include <poll.h>
#include <utility>

namespace weir::node {
namespace {

constexpr std::int64_t connect_within_ms = 5'000;
constexpr std::int64_t catalog_silence_ms = 2'000;
constexpr std::size_t catalog_columns_max = 256;  // tables whose columns are kept
constexpr std::size_t statement_bytes_max = std::size_t{16} << 20;

constexpr const char* shell_help =
    "  statements end with ';' and may have several lines\n"
    "  \\d               streams, views and system tables\n"
    "  \\d NAME          the columns of one\n"
    "  \\f WHAT          show results as table, json, ndjson or csv\n"
    "  \\c               drop what was typed of a statement, as Ctrl-C does\n"
    "  \\?               this\n"
    "  \\q               leave; Ctrl-D too\n"
    "  Tab completes, the arrow keys bring back earlier statements, Ctrl-R searches them, Ctrl-C ends a query.\n";

constexpr auto system_tables =
    std::to_array<std::string_view>({"sys.config", "sys.counters", "sys.streams", "sys.views", "sys.watermarks"});

class Shell {
  public:
    Shell(const Console& console, const ServerChoice& server, const SqlOptions& options,
          const std::string& history_file, os::StopSignals& signals)
        : console_(console), server_(server), options_(options), signals_(signals), history_(history_file) {}

    Exit run();

  private:
    Result<Client::Outcome> post(const std::string& statement, std::int64_t silence_ms);
    std::vector<std::string> first_column(const std::string& statement);
    Problem read_catalog();
    SqlCompletion complete(std::string_view line);
    // False: leave.
    bool take_line(LineEditor& editor, const std::string& line);
    bool obey(const std::string& words);
    void run_statements();
    bool run_one(const std::string& statement);
    void keep(LineEditor& editor, const std::string& text);

    const Console& console_;
    const ServerChoice& server_;
    SqlOptions options_;
    os::StopSignals& signals_;
    StatementHistory history_;
    SqlCatalog catalog_;
    bool catalog_is_old_ = false;
    bool history_failed_ = false;
    std::string typed_;  // of the statement so far, its lines
};

Result<Client::Outcome> Shell::post(const std::string& statement, std::int64_t silence_ms) {
    return post_until(server_, "/v1/sql", "application/json", sql_request(statement, options_), silence_ms, signals_);
}

// Of a query for completion: nothing where it fails.
std::vector<std::string> Shell::first_column(const std::string& statement) {
    const Result<Client::Outcome> outcome = post(statement, catalog_silence_ms);
    std::vector<std::string> found;
    if (!outcome || !outcome.value().ok()) return found;
    const Result<RowSet> rows = parse_sql_answer(outcome.value().answer.body);
    if (!rows) return found;
    for (const std::vector<Cell>& row : rows.value().rows) {
        if (!row.empty()) found.push_back(row.front().text);
    }
    return found;
}

// Names for completion. The problem of the first question, exit ok where there was none.
Problem Shell::read_catalog() {
    catalog_is_old_ = false;
    const Result<Client::Outcome> outcome = post("SELECT name FROM sys.streams", catalog_silence_ms);
    Problem none;
    none.exit = Exit::ok;
    if (!outcome) return none;
    if (!outcome.value().ok()) return outcome.value().problem;
    SqlCatalog fresh;
    if (const Result<RowSet> rows = parse_sql_answer(outcome.value().answer.body)) {
        for (const std::vector<Cell>& row : rows.value().rows) {
            fresh.tables.push_back(row.front().text);
            fresh.tables.push_back(row.front().text + "_dead_letters");
        }
    }
    for (const std::string& view : first_column("SELECT name FROM sys.views")) {
        fresh.tables.push_back(view);
        fresh.tables.push_back(view + "_late");
    }
    fresh.tables.insert(fresh.tables.end(), system_tables.begin(), system_tables.end());
    catalog_ = std::move(fresh);
    return none;
}

SqlCompletion Shell::complete(std::string_view line) {
    if (catalog_is_old_) read_catalog();
    const std::string text = typed_ + std::string(line);
    for (const std::string& table : tables_named(text, catalog_)) {
        if (catalog_.columns.contains(table) || catalog_.columns.size() >= catalog_columns_max) continue;
        const Result<Client::Outcome> outcome =
            post("SELECT * FROM " + sql::quoted_if_needed(table) + " LIMIT 0", catalog_silence_ms);
        std::vector<std::string>& columns = catalog_.columns[table];
        if (!outcome || !outcome.value().ok()) continue;
        if (const Result<RowSet> rows = parse_sql_answer(outcome.value().answer.body)) columns = rows.value().names;
    }
    SqlCompletion completion = complete_sql(text, catalog_);
    // Lines before this one cannot be changed any more.
    if (completion.from < typed_.size()) return {line.size(), {}};
    completion.from -= typed_.size();
    return completion;
}

bool Shell::run_one(const std::string& statement) {
    const Result<Client::Outcome> answered = post(statement, silence_max_ms(options_));
    if (!answered) {
        console_.say("cancelled");
        return false;
    }
    const Client::Outcome& outcome = answered.value();
    if (!outcome.ok()) {
        report_problem(console_, outcome.problem, statement, 1);
        return false;
    }
    const Result<RowSet> rows = parse_sql_answer(outcome.answer.body);
    if (!rows) {
        console_.error(rows.error().detail);
        return false;
    }
    if (rows.value().names.empty()) catalog_is_old_ = true;  // it was DDL
    if (options_.format == OutputFormat::json) console_.write(outcome.answer.body);
    show_rows(console_, rows.value(), options_.format);
    console_.flush();
    return true;
}

void Shell::run_statements() {
    const std::string script = std::exchange(typed_, {});
    for (const std::string& statement : sql::split_statements(script)) {
        if (!run_one(statement)) return;
    }
}

bool Shell::obey(const std::string& words) {
    const std::size_t gap = std::min(words.find(' '), words.size());
    const std::string word = words.substr(0, gap);
    const std::size_t from = words.find_first_not_of(' ', gap);
    std::string rest = from == std::string::npos ? std::string() : words.substr(from);
    while (!rest.empty() && (rest.back() == ' ' || rest.back() == ';'))
        rest.pop_back();
    if (word == "\\q") return false;
    if (word == "\\c") {
        typed_.clear();
    } else if (word == "\\?" || word == "\\h") {
        std::fputs(shell_help, console_.err);
    } else if (word == "\\d" && rest.empty()) {
        run_one(
            "SELECT name, 'stream' AS kind, events AS rows FROM sys.streams UNION ALL "
            "SELECT name, 'view of ' || stream, rows FROM sys.views ORDER BY 1");
        console_.say("and the tables sys.streams, sys.counters, sys.views, sys.watermarks, sys.config");
    } else if (word == "\\d") {
        const Result<Client::Outcome> answered =
            post("SELECT * FROM " + sql::quoted_if_needed(rest) + " LIMIT 0", silence_max_ms(options_));
        if (!answered) return true;
        if (!answered.value().ok()) {
            console_.error(printable(answered.value().problem.detail), "\\d");
            return true;
        }
        if (const Result<RowSet> rows = parse_sql_answer(answered.value().answer.body)) {
            RowSet columns;
            columns.names = {"column", "type"};
            columns.types = {"TEXT", "TEXT"};
            for (std::size_t i = 0; i < rows.value().names.size(); ++i) {
                const std::string type = i < rows.value().types.size() ? rows.value().types[i] : "";
                columns.rows.push_back({{Cell::Kind::text, rows.value().names[i]}, {Cell::Kind::text, type}});
            }
            console_.write(format_table(columns, 0));
            console_.flush();
        }
    } else if (word == "\\f") {
        const Result<OutputFormat> format = parse_output_format(rest);
        if (format) {
            options_.format = format.value();
        } else {
            console_.error("\\f takes table, json, ndjson or csv, not \"" + printable(rest) + "\"");
        }
    } else {
        console_.error("there is no command " + printable(word), "\\?");
    }
    return true;
}

void Shell::keep(LineEditor& editor, const std::string& text) {
    editor.remember(text);
    const Status kept = history_.add(text);
    if (!kept && !std::exchange(history_failed_, true)) console_.say("warning: no history: " + kept.error().detail);
}

bool Shell::take_line(LineEditor& editor, const std::string& line) {
    const std::size_t first = line.find_first_not_of(" \t");
    if (typed_.empty()) {
        if (first == std::string::npos) return true;
        std::string word = sql::lower_ascii(line.substr(first));
        while (!word.empty() && (word.back() == ';' || word.back() == ' '))
            word.pop_back();
        if (word == "exit" || word == "quit") return false;
        if (word == "help") return obey("\\?");
    }
    if (first != std::string::npos && line[first] == '\\') {
        const std::string words = line.substr(first);
        if (typed_.empty()) keep(editor, words);
        return obey(words);
    }
    if (typed_.size() + line.size() > statement_bytes_max) {
        typed_.clear();
        console_.error("a statement may have 16 MiB", "weir sql -f FILE");
        return true;
    }
    typed_ += line + '\n';
    if (!ends_statement(typed_)) return true;
    keep(editor, typed_.substr(0, typed_.size() - 1));
    run_statements();
    return true;
}

Exit Shell::run() {
    if (const Problem problem = read_catalog(); problem.exit != Exit::ok) {
        report_problem(console_, problem, "", 1);
        return problem.exit;
    }
    Result<LineEditor> opened = LineEditor::open(stdin, console_.out, console_.err, signals_,
                                                 [this](std::string_view line) { return complete(line); });
    if (!opened) {
        console_.error(opened.error().detail, "weir sql 'SHOW STREAMS'");
        return Exit::failed;
    }
    LineEditor editor = std::move(opened).value();
    for (const std::string& entry : history_.entries())
        editor.remember(entry);
    console_.say("weir " WEIR_VERSION " at " + server_.address.text() + "   \\? for help, Ctrl-D to leave");
    for (;;) {
        std::string line;
        switch (editor.read(typed_.empty() ? "weir> " : "  ... ", line)) {
            case LineEditor::Read::line:
                if (!take_line(editor, line)) return Exit::ok;
                break;
            case LineEditor::Read::interrupted:
                typed_.clear();
                break;
            case LineEditor::Read::ended:
                return Exit::ok;
        }
    }
}

}  // namespace

Result<Client::Outcome> post_until(const ServerChoice& server, const std::string& path, const std::string& content_type,
                                   const std::string& body, std::int64_t silence_max_ms, os::StopSignals& signals) {
    Client::Outcome outcome;
    Result<Pipe> connected = Pipe::connect(server.address, connect_within_ms);
    if (!connected) {
        outcome.problem = cannot_reach(server.address, connected.error().detail);
        return outcome;
    }
    Pipe pipe = std::move(connected).value();
    const std::string request = request_head(server, path, content_type, body.size()) + body;
    AnswerParser parser;
    std::size_t sent = 0;
    const auto lost = [&](const Error& error) {
        outcome.problem = Problem{Exit::timeout, 0, "", server.address.text() + ": " + error.detail, -1};
        return outcome;
    };
    for (;;) {
        const bool sending = sent < request.size();
        pollfd waits[2] = {{pipe.fd(), static_cast<short>(sending ? POLLIN | POLLOUT : POLLIN), 0},
                           {signals.fd(), POLLIN, 0}};
        const int ready = ::poll(waits, 2, static_cast<int>(silence_max_ms));
        if (ready == 0)
            return lost(
                Error{Errc::timed_out, "no answer within " + people_duration_ms(static_cast<double>(silence_max_ms))});
        if (waits[1].revents != 0) {
            TRY(signals.wait(0));
            return Error{Errc::cancelled, "cancelled"};
        }
        if (sending && (waits[0].revents & POLLOUT) != 0) {
            const Result<std::size_t> wrote = pipe.write(std::string_view(request).substr(sent));
            if (!wrote) return lost(wrote.error());
            sent += wrote.value();
        }
        if ((waits[0].revents & ~POLLOUT) == 0) continue;
        const Result<bool> read = pipe.read_into(parser);
        if (!read) return lost(read.error());
        PipeAnswer answer;
        const Result<bool> whole = parser.next(answer);
        if (!whole) return lost(whole.error());
        if (!whole.value()) continue;
        outcome.answered = true;
        outcome.answer = {answer.status, std::move(answer.body), answer.retry_after_s};
        judge(server.address, true, outcome);
        return outcome;
    }
}

Exit run_sql_shell(const Console& console, const ServerChoice& server, const SqlOptions& options,
                   const std::string& history_file, os::StopSignals& signals) {
    return Shell(console, server, options, history_file, signals).run();
}

}  // namespace weir::node
