#!/usr/bin/env bash
# Counts the instructions of whole dialogues in memory under callgrind: the same on every machine and under any load,
# but for the instruction set that the standard library chooses at run time. One line a workload, per repetition.
set -euo pipefail

cd "$(dirname "$0")/.."
cargo build --quiet --release -p prixfixe-benches --bin instructions
program=${CARGO_TARGET_DIR:-target}/release/instructions

count() {
    valgrind --tool=callgrind --callgrind-out-file=/dev/null "$program" "$@" 2>&1 | awk '/Collected/ { print $4 }'
}

echo "| dialogue | instructions |"
echo "|---|---:|"
"$program" | while read -r number name; do
    # The difference between two lengths of run leaves out what happens once.
    few=$(count "$number" 100)
    many=$(count "$number" 300)
    echo "| $name | $(((many - few) / 200)) |"
done
