"""The architecture's rules, as far as it takes processes to show them. src/README.md has the table."""
import errno
import http.client
import json
import os
import random
import re
import shutil
import subprocess
import tempfile
import threading

from harness import Server, Skip, becomes_true, children_of, counters, example_lines, is_running, problem, send_all, truth, view_table, wait_for

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

    def is_up(self, log):
        """Behind a closed gate it is never ready; its door is open."""
        return re.search(self.PORT, log) if os.path.exists(self.fifo) else super().is_up(log)

    def close_gate(self):
        os.mkfifo(self.fifo)

    def let_one_pass(self):
        os.close(os.open(self.fifo, os.O_WRONLY))        # returns when somebody stands there

    def let_pass_who_stands_there(self):
        try:
            os.close(os.open(self.fifo, os.O_WRONLY | os.O_NONBLOCK))
        except OSError as nobody:
            assert nobody.errno == errno.ENXIO, nobody

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


def test_rule_nobody_sees_the_past():
    """rule: nobody sees the past: after kill -9 every route answers `recovering` until what the log held is applied and visible"""
    lines = example_lines()
    accepted, _, _, table = truth(lines)
    new = json.dumps({"event_id": "while recovering", "timestamp": "2015-05-17T10:00:00Z", "properties": {"status": 200}})
    with GatedServer() as server:
        server.create_access()
        send_all(server, lines[:700], 100)
        server.close_gate()
        send_all(server, lines[700:], 100)               # acknowledged, and seen by nobody
        server.kill()
        server.start()
        assert server.request("GET", "/livez")[0] == 200
        for method, path, body, kind in (("GET", "/readyz", None, None), ("GET", "/v1/streams", None, None),
                                         ("GET", "/v1/streams/access", None, None), ("GET", "/v1/views", None, None),
                                         ("GET", "/v1/streams/access/events?limit=1", None, None),
                                         ("GET", "/v1/streams/access/events?from=end", None, None),
                                         ("POST", "/v1/sql", "SELECT count(*) FROM access", "text/plain"),
                                         ("POST", "/v1/sql", "SELECT * FROM access_1h", "text/plain"),
                                         ("POST", "/v1/sql", "SHOW STREAMS", "text/plain"),
                                         ("POST", "/v1/sql", "CREATE STREAM other (a TEXT)", "text/plain"),
                                         ("POST", "/v1/sql", "DROP MATERIALIZED VIEW access_1h", "text/plain"),
                                         ("POST", "/v1/streams/access/events", new, "application/json"),
                                         ("POST", "/v1/streams/unknown/events", new, "application/json")):
            status, headers, answer = server.request(method, path, body, {"Content-Type": kind} if kind else {})
            assert status == 503 and json.loads(answer)["code"] == "recovering" and "retry-after" in headers, (path, status, answer)

        def first_answer():
            """Row commit after row commit: what is asked is turned away, or it is told everything."""
            server.let_pass_who_stands_there()
            status, _, answer = server.sql_answer("SELECT count(*), count(DISTINCT event_id) FROM access")
            if status == 503:
                return json.loads(answer)["code"] != "recovering"
            assert status == 200 and json.loads(answer)["rows"] == [[accepted, accepted]], (status, answer)
            return True

        wait_for(first_answer, "an answer", 60)
        server.open_gate()
        wait_for(lambda: server.request("GET", "/readyz")[0] == 200, "ready", 60)
        assert view_table(server) == table
        assert [row[0] for row in server.sql("SHOW STREAMS")] == ["access"]     # nothing of what was turned away
        assert server.post("access", new, "application/json")[1]["accepted"] == 1


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
            becomes_true(lambda: refused() or server.metric("weir_admission_queue_bytes") > before, 1)
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


def test_rule_create_over_two_groups_cascade_and_replace():
    """rule: CREATE over two groups: CASCADE and OR REPLACE that a crash cut are finished by the next start, whole"""
    view = "MATERIALIZED VIEW {} AS SELECT window_start, {} AS n FROM TUMBLE({}, 1m) GROUP BY window_start"
    with GatedServer() as server:
        for stream in ("kept", "gone"):
            server.sql(f"CREATE STREAM {stream} (a INTEGER)")
            server.post(stream, '{"a":1}\n{"a":5}')
        for name in ("v", "w"):
            server.sql("CREATE " + view.format(name, "count(*)", "gone"))
        server.sql("CREATE " + view.format("x", "count(*)", "kept"))
        assert server.sql("SELECT n FROM x") == [[2]]
        status, _, answer = server.sql_answer("DROP STREAM gone")
        assert status == 409 and b"views v, w depend on gone" in answer and b"CASCADE" in answer
        server.close_gate()
        clients = []
        for statement in ("DROP STREAM gone CASCADE", "CREATE OR REPLACE " + view.format("x", "sum(a)", "kept")):
            before = server.committed()

            def ask(statement=statement):
                try:
                    server.sql_answer(statement)
                except (OSError, http.client.HTTPException):
                    pass                                     # its server died

            clients.append(threading.Thread(target=ask))
            clients[-1].start()
            wait_for(lambda: server.committed() > before, "the first of the two entries is committed")
        server.kill()
        for client in clients:
            client.join()
        server.open_gate()
        server.start()
        wait_for(lambda: server.sql("SELECT name, state FROM sys.views") == [["x", "live"]], "the views are what was asked for")
        assert server.sql("SELECT n FROM x") == [[6]]
        assert server.sql("SELECT name FROM sys.streams") == [["kept"]]
        for name in ("gone", "v", "w"):                      # their names are free
            wait_for(lambda: server.sql_answer(f"CREATE STREAM {name} (b TEXT)")[0] == 200, f"the name {name} is free")
            assert server.sql(f"SELECT count(*) FROM {name}") == [[0]]


