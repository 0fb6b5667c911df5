#include "fakes.h"
#include "http/detail/authenticator.h"
#include "http/detail/routes.h"

#include <catch2/catch_test_macros.hpp>

#include <map>

using namespace weir;
using namespace weir::http;
using namespace weir::http::test;

namespace {

ApiKey key(const char* name, Role role, std::string_view secret) {
    return {name, os::Sha256().of(secret), role};
}

std::vector<ApiKey> three_keys() {
    return {key("r", Role::reader, "read-me"), key("w", Role::writer, "write-me"), key("a", Role::admin, "own-me")};
}

std::string bearer(std::string_view secret) {
    return secret.empty() ? std::string() : "Authorization: Bearer " + std::string(secret) + "\r\n";
}

double failures(const obs::Metrics& metrics, const std::string& reason) {
    const std::string text = metrics.text();
    const std::string line = "weir_auth_failures_total{reason=\"" + reason + "\"} ";
    const std::size_t at = text.find(line);
    return at == std::string::npos ? -1 : std::atof(text.c_str() + at + line.size());
}

}  // namespace

TEST_CASE("roles have names, and each may what the ones before it may") {
    for (const Role role : {Role::reader, Role::writer, Role::admin})
        CHECK(parse_role(role_name(role)) == role);
    for (const char* none : {"", "root", "Admin", "readers"})
        CHECK_FALSE(parse_role(none));
    CHECK(Role::reader < Role::writer);
    CHECK(Role::writer < Role::admin);
}

TEST_CASE("what a request presents, and what comes of it") {
    FakeClock clock;
    obs::Metrics metrics;
    Authenticator auth(three_keys(), metrics, clock);
    const auto f = [&](std::size_t fields, std::string_view field, Permission needs, int want, const char* challenge,
                       const char* name) {
        RequestHead head;
        head.authorizations = fields;
        head.authorization = field;
        Caller caller;
        const auto problem = auth.check(
            head, needs, "/x", [] { return std::string("peer"); }, caller);
        INFO(field << " " << static_cast<int>(needs));
        CHECK((problem ? problem->status : 200) == want);
        CHECK((problem ? problem->authenticate : "") == challenge);
        CHECK(caller.name == name);
    };
    const char* const none = "Bearer realm=\"weir\"";
    const char* const malformed = "Bearer realm=\"weir\", error=\"invalid_request\"";
    const char* const wrong = "Bearer realm=\"weir\", error=\"invalid_token\"";
    f(0, "", Permission::read, 401, none, "");
    f(0, "", Permission::open, 200, "", "");
    f(1, "Bearer nonsense", Permission::open, 200, "", "");  // an orchestrator's probe needs no good key
    f(1, "Bearer read-me", Permission::read, 200, "", "r");
    f(1, "bearer read-me", Permission::read, 200, "", "r");
    f(1, "BEARER \t read-me \t", Permission::read, 200, "", "r");
    f(1, "Bearer write-me", Permission::read, 200, "", "w");
    f(1, "Bearer write-me", Permission::write, 200, "", "w");
    f(1, "Bearer own-me", Permission::write, 200, "", "a");
    f(1, "Bearer read-me", Permission::write, 403,
      "Bearer realm=\"weir\", error=\"insufficient_scope\", scope=\"writer\"", "r");
    f(2, "Bearer read-me", Permission::read, 401, malformed, "");
    f(1, "Basic cmVhZC1tZTo=", Permission::read, 401, malformed, "");
    f(1, "Bearer", Permission::read, 401, malformed, "");
    f(1, "Bearerread-me", Permission::read, 401, malformed, "");
    f(1, "read-me", Permission::read, 401, malformed, "");
    f(1, "", Permission::read, 401, malformed, "");
    f(1, "Bearer read-me2", Permission::read, 401, wrong, "");
    f(1, "Bearer read-m", Permission::read, 401, wrong, "");
    f(1, "Bearer READ-ME", Permission::read, 401, wrong, "");
    f(1, "Bearer " + os::hex_of(os::Sha256().of("read-me")), Permission::read, 401, wrong, "");
    f(1, "Bearer " + std::string(key_bytes_max + 1, 'x'), Permission::read, 401, wrong, "");
    CHECK(failures(metrics, "missing") == 1);
    CHECK(failures(metrics, "malformed") == 6);
    CHECK(failures(metrics, "wrong_key") == 5);
    CHECK(failures(metrics, "role") == 1);
}

