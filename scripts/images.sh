#!/usr/bin/env bash
# images.sh [NAME…]: builds the root file systems that the integration tests boot and prints where they are. Without a
# name: all of them. As root. A tree is built once and kept below .cache/images; a changed recipe builds it again.
# CAISSON_IMAGES_AS_THEY_ARE=1 builds nothing: where no mirror is, what was brought along is used, however old it is.
#
# They are what Debian ships, but for a root without a password and a getty on /dev/console where the distribution
# has one on virtual terminals only. No unit is masked and no script patched: what breaks in a container must show.
set -euo pipefail
cd "$(dirname "$0")/.."
all=(debian-12 debian-13 sysvinit openrc runit finit s6)

# ---- Recipes: each fills the empty directory $1. A recipe and what it calls make up the stamp that is compared.

# Not offered as an image: Debian 12 as far as all of its inits need it, with apt's lists, so that the rest is quick.
recipe_base-12() {
  bootstrap bookworm "$1" --include=procps,iproute2,util-linux,login,passwd --skip=cleanup/apt/lists
}

# With udev, as on every machine: that it keeps away from a container must be its own doing.
recipe_debian-12() {
  derive "$1" systemd systemd-sysv udev dbus libpam-systemd
  finish "$1"
}

# kmod: its systemd loads libkmod at run time, and a unit fails where that is missing; no package depends on it.
recipe_debian-13() {
  bootstrap trixie "$1" \
    --include=systemd,systemd-sysv,udev,kmod,dbus,libpam-systemd,procps,iproute2,util-linux,login,passwd
  finish "$1"
}

recipe_sysvinit() {
  derive "$1" sysvinit-core
  # inittab names tty1 to tty6 only. No --autologin: logging in is part of what is tested.
  echo 'co:2345:respawn:/sbin/getty --noclear 38400 console linux' >> "$1/etc/inittab"
  finish "$1"
}

# Debian's OpenRC is started by sysvinit's init, which therefore starts the getty, too.
recipe_openrc() {
  derive "$1" openrc sysvinit-core
  echo 'co:2345:respawn:/sbin/getty --noclear 38400 console linux' >> "$1/etc/inittab"
  finish "$1"
}

recipe_runit() {
  derive "$1" runit-init
  # As getty-tty1 of the package getty-run has it: a session of its own (-P), its supervise directory in /run.
  mkdir "$1/etc/sv/getty-console"
  printf '#!/bin/sh\nexec chpst -P getty --noclear 38400 console linux\n' > "$1/etc/sv/getty-console/run"
  chmod 755 "$1/etc/sv/getty-console/run"
  ln -s /run/runit/supervise/getty-console "$1/etc/sv/getty-console/supervise"
  ln -s /etc/sv/getty-console "$1/etc/runit/runsvdir/default/getty-console"
  finish "$1"
}

recipe_finit() {
  derive "$1" finit-sysv
  # finit has a getty of its own. Not @console: that is what /sys says of the host's console. nowait: the prompt comes
  # without a press of Enter.
  echo 'tty [12345] /dev/console noclear nowait linux' > "$1/etc/finit.d/console.conf"
  finish "$1"
}

recipe_s6() {
  derive "$1" s6
  # Debian has no init made of s6, only the tools: s6-svscan itself becomes PID 1, with the getty as its one service.
  # No setsid there: s6-supervise gives each service a session of its own.
  mkdir -p "$1/etc/s6/getty-console"
  printf '#!/bin/sh\nexec getty --noclear 38400 console linux\n' > "$1/etc/s6/getty-console/run"
  printf '#!/bin/sh\nexport PATH=/usr/sbin:/usr/bin:/sbin:/bin\nexec s6-svscan /etc/s6\n' > "$1/sbin/init"
  chmod 755 "$1/etc/s6/getty-console/run" "$1/sbin/init"
  finish "$1"
}

# ---- What recipes call.

