"""The main job end to end: ingest, duplicates, rejects, windows, restarts, kills, the command line."""
import collections
import gzip
import http.client
import json
import os
import random
import re
import shutil
import socket
import subprocess
import tempfile
import threading
import time

from harness import (
    ACCESS_SQL, EVENTS, Server, Skip, WEIR, Work, children_of, counters, cpu_ticks, example_lines, send_all, truth, view_table, wait_for,
    wait_live)


def test_example_file_equals_an_independent_recomputation():
    lines = example_lines()
    accepted, duplicates, reasons, table = truth(lines)
    with Server() as server:
        server.create_access()
        total = send_all(server, lines, 500)
        assert (total["accepted"], total["duplicates"], total["rejected"]) == (accepted, duplicates, sum(reasons.values())), total
        got = dict(server.sql("SELECT reason, count(*) FROM access_dead_letters GROUP BY 1"))
        assert got == dict(reasons), (got, reasons)
        assert view_table(server) == table
        raw = {r[0] for r in server.sql("SELECT raw FROM access_dead_letters")}
        assert all(line.decode() in raw for line in lines if line.startswith(b"{\"event_id\":") is False and line.strip()), "bytes unchanged"
        by_status = dict(server.sql("SELECT status, count(*) FROM access GROUP BY 1"))
        want = collections.Counter()
        for (_, status), (n, _) in table.items():
            want[status] += n
        assert by_status == dict(want)
        # The same lines again: nothing is stored, every valid line is a duplicate.
        again = send_all(server, lines, 500)
        assert (again["accepted"], again["duplicates"]) == (0, accepted + duplicates), again
        assert view_table(server) == table
        wait_for(lambda: counters(server)["duplicate"] == 2 * duplicates + accepted, "the counts of duplicates")
        now = counters(server)
        assert now["received"] == now["stored"] + now["duplicate"] + now["dead_lettered"] + now["refused"] == 2 * len([l for l in lines if l.strip()])


def test_the_cut_into_requests_changes_nothing():
    lines = example_lines()
    seen = []
    for size in (1, 37, 500, len(lines)):
        with Server() as server:
            server.create_access()
            total = send_all(server, lines, size)
            rows = server.sql("SELECT event_id, method, path, status, bytes, ts FROM access ORDER BY 1", max_rows=100000)
            seen.append((dict(total), view_table(server), rows))
    assert all(one == seen[0] for one in seen[1:]), [s[0] for s in seen]


def test_many_connections_and_kill_9_lose_and_double_nothing():
    """rule: an acknowledged event is fsynced: kill -9 at any moment, clients resend what was not acknowledged, nothing is lost or double"""
    lines = example_lines()
    accepted, _, reasons, table = truth(lines)
    rng = random.Random(7)
    with Server() as server:
        server.create_access()
        pending = [lines[i:i + 4] for i in range(0, len(lines), 4)]
        rng.shuffle(pending)          # any order: LATENESS 7d covers it
        lock = threading.Lock()
        answered = []
        work = Work()

        def client():
            while True:
                with lock:
                    if not pending:
                        return
                    batch = pending.pop()
                try:
                    work.begin()
                    status, answer = server.post("access", b"\n".join(batch))
                    assert status in (200, 400), answer
                    answered.append(answer["accepted"])
                except (OSError, http.client.HTTPException, ValueError):
                    with lock:
                        pending.append(batch)          # not acknowledged: again
                    server.up.wait(60)

        threads = [threading.Thread(target=client) for _ in range(6)]
        for thread in threads:
            thread.start()
        kills = 0
        while kills < 10 and any(thread.is_alive() for thread in threads):
            work.wait_for_more(rng.randint(1, 20), 1)
            server.kill()
            kills += 1
            server.start()
        for thread in threads:
            thread.join()
        assert kills >= 3, kills
        assert view_table(server) == table
        assert server.sql("SELECT count(*), count(DISTINCT event_id) FROM access")[0] == [accepted, accepted]
        assert counters(server)["stored"] == accepted
        got = {r[0] for r in server.sql("SELECT reason FROM access_dead_letters", max_rows=100000)}
        assert got == set(reasons)
        server.kill()
        server.start()
        assert view_table(server) == table


