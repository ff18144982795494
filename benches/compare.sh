#!/usr/bin/env bash
# Measures PrixFixe beside the reference floor and Postfix's smtp-sink, and prints ratios as Markdown tables.
#
#   benches/compare.sh            every row, five runs of five seconds each: about 20 minutes
#   benches/compare.sh --quick    every row, one run of half a second each: shows that it works, is no measurement
#   benches/compare.sh TEXT...    the rows whose names contain one of these
#
# The server has one core and the load another, so that neither takes from the other. Within a repetition the servers take
# turns: whatever else the machine does meanwhile falls on all of them. A cell is the median of its repetitions. Where the
# load is what has no more to give (a connection costs its client more than its server), the rates are alike and the
# server's processor time a message is what tells.
#
# Environment: SERVER_CPU, LOAD_CPU (0 and 1), SECONDS_A_RUN, RUNS, MAILDIR (a directory on the disk to be measured),
# PRIXFIXE, FLOOR (binaries in place of those built here), RESULTS (a directory that keeps the JSON of every run).
# Needs taskset, python3 and bash; smtp-sink is left out where there is none.
set -euo pipefail

cd "$(dirname "$0")/.."
seconds=${SECONDS_A_RUN:-5} runs=${RUNS:-5}
if [[ ${1:-} == --quick ]]; then
    seconds=0.5 runs=1
    shift
fi
server_cpu=${SERVER_CPU:-0} load_cpu=${LOAD_CPU:-1} address=127.0.0.1:${PORT:-3525}
bin=${CARGO_TARGET_DIR:-target}/release
if [[ -z ${PRIXFIXE:-} || -z ${FLOOR:-} ]]; then
    cargo build --quiet --release -p prixfixe-cli -p prixfixe-benches
fi
prixfixe=${PRIXFIXE:-$bin/prixfixe} floor=${FLOOR:-$bin/floor}
ulimit -n "$(ulimit -Hn)"

# Name | servers, the first of which the others are read against | the load
rows=(
    "1 KiB, pipelined|floor tokio raw smtp-sink|-s 1KiB -c 20 --pipelining full"
    "1 KiB, 10 recipients, pipelined|floor tokio raw smtp-sink|-s 1KiB -c 20 -r 10 --pipelining full"
    "1 KiB, not pipelined|floor tokio raw smtp-sink|-s 1KiB -c 20 --pipelining off"
    "1 KiB, 1000 connections, pipelined|floor tokio raw smtp-sink|-s 1KiB -c 1000 --pipelining full"
    "1 KiB, a connection a message, 20 at once|floor tokio raw smtp-sink|-s 1KiB -c 20 --per-connection 1 --pipelining full --source 127.0.0.1-127.0.0.20"
    "1 KiB, a connection a message, 200 at once|floor tokio raw smtp-sink|-s 1KiB -c 200 --per-connection 1 --pipelining full --source 127.0.0.1-127.0.0.20"
    "100 KiB, pipelined|floor tokio raw smtp-sink|-s 100KiB -c 20 --pipelining full"
    "10 MiB, pipelined|floor tokio raw smtp-sink|-s 10MiB -c 20 --pipelining full"
    "100 KiB by BDAT|floor tokio raw|-s 100KiB -c 20 --bdat --pipelining full"
    "1 KiB over TLS, persistent|floor-tls tokio-tls raw-tls|-s 1KiB -c 20 --tls --tls-insecure --pipelining full"
    "1 KiB to Maildir with fsync, 50 connections|fsync-loop tokio-maildir raw-maildir|-s 1KiB -c 50 --pipelining full"
)

work=$(mktemp -d)
results=${RESULTS:-$work/results}
mail=${MAILDIR:-$work}/prixfixe-compare
server=
stop() {
    if [[ -n $server ]]; then
        kill "$server" 2>/dev/null || true
        wait "$server" 2>/dev/null || true
        server=
    fi
}
trap 'stop; rm -rf "$work" "$mail"' EXIT
mkdir -p "$results"

# The command that serves, in the array `command`.
command_of() {
    local serve=("$prixfixe" serve --threads 1 --log warn --max-connections 5000 --max-message-size 64MiB)
    case $1 in
    floor) command=("$floor" --listen "$address") ;;
    floor-tls) command=("$floor" --listen "$address" --mode tls) ;;
    # Postfix wants another user in place of root, and none in place of anybody else.
    smtp-sink) command=(smtp-sink $([[ $EUID == 0 ]] && echo "-u ${SINK_USER:-nobody}") -m 5000 "$address" 4096) ;;
    *-tls) command=("${serve[@]}" --transport "${1%-tls}" --listen 127.0.0.1:0 --listen-tls "$address"
        --tls-self-signed --deliver discard:) ;;
    *-maildir) command=("${serve[@]}" --transport "${1%-maildir}" --listen "$address" --deliver "maildir:$mail") ;;
    *) command=("${serve[@]}" --transport "$1" --listen "$address" --deliver discard:) ;;
    esac
}

