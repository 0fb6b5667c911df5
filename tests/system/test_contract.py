"""The outside contract, sentence by sentence: each test repeats what it shows."""
import collections
import gzip
import http.client
import json
import random
import re
import threading

from harness import Server, counters, example_lines, problem, wait_for


def ndjson(events):
    return "\n".join(event if isinstance(event, str) else json.dumps(event) for event in events)


def reasons_of(answer):
    return [(e["index"], e["code"]) for e in answer["errors"]]


def murmur2(data):
    """Kafka's org.apache.kafka.common.utils.Utils.murmur2, made positive and cut to partitions by its caller."""
    mask, m = 0xFFFFFFFF, 0x5BD1E995
    h = (0x9747B28C ^ len(data)) & mask
    for i in range(0, len(data) // 4 * 4, 4):
        k = int.from_bytes(data[i:i + 4], "little") * m & mask
        k = (k ^ k >> 24) * m & mask
        h = h * m & mask ^ k
    tail = data[len(data) // 4 * 4:]
    if tail:
        h = (h ^ int.from_bytes(tail, "little")) * m & mask
    h = (h ^ h >> 13) * m & mask
    return (h ^ h >> 15) & mask


def test_contract_no_result_depends_on_the_cut_into_requests_with_little_lateness_either():
    """1, 37, 500 and the whole file over one connection: the same rows, late rows and REAL sums to the last bit, also with a
    kill -9 in between, and in a view that is made afterwards."""
    rng = random.Random(11)
    lines = [line for _, line in sorted((i + rng.uniform(0, 150), line) for i, line in enumerate(example_lines()[:700]))]
    views = {name: f"CREATE MATERIALIZED VIEW {name} AS SELECT window_start, method, count(*) AS n, sum(bytes / 7.0) AS s, "
                   "avg(bytes / 7.0) AS a, min(ts) AS first, max(ts) AS last FROM TUMBLE(access, 10m) GROUP BY window_start, method "
                   "LATENESS 5m" for name in ("live", "afterwards")}

    def run(size, kill=False):
        with Server() as server:
            server.create_access(lateness="5m")
            server.sql(views["live"])
            connection = http.client.HTTPConnection("127.0.0.1", server.port)
            for i in range(0, len(lines), size):
                if kill and i > len(lines) / 2:
                    kill = False
                    server.kill()
                    server.start()
                    connection = http.client.HTTPConnection("127.0.0.1", server.port)
                connection.request("POST", "/v1/streams/access/events", b"\n".join(lines[i:i + size]), {"Content-Type": "application/x-ndjson"})
                answer = connection.getresponse()
                answer.read()
                assert answer.status in (200, 400), answer.status
            server.sql(views["afterwards"])
            if size == 37:
                wait_for(lambda: ["afterwards", "live"] in server.sql("SELECT name, state FROM sys.views"), "the view is built")
            seen = []
            for view in ("access_1h", "live") + (("afterwards",) if size == 37 else ()):
                rows = server.sql(f"SELECT * FROM {view} ORDER BY 1, 2", max_rows=100000)
                late = sorted(map(repr, server.sql(f"SELECT * FROM {view}_late", max_rows=100000)))
                assert late and rows and sum(row[2] for row in rows) + len(late) == server.sql("SELECT count(*) FROM access")[0][0]
                seen.append((rows, late))
            if size == 37:
                assert seen[2] == seen[1], "a view over events that are there"
            return seen[:2]

    whole = run(len(lines))
    assert run(500) == whole
    assert run(37) == whole
    assert run(37, kill=True) == whole
    assert run(1) == whole


def test_contract_dedup_is_per_stream_over_all_partitions_and_the_first_in_log_order_wins():
    """Also over requests, entries, a checkpoint and a kill; the answer names the first one's partition and offset."""
    with Server() as server:
        server.sql("CREATE STREAM s (id TEXT, n INTEGER, u TEXT, status INTEGER, DEDUP KEY (id) WITHIN 1h) PARTITIONS 8 BY u")
        users = [f"u{i}" for i in range(8)]
        assert len({murmur2(u.encode()) % 0x80000000 % 8 for u in users}) > 3
        # In one request: the first line wins, wherever the others would have gone. A rejected line claims nothing.
        events = [{"id": "a", "u": u, "n": i} for i, u in enumerate(users)]
        events.insert(0, {"id": "a", "u": "u9", "status": "wrong"})
        status, answer = server.post("s", ndjson(events))
        assert (answer["accepted"], answer["duplicates"], answer["rejected"]) == (1, 7, 1), answer
        first = answer["partitions"][0]["partition"], answer["partitions"][0]["base_offset"]
        assert first[0] == (murmur2(b"u0") & 0x7FFFFFFF) % 8, first
        assert {(d["partition"], d["offset"]) for d in answer["duplicate_of"]} == {first}, answer
        assert [d["index"] for d in answer["duplicate_of"]] == list(range(2, 9)), answer
        # From other requests at the same time, each id by each of several senders to another partition: one wins, the others name it.
        answers = []

        def send(mine):
            for i in range(40):
                answers.append((i, server.post("s", json.dumps({"id": f"r{i}", "u": users[mine], "n": mine}))[1]))

        threads = [threading.Thread(target=send, args=(k,)) for k in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

        def check(answers):
            stored = {id: (p, o) for id, p, o in server.sql("SELECT id, _partition, _offset FROM s", max_rows=10000)}
            assert len(stored) == 41 and server.sql("SELECT count(*) FROM s")[0][0] == 41
            for i, answer in answers:
                named = answer["partitions"][0] if answer["accepted"] else answer["duplicate_of"][0]
                assert stored[f"r{i}"] == (named["partition"], named["base_offset" if answer["accepted"] else "offset"]), answer

        assert sum(answer["accepted"] for _, answer in answers) == 40 and len(answers) == 160
        check(answers)
        for end in (server.kill, server.stop):      # from the log, then from what the last checkpoint wrote
            end()
            server.start()
            again = [(i, server.post("s", json.dumps({"id": f"r{i}", "u": "another"}))[1]) for i in range(40)]
            assert not any(answer["accepted"] for _, answer in again)
            check(again)
        # Per stream, and by the typed key columns: "1" and 1 are one TEXT; an INTEGER is another key than its text in another column.
        assert server.post("other", '{"event_id":"a"}')[1]["accepted"] == 1
        assert server.post("s", '{"id":"1"}\n{"id":1}')[1]["duplicates"] == 1
        server.sql("CREATE STREAM k (a TEXT, n INTEGER, DEDUP KEY (a, n) WITHIN 1h)")
        status, answer = server.post("k", '{"a":"x","n":1}\n{"a":"x","n":2}\n{"n":1,"a":"\\u0078"}\n{"a":"x","n":-0}\n{"a":"x","n":0}')
        assert (answer["accepted"], [d["index"] for d in answer["duplicate_of"]]) == (3, [2, 4]), answer


def test_contract_the_partition_is_murmur2_of_the_by_columns_text_as_kafkas_java_client_computes_it():
    """Without BY the DEDUP KEY partitions; with neither: one partition per batch."""
    # What Kafka's own test of its Java client expects.
    for text, want in (("21", -973932308), ("foobar", -790332482), ("a-little-bit-long-string", -985981536),
                       ("a-little-bit-longer-string", -1486304829), ("lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58897971)):
        assert murmur2(text.encode()) == want & 0xFFFFFFFF, text
    keys = ["21", "foobar", "a-little-bit-longer-string", "", "é", "83.149.9.216", "日本"] + [str(i) for i in range(40)]
    with Server() as server:
        def places(stream, column):
            return {str(k): p for k, p in server.sql(f"SELECT {column}, _partition FROM {stream} WHERE {column} IS NOT NULL")}

        def want(text, partitions):
            return (murmur2(text.encode()) & 0x7FFFFFFF) % partitions

        server.sql("CREATE STREAM t (id TEXT, k TEXT, DEDUP KEY (id) WITHIN 1h) PARTITIONS 7 BY k")
        assert server.post("t", ndjson({"id": i, "k": k} for i, k in enumerate(keys)))[1]["accepted"] == len(keys)
        assert places("t", "k") == {k: want(k, 7) for k in keys}
        assert server.post("t", ndjson({"id": f"none{i}"} for i in range(20)))[1]["accepted"] == 20       # BY is null: its DEDUP KEY
        got = server.sql("SELECT id, _partition FROM t WHERE k IS NULL")
        assert len(got) == 20 and all(p == want(i, 7) for i, p in got), got
        server.sql("CREATE STREAM n (k INTEGER) PARTITIONS 5 BY k")
        server.post("n", ndjson({"k": k} for k in range(-30, 30)))
        assert places("n", "k") == {str(k): want(str(k), 5) for k in range(-30, 30)}
        server.sql("CREATE STREAM d (id TEXT, DEDUP KEY (id) WITHIN 1h) PARTITIONS 3")
        server.post("d", ndjson({"id": k} for k in keys))
        assert places("d", "id") == {k: want(k, 3) for k in keys}
        server.sql("CREATE STREAM b (x INTEGER) PARTITIONS 4")
        used = [server.post("b", ndjson({"x": x} for x in range(50)))[1]["partitions"] for _ in range(4)]
        assert all(len(p) == 1 and p[0]["count"] == 50 for p in used), used
        assert {p[0]["partition"] for p in used} == {0, 1, 2, 3}, used


def test_contract_retain_and_within_count_append_time():
    """Event time has no lower bound and expires nothing. Dead letters and late rows go with their events; a view's rows stay and are
    not recomputed; an id is new again after WITHIN, and offsets go on."""
    with Server() as server:
        columns = "(id TEXT, n INTEGER, ts TIMESTAMP, EVENT TIME ts, DEDUP KEY (id) WITHIN {}) PARTITIONS 2 RETAIN {}"
        server.sql("CREATE STREAM brief " + columns.format("1s", "1s"))
        server.sql("CREATE STREAM long " + columns.format("1h", "1h"))
        view = "CREATE MATERIALIZED VIEW {0}_v AS SELECT window_start, count(*) AS n, sum(n) AS total FROM TUMBLE({0}, 1h) GROUP BY window_start"
        lines = [{"id": str(i), "n": 1, "ts": "2001-01-01T10:00:00Z"} for i in range(20)]
        lines += [{"id": "late%d" % i, "n": 1, "ts": "0000-01-01T00:00:00Z" if i % 2 else -62135596800000} for i in range(20)]
        lines += ["bad", '{"id":"x"}']
        for stream in ("brief", "long"):
            server.sql(view.format(stream))
            assert server.post(stream, ndjson(lines))[1]["accepted"] == 40
        held = "SELECT (SELECT count(*) FROM {0}), (SELECT count(*) FROM {0}_dead_letters), (SELECT count(*) FROM {0}_v_late)"
        counted = "SELECT seen, windowed, late FROM sys.views WHERE name = '{}_v'"
        rows = server.sql("SELECT * FROM long_v")
        seen, inside, late = server.sql(counted.format("long"))[0]
        assert seen == 40 and late > 0 and inside == sum(r[1] for r in rows), (seen, inside, late)
        wait_for(lambda: server.sql(held.format("brief")) == [[0, 0, 0]], "RETAIN 1s", 60)
        assert server.sql(held.format("long")) == [[40, 2, late]]        # of 2001 and of year 0, and yet an hour is not over

        def kept():
            assert server.sql("SELECT * FROM brief_v") == rows
            assert server.sql(counted.format("brief")) == [[40, inside, late]]
            assert counters(server, "brief") == {"received": 42, "stored": 40, "duplicate": 0, "dead_lettered": 2, "refused": 0}

        kept()
        server.kill()
        server.start()
        kept()
        assert server.sql(held.format("brief")) == [[0, 0, 0]] and server.sql(held.format("long")) == [[40, 2, late]]
        again = [{"id": str(i), "n": 1, "ts": "2001-01-01T10:00:00Z"} for i in range(20)]
        for stream, accepted in (("brief", 20), ("long", 0)):
            answer = server.post(stream, ndjson(again))[1]
            assert (answer["accepted"], answer["duplicates"]) == (accepted, 20 - accepted), answer
            for part in answer["partitions"]:
                before = server.sql(f"SELECT count(*) FROM long WHERE _partition = {part['partition']}")[0][0]
                assert part["base_offset"] == before, (answer, before)     # behind those that have gone
        total = {w: n for w, n, _ in rows}
        total["2001-01-01T10:00:00.000Z"] += 20
        assert {w: n for w, n, _ in server.sql("SELECT * FROM brief_v")} == total
        # A view that begins now knows only what the log still holds.
        server.sql(view.format("brief").replace("brief_v", "later"))
        wait_for(lambda: server.sql("SELECT state FROM sys.views WHERE name = 'later'") == [["live"]], "the view is built")
        assert server.sql("SELECT window_start, n FROM later") == [["2001-01-01T10:00:00.000Z", 20]]


def test_contract_a_timestamp_stays_one_through_a_view_and_sql():
    """Stored as epoch ms and shown as RFC 3339 UTC with ms; compared with a text literal it is compared in time; min, max,
    window_start and window_end keep the type; epoch_ms() and rfc3339() convert; bucket(), now() and ago()."""
    with Server() as server:
        server.sql("CREATE STREAM m (id TEXT, ts TIMESTAMP, other TIMESTAMP, EVENT TIME ts) PARTITIONS 3 BY id")
        server.sql("CREATE MATERIALIZED VIEW v AS SELECT window_start, window_end, count(*) AS n, min(ts) AS lo, max(ts) AS hi, "
                   "max(other) AS o, min(bucket(ts, '5m')) AS b FROM TUMBLE(m, 1h) GROUP BY window_start LATENESS 1d")
        server.post("m", ndjson([{"id": "a", "ts": "2024-01-01T03:10:00.123999+03:00", "other": "1969-12-31T23:59:59.999Z"},
                                 {"id": "b", "ts": 1704067500000}, {"id": "c", "ts": "2024-01-01t01:10:00z", "other": None}]))
        midnight, one, two = ("2024-01-01T%02d:00:00.000Z" % h for h in range(3))
        status, _, body = server.sql_answer("SELECT * FROM v ORDER BY 1")
        answer = json.loads(body)
        assert [c["type"] for c in answer["columns"]] == ["TIMESTAMP", "TIMESTAMP", "INTEGER"] + ["TIMESTAMP"] * 4, answer["columns"]
        assert answer["rows"] == [
            [midnight, one, 2, "2024-01-01T00:05:00.000Z", "2024-01-01T00:10:00.123Z", "1969-12-31T23:59:59.999Z", "2024-01-01T00:05:00.000Z"],
            [one, two, 1, "2024-01-01T01:10:00.000Z", "2024-01-01T01:10:00.000Z", None, "2024-01-01T01:10:00.000Z"]], answer
        for where, n in (("window_start = '2024-01-01'", 2), ("window_end > '2024-01-01T04:00:00+03:00'", 1), ("lo <= '2024-01-01 00:05'", 2),
                         ("hi = '2024-01-01T00:10:00.123Z'", 2), ("hi = 1704067800123", 2), ("'2024-01-01T01:00:00Z' <= hi", 1),
                         ("o < '1970-01-01'", 2), ("b IN ('2024-01-01T01:10:00Z')", 1), ("hi BETWEEN '2024-01-01' AND '2024-01-01T00:30:00Z'", 2)):
            assert server.sql(f"SELECT n FROM v WHERE {where}") == [[n]], where
        for query, want in (("SELECT max(hi), min(lo), max(window_end) FROM v", ["2024-01-01T01:10:00.000Z", "2024-01-01T00:05:00.000Z", two]),
                            ("SELECT x FROM (SELECT max(hi) AS x FROM v) WHERE x > '2024-01-01T01:00:00Z'", ["2024-01-01T01:10:00.000Z"]),
                            ("SELECT epoch_ms(max(ts)), rfc3339(epoch_ms(max(ts))) FROM m", [1704071400000, "2024-01-01T01:10:00.000Z"]),
                            ("SELECT epoch_ms('2024-01-01'), rfc3339(-1)", [1704067200000, "1969-12-31T23:59:59.999Z"]),
                            ("SELECT bucket(ts, '1h') AS h FROM m GROUP BY h HAVING count(*) = 1", [one]),
                            ("SELECT count(*) FROM m WHERE ts < ago('15m') AND ts < now() AND other > ago('36500d')", [1]),
                            ("SELECT count(*) FROM m JOIN v ON v.window_start = bucket(m.ts, '1h') WHERE v.lo > '2024-01-01T01:00:00Z'", [1])):
            assert server.sql(query) == [want], (query, server.sql(query))
        for parameter in ("2024-01-01T01:00:00Z", 1704070800000):
            assert server.sql("SELECT count(*) FROM m WHERE ts >= ?1", params=[parameter]) == [[1]]
        refused = problem(server.sql_answer("SELECT 1 FROM m WHERE ts > 'yesterday'"))
        assert refused == (400, "sql_error", 27), refused
        for statement in ("WHERE ts > now()", "WHERE ts > ago('1h')"):
            status, _, body = server.sql_answer(f"CREATE MATERIALIZED VIEW w AS SELECT window_start, count(*) AS n FROM TUMBLE(m, 1h) {statement} GROUP BY 1")
            assert status == 400 and b"clock" in body, body
        # Pruned or not, the same: a column plus nothing is no column any more.
        for op in ("<", "<=", "=", ">=", ">", "<>"):
            for at in (1704067500000, 1704067800123, 1704067800124, 0):
                pruned = server.sql(f"SELECT group_concat(id) FROM m WHERE ts {op} '{server.sql(f'SELECT rfc3339({at})')[0][0]}'")
                assert pruned == server.sql(f"SELECT group_concat(id) FROM m WHERE ts + 0 {op} {at}"), (op, at)


def test_contract_checks_run_in_their_order_and_the_first_failure_is_the_reason():
    """A dead letter holds the bytes unchanged, with the reason; a line sent again is dead-lettered again; blank lines, CR and a BOM
    are skipped and counted in index; the first of duplicate keys is read."""
    deep, ahead = "[" * 64 + "]" * 64, "2999-01-01T00:00:00Z"
    cases = [  # of two neighbours in the list each time, the one that comes first
        ("too_large", '{"id":"' + "x" * 10_000_000 + '",}'),
        ("malformed_json", '{"a":tru,"b":' + deep + "}"), ("too_deep", '{"b":' + deep + ',"a":tru}'), ("too_deep", "[" + deep + "]"),
        ("malformed_json", "[1,]"), ("not_an_object", "[]"), ("not_an_object", '"id"'), ("not_an_object", "null"),
        ("missing_dedup_key", "{}"), ("missing_dedup_key", '{"id":null,"id":"a","ts":"never"}'), ("missing_dedup_key", '{"ts":"never"}'),
        ("bad_event_time", '{"id":"a","n":"x"}'), ("bad_event_time", '{"id":"a","ts":null,"n":"x"}'), ("bad_event_time", '{"id":"a","ts":"never","n":"x"}'),
        ("bad_event_time", '{"id":"a","ts":1704067200}'), ("future_event_time", '{"id":"a","ts":"' + ahead + '","n":"x","m":null}'),
        ("wrong_type", '{"id":"a","ts":"2024-01-01T00:00:00Z","n":"x","m":null}'), ("wrong_type", '{"id":{},"ts":"2024-01-01T00:00:00Z"}'),
        ("not_null", '{"id":"a","ts":"2024-01-01T00:00:00Z","n":-1,"m":null}'), ("not_null", '{"id":"a","ts":"2024-01-01T00:00:00Z","n":-1}'),
        ("check_failed", '{"id":"a","ts":"2024-01-01T00:00:00Z","n":-1,"m":1}'),
        ("malformed_json", '{"id":"a","unread":"\\ud800"}'),
    ]
    with Server() as server:
        server.sql("CREATE STREAM s (id TEXT, n INTEGER CHECK (n >= 0), m INTEGER NOT NULL, ts TIMESTAMP, EVENT TIME ts, DEDUP KEY (id) WITHIN 1h)")
        status, answer = server.post("s", ndjson(line for _, line in cases))
        assert status == 400 and reasons_of(answer) == [(i, reason) for i, (reason, _) in enumerate(cases)], reasons_of(answer)
        assert next(e for e in answer["errors"] if e["index"] == 14)["message"].endswith("seconds?")
        for round in (1, 2):
            rows = server.sql("SELECT id, partition, offset, reason, column_name, length(message) > 0, raw, content_type FROM s_dead_letters ORDER BY id")
            assert len(rows) == round * len(cases), len(rows)
            for i, (id, partition, offset, reason, column, told, raw, kind) in enumerate(rows):
                want, line = cases[i % len(cases)]
                assert (id, partition, offset, reason, told, raw, kind) == (i, -1, i, want, 1, line, "application/x-ndjson"), rows[i][:6]
                of = {"missing_dedup_key": "id", "bad_event_time": "ts", "future_event_time": "ts", "not_null": "m", "check_failed": "n"}
                assert column == (("id" if '"id":{}' in line else "n") if reason == "wrong_type" else of.get(reason)), rows[i][:6]
            assert all(re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", r[0]) for r in server.sql("SELECT received_at FROM s_dead_letters"))
            if round == 1:
                server.post("s", ndjson(line for _, line in cases))
        assert counters(server, "s")["dead_lettered"] == 2 * len(cases) == counters(server, "s")["received"]
        # Bytes that are not UTF-8 stay bytes too.
        server.post("s", b'{"id":"\xff"}\r\n')
        assert server.sql("SELECT hex(raw) FROM s_dead_letters WHERE id = 44") == [[b'{"id":"\xff"}'.hex().upper()]]
        good = '{"id":"%d","m":1,"ts":"2024-01-01T00:00:00Z"}'
        body = "\ufeff" + good % 1 + "\r\n\n \t\r\n7\r\n" + good % 1 + "\n\n" + good % 2
        status, answer = server.post("s", body)
        assert status == 200 and answer["accepted"] == 2 and reasons_of(answer) == [(3, "not_an_object")], answer
        assert [d["index"] for d in answer["duplicate_of"]] == [4], answer
        assert server.sql("SELECT raw FROM s_dead_letters WHERE id = 45") == [["7"]]
        status, answer = server.post("s", '{"id":"first","id":"second","m":3,"m":"x","ts":"2024-01-01T00:00:00Z","ts":7}')
        assert answer["accepted"] == 1 and server.sql("SELECT m FROM s WHERE id = 'first'") == [[3]], answer
        # A JSON body that does not parse whole is one rejected line; one that does is judged event by event.
        for body, want in (("[" + good % 3 + ",", [(0, "malformed_json")]), (good % 3 + good % 4, [(0, "malformed_json")]),
                           ("[7," + good % 3 + ",{}]", [(0, "not_an_object"), (2, "missing_dedup_key")])):
            status, answer = server.post("s", body, "application/json")
            assert reasons_of(answer) == want and status == (400 if len(want) == 1 else 200), answer
        # A line that no query could carry does not hide the others.
        server.post("s", b'{"id":"' + b"x" * (17 << 20) + b'"}')
        assert server.sql("SELECT reason, raw, message LIKE '%17825801 bytes%' FROM s_dead_letters ORDER BY id DESC LIMIT 1") == [["too_large", None, 1]]
        assert len(server.sql("SELECT * FROM s_dead_letters WHERE reason <> 'too_large'")) == 2 * len(cases) + 4


def test_contract_types_take_what_they_say_at_their_edges():
    """TEXT: a string, the token of a number or boolean. INTEGER: int64. REAL: finite. BOOLEAN. TIMESTAMP: RFC 3339 with any offset,
    fraction cut to ms, or epoch ms from 10^11 in magnitude. JSON: anything. BLOB: base64. null = absent. A CHECK that is NULL passes."""
    types = {"t": "TEXT", "i": "INTEGER", "r": "REAL", "b": "BOOLEAN", "w": "TIMESTAMP", "j": "JSON", "x": "BLOB"}
    good = [("t", '"\\u00e9\\n"', '"\\u00e9\\n"'), ("t", "1.50e+3", '"1.50e+3"'), ("t", "-0", '"-0"'), ("t", "false", '"false"'), ("t", '""', '""'),
            ("i", "9223372036854775807", "9223372036854775807"), ("i", "-9223372036854775808", "-9223372036854775808"), ("i", "-0", "0"),
            ("r", "1.7976931348623157e308", "1.7976931348623157e308"), ("r", "5e-324", "5e-324"), ("r", "1", "1.0"), ("r", "1e-400", "0.0"),
            ("b", "true", "true"), ("b", "false", "false"),
            ("w", '"2015-05-17T12:05:00.1239+02:00"', '"2015-05-17T10:05:00.123Z"'), ("w", '"1969-12-31T23:59:59.9999Z"', '"1969-12-31T23:59:59.999Z"'),
            ("w", "100000000000", '"1973-03-03T09:46:40.000Z"'), ("w", "-100000000000", '"1966-10-31T14:13:20.000Z"'), ("w", '"2016-12-31T23:59:60Z"', '"2017-01-01T00:00:00.000Z"'),
            ("j", '{"a": [1, 2.50]}', '{"a": [1, 2.50]}'), ("j", "1e999", "1e999"), ("j", '"s"', '"s"'), ("j", "false", "false"), ("x", '"TWE="', '"TWE="'), ("x", '""', '""')]
    good += [(column, "null", "null") for column in types]
    bad = [("t", "{}"), ("t", "[]"), ("i", "9223372036854775808"), ("i", "-9223372036854775809"), ("i", "1.0"), ("i", "1e3"), ("i", '"1"'), ("i", "true"),
           ("r", "1e309"), ("r", "-1e309"), ("r", '"1"'), ("b", "1"), ("b", '"true"'), ("w", '"2015-05-17"'), ("w", '"2015-02-29T00:00:00Z"'), ("w", "99999999999"),
           ("w", "-99999999999"), ("w", "1431857100000.5"), ("w", '"1431857100000"'), ("w", "true"), ("x", '"TWE"'), ("x", '"T W="'), ("x", "1")]
    with Server() as server:
        server.sql("CREATE STREAM s (k INTEGER, " + ", ".join(f"{c} {t}" for c, t in types.items()) + ", CHECK_ INTEGER CHECK (CHECK_ > 0)) PARTITIONS 1")
        status, answer = server.post("s", "\n".join(f'{{"k":{k},"{c}":{v}}}' for k, (c, v, _) in enumerate(good)))
        assert answer["accepted"] == len(good), answer["errors"]
        for k, (column, value, want) in enumerate(good):
            body = server.sql_answer(f"SELECT {column} FROM s WHERE k = {k}")[2].decode()
            got = body[body.index('"rows":[[') + 9:body.index("]]")]
            assert (got if column == "j" else json.loads(got)) == (want if column == "j" else json.loads(want)), (column, value, got)
        status, answer = server.post("s", "\n".join(f'{{"{c}":{v}}}' for c, v in bad))
        assert status == 400 and reasons_of(answer) == [(i, "wrong_type") for i in range(len(bad))], answer
        hinted = [bad[e["index"]][1] for e in answer["errors"] if e["message"].endswith("seconds?")]
        assert hinted == ["99999999999", "-99999999999"], hinted
        assert server.sql("SELECT count(*) FROM s WHERE t IS NULL AND i IS NULL AND w IS NULL AND j IS NULL AND x IS NULL")[0][0] >= len(types)


def test_contract_counters_survive_restarts_and_what_was_answered_413_was_not_received():
    """received = stored + duplicate + dead_lettered + refused."""
    with Server() as server:
        table = "(id TEXT NOT NULL, n INTEGER CHECK (n > 0), DEDUP KEY (id) WITHIN 1h)"
        server.sql(f"CREATE STREAM kept {table}")
        server.sql(f"CREATE STREAM strict {table} ON ERROR REJECT")
        body = '{"id":"a","n":1}\n\n{"id":"a","n":1}\n{"id":"b","n":0}\n{"id":"c","n":"x"}\n{"n":1}\nnope'
        want = {"kept": dict(received=0, stored=0, duplicate=0, dead_lettered=0, refused=0)}
        want["strict"] = dict(want["kept"])
        assert [counters(server, s) for s in want] == list(want.values())

        def add(first, second, more=1):
            for stream, bad in (("kept", "dead_lettered"), ("strict", "refused")):
                status, answer = server.post(stream, body)
                assert status == 200 and (answer["accepted"], answer["duplicates"], answer["rejected"]) == (first, second, 4), answer
                for name, count in (("received", first + second + 4), ("stored", first), ("duplicate", second), (bad, 4)):
                    want[stream][name] += count
                wait_for(lambda: counters(server, stream) == want[stream], f"{stream}: {want[stream]}, {counters(server, stream)}")

        add(1, 1)
        assert server.sql("SELECT count(*) FROM strict_dead_letters") == [[0]] and server.sql("SELECT count(*) FROM kept_dead_letters") == [[4]]
        assert server.post("strict", "nope")[0] == 400      # everything rejected
        want["strict"]["received"] += 1
        want["strict"]["refused"] += 1
        wait_for(lambda: counters(server, "strict") == want["strict"], "what was refused")
        for end in (server.kill, server.stop):
            end()
            server.start()
            assert [counters(server, s) for s in want] == list(want.values()), (counters(server, "kept"), want)
            info = json.loads(server.request("GET", "/v1/streams/strict")[2])
            assert info["counters"] == want["strict"], info
            add(0, 2)
        assert server.post("kept", b"{}\n" * 500_001)[0] == 413
        assert server.post("kept", gzip.compress(b"x" * ((64 << 20) + 1), 1), headers={"Content-Encoding": "gzip"})[0] == 413
        assert server.post("kept", "")[0] == 200
        assert counters(server, "kept") == want["kept"]


def test_contract_create_view_over_a_stream_without_events_is_live_and_stays_live_over_restarts():
    """Its rows too, whether the process was killed or ended."""
    with Server() as server:
        server.sql("CREATE STREAM s (id TEXT, ts TIMESTAMP, EVENT TIME ts, DEDUP KEY (id) WITHIN 1h) PARTITIONS 3")
        server.sql("CREATE MATERIALIZED VIEW v AS SELECT window_start, count(*) AS n FROM TUMBLE(s, 1h) GROUP BY window_start")
        live = [["v", "s", "live", 1.0]]
        assert server.sql("SELECT name, stream, state, progress FROM sys.views") == live
        assert server.sql("SELECT * FROM v") == [] and server.sql("SELECT * FROM v_late") == []
        sent = 0
        for end in (server.kill, server.stop, server.kill, server.stop):
            end()
            server.start()
            assert server.sql("SELECT name, stream, state, progress FROM sys.views") == live
            assert server.request("GET", "/readyz")[0] == 200
            assert sum(r[1] for r in server.sql("SELECT * FROM v")) == sent
            server.post("s", ndjson({"id": f"{sent + i}", "ts": "2024-01-01T00:00:00Z"} for i in range(5)))
            sent += 5
            assert server.sql("SELECT * FROM v") == [["2024-01-01T00:00:00.000Z", sent]]


def test_contract_statements_are_answered_404_409_400_with_position_and_408():
    with Server() as server:
        server.sql("CREATE STREAM a (id TEXT, n INTEGER, ts TIMESTAMP, EVENT TIME ts, DEDUP KEY (id) WITHIN 1h)")
        view = "CREATE MATERIALIZED VIEW {} AS SELECT window_start, count(*) AS n FROM TUMBLE({}, 1h) GROUP BY window_start"
        server.sql(view.format("v", "a"))
        for statement in ("SELECT nope FROM a", "SELECT * FROM nope", "SELECT nope(1)", "SELECT x.n FROM a", "SELECT * FROM a_late", "SELECT * FROM v_dead_letters",
                          "SELECT * FROM sys.nope", "DROP STREAM nope", "DROP STREAM v", "DROP MATERIALIZED VIEW a", view.format("w", "nope")):
            assert problem(server.sql_answer(statement))[:2] == (404, "not_found"), (statement, server.sql_answer(statement))
        assert problem(server.sql_answer("SELECT n, nope FROM a"))[2] == 10
        for statement in ("CREATE STREAM a (x TEXT)", "CREATE STREAM A (x TEXT)", "CREATE STREAM v (x TEXT)", view.format("v", "a"), view.format("a", "a")):
            assert problem(server.sql_answer(statement))[:2] == (409, "already_exists"), (statement, server.sql_answer(statement))
        assert problem(server.sql_answer("DROP STREAM a"))[:2] == (409, "conflict")       # the view depends on it
        for statement, at in (("SELECT FROM a", 7), ("SELECT 1 +", 10), ("SELECT * FROM a WHERE ", 21), ("SELECT 'x", 7), ("SELEKT 1", 0), ("SELECT 1; SELECT 2", 10),
                              ("CREATE STREAM x (a TEXT, b TXT)", 27), ("CREATE STREAM x_late (a TEXT)", 14), ("CREATE STREAM x (a TEXT, DEDUP KEY (a) WITHIN 8d)", 46),
                              ("CREATE STREAM x (a TEXT, DEDUP KEY (a) WITHIN 61m) RETAIN 1h", 46), ("CREATE STREAM x (a TEXT) PARTITIONS 4 BY b", 41),
                              ("CREATE STREAM x (a TEXT CHECK (b > 1))", 31), ("CREATE STREAM x (a TEXT CHECK (1 +))", 31), ("CREATE STREAM x (a TEXT CHECK (random() > 1))", 31), ("CREATE STREAM x (a TEXT, n TEXT CHECK (a IN (SELECT 1)))", 39),
                              ("", 0), ("INSERT INTO a VALUES (1)", 0), ("PRAGMA user_version", 0), ("SHOW NOTHING", 5)):
            status, _, at_told = problem(server.sql_answer(statement))
            assert (status, at_told) == (400, at), (statement, server.sql_answer(statement))
        told = json.loads(server.request("POST", "/v1/sql", "SELECT n\n  FRM a", {"Content-Type": "text/plain"})[2])
        assert (told["position"], told["line"], told["column"]) == (15, 2, 7), told
        # None of that left anything behind.
        assert [r[0] for r in server.sql("SHOW STREAMS")] == ["a"] and [r[0] for r in server.sql("SHOW VIEWS")] == ["v"]
        for statement in ("CREATE STREAM IF NOT EXISTS a (x TEXT)", "DROP STREAM IF EXISTS nope", "DROP VIEW IF EXISTS nope", view.format("IF NOT EXISTS v", "a")):
            assert server.sql(statement) == [], statement
        endless = "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c) SELECT count(*) FROM c"
        assert problem(server.sql_answer(endless, timeout_ms=100))[:2] == (408, "deadline")
        assert problem(server.sql_answer("SELECT 1", min_index="0:999999", timeout_ms=50))[:2] == (408, "deadline")
        # 10,000 rows unless told, and said; integers as they are in every format.
        many = "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c LIMIT 10001) SELECT x FROM c"
        for limit, n, cut in ((None, 10000, True), (3, 3, True), (10001, 10001, False)):
            told = json.loads(server.sql_answer(many, **({} if limit is None else {"max_rows": limit}))[2])
            assert (len(told["rows"]), told["truncated"]) == (n, cut), limit
        for format, want in (("ndjson", b'{"i":9223372036854775807,"z":null}\n'), ("JSONEachRow", b'{"i":9223372036854775807,"z":null}\n'),
                             ("csv", b"i,z\n9223372036854775807,\n"), ("CSVWithNames", b"i,z\n9223372036854775807,\n")):
            assert server.request("POST", f"/v1/sql?format={format}", "SELECT 9223372036854775807 AS i, NULL AS z")[2] == want, format
        assert b'"data":[{"i":9223372036854775807}]' in server.request("POST", "/v1/sql?format=JSON", "SELECT 9223372036854775807 AS i")[2]
        assert server.request("POST", "/v1/sql?format=xml", "SELECT 1")[0] == 400


def test_contract_an_undeclared_stream_is_created_on_the_first_event_where_the_server_allows_it():
    """Columns event_id, event_type, event_time, key, payload; event time = timestamp where it parses, else append time; no dedup where
    event_id is absent, else WITHIN 24h."""
    with Server() as server:
        assert server.post("u", "")[0] == 200 and server.request("GET", "/v1/streams/u")[0] == 404       # nothing yet
        lines = ['{"event_id":"a","event_type":"t","key":"k","timestamp":"2024-01-01T02:00:00+02:00","x":[1, 2]}', '{"event_id":"a"}', '{"x":1}', '{"x":1}',
                 '{"event_id":null,"timestamp":"never","key":{},"event_type":7}', '{"event_id":5}', '{"event_id":"5"}', "7", '{"a":']
        status, answer = server.post("u", ndjson(lines))
        assert status == 200 and (answer["accepted"], answer["duplicates"]) == (5, 2), answer
        assert [d["index"] for d in answer["duplicate_of"]] == [1, 6] and reasons_of(answer) == [(7, "not_an_object"), (8, "malformed_json")], answer
        info = json.loads(server.request("GET", "/v1/streams/u")[2])
        assert [(c["name"], c["type"]) for c in info["columns"]] == [("event_id", "TEXT"), ("event_type", "TEXT"), ("event_time", "TIMESTAMP"), ("key", "TEXT"), ("payload", "JSON")], info
        assert info["settings"]["dedup_within"] == "1d" and info["settings"]["dedup_key"] == ["event_id"] and info["settings"]["undeclared"], info
        body = server.sql_answer("SELECT event_id, event_type, event_time, key, payload FROM u")[2].decode()
        for row in ('["a","t","2024-01-01T00:00:00.000Z","k",' + lines[0] + "]", "[null,null,null,null," + lines[2] + "]", '[null,"7",null,null,' + lines[4] + "]", '["5",null,null,null,' + lines[5] + "]"):
            assert row in body, (row, body)
        server.sql("CREATE MATERIALIZED VIEW v AS SELECT window_start, count(*) AS n FROM TUMBLE(u, 1d) GROUP BY window_start LATENESS 36500d")
        # A window of the event's time, else of the time at which it was appended: in what comes now as in what was there.
        more = ndjson(['{"timestamp":"2024-01-01T05:00:00Z"}', "{}", '{"timestamp":{}}', '{"timestamp":1704067200}'])

        def windows():
            rows = server.sql("SELECT bucket(coalesce(event_time, _append_time), '1d') AS w, count(*) FROM u GROUP BY w ORDER BY w")
            wait_for(lambda: server.sql("SELECT state FROM sys.views WHERE name = 'v'") == [["live"]], "the view is built")
            assert server.sql("SELECT window_start, n FROM v ORDER BY 1") == rows, (server.sql("SELECT * FROM v"), rows)
            assert server.sql("SELECT * FROM v_late") == []

        windows()
        for end in (None, server.kill, server.stop):
            if end:
                end()
                server.start()
                windows()
            assert server.post("u", more)[1]["accepted"] == 4
            windows()
        assert server.sql("SELECT count(*) FROM v")[0][0] >= 2
        for name in ("1a", "x_late", "sys", "a%2Fb", "x" * 250):
            assert server.post(name, "{}")[0] == 400, name
        for name in ("x" * 249, "a.b-c", "_"):
            assert server.post(name, "{}")[1].get("accepted") == 1 and server.sql(f'SELECT count(*) FROM "{name}"') == [[1]], name
    with Server(env={"WEIR_STREAMS_UNDECLARED": "deny"}) as server:
        status, answer = server.post("u", "{}")
        assert (status, answer["code"]) == (404, "not_found") and server.sql("SHOW STREAMS") == [], answer


def test_contract_a_stream_without_event_time_has_its_windows_by_append_time():
    with Server() as server:
        server.sql("CREATE STREAM s (id TEXT, n INTEGER)")
        view = "CREATE MATERIALIZED VIEW {} AS SELECT window_start, window_end, count(*) AS c, sum(n) AS n FROM TUMBLE(s, 1s) GROUP BY window_start LATENESS 1h"
        server.sql(view.format("v"))

        def check(name, events):
            want = server.sql("SELECT bucket(_append_time, '1s') AS b, rfc3339(epoch_ms(bucket(_append_time, '1s')) + 1000), count(*), sum(n) FROM s GROUP BY b ORDER BY b")
            assert sum(row[2] for row in want) == events
            assert server.sql(f"SELECT * FROM {name} ORDER BY 1") == want, (name, server.sql(f"SELECT * FROM {name}"), want)

        for round in range(1, 5):
            server.post("s", ndjson({"id": f"{round}-{i}", "n": i} for i in range(20)))
            check("v", 20 * round)
            if round % 2:
                server.kill()
                server.start()
                check("v", 20 * round)
        server.sql(view.format("w"))
        wait_for(lambda: server.sql("SELECT DISTINCT state FROM sys.views") == [["live"]], "the view is built")
        check("w", 80)


def test_contract_a_record_is_late_iff_end_and_lateness_are_at_or_below_its_partitions_watermark_before_it():
    """Highest event time seen minus DELAY; `_late` has one row an event and window: partition, offset, window_start, event_time, raw.
    seen = filtered + windowed + late."""
    minute = 60_000
    start = 1704067200000       # 2024-01-01T00:00:00Z
    with Server() as server:
        server.sql("CREATE STREAM s (id TEXT, u TEXT, n INTEGER, ts TIMESTAMP, EVENT TIME ts DELAY 2m) PARTITIONS 2 BY u")
        server.sql("CREATE MATERIALIZED VIEW v AS SELECT window_start, count(*) AS n FROM TUMBLE(s, 1m) WHERE n > 0 GROUP BY window_start LATENESS 3m")
        here, there = (next(u for u in "abcdefgh" if (murmur2(u.encode()) & 0x7FFFFFFF) % 2 == p) for p in (0, 1))

        def send(partition, *events):
            lines = [json.dumps({"u": (here, there)[partition], "ts": start + at, "n": n}) for at, n in events]
            assert server.post("s", "\n".join(lines))[1]["accepted"] == len(lines)
            return lines

        def late():
            return server.sql("SELECT partition, offset, window_start, event_time, raw FROM v_late ORDER BY 1, 2")

        # Watermark = 6m - 1 ms - 2m: window 0 ends at 1m, and 1m + 3m is above it. One millisecond later it is not.
        send(0, (6 * minute - 1, 1), (0, 1))
        assert late() == []
        _, raw = send(0, (6 * minute, 1), (minute - 1, 1))
        assert late() == [[0, 3, "2024-01-01T00:00:00.000Z", "2024-01-01T00:00:59.999Z", raw]], late()
        send(0, (minute, 1))                    # the next window is open
        send(1, (0, 1), (-500 * minute, 1))     # of another partition: not late for that; 500m back in its own is
        assert [(p, o) for p, o, *_ in late()] == [(0, 3), (1, 1)], late()
        send(0, (0, 0), (7 * minute, 0), (minute, 1))      # filtered, never late; but what is filtered moves the watermark
        assert [(p, o) for p, o, *_ in late()] == [(0, 3), (0, 7), (1, 1)], late()
        assert server.sql("SELECT seen, filtered, windowed, late FROM sys.views") == [[10, 2, 5, 3]]
        assert dict(server.sql("SELECT * FROM v")) == {"2024-01-01T00:00:00.000Z": 2, "2024-01-01T00:01:00.000Z": 1, "2024-01-01T00:05:00.000Z": 1, "2024-01-01T00:06:00.000Z": 1}
        marks = {p: (w, m) for _, p, w, m, _ in server.sql("SHOW WATERMARKS")}
        assert marks == {0: ("2024-01-01T00:05:00.000Z", "2024-01-01T00:07:00.000Z"), 1: ("2023-12-31T23:58:00.000Z", "2024-01-01T00:00:00.000Z")}, marks
        for raw, at, offset in server.sql("SELECT l.raw, l.partition, l.offset FROM v_late l"):
            assert server.sql(f"SELECT _value FROM s WHERE _partition = {at} AND _offset = {offset}") == [[raw]]


def test_contract_the_answer_lists_100_and_says_when_it_was_cut():
    """An event over 10 MB is a rejected line; something accepted or duplicate is 200, everything rejected 400, an empty body 200 with zeros."""
    with Server() as server:
        server.sql("CREATE STREAM s (id TEXT, x TEXT, DEDUP KEY (id) WITHIN 1h)")
        status, answer = server.post("s", ndjson([{"id": "a"}] * 102 + ["no"] * 101))
        assert status == 200 and (answer["accepted"], answer["duplicates"], answer["rejected"]) == (1, 101, 101), answer
        assert len(answer["errors"]) == len(answer["duplicate_of"]) == 100 and answer["errors_truncated"] and answer["duplicate_of_truncated"]
        status, answer = server.post("s", ndjson([{"id": "a"}] * 100 + ["no"] * 100))
        assert len(answer["errors"]) == len(answer["duplicate_of"]) == 100 and not {"errors_truncated", "duplicate_of_truncated"} & set(answer)
        zeros = dict(accepted=0, duplicates=0, rejected=0, errors=[], duplicate_of=[], partitions=[])
        for body in ("", "\n", " \r\n\n", "\ufeff"):
            status, answer = server.post("s", body)
            assert status == 200 and {k: answer[k] for k in zeros} == zeros, answer
        edge = '{"id":"%s","x":"' + "x" * (10_000_000 - 17) + '"}'
        status, answer = server.post("s", edge % "b" + "\n" + edge % "cc")
        assert status == 200 and answer["accepted"] == 1 and reasons_of(answer) == [(1, "too_large")], answer
        assert server.sql("SELECT length(_value), length(x) FROM s WHERE id = 'b'") == [[10_000_000, 10_000_000 - 17]]
        body = gzip.compress(b'{"id":"z"}')
        assert server.post("s", body, headers={"Content-Encoding": "gzip"})[1]["accepted"] == 1
        # No type, or curl's form type, with { or [ in front is JSON.
        for kind in ("application/x-www-form-urlencoded", ""):
            status, _, told = server.request("POST", "/v1/streams/s/events", ' [{"id":"%s"}]' % (kind or "none"), {"Content-Type": kind} if kind else {})
            assert status == 200 and json.loads(told)["accepted"] == 1, told


def test_contract_no_web_page_that_a_user_visits_can_read_or_drop_anything():
    """Host must be an IP literal, localhost or in [http] hosts, else 421; an Origin that is neither its own Host nor in [http] origins, or
    Sec-Fetch-Site cross-site or same-site, is 403 cross_origin; no CORS header unless configured."""
    with Server(env={"WEIR_HTTP_HOSTS": "weir.example", "WEIR_HTTP_ORIGINS": "https://app.example"}) as server:
        own = f"127.0.0.1:{server.port}"
        for headers, want in (({"Host": own}, 200), ({"Host": "10.1.2.3"}, 200), ({"Host": "[::1]:80"}, 200), ({"Host": "localhost"}, 200), ({"Host": "LocalHost:8080"}, 200),
                              ({"Host": "weir.example:81"}, 200), ({"Host": "evil.example"}, 421), ({"Host": "127.0.0.1.evil.example"}, 421), ({"Host": "localhost.evil.example"}, 421),
                              ({"Host": ""}, 421), ({"Origin": f"http://{own}"}, 200), ({"Origin": "https://app.example"}, 200), ({"Origin": "http://127.0.0.1:1"}, 403),
                              ({"Origin": "http://evil.example"}, 403), ({"Origin": "null"}, 403), ({"Sec-Fetch-Site": "same-origin"}, 200), ({"Sec-Fetch-Site": "none"}, 200),
                              ({"Sec-Fetch-Site": "same-site"}, 403), ({"Sec-Fetch-Site": "cross-site"}, 403), ({"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"}, 403)):
            for method, path, body in (("GET", "/v1/streams", None), ("GET", "/metrics", None), ("POST", "/v1/sql", "SELECT 1")):
                status, answered, told = server.request(method, path, body, headers)
                assert status == want, (headers, path, status, told)
                if want == 403:
                    assert json.loads(told)["code"] == "cross_origin", told
                cors = {name: value for name, value in answered.items() if name.startswith("access-control")}
                configured = headers.get("Origin") == "https://app.example"
                assert cors == ({"access-control-allow-origin": "https://app.example"} if configured else {}), (headers, answered)
        page = {"Origin": "http://evil.example", "Content-Type": "text/plain"}
        assert server.request("POST", "/v1/streams/t/events", '{"a":1}', {**page, "Content-Type": "application/json"})[0] == 403
        assert server.request("POST", "/v1/sql", "CREATE STREAM t (a TEXT)", page)[0] == 403
        status, answered, _ = server.request("OPTIONS", "/v1/sql", None, {**page, "Access-Control-Request-Method": "POST"})
        assert status == 403 and not [name for name in answered if name.startswith("access-control")], answered
        assert server.sql("SHOW STREAMS") == []


def test_contract_streams_and_their_events_as_get_shows_them():
    """GET /v1/streams (prefix, sort, after, limit), /v1/streams/{s} and .../events: cursors cover all partitions and outlive a kill. Streams,
    views, dead letters and late rows are tables that can be joined."""
    with Server() as server:
        for name in ("b1", "a2", "b3", "b2"):
            server.sql(f"CREATE STREAM {name} (id TEXT, n INTEGER, ts TIMESTAMP, EVENT TIME ts DELAY 1m, DEDUP KEY (id) WITHIN 1h) PARTITIONS 3 RETAIN 1d")
        names, after = [], ""
        while after is not None:
            page = json.loads(server.request("GET", f"/v1/streams?prefix=b&sort=-name&limit=2&after={after}")[2])
            names += [s["name"] for s in page["streams"]]
            assert len(page["streams"]) <= 2
            after = page["next"]
        assert names == ["b3", "b2", "b1"], names
        server.sql("CREATE MATERIALIZED VIEW v AS SELECT window_start, count(*) AS n FROM TUMBLE(a2, 1h) GROUP BY window_start")
        sent = []

        def send(count):
            events = [{"id": str(len(sent) + i), "n": len(sent) + i, "ts": "2024-01-01T0%d:00:00Z" % (0 if i == 9 else 5)} for i in range(count)]
            assert server.post("a2", ndjson(events + ['{"id":"bad%d","n":"x","ts":"2024-01-01T00:00:00Z"}' % len(sent)]))[1]["accepted"] == count
            sent.extend(json.dumps(event) for event in events)

        for _ in range(4):
            send(10)
        info = json.loads(server.request("GET", "/v1/streams/a2")[2])
        assert {"name": "a2", "leader": "n1", "shard": 0}.items() <= info.items(), info
        ends = {p["partition"]: (p["start_offset"], p["end_offset"]) for p in info["partitions"]}
        assert set(ends) == {0, 1, 2} and sum(end for _, end in ends.values()) == 40 and all(start == 0 for start, _ in ends.values()), info
        assert info["columns"][1] == {"name": "n", "type": "INTEGER", "path": "$.n", "not_null": False}, info
        assert {"partitions": 3, "retain": "1d", "delay": "1m", "dedup_key": ["id"], "dedup_within": "1h"}.items() <= info["settings"].items(), info
        assert info["counters"] == {"received": 44, "stored": 40, "duplicate": 0, "dead_lettered": 4, "refused": 0}, info

        def read(cursor, limit):
            status, _, body = server.request("GET", f"/v1/streams/a2/events?limit={limit}" + (f"&from={cursor}" if cursor else ""))
            assert status == 200, body
            return json.loads(body)

        got, next = [], ""
        for turn in range(60):
            page = read(next, 7)
            if not page["events"]:
                if len(sent) > 40:
                    break
                send(10)        # a cursor at the end goes on with what comes
            got += page["events"]
            next = page["next"]
            if turn == 2:
                server.kill()
                server.start()
        assert sorted(json.dumps(e["value"]) for e in got) == sorted(sent) and len(sent) == 50
        places = collections.defaultdict(list)
        for e in got:
            places[e["partition"]].append(e["offset"])
        assert all(offsets == list(range(len(offsets))) for offsets in places.values()), places       # a partition's in their order
        assert [e["append_time"] for e in got] == sorted(e["append_time"] for e in got)
        assert read(got[16]["cursor"], 1)["events"][0] == got[16]
        assert server.request("GET", "/v1/streams/nope")[0] == server.request("GET", "/v1/streams/nope/events")[0] == 404
        joined = server.sql("SELECT (SELECT count(*) FROM a2 s JOIN v ON v.window_start = bucket(s.ts, '1h')), (SELECT count(*) FROM a2_dead_letters d JOIN a2 s "
                            "ON d.raw LIKE '%bad' || s.id || '\"%'), (SELECT count(*) FROM v_late l JOIN a2 s ON s._partition = l.partition AND s._offset = l.offset)")
        late = server.sql("SELECT late FROM sys.views")[0][0]
        assert joined[0][1] == 5 and joined[0][2] == late > 0 and joined[0][0] == 50 - late + server.sql("SELECT count(*) FROM v_late WHERE window_start IN (SELECT window_start FROM v)")[0][0], (joined, late)
