#!/bin/sh
# Assembles the launcher stub's listings and prints their machine code as hex, for src/syscalls/launcher/stub.ts.
# Needs Debian's binutils and binutils-aarch64-linux-gnu (on arm64: binutils and binutils-x86-64-linux-gnu).
# usage: scripts/stub-bytes.sh [x64|arm64]...
set -eu
cd "$(dirname "$0")/../src/syscalls/launcher"
[ $# -gt 0 ] || set -- x64 arm64
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

for arch; do
  case $arch in
    x64) triple=x86_64-linux-gnu ;;
    arm64) triple=aarch64-linux-gnu ;;
    *) echo "unknown architecture: $arch" >&2; exit 2 ;;
  esac
  "$triple-as" -o "$work/stub.o" "stub.$arch.s"
  "$triple-objcopy" -O binary -j .text "$work/stub.o" "$work/stub.bin"
  echo "$arch: $(wc -c <"$work/stub.bin") bytes"
  od -An -v -tx1 -w32 "$work/stub.bin" | tr -d ' '
done
