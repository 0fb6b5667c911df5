"""What users may ask, and what it costs others when they ask for the worst."""
import json
import re
import socket
import threading

from harness import Server, children_of, is_running, peak_memory, wait_for

ENDLESS = "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c) SELECT count(*) FROM c"
# One comparison of millions times millions of bytes: nothing in the engine looks up for hours.
DEAF = "SELECT instr(printf('%.*c', 10000000, 'a'), printf('%.*c', 5000000, 'a') || 'b')"
RUNS_OUT = {408: {"deadline"}, 413: {"too_large"}}   # which comes first is the machine's affair

HOSTILE = [
    (ENDLESS, {408: {"deadline"}}),
    (DEAF, {408: {"deadline"}}),
    ("SELECT count(*) FROM hostile a, hostile b, hostile c, hostile d, hostile e", {408: {"deadline"}}),
    ("SELECT length(printf('%.*c', 900000000, 'x'))", RUNS_OUT),
    ("SELECT zeroblob(1000000000)", {413: {"too_large"}}),
    ("SELECT hex(zeroblob(16000000))", {413: {"too_large"}}),
    ("SELECT randomblob(1000000000)", {413: {"too_large"}}),
    ("WITH RECURSIVE c(x, b) AS (SELECT 1, zeroblob(8000000) UNION ALL SELECT x + 1, zeroblob(8000000) FROM c) "
     "SELECT x FROM c ORDER BY b", RUNS_OUT),
    ("SELECT 'x' LIKE '" + "%a" * 300 + "'", {400: {"sql_error"}}),
    ("SELECT 'x' GLOB '" + "*a" * 300 + "'", {400: {"sql_error"}}),
    ("SELECT sum(replace(hex(zeroblob(500000 + value)), '00', 'a') LIKE '" + "%a_" * 30 + "b') FROM "
     "json_each('[" + ",".join("1" * 300) + "]'), hostile a, hostile b", {408: {"deadline"}}),
    ("SELECT " + "1+" * 3000 + "1", {400: {"sql_error"}}),
    ("SELECT " + "(" * 3000 + "1" + ")" * 3000, {400: {"sql_error"}}),
    ("SELECT 1" + " UNION ALL SELECT 1" * 500, {400: {"sql_error"}}),
    ("SELECT '" + "x" * 200000 + "'", {413: {"too_large"}}),
    ("SELECT load_extension('/tmp/x.so')", {400: {"sql_error"}}),
    ("SELECT writefile('/tmp/x', 'x')", {404: {"not_found"}}),
    ("SELECT readfile('/etc/passwd')", {404: {"not_found"}}),
    ("SELECT fts3_tokenizer('simple')", {400: {"sql_error"}}),
    ("SELECT sqlite_compileoption_used('THREADSAFE')", {400: {"sql_error"}}),
    ("SELECT * FROM pragma_database_list", {400: {"sql_error"}}),
    ("SELECT * FROM dbstat", {400: {"sql_error"}}),
    ("SELECT * FROM sqlite_schema", {404: {"not_found"}}),
    ("SELECT * FROM temp.sqlite_schema", {404: {"not_found"}}),
    ("SELECT * FROM _objects", {404: {"not_found"}}),
    ("SELECT * FROM main._ends", {404: {"not_found"}}),
    ("WITH v AS (SELECT * FROM _applied) SELECT * FROM v", {404: {"not_found"}}),
    ("ATTACH '/etc/passwd' AS x", {400: {"unsupported"}}),
    ("PRAGMA journal_mode = DELETE", {400: {"unsupported"}}),
    ("PRAGMA query_only = OFF", {400: {"unsupported"}}),
    ("VACUUM INTO '/tmp/x'", {400: {"unsupported"}}),
    ("CREATE TEMP TABLE t (a)", {400: {"unsupported"}}),
    ("INSERT INTO hostile VALUES (1)", {400: {"unsupported"}}),
    ("WITH x AS (SELECT 1) DELETE FROM hostile", {404: {"not_found"}}),
    ("BEGIN EXCLUSIVE", {400: {"unsupported"}}),
]


