#!/usr/bin/env bash
# Other systems doing the same durable work in the same run, beside weir: every acknowledgement behind a sync of the
# disk, one node, the load generator on the same cores. Prints events a second of each and weir's lead as a ratio.
#
#   tests/bench/peers.sh [--quick] [path/to/weir]        in a folder on the disk that is to be measured
#
#   Redis Streams       Debian's redis-server, appendfsync always; redis-benchmark sends XADD
#   NATS JetStream      sync_interval always; peers/nats.go sends
#   Kafka               flush.messages=1; peers/Kafka.java sends, and Kafka Streams (exactly_once_v2) holds the hourly view
#
# Peers come from their registries with the registries' usual clients, into a scratch folder that is removed at the end (go
# and mvn keep their caches where they always do). What cannot be had is SKIPPED, with the reason. No process outlives
# the script, no step its time. This is not a test: tests/run.sh does not call it.
set -u -o pipefail
here=$(cd "$(dirname "$0")" && pwd)
quick=0
[ "${1:-}" = --quick ] && { quick=1; shift; }
weir=$(realpath "${1:-$here/../../build/release/weir}")
[ -x "$weir" ] || { echo "error: no weir at $weir; cmake --preset release && cmake --build --preset release" >&2; exit 2; }

singles=60000 bulk=1000000 seconds=5
[ $quick = 1 ] && singles=5000 bulk=50000 seconds=1

scratch=$(mktemp -d "$PWD/weir-peers-XXXXXX")
started=()
end_started() {
    for pid in "${started[@]}"; do kill -TERM "$pid" 2>/dev/null; done
    for pid in "${started[@]}"; do
        for _ in $(seq 50); do kill -0 "$pid" 2>/dev/null || break; sleep 0.1; done
        kill -KILL "$pid" 2>/dev/null
        wait "$pid" 2>/dev/null
    done
    started=()
}
trap 'end_started; rm -rf "$scratch"' EXIT
trap 'exit 130' INT TERM

free_port() { python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }
member() { python3 -c 'import json, sys; print(json.load(open(sys.argv[1]))[sys.argv[2]])' "$1" "$2"; }
skipped() { printf '%-18s SKIPPED: %s\n' "$1" "$2"; }
last_line() { tail -n 1 "$1" | cut -c 1-160; }

# row PEER SHAPE WEIR_JSON PEER_JSON [WEIR_MEMBER]
row() {
    python3 - "$@" <<'PY'
import json, sys
peer, shape, ours, theirs = sys.argv[1:5]
ours, theirs = json.load(open(ours)), json.load(open(theirs))
rate = ours["events_per_s"]
if len(sys.argv) > 5:  # until the view held everything
    rate = ours["conditions"]["events"] / (ours["conditions"]["events"] / rate + ours["view_caught_up_ms"] / 1000)
def latency(x):
    return f"{x['p50_ms']:.1f}/{x['p99_ms']:.1f}" if "p50_ms" in x and len(sys.argv) == 5 else "-"
print(f"{peer:<18} {shape:<34} {rate:>11,.0f} {theirs['events_per_s']:>11,.0f} {rate / max(theirs['events_per_s'], 1):>7.1f}x"
      f" {latency(ours):>13} {latency(theirs):>13}")
PY
}

cd "$scratch" || exit 1
echo "cores $(nproc), load $(cut -d ' ' -f 1-3 /proc/loadavg), $("$weir" version | head -n 1)"
"$weir" bench wal --events 200 --dir . --json 2>/dev/null > wal.json || { echo "error: weir bench wal failed" >&2; exit 1; }
python3 -c 'import json; s = json.load(open("wal.json"))["sizes"][0]; print("bare fdatasync of 4 KiB: p50 %.2f ms, p99 %.2f ms" % (s["bare_p50_ms"], s["bare_p99_ms"]))'

