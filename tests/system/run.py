#!/usr/bin/env python3
"""System tests: the real binary, real sockets, real files, real kills. usage: run.py path/to/weir [name-part ...]"""
import collections
import gzip
import http.client
import json
import os
import random
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import traceback

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
EVENTS = os.path.join(ROOT, "examples", "events.ndjson.gz")
ACCESS_SQL = os.path.join(ROOT, "examples", "access.sql")
WEIR = None


class Skip(Exception):
    pass


# ---- a server ----


class Server:
    def __init__(self, data=None, extra=(), env=None, prefix=()):
        self.own = data is None
        self.data = data or tempfile.mkdtemp(prefix="weir-test-")
        self.extra = list(extra)
        self.env = dict(os.environ, **(env or {}))
        self.prefix = list(prefix)
        self.listen = "127.0.0.1:0"
        self.process = None
        self.start()

    def start(self):
        self.log = tempfile.NamedTemporaryFile(mode="w+", prefix="weir-log-", delete=False)
        self.process = subprocess.Popen(
            self.prefix + [WEIR, "serve", "--data", os.path.join(self.data, "d"), "--http", self.listen] + self.extra,
            stdout=subprocess.DEVNULL, stderr=self.log, env=self.env)
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            text = open(self.log.name).read()
            if "ready in" in text:
                self.port = int(re.search(r"http://127\.0\.0\.1:(\d+)/v1/streams", text).group(1))
                return
            if self.process.poll() is not None:
                raise AssertionError(f"the server ended with {self.process.returncode}: {text}")
            time.sleep(0.005)
        raise AssertionError("the server is not ready after 60 s: " + open(self.log.name).read())

    def pid(self):
        """Of the server itself, also below strace."""
        if not self.prefix:
            return self.process.pid
        return int(subprocess.run(["ps", "-o", "pid=", "--ppid", str(self.process.pid)], capture_output=True, text=True).stdout.split()[0])

    def kill(self):
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()
        self.forget_log()

    def forget_log(self):
        os.unlink(self.log.name)

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        code = self.process.wait(timeout=60)
        self.forget_log()
        return code

    def close(self):
        if self.process.poll() is None:
            os.kill(self.pid(), signal.SIGTERM)
            try:
                self.process.wait(timeout=30)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        if os.path.exists(self.log.name):
            os.unlink(self.log.name)
        if self.own:
            shutil.rmtree(self.data, ignore_errors=True)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    # -- requests --

    def request(self, method, path, body=None, headers=None, timeout=60):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout)
        try:
            connection.request(method, path, body, headers or {})
            answer = connection.getresponse()
            return answer.status, dict((k.lower(), v) for k, v in answer.getheaders()), answer.read()
        finally:
            connection.close()

    def post(self, stream, body, kind="application/x-ndjson", headers=None):
        if isinstance(body, str):
            body = body.encode()
        status, _, answer = self.request("POST", f"/v1/streams/{stream}/events", body, {"Content-Type": kind, **(headers or {})})
        return status, json.loads(answer)

    def sql_answer(self, statement, **members):
        return self.request("POST", "/v1/sql", json.dumps({"query": statement, **members}), {"Content-Type": "application/json"})

    def sql(self, statement, **members):
        status, _, answer = self.sql_answer(statement, **members)
        assert status == 200, f"{statement}: {status} {answer}"
        return json.loads(answer)["rows"]

    def cli(self, *words, input=None):
        return subprocess.run([WEIR, *words], input=input, capture_output=True, timeout=120,
                              env=dict(os.environ, WEIR_SERVER=f"http://127.0.0.1:{self.port}"))

    def create_access(self, lateness="7d"):
        for statement in open(ACCESS_SQL).read().replace("LATENESS 7d", f"LATENESS {lateness}").split(";"):
            if statement.strip():
                self.sql(statement)


# ---- an oracle that shares no code with the server ----


def truth(lines):
    """What the access stream makes of these lines: accepted, duplicates, rejected by reason, hourly table."""
    import datetime
    seen, accepted, duplicates = {}, [], 0
    reasons = collections.Counter()
    for line in lines:
        line = line.strip(b"\r")
        if not line.strip():
            continue
        try:
            event = json.loads(line)
        except ValueError:
            reasons["malformed_json"] += 1
            continue
        if not isinstance(event, dict):
            reasons["not_an_object"] += 1
            continue
        if event.get("event_id") is None:
            reasons["missing_dedup_key"] += 1
            continue
        stamp = event.get("timestamp")
        try:
            at = datetime.datetime.fromisoformat(stamp.replace("Z", "+00:00"))
            assert at.tzinfo is not None
        except Exception:
            reasons["bad_event_time"] += 1
            continue
        properties = event.get("properties") or {}
        status, size = properties.get("status"), properties.get("bytes")
        if not isinstance(status, int) or isinstance(status, bool) or (size is not None and (not isinstance(size, int) or isinstance(size, bool))):
            reasons["wrong_type"] += 1
            continue
        if not 100 <= status <= 599 or (size or 0) < 0:
            reasons["check_failed"] += 1
            continue
        if event["event_id"] in seen:
            duplicates += 1
            continue
        seen[event["event_id"]] = True
        accepted.append((at, status, size))
    table = collections.defaultdict(lambda: [0, 0])
    for at, status, size in accepted:
        hour = at.astimezone(datetime.timezone.utc).replace(minute=0, second=0, microsecond=0)
        key = (hour.strftime("%Y-%m-%dT%H:%M:%S.000Z"), status)
        table[key][0] += 1
        table[key][1] += size or 0
    return len(accepted), duplicates, reasons, {k: tuple(v) for k, v in table.items()}


def example_lines():
    return gzip.open(EVENTS).read().split(b"\n")[:-1]


def view_table(server, view="access_1h"):
    return {(w, s): (n, b or 0) for w, s, n, b in
            server.sql(f"SELECT window_start, status, n, bytes FROM {view}", max_rows=1000000)}


def counters(server, stream="access"):
    row = server.sql(f"SELECT received, stored, duplicate, dead_lettered, refused FROM sys.counters WHERE stream = '{stream}'")[0]
    return dict(zip(("received", "stored", "duplicate", "dead_lettered", "refused"), row))


def wait_for(condition, what, seconds=20):
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if condition():
            return
        time.sleep(0.02)
    raise AssertionError("not within %d s: %s" % (seconds, what))


def wait_live(server, view):
    wait_for(lambda: server.sql(f"SELECT state FROM sys.views WHERE name = '{view}'") == [["live"]], f"view {view} is live", 60)


def send_all(server, lines, size):
    total = collections.Counter()
    for i in range(0, len(lines), size):
        status, answer = server.post("access", b"\n".join(lines[i:i + size]) + b"\n")
        assert status in (200, 400), (status, answer)
        for key in ("accepted", "duplicates", "rejected"):
            total[key] += answer[key]
    return total


# ---- tests ----


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

        def client():
            while True:
                with lock:
                    if not pending:
                        return
                    batch = pending.pop()
                try:
                    status, answer = server.post("access", b"\n".join(batch))
                    assert status in (200, 400), answer
                    answered.append(answer["accepted"])
                except (OSError, http.client.HTTPException, ValueError):
                    with lock:
                        pending.append(batch)          # not acknowledged: again
                    time.sleep(0.01)

        threads = [threading.Thread(target=client) for _ in range(6)]
        for thread in threads:
            thread.start()
        kills = 0
        while kills < 10 and any(thread.is_alive() for thread in threads):
            time.sleep(rng.uniform(0.005, 0.05))
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
        time.sleep(0.3)
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
            time.sleep(0.5)
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


# ---- the outside contract, sentence by sentence: each test repeats what it shows ----


def ndjson(events):
    return "\n".join(event if isinstance(event, str) else json.dumps(event) for event in events)


def reasons_of(answer):
    return [(e["index"], e["code"]) for e in answer["errors"]]


def problem(answer):
    """Status, code and position of a refused statement."""
    status, headers, body = answer
    assert headers["content-type"] == "application/problem+json", headers
    told = json.loads(body)
    return status, told.get("code"), told.get("position")


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


# ---- time: ticks, FLUSH, background builds ----

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
        created = threading.Thread(target=lambda: server.sql_answer(f"CREATE MATERIALIZED VIEW v AS {MINUTES} LATENESS 1h"))
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


# ---- configuration and API keys ----

KEYS = {"reader": "read-" + "r" * 30, "writer": "write-" + "w" * 30, "admin": "own-" + "a" * 30}


def auth_config(folder, text=""):
    """A configuration file with a key a role."""
    import hashlib
    path = os.path.join(folder, "weir.toml")
    keys = ", ".join('{ name = "%s", role = "%s", sha256 = "%s" }' % (r, r, hashlib.sha256(k.encode()).hexdigest()) for r, k in KEYS.items())
    with open(path, "w") as f:
        f.write(f"{text}[auth]\nkeys = [{keys}]\n")
    return path


def bearer(role):
    return {"Authorization": "Bearer " + KEYS[role]} if role else {}


def weir(*words, **env):
    """A command without a server: (exit code, stdout, stderr)."""
    done = subprocess.run([WEIR, *words], capture_output=True, text=True, timeout=60, env=dict(os.environ, **env))
    return done.returncode, done.stdout, done.stderr


