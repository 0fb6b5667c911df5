"""Configuration and API keys."""
import http.client
import json
import os
import re
import shutil
import subprocess
import tempfile
import time

from harness import ROOT, Server, WEIR, problem, wait_for

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
