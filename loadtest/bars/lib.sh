# For the commands in this folder: servers to start and to end, runs, figures and bars. Sourced, not run.
#
#   HERALD_BIN   where herald-gateway, herald-router and herald-loadtest lie; unset: target/release, built first
#   ROUNDS       runs of each kind, taken in turn; the median counts (5)
#   PEERS        peers to measure beside, of "nchan sockudo hub"; unset: those that are there
# shellcheck shell=bash

set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
rounds=${ROUNDS:-5}
work=$(mktemp -d "${TMPDIR:-/tmp}/herald-bars.XXXXXX")
pids=()
missed=0
ulimit -n "$(ulimit -Hn)"

if [ -z "${HERALD_BIN:-}" ]; then
    (cd "$root" && cargo build --release --quiet -p herald-gateway -p herald-router -p herald-loadtest --bins)
    HERALD_BIN=${CARGO_TARGET_DIR:-$root/target}/release
fi
loadtest=${HERALD_LOADTEST:-$HERALD_BIN/herald-loadtest}

# Ends what this script has started, and nothing else.
stop() {
    local i
    # The last first, so that NATS goes last.
    for ((i = ${#pids[@]} - 1; i >= 0; i--)); do end "${pids[i]}"; done
    pids=()
}
end() {
    kill "$1" 2>/dev/null || return 0
    for _ in $(seq 100); do
        kill -0 "$1" 2>/dev/null || break
        sleep 0.05
    done
    kill -9 "$1" 2>/dev/null || true
    wait "$1" 2>/dev/null || true
}
trap 'stop; rm -rf "$work"' EXIT

free_port() { python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }

fail() {
    echo "$1" >&2
    exit 2
}

# Starts a node and waits until it is ready; sets pid, public and admin.
node() {
    local name=$1 out=$work/$1.$RANDOM
    shift
    : >"$out"
    "$HERALD_BIN/$name" "$@" --admin 127.0.0.1:0 >"$out" 2>"$out.log" &
    pid=$!
    pids+=("$pid")
    for _ in $(seq 600); do
        admin=$(sed -n 's/^listening admin //p' "$out")
        public=$(sed -n 's/^listening public //p' "$out" | head -1)
        if [ -n "$admin" ] && python3 -c "import urllib.request as u; u.urlopen('http://$admin/health/ready')" 2>/dev/null; then
            return
        fi
        sleep 0.05
    done
    tail -20 "$out.log" >&2
    fail "$name is not ready"
}

# A gateway with --dev: alone, or with --nats.
gateway() { node herald-gateway --dev --listen 127.0.0.1:0 --drain 1s "$@"; }
# Its log takes no more disk than these runs need.
router() {
    printf '[log]\nmax_bytes = "512MiB"\n' >"$work/router.toml"
    node herald-router --dev --drain 1s --config "$work/router.toml" "$@"
}

# Sets nats (its URL), monitor and nats_pid.
nats_server() {
    local port monitor_port server
    server=${NATS_SERVER:-$("$root/tests/find-nats")}
    port=$(free_port)
    monitor_port=$(free_port)
    "$server" -a 127.0.0.1 -p "$port" -m "$monitor_port" -js -sd "$work/nats.$port" >"$work/nats.$port.log" 2>&1 &
    nats_pid=$!
    pids+=("$nats_pid")
    nats=nats://127.0.0.1:$port
    monitor=http://127.0.0.1:$monitor_port
    for _ in $(seq 200); do
        python3 -c "import urllib.request as u; u.urlopen('$monitor/healthz')" 2>/dev/null && return
        sleep 0.05
    done
    fail "nats-server is not ready"
}

# Sets floor (its URL) and pid.
floor_server() {
    local out=$work/floor.$RANDOM
    : >"$out"
    "$loadtest" floor --listen 127.0.0.1:0 >"$out" &
    pid=$!
    pids+=("$pid")
    for _ in $(seq 100); do
        floor=$(sed -n 's/^listening public //p' "$out")
        [ -n "$floor" ] && break
        sleep 0.05
    done
    floor=ws://$floor
}

# measure <name> <scenario and arguments>: writes $work/<name>.json. A run that is not good ends all.
measure() {
    local name=$1
    shift
    local log=$work/$name.log
    "$loadtest" "$@" --quiet --name "$name" --out "$work/$name.json" >"$log" 2>&1 || { cat "$log" >&2; fail "$name is not good"; }
}

# figure <name> <path, such as figures.cpu_us_per_delivery>
figure() {
    python3 - "$work/$1.json" "$2" <<'PY'
import json, sys
value = json.load(open(sys.argv[1]))
for key in sys.argv[2].split("."):
    value = value[key]
print(value)
PY
}

# calc <expression in Python>
calc() { python3 -c "print($1)"; }

# median <numbers>
median() { python3 -c 'import statistics, sys; print(statistics.median(map(float, sys.argv[1:])))' "$@"; }

# bar <what> <figure> <at most|at least> <bar> <unit>
bar() {
    local word=held sign='<='
    [ "$3" = 'at least' ] && sign='>='
    python3 -c "import sys; sys.exit(not $2 $sign $4)" || { word=MISSED; missed=1; }
    printf '%-74s %9.2f %-7s %s %7.2f  %s\n' "$1" "$2" "$5" "$3" "$4" "$word"
}

# note <what> <figure> <unit>: a figure without a bar.
note() { printf '%-74s %9.2f %s\n' "$1" "$2" "$3"; }

# shellcheck source=peers.sh
. "$root/loadtest/bars/peers.sh"
