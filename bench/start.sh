#!/usr/bin/env bash
# Usage: PORT=… DATADIR=… bench/start.sh     Starts the release binary with bench/aegis.yaml on that port of this machine, its
# data in that folder, waits until it is ready and prints `PID=… BASE=… KEY=` (for eval). Stop it with: kill $PID
# Env: AEGIS (the binary; default target/release/aegis), CONFIG (default bench/aegis.yaml).
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
aegis=${AEGIS:-$here/../target/release/aegis}
port=${PORT:?PORT is not set} data=${DATADIR:?DATADIR is not set}
[ -x "$aegis" ] || { echo "start: there is no $aegis: cargo build --release --workspace --locked" >&2; exit 1; }
mkdir -p "$data"
data=$(cd "$data" && pwd)
AEGIS__PERSISTENCE__PATH=$data/aegis.db AEGIS__SERVER__CACHE_DIR=$data/cache \
    "$aegis" serve --no-auth --config "${CONFIG:-$here/aegis.yaml}" --listen "127.0.0.1:$port" >"$data/log" 2>&1 </dev/null &
pid=$!
disown "$pid"
for _ in $(seq 600); do
    kill -0 "$pid" 2>/dev/null || { echo "start: it ended:" >&2; tail -20 "$data/log" >&2; exit 1; }
    curl -sf -o /dev/null --max-time 2 "http://127.0.0.1:$port/readyz" && { echo "PID=$pid BASE=http://127.0.0.1:$port KEY="; exit 0; }
    sleep 0.1
done
kill "$pid"
echo "start: not ready within a minute" >&2
tail -20 "$data/log" >&2
exit 1