def test_config_a_flag_wins_over_a_variable_over_the_file_over_the_default():
    folder = tempfile.mkdtemp(prefix="weir-config-")
    try:
        path = os.path.join(folder, "weir.toml")
        with open(path, "w") as f:
            f.write('[node]\nid = "file-1"\n[limits]\nmemory = "256MiB"\ndedup_memory = "8MiB"\n[http]\nlisten = "127.0.0.1:1"\nhosts = ["weir.example"]\n')
        env = {"WEIR_CONFIG": path, "WEIR_LIMITS_MEMORY": "1GiB", "WEIR_HTTP_LISTEN": "127.0.0.1:2"}
        with Server(env=env) as server:          # says --data and --http
            got = {key: (value, origin) for key, value, origin in server.sql("SELECT key, value, origin FROM sys.config")}
            assert got["node.id"] == ("file-1", "file"), got
            assert got["limits.memory"] == ("1GiB", "env") and got["limits.dedup_memory"] == ("8MiB", "file"), got
            assert got["http.listen"] == ("127.0.0.1:0", "flag") and got["node.data_dir"][1] == "flag", got
            assert got["storage.wal_bytes"] == ("1GiB", "default"), got
            assert server.sql("SELECT count(*) FROM sys.config WHERE origin = 'env'") == [[1]]
            # ... and each is what the server does.
            server.post("t", '{"event_id":"1"}')
            assert server.sql("SELECT leader FROM sys.streams") == [["file-1"]]
            assert server.request("GET", "/livez", headers={"Host": "weir.example"})[0] == 200
            assert server.request("GET", "/livez", headers={"Host": "other.example"})[0] == 421
        code, out, err = weir("config", "print", "--origin", "--node-id", "flag-1", **env)
        assert code == 0 and not err, (code, err)
        lines = {line.split(" = ")[0]: line for line in out.splitlines()}
        assert lines["node.id"].startswith('node.id = "flag-1"') and lines["node.id"].endswith("# flag --node-id"), lines
        assert lines["limits.memory"].endswith("# env WEIR_LIMITS_MEMORY"), lines
        assert lines["limits.dedup_memory"].endswith(f"# file {path}:5"), lines
        assert lines["storage.wal_bytes"].endswith("# default"), lines
        code, out, _ = weir("config", "print", **env)
        again = os.path.join(folder, "again.toml")
        open(again, "w").write(out)
        assert code == 0 and weir("config", "print", "--config", again)[1] == out, "what is printed is a file that says the same"
    finally:
        shutil.rmtree(folder)


def test_config_a_mistake_stops_the_start_and_is_told_with_its_line():
    folder = tempfile.mkdtemp(prefix="weir-config-")
    try:
        path = os.path.join(folder, "weir.toml")
        data = os.path.join(folder, "data")
        for text, want in (
                ('[http]\nlistn = "127.0.0.1:1"\n', ":2: unknown key http.listn; did you mean http.listen?"),
                ('[htp]\nlisten = "127.0.0.1:1"\n', ":2: unknown key htp.listen; did you mean http.listen?"),
                ('[kafka]\nlisten = "127.0.0.1:9092"\n', ":2: unknown key kafka.listen; this version has the sections"),
                ("[limits]\n\nmemory = 512\n", ":3: limits.memory = 512: expected a size in quotes, with its unit"),
                ('[limits]\nmemory = "512 mb"\n', ':2: limits.memory = "512 mb": expected a size such as 512MiB, 64MiB at least'),
                ('[limits]\nmemory = "1MiB"\n', ":2: limits.memory = \"1MiB\": expected a size such as 512MiB, 64MiB at least"),
                ('insecure = "no"\n', ":1: insecure = no: expected a boolean (true or false), not a string"),
                ("[http\n", ":1:6: not TOML: "),
                ('[auth]\nkeys = [\n{ name = "a", role = "god", sha256 = "00" }]\n', ":3: auth.keys: expected keys with")):
            open(path, "w").write(text)
            for words in (("serve", "--data", data, "--http", "127.0.0.1:0"), ("config", "check"), ("config", "print")):
                code, out, err = weir(*words, "--config", path)
                assert code == 2 and not out and err.startswith(f"error: {path}{want}"), (text, words, code, err)
            assert not os.path.exists(data)
        open(path, "w").write('[node]\nid = "n9"\n')
        code, out, err = weir("config", "check", "--config", path)
        assert code == 0 and not out and err.startswith(f"good: 1 setting from {path}, "), (code, err)
        code, _, err = weir("config", "check", "--config", os.path.join(folder, "absent.toml"))
        assert code == 2 and "absent.toml: No such file or directory" in err, err
        code, _, err = weir("config", "check", "--config", os.path.join(ROOT, "config", "weir.toml"))
        assert code == 0, err
    finally:
        shutil.rmtree(folder)


def test_config_an_address_that_others_can_reach_needs_keys_or_the_word_insecure():
    folder = tempfile.mkdtemp(prefix="weir-config-")
    try:
        for address in ("0.0.0.0:0", "[::]:0"):
            code, out, err = weir("serve", "--data", os.path.join(folder, "d"), "--http", address)
            assert code == 2 and "there are no API keys" in err and "auth.keys" in err and "insecure = true" in err, (code, err)
        assert not os.path.exists(os.path.join(folder, "d"))

        def serves(words, env, headers):
            log = os.path.join(folder, "log")
            with open(log, "w") as f:
                process = subprocess.Popen([WEIR, "serve", "--data", os.path.join(folder, "d"), "--http", "0.0.0.0:0", *words],
                                           stdout=subprocess.DEVNULL, stderr=f, env=dict(os.environ, **env))
            try:
                wait_for(lambda: "ready in" in open(log).read() or process.poll() is not None, "the server is ready", 60)
                text = open(log).read()
                assert process.poll() is None, text
                port = int(re.search(r"http://0\.0\.0\.0:(\d+)/v1/streams", text).group(1))
                connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
                connection.request("GET", "/v1/streams", headers=headers)
                status = connection.getresponse().status
                connection.close()
                return status, text
            finally:
                process.terminate()
                process.wait(timeout=60)

        assert serves(["--insecure"], {}, {})[0] == 200
        path = auth_config(folder)
        assert serves(["--config", path], {}, {})[0] == 401
        status, text = serves([], {"WEIR_CONFIG": path}, bearer("reader"))
        assert status == 200 and "unencrypted" in text, (status, text)
        # Nobody is asked for keys that are switched off: they count as none.
        code, _, err = weir("serve", "--data", os.path.join(folder, "d"), "--http", "0.0.0.0:0", WEIR_CONFIG=path, WEIR_AUTH_MODE="none")
        assert code == 2 and "there are no API keys" in err, err
    finally:
        shutil.rmtree(folder)


def test_auth_every_route_wants_its_role():
    folder = tempfile.mkdtemp(prefix="weir-auth-")
    try:
        with Server(extra=["--config", auth_config(folder)]) as server:
            roles = (None, "wrong", "reader", "writer", "admin")

            def status(role, method, path, body=None, kind="text/plain"):
                headers = {"Authorization": "Bearer wrong"} if role == "wrong" else bearer(role)
                return server.request(method, path, body, {**headers, **({"Content-Type": kind} if body else {})})

            event = '{"event_id":"1"}'
            view = "CREATE MATERIALIZED VIEW v AS SELECT window_start, count(*) AS n FROM TUMBLE(t, 1h) GROUP BY window_start"
            # From which role on a request is answered, and how.
            for method, path, body, kind, least, want in (
                    ("GET", "/livez", None, None, 0, 200),
                    ("GET", "/readyz", None, None, 0, 200),
                    ("POST", "/v1/streams/t/events", event, "application/json", 3, 200),     # makes the stream
                    ("GET", "/", None, None, 2, 200),
                    ("GET", "/v1/streams", None, None, 2, 200),
                    ("GET", "/v1/streams/t", None, None, 2, 200),
                    ("GET", "/v1/streams/t/events", None, None, 2, 200),
                    ("GET", "/v1/views", None, None, 2, 200),
                    ("GET", "/v1/cluster", None, None, 2, 200),
                    ("GET", "/metrics", None, None, 2, 200),
                    ("GET", "/v1/metrics/history", None, None, 2, 200),
                    ("GET", "/nothing", None, None, 2, 404),
                    ("DELETE", "/v1/sql", None, None, 2, 405),
                    ("POST", "/v1/sql", "SELECT count(*) FROM t", None, 2, 200),
                    ("POST", "/v1/sql", "SHOW STREAMS", None, 2, 200),
                    ("POST", "/v1/sql", "SELECT value FROM sys.config", None, 2, 200),
                    ("POST", "/v1/sql?max_rows=10000", "SELECT 1", None, 2, 200),
                    ("POST", "/v1/sql?max_rows=10001", "SELECT 1", None, 4, 200),
                    ("POST", "/v1/sql?timeout_ms=10001", "SELECT 1", None, 4, 200),
                    ("POST", "/v1/sql", "CREATE STREAM made (a TEXT)", None, 4, 200),
                    ("POST", "/v1/sql", view, None, 4, 200),
                    ("POST", "/v1/sql", "DROP VIEW v", None, 4, 200),
                    ("POST", "/v1/sql", "DROP STREAM made", None, 4, 200)):
                for at, role in enumerate(roles):
                    expected = want if at >= least else 401 if at < 2 else 403
                    got, headers, answer = status(role, method, path, body, kind or "text/plain")
                    assert got == expected, (method, path, body, role, got, answer)
                    assert ("www-authenticate" in headers) == (expected in (401, 403)), (path, role, headers)
                    if expected in (401, 403):
                        problem = json.loads(answer)
                        assert problem["code"] == ("unauthorised" if expected == 401 else "forbidden"), problem
                        needed = {3: "writer", 4: "admin"}.get(least)
                        assert expected == 401 or f"needs the role {needed}" in problem["detail"], problem
            assert [r[0] for r in json.loads(status("reader", "POST", "/v1/sql", "SHOW STREAMS")[2])["rows"]] == ["t"]
            assert json.loads(status("reader", "POST", "/v1/sql", "SELECT count(*) FROM t")[2])["rows"] == [[1]]
            # Whatever a page or a probe sends, the key is looked at only where it stands.
            assert server.request("GET", "/v1/streams?access_token=" + KEYS["admin"])[0] == 401
            assert server.request("GET", "/v1/streams", headers={"Cookie": "key=" + KEYS["admin"]})[0] == 401
    finally:
        shutil.rmtree(folder)


