#!/usr/bin/env python3
"""System tests: the real binary, real sockets, real files, real kills. usage: run.py path/to/weir [name-part ...]

Every test_*.py beside this file is a topic, every function test_* in it a test.
"""
import glob
import importlib
import os
import sys
import time
import traceback

import harness


def tests_of_all_topics():
    found = []
    for path in sorted(glob.glob(os.path.join(os.path.dirname(os.path.abspath(__file__)), "test_*.py"))):
        topic = importlib.import_module(os.path.basename(path)[:-3])
        found += [(name, test) for name, test in vars(topic).items() if name.startswith("test_")]
    return found


def main():
    if len(sys.argv) < 2:
        print(__doc__.split("\n")[0], file=sys.stderr)
        return 2
    harness.WEIR = os.path.abspath(sys.argv[1])
    parts = sys.argv[2:]
    tests = [(n, f) for n, f in tests_of_all_topics() if not parts or any(p in n for p in parts)]
    passed = failed = skipped = 0
    for name, test in tests:
        begin = time.monotonic()
        try:
            test()
            passed += 1
            print(f"ok      {name} ({time.monotonic() - begin:.1f} s)", flush=True)
        except harness.Skip as why:
            skipped += 1
            print(f"SKIPPED {name}: {why}", flush=True)
        except Exception:
            failed += 1
            print(f"FAILED  {name} ({time.monotonic() - begin:.1f} s)", flush=True)
            traceback.print_exc()
            sys.stdout.flush()
    print(f"{passed} passed, {failed} failed" + (f", {skipped} skipped" if skipped else ""))
    return 1 if failed or not passed else 0


if __name__ == "__main__":
    sys.exit(main())