# Lines like those of `weir bench ingest`, for the peers' senders.
python3 - > events.ndjson <<'PY'
import datetime, random
chance = random.Random(42)
begin = datetime.datetime(2025, 11, 20, 21)
for n in range(100_000):
    at = begin + datetime.timedelta(milliseconds=100 * n)
    print('{"event_id":"%024x","event_type":"http_access","timestamp":"%s.%03dZ","user_id":"10.%d.%d.%d","properties":{"method":"GET",'
          '"path":"%s","status":%d,"bytes":%d,"referrer":"https://a.example/","agent":"Mozilla/5.0"}}'
          % (chance.getrandbits(96), at.strftime("%Y-%m-%dT%H:%M:%S"), at.microsecond // 1000, n % 78, n % 256, n % 251,
             chance.choice(["/", "/favicon.ico", "/docs/getting-started", "/assets/site.css"]),
             chance.choices([200, 304, 404, 301], [91, 5, 2, 2])[0], chance.randrange(200_000)))
PY
ours() { # NAME, options of `weir bench ingest`
    local name=$1
    shift
    timeout 120 "$weir" bench ingest --duplicates 0 --dir . --json "$@" 2> "$name.err" > "$name.json" ||
        { echo "error: weir bench ingest $*: $(last_line "$name.err")" >&2; exit 1; }
}
ours single --batch 1 --connections 64 --events $singles
ours bulk --batch 1000 --connections 8 --events $bulk
printf '\n%-18s %-34s %11s %11s %8s %13s %13s\n' peer shape "weir ev/s" "peer ev/s" ratio "weir p50/p99" "peer p50/p99 ms"

