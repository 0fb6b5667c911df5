#!/usr/bin/env bash
# Takes every row of the table in README.md again and prints it: what was read, the floor, and what bounds it.
#
#   tests/bench/table.sh [--quick] [path/to/weir]        in a folder on the disk that is to be measured
#
# Minutes on a quiet machine; --quick takes small numbers, which only show that the script works. Needs python3. Everything
# is made in a scratch folder that is removed; no process outlives the script.
set -u -o pipefail
here=$(cd "$(dirname "$0")" && pwd)
quick=
[ "${1:-}" = --quick ] && { quick=--quick; shift; }
weir=$(realpath "${1:-$here/../../build/release/weir}")
[ -x "$weir" ] || { echo "error: no weir at $weir; cmake --preset release && cmake --build --preset release" >&2; exit 2; }
scratch=$(mktemp -d "$PWD/weir-table-XXXXXX")
child=
trap 'rm -rf "$scratch"' EXIT
trap '[ -n "$child" ] && kill -INT "$child" 2>/dev/null && wait "$child"; exit 130' INT TERM
cd "$scratch" || exit 1
python3 "$here/table.py" "$weir" $quick &
child=$!
wait "$child"
