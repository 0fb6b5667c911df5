"""Hostile input: a clear answer or the unchanged bytes, never a crash, never more memory than the limit.

Smuggling, framing and deadlines stand in unit/http (parser_test, connection_test, loop_test), bombs in test_door.py."""
import json
import resource
import socket
import threading

from harness import Server, Skip, children_of, wait_for

LIMIT = 512 << 20  # [limits] memory by default


def raise_open_files(wanted):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < wanted:
        raise Skip(f"{wanted} open files are needed, {hard} are allowed")
    if soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def memory_of_all(server):
    """Resident bytes of the server and its workers."""
    total = 0
    for pid in [server.pid(), *children_of(server.pid())]:
        try:
            total += int(open(f"/proc/{pid}/statm").read().split()[1]) * resource.getpagesize()
        except OSError:
            pass  # a worker that has ended
    return total


def test_hostile_values_come_back_byte_for_byte_or_are_refused_with_their_reason():
    long_key = b'"' + b"k" * 1000 + b'"'
    keep = [
        b'{"id":"a1","n":9223372036854775807}', b'{"id":"a2","n":-9223372036854775808}', b'{"id":"a3","n":-0}',
        b'{"id":"a4","x":18446744073709551616,"y":-1e308,"z":1e400}', b'{"id":"a5","x":' + b"9" * 100_000 + b"}",
        '{"id":"a6","x":"żółć 漢字 😀 \u202e \u2028"}'.encode(), b'{"id":"a7","x":"\\ud83d\\ude00 \\u0000 \\/ \\b"}',
        b'{"id":"a8","n":1,"n":2,"id":"b8"}', b'{"id":"a9","x":' + b"[" * 63 + b"]" * 63 + b"}", b'{ "id" :\t"a10" , "x" : [ ] }',
        b'{"id":"a11","":{},' + long_key + b':null}', b'{"id":"a12","r":-0.0,"x":1E-400}', b'{"id":"a13","x":"' + b"x" * 9_999_980 + b'"}',
        b'{"id":"a14"' + b"".join(b',"k%d":%d' % (i, i) for i in range(100_000)) + b"}",
    ]
    assert len(keep[12]) <= 10_000_000
    refuse = [
        (b'{"id":"r1","n":9223372036854775808}', "wrong_type"), (b'{"id":"r2","n":1.5}', "wrong_type"), (b'{"id":"r3","r":1e400}', "wrong_type"),
        (b'{"id":"r4","x":NaN}', "malformed_json"), (b'{"id":"r5","x":-Infinity}', "malformed_json"), (b'{"id":"r6","x":"\\ud800"}', "malformed_json"),
        (b'{"id":"r7","x":"\\udc00\\ud800"}', "malformed_json"), (b'{"id":"r8","x":"\xff"}', "malformed_json"), (b'{"id":"r9","x":"\xc0\x80"}', "malformed_json"),
        (b'{"id":"r10","x":"\xed\xa0\x80"}', "malformed_json"), (b'{"id":"r11","x":01}', "malformed_json"), (b'{"id":"r12",}', "malformed_json"),
        (b'{"id":"r13"}{}', "malformed_json"), (b'{"id":"r14","x":"\t"}', "malformed_json"), (b'{"id":"r15","x":+1}', "malformed_json"),
        (b'{"id":"r16","x":' + b"[" * 64 + b"]" * 64 + b"}", "too_deep"), (b"[" * 1_000_000, "too_deep"), (b"null", "not_an_object"), (b"[{}]", "not_an_object"),
        (b'{"x":1}', "missing_dedup_key"), (b'{"id":"r20","x":"' + b"x" * 10_000_000 + b'"}', "too_large"), (b"\x00", "malformed_json"),
    ]
    with Server() as server:
        server.sql("CREATE STREAM h (id TEXT, n INTEGER, r REAL, DEDUP KEY (id) WITHIN 1h) PARTITIONS 1")
        body = b"\n".join(keep + [line for line, _ in refuse])
        status, answer = server.post("h", body)
        assert (status, answer["accepted"], answer["rejected"]) == (200, len(keep), len(refuse)), answer
        assert [(e["index"] - len(keep), e["code"]) for e in answer["errors"]] == list(enumerate(code for _, code in refuse)), answer
        cursor, rest = "beginning", list(keep)
        while rest:
            status, _, page = server.request("GET", f"/v1/streams/h/events?from={cursor}&limit=3")
            assert status == 200
            while rest and b'"value":' + rest[0] + b"}" in page:
                rest.pop(0)
            told = json.loads(page, parse_int=str)
            assert told["events"], f"not there, byte for byte: {rest[0][:100]}"
            cursor = told["next"]
        assert server.sql("SELECT id, n FROM h WHERE id IN ('a1', 'a2', 'a8') ORDER BY id") == [["a1", 2**63 - 1], ["a2", -2**63], ["a8", 1]]
        dead = server.sql("SELECT reason FROM h_dead_letters ORDER BY offset")
        assert [reason for reason, in dead] == [code for _, code in refuse]
        assert memory_of_all(server) < LIMIT


