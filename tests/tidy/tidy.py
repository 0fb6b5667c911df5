#!/usr/bin/env python3
"""Style as a test: what a tool can check of src/STYLE.md and of the house. Prints each breach with its place."""
import ast
import os
import re
import subprocess
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
SRC = os.path.join(ROOT, "src")

# Which rooms a third-party header belongs to, and that it stays out of other rooms and out of every room header.
THIRD_PARTY = {
    r"uv\.h": {"http"},
    r"sqlite3\.h": {"store"},
    r"lmdb\.h": {"stream"},
    r"simdjson\.h": {"record"},
    r"zstd\.h|lz4\w*\.h|zlib\.h|snappy[-\w]*\.h": {"record", "node"},
    r"xxhash\.h": {"record", "stream"},
    r"httplib\.h": {"http", "node"},
    r"boost/.*": {"http"},
    r"nlohmann/.*": {"http", "node"},
    r"prometheus/.*": {"obs"},
    r"spdlog/.*": {"obs"},
    r"CLI/.*": {"node"},
    r"toml\+\+/.*": {"node"},
    r"openssl/.*": {"os"},
    r"histedit\.h": {"node"},
    r"raft\.h": {"consensus"},
}

# pattern, rooms that may, what to do instead
BANS = [
    (r'#include "\.\./', set(), "include by room: \"room/file.h\""),
    (r"\bsleep_for\b|\busleep\s*\(|\bnanosleep\s*\(", set(), "wait on an inbox or a condition, with a deadline"),
    (r"\bstd::(rand|srand|random_device|mt19937)\b|\brand\s*\(\)", set(), "weir::Prng, seeded by os"),
    (r"\b(system_clock|steady_clock|high_resolution_clock)::now\b|\bgettimeofday\b|\bclock_gettime\b|\bstd::time\s*\(|\btime\s*\(\s*(NULL|nullptr|0)\s*\)",
     {"os"}, "weir::Clock"),
    (r"\bstd::(mutex|recursive_mutex|shared_mutex|condition_variable)\b", {"os", "obs", "query"}, "os::Inbox, os::Snapshot or os::Progress"),
    (r"\bstd::(thread|async)\b(?!::)", {"os"}, "os::start_thread"),
    (r"\bthrow\b(?!\s*\()", set(), "Result<T>"),
    (r"\bTODO\b(?!\()|\bFIXME\b|\bXXX\b|\bHACK\b", set(), "TODO(issue), or do it"),
    (r"\b(dynamic_cast|typeid)\b", set(), "no RTTI"),
    (r"\bfork\s*\(\)", {"node"}, "os::Child (os/process.h); only commands with one thread fork: bench, demo"),
    (r"\bassert\s*\(", set(), "CHECK or DCHECK"),
    (r"\bstd::(cout|cerr)\b", set(), "obs::log, or stdio in node"),
]

failures = []


def fail(where, what):
    failures.append(f"{where}: {what}")


def read(path):
    with open(path, encoding="utf-8") as f:
        return f.read()


def strip_comments_and_strings(text):
    def blank(match):
        token = match.group(0)
        if token.startswith("/"):
            return re.sub(r"[^\n]", " ", token)
        return '""' + "\n" * token.count("\n")

    return re.sub(r'//[^\n]*|/\*.*?\*/|R"(\w*)\(.*?\)\1"|"(?:\\.|[^"\\\n])*"', blank, text, flags=re.S)


def rooms():
    return sorted(d for d in os.listdir(SRC) if os.path.isdir(os.path.join(SRC, d)))


def cmake_rooms():
    """name -> (level, uses, sources) from the room() calls."""
    found = {}
    for room in rooms():
        path = os.path.join(SRC, room, "CMakeLists.txt")
        if not os.path.exists(path):
            fail(f"src/{room}", "has no CMakeLists.txt")
            continue
        text = read(path)
        variables = {m.group(1): m.group(2) for m in re.finditer(r"set\((\w+) ([^)]*)\)", text)}
        text = re.sub(r"\$\{(\w+)\}", lambda m: variables.get(m.group(1), ""), text)
        call = re.search(r"\broom\(\s*(\w+)\s+LEVEL\s+(\d+)(.*?)\)", text, re.S)
        if not call or call.group(1) != room:
            fail(f"src/{room}/CMakeLists.txt", "has no room() call of its own name")
            continue
        words = call.group(3).split()
        groups = {"SOURCES": [], "USES": [], "LIBS": []}
        current = None
        for word in words:
            if word in groups:
                current = word
            elif current:
                groups[current].append(word)
        found[room] = (int(call.group(2)), groups["USES"], groups["SOURCES"])
    return found


