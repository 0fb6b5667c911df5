"""What views can say, and when they say it."""
import collections
import json
import random
import time

from harness import Server, example_lines, wait_for


def test_view_distinct_first_last_and_having_equal_a_recomputation():
    """The table of a view is what its stream's rows come to, however they were sent, also over kill -9."""
    view = ("CREATE MATERIALIZED VIEW wide AS SELECT window_start, status, count(*) AS n, count(DISTINCT user_id) AS users, "
            "count(DISTINCT bytes % 7) AS sevenths, first(path) AS opened, last(bytes) AS closed, first(ts) AS since FROM TUMBLE(access, 5m) "
            "GROUP BY window_start, status HAVING n > 2 AND count(DISTINCT path) < 8 LATENESS 7d EMIT CHANGES")
    lines = example_lines()

    def recomputed(server):
        groups = collections.defaultdict(list)
        for window, *row in server.sql("SELECT bucket(ts, '5m'), status, epoch_ms(ts), _partition, _offset, user_id, path, bytes, ts FROM access",
                                       max_rows=1000000):
            groups[window, row[0]].append(row[1:])
        table = []
        for (window, status), rows in groups.items():
            rows.sort(key=lambda r: r[:3])          # event time, partition, offset
            paths = [r[4] for r in rows if r[4] is not None]
            sizes = [r[5] for r in rows if r[5] is not None]
            if len(rows) > 2 and len(set(paths)) < 8:
                table.append([window, status, len(rows), len({r[3] for r in rows if r[3] is not None}), len({s % 7 for s in sizes}),
                              paths[0] if paths else None, sizes[-1] if sizes else None, rows[0][6]])
        return sorted(table)

    for size, kills in ((37, 0), (500, 0), (len(lines), 0), (200, 4)):
        with Server() as server:
            server.create_access()
            server.sql(view)
            rng = random.Random(size)
            for i in range(0, len(lines), size):
                assert server.post("access", b"\n".join(lines[i:i + size]))[0] in (200, 400)
                if kills and rng.random() < 0.15:
                    kills -= 1
                    server.kill()
                    server.start()
            wanted = recomputed(server)
            assert len(wanted) > 50
            assert sorted(server.sql("SELECT * FROM wide", max_rows=1000000)) == wanted
            assert server.sql("SELECT rows FROM sys.views WHERE name = 'wide'") == [[len(wanted)]]
            server.kill()
            server.start()
            assert sorted(server.sql("SELECT * FROM wide", max_rows=1000000)) == wanted


def test_view_a_row_that_stops_to_satisfy_having_is_gone():
    with Server() as server:
        server.sql("CREATE STREAM s (k TEXT, n INTEGER, ts TIMESTAMP, EVENT TIME ts) PARTITIONS 1")
        server.sql("CREATE MATERIALIZED VIEW v AS SELECT window_start, k, count(*) AS c FROM TUMBLE(s, 1h) GROUP BY window_start, k "
                   "HAVING sum(n) BETWEEN 10 AND 20 LATENESS 1d")

        def send(k, n):
            assert server.post("s", json.dumps({"k": k, "n": n, "ts": "2024-01-01T00:30:00Z"}))[0] == 200
            rows = server.sql("SELECT k, c FROM v ORDER BY k")
            assert server.sql("SELECT rows FROM sys.views") == [[len(rows)]], rows
            return rows

        assert send("a", 9) == []
        assert send("a", 1) == [["a", 2]]
        assert send("b", 15) == [["a", 2], ["b", 1]]
        assert send("a", 11) == [["b", 1]]
        server.kill()
        server.start()
        assert server.sql("SELECT k, c FROM v") == [["b", 1]]
        assert send("a", -5) == [["a", 4], ["b", 1]]
        assert send("b", None) == [["a", 4], ["b", 2]]