def test_with_little_lateness_view_and_late_rows_add_up():
    lines = example_lines()
    accepted = truth(lines)[0]
    random.Random(3).shuffle(lines)
    with Server() as server:
        server.create_access(lateness="0s")
        send_all(server, lines, 200)
        windowed = sum(n for n, _ in view_table(server).values())
        late = server.sql("SELECT count(*) FROM access_1h_late")[0][0]
        assert windowed + late == accepted and late > 0, (windowed, late, accepted)
        seen, filtered, inside, outside = server.sql("SELECT seen, filtered, windowed, late FROM sys.views WHERE name = 'access_1h'")[0]
        assert (seen, inside, outside, filtered) == (accepted, windowed, late, 0)
        before = view_table(server)
        server.kill()
        server.start()
        assert view_table(server) == before
        assert server.sql("SELECT count(*) FROM access_1h_late")[0][0] == late


def test_a_view_over_events_that_are_there_equals_one_from_the_start():
    lines = example_lines()
    table = truth(lines)[3]
    with Server() as server:
        create_stream, create_view = [s for s in open(ACCESS_SQL).read().split(";") if s.strip()]
        server.sql(create_stream)
        send_all(server, lines, 300)
        server.sql(create_view)
        wait_live(server, "access_1h")
        assert view_table(server) == table
        server.kill()
        server.start()
        assert view_table(server) == table


def test_restart_keeps_everything_and_sigterm_ends_with_0():
    lines = example_lines()
    table = truth(lines)[3]
    sent = 2 * len([l for l in lines if l.strip()])
    with Server() as server:
        server.create_access()
        send_all(server, lines, 1000)
        send_all(server, lines, 1000)          # the counts of the last second's duplicates are in no entry yet
        assert server.stop() == 0
        server.start()
        assert view_table(server) == table
        after = counters(server)
        assert after["received"] == sent, (after, sent)
        stored = after["stored"]
        assert server.sql("SELECT state FROM sys.views") == [["live"]]
        send_all(server, lines, 1000)
        assert counters(server)["stored"] == stored
        server.kill()
        server.start()
        assert counters(server)["stored"] == stored and view_table(server) == table


def test_sigterm_does_not_wait_for_a_long_query():
    with Server() as server:
        server.post("t", '{"a":1}')
        endless = "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x+1 FROM c) SELECT count(*) FROM c"
        query = threading.Thread(target=lambda: server.sql_answer(endless, timeout_ms=120000))
        query.start()
        wait_for(lambda: any(cpu_ticks(child) > 5 for child in children_of(server.pid())), "a worker to be at it")
        begin = time.monotonic()
        try:
            assert server.stop() == 0
        finally:
            query.join()
        assert time.monotonic() - begin < 20
        server.start()


def test_a_view_built_over_many_late_rows_adds_up():
    lines = [json.dumps({"event_id": str(i), "pad": "x" * 2000, "timestamp": "2024-01-0%dT00:00:00Z" % (9 if i < 4 else 1)}) for i in range(12000)]
    with Server() as server:
        server.sql("CREATE STREAM s (event_id TEXT, ts TIMESTAMP FROM '$.timestamp', EVENT TIME ts, DEDUP KEY (event_id) WITHIN 1h) PARTITIONS 1")
        for i in range(0, len(lines), 1000):
            assert server.post("s", "\n".join(lines[i:i + 1000]))[0] == 200
        server.sql("CREATE MATERIALIZED VIEW v AS SELECT window_start, count(*) AS n FROM TUMBLE(s, 1h) GROUP BY window_start LATENESS 0s")
        wait_live(server, "v")
        late = server.sql("SELECT count(*) FROM v_late")[0][0]
        inside = server.sql("SELECT sum(n) FROM v")[0][0]
        assert (inside, late) == (4, len(lines) - 4), (inside, late)
        assert server.sql("SELECT state, seen, late FROM sys.views") == [["live", len(lines), late]]
        server.kill()
        server.start()
        assert server.sql("SELECT count(*) FROM v_late")[0][0] == late


def test_counters_add_up_at_every_moment():
    lines = example_lines()
    with Server() as server:
        server.create_access()
        stop = threading.Event()

        def load():
            i = 0
            while not stop.is_set():
                server.post("access", b"\n".join(lines[i % 1500:i % 1500 + 100]))
                i += 100

        thread = threading.Thread(target=load)
        thread.start()
        try:
            for _ in range(60):
                rows = server.sql("SELECT c.received, c.stored, c.duplicate, c.dead_lettered, c.refused, v.seen, v.filtered, v.windowed, "
                                  "v.late, (SELECT count(*) FROM access), (SELECT sum(n) FROM access_1h), "
                                  "(SELECT count(*) FROM access_1h_late) FROM sys.counters c, sys.views v")
                r, s, d, l, f, seen, filtered, windowed, late, events, n, late_rows = rows[0]
                assert r == s + d + l + f
                assert seen == filtered + windowed + late
                assert (events, seen, n or 0, late_rows) == (s, s, windowed, late), rows     # one read = one index
        finally:
            stop.set()
            thread.join()


