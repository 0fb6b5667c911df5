#!/usr/bin/env bash
# Clients that are not ours, against a real server. Needs a registry: what cannot be had is SKIPPED and says why.
#
#   tests/interop/run.sh [path/to/weir]      default build/release/weir
#
# A client is a folder with a prepare.sh (exit 77: skipped, its last line says why) and a test.sh URL, both run in a copy.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
weir=$(realpath "${1:-../../build/release/weir}")
[ -x "$weir" ] || { echo "no weir at $weir: build it first"; echo "0 passed, 1 failed, 0 skipped"; exit 1; }

work=$(mktemp -d)
server=
finish() {
  [ -z "$server" ] || { kill "$server" 2>/dev/null; wait "$server" 2>/dev/null; }
  rm -rf "$work"
}
trap finish EXIT

"$weir" serve --data "$work/data" --http 127.0.0.1:0 2>"$work/log" >/dev/null &
server=$!
url=
for _ in $(seq 600); do
  url=$(sed -nE 's#.*(http://127\.0\.0\.1:[0-9]+)/v1/streams.*#\1#p' "$work/log" | head -n 1)
  [ -n "$url" ] && grep -q 'ready in' "$work/log" && break
  kill -0 "$server" 2>/dev/null || break
  read -rt 0.1 <> <(:) || true
done
[ -n "$url" ] || { cat "$work/log"; echo "0 passed, 1 failed, 0 skipped"; exit 1; }

passed=0 failed=0 skipped=0
for client in */; do
  client=${client%/}
  cp -r "$client" "$work/$client"
  (cd "$work/$client" && bash prepare.sh) >"$work/$client.log" 2>&1
  code=$?
  if [ "$code" = 77 ]; then
    skipped=$((skipped + 1))
    echo "SKIPPED $client: $(tail -n 1 "$work/$client.log")"
  elif [ "$code" = 0 ] && (cd "$work/$client" && bash test.sh "$url") >>"$work/$client.log" 2>&1; then
    passed=$((passed + 1))
    echo "ok      $client: $(tail -n 1 "$work/$client.log")"
  else
    failed=$((failed + 1))
    echo "FAILED  $client"
    tail -n 40 "$work/$client.log"
  fi
done
echo "$passed passed, $failed failed, $skipped skipped"
[ "$failed" = 0 ]
