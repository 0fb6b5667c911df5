#include "node/inspect.h"

#include "node/detail/json.h"

#include <algorithm>
#include <poll.h>

namespace weir::node {
namespace {

constexpr std::int64_t rate_over_ms = 1000;
constexpr std::int64_t answer_timeout_ms = 15'000;  // Ctrl-C is looked at between requests

Exit report(const Console& console, const Problem& problem) {
    console.error(printable(problem.detail), problem.exit == Exit::unreachable ? "weir serve" : "");
    return problem.exit;
}

Cell cell_of(const Json& value) {
    if (value.is_null()) return {};
    if (value.is_string()) return {Cell::Kind::text, value.get<std::string>()};
    return {value.is_number() ? Cell::Kind::number : Cell::Kind::json, to_text(value)};
}

void show_rows(const Console& console, const RowSet& rows, OutputFormat format) {
    switch (format) {
        case OutputFormat::table:
            console.write(format_table(rows, 0));
            break;
        case OutputFormat::json:
        case OutputFormat::ndjson:
            console.write(format_ndjson(rows));
            break;
        case OutputFormat::csv:
            console.write(format_csv(rows));
            break;
    }
}

std::string plain_text(const Json& value) {
    return printable(value.is_string() ? string_of(value) : to_text(value));
}

// name -> flat cells of one stream. Nested objects give their members (counters), lists their length.
std::vector<std::pair<std::string, Cell>> flatten(const Json& stream) {
    std::vector<std::pair<std::string, Cell>> cells;
    for (const auto& [key, value] : stream.items()) {
        if (value.is_object()) {
            if (key != "counters") continue;
            for (const auto& [inner, count] : value.items())
                cells.emplace_back(inner, cell_of(count));
        } else if (value.is_array()) {
            cells.emplace_back(key, Cell{Cell::Kind::number, std::to_string(value.size())});
        } else {
            cells.emplace_back(key, cell_of(value));
        }
    }
    return cells;
}

std::int64_t sum_of(const RowSet& rows, const char* name) {
    const auto column = std::ranges::find(rows.names, name);
    if (column == rows.names.end()) return -1;
    const auto at = static_cast<std::size_t>(column - rows.names.begin());
    std::int64_t sum = 0;
    for (const auto& row : rows.rows) {
        if (row[at].kind == Cell::Kind::number) sum += std::strtoll(row[at].text.c_str(), nullptr, 10);
    }
    return sum;
}

RowSet streams_of(Client& client) {
    const Client::Outcome answer = client.get("/v1/streams?limit=1000");
    if (!answer.ok()) return {};
    Result<RowSet> rows = parse_stream_list(answer.answer.body);
    return rows ? std::move(rows).value() : RowSet();
}

RowSet views_of(Client& client) {
    const Client::Outcome answer = client.post("/v1/sql", "text/plain", "SHOW VIEWS");
    if (!answer.ok()) return {};
    Result<RowSet> rows = parse_sql_answer(answer.answer.body);
    return rows ? std::move(rows).value() : RowSet();
}

std::string array_of(const RowSet& rows) {
    std::string lines = format_ndjson(rows);
    std::string out = "[";
    for (std::size_t at = 0; at < lines.size();) {
        const std::size_t end = lines.find('\n', at);
        if (at > 0) out += ',';
        out += lines.substr(at, end - at);
        at = end + 1;
    }
    return out + "]";
}

}  // namespace

Result<RowSet> parse_stream_list(std::string_view body) {
    const Result<Json> parsed = parse_json(body);
    const Error wrong{Errc::corrupt, "the server's answer is not a list of streams"};
    if (!parsed) return wrong;
    const Json& list = parsed.value().is_array() ? parsed.value() : member(parsed.value(), "streams");
    if (!list.is_array()) return wrong;
    RowSet rows;
    for (const Json& stream : list) {
        if (!stream.is_object()) return wrong;
        const auto cells = flatten(stream);
        if (rows.names.empty()) {
            for (const auto& [name, cell] : cells)
                rows.names.push_back(name);
        }
        std::vector<Cell> row;
        for (const std::string& name : rows.names) {
            const auto found = std::ranges::find(cells, name, &std::pair<std::string, Cell>::first);
            row.push_back(found == cells.end() ? Cell() : found->second);
        }
        rows.rows.push_back(std::move(row));
    }
    return rows;
}

Exit run_stream_list(const Console& console, Client& client, const std::string& prefix, OutputFormat format) {
    std::string path = "/v1/streams?limit=1000";
    if (!prefix.empty()) path += "&prefix=" + url_escape(prefix);
    const Client::Outcome answer = client.get(path);
    if (!answer.ok()) return report(console, answer.problem);
    if (format == OutputFormat::json) {
        std::string body = answer.answer.body;
        if (!body.ends_with('\n')) body += '\n';
        console.write(body);
        console.flush();
        return Exit::ok;
    }
    const Result<RowSet> rows = parse_stream_list(answer.answer.body);
    if (!rows) {
        console.error(rows.error().detail);
        return Exit::failed;
    }
    show_rows(console, rows.value(), format);
    console.flush();
    if (rows.value().rows.empty() && !prefix.empty() && format == OutputFormat::table) {
        console.say("no stream begins with \"" + printable(prefix) + "\"");
    } else if (rows.value().rows.empty() && format == OutputFormat::table) {
        console.say("there is no stream yet; the first event makes one:");
        console.say("  curl -d '{\"hello\":\"world\"}' " + client.choice().address.text() + "/v1/streams/test/events");
    }
    return Exit::ok;
}

Exit run_stream_info(const Console& console, Client& client, const std::string& name, OutputFormat format) {
    const Client::Outcome answer = client.get("/v1/streams/" + url_escape(name));
    if (!answer.ok()) return report(console, answer.problem);
    const Result<Json> parsed = parse_json(answer.answer.body);
    if (format != OutputFormat::table || !parsed || !parsed.value().is_object()) {
        console.write(answer.answer.body + (answer.answer.body.ends_with('\n') ? "" : "\n"));
        console.flush();
        return Exit::ok;
    }
    std::vector<std::pair<std::string, std::string>> facts;
    std::string tables;
    for (const auto& [key, value] : parsed.value().items()) {
        if (value.is_array() && !value.empty() && value.front().is_object()) {
            RowSet rows;
            for (const auto& [column, unused] : value.front().items())
                rows.names.push_back(column);
            for (const Json& item : value) {
                std::vector<Cell> row;
                for (const std::string& column : rows.names)
                    row.push_back(cell_of(member(item, column.c_str())));
                rows.rows.push_back(std::move(row));
            }
            tables += "\n" + printable(key) + "\n" + format_table(rows, 0);
        } else if (value.is_object()) {
            for (const auto& [inner, item] : value.items()) {
                facts.emplace_back(printable(key) + "." + printable(inner), plain_text(item));
            }
        } else {
            facts.emplace_back(printable(key), plain_text(value));
        }
    }
    std::size_t widest = 0;
    for (const auto& fact : facts)
        widest = std::max(widest, fact.first.size());
    std::string text;
    for (auto& [label, value] : facts) {
        label.resize(widest + 2, ' ');
        text += label + value + "\n";
    }
    console.write(text + tables);
    console.flush();
    return Exit::ok;
}

Exit run_status(const Console& console, Client& client, OutputFormat format, int stop_fd) {
    client.set_read_timeout_ms(answer_timeout_ms);
    const Client::Outcome ready = client.get("/readyz");
    if (!ready.answered || !ready.is_weir) return report(console, ready.problem);
    // Many programs answer /readyz; the list of streams tells weir from them. It wants a key, too, where there are
    // keys.
    const Client::Outcome list = client.get("/v1/streams?limit=1");
    const bool has_no_key = list.problem.exit == Exit::unauthorised;
    if (list.answered && !list.ok() && (!list.is_weir || has_no_key)) return report(console, list.problem);
    const std::int64_t start_us = console.clock->monotonic_us();
    const RowSet before = streams_of(client);
    pollfd stop{stop_fd, POLLIN, 0};
    ::poll(&stop, 1, static_cast<int>(rate_over_ms));
    const RowSet streams = streams_of(client);
    const RowSet views = views_of(client);
    const double seconds = std::max(0.001, static_cast<double>(console.clock->monotonic_us() - start_us) / 1e6);

    const auto rate_of = [&](const char* counter) {
        const std::int64_t first = sum_of(before, counter);
        const std::int64_t last = sum_of(streams, counter);
        return first < 0 || last < 0 ? -1.0 : static_cast<double>(std::max<std::int64_t>(0, last - first)) / seconds;
    };
    const double stored = rate_of("stored");
    const double duplicate = rate_of("duplicate");
    const double dead = rate_of("dead_lettered");
    const std::string address = client.choice().address.text();
    const Exit exit = ready.ok() ? Exit::ok : Exit::failed;
    if (format != OutputFormat::table) {
        Json out = Json::object();
        out["server"] = address;
        out["ready"] = ready.ok();
        if (!ready.ok()) out["reason"] = ready.problem.code;
        if (stored >= 0) out["stored_per_s"] = stored;
        if (duplicate >= 0) out["duplicate_per_s"] = duplicate;
        if (dead >= 0) out["dead_lettered_per_s"] = dead;
        std::string document = to_text(out);
        document.pop_back();
        console.write(document + ",\"streams\":" + array_of(streams) + ",\"views\":" + array_of(views) + "}\n");
        console.flush();
        return exit;
    }
    std::string head = address + "   " + (ready.ok() ? "ready" : "not ready: " + printable(ready.problem.detail)) +
                       "   " + people_count_of(static_cast<std::int64_t>(streams.rows.size()), "stream") + "   " +
                       people_count_of(static_cast<std::int64_t>(views.rows.size()), "view") + "\n";
    if (stored >= 0) {
        head += "ingest " + people_count(static_cast<std::int64_t>(stored)) + " ev/s";
        if (duplicate >= 0) head += "   duplicates " + people_count(static_cast<std::int64_t>(duplicate)) + " ev/s";
        if (dead >= 0) head += "   dead letters " + people_count(static_cast<std::int64_t>(dead)) + " ev/s";
        head += "\n";
    }
    console.write(head);
    if (!streams.rows.empty()) console.write("\n" + format_table(streams, 40));
    if (!views.rows.empty()) console.write("\n" + format_table(views, 40));
    console.flush();
    return exit;
}

}  // namespace weir::node
