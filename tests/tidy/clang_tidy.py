#!/usr/bin/env python3
"""clang-tidy over every source of src/: what .clang-tidy asks for, as a test. Prints each finding with its place.

  tests/tidy/clang_tidy.py [--build DIR] [--all] [FILE ...]

Needs a configured build (compile_commands.json), not a built one. A file that passed is not looked at again until one of its
inputs changes: the file, what it includes of src/, its flags, the checks, the tool, or the packages of this machine. --all
looks again at everything.
"""
import argparse
import concurrent.futures
import hashlib
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
SRC = os.path.join(ROOT, "src")
TOOL = "clang-tidy-14"
TIMEOUT_S = 600


def read(path):
    with open(path, "rb") as f:
        return f.read()


def sources():
    found = []
    for where, _, names in os.walk(SRC):
        found += [os.path.join(where, n) for n in names if n.endswith((".cc", ".c"))]
    return sorted(found)


def own_flags(command):
    """What decides how the file is read: g++'s own options, warnings (their build judges them) and code generation go."""
    words = shlex.split(command)
    while words and not re.search(r"(\+\+|cc|clang)(-\d+)?$", words[0]):
        words.pop(0)  # a launcher such as ccache
    kept = [words[0]]
    skip = False
    for word in words[1:]:
        if skip or word in ("-o", "-MF", "-MT", "-MQ", "-c"):
            skip = not skip  # each has a word after it; of -c it is the file, which main() names again
        elif not re.match(r"-(W|fsanitize|fno-sanitize|M|g\d?$)", word):
            kept.append(word)
    return kept


def compile_commands(build):
    with open(os.path.join(build, "compile_commands.json"), encoding="utf-8") as f:
        entries = json.load(f)
    found = {}
    for entry in entries:
        file = os.path.realpath(os.path.join(entry["directory"], entry["file"]))
        found.setdefault(file, (entry["directory"], own_flags(entry["command"])))
    return found


class Inputs:
    """The key of a file: a hash over everything that the tool's answer depends on."""

    def __init__(self):
        self.includes = {}  # file of src/ -> its own includes within src/
        self.digests = {}
        version = subprocess.run([TOOL, "--version"], capture_output=True).stdout
        packages = "/var/lib/dpkg/status"  # stands for the headers outside of src/
        self.common = [version, read(os.path.join(ROOT, ".clang-tidy")), read(os.path.abspath(__file__)),
                       read(packages) if os.path.exists(packages) else b""]

    def look(self, path):
        text = read(path)
        self.digests[path] = hashlib.sha256(text).digest()
        here = os.path.dirname(path)
        found = []
        for name in re.findall(rb'^\s*#\s*include\s*"([^"]+)"', text, re.M):
            name = name.decode()
            for candidate in (os.path.join(SRC, name), os.path.join(here, name)):
                if os.path.exists(candidate):
                    found.append(os.path.realpath(candidate))
                    break
        self.includes[path] = found

    def key(self, path, flags):
        seen = set()
        waiting = [path]
        while waiting:
            file = waiting.pop()
            if file in seen:
                continue
            seen.add(file)
            if file not in self.includes:
                self.look(file)
            waiting += self.includes[file]
        total = hashlib.sha256()
        for part in self.common + [repr(flags).encode()]:
            total.update(hashlib.sha256(part).digest())
        for file in sorted(seen):
            total.update(file.encode() + b"\0" + self.digests[file])
        return total.hexdigest()


def shown(path):
    """A place of the source: a room's header is reached through a symlink in the build directory."""
    return os.path.relpath(os.path.realpath(path), ROOT)


def check(path, database):
    """-> (findings, seconds). A finding is 'file:line: what'; a tool that stumbles is a finding as well."""
    started = time.monotonic()
    try:
        done = subprocess.run([TOOL, "-p", database, "--quiet", path], capture_output=True, text=True, errors="replace",
                              timeout=TIMEOUT_S)
    except subprocess.TimeoutExpired:
        return [f"{shown(path)}:1: {TOOL} took more than {TIMEOUT_S} s"], TIMEOUT_S
    findings = []
    for line in done.stdout.split("\n"):
        match = re.match(r"(/[^:]+):(\d+):\d+: (?:error|warning): (.*?)(?:,-warnings-as-errors)?\]?$", line)
        if match:
            closed = "]" if "[" in match.group(3) else ""
            findings.append(f"{shown(match.group(1))}:{match.group(2)}: {match.group(3)}{closed}")
        elif re.match(r"error:", line):
            findings.append(f"{shown(path)}:1: {line[:300]}")
    if done.returncode != 0 and not findings:
        findings.append(f"{shown(path)}:1: {TOOL} ended with {done.returncode}: {(done.stderr or done.stdout).strip()[-300:]}")
    return findings, time.monotonic() - started