def test_auth_failures_are_counted_and_logged_without_what_was_presented():
    folder = tempfile.mkdtemp(prefix="weir-auth-")
    try:
        with Server(extra=["--config", auth_config(folder)]) as server:
            begin = time.monotonic()
            for i in range(200):
                secret = "guessed-secret-%d" % i if i % 2 else "a" * 2000
                status, headers, body = server.request("GET", "/v1/streams", headers={"Authorization": "Bearer " + secret})
                assert status == 401 and secret.encode() not in body and 'error="invalid_token"' in headers["www-authenticate"], (headers, body)
            assert server.request("GET", "/v1/streams")[0] == 401
            assert server.request("POST", "/v1/sql", "DROP STREAM x", bearer("writer"))[0] == 403
            seconds = time.monotonic() - begin
            text = server.request("GET", "/metrics", headers=bearer("reader"))[2].decode()
            for reason, count in (("wrong_key", 200), ("missing", 1), ("role", 1), ("malformed", 0)):
                assert f'weir_auth_failures_total{{reason="{reason}"}} {count}\n' in text, (reason, text)
            log = open(server.log.name).read()
            lines = [line for line in log.splitlines() if " auth_failed " in line]
            assert 1 <= len(lines) <= seconds + 2 and "reason=wrong_key" in lines[0] and "peer=127.0.0.1:" in lines[0], lines
            everything = log + open(f"/proc/{server.process.pid}/cmdline").read() + json.dumps(json.loads(
                server.request("POST", "/v1/sql", "SELECT * FROM sys.config", bearer("reader"))[2]))
            for secret in ("guessed-secret", "aaaaaaaa", *KEYS.values()):
                assert secret not in everything, secret
            for digest in re.findall(r"[0-9a-f]{64}", open(os.path.join(folder, "weir.toml")).read()):
                assert digest not in everything and digest not in weir("config", "print", "--origin", WEIR_CONFIG=os.path.join(folder, "weir.toml"))[1]
            # A good user is served all the while.
            assert server.request("GET", "/v1/streams", headers=bearer("reader"))[0] == 200
    finally:
        shutil.rmtree(folder)


def test_auth_the_command_line_presents_a_key_and_says_4_without_one():
    folder = tempfile.mkdtemp(prefix="weir-auth-")
    try:
        root = os.path.join(folder, "root.key")
        with open(os.open(root, os.O_CREAT | os.O_WRONLY, 0o600), "w") as f:
            f.write("root-" + "0" * 30 + "\n")
        key_file = os.path.join(folder, "writer.key")
        with open(os.open(key_file, os.O_CREAT | os.O_WRONLY, 0o600), "w") as f:
            f.write(KEYS["writer"] + "\n")
        path = auth_config(folder)
        with Server(extra=["--config", path], env={"WEIR_AUTH_ROOT_KEY_FILE": root}) as server:
            at = {"WEIR_SERVER": f"http://127.0.0.1:{server.port}"}
            events = os.path.join(folder, "events.ndjson")
            open(events, "w").write('{"event_id":"1"}\n{"event_id":"2"}\n')
            commands = (("sql", "SELECT 1"), ("tail", "t", "-n", "1"), ("stream", "ls"), ("stream", "info", "t"), ("status",), ("produce", "t", events))
            for words in commands:
                code, out, err = weir(*words, **at)
                assert code == 4 and "API key" in err, (words, code, err)
                code, out, err = weir(*words, "--api-key", "nonsense", **at)
                assert code == 4 and "nonsense" not in err, (words, code, err)
            assert weir("produce", "t", events, "--api-key", KEYS["reader"], **at)[0] == 4
            assert weir("produce", "t", events, "--api-key-file", key_file, **at)[0] == 0
            for words in commands:
                code, out, err = weir(*words, WEIR_API_KEY=KEYS["writer"], **at)
                assert code == 0, (words, code, err)
            code, _, err = weir("sql", "DROP STREAM t", WEIR_API_KEY_FILE=key_file, **at)
            assert code == 4 and "needs the role admin; this key (writer) is a writer" in err, (code, err)
            assert weir("sql", "DROP STREAM t", WEIR_API_KEY_FILE=root, **at)[0] == 0
        code, _, err = weir("config", "check", "--config", path, WEIR_AUTH_ROOT_KEY_FILE=events)
        assert code == 2 and "can be read by others" in err, err
    finally:
        shutil.rmtree(folder)


# ---- architecture.md, "Rules that follow" ----

# Stops the server's apply thread where it looks at the disk's free space: it opens the FIFO that WEIR_TEST_GATE names,
# which blocks until somebody opens it for writing. Without the FIFO it goes on.
GATE_SOURCE = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>
#include <unistd.h>
static void pass(const char* path) {
    const char* gate = getenv("WEIR_TEST_GATE");
    const size_t n = strlen(path);
    if (gate == NULL || n < 9 || strcmp(path + n - 9, "/shards/0") != 0) return;
    const int fd = open(gate, O_RDONLY | O_CLOEXEC);
    if (fd >= 0) close(fd);
}
int statvfs(const char* path, struct statvfs* out) {
    pass(path);
    return ((int (*)(const char*, struct statvfs*))dlsym(RTLD_NEXT, "statvfs"))(path, out);
}
int statvfs64(const char* path, struct statvfs64* out) {
    pass(path);
    return ((int (*)(const char*, struct statvfs64*))dlsym(RTLD_NEXT, "statvfs64"))(path, out);
}
"""


class GatedServer(Server):
    """A server whose apply thread can be held, so that what is seen meanwhile does not hang on anybody's speed."""

    def __init__(self, env=None):
        compiler = shutil.which("cc") or shutil.which("gcc")
        if compiler is None:
            raise Skip("no C compiler for the gate")
        self.folder = tempfile.mkdtemp(prefix="weir-gate-")
        self.fifo = os.path.join(self.folder, "gate")
        library = os.path.join(self.folder, "gate.so")
        subprocess.run([compiler, "-shared", "-fPIC", "-o", library, "-x", "c", "-", "-ldl"], input=GATE_SOURCE.encode(), check=True)
        super().__init__(env={**(env or {}), "LD_PRELOAD": library, "WEIR_TEST_GATE": self.fifo})

    def start(self):
        if not os.path.exists(self.fifo):
            return super().start()
        self.log = tempfile.NamedTemporaryFile(mode="w+", prefix="weir-log-", delete=False)
        self.process = subprocess.Popen([WEIR, "serve", "--data", os.path.join(self.data, "d"), "--http", "127.0.0.1:0"],
                                        stdout=subprocess.DEVNULL, stderr=self.log, env=self.env)
        wait_for(lambda: re.search(r"http://127\.0\.0\.1:(\d+)/v1/streams", open(self.log.name).read()), "the door is open", 60)
        self.port = int(re.search(r"http://127\.0\.0\.1:(\d+)/v1/streams", open(self.log.name).read()).group(1))

    def close_gate(self):
        os.mkfifo(self.fifo)

    def let_one_pass(self):
        os.close(os.open(self.fifo, os.O_WRONLY))        # returns when somebody stands there

    def open_gate(self):
        if os.path.exists(self.fifo):
            fd = os.open(self.fifo, os.O_RDWR)           # a writer for whoever stands there or comes
            os.unlink(self.fifo)
            os.close(fd)

    def close(self):
        self.open_gate()
        super().close()
        shutil.rmtree(self.folder, ignore_errors=True)

    def metric(self, name):
        found = re.search(rf"^{re.escape(name)} (\S+)$", self.request("GET", "/metrics")[2].decode(), re.M)
        return float(found.group(1)) if found else None

    def committed(self):
        return json.loads(self.request("GET", "/v1/cluster")[2])["shards"][0]["committed"]


def children_of(pid):
    return [int(p) for p in subprocess.run(["ps", "-o", "pid=", "--ppid", str(pid)], capture_output=True, text=True).stdout.split()]


def is_running(pid):
    try:
        return open(f"/proc/{pid}/stat").read().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def test_rule_queues_full():
    """rule: queue 1 full: 503 with Retry-After; queue 2 full: apply reads the log; far behind, proposals wait; all counts agree"""
    size, lag = 4_000_000, 90_000_000
    lock, answers = threading.Lock(), []

    def line(i):
        return json.dumps({"event_id": str(i), "timestamp": "2024-01-01T00:00:00Z", "pad": "x" * size})

    with GatedServer(env={"WEIR_STORAGE_APPLY_LAG_BYTES": str(lag)}) as server:
        server.sql("CREATE STREAM s (event_id TEXT, ts TIMESTAMP FROM '$.timestamp', pad TEXT, EVENT TIME ts, DEDUP KEY (event_id) WITHIN 1h)")
        server.sql("CREATE MATERIALIZED VIEW v AS SELECT window_start, count(*) AS n, sum(length(pad)) AS bytes FROM TUMBLE(s, 1h) GROUP BY window_start")
        server.close_gate()
        sent = 0
        while server.metric("weir_entry_bytes_total") <= lag:
            status, answer = server.post("s", line(sent), "application/json")
            assert status == 200 and answer["accepted"] == 1, answer             # acknowledged, applied by nobody
            sent += 1
        assert sent == lag // size + 1, sent
        assert 0 < server.metric("weir_apply_queue_bytes") <= 64 << 20          # queue 2 ends below what was sent

        def client(i):
            answer = server.request("POST", "/v1/streams/s/events", line(i), {"Content-Type": "application/json"})
            with lock:
                answers.append((i, answer))

        def refused():
            with lock:
                return [a for a in answers if a[1][0] != 200]

        threads = []
        while not refused() and len(threads) < 36:
            before = server.metric("weir_admission_queue_bytes")
            threads.append(threading.Thread(target=client, args=(sent + len(threads),)))
            threads[-1].start()
            until = time.monotonic() + 1
            while not refused() and server.metric("weir_admission_queue_bytes") <= before and time.monotonic() < until:
                time.sleep(0.01)
        assert len(refused()) == 1 and len(answers) == 1, answers               # nobody else was answered
        again, (status, headers, body) = answers.pop()
        problem = json.loads(body)
        assert status == 503 and problem["code"] == "overloaded" and problem["retryable"] and "queue is full" in problem["detail"], problem
        assert int(headers["retry-after"]) >= 1, headers
        assert 0 < server.metric("weir_admission_queue_bytes") <= 96 << 20
        assert server.metric("weir_requests_turned_away_total") == 1

        server.open_gate()
        for thread in threads:
            thread.join()
        assert all(a[0] == 200 and json.loads(a[2])["accepted"] == 1 for _, a in answers), [a[0] for _, a in answers]
        status, answer = server.post("s", line(again), "application/json")
        assert status == 200 and answer["accepted"] == 1 and answer["duplicates"] == 0, answer     # nothing of it had been taken
        total = sent + len(threads)
        assert server.sql("SELECT count(*), count(DISTINCT event_id), sum(length(pad)) FROM s", timeout_ms=60000) == [[total, total, total * size]]
        assert server.sql("SELECT sum(n), sum(bytes) FROM v") == [[total, total * size]]
        assert counters(server, "s") == {"received": total, "stored": total, "duplicate": 0, "dead_lettered": 0, "refused": 0}
        assert server.metric('weir_events_total{result="stored"}') == total
        assert server.metric("weir_apply_entries_from_wal_total") > 0 and server.metric("weir_apply_records_decoded_again_total") > 0


