"""Tails, /v1/ws and the history of the metrics."""
import collections
import http.client
import json
import os
import random
import re
import select
import signal
import socket
import subprocess
import threading
import time

from harness import Server, WEIR, Work, cpu_ticks, example_lines, resident_bytes, send_all, view_table, wait_for


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
        work = Work()

        def produce():
            while sent[0] < target:
                lines = "".join(json.dumps({"event_id": f"e{i}", "n": i}) + "\n" for i in range(sent[0], sent[0] + 25))
                try:
                    server.up.wait(60)
                    work.begin()
                    status, _ = server.post("s", lines)          # again after a lost answer: DEDUP covers it
                    if status == 200:
                        sent[0] += 25
                except (OSError, http.client.HTTPException, ValueError):
                    pass                                         # server.up is clear while it is away

        def follow(where, seen):
            last = None
            while not stop.is_set():
                try:
                    server.up.wait(60)
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

        plain, even = [], []
        threads = [threading.Thread(target=produce), threading.Thread(target=follow, args=("", plain)),
                   threading.Thread(target=follow, args=("&where=n%20%25%202%20%3D%200", even))]
        for thread in threads:
            thread.start()
        rng = random.Random(11)
        kills = 0
        while sent[0] < target or kills < 4:
            work.wait_for_more(rng.randint(3, 20), 1)
            if kills < 8:
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
            slow = "%20OR%20".join(["hex(zeroblob(7000000%2Bstatus))%20LIKE%20%27%250_1%25%27"] * 50)      # seconds an event
            with Tail(server, "/v1/streams/access/tail?from=beginning&where=" + slow) as hostile:
                event, data = hostile.next()
                assert event == "end", (event, data)
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
        assert select.select([tail.socket for tail in tails], [], [], 2)[0] == []               # nobody hears anything
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
            assert follow.wait(timeout=30) == 130, follow.stderr.read()          # as a shell hears of Ctrl-C
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