start() {
    command_of "$1"
    taskset -c "$server_cpu" "${command[@]}" >"$work/server.log" 2>&1 &
    server=$!
    for _ in $(seq 100); do
        if (exec 3<>"/dev/tcp/${address%:*}/${address#*:}") 2>/dev/null; then
            return
        fi
        kill -0 "$server" 2>/dev/null || break
        sleep 0.05
    done
    echo "compare.sh: $1 did not start: ${command[*]}" >&2
    cat "$work/server.log" >&2
    exit 1
}

# User and system time of the server so far, in clock ticks. What follows the name in brackets begins with field 3.
ticks() {
    local stat
    stat=$(<"/proc/$server/stat")
    set -- ${stat##*) }
    echo $((${12} + ${13}))
}

# measure SERVER LOAD FILE
measure() {
    if [[ $1 == fsync-loop ]]; then
        mkdir -p "$mail"
        # The delivery crate's benchmark has the loop; the first of the three figures of its only round is the loop's rate.
        taskset -c "$server_cpu" cargo bench --quiet -p prixfixe-delivery --bench maildir -- "$mail" 1 "$seconds" |
            awk 'NF == 3 && $3 ~ /^[0-9.]+$/ { print "{\"rate\": " $1 "}"; exit }' >"$3" || true
        return
    fi
    start "$1"
    local before
    before=$(ticks)
    # A failed message is reported rather than hidden: the table shows it.
    taskset -c "$load_cpu" "$prixfixe" bench $2 -d "${seconds}s" --timeout 20s --json "$3" "$address" >/dev/null || true
    echo $(($(ticks) - before)) >"${3%.json}.ticks"
    stop
    rm -rf "$mail"
}

number=0
for row in "${rows[@]}"; do
    IFS='|' read -r name servers load <<<"$row"
    if (($# > 0)); then
        wanted=
        for text in "$@"; do [[ $name == *"$text"* ]] && wanted=1; done
        [[ -n $wanted ]] || continue
    fi
    number=$((number + 1))
    directory=$results/$(printf %02d "$number")
    mkdir -p "$directory"
    printf '%s\n%s\n' "$name" "$servers" >"$directory/row"
    for ((run = 1; run <= runs; run++)); do
        for one in $servers; do
            if [[ $one == smtp-sink ]] && ! command -v smtp-sink >/dev/null; then continue; fi
            [[ -t 2 ]] && printf '\r\033[K%s, %s of %s: %s' "$name" "$run" "$runs" "$one" >&2
            measure "$one" "$load" "$directory/$one.$run.json"
        done
    done
done
[[ -t 2 ]] && printf '\r\033[K' >&2

echo "Medians of $runs runs of $seconds s; server on core $server_cpu, load on core $load_cpu;" \
    "$(uname -sr), $(grep -m1 'model name' /proc/cpuinfo | cut -d: -f2- | xargs)."
python3 - "$results" "$(getconf CLK_TCK)" <<'PYTHON'
import json, statistics, sys
from pathlib import Path

def load(path):
    """Messages a second, P99.9 and server time a message in microseconds, failures; None where nothing was measured."""
    try:
        report = json.loads(path.read_text())
    except (OSError, ValueError):
        return None
    if "rate" in report:
        return report["rate"], None, None, 0
    run = report["runs"][0]
    message = run["latency"]["message"]
    if not message:
        return None
    ticks = int(path.with_suffix(".ticks").read_text())
    cost = ticks / int(sys.argv[2]) * 1e6 / run["messages"]["accepted"]
    return run["messages"]["per_second"], message["p99_9"], cost, run["messages"]["failed"]

for directory in sorted(Path(sys.argv[1]).iterdir()):
    name, servers = (directory / "row").read_text().splitlines()
    measured = {}
    for server in servers.split():
        runs = [run for run in map(load, sorted(directory.glob(f"{server}.*.json"))) if run]
        if runs:
            rates, tails, costs, failed = zip(*runs)
            middle = lambda values: None if None in values else statistics.median(values)
            measured[server] = middle(rates), min(rates), max(rates), middle(tails), middle(costs), sum(failed)
    base = measured.get(servers.split()[0])
    sink = measured.get("smtp-sink")
    print(f"\n**{name}**\n\n| | messages/s | least to most | of the floor | of smtp-sink | P99.9 | server time | failed |")
    print("|---|---:|---:|---:|---:|---:|---:|---:|")
    for server in servers.split():
        if server not in measured:
            print(f"| {server} | - | | | | | | |")
            continue
        rate, least, most, tail, cost, failed = measured[server]
        of = lambda other: f"{rate / other[0]:.2f}" if other and other[0] else ""
        tail = f"{tail / 1000:.2f} ms" if tail else ""
        cost = f"{cost:,.2f} µs" if cost else ""
        spread = f"{least:,.0f} to {most:,.0f}"
        print(f"| {server} | {rate:,.0f} | {spread} | {of(base)} | {of(sink)} | {tail} | {cost} | {failed} |")
PYTHON