def test_read_your_writes():
    with Server() as server:
        for i in range(50):
            status, answer = server.post("t", json.dumps({"event_id": f"a{i}"}))
            assert status == 200 and answer["accepted"] == 1, answer
            assert server.sql("SELECT count(*) FROM t", min_index=answer["applied_index"])[0][0] == i + 1
            assert server.sql("SELECT count(*) FROM t")[0][0] == i + 1


def test_undeclared_stream_keeps_bytes_and_dedups_by_event_id():
    with Server() as server:
        odd = '{"event_id":"x", "event_id":"y", "n": 12345678901234567890, "r": 1e400, "s":"\\u00e9é", "timestamp":"2024-01-02T03:04:05+02:00"}'
        status, answer = server.post("odd", odd, "application/json")
        assert status == 200 and answer["accepted"] == 1, answer
        status, answer = server.post("odd", '{"event_id":"x"}', "application/json")
        assert answer["duplicates"] == 1 and answer["duplicate_of"][0]["index"] == 0, answer
        status, answer = server.post("odd", '[{"a":1},{"a":1}]', "application/json")
        assert answer["accepted"] == 2, answer
        _, _, body = server.request("GET", "/v1/streams/odd/events?limit=10")
        assert odd.encode() in body, body
        status, _, body = server.sql_answer("SELECT event_id, event_time, payload FROM odd WHERE event_id IS NOT NULL")
        assert status == 200 and ('["x","2024-01-02T01:04:05.000Z",' + odd + "]").encode() in body, body


def test_events_page_through_a_stream_by_cursor():
    with Server() as server:
        for i in range(0, 300, 30):
            server.post("s", "\n".join(json.dumps({"event_id": str(k), "k": k}) for k in range(i, i + 30)))
        got, cursor = [], ""
        for _ in range(100):
            status, _, body = server.request("GET", f"/v1/streams/s/events?limit=17{cursor}")
            assert status == 200, body
            page = json.loads(body)
            if not page["events"]:
                break
            got += [e["value"]["k"] for e in page["events"]]
            cursor = "&from=" + page["next"]
        assert sorted(got) == list(range(300)) and len(got) == 300
        status, _, body = server.request("GET", "/v1/streams/s")
        info = json.loads(body)
        assert sum(p["end_offset"] for p in info["partitions"]) == 300, info


def test_hostile_requests_get_a_clear_answer_and_the_server_lives():
    with Server() as server:
        server.create_access()

        def code(status, body):
            return status, json.loads(body).get("code")

        status, answer = server.post("access", b"")
        assert status == 200 and answer["accepted"] == answer["rejected"] == 0
        status, answer = server.post("access", b"not json\n")
        assert status == 400 and answer["rejected"] == 1 and answer["errors"][0]["code"] == "malformed_json", answer
        status, answer = server.post("access", b"x", "text/html")
        assert status == 415, answer
        assert server.request("GET", "/nothing")[0] == 404
        assert server.request("DELETE", "/v1/sql")[0] == 405
        assert server.request("GET", "/v1/streams", headers={"Host": "evil.example"})[0] == 421
        assert server.request("GET", "/v1/streams", headers={"Origin": "http://evil.example"})[0] == 403
        assert server.request("POST", "/v1/sql", "SELECT 1", headers={"Sec-Fetch-Site": "cross-site"})[0] == 403
        bomb = gzip.compress(b"\n" * (200 << 20), 9)
        status, _, body = server.request("POST", "/v1/streams/access/events", bomb,
                                         {"Content-Type": "application/x-ndjson", "Content-Encoding": "gzip"})
        assert status == 413, (status, body)
        deep = b'{"event_id":"d","a":' + b"[" * 100000 + b"]" * 100000 + b"}"
        status, answer = server.post("access", deep)
        assert answer["errors"][0]["code"] == "too_deep", answer
        # A request that two parsers would cut differently is refused and the connection closed.
        with socket.create_connection(("127.0.0.1", server.port)) as raw:
            raw.sendall(b"POST /v1/streams/access/events HTTP/1.1\r\nHost: localhost\r\nContent-Length: 6\r\nTransfer-Encoding: chunked\r\n\r\n"
                        b"0\r\n\r\nGET /v1/streams HTTP/1.1\r\nHost: localhost\r\n\r\n")
            raw.settimeout(10)
            answer = b""
            while True:
                chunk = raw.recv(4096)
                if not chunk:
                    break
                answer += chunk
            assert answer.startswith(b"HTTP/1.1 400") and b"\nHTTP/1.1 " not in answer, answer
        for statement, want in (("SELEKT 1", 400), ("SELECT * FROM nowhere", 404), ("CREATE STREAM access (a TEXT)", 409),
                                ("DROP STREAM access", 409), ("PRAGMA user_version", 400), ("ATTACH 'x' AS y", 400),
                                ("SELECT * FROM _objects", 404), ("SELECT load_extension('x')", 400)):
            got = server.sql_answer(statement)
            assert got[0] == want or (want in (400, 404) and got[0] in (400, 403, 404)), (statement, got)
        status, _, body = server.sql_answer("WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x+1 FROM c) SELECT count(*) FROM c", timeout_ms=500)
        assert status == 408, (status, body)
        server.sql_answer("SELECT length(printf('%.*c', 900000000, 'x'))", timeout_ms=1000)
        assert server.sql("SELECT 1 + 1") == [[2]]
        assert server.process.poll() is None


