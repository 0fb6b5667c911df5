"""The rows of table.sh: runs `weir bench` and servers of its own in the current folder. usage: table.py WEIR [--quick]"""
import http.client
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time

signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job ignores it: what runs must be ended

WEIR, QUICK = sys.argv[1], "--quick" in sys.argv
RESTART_GB = 0.05 if QUICK else float(os.environ.get("RESTART_GB", "10"))  # log of the restart; 12 GB of disk
DIVIDE = int(os.environ.get("DIVIDE", "100" if QUICK else "1"))  # events of every bench are so many times fewer
RUNS = 1 if QUICK else int(os.environ.get("RUNS", "3"))  # of which the median is shown
COLD_GB = 0.05 if QUICK else 1


def bench(*words):
    ran = subprocess.run([WEIR, "bench", *map(str, words), "--dir", ".", "--json"], capture_output=True, text=True, timeout=600)
    if ran.returncode not in (0, 1) or not ran.stdout:
        raise RuntimeError(f"weir bench {' '.join(map(str, words))}: {ran.stderr.strip()[-300:]}")
    read = json.loads(ran.stdout)
    if not read["ok"]:
        raise RuntimeError(f"weir bench {words[0]}: wrong: {read['differences']}")
    return read


def row(work, read, floor, holds, bound):
    print(f"| {work} | {read} | {floor} | {'yes' if holds else '**no**'} | {bound} |", flush=True)


def each(*rows):
    """A row that cannot be taken does not take the others with it."""
    for take in rows:
        try:
            take()
        except Exception as why:
            row(take.__name__.replace("_", " "), f"not taken: {why}", "", False, "")


def count(n):
    return f"{n:,.0f}"


# -- weir bench --

def disk():
    size = bench("wal", "--events", 300)["sizes"][0]
    return size["bare_p50_ms"], size["bare_p99_ms"]