def check_sources(cmake):
    for room, (_, uses, sources) in cmake.items():
        folder = os.path.join(SRC, room)
        present = set()
        for where, _, names in os.walk(folder):
            for name in names:
                if name.endswith((".cc", ".c")):
                    present.add(os.path.relpath(os.path.join(where, name), folder))
        for name in sorted(present - set(sources) - {"main.cc"}):
            fail(f"src/{room}/{name}", "is not listed in its room's CMakeLists.txt")
        for name in sorted(set(sources) - present):
            fail(f"src/{room}/CMakeLists.txt", f"lists {name}, which is not there")
        for used in uses:
            if used in cmake and cmake[used][0] >= cmake[room][0]:
                fail(f"src/{room}/CMakeLists.txt", f"uses {used}, which is not of a lower level")


def check_files(cmake):
    for where, _, names in os.walk(SRC):
        for name in sorted(names):
            if not name.endswith((".h", ".cc", ".c")):
                continue
            path = os.path.join(where, name)
            shown = os.path.relpath(path, ROOT)
            room = os.path.relpath(path, SRC).split(os.sep)[0]
            text = read(path)
            if name.endswith(".h") and "#pragma once" not in text and "#ifndef" not in text:
                fail(shown, "no #pragma once")
            public_header = name.endswith(".h") and f"{os.sep}detail{os.sep}" not in path
            if public_header and not text.startswith(("// ", "/* ")):
                fail(shown, "does not begin with a sentence on what it is for")
            for number, line in enumerate(text.split("\n"), 1):
                if len(line) > 140:
                    fail(f"{shown}:{number}", f"{len(line)} columns")
                if re.search(r"/(work|farm)/", line):
                    fail(f"{shown}:{number}", "a path of some machine")
                if re.search(r"NOLINT(?!END)", line) and not re.search(r"NOLINT\w*(\([\w.,-]+\))?: \w", line):
                    fail(f"{shown}:{number}", "a NOLINT without its reason: 'NOLINT(check): why'")
                include = re.match(r'#include [<"]([^>"]+)[>"]', line)
                if not include:
                    continue
                target = include.group(1)
                for pattern, owners in THIRD_PARTY.items():
                    if line.startswith("#include <") and re.fullmatch(pattern, target):
                        if room not in owners:
                            fail(f"{shown}:{number}", f"<{target}> belongs to {sorted(owners)}")
                        elif public_header:
                            fail(f"{shown}:{number}", f"<{target}> in a room's header: its types must not leave the room")
                used = target.split("/")[0]
                if line.startswith('#include "') and used in cmake and used != room and used not in cmake[room][1]:
                    fail(f"{shown}:{number}", f"includes {target}, but {room} does not name {used} in USES")
                if line.startswith('#include "') and used in cmake and used != room and "/detail/" in target:
                    fail(f"{shown}:{number}", f"includes {target}, which is private to {used}")
            code = strip_comments_and_strings(text)
            for pattern, allowed, instead in BANS:
                if room in allowed:
                    continue
                source = text if "include" in pattern or "TODO" in pattern else code
                for match in re.finditer(pattern, source):
                    line = source.count("\n", 0, match.start()) + 1
                    fail(f"{shown}:{line}", f"'{match.group(0).strip()}' is banned: {instead}")


def check_map(cmake):
    path = os.path.join(SRC, "README.md")
    text = read(path)
    listed = {m.group(2): int(m.group(1)) for m in re.finditer(r"^\| *(\d+) *\| *`(\w+)/` *\|", text, re.M)}
    for room, (level, _, _) in cmake.items():
        if room not in listed:
            fail("src/README.md", f"the map has no room {room}")
        elif listed[room] != level:
            fail("src/README.md", f"the map puts {room} on level {listed[room]}, CMake on {level}")
    for room in listed:
        if room not in cmake:
            fail("src/README.md", f"the map has a room {room} that is not there")
    style = os.path.join(SRC, "STYLE.md")
    if read(style).count("\n") > 120:
        fail("src/STYLE.md", "is longer than 120 lines")


def check_tests_mirror(cmake):
    for room in cmake:
        if not os.path.isdir(os.path.join(ROOT, "tests", "unit", room)):
            fail(f"tests/unit/{room}", "a room without tests")
    for where, _, names in os.walk(os.path.join(ROOT, "tests")):
        for name in names:
            if not name.endswith((".cc", ".py", ".sh")):
                continue
            path = os.path.join(where, name)
            shown = os.path.relpath(path, ROOT)
            for number, line in enumerate(read(path).split("\n"), 1):
                if re.search(r"/(work|farm)/", line) and "re.search" not in line:
                    fail(f"{shown}:{number}", "a path of some machine")
                if name.endswith(".cc") and re.search(r"\b(REQUIRE|CHECK)\((true|1)\)|sleep_for|usleep\(", line):
                    fail(f"{shown}:{number}", "asserts nothing, or sleeps")