redis_streams() {
    local bin=/usr/bin
    if ! command -v redis-server > /dev/null || ! command -v redis-benchmark > /dev/null; then
        command -v apt-get > /dev/null || { skipped Redis "no redis-server, no apt-get"; return; }
        mkdir redis
        (cd redis && timeout 60 apt-get download -q redis-server redis-tools libjemalloc2 liblua5.1-0 liblzf1 lua-bitop \
            lua-cjson libhiredis0.14 && for package in *.deb; do dpkg -x "$package" .; done) > redis.log 2>&1 ||
            { skipped Redis "apt-get download: $(last_line redis.log)"; return; }
        bin=$scratch/redis/usr/bin
        LD_LIBRARY_PATH=$(echo "$scratch"/redis/usr/lib/*-linux-gnu)
        export LD_LIBRARY_PATH
    fi
    local port payload
    port=$(free_port)
    mkdir redis-data
    "$bin/redis-server" --port "$port" --bind 127.0.0.1 --dir "$scratch/redis-data" --appendonly yes --appendfsync always \
        --save "" > redis-server.log 2>&1 &
    started+=($!)
    for _ in $(seq 100); do "$bin/redis-cli" -p "$port" ping > /dev/null 2>&1 && break; sleep 0.1; done
    payload=$(head -n 1 events.ndjson)
    redis_run() { # SHAPE-FILE requests connections pipeline
        timeout 60 "$bin/redis-benchmark" -p "$port" -c "$3" -P "$4" -n "$2" --csv XADD events '*' event "$payload" > redis.csv 2> redis.err ||
            return 1
        python3 - "$1" <<'PY'
import json, re, sys
# The first field repeats the command with its quotes as they are: only what stands behind it can be read.
rate, _, _, p50, _, p99, _ = [float(x) for x in re.findall(r'"([0-9.]+)"', open("redis.csv").read().splitlines()[-1])[-7:]]
json.dump({"events_per_s": rate, "p50_ms": p50, "p99_ms": p99}, open(sys.argv[1], "w"))
PY
    }
    if redis_run redis-single.json $singles 64 1; then row Redis "one event, 64 connections" single.json redis-single.json
    else skipped Redis "redis-benchmark: $(last_line redis.err)"; fi
    if redis_run redis-bulk.json $((bulk / 4)) 8 1000; then row Redis "1,000 in flight x 8 connections" bulk.json redis-bulk.json
    else skipped Redis "redis-benchmark: $(last_line redis.err)"; fi
    unset LD_LIBRARY_PATH
    end_started
}

nats_jetstream() {
    command -v go > /dev/null || { skipped NATS "no go"; return; }
    mkdir nats && cp "$here/peers/nats.go" nats/main.go
    (cd nats && GOBIN=$scratch/nats timeout 150 go install github.com/nats-io/nats-server/v2@latest &&
        go mod init peer && timeout 60 go get github.com/nats-io/nats.go@latest && timeout 60 go build -o peer .) > nats.log 2>&1 ||
        { skipped NATS "go: $(last_line nats.log)"; return; }
    local port
    port=$(free_port)
    printf 'listen: 127.0.0.1:%s\njetstream { store_dir: "%s/nats-data", max_file: 20G, sync_interval: always }\n' "$port" "$scratch" > nats.conf
    nats/nats-server -c nats.conf > nats-server.log 2>&1 &
    started+=($!)
    # What it cannot sync in time is little: a run is bounded by time, not by count.
    if timeout 60 nats/peer "nats://127.0.0.1:$port" events.ndjson 64 1 $seconds > nats-single.json 2> nats.err; then
        row NATS "one event, 64 connections" single.json nats-single.json
    else skipped NATS "$(last_line nats.err)"; fi
    if timeout 60 nats/peer "nats://127.0.0.1:$port" events.ndjson 8 1000 $seconds > nats-bulk.json 2> nats.err; then
        row NATS "1,000 in flight x 8 connections" bulk.json nats-bulk.json
    else skipped NATS "$(last_line nats.err)"; fi
    end_started
}

kafka_and_streams() {
    command -v javac > /dev/null && command -v mvn > /dev/null || { skipped Kafka "no javac or no mvn"; return; }
    mkdir kafka && cp "$here/peers/pom.xml" kafka/
    (cd kafka && timeout 120 mvn -q -B dependency:copy-dependencies -DoutputDirectory=libs &&
        timeout 60 javac -cp 'libs/*' -d classes "$here/peers/Kafka.java") > kafka.log 2>&1 ||
        { skipped Kafka "mvn or javac: $(grep -m 1 -E 'ERROR|error' kafka.log | cut -c 1-160)"; return; }
    local port controller
    port=$(free_port) controller=$(free_port)
    cat > kafka.properties <<P
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:$controller
listeners=PLAINTEXT://127.0.0.1:$port,CONTROLLER://127.0.0.1:$controller
advertised.listeners=PLAINTEXT://127.0.0.1:$port
controller.listener.names=CONTROLLER
listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT
log.dirs=$scratch/kafka-data
offsets.topic.replication.factor=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
group.initial.rebalance.delay.ms=0
log.flush.interval.messages=1
P
    timeout 30 java -cp 'kafka/libs/*' kafka.tools.StorageTool format -t MkU3OEVBNTcwNTJENDM2Qg -c kafka.properties > kafka.log 2>&1 ||
        { skipped Kafka "format: $(last_line kafka.log)"; return; }
    java -Xms1G -Xmx1G -cp 'kafka/libs/*' kafka.Kafka kafka.properties > kafka-server.log 2>&1 &
    started+=($!)
    kafka_run() { timeout "$1" java -Xmx1G -cp 'kafka/classes:kafka/libs/*' Kafka "127.0.0.1:$port" events.ndjson "${@:3}" > "$2" 2> kafka.err; }
    if kafka_run 60 kafka-single.json single 64 $seconds; then row Kafka "one event, 64 connections" single.json kafka-single.json
    else skipped Kafka "single: $(last_line kafka.err)"; fi
    if kafka_run 60 kafka-bulk.json bulk 8 $bulk; then row Kafka "256 KiB batches, 8 connections" bulk.json kafka-bulk.json
    else skipped Kafka "bulk: $(last_line kafka.err)"; fi
    if kafka_run 90 kafka-view.json view 8 $((bulk / 4)) "$scratch/kafka-streams"; then
        row "Kafka Streams" "hourly view holds everything" bulk.json kafka-view.json view
    else skipped "Kafka Streams" "$(last_line kafka.err)"; fi
    end_started
}

redis_streams
nats_jetstream
kafka_and_streams
