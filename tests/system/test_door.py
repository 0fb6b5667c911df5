"""What the HTTP door takes: encodings, bombs, CloudEvents, statuses, Idempotency-Key."""
import collections
import gzip
import http.client
import json
import random
import socket
import threading

from harness import ACCESS_SQL, Server, Work, example_lines, peak_memory, wait_for


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
        work = Work()
        enough = threading.Event()

        def client():
            while not enough.is_set():
                with lock:
                    n = len(sent)
                    sent.append(n)
                while True:
                    try:
                        work.begin()
                        status, _, answer = ask("counted", f'{{"n":{n}}}\n'.encode(), key(f"n{n}"))
                        if status == 200:
                            assert json.loads(answer)["accepted"] == 1, answer
                            break
                        assert status in (409, 503, 504), (status, answer)
                    except (OSError, http.client.HTTPException, ValueError):
                        server.up.wait(60)

        threads = [threading.Thread(target=client) for _ in range(6)]
        for t in threads:
            t.start()
        rng = random.Random(11)
        for _ in range(6):
            work.wait_for_more(rng.randint(1, 30))
            server.kill()
            server.start()
        enough.set()
        for t in threads:
            t.join()
        assert server.sql("SELECT count(*), count(DISTINCT n) FROM counted") == [[len(sent), len(sent)]]
        assert server.sql("SELECT count(*) FROM sys.streams WHERE name = 'answers'") == [[0]]
