#include "base/prng.h"
#include "sql/statement.h"

#include <catch2/catch_test_macros.hpp>

#include <algorithm>
#include <array>
#include <string>

using namespace weir;
using namespace weir::sql;

namespace {

// Everything a statement means, as one text to compare.
std::string meaning(const CreateStream& s) {
    std::string out = s.name + "|" + std::to_string(s.if_not_exists) + std::to_string(s.retain_ms) + "," +
                      std::to_string(s.retain_bytes);
    for (const record::Column& c : s.schema.columns) {
        out += "\n" + c.name + " " + std::string(record::type_name(c.type)) + (c.not_null ? " not null " : " ") +
               c.check_sql + " " + c.path_text;
        for (const record::PathStep& step : c.path)
            out += "/" + step.name + "#" + std::to_string(step.index);
    }
    const record::Schema& x = s.schema;
    for (const std::int64_t n : {std::int64_t{x.event_time}, x.delay_ms, x.idle_after_ms, x.max_future_ms,
                                 x.dedup_within_ms, std::int64_t{x.partition_by}, std::int64_t{x.partitions},
                                 std::int64_t{x.lenient}, static_cast<std::int64_t>(x.on_error)}) {
        out += "," + std::to_string(n);
    }
    for (const int key : x.dedup_key)
        out += ";" + std::to_string(key);
    return out;
}

std::string meaning(const CreateView& v) {
    std::string out = v.name + "|" + v.stream + "|" + std::to_string(v.if_not_exists) + "," +
                      std::to_string(v.window_ms) + "," + std::to_string(v.window_offset_ms) + "," +
                      std::to_string(v.lateness_ms) + "," + std::to_string(static_cast<int>(v.emit)) + "," +
                      std::to_string(v.emit_every_ms) + "|" + v.where_sql + "|" + v.having_sql;
    for (const HavingPiece& p : v.having)
        out += "\nhaving " + p.text + "|" + std::to_string(p.key) + "|" + std::to_string(p.aggregate);
    for (const ViewItem& i : v.having_aggregates)
        out += "\nits aggregate " + std::to_string(static_cast<int>(i.aggregate)) + "|" + i.argument_sql;
    for (const ViewKey& k : v.keys)
        out += "\nkey " + k.name + "|" + k.sql + "|" + std::to_string(static_cast<int>(k.kind));
    for (const ViewItem& i : v.items) {
        out += "\nitem " + i.name + "|" + std::to_string(i.is_aggregate) + std::to_string(i.key) + "|" +
               std::to_string(static_cast<int>(i.aggregate)) + "|" + i.argument_sql;
    }
    return out;
}

template <class T>
void round_trip(const T& statement) {
    const std::string text = canonical(statement);
    INFO(text);
    auto again = parse(text);
    if (!again) FAIL(again.error().detail);
    REQUIRE(std::holds_alternative<T>(again.value()));
    CHECK(meaning(std::get<T>(again.value())) == meaning(statement));
    CHECK(canonical(std::get<T>(again.value())) == text);
}

class Generator {
  public:
    explicit Generator(std::uint64_t seed) : prng_(seed) {}
    std::uint64_t below(std::uint64_t n) { return prng_.below(n); }
    bool coin() { return prng_.below(2) == 0; }

