#!/usr/bin/env bash
# setup.sh [run|test]: installs what this machine lacks. `run` is what containers need, `test` also what the tests do.
set -euo pipefail
cd "$(dirname "$0")/.."

# command:package
needs=(busybox:busybox-static)
if [ "${1:-run}" = test ]; then
  needs+=(gcc:gcc as:binutils objcopy:binutils aarch64-linux-gnu-as:binutils-aarch64-linux-gnu qemu-aarch64:qemu-user ip:iproute2 git:git python3:python3-minimal chattr:e2fsprogs tar:tar xz:xz-utils zstd:zstd getcap:libcap2-bin mksquashfs:squashfs-tools mkfs.erofs:erofs-utils mmdebstrap:mmdebstrap dbus-daemon:dbus-daemon dbus-monitor:dbus-bin lxcfs:lxcfs openssl:openssl curl:curl)
fi
missing=()
for need in "${needs[@]}"; do
  command -v "${need%%:*}" > /dev/null || missing+=("${need##*:}")
done
# A dynamic busybox of another package cannot run in an empty root file system.
if command -v busybox > /dev/null && grep -aqE '/lib(64)?/ld-' "$(command -v busybox)"; then missing+=(busybox-static); fi
if [ "${1:-run}" = test ] && [ ! -e /usr/include/linux/mount.h ]; then missing+=(libc6-dev linux-libc-dev); fi
if [ "${1:-run}" = test ] && [ ! -e /usr/share/keyrings/debian-archive-keyring.gpg ]; then missing+=(debian-archive-keyring); fi
if [ "${1:-run}" = test ] && [ "$(ldconfig -p | grep -c 'libseccomp\.so\.2')" = 0 ]; then missing+=(libseccomp2); fi
if [ ${#missing[@]} -gt 0 ]; then
  [ "$(id -u)" = 0 ] || { echo "setup: run as root to install ${missing[*]}" >&2; exit 2; }
  echo "setup: installing ${missing[*]}" >&2
  export DEBIAN_FRONTEND=noninteractive
  apt-get update -qq || true
  apt-get install -y -qq --no-install-recommends "${missing[@]}" > /dev/null
fi

# What the lock file says; skipped when that is installed already. Not `npm ci`: it refuses a lock file that leaves out
# optional packages of other platforms, which a partial mirror does not have.
stamp=node_modules/.caisson-lock
if [ ! -e "$stamp" ] || ! cmp -s package-lock.json "$stamp"; then
  npm install --no-save --no-audit --no-fund
  cp package-lock.json "$stamp"
fi