TEST_CASE("a key as long as a key may be") {
    FakeClock clock;
    obs::Metrics metrics;
    const std::string longest(key_bytes_max, 'k');
    Authenticator auth({key("long", Role::reader, longest), key("longer", Role::reader, longest + 'k')}, metrics,
                       clock);
    const auto who = [&](const std::string& secret) {
        const std::string field = "Bearer " + secret;
        RequestHead head;
        head.authorizations = 1;
        head.authorization = field;
        Caller caller;
        (void)auth.check(
            head, Permission::read, "/x", [] { return std::string(); }, caller);
        return std::string(caller.name);
    };
    CHECK(who(longest) == "long");
    CHECK(who(longest + 'k').empty());
}

TEST_CASE("without keys everybody is an admin") {
    FakeClock clock;
    obs::Metrics metrics;
    Authenticator auth({}, metrics, clock);
    RequestHead head;
    head.authorizations = 1;
    head.authorization = "Bearer whatever";
    Caller caller;
    CHECK_FALSE(auth.check(
        head, Permission::write, "/x", [] { return std::string(); }, caller));
    CHECK(caller.role == Role::admin);
    CHECK_FALSE(auth.demand(caller, Role::admin, "everything"));
}

TEST_CASE("every route x every role: 401, 403 or an answer") {
    ServerOptions options;
    options.keys = three_keys();
    Door door(options);
    // From whom on each route answers. A route that is not listed here fails the test.
    const std::map<RouteId, std::string> from{
        {RouteId::ingest, "w"},  {RouteId::sql, "r"},       {RouteId::streams, "r"}, {RouteId::stream, "r"},
        {RouteId::events, "r"},  {RouteId::views, "r"},     {RouteId::cluster, "r"}, {RouteId::metrics, "r"},
        {RouteId::tail, "r"},    {RouteId::view_tail, "r"}, {RouteId::socket, "r"},  {RouteId::history, "r"},
        {RouteId::livez, "all"}, {RouteId::readyz, "all"},  {RouteId::home, "r"}};
    const std::string order = "rwa";
    for (const Route& route : routes) {
        std::string target(route.pattern);
        if (const std::size_t open = target.find('{'); open != std::string::npos)
            target.replace(open, target.find('}') + 1 - open, "clicks");
        const auto ask = [&](const std::string& fields, std::string_view method) {
            std::string all = fields + "Content-Type: text/plain\r\n";
            if (route.id == RouteId::ingest) all = fields + "Content-Type: application/json\r\n";
            const bool posts = method == "POST";
            Client client = door.client();
            client.send(request(method, target, all, route.id == RouteId::sql ? "SELECT 1" : posts ? "{}" : ""));
            return client.receive(method == "HEAD" || route.place == Place::live);  // a tail does not end
        };
        const auto found = from.find(route.id);
        INFO(route.method << " " << target);
        REQUIRE(found != from.end());
        for (const std::string secret : {"", "nonsense", "read-me", "write-me", "own-me"}) {
            const std::size_t role = secret == "read-me" ? 0 : secret == "write-me" ? 1 : secret == "own-me" ? 2 : 9;
            const bool is_open = found->second == "all";
            const int want = is_open ? 200 : role == 9 ? 401 : role < order.find(found->second) ? 403 : 200;
            const Response r = ask(bearer(secret), route.method);
            INFO(secret << " " << r.head << r.body);
            // Behind the key the fakes may say anything else, but never this.
            CHECK((want == 200 ? r.status != 401 && r.status != 403 : r.status == want));
            CHECK(r.field("WWW-Authenticate").empty() == (want == 200));
            CHECK((secret.empty() || (r.head + r.body).find(secret) == std::string::npos));
            if (want == 200) continue;
            CHECK(r.field("Content-Type") == "application/problem+json");
            if (route.place == Place::live) continue;  // its body was not read
            CHECK(has(r.body, want == 401 ? "\"code\":\"unauthorised\"" : "\"code\":\"forbidden\""));
            if (want == 403) CHECK(has(r.body, "needs the role writer; this key (r) is a reader"));
            if (route.method == "GET") CHECK(ask(bearer(secret), "HEAD").status == want);
        }
    }
    CHECK(door.catalog.shard.bodies.size() == 2);  // of the writer and the admin
}