def test_rule_create_over_two_groups():
    """rule: CREATE over two groups: a statement that a crash cut between its two entries is finished by the next start"""
    with GatedServer() as server:
        server.sql("CREATE STREAM old (a TEXT)")
        server.close_gate()
        for statement in ("CREATE STREAM fresh (a TEXT)", "DROP STREAM old"):
            before = server.committed()

            def ask():
                try:
                    server.sql_answer(statement)
                except (OSError, http.client.HTTPException):
                    pass                                     # its server died

            client = threading.Thread(target=ask)
            client.start()
            wait_for(lambda: server.committed() > before, "the first of the two entries is committed")
        assert server.sql("SELECT name FROM sys.streams") == [["old"]]          # nothing of it is applied
        server.kill()
        client.join()
        server.open_gate()
        server.start()
        wait_for(lambda: server.sql("SELECT name FROM sys.streams") == [["fresh"]], "both are finished")
        assert server.post("fresh", '{"a":"1"}')[1]["accepted"] == 1
        server.sql("CREATE STREAM old (b TEXT)")
        assert server.sql("SELECT count(*) FROM old") == [[0]]


def test_rule_one_read_is_one_index():
    """rule: one read is one index: count(*) of a stream = windowed + late + filtered of its view in every statement under load"""
    with Server() as server:
        server.sql("CREATE STREAM s (id TEXT, n INTEGER, ts TIMESTAMP, EVENT TIME ts, DEDUP KEY (id) WITHIN 1h) PARTITIONS 3")
        server.sql("CREATE MATERIALIZED VIEW v AS SELECT window_start, count(*) AS c, sum(n) AS total FROM TUMBLE(s, 1m) WHERE n % 5 <> 0 GROUP BY window_start LATENESS 0s")
        server.sql("CREATE MATERIALIZED VIEW w AS SELECT window_start, count(*) AS c, sum(n) AS total FROM TUMBLE(s, 1m) GROUP BY window_start LATENESS 7d")
        stop, errors = threading.Event(), []

        def load(seed):
            rng = random.Random(seed)
            for batch in range(100_000):
                if stop.is_set():
                    return
                first = batch * 40
                body = "\n".join(json.dumps({"id": f"{seed}-{first + k}", "n": first + k, "ts": 1_700_000_000_000 + (first + k) * 500 - (rng.randrange(900_000) if k % 9 == 0 else 0)})
                                 for k in range(40))
                status, answer = server.post("s", body)
                if status != 200 or answer["accepted"] != 40:
                    errors.append(answer)
                    return
                if batch > 250:
                    stop.wait(0.05)                          # the stream need not grow without end

        threads = [threading.Thread(target=load, args=(seed,)) for seed in (1, 2)]
        for thread in threads:
            thread.start()
        statement = ("SELECT (SELECT count(*) FROM s), v.seen, v.filtered, v.windowed, v.late, (SELECT coalesce(sum(c), 0) FROM v), (SELECT count(*) FROM v_late), "
                     "w.windowed, (SELECT coalesce(sum(c), 0) FROM w), (SELECT stored FROM sys.counters) FROM sys.views v JOIN sys.views w ON w.name = 'w' WHERE v.name = 'v'")
        joined = "SELECT count(*), sum(x.c <> w.c OR x.total <> w.total) FROM (SELECT bucket(ts, '1m') AS at, count(*) AS c, sum(n) AS total FROM s GROUP BY 1) x LEFT JOIN w ON w.window_start = x.at"
        seen = set()
        try:
            for i in range(5000):                                # hundreds, and until it has changed often
                if i >= 400 and len(seen) >= 100:
                    break
                events, view_seen, filtered, windowed, late, rows, late_rows, windowed_w, rows_w, stored = server.sql(statement)[0]
                assert events == view_seen == stored == windowed + late + filtered, (events, view_seen, stored, windowed, late, filtered)
                assert (rows, late_rows) == (windowed, late), (rows, windowed, late_rows, late)
                assert rows_w == windowed_w == events, (rows_w, windowed_w, events)
                seen.add(events)
                if i % 20 == 0:
                    windows, different = server.sql(joined)[0]
                    assert not different, (windows, different)                    # window by window, NULL where w lacks one
        finally:
            stop.set()
            for thread in threads:
                thread.join()
        assert not errors, errors
        assert len(seen) >= 100 and late > 0 and filtered > 0, (len(seen), late, filtered)


def test_rule_user_sql_runs_in_worker_processes():
    """rule: user SQL runs in worker processes: from the first query on, niced, and gone with the server whatever they compute"""
    with Server() as server:
        server.post("t", '{"event_id":"1"}')
        server.request("GET", "/v1/streams/t/events")
        assert children_of(server.process.pid) == []
        assert server.sql("SELECT count(*) FROM t") == [[1]]
        workers = children_of(server.process.pid)
        assert len(workers) == 1 and b"\0sql-worker\0" in open(f"/proc/{workers[0]}/cmdline", "rb").read(), workers
        nice = [os.getpriority(os.PRIO_PROCESS, pid) for pid in (server.process.pid, workers[0])]
        assert nice[1] == min(19, nice[0] + 5), nice
        assert "unlimited" not in re.search(r"Max address space.*", open(f"/proc/{workers[0]}/limits").read()).group(0).split()[3]
        # One comparison of millions times millions of bytes: nothing in the engine looks up for hours.
        deaf = "SELECT instr(printf('%.*c', 10000000, 'a'), printf('%.*c', 5000000, 'a') || 'b')"
        assert server.sql_answer(deaf, timeout_ms=300)[0] == 408
        assert server.sql("SELECT count(*) FROM t") == [[1]]

        def ask():
            try:
                server.sql_answer(deaf, timeout_ms=120000)
            except (OSError, http.client.HTTPException):
                pass                                         # its server died

        def ticks(pid):
            fields = open(f"/proc/{pid}/stat").read().rsplit(")", 1)[1].split()
            return int(fields[11])

        client = threading.Thread(target=ask)
        client.start()
        worker = children_of(server.process.pid)[0]
        before = ticks(worker)
        wait_for(lambda: ticks(worker) > before + 10, "the worker computes")
        server.kill()
        client.join()
        wait_for(lambda: not is_running(worker), "the worker is gone", 1)
        server.start()


def zstd_of(data):
    """One frame, by the library that the server itself links."""
    import ctypes
    library = ctypes.CDLL("libzstd.so.1")
    library.ZSTD_compressBound.restype = library.ZSTD_compress.restype = ctypes.c_size_t
    room = library.ZSTD_compressBound(ctypes.c_size_t(len(data)))
    out = ctypes.create_string_buffer(room)
    size = library.ZSTD_compress(out, ctypes.c_size_t(room), data, ctypes.c_size_t(len(data)), 3)
    assert size <= room, "ZSTD_compress failed"
    return out.raw[:size]


def peak_memory(pid):
    return int(re.search(r"VmHWM:\s+(\d+) kB", open(f"/proc/{pid}/status").read()).group(1)) * 1024


def test_door_plain_gzip_and_zstd_give_the_same_rows_however_they_are_cut():
    lines = example_lines()[:3000]
    rng = random.Random(5)
    pack = {"plain": (lambda b: b, {}), "gzip": (gzip.compress, {"Content-Encoding": "gzip"}),
            "zstd": (zstd_of, {"Content-Encoding": "zstd"})}
    with Server() as server:
        seen = []
        for name, (packed, headers) in pack.items():
            server.sql(open(ACCESS_SQL).read().split(";")[0].replace("access", f"access_{name}"))
            total = collections.Counter()
            for i in range(0, len(lines), 500):
                body = packed(b"\n".join(lines[i:i + 500]) + b"\n")
                if rng.random() < 0.5:
                    cuts = sorted(rng.sample(range(1, len(body)), 5))
                    body = iter([body[a:b] for a, b in zip([0] + cuts, cuts + [len(body)])])  # chunked
                status, answer = server.post(f"access_{name}", body, headers=headers)
                assert status in (200, 400), answer
                for key in ("accepted", "duplicates", "rejected"):
                    total[key] += answer[key]
            rows = server.sql(f"SELECT event_id, path, status, ts, _partition, _offset FROM access_{name} ORDER BY 1", max_rows=100000)
            dead = server.sql(f"SELECT reason, raw FROM access_{name}_dead_letters ORDER BY 1, 2", max_rows=100000)
            seen.append((dict(total), rows, dead))
        assert seen[1] == seen[0] and seen[2] == seen[0], [s[0] for s in seen]
        assert seen[0][0]["accepted"] > 1000 and seen[0][0]["rejected"] > 0


