#!/usr/bin/env bash
# The figures of the README, measured here and now with the release binaries: `make bench`.
# Usage: tests/bench.sh [DIRECTORY OF THE BINARIES]
#
# Each figure is taken RUNS times and told as min / median / max. The cluster lies on free ports and in a folder of its
# own; everything is ended again.
set -euo pipefail
cd "$(dirname "$0")/.."

RUNS=${RUNS:-5}
BIN=${1:-target/release}
# Longest wait for any one state of the cluster, in seconds; what takes longer is no figure but a failure.
LIMIT=60
DIR=$(mktemp -d)
UP=
trap 'if [ -n "$UP" ]; then kill -INT "$UP" 2>/dev/null && wait "$UP"; fi; rm -rf "$DIR"' EXIT

die() { printf 'bench: %s\n' "$*" >&2; exit 1; }
now() { date +%s%N; }

# stats NAME: reads nanoseconds, one a line, and prints them as milliseconds.
stats() {
    sort -n | awk -v name="$1" '{ v[NR] = $1 / 1e6 }
        END { printf "%-44s %8.0f / %.0f / %.0f ms (%d runs)\n", name, v[1], v[int((NR + 1) / 2)], v[NR], NR }'
}

# One pool file on free ports.
pool() {
    cat <<YAML
apiVersion: echo/v1
kind: Pool
metadata: {name: default}
spec:
  replicas: 3
  template:
    listeners:
    - {name: echo-tcp, protocol: TCP, port: 0, service: {echo: {}}}
    - {name: echo-udp, protocol: UDP, port: 0, service: {echo: {}}}
$1
YAML
}

start_up() {
    "$BIN/echoctl" up --state-dir "$DIR/state" --pool "$DIR/pool.yaml" --listen 127.0.0.1:0 --http 127.0.0.1:0 \
        --node-grpc-port 0 --node-http-port 0 >"$DIR/up.log" 2>&1 &
    UP=$!
    local end=$((SECONDS + LIMIT))
    until grep -q 'Ctrl-C' "$DIR/up.log"; do
        kill -0 "$UP" 2>/dev/null && [ "$SECONDS" -lt "$end" ] || { cat "$DIR/up.log" >&2; exit 1; }
        sleep 0.02
    done
    ECHO_SERVER=$(grep -o 'http://127\.0\.0\.1:[0-9]*' "$DIR/up.log" | head -n 1)
    export ECHO_SERVER
}

stop_up() {
    kill -INT "$UP"
    wait "$UP"
    UP=
}

# The time that up itself tells, from its start to the nodes' readiness.
ready_in() { grep -o 'ready in [0-9.]* s' "$DIR/up.log" | awk '{ printf "%d\n", $3 * 1e9 }'; }

# settled N: waits until N nodes are ready and in sync.
settled() {
    local end=$((SECONDS + LIMIT))
    until [ "$("$BIN/echoctl" get nodes -o json | grep -c '"SYNC_STATE_SYNCED"')" = "$1" ]; do
        [ "$SECONDS" -lt "$end" ] || { "$BIN/echoctl" get nodes >&2; die "not $1 nodes in sync after $LIMIT s"; }
    done
}

pool "" >"$DIR/pool.yaml"
printf '%s, %s, %s cores\n' "$(date -u +%F)" "$(uname -sr)" "$(nproc)"
printf '%-44s %s\n' "figure" "     min / median / max"

for _ in $(seq "$RUNS"); do
    rm -rf "$DIR/state"
    start_up; ready_in >>"$DIR/first"; stop_up
    start_up; ready_in >>"$DIR/second"; stop_up
done
stats "up to 3 nodes ready, new state dir" <"$DIR/first"
stats "up to 3 nodes ready, same state dir again" <"$DIR/second"

rm -rf "$DIR/state"
start_up
for run in $(seq "$RUNS"); do
    from=$(now)
    "$BIN/echoctl" scale pool/default --replicas 10 >/dev/null
    settled 10
    echo $(($(now) - from)) >>"$DIR/scale"
    pool "    - {name: greet-$run, protocol: TCP, port: 0, service: {greet: {}}}" | sed '/replicas/d' >"$DIR/next.yaml"
    from=$(now)
    "$BIN/echoctl" apply --now -f "$DIR/next.yaml" >/dev/null
    "$BIN/echoctl" rollout status pool/default --timeout "${LIMIT}s" >/dev/null
    echo $(($(now) - from)) >>"$DIR/apply"
    "$BIN/echoctl" scale pool/default --replicas 3 >/dev/null
    settled 3
done
stats "scale 3 to 10, all in sync" <"$DIR/scale"
stats "apply --now to 10 nodes, all acknowledged" <"$DIR/apply"
stop_up
