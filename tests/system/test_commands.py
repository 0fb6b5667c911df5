"""System tests of the command line: what a user types, on pipes and on a terminal.."""
import json
import os
import re
import signal
import subprocess
import tempfile

from harness import Server, WEIR, wait_for


class Demo:
    """`weir demo` with its standard error in a file."""

    def __init__(self, *words, env=None):
        self.folder = tempfile.mkdtemp(prefix="weir-test-")
        self.log_path = os.path.join(self.folder, "log")
        with open(self.log_path, "w") as log:
            self.process = subprocess.Popen([WEIR, "demo", "--http", "127.0.0.1:0", *words], stdout=subprocess.PIPE, stderr=log,
                                            env=dict(os.environ, TMPDIR=self.folder, **(env or {})))
        wait_for(lambda: "Ctrl-C to stop" in self.log() or self.process.poll() is not None, "the demo's banner")

    def log(self):
        with open(self.log_path) as file:
            return file.read()

    def server(self):
        return re.search(r"http://127\.0\.0\.1:\d+", self.log()).group(0)

    def sql(self, statement):
        ran = subprocess.run([WEIR, "sql", "--server", self.server(), "-o", "json", statement], capture_output=True, text=True, timeout=60)
        assert ran.returncode == 0, ran.stderr
        return json.loads(ran.stdout)["rows"]

    def processes(self):
        """Of the demo and all below it."""
        found = [self.process.pid]
        for pid in found:
            below = subprocess.run(["ps", "-o", "pid=", "--ppid", str(pid)], capture_output=True, text=True).stdout.split()
            found += [int(p) for p in below]
        return found

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            self.process.wait(timeout=60)
        self.process.stdout.close()
        subprocess.run(["rm", "-rf", self.folder])


def is_alive(pid):
    return os.path.exists(f"/proc/{pid}") and " Z " not in open(f"/proc/{pid}/stat").read()


def test_demo_has_something_to_show_and_leaves_nothing():
    with Demo(env={"WEIR_AUTH_MODE": "keys", "WEIR_CONFIG": "/nonexistent"}) as demo:
        received, stored, duplicate, dead, refused = demo.sql(
            "SELECT received, stored, duplicate, dead_lettered, refused FROM sys.counters WHERE stream = 'requests'")[0]
        assert received == stored + duplicate + dead + refused and duplicate > 0 and dead > 0, (received, stored, duplicate, dead, refused)
        reasons = {row[0] for row in demo.sql("SELECT DISTINCT reason FROM requests_dead_letters")}
        assert reasons == {"malformed_json", "wrong_type", "check_failed", "missing_dedup_key", "bad_event_time", "future_event_time"}, reasons
        # Each thing that it says to try has rows.
        tries = re.findall(r'weir sql --server \S+ "(.*)"', demo.log())
        assert len(tries) >= 5, demo.log()
        for statement in tries:
            assert demo.sql(statement), statement
        # It goes on, and orders are of requests that there are.
        wait_for(lambda: demo.sql("SELECT received FROM sys.counters WHERE stream = 'requests'")[0][0] > received, "more events")
        assert demo.sql("SELECT count(*) FROM orders WHERE request_id NOT IN (SELECT event_id FROM requests WHERE event_id IS NOT NULL)") == [[0]]
        below = demo.processes()
        assert len(below) >= 3, below  # the demo, its server, a worker
        demo.process.send_signal(signal.SIGINT)
        assert demo.process.wait(timeout=60) == 0, demo.log()
        wait_for(lambda: not any(is_alive(pid) for pid in below), "the end of its processes")
        assert os.listdir(demo.folder) == ["log"], os.listdir(demo.folder)
        assert demo.process.stdout.read() == b""


def test_demo_goes_on_from_its_own_data_and_refuses_that_of_others():
    with tempfile.TemporaryDirectory(prefix="weir-test-") as folder:
        data = os.path.join(folder, "d")
        ids = "SELECT DISTINCT event_id FROM requests ORDER BY 1"
        with Demo("--data", data) as demo:
            first = demo.sql("SELECT count(*) FROM requests")[0][0]
            assert first > 30000, first
        with Demo("--data", data) as demo:
            second = demo.sql("SELECT count(*) FROM requests")[0][0]
            assert second >= first
            stored, duplicate = demo.sql("SELECT stored, duplicate FROM sys.counters WHERE stream = 'requests'")[0]
            assert duplicate < stored / 20, "the second run sent what the first had sent"
            assert len(demo.sql(ids + " LIMIT 5")) == 5
        with Server(data=folder) as server:
            server.sql("CREATE STREAM mine (a TEXT)")
        ran = subprocess.run([WEIR, "demo", "--http", "127.0.0.1:0", "--data", data], capture_output=True, text=True, timeout=60)
        assert ran.returncode == 6 and "holds the stream mine" in ran.stderr and "try: weir demo --data" in ran.stderr, ran


def test_demo_whose_server_dies_says_so():
    with Demo() as demo:
        os.kill(demo.processes()[1], signal.SIGKILL)
        assert demo.process.wait(timeout=60) == 1
        assert "error: the server has ended" in demo.log(), demo.log()
        assert os.listdir(demo.folder) == ["log"]


def test_a_demo_that_is_killed_takes_its_server_with_it():
    with Demo() as demo:
        below = demo.processes()
        demo.process.kill()
        demo.process.wait()
        wait_for(lambda: not any(is_alive(pid) for pid in below), "the end of its processes")
