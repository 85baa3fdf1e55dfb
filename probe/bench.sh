#!/bin/sh
# What one echo costs a node: the node on one core, the load on another, every byte compared.
# Usage: probe/bench.sh [DIRECTORY OF THE BINARIES] [SECONDS A LINE]; needs release binaries and taskset (util-linux).
# CPU time is user and system time of the whole node process, from /proc/PID/stat, over the echoes that came back.
set -eu

bin=${1:-target/release}
seconds=${2:-4}
dir=$(mktemp -d)
node=
cleanup() {
    [ -z "$node" ] || kill "$node" 2>/dev/null || true
    rm -rf "$dir"
}
trap cleanup EXIT INT TERM

cat >"$dir/pool.yaml" <<POOL
apiVersion: echo/v1
kind: Pool
metadata: {name: bench}
spec:
  template:
    listeners:
    - {name: echo-tcp, protocol: TCP, port: 0, service: {echo: {}}}
    - {name: echo-udp, protocol: UDP, port: 0, service: {echo: {}}}
    drain: {deadline: 0s}
POOL

# On a machine with one core both share it, and latencies mean little.
last=$(($(nproc) - 1))
on_first="taskset -c 0"
on_last="taskset -c $last"

$on_first "$bin/echo-node" --config "$dir/pool.yaml" --address 127.0.0.1 --grpc 127.0.0.1:0 --http 127.0.0.1:0 \
    2>"$dir/log" &
node=$!

# The node logs the addresses that it got once it serves.
address() {
    sed -n "s|.*$1 \(127\.0\.0\.1:[0-9]*\)/.*|\1|p" "$dir/log" | head -n 1
}
tries=0
while [ -z "$(address echo-udp)" ]; do
    tries=$((tries + 1))
    if [ "$tries" -gt 100 ] || ! kill -0 "$node" 2>/dev/null; then
        echo "bench: the node does not serve:" >&2
        cat "$dir/log" >&2
        exit 1
    fi
    sleep 0.05
done

run() {
    title=$1
    shift
    printf '%-34s' "$title"
    # An echo that is lost or wrong fails the run, but not before the other lines.
    $on_last "$bin/echo-load" --seconds "$seconds" --server-pid "$node" "$@" || status=1
}
status=0
tcp=$(address echo-tcp)
udp=$(address echo-udp)
run 'TCP    64 B, 64 connections' "$tcp" --connections 64
run 'TCP 16384 B, 64 connections' "$tcp" --connections 64 --size 16384
run 'TCP    64 B,  1 connection' "$tcp"
run 'UDP    64 B, 16 in flight' "$udp" --transport udp --in-flight 16
run 'UDP    64 B,  1 in flight' "$udp" --transport udp
exit "$status"
