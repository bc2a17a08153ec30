#!/usr/bin/env bash
# npm run test:vm [-- vitest arguments]: the tests that meet a kernel, on a virtual host that systemd runs: Debian 12,
# Linux 6.1, nothing but cgroup v2. SUITE=trixie takes another Debian. What is skipped there is printed, with the reason.
set -euo pipefail
cd "$(dirname "$0")/../.."
bash scripts/setup.sh run
rm -rf dist
node node_modules/typescript/bin/tsc -p tsconfig.json

# Left out: test/unit and test/machines, which are pure and say the same on every host; the launcher's machine code in
# test/syscalls/stub.test.ts, which needs cross tools and runs in every start anyway; terminal.test.ts, whose point is
# how fast bytes go by.
files=(test/integration test/e2e/command.test.ts test/e2e/run.test.ts test/syscalls/netlink.test.ts)
[ $# -eq 0 ] || files=("$@")
# What is tested there is what the recipes say now: they are built here, where the mirrors are.
if [ -d .cache/images ] || [ $# -eq 0 ]; then bash scripts/images.sh > /dev/null; fi
printf -v arguments '%q ' "${files[@]}"
# Without a processor's help the guest is so much slower.
slow=8
if [ -w /dev/kvm ] && grep -qwE 'vmx|svm' /proc/cpuinfo; then slow=1; fi
exec bash scripts/vm/run.sh -s "${SUITE:-bookworm}" -t "${LIMIT:-5400}" -- \
  "set -o pipefail; uname -r; CAISSON_TEST_SLOW=$slow NO_COLOR=1 node node_modules/vitest/vitest.mjs run --reporter=verbose $arguments 2>&1 | cat"