def rule_tests():
    """(file:line, folder of tests/, full name, tags or None) of every test whose name begins with 'rule:'."""
    found = []
    literal = r'"(?:[^"\\\n]|\\.)*"'
    for where, _, names in os.walk(os.path.join(ROOT, "tests")):
        folder = os.path.relpath(where, os.path.join(ROOT, "tests"))
        for name in sorted(names):
            path = os.path.join(where, name)
            shown = os.path.relpath(path, ROOT)
            if name.endswith(".cc"):
                text = read(path)
                for match in re.finditer(rf"\bTEST_CASE\(\s*({literal}(?:\s*{literal})*)\s*(?:,\s*({literal})\s*)?\)", text):
                    title = "".join(part[1:-1] for part in re.findall(literal, match.group(1)))
                    line = text.count("\n", 0, match.start()) + 1
                    found.append((f"{shown}:{line}", folder, title, match.group(2) or ""))
            elif name.endswith(".py"):
                for node in ast.walk(ast.parse(read(path))):
                    if isinstance(node, ast.FunctionDef):
                        title = (ast.get_docstring(node) or "").split("\n")[0]
                        found.append((f"{shown}:{node.lineno}", folder, title, None))
    return [test for test in found if re.match(r"rule\s*:", test[2], re.I)]


def check_rules():
    """src/README.md's table of rules and the tests named after them name the same rules, in the same folders."""
    section = re.search(r"^## Rules and their tests\n(.*?)(?=^## |\Z)", read(os.path.join(SRC, "README.md")), re.M | re.S)
    rows = re.findall(r"^\| *([^|`]+?) *\|[^|]*\|([^|]*)\|$", section.group(1), re.M)[1:] if section else []
    table = {name: set(re.findall(r"`([\w/]+)`", folders)) for name, folders in rows if not name.startswith("---")}
    if not table:
        fail("src/README.md", "has no table 'Rules and their tests'")
    shown = {name: set() for name in table}
    for place, folder, title, tags in rule_tests():
        match = re.match(r"rule: ([^:]+): \S", title)
        if not match:
            fail(place, f"'{title}' is not of the form 'rule: NAME: what is shown'")
        elif match.group(1) not in table:
            fail(place, f"names a rule that src/README.md does not list: '{match.group(1)}'")
        else:
            shown[match.group(1)].add(folder)
        if tags is not None and "[rule]" not in tags:
            fail(place, "a rule's test without the tag [rule]")
    for name, folders in table.items():
        if not shown[name]:
            fail("src/README.md", f"rule '{name}' has no test")
        elif shown[name] != folders:
            fail("src/README.md", f"rule '{name}': its tests are in {', '.join(f'`{f}`' for f in sorted(shown[name]))}")


def check_top_level():
    allowed = {"CMakeLists.txt", "CMakePresets.json", "src", "web-ui", "packaging", "config", "systemd", "tests", "examples",
               "LICENSE", "README.md", "CHANGELOG.md"}
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True).stdout.split("\n")
    for top in sorted({p.split("/")[0] for p in listed if p}):
        if not top.startswith(".") and top not in allowed:
            fail(top, "does not belong at the top level")


def check_format():
    tool = next((t for t in ("clang-format-14", "clang-format") if subprocess.run(["which", t], capture_output=True).returncode == 0), None)
    if tool is None:
        print("SKIPPED format: clang-format-14 is not installed")
        return 1
    files = []
    for top in ("src", "tests"):
        for where, _, names in os.walk(os.path.join(ROOT, top)):
            files += [os.path.join(where, n) for n in names if n.endswith((".h", ".cc", ".c"))]
    done = subprocess.run([tool, "--dry-run", "-Werror"] + sorted(files), cwd=ROOT, capture_output=True, text=True)
    if done.returncode != 0:
        places = sorted({line.split(": error")[0] for line in done.stderr.split("\n") if ": error" in line})
        for place in places[:20]:
            fail(os.path.relpath(place, ROOT), "is not formatted: run clang-format-14 -i")
    return 0


def main():
    checks = 0
    failed = 0
    skipped = 0
    cmake = cmake_rooms()
    for check in (lambda: check_sources(cmake), lambda: check_files(cmake), lambda: check_map(cmake),
                  lambda: check_tests_mirror(cmake), check_rules, check_top_level, check_format):
        before = len(failures)
        skipped += check() or 0
        checks += 1
        failed += len(failures) > before
    for failure in failures[:60]:
        print(failure)
    print(f"{checks - failed - skipped} passed, {failed} failed" + (f", {skipped} skipped" if skipped else ""))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
