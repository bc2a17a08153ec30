#!/bin/sh
# Assembles the listings of the launcher stub and of the joiner that follows it, and prints their machine code as hex,
# for src/syscalls/launcher/stub.ts and joiner.ts.
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
  skip=0
  for listing in stub joiner; do
    "$triple-as" -o "$work/$listing.o" "$listing.$arch.s"
    "$triple-objcopy" -O binary -j .text "$work/$listing.o" "$work/$listing.bin"
    size=$(wc -c <"$work/$listing.bin")
    echo "$listing, $arch: $((size - skip)) bytes"
    od -An -v -tx1 -w32 -j "$skip" "$work/$listing.bin" | tr -d ' '
    skip=$size
  done
done
