#!/usr/bin/env bash
# npm run bench [-- --quick | --runs N | --only floor,crun | --mode userns | --kept 0 | --report-only | …]
#
# Installs what is missing from Debian, builds the package and the benchmark, and measures in a mount and a pid
# namespace of its own: whatever goes wrong, no process, mount or cgroup of the benchmark outlives it.
# --quick is for CI; --peers-only does without building the package.
set -euo pipefail
cd "$(dirname "$0")/.."

# command:package
needs=(gcc:gcc crun:crun runc:runc lxc-start:lxc bwrap:bubblewrap systemd-nspawn:systemd-container busybox:busybox-static unshare:util-linux newuidmap:uidmap)

install_missing() {
  local missing=() need
  for need in "${needs[@]}"; do
    command -v "${need%%:*}" > /dev/null || missing+=("${need##*:}")
  done
  [ -e /usr/include/linux/mount.h ] || missing+=(libc6-dev linux-libc-dev)
  [ ${#missing[@]} -eq 0 ] && return
  echo "bench: installing ${missing[*]}" >&2
  export DEBIAN_FRONTEND=noninteractive
  apt-get update -qq || true
  # One by one: a peer that cannot be had is reported as not installed, and is no reason to measure nothing.
  local package
  for package in "${missing[@]}"; do
    apt-get install -y -qq --no-install-recommends "$package" > /dev/null || echo "bench: $package cannot be installed" >&2
  done
}

build() {
  local bin=.cache/bench/bin program
  mkdir -p "$bin"
  for program in floor spawn; do
    gcc -O2 -Wall -Wextra -Werror -o "$bin/$program" "bench/floor/$program.c"
  done
  for program in stamp pause; do
    gcc -O2 -Wall -Wextra -Werror -static -nostdlib -ffreestanding -fno-stack-protector -fno-asynchronous-unwind-tables \
      -o "$bin/$program" "bench/payload/$program.c"
  done
  gcc -O2 -Wall -Wextra -Werror -static -o "$bin/probe" bench/payload/probe.c
  [ -d node_modules ] || npm ci --no-audit --no-fund
  # By node, not by npx: the same compiler without npm's start-up.
  [ "$1" = peers ] || node node_modules/typescript/bin/tsc -p tsconfig.json
  rm -rf .cache/bench/js
  node node_modules/typescript/bin/tsc -p bench/tsconfig.json
}

# Inside the namespaces, as PID 1: bash reaps what detached runtimes leave to it.
if [ "${1:-}" = --inside ]; then
  shift
  mount -t tmpfs -o mode=755,size=1g caisson-bench "$CAISSON_BENCH_WORK"
  # The runtimes' volatile state, where hosts have a tmpfs; it hides the host's, which nobody shall touch.
  mount -t tmpfs -o mode=755,size=256m caisson-bench-run /run
  mkdir -p /run/lock
  # A runtime may give its standard input to the container's root: it shall not be the host's node.
  mknod -m 666 "$CAISSON_BENCH_WORK/null" c 1 3
  mount --bind "$CAISSON_BENCH_WORK/null" /dev/null
  # newuidmap maps only ranges that these files give root.
  for file in subuid subgid; do
    [ -e "/etc/$file" ] || continue
    echo 'root:1000000:65536' > "$CAISSON_BENCH_WORK/$file"
    mount --bind "$CAISSON_BENCH_WORK/$file" "/etc/$file"
  done
  node .cache/bench/js/main.js "$@" && exit 0
  exit $?
fi

[ "$(id -u)" = 0 ] || { echo 'bench: containers need root' >&2; exit 2; }
peers=all
arguments=()
for argument in "$@"; do
  case $argument in
    --peers-only) peers=peers ;;
    *) arguments+=("$argument") ;;
  esac
done
install_missing
build "$peers"
case " ${arguments[*]} " in *' --report-only '*) exec node .cache/bench/js/main.js "${arguments[@]}" ;; esac

export CAISSON_BENCH_ID="caisson-bench-$$"
export CAISSON_BENCH_BIN="$PWD/.cache/bench/bin"
CAISSON_BENCH_WORK=$(mktemp -d /tmp/caisson-bench-XXXXXX)
CAISSON_BENCH_DISK=$(mktemp -d /var/tmp/caisson-bench-XXXXXX)
export CAISSON_BENCH_WORK CAISSON_BENCH_DISK
chmod 755 "$CAISSON_BENCH_WORK" "$CAISSON_BENCH_DISK"

clean_up() {
  # Every process of the namespace is dead by now. Names carry our own number: nobody else's cgroup can match.
  find /sys/fs/cgroup -depth -type d -path "*$CAISSON_BENCH_ID*" -exec rmdir {} + 2> /dev/null || true
  rm -rf --one-file-system "$CAISSON_BENCH_DISK"
  rmdir "$CAISSON_BENCH_WORK" || true
}
trap clean_up EXIT

# lxc-start refuses a soft limit that a shell's default of 1024 gives to a thousand kept consoles.
ulimit -n "$(ulimit -Hn)"
unshare --mount --pid --fork --kill-child --mount-proc --propagation private -- bash "$0" --inside "${arguments[@]+"${arguments[@]}"}"
