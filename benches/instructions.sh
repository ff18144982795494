#!/usr/bin/env bash
# Counts the instructions of whole dialogues in memory under callgrind: the same on every machine and under any load,
# but for the instruction set that the standard library chooses at run time. One line a workload, per repetition.
set -euo pipefail

cd "$(dirname "$0")/.."
cargo build --quiet --profile dist -p prixfixe-benches --bin instructions
program=${CARGO_TARGET_DIR:-target}/dist/instructions

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

echo "| dialogue | core | server |"
echo "|---|---:|---:|"
"$program" | while read -r number name; do
    echo "| $name | $(each "$number") | $(each --server "$number") |"
done