def load(record):
    """What passed before: file -> key. One entry a file, so it cannot grow."""
    try:
        with open(record, encoding="utf-8") as f:
            passed = json.load(f)
        present = {shown(p) for p in sources()}
        return {name: key for name, key in passed.items() if name in present}
    except (OSError, ValueError, AttributeError):
        return {}


def save(record, passed):
    os.makedirs(os.path.dirname(record), exist_ok=True)
    with open(record + ".new", "w", encoding="utf-8") as f:
        json.dump(passed, f, indent=0, sort_keys=True)
    os.replace(record + ".new", record)


def check_all(todo, commands, jobs, on_result):
    with tempfile.TemporaryDirectory() as database, concurrent.futures.ThreadPoolExecutor(jobs) as pool:
        with open(os.path.join(database, "compile_commands.json"), "w", encoding="utf-8") as f:
            json.dump([{"directory": commands[p][0], "file": p, "arguments": commands[p][1] + ["-c", p]} for p in todo], f)
        running = {pool.submit(check, p, database): p for p in todo}
        for future in concurrent.futures.as_completed(running):
            on_result(running[future], *future.result())


def place(finding):
    file, line = finding.split(":", 2)[:2]
    return file, int(line), finding


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", default=None, help="a configured build directory (default: fuzz, asan or release of build/)")
    parser.add_argument("--all", action="store_true", help="look again at what passed before")
    parser.add_argument("--jobs", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("files", nargs="*")
    arguments = parser.parse_args()

    if shutil.which(TOOL) is None:
        print(f"SKIPPED clang-tidy: {TOOL} is not installed (packaging/install-deps.sh --tests installs it)")
        print("0 passed, 0 failed, 1 skipped")
        return 0
    builds = [arguments.build] if arguments.build else [os.path.join(ROOT, "build", p) for p in ("fuzz", "asan", "release")]
    build = next((b for b in builds if os.path.exists(os.path.join(b, "compile_commands.json"))), None)
    if build is None:
        print(f"no compile_commands.json in {', '.join(builds)}: run cmake --preset release first")
        print("0 passed, 1 failed")
        return 1

    commands = compile_commands(build)
    files = [os.path.realpath(f) for f in arguments.files] or sources()
    absent = [f for f in files if not os.path.isfile(f)]
    if absent:
        print(f"no such file: {', '.join(absent)}", file=sys.stderr)
        return 2
    inputs = Inputs()
    # Which build it was does not matter, what its flags say does.
    keys = {p: inputs.key(p, [flag.replace(os.path.abspath(build), "BUILD") for flag in commands[p][1]])
            for p in files if p in commands}
    record = os.path.join(ROOT, "build", "clang-tidy", "passed.json")
    passed_before = load(record)
    todo = [p for p in keys if arguments.all or passed_before.get(shown(p)) != keys[p]]
    todo.sort(key=os.path.getsize, reverse=True)  # the longest first: no core waits for the last one
    print(f"{len(todo)} of {len(files)} files to check, {arguments.jobs} at a time", flush=True)

    failed = {p: [f"{shown(p)}:1: is not built: {os.path.relpath(build, ROOT)}/compile_commands.json does not know it"]
              for p in files if p not in commands}
    seconds_of = {}

    def on_result(path, findings, seconds):
        seconds_of[shown(path)] = seconds
        if findings:
            failed[path] = findings
            passed_before.pop(shown(path), None)
        else:
            passed_before[shown(path)] = keys[path]
        save(record, passed_before)  # at once: an interrupted run is not lost

    check_all(todo, commands, arguments.jobs, on_result)
    for finding in sorted({f for findings in failed.values() for f in findings}, key=place):
        print(finding)
    if seconds_of:
        slowest = sorted(seconds_of, key=seconds_of.get, reverse=True)[:3]
        print("slowest: " + ", ".join(f"{name} {seconds_of[name]:.1f} s" for name in slowest))
    print(f"{len(files) - len(failed)} passed, {len(failed)} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
