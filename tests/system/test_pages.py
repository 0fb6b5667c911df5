"""What weir says about itself for others to read: completion in a shell that runs it, the man page through man's formatter."""
import os
import re
import shutil
import subprocess

import harness
from harness import Server, Skip


def completed(server, *words):
    """What bash offers for these words, the last of which is being typed."""
    script = """
        source <("$WEIR" completion bash)
        PATH="${WEIR%/*}:$PATH"
        COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _weir
        printf '%s\\n' "${COMPREPLY[@]}"
    """
    env = dict(os.environ, WEIR=harness.WEIR, WEIR_SERVER=f"http://127.0.0.1:{server.port}" if server else "http://127.0.0.1:1")
    ran = subprocess.run(["bash", "-c", script, "bash", *words], capture_output=True, text=True, env=env, timeout=60)
    assert ran.returncode == 0 and not ran.stderr, ran
    return [word for word in ran.stdout.split("\n") if word]


def test_completion_in_bash():
    with Server() as server:
        server.sql("CREATE STREAM visits (a TEXT)")
        server.sql("CREATE STREAM visitors (a TEXT)")
        assert completed(server, "weir", "st") == ["stream", "status"]
        assert completed(server, "weir", "stream", "i") == ["info"]
        assert completed(server, "weir", "stream", "info", "vis") == ["visitors", "visits"]
        assert completed(server, "weir", "tail", "visits", "--fo") == ["--follow"]
        assert completed(server, "weir", "sql", "-o", "n") == ["ndjson"]
        assert completed(server, "weir", "sql", "--timeout", "1") == []
        assert completed(server, "weir", "produce", "visits", "/etc/host") != []
        assert completed(server, "weir", "help", "ben") == ["bench"]
    assert completed(None, "weir", "tail", "vis") == []


def test_other_shells_and_man_read_what_is_printed():
    read = 0
    for shell, command in (("zsh", ["zsh", "-n"]), ("fish", ["fish", "--no-execute"]), ("bash", ["bash", "-n"])):
        if not shutil.which(shell):
            continue
        script = subprocess.run([harness.WEIR, "completion", shell], capture_output=True, check=True).stdout
        ran = subprocess.run(command, input=script, capture_output=True, timeout=60)
        assert ran.returncode == 0 and not ran.stderr, ran.stderr
        read += 1
    if shutil.which("groff"):
        page = subprocess.run([harness.WEIR, "man"], capture_output=True, check=True).stdout
        ran = subprocess.run(["groff", "-man", "-Tutf8", "-ww"], input=page, capture_output=True, timeout=60)
        assert ran.returncode == 0 and not ran.stderr, ran.stderr
        assert b"--max-rows N" in re.sub(rb".\x08|\x1b\[[0-9]*m", b"", ran.stdout), ran.stdout[:2000]
        read += 1
    if not read:
        raise Skip("neither a shell nor groff is here")