TEST_CASE("who has no key learns nothing of what is here") {
    ServerOptions options;
    options.keys = three_keys();
    options.origins = {"https://app.example"};
    Door door(options);
    const auto status = [&](std::string_view method, std::string_view target, const std::string& fields) {
        return door.ask(request(method, target, fields)).status;
    };
    for (const char* target : {"/nothing", "/v1/streams/nowhere", "/v1/sql", "/../etc", "/v1/streams/%zz/events"}) {
        INFO(target);
        CHECK(status("DELETE", target, "") == 401);
        CHECK(status("GET", target, "") == 401);
    }
    CHECK(status("GET", "/nothing", bearer("read-me")) == 404);
    CHECK(status("DELETE", "/v1/sql", bearer("read-me")) == 405);
    // Where the request comes from counts first; a preflight cannot carry a key.
    CHECK(status("GET", "/v1/streams", "Origin: http://evil.example\r\n") == 403);
    CHECK(status("GET", "/v1/streams", "Origin: http://evil.example\r\n" + bearer("own-me")) == 403);
    const Response preflight = door.ask(request("OPTIONS", "/v1/sql", "Origin: https://app.example\r\n"));
    CHECK(preflight.status == 204);
    CHECK(has(preflight.field("Access-Control-Allow-Headers"), "Authorization"));
    const Response refused = door.ask(request("GET", "/v1/streams", "Origin: https://app.example\r\n"));
    CHECK(refused.status == 401);
    CHECK(refused.field("Access-Control-Allow-Origin") == "https://app.example");
}

TEST_CASE("a request without a key costs neither its body nor its connection's order") {
    ServerOptions options;
    options.keys = three_keys();
    Door door(options);
    Client client = door.client();
    // A small body is read past; what is pipelined behind it is answered, each by its own key.
    client.send(post("clicks", "{\"n\":1}") + post("clicks", "{\"n\":2}", "application/json", bearer("write-me")) +
                post("clicks", "{\"n\":3}", "application/json", bearer("read-me")));
    CHECK(client.receive().status == 401);
    CHECK(client.receive().status == 200);
    CHECK(client.receive().status == 403);
    CHECK(door.catalog.shard.bodies == std::vector<std::string>{"{\"n\":2}"});
    // A large one, or one that waits to be asked for, is not.
    for (const char* fields : {"Content-Length: 50000000\r\n", "Content-Length: 5\r\nExpect: 100-continue\r\n"}) {
        Client large = door.client();
        const Response r =
            large.ask("POST /v1/streams/clicks/events HTTP/1.1\r\nHost: localhost\r\n" + std::string(fields) + "\r\n");
        CHECK(r.status == 401);
        CHECK(r.field("Connection") == "close");
    }
}

TEST_CASE("statements want roles: definitions an admin, and limits above the defaults too") {
    ServerOptions options;
    options.keys = three_keys();
    Door door(options);
    const auto f = [&](const char* secret, std::string_view statement, std::string_view query, int want,
                       std::string_view part) {
        const Response r = door.ask(request("POST", "/v1/sql" + std::string(query),
                                            bearer(secret) + "Content-Type: text/plain\r\n", statement));
        INFO(secret << " " << statement << query << r.head << r.body);
        CHECK(r.status == want);
        CHECK(has(r.body, part));
        CHECK(r.field("WWW-Authenticate").empty() == (want != 403));
    };
    for (const char* statement : {"CREATE STREAM s (a TEXT)", "ALTER STREAM clicks SET RETAIN 1d", "DROP STREAM clicks",
                                  "CREATE MATERIALIZED VIEW v AS SELECT window_start, count(*) FROM TUMBLE(clicks, 1h) "
                                  "GROUP BY window_start"}) {
        f("read-me", statement, "", 403, "needs the role admin; this key (r) is a reader");
        f("write-me", statement, "", 403, "needs the role admin; this key (w) is a writer");
        f("own-me", statement, "", 200, "applied_index");
    }
    for (const char* secret : {"read-me", "write-me", "own-me"}) {
        f(secret, "SELECT 1", "", 200, "rows");
        f(secret, "SHOW STREAMS", "", 200, "rows");
        f(secret, "SELECT 1", "?max_rows=10000&timeout_ms=10000", 200, "rows");
        f(secret, "SELEC", "", 400, "sql_error");
    }
    f("read-me", "SELECT 1", "?max_rows=10001", 403, "max_rows above 10000 needs the role admin");
    f("write-me", "SHOW VIEWS", "?timeout_ms=10001", 403, "timeout_ms above 10000 needs the role admin");
    f("own-me", "SELECT 1", "?max_rows=1000000&timeout_ms=60000", 200, "rows");
    CHECK(door.pool.last().rows_max == 1'000'000);
    CHECK(failures(door.metrics, "role") == 10);
    // Without keys there are no roles.
    Door open;
    CHECK(open.ask(request("POST", "/v1/sql?max_rows=1000000", "Content-Type: text/plain\r\n", "SELECT 1")).status ==
          200);
}
