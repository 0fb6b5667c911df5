#!/usr/bin/env python3
"""Runs each fuzz target for a while on its corpus, two at a time. usage: run.py BUILD_DIR [--seconds N]"""
import concurrent.futures
import glob
import os
import shutil
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))


AT_ONCE = 2


def run(program, seconds):
    """(whether it passed, what to say)"""
    name = os.path.basename(program)[len("fuzz_"):]
    work = tempfile.mkdtemp(prefix="weir-fuzz-")
    try:
        corpus = os.path.join(HERE, "corpus", name)
        inputs = [os.path.join(work, "new")]
        os.mkdir(inputs[0])
        if os.path.isdir(corpus):
            inputs.append(corpus)
        done = subprocess.run([os.path.abspath(program), f"-max_total_time={seconds}", "-max_len=65536", "-rss_limit_mb=1024", "-timeout=20",
                               "-print_final_stats=1", *inputs], cwd=work, capture_output=True, text=True, errors="replace")
        runs = [l.split()[-1] for l in done.stderr.split("\n") if "number_of_executed_units" in l]
        if done.returncode == 0:
            return True, f"ok      {name}: {runs[0] if runs else '?'} runs"
        found = "".join(f"{os.path.basename(path)}: {open(path, 'rb').read(2048)!r}\n" for path in glob.glob(os.path.join(work, "*-*")))
        return False, f"FAILED  {name} ({done.returncode})\n{done.stderr[-4000:]}\n{found}"
    finally:
        shutil.rmtree(work, ignore_errors=True)


def main():
    build = sys.argv[1]
    seconds = sys.argv[sys.argv.index("--seconds") + 1] if "--seconds" in sys.argv else "10"
    programs = sorted(glob.glob(os.path.join(build, "fuzz", "fuzz_*")))
    passed = failed = 0
    with concurrent.futures.ThreadPoolExecutor(AT_ONCE) as pool:
        for good, said in pool.map(lambda program: run(program, seconds), programs):
            passed += good
            failed += not good
            print(said, flush=True)
    print(f"{passed} passed, {failed} failed")
    return 1 if failed or not passed else 0


if __name__ == "__main__":
    sys.exit(main())