    std::string column_name(int i) {
        constexpr std::array<const char*, 8> odd = {"a b",   "order",       "Event", "x.y",
                                                    "group", "caf\xc3\xa9", "it's",  "window_start"};
        return coin() ? "c" + std::to_string(i) : odd[below(odd.size())] + std::to_string(i);
    }
    std::int64_t duration() {
        constexpr std::array<std::int64_t, 6> units = {1, 1000, 60'000, 3'600'000, 86'400'000, 604'800'000};
        return units[below(units.size())] * static_cast<std::int64_t>(1 + below(50));
    }
    std::string expression(const std::string& column) {
        const std::string c = "\"" + column + "\"";
        switch (below(6)) {
            case 0:
                return c + " > 0";
            case 1:
                return "lower(" + c + ") = 'it''s'";
            case 2:
                return c + " IS NOT DISTINCT FROM (1 + 2)";
            case 3:
                return "CASE WHEN " + c + " IN (1, 2) THEN 1 ELSE 0 END";
            case 4:
                return c + " NOT LIKE 'a%' ESCAPE '!' OR NOT " + c + " BETWEEN 1 AND 2";
            default:
                return c;
        }
    }

    CreateStream stream() {
        CreateStream s;
        s.name = coin() ? "s" : "my-stream.v" + std::to_string(below(9));
        s.if_not_exists = coin();
        const int columns = 1 + static_cast<int>(below(6));
        for (int i = 0; i < columns; ++i) {
            record::Column c;
            c.name = column_name(i);
            c.type = static_cast<record::ColumnType>(below(7));
            c.not_null = coin();
            if (coin()) c.check_sql = expression(c.name);
            c.path_text = "$.p.\"a.b\"[" + std::to_string(i) + "]";
            c.path = {{"p", -1}, {"a.b", -1}, {"", i}};
            s.schema.columns.push_back(std::move(c));
        }
        if (coin()) {
            s.schema.event_time = static_cast<int>(below(static_cast<std::uint64_t>(columns)));
            s.schema.columns[static_cast<std::size_t>(s.schema.event_time)].type = record::ColumnType::timestamp;
            s.schema.delay_ms = coin() ? 0 : duration();
            s.schema.max_future_ms = duration();
            if (coin()) s.schema.idle_after_ms = duration();
        }
        s.retain_ms = duration();
        if (coin()) s.retain_bytes = static_cast<std::int64_t>(1 + below(1 << 30)) * (coin() ? 1 : 1024);
        if (coin()) {
            for (int i = 0; i < columns; ++i) {
                if (coin() || i == 0) s.schema.dedup_key.push_back(i);
            }
            std::ranges::reverse(s.schema.dedup_key);
            s.schema.dedup_within_ms = s.retain_ms;
        }
        s.schema.partitions = static_cast<std::int32_t>(1 + below(256));
        if (coin()) s.schema.partition_by = static_cast<int>(below(static_cast<std::uint64_t>(columns)));
        s.schema.on_error = coin() ? record::OnError::reject : record::OnError::dead_letter;
        s.schema.lenient = coin();
        return s;
    }

    // As text, for a view's value has relations that only the parser makes.
    std::string view() {
        std::string items = "window_start", group = "window_start";
        const int keys = static_cast<int>(below(4));
        for (int i = 0; i < keys; ++i) {
            const std::string e = expression("k" + std::to_string(i));
            if (coin()) items += ", " + e + (coin() ? " AS \"n " + std::to_string(i) + "\"" : "");
            group += ", " + e;
        }
        if (coin()) items += ", window_end AS \"to\"";
        constexpr std::array<const char*, 9> calls = {"count(*)",          "count(a)",     "sum(a + 1)",
                                                      "min(lower(b))",     "max(\"c d\")", "avg(a)",
                                                      "count(DISTINCT a)", "first(b)",     "last(a || b)"};
        for (std::size_t i = 0; i < calls.size(); ++i) {
            if (coin()) items += std::string(", ") + calls[i] + (coin() ? " AS \"x " + std::to_string(i) + "\"" : "");
        }
        std::string text = "CREATE MATERIALIZED VIEW v AS SELECT " + items + " FROM TUMBLE(\"s-1\", 2h)";
        if (coin()) text += coin() ? " OFFSET 5m" : " OFFSET -5m";
        if (coin()) text += " WHERE /* here */ " + expression("w");
        text += " GROUP BY " + group;
        if (coin()) text += " HAVING count(DISTINCT a) > 3 AND max(b) <> window_end OR window_start IS NULL";
        if (coin()) text += coin() ? " EMIT CHANGES" : coin() ? " EMIT CHANGES EVERY 90s" : " EMIT FINAL";
        if (coin()) text += " LATENESS 90s";
        return text;
    }

  private:
    Prng prng_;
};

}  // namespace

TEST_CASE("canonical: golden") {
    const auto text = [](std::string_view sql) {
        const Statement s = parse(sql).value();
        if (std::holds_alternative<CreateStream>(s)) return canonical(std::get<CreateStream>(s));
        return canonical(std::get<CreateView>(s));
    };
    CHECK(text("create stream s (a text, \"order\" integer not null check(a>1) from '$.o', t timestamp, event time t) "
               "retain 48h max 1024MiB") ==
          "CREATE STREAM s (a TEXT, \"order\" INTEGER NOT NULL CHECK (a>1) FROM '$.o', t TIMESTAMP, EVENT TIME t DELAY "
          "0s MAX FUTURE 1h) "
          "PARTITIONS 4 RETAIN 2d MAX 1GiB ON ERROR DEAD LETTER");
    CHECK(text("create materialized view v as select 1+a, window_start, sum(b) from tumble(s,60m) group by 2,1") ==
          "CREATE MATERIALIZED VIEW v AS SELECT 1+a AS \"1+a\", window_start AS window_start, sum(b) AS \"sum(b)\" "
          "FROM TUMBLE(s, 1h) "
          "GROUP BY window_start, 1+a LATENESS 0s EMIT CHANGES");
    CHECK(text("create materialized view v as select window_start, first(a), count( distinct b) n from tumble(s,60m) "
               "group by 1 emit final having n>3 and last(a)>first(a) lateness 60s") ==
          "CREATE MATERIALIZED VIEW v AS SELECT window_start AS window_start, first(a) AS \"first(a)\", "
          "count(DISTINCT b) AS n FROM TUMBLE(s, 1h) GROUP BY window_start HAVING n>3 and last(a)>first(a) "
          "LATENESS 1m EMIT FINAL");
    CHECK(text("create materialized view v as select window_start from tumble(s,60m) group by 1 "
               "emit changes every 1500ms") ==
          "CREATE MATERIALIZED VIEW v AS SELECT window_start AS window_start FROM TUMBLE(s, 1h) "
          "GROUP BY window_start LATENESS 0s EMIT CHANGES EVERY 1500ms");
}

TEST_CASE("canonical: a CHECK compares times, once and for all") {
    const auto check = [](const std::string& column, const std::string& want) {
        INFO(column);
        // The columns behind are known to it, as are the ones that every stream has.
        auto parsed = parse("CREATE STREAM s (a TEXT CHECK (a <> 'x'), check TEXT, " + column +
                            ", t TIMESTAMP, DEDUP KEY (check) WITHIN 1h)");
        if (!parsed) FAIL(parsed.error().detail);
        const auto& stream = std::get<CreateStream>(parsed.value());
        CHECK(stream.schema.columns[0].check_sql == "a <> 'x'");
        CHECK(stream.schema.columns[2].check_sql == want);
        round_trip(stream);
    };
    check("c TIMESTAMP CHECK (c > '2015-01-01')", "c > weir_time('2015-01-01')");
    check("c TIMESTAMP CHECK (c > weir_time('2015-01-01'))", "c > weir_time('2015-01-01')");
    check("c TIMESTAMP NOT NULL CHECK ( '2015-01-01'  < (C)\n AND s.t IN ('2015-01-02') ) FROM '$.check'",
          "weir_time('2015-01-01') < (C) AND s.t IN (weir_time('2015-01-02'))");
    check("c TEXT CHECK (t BETWEEN '2015-01-01' AND '2016-01-01' OR c = '2015-01-01')",
          "t BETWEEN weir_time('2015-01-01') AND weir_time('2016-01-01') OR c = '2015-01-01'");
    check("c TIMESTAMP CHECK (c = '2015-01-01' = 'x')", "c = weir_time('2015-01-01') = 'x'");
    check("c INTEGER CHECK (check ('x'))", "check ('x')");
    check("c INTEGER CHECK (_append_time > '2015-01-01')", "_append_time > weir_time('2015-01-01')");
    check("c TIMESTAMP CHECK (c > 5)", "c > 5");

    // Written out it may be too long to be read again.
    const auto times = [](int count) {
        std::string list = "'2015-01-01'";
        for (int i = 1; i < count; ++i)
            list += ",'2015-01-01'";
        return parse("CREATE STREAM s (c TIMESTAMP CHECK (c IN (" + list + ")))");
    };
    round_trip(std::get<CreateStream>(times(4'000).value()));
    CHECK(times(4'200).error().code == Errc::too_large);
}

TEST_CASE("canonical: parse(canonical(x)) == x for random statements") {
    for (std::uint64_t seed = 0; seed < 400; ++seed) {
        CAPTURE(seed);
        Generator generator(seed);
        round_trip(generator.stream());
        const std::string text = generator.view();
        INFO(text);
        auto view = parse(text);
        if (!view) FAIL(view.error().detail);
        round_trip(std::get<CreateView>(view.value()));
    }
}