def test_types_and_times_in_sql():
    with Server() as server:
        server.create_access()
        send_all(server, example_lines(), 1000)
        first, last = server.sql("SELECT min(ts), max(ts) FROM access")[0]
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", first), first
        every = server.sql("SELECT count(*) FROM access")[0][0]
        assert server.sql(f"SELECT count(*) FROM access WHERE ts >= '{first}' AND ts <= '{last}'")[0][0] == every
        assert server.sql(f"SELECT count(*) FROM access WHERE ts > '{first}'")[0][0] < every
        assert server.sql(f"SELECT count(*) FROM access WHERE ts BETWEEN '{first}' AND '{first}'")[0][0] >= 1
        assert server.sql(f"SELECT sum(n) FROM access_1h WHERE window_start <= '{last}'")[0][0] == every
        rows = server.sql("SELECT user_id, path, ts, _partition, _offset FROM access WHERE ts >= '2000-01-01T00:00:00Z' ORDER BY ts DESC LIMIT 10")
        assert len(rows) == 10 and rows == sorted(rows, key=lambda r: r[2], reverse=True)
        joined = server.sql("SELECT count(*) FROM access a JOIN access_1h v ON v.window_start = bucket(a.ts, '1h') AND v.status = a.status")
        assert joined[0][0] == every
        status, _, body = server.request("POST", "/v1/sql?format=ndjson", "SELECT 9223372036854775807 AS big, 'x' AS t")
        assert status == 200 and body == b'{"big":9223372036854775807,"t":"x"}\n', body
        assert [r[0] for r in server.sql("SHOW STREAMS")] == ["access"]


def test_a_sql_worker_does_not_outlive_the_server():
    """rule: user SQL runs in worker processes: an idle worker is gone within a second of its server"""
    with Server() as server:
        server.post("t", '{"a":1}')
        server.sql("SELECT count(*) FROM t")
        children = subprocess.run(["ps", "-o", "pid=", "--ppid", str(server.process.pid)], capture_output=True, text=True).stdout.split()
        assert children, "the query ran in the server's own process"
        server.kill()
        wait_for(lambda: not any(os.path.exists(f"/proc/{pid}") and open(f"/proc/{pid}/stat").read().split()[2] != "Z" for pid in children),
                 "the worker is gone", 1)
        server.start()


def test_one_directory_one_server_and_foreign_files_stay():
    with Server() as server:
        foreign = os.path.join(server.data, "d", "notes.txt")
        os.makedirs(os.path.join(server.data, "d", "wal", "mine"), exist_ok=True)
        open(foreign, "w").write("mine")
        second = subprocess.run([WEIR, "serve", "--data", os.path.join(server.data, "d"), "--http", "127.0.0.1:0"], capture_output=True, timeout=30)
        assert second.returncode == 6 and b"error" in second.stderr, second
        server.stop()
        server.start()
        assert open(foreign).read() == "mine" and os.path.isdir(os.path.join(server.data, "d", "wal", "mine"))