def test_rule_alter_stream():
    """rule: what apply needs stands in the log: ALTER STREAM holds from its entry on, for old events and new, after kill -9 too"""
    with Server() as server:
        server.sql("CREATE STREAM s (id TEXT, n INTEGER, ts TIMESTAMP, EVENT TIME ts MAX FUTURE 36500d, DEDUP KEY (id) WITHIN 1h) PARTITIONS 2")
        server.sql("CREATE MATERIALIZED VIEW v AS SELECT window_start, count(*) AS c FROM TUMBLE(s, 1m) GROUP BY window_start LATENESS 7d")
        def event(i, more=""):
            return json.dumps({"id": str(i), "n": i, "ts": 1_700_000_000_000 + i * 1000})[:-1] + more + "}"

        assert server.post("s", "\n".join(event(i, ', "place": "old"' if i < 10 else "") for i in range(100)))[1]["accepted"] == 100
        stop, sent, errors = threading.Event(), [100], []

        def load():
            while not stop.is_set():
                body = "\n".join(event(i) for i in range(sent[0], sent[0] + 20))
                status, answer = server.post("s", body)
                if status != 200 or answer["accepted"] != 20:
                    errors.append((status, answer))
                    return
                sent[0] += 20

        client = threading.Thread(target=load)
        client.start()
        server.sql("ALTER STREAM s ADD COLUMN place TEXT NOT NULL DEFAULT 'nowhere' CHECK (place <> 'bad'), SET RETAIN 30d, DEDUP WITHIN 20d")
        server.sql("ALTER STREAM s ADD COLUMN twice INTEGER FROM '$.n', DELAY 5m")
        stop.set()
        client.join()
        assert not errors, errors                            # nobody who was sending heard of it
        total = sent[0]
        answer = server.post("s", event(total, ', "place": "bad"') + "\n" + event(total, ', "place": "new"') + "\n" + event(3))[1]
        assert (answer["accepted"], answer["rejected"], answer["duplicates"]) == (1, 1, 1), answer

        def seen():
            return [server.sql("SELECT place, count(*) FROM s GROUP BY 1 ORDER BY 1"), server.sql("SELECT sum(twice - n), count(twice) FROM s"),
                    server.sql("SELECT sum(c) FROM v"), server.sql("SELECT reason, column_name FROM s_dead_letters"), counters(server, "s")]

        before = seen()
        assert before[0] == [["new", 1], ["nowhere", total - 10], ["old", 10]]
        assert before[1] == [[0, total + 1]] and before[2] == [[total + 1]] and before[3] == [["check_failed", "place"]]
        server.sql("CREATE MATERIALIZED VIEW w AS SELECT window_start, place, count(*) AS c FROM TUMBLE(s, 1m) GROUP BY window_start, place LATENESS 7d")
        wait_for(lambda: server.sql("SELECT state FROM sys.views WHERE name = 'w'") == [["live"]], "the second view is built")
        assert server.sql("SELECT place, sum(c) FROM w GROUP BY 1 ORDER BY 1") == before[0]
        server.kill()
        server.start()
        wait_for(lambda: server.sql_answer("SELECT 1")[0] == 200, "the server reads")
        assert seen() == before
        assert server.sql("SELECT place, sum(c) FROM w GROUP BY 1 ORDER BY 1") == before[0]
        status, _, described = server.request("GET", "/v1/streams/s")
        assert status == 200 and json.loads(described)["version"] == 3
        for statement, why in (("ALTER STREAM s SET DEDUP WITHIN 1h", "wider only"), ("ALTER STREAM s ADD COLUMN z TEXT NOT NULL", "has no DEFAULT"),
                               ("ALTER STREAM s SET RETAIN 1d", "may not exceed RETAIN"), ("ALTER STREAM s ADD COLUMN z TEXT CHECK (zz > 1)", "no such column: zz")):
            status, _, answer = server.sql_answer(statement)
            problem = json.loads(answer)
            assert status == 400 and why in problem["detail"] and problem["position"] > 0, problem


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