def test_view_emit_final_shows_a_window_once_it_is_final():
    """S20: with EMIT FINAL a row comes when the least watermark has passed the window's end, and what LATENESS lets in corrects it."""
    with Server() as server:
        server.sql("CREATE STREAM s (k TEXT, ts TIMESTAMP, EVENT TIME ts DELAY 5m) PARTITIONS 2 BY k")
        for name, lateness in (("once", "0s"), ("corrected", "2h")):
            server.sql(f"CREATE MATERIALIZED VIEW {name} AS SELECT window_start, count(*) AS c, last(k) AS newest FROM TUMBLE(s, 1h) "
                       f"GROUP BY window_start LATENESS {lateness} EMIT FINAL")
        where = {}
        for k in "abcdefgh":
            where.setdefault(server.post("s", json.dumps({"k": k, "ts": "2024-01-01T00:00:00Z"}))[1]["partitions"][0]["partition"], k)
        one, other = where[0], where[1]

        def send(k, time):
            assert server.post("s", json.dumps({"k": k, "ts": f"2024-01-01T{time}Z"}))[0] == 200
            return [server.sql(f"SELECT window_start, c, newest FROM {view} ORDER BY 1") for view in ("once", "corrected")]

        assert send(one, "01:30:00") == [[], []]        # one partition alone says nothing
        assert send(one, "00:20:00") == [[], []]        # late where nothing is allowed, a correction elsewhere
        assert send(other, "01:04:59") == [[], []]      # DELAY: the watermark is 00:59:59
        final = ["2024-01-01T00:00:00.000Z"]
        once, corrected = send(other, "01:05:00")
        assert once == [final + [8, once[0][2]]] and corrected == [final + [9, one]], (once, corrected)
        server.kill()
        server.start()
        assert send(other, "00:50:00") == [once, [final + [10, other]]]
        assert server.sql("SELECT count(*) FROM once_late") == [[2]]
        assert server.sql("SELECT count(*) FROM corrected_late") == [[0]]
        assert dict(server.sql("SELECT name, rows FROM sys.views")) == {"once": 1, "corrected": 1}


def test_view_emit_final_agrees_with_emit_changes_on_the_example():
    lines = example_lines()
    with Server() as server:
        server.create_access()
        for name, emit in (("c", "CHANGES"), ("f", "FINAL")):
            server.sql(f"CREATE MATERIALIZED VIEW {name} AS SELECT window_start, window_end, status, count(*) AS n, sum(bytes) AS bytes "
                       f"FROM TUMBLE(access, 10m) GROUP BY window_start, status LATENESS 7d EMIT {emit}")
        for i in range(0, len(lines), 700):
            server.post("access", b"\n".join(lines[i:i + 700]))
        # One snapshot: both views, and the least watermark.
        final, changes, total = server.sql(
            "WITH least AS (SELECT min(coalesce(epoch_ms(watermark), -1)) AS w FROM sys.watermarks WHERE view = 'f') "
            "SELECT (SELECT count(*) FROM f), (SELECT count(*) FROM c, least WHERE epoch_ms(window_end) <= w), (SELECT count(*) FROM c)")[0]
        assert 100 < final == changes < total, (final, changes, total)
        assert server.sql("SELECT count(*) FROM (SELECT * FROM f EXCEPT SELECT * FROM c)") == [[0]]
        server.kill()
        server.start()
        assert server.sql("SELECT count(*) FROM f")[0][0] >= final      # ticks may have closed more
        assert server.sql("SELECT count(*) FROM (SELECT * FROM f EXCEPT SELECT * FROM c)") == [[0]]


def test_view_emit_changes_every_holds_rows_back_and_a_tick_brings_them():
    """S21: EVERY writes at the first entry, data or tick, whose append time has come to the next boundary."""
    with Server() as server:
        server.sql("CREATE STREAM s (k TEXT, ts TIMESTAMP, EVENT TIME ts) PARTITIONS 1")
        server.sql("CREATE MATERIALIZED VIEW slow AS SELECT window_start, k, count(*) AS c FROM TUMBLE(s, 1h) GROUP BY window_start, k "
                   "LATENESS 1d EMIT CHANGES EVERY 36500d")
        server.sql("CREATE MATERIALIZED VIEW quick AS SELECT window_start, k, count(*) AS c FROM TUMBLE(s, 1h) GROUP BY window_start, k "
                   "LATENESS 1d EMIT CHANGES EVERY 300ms")
        for i in range(40):
            assert server.post("s", json.dumps({"k": str(i % 4), "ts": "2024-01-01T00:30:00Z"}))[0] == 200
        # Nobody sends any more: the last rows come with a tick.
        wanted = [[str(k), 10] for k in range(4)]
        wait_for(lambda: server.sql("SELECT k, c FROM quick ORDER BY k") == wanted, "the rows of quick")
        assert server.sql("SELECT * FROM slow") == []
        server.kill()
        server.start()
        assert server.sql("SELECT k, c FROM quick ORDER BY k") == wanted
        for i in range(8):
            assert server.post("s", json.dumps({"k": str(i % 4), "ts": "2024-01-01T00:30:00Z"}))[0] == 200
        server.kill()           # what is held back is in the log
        server.start()
        wanted = [[str(k), 12] for k in range(4)]
        wait_for(lambda: server.sql("SELECT k, c FROM quick ORDER BY k") == wanted, "the rows of quick after a kill")
        # A window whose state goes has its rows at once.
        assert server.post("s", json.dumps({"k": "9", "ts": "2024-01-03T00:30:00Z"}))[0] == 200
        assert server.sql("SELECT k, c FROM slow ORDER BY k") == wanted
        assert dict(server.sql("SELECT name, rows FROM sys.views"))["slow"] == 4