def test_hostile_ten_thousand_connections_stay_within_memory_and_hold_up_nobody():
    raise_open_files(11_000)
    with Server() as server:
        server.post("s", '{"event_id":"0"}')
        before = memory_of_all(server)
        connections = []
        try:
            for _ in range(10_000):
                connections.append(socket.create_connection(("127.0.0.1", server.port)))
            status, answer = server.post("s", '{"event_id":"1"}')
            assert status == 200 and answer["accepted"] == 1, answer
            idle = memory_of_all(server) - before
            assert idle < 10_000 * 4096, f"{idle >> 20} MiB for idle connections"
            # Each asks for as much of a head as there may be, and never ends it: 600 MB, if it were kept.
            head = b"GET /livez HTTP/1.1\r\nHost: localhost\r\nX: " + b"x" * 60_000
            for connection in connections:
                connection.sendall(head)
            status, answer = server.post("s", '{"event_id":"2"}')
            assert status == 200 and answer["accepted"] == 1, answer
            greedy = memory_of_all(server) - before
            assert greedy < 128 << 20, f"{greedy >> 20} MiB for heads"
        finally:
            for connection in connections:
                connection.close()
        assert server.request("GET", "/readyz")[0] == 200


def test_hostile_many_streams_are_listed_a_page_at_a_time():
    with Server() as server:
        names = [f"s{i:03}" for i in range(200)]
        failures = []

        def make(part):
            for name in part:
                status, answer = server.post(name, '{"event_id":"1"}')
                if status != 200 or answer["accepted"] != 1:
                    failures.append((name, status, answer))

        makers = [threading.Thread(target=make, args=(names[i::8],)) for i in range(8)]
        for maker in makers:
            maker.start()
        for maker in makers:
            maker.join()
        assert not failures, failures  # nobody's first event is told that its stream is not there
        seen, after = [], ""
        while True:
            page = json.loads(server.request("GET", f"/v1/streams?limit=64&after={after}")[2])
            seen += [s["name"] for s in page["streams"]]
            assert len(page["streams"]) <= 64
            after = page.get("next")
            if not after:
                break
        assert seen == names, seen


