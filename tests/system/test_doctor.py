"""weir doctor: a whole directory is found whole, and each kind of damage is found, named, and does not stop the other checks."""
import glob
import json
import os
import shutil
import subprocess
import tempfile

import harness
from harness import Server

VIEW = "CREATE MATERIALIZED VIEW v AS SELECT window_start, count(*) AS n FROM TUMBLE(s, 1h) GROUP BY window_start"


def doctor(data, *words):
    return subprocess.run([harness.WEIR, "doctor", "--data", data, *words], capture_output=True, text=True, timeout=120)


def diagnosis(data):
    ran = doctor(data, "-o", "json")
    document = json.loads(ran.stdout)
    assert ran.returncode == (0 if document["healthy"] else 1), ran
    return {check["check"]: check for check in document["checks"]}


def failed(data):
    return sorted(name for name, check in diagnosis(data).items() if check["result"] == "failed")


def flip(path, at):
    """Turns one bit of a file, `at` of the way through it."""
    with open(path, "r+b") as file:
        place = int(os.path.getsize(path) * at)
        file.seek(place)
        byte = file.read(1)[0]
        file.seek(place)
        file.write(bytes([byte ^ 0x10]))


def filled(folder):
    """A data directory with everything in it, of a server that stopped in peace."""
    with Server(data=folder) as server:
        server.sql("CREATE STREAM s (id TEXT, ts TIMESTAMP, EVENT TIME ts, DEDUP KEY (id) WITHIN 1h) PARTITIONS 2 BY id")
        server.sql(VIEW)
        for batch in range(3):
            server.post("s", "".join('{"id":"%d","ts":"2025-01-01T%02d:00:00Z"}\n' % (n, n % 24) for n in range(batch * 900, batch * 900 + 1000)) + "broken\n")
        assert server.stop() == 0
    return os.path.join(folder, "d")


def test_doctor_finds_a_whole_directory_whole_and_leaves_it_so():
    with tempfile.TemporaryDirectory(prefix="weir-test-") as folder:
        data = filled(folder)
        found = diagnosis(data)
        assert all(check["result"] == "ok" and "advice" not in check for check in found.values()), found
        assert set(found) == {"identity", "write-ahead log", "checkpoint", "segments of s", "journal of s", "dedup runs of s", "database", "tables"}, list(found)
        assert found["segments of s"]["found"].startswith("2,800 events, 3 dead letters"), found
        assert found["dedup runs of s"]["found"].startswith("2,800 ids"), found
        ran = doctor(data)
        assert ran.returncode == 0 and ran.stderr == "all is well\n" and "segments of s" in ran.stdout, ran
        with Server(data=folder) as server:
            assert server.sql("SELECT count(*) FROM s") == [[2800]]
            # A server holds it: no check, and says which process.
            ran = doctor(data)
            assert ran.returncode == 6 and str(server.pid()) in ran.stderr and "stop the server first" in ran.stderr, ran
            server.post("s", '{"id":"after","ts":"2025-01-01T00:00:00Z"}\n')
            server.kill()
        # What a server that was killed leaves is whole too.
        assert failed(data) == []


def test_doctor_names_what_is_damaged():
    with tempfile.TemporaryDirectory(prefix="weir-test-") as folder:
        whole = filled(folder)
        stream = [d for d in glob.glob(whole + "/shards/0/streams/*") if glob.glob(d + "/p1/*.log")][0][len(whole):]
        for pattern, want in ((stream + "/p1/*.log", "segments of s"), (stream + "/p0/*.idx", "segments of s"), (stream + "/journal/*.jnl", "journal of s"),
                              (stream + "/dedup/*.dd", "dedup runs of s"), ("/weir.identity", "identity")):
            data = os.path.join(folder, "damaged")
            shutil.copytree(whole, data)
            path = [p for p in glob.glob(data + pattern) if os.path.getsize(p)][0]
            flip(path, 0.9)
            assert failed(data) == [want], (pattern, failed(data))
            ran = doctor(data)
            assert ran.returncode == 1 and f"error: {want}: " in ran.stderr and "  try: restore" in ran.stderr and "1 check failed" in ran.stderr, ran
            shutil.rmtree(data)


