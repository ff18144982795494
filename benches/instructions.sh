#!/usr/bin/env bash
# Counts the instructions of whole dialogues in memory under callgrind: the same on every machine and under any load,
# but for the instruction set that the standard library chooses at run time. One line a workload, per repetition.
#
# Then the same of a whole server that receives messages of 1 KiB, without the log and with it: a line is the difference.
# Those counts have the transport in them, and differ by a few percent from run to run.
#
#   benches/instructions.sh          both
#   benches/instructions.sh log      the log alone
#
# Environment: PRIXFIXE (a binary in place of the one built here), PORT (3525). Needs valgrind.
set -euo pipefail

cd "$(dirname "$0")/.."
bin=${CARGO_TARGET_DIR:-target}/dist
program=$bin/instructions

count() {
    valgrind --tool=callgrind --callgrind-out-file=/dev/null "$program" "$@" 2>&1 | awk '/Collected/ { print $4 }'
}

# The difference between two lengths of run leaves out what happens once.
each() {
    local few many
    few=$(count "$@" 100)
    many=$(count "$@" 300)
    echo $(((many - few) / 200))
}

dialogues() {
    cargo build --quiet --profile dist -p prixfixe-benches --bin instructions
    echo "| dialogue | core | server |"
    echo "|---|---:|---:|"
    "$program" | while read -r number name; do
        echo "| $name | $(each "$number") | $(each --server "$number") |"
    done
}

# serve MESSAGES FLAG...: what a server runs that receives so many.
serve() {
    local messages=$1 address=127.0.0.1:${PORT:-3525} server
    shift
    valgrind --tool=callgrind --callgrind-out-file=/dev/null --log-file="$work/counted" "$prixfixe" serve --threads 1 \
        --transport raw --listen "$address" --deliver discard: "$@" >/dev/null 2>&1 &
    server=$!
    until (exec 3<>"/dev/tcp/${address%:*}/${address#*:}") 2>/dev/null; do
        kill -0 "$server" || exit 1
        sleep 0.1
    done
    "$prixfixe" bench -n "$messages" -c 4 -s 1KiB --pipelining full "$address" >/dev/null 2>&1
    kill "$server"
    wait "$server" || true
    awk '/Collected/ { print $4 }' "$work/counted"
}

log_lines() {
    [[ -n ${PRIXFIXE:-} ]] || cargo build --quiet --profile dist -p prixfixe-cli
    prixfixe=${PRIXFIXE:-$bin/prixfixe}
    work=$(mktemp -d)
    trap 'rm -rf "$work"' EXIT
    echo "| a server with | a message |"
    echo "|---|---:|"
    for flags in "--log warn" "--log info" "--log info --log-format json"; do
        few=$(serve 500 $flags)
        many=$(serve 2500 $flags)
        echo "| $flags | $(((many - few) / 2000)) |"
    done
}

if [[ ${1:-} != log ]]; then
    dialogues
    echo
fi
log_lines
