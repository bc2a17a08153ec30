#!/usr/bin/env bash
# scripts/vm/run.sh [-s SUITE] [-t SECONDS] [-m MIB] [-v] [--] COMMAND...
# Boots the virtual host of build.sh with a frozen copy of this checkout (with node_modules and dist) at /work, runs
# COMMAND there by bash as root, prints its output as it comes and exits with its status. There is no network in it, and
# whatever it writes is thrown away. 124: not done in time, 125: no answer. -v prints the console of the machine, too.
set -euo pipefail
cd "$(dirname "$0")/../.."
suite=bookworm limit=3600 memory=4096 verbose=
while getopts s:t:m:v option; do
  case $option in s) suite=$OPTARG ;; t) limit=$OPTARG ;; m) memory=$OPTARG ;; v) verbose=1 ;; *) exit 2 ;; esac
done
shift $((OPTIND - 1))
[ $# -gt 0 ] || { echo 'vm: which command?' >&2; exit 2; }
bash scripts/vm/build.sh "$suite"
vm=${CAISSON_VM_DIR:-$PWD/.cache/vm}/$suite

work=$(mktemp -d "$vm/run.XXXXXX")
trap 'rm -rf --one-file-system "$work"' EXIT
mkdir "$work/disk"
tar -c --exclude=./.git --exclude=./.cache --exclude=./coverage . | tar -x -C "$work/disk"
# The trees that tests boot (scripts/images.sh), where they have been built; but for the one the others are made from.
# They cannot be built in there.
if [ -d .cache/images ]; then
  # 1: the directory has changed meanwhile, since a test beside us boots one of them; what is in a tree stays as it is.
  { tar -c -C .cache --exclude=images/base-12 --exclude=images/.building --warning=no-file-changed images || [ $? = 1 ]; } \
    | tar -x -C "$work/disk" --xform=s,^images,.cache/images,S
fi
mkdir "$work/disk/.vm"
cp "$(node -p process.execPath)" "$work/disk/.vm/node"
printf '%s\n' "$*" > "$work/disk/.vm/command"
truncate -s 6G "$work/work.img"
mke2fs -q -t ext4 -d "$work/disk" -E lazy_itable_init=1,lazy_journal_init=1 "$work/work.img"
rm -rf --one-file-system "$work/disk"

# /dev/kvm alone says nothing: it may be there without a processor that does it.
accelerate=(-accel tcg,thread=multi,tb-size=512 -cpu max,la57=off)
if [ -w /dev/kvm ] && grep -qwE 'vmx|svm' /proc/cpuinfo; then accelerate=(-accel kvm -cpu host); fi
append='root=/dev/vda rw console=ttyS0 quiet loglevel=3 panic=-1 nokaslr mitigations=off tsc=reliable'
append+=' systemd.unified_cgroup_hierarchy=1 apparmor=1 security=apparmor systemd.show_status=false'
disk() { echo -drive "file=$1,if=none,id=$2,format=raw,snapshot=on" -device "virtio-blk-pci,drive=$2"; }
ended=0
# shellcheck disable=SC2046
TMPDIR=$work timeout -k 5 "$limit" qemu-system-x86_64 "${accelerate[@]}" -machine q35 -smp 2 -m "$memory" \
  -nodefaults -no-user-config -display none -no-reboot -monitor none -kernel "$vm/kernel" -initrd "$vm/initrd" \
  -append "$append" $(disk "$vm/root.img" root) $(disk "$work/work.img" work) \
  -object rng-random,filename=/dev/urandom,id=rng -device virtio-rng-pci,rng=rng \
  -serial "file:$work/console" -serial stdio -serial "file:$work/status" < /dev/null 2> "$work/errors" || ended=$?
[ -z "$verbose" ] || cat "$work/console" "$work/errors" >&2
if [ -s "$work/status" ]; then exit "$(tr -dc 0-9 < "$work/status")"; fi
[ $ended = 124 ] && { echo "vm: not done within $limit s" >&2; exit 124; }
tail -20 "$work/console" "$work/errors" >&2
exit 125