def test_doctor_survives_cut_missing_and_foreign_files():
    with tempfile.TemporaryDirectory(prefix="weir-test-") as folder:
        whole = filled(folder)
        data = os.path.join(folder, "damaged")
        files = [p[len(whole):] for p in glob.glob(whole + "/**", recursive=True) if os.path.isfile(p) and not p.endswith(("LOCK", "lock.mdb", "-shm"))]
        assert len(files) > 8, files
        for path in files:
            for spoil in ("cut", "noise"):
                shutil.copytree(whole, data)
                size = os.path.getsize(data + path)
                with open(data + path, "r+b") as file:
                    if spoil == "cut":
                        file.truncate(size // 3)
                    else:
                        file.write(b"\xa5" * min(size, 8192))
                ran = doctor(data, "-o", "json")
                assert ran.returncode in (0, 1), (path, spoil, ran)
                found = {c["check"]: c["result"] for c in json.loads(ran.stdout)["checks"]}
                if path.endswith("data.mdb"):
                    assert found["checkpoint"] == "failed", (spoil, found)
                if path.endswith("view.db"):
                    assert found["database"] == "failed", (spoil, found)
                for what in [what for what in ("wal", "state", "checkpoint") if what in path or f"/{'state' if what == 'checkpoint' else what}/" in path]:
                    code, _, words = inspect(what, "--data", data)
                    assert code in (0, 1) and (code == 0 or words.startswith("error: ")), (path, spoil, what, code, words)
                shutil.rmtree(data)


def test_doctor_without_a_data_directory():
    with tempfile.TemporaryDirectory(prefix="weir-test-") as folder:
        for data in (folder, folder + "/none"):
            ran = doctor(data)
            assert ran.returncode == 5 and "is no data directory of weir" in ran.stderr, ran
        assert os.listdir(folder) == []


def inspect(*words):
    ran = subprocess.run([harness.WEIR, "inspect", *words, "-o", "ndjson"], capture_output=True, text=True, timeout=120)
    return ran.returncode, [json.loads(line) for line in ran.stdout.splitlines()], ran.stderr


def test_inspect_shows_what_is_inside():
    with tempfile.TemporaryDirectory(prefix="weir-test-") as folder:
        data = filled(folder)
        code, rows, _ = inspect("checkpoint", "--data", data)
        parts = {row["part"]: row["holds"] for row in rows}
        assert code == 0 and parts["stream"].startswith("s: CREATE STREAM") and "view" in parts and "partition 1" in parts, rows
        assert parts["dead letters"].startswith("offsets 0 to 3"), parts
        code, rows, _ = inspect("state", "--data", data)
        assert code == 0 and {"applied", "stream", "view", "catalog", "operator state"} == {row["kind"] for row in rows}, rows
        with Server(data=folder) as server:
            server.post("s", '{"id":"after","ts":"2025-01-01T00:00:00Z"}\n')
            assert inspect("wal", "--data", data)[0] == 6
            server.kill()
        code, rows, _ = inspect("wal", "--data", data)
        assert code == 0 and any("1 events of" in row["brings"] for row in rows), rows
        indexes = [row["index"] for row in rows]
        assert indexes == sorted(set(indexes))
        segment = max(glob.glob(data + "/shards/0/streams/*/p*/*.log"), key=os.path.getsize)
        code, batches, _ = inspect("segment", segment)
        assert code == 0 and batches[0]["offset"] == 0 and all(b["checksum"] == "ok" for b in batches), batches
        for one, next_one in zip(batches, batches[1:]):
            assert one["offset"] + one["count"] == next_one["offset"] and one["position"] + one["bytes"] == next_one["position"]
        # Cut anywhere it shows the whole batches and says where it stopped.
        copy, size = os.path.join(folder, "cut.log"), os.path.getsize(segment)
        for at in range(0, size, max(1, size // 60)):
            shutil.copy(segment, copy)
            os.truncate(copy, at)
            code, some, words = inspect("segment", copy)
            whole = [b for b in batches if b["position"] + b["bytes"] <= at]
            assert some == whole, (at, some)
            is_end = at == sum(b["bytes"] for b in whole)
            assert code == (0 if is_end else 1) and (is_end or f"of {at}: " in words), (at, code, words)
        shutil.copy(segment, copy)
        flip(copy, 0.99)
        code, some, _ = inspect("segment", copy)
        assert code == 0 and some[-1]["checksum"] == "does not match", some
