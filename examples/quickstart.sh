#!/usr/bin/env bash
# From nothing to an answer: installs what the build needs, builds, starts a node, takes in a file of events, asks SQL.
set -euo pipefail

usage() {
  cat <<'TEXT'
usage: examples/quickstart.sh [EVENTS.ndjson[.gz]] [--keep] [--deps-only]

  EVENTS       a file of events, one JSON object a line; default: the ones that ship in examples/
  --keep       leave the node running and its data in place; says where
  --deps-only  install what the build needs, then stop
TEXT
}

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
events=""
keep=0
deps_only=0
for argument in "$@"; do
  case "$argument" in
    --keep) keep=1 ;;
    --deps-only) deps_only=1 ;;
    -h | --help) usage; exit 0 ;;
    -*) echo "error: unknown option $argument" >&2; usage >&2; exit 2 ;;
    *) [ -z "$events" ] || { echo "error: one file at most" >&2; exit 2; }; events=$argument ;;
  esac
done
[ -n "$events" ] || events=$root/examples/events.ndjson.gz
[ "$deps_only" = 1 ] || [ ! -d "$events" ] || { echo "error: $events is a directory" >&2; exit 2; }
[ "$deps_only" = 1 ] || [ -r "$events" ] || { echo "error: cannot read $events" >&2; exit 5; }
events=$(realpath "$events" 2>/dev/null || echo "$events")

trap 'echo "error: ${BASH_SOURCE[0]}:$LINENO: a command failed" >&2' ERR
step() { printf '\n== %s\n' "$*" >&2; }

step "1/5 what the build needs (Debian packages)"
"$root/packaging/install-deps.sh" >&2
[ "$deps_only" = 0 ] || exit 0

[ -x build/release/weir ] && step "2/5 build" || step "2/5 build (the first time takes about four minutes on two cores)"
cd "$root"
log=$(mktemp)
if ! { cmake --preset release -DWEIR_TESTS=OFF && cmake --build --preset release --target weir; } >"$log" 2>&1; then
  tail -n 40 "$log" >&2
  echo "error: the build failed; the whole log is $log" >&2
  exit 1
fi
rm -f "$log"
weir=$root/build/release/weir

step "3/5 start a node"
work=$(mktemp -d "${TMPDIR:-/tmp}/weir-quickstart.XXXXXX")
server_log=$work/server.log
server=""
finish() {
  if [ -n "$server" ] && [ "$keep" = 0 ]; then
    kill "$server" 2>/dev/null || true
    wait "$server" 2>/dev/null || true
  fi
  [ "$keep" = 1 ] || rm -rf "$work"
}
trap finish EXIT

start_node() {
  "$weir" serve --data "$work/weir-data" "$@" 2>"$server_log" >/dev/null &
  server=$!
  for _ in $(seq 1 300); do
    grep -q '^ready in' "$server_log" && return 0
    kill -0 "$server" 2>/dev/null || return 1
    sleep 0.05
  done
  return 1
}
# The embedded defaults; another port only where 8080 is taken.
if ! start_node; then
  if grep -qi 'in use' "$server_log"; then
    echo "port 8080 is taken: using a free one" >&2
    start_node --http 127.0.0.1:0 || { cat "$server_log" >&2; echo "error: the node did not start" >&2; exit 1; }
  else
    cat "$server_log" >&2
    echo "error: the node did not start" >&2
    exit 1
  fi
fi
address=$(sed -n 's#.*\(http://[0-9.:]*\)/v1/streams/.*#\1#p' "$server_log" | head -n 1)
export WEIR_SERVER=$address
grep '^ready in' "$server_log" >&2

# The shipped statements fit events of the shape in examples/README.md; anything else is taken as it comes.
first_lines() { case "$events" in *.gz) gzip -dc -- "$events" ;; *) cat -- "$events" ;; esac 2>/dev/null | head -n 50 || true; }
if first_lines | jq -R 'fromjson? | objects | select(has("event_id") and has("timestamp") and has("user_id") and has("properties"))' 2>/dev/null |
  grep -q .; then
  stream=access
  "$weir" sql -f "$root/examples/access.sql" >/dev/null 2>&1
  echo "declared stream access and view access_1h (examples/access.sql)" >&2
else
  stream=events
  echo "these are not events of the shape of examples/access.sql: stream events takes them undeclared" >&2
fi

step "4/5 take in $(basename "$events") as stream $stream"
result=$work/result.json
code=0
"$weir" produce "$stream" "$events" -o json >"$result" || code=$?
# 7: some lines were rejected; they are kept as dead letters and are no failure here.
[ "$code" = 0 ] || [ "$code" = 7 ] || { echo "error: weir produce ended with $code" >&2; exit "$code"; }
[ "$(jq -r .lines "$result")" != 0 ] || { echo "error: $events holds no events" >&2; exit 1; }
index=$(jq -r .applied_index "$result")
jq -r '"accepted   \(.accepted)\nduplicates \(.duplicates)\nrejected   \(.rejected)"' "$result"

step "5/5 ask"
query() { printf '\nweir> %s\n' "$1"; "$weir" sql --min-index "$index" "$1"; }
query "SELECT reason, count(*) AS n FROM ${stream}_dead_letters GROUP BY 1 ORDER BY 2 DESC, 1"
if [ "$stream" = access ]; then
  query "SELECT status, sum(n) AS n, sum(bytes) AS bytes FROM access_1h GROUP BY status ORDER BY 2 DESC, 1"
  query "SELECT window_start, sum(n) AS n, sum(bytes) AS bytes FROM access_1h GROUP BY window_start ORDER BY 1"
else
  query "SELECT event_time, payload FROM events LIMIT 3"
  echo "(event_time is the member 'timestamp' where it reads as a time; CREATE STREAM says where yours is: README, step 3)" >&2
  query "SELECT bucket(event_time, '1h') AS hour, count(*) AS n FROM events GROUP BY 1 ORDER BY 1"
fi

printf '\nnode       %s\n' "$address"
if [ "$keep" = 1 ]; then
  printf 'data       %s\n' "$work/weir-data"
  printf 'ask it     %s sql --server %s '"'SELECT * FROM $stream LIMIT 5'"'\n' "$weir" "$address"
  printf 'stop it    kill %s\n' "$server"
  printf 'remove it  rm -rf %s\n' "$work"
  disown "$server"
else
  printf 'It stops now and its data goes; --keep leaves it running.\n'
fi
