"""What weir says about itself for others to read: completion in a shell that runs it, the man page through man's formatter."""
import os
import re
import shutil
import subprocess

from harness import Server, Skip, WEIR


def completed(server, *words):
    """What bash offers for these words, the last of which is being typed."""
    script = """
        source <("$WEIR" completion bash)
        PATH="${WEIR%/*}:$PATH"
        COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _weir
        printf '%s\\n' "${COMPREPLY[@]}"
    """
    env = dict(os.environ, WEIR=WEIR, WEIR_SERVER=f"http://127.0.0.1:{server.port}" if server else "http://127.0.0.1:1")
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
        script = subprocess.run([WEIR, "completion", shell], capture_output=True, check=True).stdout
        ran = subprocess.run(command, input=script, capture_output=True, timeout=60)
        assert ran.returncode == 0 and not ran.stderr, ran.stderr
        read += 1
    if shutil.which("groff"):
        page = subprocess.run([WEIR, "man"], capture_output=True, check=True).stdout
        ran = subprocess.run(["groff", "-man", "-Tutf8", "-ww"], input=page, capture_output=True, timeout=60)
        assert ran.returncode == 0 and not ran.stderr, ran.stderr
        assert b"--max-rows N" in re.sub(rb".\x08|\x1b\[[0-9]*m", b"", ran.stdout), ran.stdout[:2000]
        read += 1
    if not read:
        raise Skip("neither a shell nor groff is here")


def test_output_that_does_not_arrive_is_an_error_and_a_reader_that_has_gone_is_none():
    with Server() as server:
        server.sql("CREATE STREAM s (n INTEGER)")
        env = dict(os.environ, WEIR_SERVER=f"http://127.0.0.1:{server.port}")
        for words in (["version"], ["--help"], ["config", "print"], ["status"], ["stream", "ls"], ["sql", "SHOW STREAMS", "-o", "csv"], ["man"]):
            with open("/dev/full", "w") as full:
                ran = subprocess.run([WEIR, *words], stdout=full, stderr=subprocess.PIPE, text=True, env=env, timeout=60)
            assert ran.returncode == 74 and "cannot write the output: No space left on device" in ran.stderr, (words, ran)
            closed = subprocess.run(["bash", "-c", '"$@" >&-', "bash", WEIR, *words], stderr=subprocess.PIPE, text=True, env=env, timeout=60)
            assert closed.returncode == 1 and "cannot write the output" in closed.stderr, (words, closed)
            read, write = os.pipe()
            os.close(read)
            ran = subprocess.run([WEIR, *words], stdout=write, stderr=subprocess.PIPE, text=True, env=env, timeout=60)
            os.close(write)
            assert ran.returncode == 0 and ran.stderr.count("error") == 0, (words, ran)