def test_an_acknowledgement_follows_the_flush():
    """rule: an acknowledged event is fsynced: the answer leaves after the fdatasync behind the write that holds the event"""
    if shutil.which("strace") is None:
        raise Skip("strace is not installed")
    trace = tempfile.NamedTemporaryFile(prefix="weir-strace-", delete=False)
    try:
        with Server(prefix=["strace", "-f", "-qq", "-ttt", "-s", "500", "-o", trace.name, "-e", "trace=fdatasync,fsync,write,writev,sendto,sendmsg,pwritev,pwrite64"]) as server:
            server.post("t", '{"event_id":"first"}')
            mark = time.time()
            server.post("t", '{"event_id":"marked-event"}')
        lines = [l for l in open(trace.name, errors="replace") if float(l.split()[1]) >= mark]
        written = next(i for i, l in enumerate(lines) if "marked-event" in l and "pwrite" in l)
        synced = next(i for i, l in enumerate(lines) if i > written and re.search(r"fdatasync.*= 0", l))
        answered = next(i for i, l in enumerate(lines) if re.search(r"HTTP/1\.1 200", l))
        assert written < synced < answered, (written, synced, answered)
    finally:
        os.unlink(trace.name)


def test_a_full_disk_is_503_and_heals():
    if os.geteuid() != 0:
        raise Skip("mounting a small file system needs root")
    point = tempfile.mkdtemp(prefix="weir-full-")
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=320m", "tmpfs", point], capture_output=True).returncode != 0:
        os.rmdir(point)
        raise Skip("cannot mount tmpfs here")
    try:
        with Server(data=point) as server:
            assert server.post("t", '{"event_id":"before"}')[0] == 200
            ballast = os.path.join(point, "ballast")
            with open(ballast, "wb") as f:
                try:
                    while True:
                        f.write(b"\0" * (1 << 20))
                        f.flush()
                except OSError:
                    pass

            def refused():
                status, answer = server.post("t", '{"event_id":"during"}')
                return status == 503 and answer["code"] == "disk_full"

            wait_for(refused, "503 disk_full", 10)
            status, headers, body = server.request("GET", "/readyz")    # ready means: for reads and for writes
            assert status == 503 and json.loads(body)["code"] == "disk_full" and "retry-after" in headers, body
            assert server.sql("SELECT count(*) FROM t")[0][0] >= 1      # reads go on
            os.unlink(ballast)
            wait_for(lambda: server.post("t", '{"event_id":"after"}')[0] == 200, "room again", 10)
            assert server.request("GET", "/readyz")[0] == 200
            server.kill()
            server.start()
            ids = {r[0] for r in server.sql("SELECT event_id FROM t")}
            assert {"before", "after"} <= ids, ids
    finally:
        subprocess.run(["umount", "-l", point])
        os.rmdir(point)


def test_the_command_line_from_the_readme():
    with Server() as server:
        assert server.cli("sql", "-f", ACCESS_SQL).returncode == 0
        produced = server.cli("produce", "access", EVENTS, "-o", "json")
        assert produced.returncode == 7, produced       # some lines were rejected
        result = json.loads(produced.stdout)
        accepted, duplicates, reasons, _ = truth(example_lines())
        assert (result["accepted"], result["duplicates"], result["rejected"]) == (accepted, duplicates, sum(reasons.values())), result
        answer = server.cli("sql", "SELECT count(*) AS n FROM access", "-o", "json")
        assert answer.returncode == 0 and json.loads(answer.stdout)["rows"] == [[accepted]], answer
        for words in (("stream", "ls"), ("stream", "info", "access"), ("status",), ("tail", "access", "-n", "3"), ("version",), ("--help",)):
            done = server.cli(*words)
            assert done.returncode == 0 and done.stdout, (words, done)
        assert server.cli("stream", "info", "nowhere").returncode == 5
        assert server.cli("sql", "SELEKT").returncode == 1
        assert server.cli("no-such-command").returncode == 2
    unreachable = subprocess.run([WEIR, "status", "--server", "http://127.0.0.1:1"], capture_output=True, timeout=30)
    assert unreachable.returncode == 3, unreachable


def test_metrics_have_standard_names():
    with Server() as server:
        server.post("t", '{"event_id":"1"}')
        status, headers, body = server.request("GET", "/metrics")
        assert status == 200 and headers["content-type"].startswith("text/plain"), headers
        text = body.decode()
        for name in ("weir_events_total", "weir_wal_flush_seconds_bucket", "weir_http_requests_total", "weir_visible_index"):
            assert re.search(rf"^{name}[ {{]", text, re.M), name
        assert server.request("GET", "/livez")[0] == 200
        assert server.request("GET", "/readyz")[0] == 200
