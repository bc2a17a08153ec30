#!/usr/bin/env bash
# npm run demo: the main job, from nothing.
set -euo pipefail
cd "$(dirname "$0")/.."
[ "$(id -u)" = 0 ] || { echo 'demo: containers need root' >&2; exit 2; }
bash scripts/setup.sh run
command -v ip > /dev/null || { apt-get update -qq || true; apt-get install -y -qq --no-install-recommends iproute2 > /dev/null; }
node_modules/.bin/tsc -p tsconfig.json
node_modules/.bin/tsc -p scripts/tsconfig.json
exec node .cache/demo/scripts/demo.js
