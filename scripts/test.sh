#!/usr/bin/env bash
# npm test [-- vitest arguments]: set-up, build, types, lint, dead code, every test, coverage with a floor.
set -euo pipefail
cd "$(dirname "$0")/.."
[ "$(id -u)" = 0 ] || { echo 'test: real containers need root' >&2; exit 2; }
bash scripts/setup.sh test
bin=node_modules/.bin
rm -rf dist
"$bin/tsc" -p tsconfig.json
"$bin/tsc" -p tsconfig.test.json
"$bin/tsc" -p scripts/tsconfig.json --noEmit
"$bin/biome" check .
"$bin/oxlint" --type-aware
"$bin/knip"
if [ $# -gt 0 ]; then exec "$bin/vitest" run "$@"; fi
# Node itself collects the coverage, since most of the work is done in worker threads and child processes.
rm -rf coverage
NODE_V8_COVERAGE=coverage/raw "$bin/vitest" run
"$bin/c8" report --temp-directory coverage/raw --reports-dir coverage --reporter text-summary --reporter json-summary \
  --all --src src --include 'src/**' --exclude-after-remap --check-coverage --lines 88 --branches 80 --functions 80
