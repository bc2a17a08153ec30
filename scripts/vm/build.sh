#!/usr/bin/env bash
# scripts/vm/build.sh [SUITE]: makes a virtual host for the tests: a Debian run by systemd, pure cgroup v2, AppArmor, its
# own kernel (root.img, kernel, initrd below .cache/vm/SUITE, or $CAISSON_VM_DIR/SUITE). Nothing is in it but packages
# of Debian, from the mirrors this machine uses: node and what is tested come on a second disk (run.sh).
# A machine that is there already, made by this version of this script, is kept.
set -euo pipefail
cd "$(dirname "$0")/../.."
suite=${1:-bookworm}
dir=${CAISSON_VM_DIR:-$PWD/.cache/vm}/$suite
stamp=$(sha256sum scripts/vm/build.sh | cut -c1-16)
if [ "$(cat "$dir/stamp" 2> /dev/null)" = "$stamp" ]; then exit 0; fi
[ "$(id -u)" = 0 ] || { echo 'vm: building a machine needs root' >&2; exit 2; }
[ "$(uname -m)" = x86_64 ] || { echo 'vm: only x86-64 machines are made so far' >&2; exit 2; }

# command:package
missing=()
for need in mmdebstrap:mmdebstrap mke2fs:e2fsprogs qemu-system-x86_64:qemu-system-x86; do
  command -v "${need%%:*}" > /dev/null || missing+=("${need##*:}")
done
if [ ${#missing[@]} -gt 0 ]; then
  echo "vm: installing ${missing[*]}" >&2
  export DEBIAN_FRONTEND=noninteractive
  apt-get update -qq || true
  apt-get install -y -qq --no-install-recommends "${missing[@]}" > /dev/null
fi

packages=(
  linux-image-amd64 systemd systemd-sysv systemd-container dbus udev apparmor
  # What the tests call, and what node's binary is linked to.
  gcc libc6-dev iproute2 util-linux uidmap busybox-static procps strace libstdc++6 lxcfs
)
mirrors=$(apt-get indextargets --format 'deb $(REPO_URI) $(RELEASE) main' 'Created-By: Packages' 'Origin: Debian' 'Component: main' | sort -u)
codename=$(. /etc/os-release && echo "$VERSION_CODENAME")
mirrors=${mirrors//$codename/$suite}

echo "vm: making a Debian $suite in $dir" >&2
rm -rf --one-file-system "$dir"
mkdir -p "$dir"
root=$dir/root
mmdebstrap --mode=root --variant=minbase --format=directory --components=main --include="$(IFS=,; echo "${packages[*]}")" \
  --aptopt='Acquire::Check-Valid-Until "false"' --aptopt='Acquire::Check-Date "false"' \
  --aptopt='Apt::Install-Recommends "false"' \
  --dpkgopt='path-exclude=/usr/share/man/*' --dpkgopt='path-exclude=/usr/share/locale/*' \
  --dpkgopt='path-exclude=/usr/share/doc/*' \
  --essential-hook='mkdir -p "$1/etc/initramfs-tools/conf.d"; echo MODULES=list > "$1/etc/initramfs-tools/conf.d/vm"' \
  --essential-hook='printf "%s\n" virtio_pci virtio_blk ext4 > "$1/etc/initramfs-tools/modules"' \
  "$suite" "$root" - <<< "$mirrors" > "$dir/build.log" 2>&1 || { tail -20 "$dir/build.log" >&2; exit 1; }

echo vmhost > "$root/etc/hostname"
: > "$root/etc/machine-id"
printf '%s\n' '/dev/vda / ext4 defaults 0 1' '/dev/vdb /work ext4 defaults 0 0' > "$root/etc/fstab"
mkdir "$root/work"
# Nothing that costs time at boot, or wakes up during a test; tests of LXCFS start their own.
for unit in apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer e2scrub_all.timer e2scrub_reap.service \
  fstrim.timer systemd-networkd.service getty@tty1.service serial-getty@ttyS0.service lxcfs.service; do
  ln -sf /dev/null "$root/etc/systemd/system/$unit"
done
cat > "$root/etc/systemd/system/vm.service" <<'UNIT'
[Unit]
Description=what the second disk brings
After=multi-user.target
RequiresMountsFor=/work
[Service]
ExecStart=/bin/bash /work/scripts/vm/guest.sh
LimitNOFILE=1048576
UNIT
ln -s /etc/systemd/system/vm.service "$root/etc/systemd/system/multi-user.target.wants/"
ln -sf /lib/systemd/system/multi-user.target "$root/etc/systemd/system/default.target"

cp "$root"/boot/vmlinuz-* "$dir/kernel"
mv "$root"/boot/initrd.img-* "$dir/initrd"
truncate -s 6G "$dir/root.img"
mke2fs -q -t ext4 -d "$root" -E lazy_itable_init=1,lazy_journal_init=1 "$dir/root.img"
rm -rf --one-file-system "$root"
echo "$stamp" > "$dir/stamp"