def test_sql_a_hostile_query_costs_its_own_process_and_nothing_else():
    """rule: user SQL runs in worker processes: each of the worst answers a clear error, ingest goes on, memory stays"""
    with Server() as server:
        server.sql("CREATE STREAM hostile (event_id TEXT, n INTEGER, DEDUP KEY (event_id) WITHIN 1d)")
        batch = 500
        sent, failures, over = [0], [], threading.Event()

        def ingest():
            while not over.is_set():
                body = "\n".join(json.dumps({"event_id": f"e{sent[0] * batch + i}", "n": i}) for i in range(batch))
                status, answer = server.post("hostile", body)
                if status != 200 or answer["accepted"] != batch:
                    failures.append((status, answer))
                    return
                sent[0] += 1

        producer = threading.Thread(target=ingest)
        producer.start()
        try:
            wait_for(lambda: sent[0] > 3, "events come in")
            server.sql("SELECT count(*) FROM hostile")
            largest = 0
            for statement, wanted in HOSTILE:
                batches = sent[0]
                status, _, body = server.sql_answer(statement, timeout_ms=400)
                problem = json.loads(body)
                shown = f"{statement[:80]}: {status} {problem}"
                assert status in wanted and problem["code"] in wanted[status], shown
                assert len(problem["detail"]) > 10 and "w_" not in problem["detail"], shown
                for worker in children_of(server.process.pid):
                    try:
                        largest = max(largest, peak_memory(worker))
                    except (OSError, AttributeError):
                        pass                                 # it has just been ended
                wait_for(lambda: sent[0] > batches or failures, "ingest goes on")
            assert server.sql("SELECT count(*) > 1000 FROM hostile") == [[1]]
        finally:
            over.set()
            producer.join()
        assert not failures, failures
        # The server itself holds what comes in; what queries hold is their workers', and bounded.
        assert peak_memory(server.process.pid) < 300 << 20, peak_memory(server.process.pid)
        assert largest < 600 << 20, largest
        assert server.sql("SELECT count(*) FROM hostile") == [[sent[0] * batch]]


def test_sql_a_query_whose_client_has_gone_ends_at_once():
    """rule: user SQL runs in worker processes: nobody computes for a client that has gone, nor waits in line for it"""
    with Server() as server:
        server.post("t", '{"event_id":"1"}')
        assert server.sql("SELECT count(*) FROM t") == [[1]]

        def ask(statement):
            body = json.dumps({"query": statement, "timeout_ms": 600000}).encode()
            client = socket.create_connection(("127.0.0.1", server.port))
            client.sendall(b"POST /v1/sql HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
                           b"Content-Length: %d\r\n\r\n" % len(body) + body)
            return client

        clients = [ask(DEAF) for _ in range(2)]
        wait_for(lambda: len(children_of(server.process.pid)) == 2, "two workers compute")
        workers = children_of(server.process.pid)
        clients += [ask(ENDLESS)]                            # waits for its turn: there are two workers
        for client in clients:
            client.close()
        wait_for(lambda: not any(is_running(pid) for pid in workers), "their workers are gone", 5)
        assert server.sql("SELECT count(*) FROM t") == [[1]]


def test_sql_workers_are_held_by_the_kernel():
    """rule: user SQL runs in worker processes: no new privileges, no system call that a query has no use for, no files but the node's"""
    with Server() as server:
        server.post("t", '{"event_id":"1"}')
        assert server.sql("SELECT count(*) FROM t") == [[1]]
        worker = children_of(server.process.pid)[0]
        status = open(f"/proc/{worker}/status").read()
        assert re.search(r"NoNewPrivs:\s+1", status) and re.search(r"Seccomp:\s+2", status), status
        limits = open(f"/proc/{worker}/limits").read()
        for name, want in (("Max file size", "0"), ("Max core file size", "0"), ("Max open files", "256")):
            assert re.search(name + r"\s+(\S+)", limits).group(1) == want, limits
        assert re.search(r"Max cpu time\s+(\S+)", limits).group(1) != "unlimited", limits
        # What a query may need is still there: time zones, chance, JSON, every kind of table.
        for statement in ("SELECT datetime(1, 'unixepoch', 'localtime') > ''", "SELECT length(randomblob(4)) = 4",
                          "SELECT count(*) = 0 FROM t_dead_letters", "SELECT count(*) > 0 FROM sys.config",
                          "SELECT json_extract(_value, '$.event_id') = '1' FROM t", "SELECT _append_time > 0 FROM t",
                          "SELECT count(*) = 1 FROM sys.streams"):
            assert server.sql(statement) == [[1]], statement