def test_door_bombs_end_at_64_mib_and_cost_no_more_memory():
    zeros = bytes(1 << 20)
    bombs = {"gzip": gzip.compress(zeros) * 1024, "zstd": zstd_of(zeros) * 1024}
    empty = {"gzip": gzip.compress(b"") * 100_000, "zstd": (zstd_of(b"") + b"\x50\x2a\x4d\x18\x04\0\0\0skip") * 100_000}
    with Server() as server:
        for coding in bombs:
            for _ in range(3):
                status, _, answer = server.request("POST", "/v1/streams/t/events", bombs[coding],
                                                   {"Content-Type": "application/json", "Content-Encoding": coding})
                assert status == 413 and json.loads(answer)["code"] == "too_large", (coding, status, answer)
            status, answer = server.post("t", empty[coding], headers={"Content-Encoding": coding})
            assert (status, answer["accepted"]) == (200, 0), (coding, answer)
            status, answer = server.post("t", b"{\"a\":1}", headers={"Content-Encoding": coding})
            assert status == 400 and coding in answer["detail"], answer
        # A frame that wants a window of 128 MiB for a few bytes (RFC 9659 allows 8 MiB).
        status, answer = server.post("t", b"\x28\xb5\x2f\xfd\x00\x88\x19\x00\x00{}\n", headers={"Content-Encoding": "zstd"})
        assert status == 413 and "window" in answer["detail"], (status, answer)
        for listed in ("br", "gzip, zstd", "deflate"):
            status, headers, _ = server.request("POST", "/v1/streams/t/events", b"{}",
                                                {"Content-Type": "application/json", "Content-Encoding": listed})
            assert status == 415 and headers["accept-encoding"] == "gzip, zstd", (listed, status, headers)
        assert peak_memory(server.pid()) < 300 << 20, peak_memory(server.pid()) >> 20
        assert server.request("GET", "/v1/streams")[0] == 200


def test_door_a_cloudevent_is_one_event_in_every_mode():
    def structured(n, **more):
        return {"specversion": "1.0", "id": f"e{n}", "source": "/shop", "type": "order.made", "time": f"2024-05-06T07:08:{n:02d}Z",
                "data": {"total": n}, **more}

    def fields(n, **more):
        return {"ce-specversion": "1.0", "ce-id": f"e{n}", "ce-source": "/shop", "ce-type": "order.made",
                "ce-time": f"2024-05-06T07:08:{n:02d}Z", **more}

    with Server() as server:
        server.sql("CREATE STREAM orders (id TEXT, source TEXT, kind TEXT FROM '$.type', total INTEGER NOT NULL FROM '$.data.total', "
                   "at TIMESTAMP FROM '$.time', EVENT TIME at, DEDUP KEY (source, id) WITHIN 1d)")
        for stream in ("orders", "undeclared"):
            text = json.dumps(structured(1), indent=1)          # kept byte for byte
            assert server.post(stream, text, "application/cloudevents+json")[1]["accepted"] == 1
            batch = json.dumps([structured(2), structured(1), structured(3, partitionkey="user-7")])
            answer = server.post(stream, batch, "application/cloudevents-batch+json")[1]
            assert (answer["accepted"], answer["duplicates"]) == (2, 1), answer
            assert server.post(stream, "[]", "application/cloudevents-batch+json") [1]["accepted"] == 0
            answer = server.post(stream, '{"total":4}', "application/json", fields(4))[1]
            assert answer["accepted"] == 1, answer
            # The same event in another mode is the same event.
            assert server.post(stream, '{"total":3}', "application/json", fields(3))[1]["duplicates"] == 1
            assert server.post(stream, json.dumps(structured(4)), "application/cloudevents+json")[1]["duplicates"] == 1
            # Same id, other source: another event.
            other = dict(fields(4), **{"ce-source": "%2Fother%20shop"})
            assert server.post(stream, '{"total":4}', "application/json", other)[1]["accepted"] == 1
            status, answer = server.post(stream, '{"id":"x","source":"/shop"}', "application/cloudevents+json")
            assert status == 400 and answer["errors"][0]["code"] == "bad_cloudevent", answer
            assert server.sql(f"SELECT reason, raw FROM {stream}_dead_letters") == [["bad_cloudevent", '{"id":"x","source":"/shop"}']]
            status, answer = server.post(stream, "{}", "application/json", {"ce-id": "1"})
            assert status == 400 and answer["code"] == "bad_cloudevent" and "ce-specversion" in answer["detail"], answer
            server.kill()
            server.start()
            wait_for(lambda: server.request("GET", "/readyz")[0] == 200, "ready")
            values = {e["value"] if isinstance(e["value"], str) else json.dumps(e["value"])
                      for e in json.loads(server.request("GET", f"/v1/streams/{stream}/events?limit=100")[2])["events"]}
            assert len(values) == 5, values
        assert server.sql("SELECT source, id, kind, total, at FROM orders ORDER BY 2, 1") == [
            ["/shop", "e1", "order.made", 1, "2024-05-06T07:08:01.000Z"], ["/shop", "e2", "order.made", 2, "2024-05-06T07:08:02.000Z"],
            ["/shop", "e3", "order.made", 3, "2024-05-06T07:08:03.000Z"], ["/other shop", "e4", "order.made", 4, "2024-05-06T07:08:04.000Z"],
            ["/shop", "e4", "order.made", 4, "2024-05-06T07:08:04.000Z"]]
        assert server.sql("SELECT event_source, event_id, event_type, event_time, key, payload ->> '$.data.total' FROM undeclared "
                          "WHERE event_id IN ('e3', 'e4') ORDER BY 2, 1") == [
            ["/shop", "e3", "order.made", "2024-05-06T07:08:03.000Z", "user-7", 3],
            ["/other shop", "e4", "order.made", "2024-05-06T07:08:04.000Z", None, 4],
            ["/shop", "e4", "order.made", "2024-05-06T07:08:04.000Z", None, 4]]
        raw = server.sql("SELECT printf('%s', payload) FROM undeclared WHERE event_id = 'e1'")[0][0]
        assert raw == json.dumps(structured(1), indent=1), raw
        # Data of other types, and data that is not what it says.
        for n, (kind, body, want) in enumerate([("text/plain", "a \"b\"".encode(), '"data":"a \\"b\\""'),
                                                ("application/octet-stream", b"\0\xff", '"data_base64":"AP8="'), ("image/png", b"", None)]):
            assert server.post("blobs", body, kind, fields(n))[1]["accepted"] == 1
            query = f"SELECT payload FROM blobs WHERE event_id = 'e{n}'"
            stored = server.sql_answer(query)[2].decode()
            assert (want in stored) if want else ('"data"' not in stored and "data_base64" not in stored), stored
            assert server.sql(query)[0][0]["datacontenttype"] == kind
        status, answer = server.post("blobs", '1,"id":"forged"', "application/json", fields(9))
        assert status == 400 and answer["errors"][0]["code"] == "malformed_json", answer
        assert server.sql("SELECT raw FROM blobs_dead_letters") == [['1,"id":"forged"']]
        # The handshake that webhook senders begin with.
        status, headers, _ = server.request("OPTIONS", "/v1/streams/orders/events", headers={"WebHook-Request-Origin": "sender.example.com"})
        assert status == 200 and headers["webhook-allowed-origin"] == "*" and "POST" in headers["allow"], (status, headers)


def test_door_statuses_are_what_senders_act_on():
    with Server() as server:
        events = "/v1/streams/t/events"
        for kind in ("application/json; charset=utf-8", "application/json;charset=\"UTF-8\"", "Application/JSON"):
            assert server.post("t", '{"event_id":"1"}', kind)[0] == 200, kind
        for kind in ("application/x-ndjson; charset=utf-8", "application/ndjson", "application/jsonl", "application/stream+json"):
            assert server.post("t", '{"event_id":"2"}\n\n{"event_id":"3"}', kind)[0] == 200, kind
        # No type, and what curl -d says: JSON where it looks like that.
        assert server.request("POST", events, b'{"event_id":"4"}')[0] == 200
        assert server.request("POST", events, b' [{"event_id":"5"}]', {"Content-Type": "application/x-www-form-urlencoded"})[0] == 200
        for kind, body in (("text/csv", b"a,b"), ("application/x-www-form-urlencoded", b"a=b"), ("application/json; charset=utf-16", b"{}")):
            status, headers, answer = server.request("POST", events, body, {"Content-Type": kind})
            assert status == 415 and json.loads(answer)["code"] == "unsupported_media_type", (kind, status, answer)
            if "charset" not in kind:
                for listed in ("application/json", "application/x-ndjson", "application/cloudevents+json"):
                    assert listed in json.loads(answer)["detail"] and (listed in headers["accept"]), (listed, headers)
        for method in ("PUT", "DELETE", "PATCH"):
            status, headers, _ = server.request(method, events, b"{}")
            assert status == 405 and "POST" in headers["allow"], (method, status, headers)
        for path in ("/v1/streams/t/events/", "/v1/streams//events", "/v1/streams/t", "/V1/streams/t/events", "/v1/streams/t/events?a=b"):
            status, headers, _ = server.request("POST", path, b"{}", {"Content-Type": "application/json"})
            assert not 300 <= status < 400 and "location" not in headers, (path, status)
        # 100-continue is answered before the body, and a refusal comes in its stead.
        for fields, want in (("Content-Length: 16", b"HTTP/1.1 100 Continue"), ("Content-Length: 99999999", b"HTTP/1.1 413"),
                             ("Content-Length: 16\r\nContent-Type: text/csv", b"HTTP/1.1 415")):
            with socket.create_connection(("127.0.0.1", server.port), timeout=20) as s:
                s.sendall(f"POST {events} HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\n{fields}\r\n\r\n".encode())
                assert s.recv(4096).startswith(want), fields
                if b"100" in want:
                    s.sendall(b'{"event_id":"6"}')
                    assert s.recv(4096).startswith(b"HTTP/1.1 200")
        assert server.sql("SELECT count(*) FROM t")[0][0] == 6 + 1      # "a=b" behind '?' is an event without an id


