"""Time: ticks, FLUSH, background builds."""
import http.client
import json
import re
import threading

from harness import Server, wait_for, wait_live

MINUTES = "SELECT window_start, count(*) AS n FROM TUMBLE(s, 1m) GROUP BY window_start"


def test_time_flush_closes_windows_and_what_comes_after_is_late():
    with Server() as server:
        server.sql("CREATE STREAM s (id TEXT, ts TIMESTAMP, EVENT TIME ts DELAY 10s, DEDUP KEY (id) WITHIN 1h) PARTITIONS 3")
        server.sql(f"CREATE MATERIALIZED VIEW v AS {MINUTES}")
        server.post("s", "\n".join(json.dumps({"id": f"a{i}", "ts": f"2026-01-01T00:{i:02d}:30Z"}) for i in range(20)))
        server.sql("FLUSH v")
        marks = server.sql("SELECT watermark FROM sys.watermarks WHERE view = 'v'")
        assert marks == [["2026-01-01T00:19:20.000Z"]] * 3, marks
        server.post("s", '{"id":"late","ts":"2026-01-01T00:05:00Z"}')
        assert server.sql("SELECT seen, windowed, late FROM sys.views") == [[21, 20, 1]]
        before = server.sql("SELECT * FROM v ORDER BY 1")
        server.kill()
        server.start()
        assert server.sql("SELECT watermark FROM sys.watermarks WHERE view = 'v'") == marks
        assert server.sql("SELECT * FROM v ORDER BY 1") == before
        status, _, body = server.sql_answer("FLUSH s")
        assert status == 404 and b"but a stream" in body, (status, body)


def test_time_an_idle_partition_goes_on_by_ticks():
    with Server() as server:
        server.sql("CREATE STREAM s (id TEXT, k TEXT, ts TIMESTAMP, EVENT TIME ts IDLE AFTER 200ms, DEDUP KEY (id) WITHIN 1h) PARTITIONS 1 BY k")
        server.sql("CREATE MATERIALIZED VIEW v AS SELECT window_start, count(*) AS n FROM TUMBLE(s, 500ms) GROUP BY window_start")
        server.post("s", '{"id":"1","ts":"2026-01-01T00:00:00.100Z"}')
        wait_for(lambda: server.sql("SELECT watermark >= '2026-01-01T00:00:00.500Z', idle FROM sys.watermarks") == [[1, 1]], "a tick")
        server.post("s", '{"id":"2","ts":"2026-01-01T00:00:00.200Z"}')
        assert server.sql("SELECT windowed, late FROM sys.views") == [[1, 1]]
        server.kill()
        server.start()
        assert server.sql("SELECT windowed, late FROM sys.views") == [[1, 1]]
        # Nothing is open: no more ticks.
        entries = lambda: int(re.search(rb"^weir_entries_total (\d+)", server.request("GET", "/metrics")[2], re.M).group(1))
        before = entries()
        server.sql("SELECT count(*) FROM s")
        assert entries() - before <= 1, "a second of counts at most"


def test_time_a_view_is_built_in_the_background_and_a_restart_goes_on():
    count = 200_000
    with Server() as server:
        server.sql("CREATE STREAM s (id TEXT, ts TIMESTAMP, EVENT TIME ts, DEDUP KEY (id) WITHIN 1h) PARTITIONS 2")
        for first in range(0, count, 10_000):
            lines = "\n".join(json.dumps({"id": str(i), "ts": 1_767_225_600_000 + i, "pad": "x" * 200}) for i in range(first, first + 10_000))
            assert server.post("s", lines)[0] == 200

        def create():
            try:
                server.sql_answer(f"CREATE MATERIALIZED VIEW v AS {MINUTES} LATENESS 1h")
            except (OSError, http.client.HTTPException):
                pass                                     # killed before it answered

        created = threading.Thread(target=create)
        created.start()
        wait_for(lambda: server.sql("SELECT count(*) FROM sys.views") == [[1]], "the view is there")
        state, progress = server.sql("SELECT state, progress FROM sys.views")[0]
        assert state in ("building", "live") and 0 <= progress <= 1
        if state == "building":
            status, headers, body = server.sql_answer("SELECT * FROM v")
            assert (status, json.loads(body)["code"]) == (503, "building") or server.sql("SELECT state FROM sys.views") == [["live"]], (status, body)
        server.kill()
        created.join()
        server.start()
        if server.sql("SELECT count(*) FROM sys.views") == [[0]]:
            server.sql(f"CREATE MATERIALIZED VIEW v AS {MINUTES} LATENESS 1h")      # the kill came before its entry
        server.post("s", '{"id":"more","ts":1767225600000}')
        wait_live(server, "v")
        assert server.sql("SELECT sum(n) FROM v") == [[count + 1]]
        server.sql(f"CREATE MATERIALIZED VIEW w AS {MINUTES} LATENESS 1h FROM NOW")
        assert server.sql("SELECT state, seen FROM sys.views WHERE name = 'w'") == [["live", 0]]
        server.post("s", '{"id":"more2","ts":1767225600000}')
        assert server.sql("SELECT sum(n) FROM w") == [[1]]
