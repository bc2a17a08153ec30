#!/usr/bin/env bash
# keeper-bytes.sh x64|arm64: compiles src/syscalls/keeper/keeper.c and prints the program, gzipped, in Base64.
# Needs Debian's gcc, and gcc-aarch64-linux-gnu for arm64 (on arm64: gcc-x86-64-linux-gnu for x64).
set -euo pipefail
cd "$(dirname "$0")/.."
flags=(-Os -std=c11 -Wall -Wextra -Werror -ffreestanding -nostdlib -static -fno-pie -no-pie -fno-stack-protector -mgeneral-regs-only
  -fno-asynchronous-unwind-tables -fno-ident -Wl,--build-id=none,-z,noseparate-code,-z,noexecstack,-s)
case $1 in
  x64) compiler=x86_64-linux-gnu-gcc flags+=(-fcf-protection=none) ;;
  arm64) compiler=aarch64-linux-gnu-gcc ;;
  *) echo "keeper-bytes: unknown architecture $1" >&2; exit 2 ;;
esac
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"$compiler" "${flags[@]}" -o "$work/keeper" src/syscalls/keeper/keeper.c
gzip -9nc "$work/keeper" | base64 -w 0
echo