def test_door_an_idempotency_key_makes_a_request_retriable_across_kill_9():
    def key(text):
        return {"Idempotency-Key": f'"{text}"', "Content-Type": "application/x-ndjson"}

    def ask(stream, body, headers):
        return server.request("POST", f"/v1/streams/{stream}/events", body, headers)

    with Server() as server:
        server.sql("CREATE STREAM plain (n INTEGER)")               # no DEDUP: only the key can tell
        body = b'{"n":1}\n{"n":2}\nbroken\n'
        status, headers, first = ask("plain", body, key("a"))
        assert status == 200 and "idempotency-replayed" not in headers, headers
        for _ in range(2):
            for fields in (key("a"), dict(key("a"), **{"Idempotency-Key": "a"})):
                status, headers, again = ask("plain", body, fields)
                assert (status, again) == (200, first) and headers["idempotency-replayed"] == "true", (status, headers, again)
            status, headers, again = ask("plain", gzip.compress(body), dict(key("a"), **{"Content-Encoding": "gzip"}))
            assert (status, again) == (200, first), (status, again)
            status, _, answer = ask("plain", b'{"n":3}\n', key("a"))
            assert status == 422 and json.loads(answer)["code"] == "idempotency_key_reused", answer
            server.kill()
            server.start()
            wait_for(lambda: server.request("GET", "/readyz")[0] == 200, "ready")
        status, _, rejected = ask("plain", b"broken\n", key("bad"))
        assert status == 400
        assert ask("plain", b"broken\n", key("bad"))[::2] == (400, rejected)
        assert ask("other", body, key("a"))[0] == 200               # a key is one of its stream
        assert server.sql("SELECT count(*) FROM plain") == [[2]]
        assert server.sql("SELECT count(*) FROM plain_dead_letters") == [[2]]
        assert ask("plain", b"{}", {"Idempotency-Key": '""'})[0] == 400
        # Many at once with one key: one is stored, the others hear its answer or 409.
        outcomes = []

        def same():
            status, headers, answer = ask("plain", b'{"n":7}\n', key("same"))
            outcomes.append((status, headers.get("idempotency-replayed"), headers.get("retry-after")))

        threads = [threading.Thread(target=same) for _ in range(12)]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        assert sum(s == 200 and not r for s, r, _ in outcomes) == 1, outcomes
        assert all(s == 200 or (s == 409 and int(after) > 0) for s, _, after in outcomes), outcomes
        assert server.sql("SELECT count(*) FROM plain WHERE n = 7") == [[1]]
        # Retried until acknowledged, while the server is killed again and again: each request counts once.
        server.sql("CREATE STREAM counted (n INTEGER)")
        sent = []
        lock = threading.Lock()
        enough = threading.Event()

        def client():
            while not enough.is_set():
                with lock:
                    n = len(sent)
                    sent.append(n)
                while True:
                    try:
                        status, _, answer = ask("counted", f'{{"n":{n}}}\n'.encode(), key(f"n{n}"))
                        if status == 200:
                            assert json.loads(answer)["accepted"] == 1, answer
                            break
                        assert status in (409, 503, 504), (status, answer)
                    except (OSError, http.client.HTTPException, ValueError):
                        pass
                    time.sleep(0.01)

        threads = [threading.Thread(target=client) for _ in range(6)]
        for t in threads:
            t.start()
        rng = random.Random(11)
        for _ in range(6):
            time.sleep(rng.uniform(0.01, 0.1))
            server.kill()
            server.start()
        enough.set()
        for t in threads:
            t.join()
        assert server.sql("SELECT count(*), count(DISTINCT n) FROM counted") == [[len(sent), len(sent)]]
        assert server.sql("SELECT count(*) FROM sys.streams WHERE name = 'answers'") == [[0]]


# ---- what views can say, and when they say it ----


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


# ---- tails, /v1/ws, history ----


class Tail:
    """A reader of server-sent events over a raw socket, in HTTP/1.0: the body is the bytes up to the end."""

    def __init__(self, server, target, last_id=None, buffer=None, timeout=60):
        self.id = last_id
        self.bytes = b""
        self.socket = socket.socket()
        if buffer:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
        self.socket.settimeout(timeout)
        self.socket.connect(("127.0.0.1", server.port))
        again = f"Last-Event-ID: {last_id}\r\n" if last_id else ""
        self.socket.sendall(f"GET {target} HTTP/1.0\r\nHost: localhost\r\n{again}\r\n".encode())
        while b"\r\n\r\n" not in self.bytes:
            self.more()
        head, self.bytes = self.bytes.split(b"\r\n\r\n", 1)
        assert b" 200 " in head, (head, self.bytes)

    def more(self):
        got = self.socket.recv(1 << 16)
        if not got:
            raise EOFError
        self.bytes += got

    def next(self):
        """(event, data); beats are passed over, ids are kept."""
        while True:
            while b"\n\n" not in self.bytes:
                self.more()
            block, self.bytes = self.bytes.split(b"\n\n", 1)
            event, data = "", []
            for line in block.decode().split("\n"):
                name, _, value = line.partition(":")
                value = value[1:] if value.startswith(" ") else value
                if name == "event":
                    event = value
                elif name == "id":
                    self.id = value
                elif name == "data":
                    data.append(value)
            if data:
                return event, json.loads("\n".join(data))

    def until_live(self):
        """What comes before `live`."""
        out = []
        while True:
            event, data = self.next()
            if event == "live":
                return out
            out.append((event, data))

    def values(self, count):
        out = []
        while len(out) < count:
            event, data = self.next()
            assert event in ("", "live"), (event, data)
            if event == "":
                out.append(data["value"])
        return out

    def close(self):
        self.socket.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


