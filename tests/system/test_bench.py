"""System tests of `weir bench`: each measurement with a handful of events, on a node of its own."""
import json
import os
import subprocess
import tempfile

from harness import WEIR

EVERY = {"bench", "ok", "conditions", "bound_by"}
LOAD = EVERY | {"events_per_s", "mb_per_s", "p50_ms", "p99_ms", "cpu_ns_per_event", "rss_mb"}
KINDS = {
    "ingest": (LOAD, ["--events", "3000", "--batch", "100"]),
    "e2e": (LOAD | {"view_lag_p50_ms", "view_lag_p99_ms"}, ["--events", "3000", "--batch", "100"]),
    "sql": (EVERY | {"scans", "pages", "rss_mb"}, ["--events", "3000"]),
    "dedup": (LOAD | {"index_mb", "restart_ms"}, ["--events", "5000", "--batch", "500"]),
    "wal": (EVERY | {"sizes"}, ["--events", "5"]),
    "nexmark": (LOAD | {"views", "scans"}, ["--events", "3000"]),
}


def test_bench_of_each_kind_is_one_json_object_and_leaves_nothing():
    for kind, (members, words) in KINDS.items():
        with tempfile.TemporaryDirectory(prefix="weir-test-") as folder:
            ran = subprocess.run([WEIR, "bench", kind, "--json", "--dir", folder, *words], capture_output=True, text=True, timeout=120)
            assert ran.returncode == 0, f"{kind}: {ran.returncode} {ran.stderr}"
            read = json.loads(ran.stdout)
            assert read["bench"] == kind and read["ok"] is True, read
            assert members <= read.keys(), f"{kind} lacks {members - read.keys()}"
            assert read["conditions"]["cores"] == os.cpu_count(), read["conditions"]
            assert os.listdir(folder) == [], f"{kind} left {os.listdir(folder)}"
