#!/usr/bin/env bash
# Every test, from a machine that has only git and bash. Ends with 'N passed, N failed'.
#
#   tests/run.sh [--quick]     --quick: one build (release), no sanitizers, no fuzzing, no clang-tidy
#
# What is absent is SKIPPED and says why; it never counts as passed.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

quick=0
for argument in "$@"; do
  case "$argument" in
    --quick) quick=1 ;;
    *) echo "usage: tests/run.sh [--quick]" >&2; exit 2 ;;
  esac
done

passed=0
failed=0
skipped=0
started=$SECONDS
logs=$(mktemp -d)
trap 'rm -rf "$logs"' EXIT

parts=()  # how long each took, for the end
part=
end_part() {
  [ -z "$part" ] || parts+=("$(printf '%6d s  %s' $((SECONDS - part_started)) "$part")")
  part=
}
say() {
  end_part
  part=$*
  part_started=$SECONDS
  printf '\n=== [%4d s] %s\n' $((SECONDS - started)) "$*"
}
fail() { failed=$((failed + 1)); echo "FAILED: $*"; }

build() { # preset targets...
  local preset=$1
  shift
  say "build $preset: $*"
  if ! { cmake --preset "$preset" && cmake --build --preset "$preset" --target "$@"; } >"$logs/$preset.log" 2>&1; then
    grep -E 'error|Error|FAILED' "$logs/$preset.log" | head -n 30
    tail -n 15 "$logs/$preset.log"
    fail "build of preset $preset"
    return 1
  fi
}

ctest_run() { # preset ctest-arguments...
  local preset=$1
  shift
  say "unit and simulation tests, $preset"
  # One Catch2 program is one ctest entry and counts as one.
  ctest --test-dir "build/$preset" --output-on-failure -j 2 "$@" >"$logs/ctest-$preset.log" 2>&1
  local code=$? entries
  sed -n '/^The following tests FAILED/,$p' "$logs/ctest-$preset.log"
  [ "$code" = 0 ] || tail -n 60 "$logs/ctest-$preset.log"
  entries=$(sed -nE 's/^([0-9]+)% tests passed, ([0-9]+) tests? failed out of ([0-9]+)$/\2 \3/p' "$logs/ctest-$preset.log")
  if [ -z "$entries" ]; then
    fail "ctest of preset $preset ran nothing"
    return
  fi
  set -- $entries
  echo "$preset: $(($2 - $1)) programs passed, $1 failed"
  passed=$((passed + $2 - $1))
  failed=$((failed + $1))
}

script() { # name command...
  local name=$1
  shift
  say "$name"
  "$@" 2>&1 | tee "$logs/script.log"
  local code=${PIPESTATUS[0]} line
  line=$(grep -E '^[0-9]+ passed, [0-9]+ failed(, [0-9]+ skipped)?$' "$logs/script.log" | tail -n 1)
  if [ -z "$line" ]; then
    fail "$name ended with $code and told no result"
    return
  fi
  set -- $line
  passed=$((passed + $1))
  failed=$((failed + $3))
  skipped=$((skipped + ${5:-0}))
  if [ "$code" != 0 ] && [ "$3" = 0 ]; then fail "$name ended with $code"; fi
}

say "install what is missing"
packaging/install-deps.sh --tests || { echo "0 passed, 1 failed"; exit 1; }
script "tidy" python3 tests/tidy/tidy.py

if [ "$quick" = 1 ]; then
  build release all && ctest_run release
else
  build asan all && ctest_run asan
  build release weir
  # Where threads meet; the other rooms have none of their own.
  threads=(os_test obs_test query_test cluster_test)
  build tsan "${threads[@]}" && ctest_run tsan -R "^($(IFS='|'; echo "${threads[*]}"))\$"
  build fuzz fuzz_all && script "fuzz" python3 tests/fuzz/run.py build/fuzz --seconds 6
  [ -f build/fuzz/compile_commands.json ] && script "clang-tidy" python3 tests/tidy/clang_tidy.py --build build/fuzz
fi
[ -x build/release/weir ] && script "system tests" python3 tests/system/run.py build/release/weir

end_part
printf '\n=== [%4d s] done\n' $((SECONDS - started))
printf '%s\n' "${parts[@]}"
[ "$skipped" = 0 ] || echo "$skipped skipped: the reasons are above"
echo "$passed passed, $failed failed"
[ "$failed" = 0 ]