def test_sql_system_tables_show_windows_nodes_and_metrics():
    with Server() as server:
        server.create_access(lateness="1h")
        lines = []
        for hour in (10, 11, 13):
            for i in range(4):                               # a user a partition, so that each has a watermark
                for user in range(40):
                    lines.append(json.dumps({"event_id": f"{hour}-{i}-{user}", "event_type": "x", "user_id": f"u{user}",
                                             "timestamp": f"2025-05-18T{hour}:0{i}:00Z",
                                             "properties": {"status": 200 + i, "bytes": 1, "method": "GET", "path": "/"}}))
        status, answer = server.post("access", "\n".join(lines))
        assert status == 200 and answer["accepted"] == len(lines), answer
        # Watermarks are at 12:33 (DELAY 30m): 10:00 has ended with its lateness, 11:00 is final, 13:00 open.
        wait_for(lambda: server.sql("SELECT window_start, window_end, groups, state FROM sys.open_windows "
                                    "WHERE view = 'access_1h' ORDER BY 1") ==
                 [["2025-05-18T11:00:00.000Z", "2025-05-18T12:00:00.000Z", 4, "final"],
                  ["2025-05-18T13:00:00.000Z", "2025-05-18T14:00:00.000Z", 4, "open"]], "two windows are open")
        plan = "\n".join(row[0] for row in server.sql("EXPLAIN VIEW access_1h"))
        assert "access_1h: live, over stream access" in plan and "LATENESS 1h" in plan, plan
        assert "8 groups in 2 windows, 1 of them final" in plan, plan
        assert "2025-05-18T13:00:00.000Z to 2025-05-18T14:00:00.000Z is not final" in plan and "FLUSH access_1h" in plan, plan
        server.stop()
        server.start()
        assert [row[2] for row in server.sql("SELECT * FROM sys.open_windows ORDER BY 2")] == [
            "2025-05-18T12:00:00.000Z", "2025-05-18T14:00:00.000Z"]
        server.sql("DROP MATERIALIZED VIEW access_1h")
        assert server.sql("SELECT * FROM sys.open_windows") == []
        assert server.sql_answer("EXPLAIN VIEW access_1h")[0] == 404

        name, address, role, version, started = server.sql("SELECT * FROM sys.nodes")[0]
        assert (name, address, role) == ("n1", f"127.0.0.1:{server.port}", "leader") and version and started > "2025", started

        # What /metrics shows: the same names and labels, one row a line.
        text = server.request("GET", "/metrics")[2].decode()
        shown = {re.match(r"[a-zA-Z0-9_:]+", line).group(0) for line in text.splitlines() if line and line[0] != "#"}
        rows = server.sql("SELECT name, labels, value FROM sys.metrics", max_rows=100000)
        assert {row[0] for row in rows} == shown
        assert all(isinstance(json.loads(row[1]) if isinstance(row[1], str) else row[1], dict) for row in rows)
        assert server.sql("SELECT value > 1000000 FROM sys.metrics WHERE name = 'process_resident_memory_bytes'") == [[1]]


def test_sql_explain_tells_what_a_query_would_read():
    with Server() as server:
        server.create_access()

        def explain(query):
            return "\n".join(row[0] for row in server.sql("EXPLAIN " + query))

        assert "counted by their offsets" in explain("SELECT count(*) FROM access")
        cut = explain("SELECT status, count(*) FROM access WHERE ts >= '2025-05-18' AND _partition = 2 GROUP BY status")
        assert cut.startswith("scan access: partitions 2 of 4, batches with event times from 2025-05-18T00:00:00.000Z"), cut
        assert "USE TEMP B-TREE FOR GROUP BY" in cut, cut
        status, _, body = server.sql_answer("EXPLAIN SELECT nowhat FROM access")
        assert status == 404 and json.loads(body)["position"] == 15, body
        assert server.sql_answer("EXPLAIN DROP STREAM access")[0] == 400
        assert server.sql("SELECT count(*) FROM access") == [[0]]