def ingest():
    r = bench("ingest", "--events", 2_000_000 // DIVIDE, "--runs", RUNS)
    rate, cpu, late = r["events_per_s"], r["cpu_ns_per_event"], r["view_caught_up_ms"]
    row("NDJSON by 1,000, 8 connections, 2 % duplicates, hourly view", f"{count(rate)} ev/s, {count(cpu)} ns, view {late:.0f} ms behind",
        "800,000 ev/s, 2,000 ns, 1 s", rate >= 800_000 and cpu <= 2_000 and late <= 1000, r["bound_by"])


def batches(size, floor):
    r = bench("ingest", "--batch", size, "--connections", 64, "--events", 1_000_000 // DIVIDE, "--runs", RUNS)
    row(f"batches of {size}, 64 connections", f"{count(r['events_per_s'])} ev/s", f"{count(floor)} ev/s", r["events_per_s"] >= floor, r["bound_by"])


def batches_of_100():
    batches(100, 400_000)


def batches_of_10():
    batches(10, 200_000)


def one_event_a_post_from_64_connections():
    p99_disk = disk()[1]
    r = bench("ingest", "--batch", 1, "--connections", 64, "--events", 200_000 // DIVIDE, "--runs", RUNS)
    bound = max(8, 5 * p99_disk)
    row("one event a POST, 64 connections", f"{count(r['events_per_s'])} /s, p99 {r['p99_ms']:.2f} ms", f"40,000 /s, p99 {bound:.1f} ms",
        r["events_per_s"] >= 40_000 and r["p99_ms"] <= bound, r["bound_by"])


def one_event_a_post_from_one_connection():
    r = bench("ingest", "--batch", 1, "--connections", 1, "--events", 3_000 // min(DIVIDE, 10), "--runs", RUNS)
    more_us = (r["p50_ms"] - r["fdatasync_p50_ms"]) * 1000
    row("one event a POST, one connection, p50", f"{r['p50_ms']:.2f} ms: fdatasync {r['fdatasync_p50_ms']:.2f} ms + {more_us:.0f} us", "+ 150 us",
        more_us <= 150, r["bound_by"])


def durable_to_visible():
    r = bench("e2e", "--rate", 20_000 if QUICK else 300_000, "--events", 3_000_000 // DIVIDE)
    p50, p99 = r["view_lag_p50_ms"], r["view_lag_p99_ms"]
    row("durable to visible at 300,000 ev/s", f"p50 {p50:.1f}, p99 {p99:.1f} ms at {count(r['events_per_s'])} ev/s", "p50 30, p99 100 ms",
        p50 <= 30 and p99 <= 100 and r["events_per_s"] >= 294_000, r["bound_by"])


def duplicates_of_ten_million_ids():
    r = bench("dedup", "--events", 10_000_000 // DIVIDE)
    index = r.get("index_mb")
    row(f"{count(r['conditions']['ids'])} live ids, restarted, 5 % duplicates", f"{count(r['events_per_s'])} ev/s, index {index} MB",
        "600,000 ev/s, 134 MB", r["events_per_s"] >= 600_000 and index is not None and index <= 134.3, r["bound_by"])


def scans_and_pages():
    r = bench("sql", "--events", 4_000_000 // DIVIDE)
    for scan, floor in zip(r["scans"], (20e6, 2.5e6, 2e6)):
        row(f"`{scan['sql']}`", f"{count(scan['rows_per_s'])} rows/s", f"{count(floor)} rows/s", scan["rows_per_s"] >= floor, "cpu, one core")
    pages = r["pages"]
    row(f"a page of 100 of {count(pages['view_rows'])} rows, p99, at {count(pages['ingest_events_per_s'])} ev/s", f"{pages['p99_ms']:.2f} ms", "2 ms",
        pages["p99_ms"] <= 2, "cpu")


# -- servers of our own --

class Server:
    def __init__(self, folder):
        self.log = open(folder + ".log", "w+")
        self.begin = time.monotonic()
        self.process = subprocess.Popen([WEIR, "serve", "--data", folder, "--http", "127.0.0.1:0"], stdout=self.log, stderr=self.log,
                                        env={k: v for k, v in os.environ.items() if not k.startswith("WEIR_")})

    def ready_s(self):
        """Seconds from the start to the first 200 of /readyz."""
        port = None
        while time.monotonic() - self.begin < 120:
            if self.process.poll() is not None:
                break
            if port is None:
                found = re.search(r"http://127\.0\.0\.1:(\d+)", open(self.log.name).read())
                port = found and int(found.group(1))
            if port is not None:
                try:
                    asked = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
                    asked.request("GET", "/readyz")
                    if asked.getresponse().status == 200:
                        self.url = f"http://127.0.0.1:{port}"
                        return time.monotonic() - self.begin
                except OSError:
                    pass
            time.sleep(0.002)
        raise RuntimeError("not ready: " + open(self.log.name).read()[-300:])

    def resident_mib(self):
        pids, total = [self.process.pid], 0.0
        for pid in pids:
            try:
                pids += map(int, open(f"/proc/{pid}/task/{pid}/children").read().split())
                total += int(re.search(r"VmRSS:\s+(\d+)", open(f"/proc/{pid}/status").read()).group(1)) / 1024
            except OSError:
                pass
        return total

    def end(self, how=signal.SIGTERM):
        if self.process.poll() is None:
            self.process.send_signal(how)
            try:
                self.process.wait(timeout=60)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        self.log.close()


def filled(folder, gigabytes):
    """A server on `folder` that was killed with so many GB in its write-ahead log and segments; how many there were."""
    server = Server(folder)
    try:
        server.ready_s()
        while size_gb(folder) < gigabytes:
            subprocess.run([WEIR, "bench", "ingest", "--server", server.url, "--duplicates", "0", "--events",
                            "50000" if QUICK else "2000000", "--json"], check=True, capture_output=True, timeout=300)
    finally:
        server.end(signal.SIGKILL)
    return size_gb(folder)


def size_gb(folder):
    total = 0
    for path, _, names in os.walk(folder):
        for name in names:
            try:
                total += os.stat(os.path.join(path, name)).st_blocks * 512
            except OSError:
                pass
    return total / 1e9


def ready_again(folder):
    server = Server(folder)
    try:
        return server.ready_s()
    finally:
        server.end()


def idle_and_cold_start():
    times = []
    for i in range(3):
        server = Server(f"idle-{i}")
        try:
            times.append(server.ready_s())
            resident = server.resident_mib()
        finally:
            server.end()
    ready = sorted(times)[1]
    row("idle, resident, all processes", f"{resident:.1f} MiB", "30 MiB", resident <= 30, "the binary's pages")
    row("first 200, empty", f"{ready:.3f} s", "0.2 s", ready <= 0.2, "process start, fsync of new files")


def start_after_a_kill(gigabytes, floor_s):
    held = filled("killed", gigabytes)
    ready = ready_again("killed")
    shutil.rmtree("killed")
    row(f"first 200 after kill -9 with {held:.1f} GB", f"{ready:.2f} s", f"{floor_s} s", ready <= floor_s, "the distance to the checkpoint")


def first_200_with_a_gigabyte_of_log():
    start_after_a_kill(COLD_GB, 1)


def restart_with_ten_gigabytes_of_log():
    if shutil.disk_usage(".").free < (RESTART_GB + 3) * 1e9:
        raise RuntimeError("too little disk")
    start_after_a_kill(RESTART_GB, 6)


load = " ".join(open("/proc/loadavg").read().split()[:3])
p50, p99 = disk()
print(f"{os.cpu_count()} cores, load {load} before the run; bare fdatasync of 4 KiB: p50 {p50:.2f} ms, p99 {p99:.2f} ms" +
      f"; {RUNS} run(s) a row" + (f", {DIVIDE} times fewer events than the floors mean" if DIVIDE > 1 else ""))
print("\n| work | read | floor | holds | bound by |\n|---|---|---|---|---|")
each(ingest, batches_of_100, batches_of_10, one_event_a_post_from_64_connections, one_event_a_post_from_one_connection, durable_to_visible,
     duplicates_of_ten_million_ids, scans_and_pages, idle_and_cold_start, first_200_with_a_gigabyte_of_log, restart_with_ten_gigabytes_of_log)
print(f"\nload {' '.join(open('/proc/loadavg').read().split()[:3])} at the end")