def test_view_what_cannot_be_is_refused_with_its_reason():
    with Server() as server:
        server.sql("CREATE STREAM s (k TEXT, x REAL, ts TIMESTAMP, EVENT TIME ts) PARTITIONS 1")
        start = "CREATE MATERIALIZED VIEW v AS SELECT window_start, count(*) AS c FROM TUMBLE(s, 1h) GROUP BY window_start "
        for clause, word in (("HAVING nothing > 1", "HAVING knows"), ("HAVING random() > c", "random"), ("HAVING c > now()", "now"),
                             ("HAVING avg(x) || '' = '1'", "HAVING"), ("HAVING window_start > 'soon'", "a time"), ("EMIT FINAL EVERY 1s", "EVERY"),
                             ("EMIT CHANGES EVERY 0s", "above zero"), ("EMIT SOMETIMES", "CHANGES"), ("HAVING c > 1 HAVING c > 2", "twice")):
            status, _, body = server.sql_answer(start + clause)
            assert status == 400 and word in json.loads(body)["detail"], (clause, status, body)
        assert server.sql("SHOW VIEWS") == []


def test_view_an_event_without_a_time_is_a_dead_letter_and_never_now():
    """S1: an event time that is absent, null or unparsable is a dead letter, never the time of its arrival."""
    with Server() as server:
        server.sql("CREATE STREAM s (ts TIMESTAMP, EVENT TIME ts) PARTITIONS 1")
        server.sql("CREATE MATERIALIZED VIEW v AS SELECT window_start, count(*) AS c FROM TUMBLE(s, 1h) GROUP BY window_start")
        status, answer = server.post("s", '{"ts":"2024-01-01T00:00:00Z"}\n{}\n{"ts":null}\n{"ts":"yesterday"}\n{"ts":true}\n{"ts":1e400}\n')
        assert status == 200 and answer["accepted"] == 1 and answer["rejected"] == 5, answer
        assert {e["code"] for e in answer["errors"]} == {"bad_event_time"}, answer
        assert server.sql("SELECT window_start, c FROM v") == [["2024-01-01T00:00:00.000Z", 1]]
        assert server.sql("SELECT reason, count(*) FROM s_dead_letters GROUP BY 1") == [["bad_event_time", 5]]
        assert server.sql("SELECT seen, late FROM sys.views") == [[1, 0]]


def test_view_append_times_never_go_back():
    """S2: an entry's append time is the leader's, and within a shard none is below one before it, over restarts too."""
    with Server() as server:
        server.sql("CREATE STREAM s (n INTEGER, ts TIMESTAMP, EVENT TIME ts) PARTITIONS 3")
        for i in range(30):
            assert server.post("s", json.dumps({"n": i, "ts": "2024-01-01T00:00:00Z"}))[0] == 200
            if i % 10 == 9:
                server.kill()
                server.start()
        times = [row[0] for row in server.sql("SELECT epoch_ms(_append_time) FROM s ORDER BY n")]
        assert len(times) == 30 and times == sorted(times), times
        assert server.sql("SELECT count(*) FROM s WHERE epoch_ms(ts) > epoch_ms(_append_time)") == [[0]]


def test_view_one_bad_clock_makes_nothing_late():
    """S5: an event further ahead than MAX FUTURE is a dead letter and moves no watermark."""
    with Server() as server:
        server.sql("CREATE STREAM s (k INTEGER, ts TIMESTAMP, EVENT TIME ts MAX FUTURE 1m) PARTITIONS 1")
        server.sql("CREATE MATERIALIZED VIEW v AS SELECT window_start, count(*) AS c FROM TUMBLE(s, 1h) GROUP BY window_start LATENESS 0s")
        assert server.post("s", '{"k":1,"ts":"2024-01-01T00:10:00Z"}')[0] == 200
        status, answer = server.post("s", '{"k":2,"ts":"2999-01-01T00:00:00Z"}')
        assert status == 400 and answer["errors"][0]["code"] == "future_event_time", answer
        assert server.post("s", '{"k":3,"ts":"2024-01-01T00:00:00Z"}')[0] == 200
        assert server.sql("SELECT c FROM v") == [[2]]
        assert server.sql("SELECT max_event_time FROM sys.watermarks") == [["2024-01-01T00:10:00.000Z"]]
        assert server.sql("SELECT reason FROM s_dead_letters") == [["future_event_time"]]
