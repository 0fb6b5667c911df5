"""weir sql on a terminal: a real one, with keys as a user presses them."""
import fcntl
import os
import pty
import re
import select
import signal
import stat
import struct
import subprocess
import tempfile
import termios
import time

import harness
from harness import Server, wait_for


class Terminal:
    """A program on a terminal of 24 lines and 100 columns."""

    def __init__(self, *words, env=None):
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            os.environ.update({"TERM": "xterm", **(env or {})})
            os.execv(harness.WEIR, [harness.WEIR, *words])
        fcntl.ioctl(self.fd, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 100, 0, 0))
        self.seen = ""  # since the last expect()

    def read_some(self, seconds):
        if not select.select([self.fd], [], [], seconds)[0]:
            return False
        try:
            data = os.read(self.fd, 65536)
        except OSError:
            data = b""
        self.seen += re.sub(r"\x1b\[[0-9;?]*[A-Za-z]|\x1b[=>]|\x0f|\x0e", "", data.decode("utf-8", "replace"))
        return bool(data)

    def expect(self, text, seconds=20):
        """Waits until the terminal shows `text`; what came up to there."""
        deadline = time.monotonic() + seconds
        while text not in self.seen:
            if not self.read_some(max(0, deadline - time.monotonic())):
                raise AssertionError(f"{text!r} did not come, but: {self.seen!r}")
        at = self.seen.index(text) + len(text)
        before, self.seen = self.seen[:at], self.seen[at:]
        return before

    def type(self, keys):
        os.write(self.fd, keys.encode())

    def ask(self, keys):
        """Types when it waits for a statement: what is typed before, the kernel edits in its own way."""
        self.expect("weir> ")
        self.type(keys)

    def wait(self):
        deadline = time.monotonic() + 20
        while self.read_some(max(0, deadline - time.monotonic())):
            pass
        assert time.monotonic() < deadline, f"it does not end: {self.seen!r}"
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])

    def __enter__(self):
        return self

    def __exit__(self, *_):
        try:
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
        except (ProcessLookupError, ChildProcessError):
            pass
        os.close(self.fd)


def shell(server, state, **env):
    return Terminal("sql", env={"WEIR_SERVER": f"http://127.0.0.1:{server.port}", "XDG_STATE_HOME": state, **env})


def test_sql_on_a_terminal():
    with tempfile.TemporaryDirectory(prefix="weir-test-") as state, Server() as server:
        server.sql("CREATE STREAM visits (id TEXT, status INTEGER, DEDUP KEY (id) WITHIN 1h)")
        server.post("visits", '{"id":"1","status":200}\n{"id":"2","status":500}\n')
        with shell(server, state) as terminal:
            terminal.expect("\\? for help")
            terminal.expect("weir> ")
            # Over several lines until ';', and a ';' in a string ends nothing.
            terminal.type("SELECT 'a;b'\r")
            terminal.expect("... ")
            terminal.type("AS x, 40 + 2 AS y;\r")
            terminal.expect("a;b  42")
            terminal.expect("1 row")
            # Completion: of a table, of its columns, of a keyword in the case that was typed.
            terminal.ask("sel\tstatus fr\tvis\t where sta\t> 400;\r")
            terminal.expect("status\r\n------\r\n   500\r\n")
            terminal.expect("1 row")
            # An error shows the place; the session goes on.
            terminal.ask("SELECT nothing FROM visits;\r")
            terminal.expect("error: ")
            terminal.ask("\\d visits\r")
            terminal.expect("INTEGER")
            terminal.ask("\\f csv\r")
            terminal.ask("SELECT id FROM visits ORDER BY 1;\r")
            terminal.expect("id\r\n1\r\n2\r\n")
            terminal.ask("\\?\r")
            terminal.expect("Ctrl-R")
            terminal.ask("\\nonsense\r")
            terminal.expect("there is no command \\nonsense")
            terminal.ask("\x04")
            assert terminal.wait() == 0
        file = os.path.join(state, "weir", "sql_history")
        assert stat.S_IMODE(os.stat(file).st_mode) == 0o600 and stat.S_IMODE(os.stat(os.path.dirname(file)).st_mode) == 0o700
        lines = open(file).read().split("\n")
        assert lines[0] == "SELECT 'a;b'\\nAS x, 40 + 2 AS y;" and lines[1].startswith("select status from visits where status"), lines
        # The next session knows them.
        with shell(server, state) as terminal:
            terminal.ask("\x1b[A\x1b[A\x1b[A\r")
            terminal.expect("id\r\n")
            terminal.expect("2 rows")
            terminal.ask("exit\r")
            assert terminal.wait() == 0


def test_control_c_drops_a_line_and_ends_a_query_but_not_the_session():
    with tempfile.TemporaryDirectory(prefix="weir-test-") as state, Server() as server:
        with shell(server, state) as terminal:
            terminal.ask("SELECT broken\r")
            terminal.expect("... ")
            terminal.type("and half a li\x03")
            terminal.ask("WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c) SELECT max(x) FROM c;\r")
            wait_for(lambda: b"sql-worker" in subprocess.run(["ps", "-o", "args=", "--ppid", str(server.pid())], capture_output=True).stdout, "the worker")
            terminal.type("\x03")
            terminal.expect("cancelled")
            terminal.ask("SELECT 7 * 6 AS answer;\r")
            terminal.expect("42")
            terminal.ask("\\q\r")
            assert terminal.wait() == 0


def test_a_terminal_keeps_letters_beyond_ascii():
    with tempfile.TemporaryDirectory(prefix="weir-test-") as state, Server() as server:
        with shell(server, state, LC_ALL="C", LANG="C") as terminal:
            terminal.ask("SELECT length('héé→x') AS letters;\r")
            terminal.expect("letters\r\n")
            terminal.expect("5\r\n")
            # A backspace takes a letter, not a byte.
            terminal.ask("SELECT length('é→\x7f\x7f') + 30 AS letters;\r")
            terminal.expect("letters\r\n")
            terminal.expect("30\r\n")
            terminal.ask("\x04")
            assert terminal.wait() == 0
        assert "héé→x" in open(os.path.join(state, "weir", "sql_history"), encoding="utf-8").read()


def test_a_terminal_without_a_server():
    with Terminal("sql", "--server", "http://127.0.0.1:1", env={"XDG_STATE_HOME": "/nonexistent"}) as terminal:
        terminal.expect("error: cannot reach http://127.0.0.1:1")
        assert terminal.wait() == 3
    # And a history that cannot be kept is told once.
    with Server() as server:
        with shell(server, "/proc/nothing") as terminal:
            terminal.ask("SELECT 1 AS one;\r")
            terminal.expect("warning: no history")
            terminal.ask("SELECT 2 AS two;\r")
            assert "warning" not in terminal.expect("two")
            terminal.ask("\x04")
            assert terminal.wait() == 0