def test_hostile_requests_that_two_readers_would_cut_differently_end_the_connection():
    hidden = b"POST /v1/streams/smuggled/events HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}"
    head = b"POST /v1/streams/s/events HTTP/1.1\r\nHost: localhost\r\n"
    chunked = head + b"Transfer-Encoding: chunked\r\n"
    outer = [
        head + b"Content-Length: 0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", head + b"Content-Length: 0\r\nContent-Length: 99\r\n\r\n",
        head + b"Content-Length: 0,99\r\n\r\n", head + b"Content-Length: +0\r\n\r\n", head + b"Content-Length: 0x10\r\n\r\n", head + b"Content-Length : 0\r\n\r\n",
        head + b"Transfer-Encoding: chunked, gzip\r\n\r\n0\r\n\r\n", head + b"Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n", head + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
        head + b"X: a\rTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", head + b"X: a\nContent-Length: 99\r\n\r\n", head + b"X: a\r\n Content-Length: 99\r\n\r\n",
        head + b"Host: other\r\nContent-Length: 0\r\n\r\n", chunked + b"\r\n-2\r\n\r\n0\r\n\r\n", chunked + b"\r\n0x2\r\n{}\r\n0\r\n\r\n",
        chunked + b"\r\n" + b"f" * 17 + b"\r\n{}", chunked + b"\r\n2\n{}\r\n0\r\n\r\n", chunked + b"\r\n2\r\n{}0\r\n\r\n", chunked + b"\r\n0\r\nContent-Length: 99\r\n\r\n",
        chunked + b"\r\n2;" + b"x" * (1 << 20), head.replace(b"HTTP/1.1", b"HTTP/1.0") + b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"GET http://localhost HTTP/1.1\r\nHost: localhost\r\n\r\n", b"\x16\x03\x01\x02\x00\x01\x00", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"GET /\r\n\r\n",
    ]
    with Server() as server:
        for request in outer:
            with socket.create_connection(("127.0.0.1", server.port), timeout=20) as raw:
                try:
                    raw.sendall(request + hidden)
                    raw.shutdown(socket.SHUT_WR)
                except OSError:
                    pass
                answer = b""
                try:
                    while part := raw.recv(1 << 16):
                        answer += part
                except ConnectionResetError:
                    pass
            assert answer.startswith(b"HTTP/1.1 4") or not answer, (request[:200], answer)
            assert answer.count(b"\r\nDate: ") <= 1, (request[:200], answer)
        names = [s["name"] for s in json.loads(server.request("GET", "/v1/streams")[2])["streams"]]
        assert "smuggled" not in names, names


def test_hostile_clients_of_the_live_door_cost_no_memory():
    with Server() as server:
        for i in range(300):
            status, _ = server.post("s", "".join(json.dumps({"event_id": f"{i}-{j}", "x": "x" * 1000}) + "\n" for j in range(100)))
            assert status == 200
        before = memory_of_all(server)
        handshake = (b"GET /v1/ws HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
                     b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n")

        def text(message):
            data = json.dumps(message).encode()
            return b"\x81\xfe" + len(data).to_bytes(2, "big") + bytes(4) + data

        subscribe = text({"op": "sub", "id": 1, "topic": "streams/s", "from": "beginning", "credit": 1_000_000, "where": "x = 'none'" + " " * 200})
        leave = text({"op": "unsub", "id": 1, "": "x" * 200})
        again = text({"op": "sub", "id": 2, "topic": "streams/s", "from": "beginning", "credit": 1_000_000})
        connections = []
        try:
            for _ in range(100):
                raw = socket.socket()
                raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
                raw.connect(("127.0.0.1", server.port))
                raw.setblocking(False)
                connections.append(raw)
                try:
                    raw.send(handshake + again + (subscribe + leave) * 2000)  # and never reads
                except BlockingIOError:
                    pass
            # Somebody who reads is served meanwhile.
            for i in range(20):
                with socket.create_connection(("127.0.0.1", server.port), timeout=60) as raw:
                    raw.sendall(b"GET /v1/streams/s/tail?from=beginning HTTP/1.0\r\nHost: localhost\r\n\r\n")
                    heard = b""
                    while heard.count(b"\ndata: ") < 1000:
                        part = raw.recv(1 << 16)
                        assert part, heard[-500:]
                        heard += part
            grown = memory_of_all(server) - before
            assert grown < 128 << 20, f"{grown >> 20} MiB"
        finally:
            for raw in connections:
                raw.close()
        wait_for(lambda: b"\nweir_tails 0\n" in server.request("GET", "/metrics")[2], "all tails have gone")


def test_hostile_metrics_history_answers_at_once_whatever_the_step():
    with Server() as server:
        for step in ("1s", "1h", "36500d", "100000w", "4611686018427387s"):
            for begin in ("0", "1h", "1970-01-01T00:00:00Z"):
                status, _, body = server.request("GET", f"/v1/metrics/history?series=tails&step={step}&from={begin}", timeout=10)
                assert status in (200, 400), (step, begin, status, body)
        for bad in ("step=0s", "step=-1s", "from=9223372036854775808", "to=x", "series=none", "series=tails,", "from=5m&to=1h"):
            assert server.request("GET", f"/v1/metrics/history?{bad}")[0] == 400, bad
