#!/usr/bin/env bash
# Installs what building (and with --tests: testing) needs, from Debian alone. Says what it does; does nothing when all is
# there. Debian 12: libraft 0.22 and Catch2 3 come from bookworm-backports, taken from the mirror that apt uses already.
set -euo pipefail

build_packages=(g++ cmake ninja-build ccache pkg-config libuv1-dev liblmdb-dev libsqlite3-dev nlohmann-json3-dev
  libcpp-httplib-dev prometheus-cpp-dev libboost-dev libsimdjson-dev libzstd-dev liblz4-dev libsnappy-dev zlib1g-dev libxxhash-dev
  libspdlog-dev libcli11-dev libssl-dev libtomlplusplus-dev libedit-dev ca-certificates)
backports_packages=(libraft-dev)
run_packages=(curl jq)
test_packages=(clang-14 clang-format-14 clang-tidy-14 libclang-rt-14-dev python3 strace)
test_backports_packages=(catch2)

trap 'echo "error: ${BASH_SOURCE[0]}:$LINENO: a command failed" >&2' ERR

# Where this machine gets Debian from: the first `URIs:` of a deb822 file or address of a `deb` line, comments skipped, an
# address that ends in /debian before others (vendors' sources may stand beside it). $1: another apt folder, for tests.
debian_uri() {
  local apt=${1:-/etc/apt} uris
  uris=$({
    cat "$apt"/sources.list.d/*.sources 2>/dev/null || true
  } | sed -n 's/^URIs:[[:space:]]*\(https\{0,1\}:[^[:space:]]*\).*/\1/p')
  uris+=$'\n'$({
    cat "$apt"/sources.list "$apt"/sources.list.d/*.list 2>/dev/null || true
  } | sed -nE 's/^[[:space:]]*deb[[:space:]]+(\[[^]]*\][[:space:]]*)?(https?:[^[:space:]]+).*/\2/p')
  uris=$(grep -v '^$' <<<"$uris" || true)
  grep -m1 -E '/debian/?$' <<<"$uris" || head -n 1 <<<"$uris"
}
if [ "${1:-}" = --debian-uri ]; then
  debian_uri "${2:-}"
  exit 0
fi

tests=0
for argument in "$@"; do
  case "$argument" in
    --tests) tests=1 ;;
    -h | --help) echo "usage: packaging/install-deps.sh [--tests]"; exit 0 ;;
    *) echo "usage: packaging/install-deps.sh [--tests]" >&2; exit 2 ;;
  esac
done
packages=("${build_packages[@]}" "${run_packages[@]}")
backports=("${backports_packages[@]}")
if [ "$tests" = 1 ]; then
  packages+=("${test_packages[@]}")
  backports+=("${test_backports_packages[@]}")
fi

installed() { dpkg-query -W -f '${db:Status-Status}\n' "$1" 2>/dev/null | grep -qx installed; }
# The consensus engine must be 0.22.1: 0.15, which bookworm itself ships, loses committed data.
missing=()
missing_backports=()
for package in "${packages[@]}"; do installed "$package" || missing+=("$package"); done
for package in "${backports[@]}"; do
  if installed "$package"; then
    version=$(dpkg-query -W -f '${Version}' "$package")
    case "$package" in
      libraft-dev) dpkg --compare-versions "$version" ge 0.22 || missing_backports+=("$package") ;;
      catch2) dpkg --compare-versions "$version" ge 3 || missing_backports+=("$package") ;;
    esac
  else
    missing_backports+=("$package")
  fi
done
if [ "${#missing[@]}" = 0 ] && [ "${#missing_backports[@]}" = 0 ]; then
  exit 0
fi

sudo=()
if [ "$(id -u)" != 0 ]; then
  command -v sudo >/dev/null || { echo "error: packages are missing (${missing[*]} ${missing_backports[*]}) and neither root nor sudo is here" >&2; exit 1; }
  sudo=(sudo)
fi
export DEBIAN_FRONTEND=noninteractive
apt_get() { "${sudo[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -qq -o Dpkg::Use-Pty=0 "$@"; }

if [ "${#missing_backports[@]}" -gt 0 ] && [ "$(. /etc/os-release && echo "${VERSION_CODENAME:-}")" = bookworm ]; then
  list=/etc/apt/sources.list.d/weirhouse-backports.list
  added=0
  if ! grep -rqsE '^[^#]*bookworm-backports' /etc/apt/sources.list /etc/apt/sources.list.d/; then
    uri=$(debian_uri)
    [ -n "$uri" ] || { echo "error: apt has no http(s) source of Debian configured: add one to /etc/apt/sources.list" >&2; exit 1; }
    echo "apt: adding bookworm-backports from $uri ($list)"
    echo "deb $uri bookworm-backports main" | "${sudo[@]}" tee "$list" >/dev/null
    added=1
  fi
fi
echo "apt: installing (a fresh machine takes about two minutes) ${missing[*]} ${missing_backports[*]}"
log=$(mktemp)
trap 'rm -f "$log"' EXIT
if ! { apt_get update &&
       { [ "${#missing[@]}" = 0 ] || apt_get install -y --no-install-recommends "${missing[@]}"; } &&
       { [ "${#missing_backports[@]}" = 0 ] ||
         apt_get install -y --no-install-recommends -t bookworm-backports "${missing_backports[@]}"; }; } >"$log" 2>&1; then
  tail -n 30 "$log" >&2
  [ "${added:-0}" = 0 ] || "${sudo[@]}" rm -f "$list"     # nothing half done stays for the next run
  echo "error: apt could not install what is missing; its last lines are above" >&2
  exit 1
fi