class WebSocket:
    """RFC 6455, the client's side, from the RFC and nothing else."""

    def __init__(self, server, headers=(), timeout=60):
        import base64
        import hashlib
        self.socket = socket.create_connection(("127.0.0.1", server.port), timeout=timeout)
        key = base64.b64encode(os.urandom(16)).decode()
        lines = [f"GET /v1/ws HTTP/1.1", f"Host: 127.0.0.1:{server.port}", "Upgrade: websocket", "Connection: Upgrade",
                 f"Sec-WebSocket-Key: {key}", "Sec-WebSocket-Version: 13", *headers]
        self.socket.sendall(("\r\n".join(lines) + "\r\n\r\n").encode())
        self.bytes = b""
        while b"\r\n\r\n" not in self.bytes:
            self.more()
        head, self.bytes = self.bytes.split(b"\r\n\r\n", 1)
        self.status = int(head.split()[1])
        if self.status == 101:
            accept = base64.b64encode(hashlib.sha1((key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11").encode()).digest())
            assert b"sec-websocket-accept: " + accept.lower() in head.lower(), head

    def more(self):
        got = self.socket.recv(1 << 16)
        if not got:
            raise EOFError
        self.bytes += got

    def take(self, n):
        while len(self.bytes) < n:
            self.more()
        out, self.bytes = self.bytes[:n], self.bytes[n:]
        return out

    def frame(self, opcode, payload, fin=True):
        mask = os.urandom(4)
        size = bytes([0x80 | len(payload)]) if len(payload) < 126 else b"\xfe" + len(payload).to_bytes(2, "big")
        self.socket.sendall(bytes([(0x80 if fin else 0) | opcode]) + size + mask + bytes(b ^ mask[i % 4] for i, b in enumerate(payload)))

    def say(self, **message):
        self.frame(1, json.dumps(message).encode())

    def next(self):
        """(opcode, payload) of the next frame."""
        first, second = self.take(2)
        assert first & 0xf0 == 0x80 and second < 0x80, "whole frames, not masked"
        size = second if second < 126 else int.from_bytes(self.take(2 if second == 126 else 8), "big")
        return first & 15, self.take(size)

    def hear(self):
        """The next message; pings are answered."""
        while True:
            opcode, payload = self.next()
            if opcode == 9:
                self.frame(10, payload)
            elif opcode == 1:
                return json.loads(payload)
            else:
                assert opcode == 8, opcode
                return {"op": "close", "code": int.from_bytes(payload[:2], "big")}

    def close(self):
        self.socket.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def post_numbers(server, stream, first, count, pad=0):
    lines = "".join(json.dumps({"event_id": f"e{i}", "n": i, "pad": "x" * pad}) + "\n" for i in range(first, first + count))
    status, answer = server.post(stream, lines)
    assert status == 200 and answer["accepted"] == count, (status, answer)


def all_events(server, stream):
    out, cursor = [], "beginning"
    while True:
        status, _, body = server.request("GET", f"/v1/streams/{stream}/events?from={cursor}&limit=10000")
        assert status == 200, body
        page = json.loads(body)
        out += page["events"]
        cursor = page["next"]
        if page["at_end"]:
            return out


def test_tail_that_resumes_over_kill_9_loses_and_doubles_nothing():
    """Each tail keeps the last id and comes back with it; what it saw must be the stream's events in its order, once each."""
    with Server() as server:
        server.sql("CREATE STREAM s (event_id TEXT, n INTEGER, DEDUP KEY (event_id) WITHIN 1h) PARTITIONS 3")
        target = 3000
        sent, stop = [0], threading.Event()
        port_lock = threading.Lock()

        def produce():
            while sent[0] < target:
                lines = "".join(json.dumps({"event_id": f"e{i}", "n": i}) + "\n" for i in range(sent[0], sent[0] + 25))
                try:
                    with port_lock:
                        pass
                    status, _ = server.post("s", lines)          # again after a lost answer: DEDUP covers it
                    if status == 200:
                        sent[0] += 25
                except (OSError, http.client.HTTPException, ValueError):
                    time.sleep(0.02)

        def follow(where, seen):
            last = None
            while not stop.is_set():
                try:
                    with port_lock:
                        pass
                    with Tail(server, "/v1/streams/s/tail?from=beginning" + where, last, timeout=2) as tail:
                        while True:
                            event, data = tail.next()
                            assert event in ("", "live", "end"), (event, data)
                            if event == "":
                                seen.append((data["cursor"], data["partition"], data["offset"], data["value"]["n"]))
                                last = tail.id
                except (OSError, EOFError, AssertionError) as lost:
                    if isinstance(lost, AssertionError) and "503" not in str(lost):
                        raise
                    time.sleep(0.02)

        plain, even = [], []
        threads = [threading.Thread(target=produce), threading.Thread(target=follow, args=("", plain)),
                   threading.Thread(target=follow, args=("&where=n%20%25%202%20%3D%200", even))]
        for thread in threads:
            thread.start()
        rng = random.Random(11)
        kills = 0
        while sent[0] < target or kills < 4:
            time.sleep(rng.uniform(0.05, 0.25))
            if kills < 8:
                with port_lock:
                    server.kill()
                    server.start()
                kills += 1
        threads[0].join()
        want = [(e["cursor"], e["partition"], e["offset"], e["value"]["n"]) for e in all_events(server, "s")]
        assert len(want) == target and len({w[3] for w in want}) == target
        want_even = [w for w in want if w[3] % 2 == 0]
        wait_for(lambda: len(plain) >= len(want) and len(even) >= len(want_even), "the tails to have everything", 60)
        stop.set()
        for thread in threads:
            thread.join()
        assert plain == want, (len(plain), len(want))
        assert even == want_even, (len(even), len(want_even))


def test_tail_where_runs_in_a_process_of_its_own_and_costs_nothing_else():
    with Server() as server:
        server.create_access()
        lines = example_lines()
        with Tail(server, "/v1/streams/access/tail?where=status%20%3E%3D%20400%20AND%20ts%20%3E%20%272000-01-01%27") as tail, Tail(server, "/v1/streams/access/tail") as plain:
            send_all(server, lines, 300)
            want = [r[0] for r in server.sql("SELECT event_id FROM access WHERE status >= 400", max_rows=100000)]
            got = [v["event_id"] for v in tail.values(len(want))]
            assert sorted(got) == sorted(want) and len(want) > 20
            in_order = [e["value"]["event_id"] for e in all_events(server, "access") if e["value"]["event_id"] in set(want)]
            assert got == in_order
            accepted = server.sql("SELECT count(*) FROM access")[0][0]
            assert len(plain.values(accepted)) == accepted
            # An expression that takes too much of time or memory ends its own tail.
            slow = "hex(zeroblob(20000%2Bstatus))%20LIKE%20%27%250%250%250%250%250%250%250%250%251%27"
            with Tail(server, "/v1/streams/access/tail?from=beginning&where=" + slow) as hostile:
                while True:
                    event, data = hostile.next()
                    if event == "end":
                        break
                assert data["code"] in ("deadline", "too_large"), data
                assert data["cursor"].startswith("0:"), data
            post = b'{"event_id":"after","event_type":"x","timestamp":"2025-03-14T00:00:00Z","properties":{"status":500}}'
            assert server.post("access", post)[0] == 200
            assert tail.values(1)[0]["event_id"] == "after"
            assert plain.values(1)[0]["event_id"] == "after"
        for where, code in (("nothing_such%20%3D%201", "no such column"), ("(", "without"), ("status%20IN%20(SELECT%201)", "subquery"), ("count(*)", "misuse")):
            for route in ("tail", "events"):
                status, _, body = server.request("GET", f"/v1/streams/access/{route}?where={where}")
                assert status in (400, 403) and code in json.loads(body)["detail"], (where, status, body)
        # The same over pages.
        found, cursor = [], "beginning"
        while True:
            status, _, body = server.request("GET", f"/v1/streams/access/events?from={cursor}&limit=7&where=status%20%3E%3D%20400")
            page = json.loads(body)
            assert status == 200 and len(page["events"]) <= 7, body
            found += [e["value"]["event_id"] for e in page["events"]]
            cursor = page["next"]
            if page["at_end"]:
                break
        assert found == in_order + ["after"]


def test_tail_of_a_view_becomes_the_view():
    """All rows, then changed ones: whoever keeps the latest row of each key holds the view, HAVING included."""
    with Server() as server:
        server.create_access()
        server.sql("CREATE MATERIALIZED VIEW odd AS SELECT window_start, status, count(*) AS n FROM TUMBLE(access, 1d) GROUP BY window_start, status HAVING n % 2 = 1")
        lines = example_lines()
        send_all(server, lines[:500], 100)
        rows = {"access_1h": {}, "odd": {}}
        gone = collections.Counter()
        tails = {view: Tail(server, f"/v1/views/{view}/tail") for view in rows}
        stop = threading.Event()

        def follow(view):
            tail = tails[view]
            tail.socket.settimeout(0.2)
            while True:
                try:
                    event, data = tail.next()
                except (TimeoutError, socket.timeout):
                    if stop.is_set():
                        return
                    continue
                if event == "":
                    if data["row"] is None:
                        rows[view].pop(data["key"], None)
                        gone[view] += 1
                    else:
                        rows[view][data["key"]] = data["row"]

        threads = [threading.Thread(target=follow, args=(view,)) for view in rows]
        for thread in threads:
            thread.start()
        send_all(server, lines[500:], 50)

        def same(view, columns):
            want = sorted(map(tuple, server.sql(f"SELECT {', '.join(columns)} FROM {view}", max_rows=100000)))
            return want == sorted(tuple(row[c] for c in columns) for row in list(rows[view].values())) and len(want) > 3

        wait_for(lambda: same("access_1h", ["window_start", "status", "n", "bytes"]) and same("odd", ["window_start", "status", "n"]), "the tails to hold the views")
        stop.set()
        for thread in threads:
            thread.join()
        assert gone["odd"] > 0 and gone["access_1h"] == 0, gone
        for tail in tails.values():
            tail.close()
        assert server.request("GET", "/v1/views/access/tail")[0] == 404


def test_tail_begins_where_it_is_told_and_ends_with_its_place():
    with Server() as server:
        server.sql("CREATE STREAM s (event_id TEXT, n INTEGER) PARTITIONS 2")
        post_numbers(server, "s", 0, 10)
        times = server.sql("SELECT max(epoch_ms(_append_time)) FROM s")[0][0]
        wait_for(lambda: time.time() * 1000 > times + 5, "the clock")
        post_numbers(server, "s", 10, 10)
        second = server.sql("SELECT min(_append_time) FROM s WHERE n >= 10")[0][0]
        with Tail(server, "/v1/streams/s/tail?from=beginning") as tail:
            assert [v["n"] for v in tail.values(20)] == list(range(20))
            resume = tail.id
        with Tail(server, f"/v1/streams/s/tail?from={second}") as tail:
            assert [v["n"] for v in tail.values(10)] == list(range(10, 20))
        with Tail(server, "/v1/streams/s/tail") as end, Tail(server, "/v1/streams/s/tail?from=beginning", resume) as back, Tail(server, "/v1/streams/s/tail?from=end") as other:
            assert end.until_live() == [] and back.until_live() == []
            post_numbers(server, "s", 20, 5)
            assert [v["n"] for v in end.values(5)] == list(range(20, 25)) == [v["n"] for v in back.values(5)]
            server.sql("DROP STREAM s")
            for tail in (end, back):
                event, data = tail.next()
                assert event == "end" and data["code"] == "not_found" and "dropped" in data["detail"], data
        server.sql("CREATE STREAM t (n INTEGER)")
        with Tail(server, "/v1/streams/t/tail") as tail:
            tail.until_live()
            assert server.stop() == 0
            event, data = tail.next()
            assert event == "end" and data["code"] == "shutting_down", data
            last = data["cursor"]
        server.start()
        server.post("t", '{"n":1}')
        with Tail(server, "/v1/streams/t/tail", last) as tail:
            assert tail.values(1) == [{"n": 1}]


def test_tail_a_thousand_idle_ones_are_woken_by_one_event():
    """Idle tails ask for nothing: what wakes them is the row commit."""
    with Server() as server:
        server.sql("CREATE STREAM s (n INTEGER)")
        tails = [Tail(server, "/v1/streams/s/tail") for _ in range(1000)]
        for tail in tails:
            tail.until_live()
        before = resident_bytes(server)
        cpu = cpu_ticks(server.pid())
        time.sleep(2)
        idle = cpu_ticks(server.pid()) - cpu
        assert idle < 100, f"{idle} ticks of processor time in 2 s with 1,000 idle tails"          # of 200: half a core would be polling
        for n in range(5):
            assert server.post("s", json.dumps({"n": n}))[0] == 200
            for tail in tails:
                assert tail.values(1) == [{"n": n}]
        assert resident_bytes(server) - before < 64 << 20, (before, resident_bytes(server))
        for tail in tails:
            tail.close()
        wait_for(lambda: server.sql("SELECT 1") and "\nweir_tails 0\n" in server.request("GET", "/metrics")[2].decode(), "the tails to be gone")


def resident_bytes(server):
    return int(open(f"/proc/{server.pid()}/statm").read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def cpu_ticks(pid):
    fields = open(f"/proc/{pid}/stat").read().rsplit(")", 1)[1].split()
    return int(fields[11]) + int(fields[12])


def test_tail_a_slow_reader_lags_costs_no_memory_and_misses_nothing():
    with Server() as server:
        server.sql("CREATE STREAM s (event_id TEXT, n INTEGER) PARTITIONS 2")
        with Tail(server, "/v1/streams/s/tail?from=beginning", buffer=4096) as slow, Tail(server, "/v1/streams/s/tail?from=beginning") as quick:
            for i in range(40):
                post_numbers(server, "s", i * 100, 100, pad=8000)          # 32 MB
                assert len(quick.values(100)) == 100
            metrics = server.request("GET", "/metrics")[2].decode()
            unsent = int(float(re.search(r"^weir_tail_unsent_bytes (\S+)$", metrics, re.M).group(1)))
            assert unsent < 2 << 20, unsent
            assert [v["n"] for v in slow.values(4000)] == list(range(4000))


def test_tail_cli_follows_over_a_restart():
    with Server() as server:
        server.sql("CREATE STREAM s (event_id TEXT, n INTEGER)")
        post_numbers(server, "s", 0, 5)
        out = server.cli("tail", "s", "--from", "beginning", "--where", "n % 2 = 0")
        assert [json.loads(l)["n"] for l in out.stdout.split(b"\n")[:-1]] == [0, 2, 4], out
        out = server.cli("tail", "s", "--where", "n > 2")
        assert out.returncode == 2 and b"--from" in out.stderr, out
        out = server.cli("tail", "s", "--from", "beginning", "--where", "m > 2")
        assert out.returncode != 0 and b"no such column: m" in out.stderr, out
        follow = subprocess.Popen([WEIR, "tail", "s", "--follow", "-n", "2"], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                  env=dict(os.environ, WEIR_SERVER=f"http://127.0.0.1:{server.port}"))
        read = lambda count: [json.loads(follow.stdout.readline())["n"] for _ in range(count)]
        try:
            assert read(2) == [3, 4]
            post_numbers(server, "s", 5, 3)
            assert read(3) == [5, 6, 7]
            server.listen = f"127.0.0.1:{server.port}"
            server.kill()
            server.start()
            post_numbers(server, "s", 8, 3)
            assert read(3) == [8, 9, 10]
            assert server.stop() == 0
            server.start()
            post_numbers(server, "s", 11, 1)
            assert read(1) == [11]
            follow.send_signal(signal.SIGINT)
            assert follow.wait(timeout=30) == 0, follow.stderr.read()
        finally:
            follow.kill()
            follow.wait()
            follow.stdout.close()
            follow.stderr.close()


def test_ws_carries_events_rows_and_metrics_with_credit():
    lines = example_lines()
    with Server() as server:
        server.create_access()
        with WebSocket(server) as ws:
            ws.say(op="sub", id=1, topic="streams/access", credit=10, where="status < 400")
            ws.say(op="sub", id=2, topic="views/access_1h", credit=100000)
            ws.say(op="sub", id=3, topic="metrics", series=["events_stored", "tails"])
            heard = collections.defaultdict(list)
            while len([m for id in (1, 2, 3) for m in heard[id] if m["op"] == "subscribed"]) < 3:
                message = ws.hear()
                heard[message["id"]].append(message)
            send_all(server, lines, 400)
            good = [e["value"]["event_id"] for e in all_events(server, "access") if e["value"]["properties"]["status"] < 400]
            events, rows, points, granted = [], {}, [], 10
            want = view_table(server)

            def done():
                table = {(r["window_start"], r["status"]): (r["n"], r["bytes"] or 0) for r in rows.values()}
                return len(events) >= len(good) and table == want and sum(p["values"][0] or 0 for p in points) > 0

            deadline = time.monotonic() + 60
            for message in heard[2]:
                for row in message.get("rows", ()):
                    rows[row["key"]] = row["row"]
            while not done():
                assert time.monotonic() < deadline, (len(events), len(good), len(rows), points)
                message = ws.hear()
                if message["op"] == "events":
                    events += [e["value"]["event_id"] for e in message["events"]]
                    assert len(events) <= granted, "no more than the credit"
                    next_cursor = message["next"]
                    if len(events) == granted:
                        ws.say(op="credit", id=1, n=37)
                        granted += 37
                elif message["op"] == "rows":
                    for row in message["rows"]:
                        rows[row["key"]] = row["row"]
                elif message["op"] == "point":
                    points.append(message)
            assert events == good
            ws.frame(9, b"are you there")
            while True:
                opcode, payload = ws.next()
                if opcode == 10:
                    break
            assert payload == b"are you there"
        # A page that comes back goes on where it was: nothing lost, nothing twice.
        with WebSocket(server) as ws:
            ws.say(op="sub", id=9, topic="streams/access", **{"from": next_cursor})
            assert ws.hear()["op"] == "subscribed"
            post = b'{"event_id":"after","event_type":"x","timestamp":"2025-03-14T00:00:00Z","properties":{"status":200}}'
            assert server.post("access", post)[0] == 200
            got = []
            while not got:
                message = ws.hear()
                got += [e["value"]["event_id"] for e in message["events"] if e["value"]["properties"]["status"] < 400]
            assert got == ["after"]
            ws.frame(8, b"\x03\xe8")
            assert ws.hear() == {"op": "close", "code": 1000}


def test_ws_refuses_other_sites_and_survives_nonsense():
    with Server() as server:
        server.sql("CREATE STREAM s (n INTEGER)")
        for headers, status in (((), 101), (("Origin: https://evil.example",), 403), ((f"Origin: http://127.0.0.1:{server.port}",), 101),
                                (("Sec-Fetch-Site: cross-site",), 403), (("Sec-Fetch-Site: same-origin",), 101)):
            with WebSocket(server, headers) as ws:
                assert ws.status == status, headers
        assert server.request("GET", "/v1/ws")[0] == 426
        rng = random.Random(5)
        for round in range(200):
            with WebSocket(server) as ws:
                kind = rng.randrange(5)
                if kind == 0:
                    ws.socket.sendall(bytes(rng.randrange(256) for _ in range(rng.randrange(1, 300))))
                elif kind == 1:
                    ws.frame(1, bytes(rng.randrange(256) for _ in range(rng.randrange(100))))
                elif kind == 2:
                    ws.say(op=rng.choice(["sub", "unsub", "credit", None, 7]), id=rng.choice([1, -1, "x", 2**70]), topic=rng.choice(["streams/s", "views/s", 1, "metrics"]),
                           credit=rng.choice([0, 5, -5, 1e9]))
                elif kind == 3:
                    for _ in range(3):
                        ws.frame(rng.choice([0, 1, 2]), b"{" * rng.randrange(100), fin=rng.random() < 0.5)
                else:
                    ws.say(op="sub", id=1, topic="streams/s")
        with WebSocket(server) as ws:
            ws.say(op="sub", id=1, topic="streams/s")
            assert ws.hear()["op"] == "subscribed"
            server.post("s", '{"n":1}')
            while not ws.hear().get("events"):
                pass
            assert server.stop() == 0
            end = [ws.hear(), ws.hear()]
            assert end[0]["op"] == "end" and end[0]["code"] == "shutting_down" and end[1] == {"op": "close", "code": 1001}, end


def test_history_keeps_what_happened():
    with Server() as server:
        server.sql("CREATE STREAM s (n INTEGER)")
        ask = lambda query: server.request("GET", "/v1/metrics/history" + query)
        stored = lambda: json.loads(ask("?series=events_stored&from=1h&step=1s")[2])["series"][0]["values"]
        wait_for(lambda: len([v for v in stored() if v is not None]) >= 1, "the first samples")
        server.post("s", "".join(f'{{"n":{n}}}\n' for n in range(1000)))
        # Rates are per second of the time between two samples, which is a second or nearly.
        wait_for(lambda: sum(v or 0 for v in stored()) > 900, "the events in the history")
        assert sum(v or 0 for v in stored()) < 1100
        status, _, body = ask("")
        answer = json.loads(body)
        assert status == 200 and answer["step_ms"] % answer["resolution_ms"] == 0, answer["step_ms"]
        names = {s["name"]: s for s in answer["series"]}
        assert {"events_stored", "events_duplicate", "ingest_bytes", "flush_seconds_mean", "apply_lag_entries", "memory_bytes", "disk_free_bytes", "tails", "connections"} <= set(names)
        assert len({len(s["values"]) for s in answer["series"]}) == 1
        memory = [v for v in names["memory_bytes"]["values"] if v is not None]
        assert memory and all(v > 1e6 for v in memory), memory
        assert any(v and v > 0 for v in names["flush_seconds_mean"]["values"]), names["flush_seconds_mean"]
        for query, word in (("?series=none", "no series"), ("?from=soon", "from"), ("?step=500ms", "multiple"), ("?form=1h", "unknown"), ("?from=2h&to=1d", "behind"),
                            ("?from=1970-01-01T00:00:00Z&step=1s", "points")):
            status, _, body = ask(query)
            assert status == 400 and word in json.loads(body)["detail"], (query, status, body)


def main():
    global WEIR
    WEIR = os.path.abspath(sys.argv[1])
    parts = sys.argv[2:]
    tests = [(n, f) for n, f in sorted(globals().items()) if n.startswith("test_") and (not parts or any(p in n for p in parts))]
    passed = failed = skipped = 0
    for name, test in tests:
        begin = time.monotonic()
        try:
            test()
            passed += 1
            print(f"ok      {name} ({time.monotonic() - begin:.1f} s)", flush=True)
        except Skip as why:
            skipped += 1
            print(f"SKIPPED {name}: {why}", flush=True)
        except Exception:
            failed += 1
            print(f"FAILED  {name} ({time.monotonic() - begin:.1f} s)", flush=True)
            traceback.print_exc()
            sys.stdout.flush()
    print(f"{passed} passed, {failed} failed" + (f", {skipped} skipped" if skipped else ""))
    return 1 if failed or not passed else 0


if __name__ == "__main__":
    sys.exit(main())
