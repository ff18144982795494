#!/usr/bin/env bash
# Measures PrixFixe beside the reference floor and Postfix's smtp-sink, and prints a Markdown table a workload, with the ratio to
# the floor, the target for it, and whether it is met.
#
#   benches/compare.sh            every workload, five runs of five seconds each: about 20 minutes
#   benches/compare.sh --quick    every workload, one run of half a second each: shows that it works, is no measurement
#   benches/compare.sh TEXT...    the workloads whose names contain one of these
#
# The server has one core and the load another, so that neither takes from the other. Within a repetition the servers take
# turns, and a ratio is the median of those within repetitions: whatever else the machine does meanwhile falls on all of them.
# Where the load has no more to give, the rates are alike and "server busy" is below 100 %: then the server's processor time a
# message tells more than the rate.
#
# Environment: SERVER_CPU, LOAD_CPU (0 and 1), SECONDS_A_RUN, RUNS, MAILDIR (a directory on the disk to be measured),
# RUN_WITH (a command before server and load, such as "chrt -f 10"), RESULTS (a directory that keeps the JSON of every run),
# PRIXFIXE, FLOOR, FSYNC_LOOP (binaries in place of those built here; the last is prixfixe-delivery's bench "maildir").
# Needs taskset, python3 and bash; smtp-sink is left out where there is none.
set -euo pipefail

cd "$(dirname "$0")/.."
seconds=${SECONDS_A_RUN:-5} runs=${RUNS:-5}
if [[ ${1:-} == --quick ]]; then
    seconds=0.5 runs=1
    shift
fi
source benches/support.sh
if [[ -z ${FLOOR:-} ]]; then
    cargo build --quiet --profile dist -p prixfixe-benches --bin floor
fi
floor=${FLOOR:-$bin/floor}

# Name | servers, the first of which is the floor | targets: ratio to the floor, ratio to smtp-sink, P99.9 in the floor's | the load
rows=(
    "1 KiB, 20 connections, pipelined|floor tokio raw smtp-sink|0.80 1.4 -|-s 1KiB -c 20 --pipelining full"
    "1 KiB, 20 connections, pipelined, 10 recipients|floor tokio raw smtp-sink|0.60 1.4 -|-s 1KiB -c 20 -r 10 --pipelining full"
    "1 KiB, 20 connections, pipelined, with the default log|floor tokio-log raw-log tokio-json raw-json|0.75 - -|-s 1KiB -c 20 --pipelining full"
    "1 KiB, 20 connections, not pipelined|floor tokio raw smtp-sink|0.85 1.4 -|-s 1KiB -c 20 --pipelining off"
    "1 KiB, 1,000 connections, pipelined|floor tokio raw smtp-sink|0.75 - 2|-s 1KiB -c 1000 --pipelining full"
    "1 KiB, a connection a message, 20 at once|floor tokio raw smtp-sink|0.80 - -|-s 1KiB -c 20 --per-connection 1 --pipelining full --source 127.0.0.1-127.0.0.20"
    "1 KiB, a connection a message, 200 at once|floor tokio raw smtp-sink|0.80 - -|-s 1KiB -c 200 --per-connection 1 --pipelining full --source 127.0.0.1-127.0.0.20"
    "100 KiB, 20 connections, pipelined|floor tokio raw smtp-sink|0.50 - -|-s 100KiB -c 20 --pipelining full"
    "10 MiB, 20 connections, pipelined|floor tokio raw smtp-sink|0.50 - -|-s 10MiB -c 20 --pipelining full"
    "100 KiB by BDAT, 20 connections|floor tokio raw|0.60 - -|-s 100KiB -c 20 --bdat --pipelining full"
    "1 KiB over TLS, 20 lasting connections|floor-tls tokio-tls raw-tls|0.70 - -|-s 1KiB -c 20 --tls --tls-insecure --pipelining full"
    "1 KiB to a Maildir with fsync, 50 connections|fsync-loop tokio-maildir raw-maildir|0.90 - -|-s 1KiB -c 50 --pipelining full"
)

results=${RESULTS:-$work/results}
mail=$(mktemp -d "${MAILDIR:-$work}/prixfixe-compare.XXXXXX")
trap 'clean_up; rm -rf "$mail"' EXIT
mkdir -p "$results"

start_as() {
    case $1 in
    floor) start "$floor" --listen "$address" ;;
    floor-tls) start "$floor" --listen "$address" --mode tls ;;
    # Postfix wants another user in place of root, and none in place of anybody else.
    smtp-sink) start smtp-sink $([[ $EUID == 0 ]] && echo "-u ${SINK_USER:-nobody}") -m 5000 "$address" 4096 ;;
    *-tls) serve --transport "${1%-tls}" --listen 127.0.0.1:0 --listen-tls "$address" --tls-self-signed --deliver discard: ;;
    *-maildir) serve --transport "${1%-maildir}" --listen "$address" --deliver "maildir:$mail/mail" ;;
    *-log) serve --log info --transport "${1%-log}" --listen "$address" --deliver discard: ;;
    *-json) serve --log info --log-format json --transport "${1%-json}" --listen "$address" --deliver discard: ;;
    *) serve --transport "$1" --listen "$address" --deliver discard: ;;
    esac
}

# The plain loop, sixteen threads on the server's core: the first of the figures of the only round.
fsync_loop() {
    local command=("${FSYNC_LOOP:-}")
    [[ -n ${FSYNC_LOOP:-} ]] || command=(cargo bench --quiet -p prixfixe-delivery --bench maildir --)
    taskset -c "$server_cpu" "${command[@]}" "$mail" 1 "$seconds" |
        awk 'NF == 3 && $3 ~ /^[0-9.]+$/ && !done { print "{\"rate\": " $1 "}"; done = 1 }' >"$1" ||
        echo "compare.sh: the plain loop failed: ${command[*]}" >&2
}

# measure SERVER LOAD FILE
measure() {
    if [[ $1 == fsync-loop ]]; then
        fsync_loop "$3"
        return
    fi
    start_as "$1"
    local before
    before=$(ticks)
    # A failed message is reported rather than hidden: the table shows it.
    load $2 -d "${seconds}s" --json "$3" "$address" >/dev/null 2>"$work/load.log" || cat "$work/load.log" >&2
    echo $(($(ticks) - before)) >"${3%.json}.ticks"
    stop_server
    rm -rf "$mail/mail"
}

number=0
for row in "${rows[@]}"; do
    IFS='|' read -r name servers targets load <<<"$row"
    if (($# > 0)); then
        wanted=
        for text in "$@"; do [[ $name == *"$text"* ]] && wanted=1; done
        [[ -n $wanted ]] || continue
    fi
    number=$((number + 1))
    directory=$results/$(printf %02d "$number")
    mkdir -p "$directory"
    printf '%s\n' "$name" "$servers" "$targets" >"$directory/row"
    for ((run = 1; run <= runs; run++)); do
        for one in $servers; do
            if [[ $one == smtp-sink ]] && ! command -v smtp-sink >/dev/null; then continue; fi
            [[ -t 2 ]] && printf '\r\033[K%s, %s of %s: %s' "$name" "$run" "$runs" "$one" >&2
            measure "$one" "$load" "$directory/$one.$run.json"
        done
    done
done
[[ -t 2 ]] && printf '\r\033[K' >&2

echo "Medians of $runs runs of $seconds s. $(machine)."
python3 benches/compare.py "$results" "$(getconf CLK_TCK)"