# bootstrap SUITE DIRECTORY OPTION…: from the mirrors, with the sources' components, that this machine's apt uses.
# The namespaces end every mount and process with it, whatever happens.
bootstrap() {
  local suite=$1 directory=$2 here sources=() release component uri
  shift 2
  # shellcheck source=/dev/null
  here=$(. /etc/os-release && echo "$VERSION_CODENAME")
  while read -r release component uri; do
    case $release in
      "$here" | "$here-updates" | "$here-security") sources+=("deb $uri $suite${release#"$here"} $component") ;;
    esac
  done < <(apt-get indextargets --format '$(RELEASE) $(COMPONENT) $(REPO_URI)' 'Created-By: Packages')
  [ ${#sources[@]} -gt 0 ] || { echo "images: apt's sources name no mirror for $here" >&2; return 1; }
  # A mirror that is a snapshot has release files that have expired, or that are younger than the archive's clock.
  unshare --mount --pid --fork --kill-child --mount-proc \
    mmdebstrap --mode=root --variant=minbase --format=directory "$@" \
    --keyring=/usr/share/keyrings/debian-archive-keyring.gpg \
    --aptopt='Acquire::Check-Valid-Until "false"' --aptopt='Acquire::Check-Date "false"' \
    --aptopt='APT::Install-Recommends "false"' --dpkgopt=force-unsafe-io \
    --dpkgopt='path-exclude=/usr/share/man/*' --dpkgopt='path-exclude=/usr/share/locale/*' \
    --dpkgopt='path-exclude=/usr/share/doc/*' \
    "$suite" "$directory" "${sources[@]}"
}

# derive DIRECTORY PACKAGE…: a copy of base-12 with these packages.
derive() {
  local directory=$1
  shift
  make base-12 > /dev/null
  cp -a "$cache/base-12/." "$directory"
  # Nothing is to start while packages are configured.
  printf '#!/bin/sh\nexit 101\n' > "$directory/usr/sbin/policy-rc.d"
  chmod 755 "$directory/usr/sbin/policy-rc.d"
  # shellcheck disable=SC2016
  unshare --mount --pid --fork --kill-child bash -euc '
    cd "$1"; shift
    mount -t proc proc proc
    mount -t tmpfs tmpfs run
    DEBIAN_FRONTEND=noninteractive LC_ALL=C.UTF-8 chroot . apt-get -y -q -o Dpkg::Use-Pty=0 install "$@"
  ' derive "$directory" "$@"
  rm "$directory/usr/sbin/policy-rc.d"
}

# finish DIRECTORY: takes out what came from this machine and from building, and lets root log in.
finish() {
  chroot "$1" passwd --delete root
  # The host name and the resolver are this machine's. The host name is the runtime's to set: the file would win over it.
  rm -f "$1/etc/hostname" "$1/etc/resolv.conf"
  # A machine id of their own for all who boot it; only systemd and dbus have one.
  if [ -e "$1/etc/machine-id" ]; then : > "$1/etc/machine-id"; fi
  rm -f "$1/var/lib/dbus/machine-id"
  # mmdebstrap makes device nodes and links for its own use; they are the runtime's to make.
  find "$1/dev" "$1/run" -mindepth 1 -delete
  rm -rf "$1"/var/lib/apt/lists/* "$1"/var/cache/apt/*.bin "$1"/var/cache/apt/archives/*.deb "$1"/var/log/apt/*
}

# ---- Building.

# stamp NAME: a hash of the recipe and of all it rests on.
stamp() {
  { uname -m; declare -f "recipe_$1" bootstrap derive finish; declare -f recipe_base-12; } | sha256sum
}

# make NAME: builds it unless it is there, and prints its path.
make() {
  local name=$1 tree=$cache/$1 began=$SECONDS
  if [ -d "$tree" ] && [ "$(cat "$tree.stamp" 2> /dev/null)" = "$(stamp "$name")" ]; then echo "$tree"; return; fi
  if [ -n "${CAISSON_IMAGES_AS_THEY_ARE:-}" ]; then
    if [ -d "$tree" ]; then echo "$tree"; return; fi
    echo "images: $name is not here, and cannot be built here" >&2
    return 1
  fi
  echo "images: building $name" >&2
  local made=$work/$name
  mkdir -m 755 "$made"
  # Not `if ! …`: within a condition, set -e is off.
  set +e
  ( set -e; "recipe_$name" "$made" ) > "$tree.log" 2>&1
  local status=$?
  set -e
  if [ "$status" != 0 ]; then
    tail -n 20 "$tree.log" >&2
    echo "images: $name could not be built; all of its log is in .cache/images/$name.log" >&2
    return 1
  fi
  # The stamp goes first and comes last: a tree with a stamp is whole.
  rm -f "$tree.stamp"
  if [ -d "$tree" ]; then mv -T "$tree" "$work/$name.old"; fi
  mv -T "$made" "$tree"
  stamp "$name" > "$tree.stamp"
  echo "images: built $name in $((SECONDS - began)) s" >&2
  echo "$tree"
}

[ "$(id -u)" = 0 ] || { echo 'images: device nodes and owners need root' >&2; exit 2; }
[ $# -gt 0 ] || set -- "${all[@]}"
for name; do
  case " ${all[*]} " in
    *" $name "*) ;;
    *) echo "images: there is no $name, but: ${all[*]}" >&2; exit 2 ;;
  esac
done
mkdir -p .cache/images
cache=$(realpath .cache/images)
# One builder at a time; whoever waited finds everything built. Builds that were killed are swept here.
exec 9> "$cache/.lock"
flock 9
work=$cache/.building
sweep() { rm -rf --one-file-system "$work"; }
trap sweep EXIT
sweep
mkdir -m 700 "$work"
for name; do make "$name"; done
