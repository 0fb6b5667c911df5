"""What system tests share: a server as a process, an oracle that shares no code with it, waiting. run.py sets WEIR."""
import collections
import gzip
import http.client
import json
import os
import re
import shutil
import signal
import subprocess
import tempfile
import threading
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
EVENTS = os.path.join(ROOT, "examples", "events.ndjson.gz")
ACCESS_SQL = os.path.join(ROOT, "examples", "access.sql")
WEIR = None


class Skip(Exception):
    pass


class Server:
    PORT = r"http://127\.0\.0\.1:(\d+)/v1/streams"

    def __init__(self, data=None, extra=(), env=None, prefix=()):
        self.own = data is None
        self.data = data or tempfile.mkdtemp(prefix="weir-test-")
        self.extra = list(extra)
        self.env = dict(os.environ, **(env or {}))
        self.prefix = list(prefix)
        self.listen = "127.0.0.1:0"
        self.process = None
        self.up = threading.Event()
        self.start()

    def start(self):
        self.log = tempfile.NamedTemporaryFile(mode="w+", prefix="weir-log-", delete=False)
        self.process = subprocess.Popen(
            self.prefix + [WEIR, "serve", "--data", os.path.join(self.data, "d"), "--http", self.listen] + self.extra,
            stdout=subprocess.DEVNULL, stderr=self.log, env=self.env)
        wait_for(lambda: self.is_up(open(self.log.name).read()) or self.process.poll() is not None, "the server to be up", 60)
        text = open(self.log.name).read()
        assert self.process.poll() is None, f"the server ended with {self.process.returncode}: {text}"
        self.port = int(re.search(self.PORT, text).group(1))
        self.up.set()          # clients that wait for it go on

    def is_up(self, log):
        return "ready in" in log

    def pid(self):
        """Of the server itself, also below strace."""
        if not self.prefix:
            return self.process.pid
        return int(subprocess.run(["ps", "-o", "pid=", "--ppid", str(self.process.pid)], capture_output=True, text=True).stdout.split()[0])

    def kill(self):
        self.up.clear()
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


def becomes_true(condition, seconds):
    """Asks again and again, up to so many seconds: what another process does sends no signal. The only pause of the system tests."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.005)
    return True


class Work:
    """Counts what clients begin. Who kills the server waits for the next few: kills then come amid work, on a fast machine and on a slow one."""

    def __init__(self):
        self.count = 0
        self.changed = threading.Condition()

    def begin(self):
        with self.changed:
            self.count += 1
            self.changed.notify_all()

    def wait_for_more(self, number, seconds=20):
        with self.changed:
            want = self.count + number
            return self.changed.wait_for(lambda: self.count >= want, seconds)


def wait_for(condition, what, seconds=20):
    assert becomes_true(condition, seconds), "not within %d s: %s" % (seconds, what)


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


def problem(answer):
    """Status, code and position of a refused statement."""
    status, headers, body = answer
    assert headers["content-type"] == "application/problem+json", headers
    told = json.loads(body)
    return status, told.get("code"), told.get("position")


def children_of(pid):
    return [int(p) for p in subprocess.run(["ps", "-o", "pid=", "--ppid", str(pid)], capture_output=True, text=True).stdout.split()]


def cpu_ticks(pid):
    fields = open(f"/proc/{pid}/stat").read().rsplit(")", 1)[1].split()
    return int(fields[11]) + int(fields[12])


def is_running(pid):
    try:
        return open(f"/proc/{pid}/stat").read().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def resident_bytes(server):
    return int(open(f"/proc/{server.pid()}/statm").read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def peak_memory(pid):
    return int(re.search(r"VmHWM:\s+(\d+) kB", open(f"/proc/{pid}/status").read()).group(1)) * 1024
