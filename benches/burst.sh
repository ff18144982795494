#!/usr/bin/env bash
# Measures clients that all connect at once, with one message each, on each transport: does one fail, does one wait for long?
#
#   benches/burst.sh [CLIENTS...]    default 50 200 1000
#
# A listen backlog that is too short shows here as a tail of a second or more: the kernel drops the SYN, and the client sends the
# next one a second later. A cell is the worst of its repetitions, but for the median. The target: none fails, none takes a second.
#
# Environment: SERVER_CPU, LOAD_CPU (0 and 1), RUNS (5), RUN_WITH (a command before both, such as "chrt -f 10"),
# PRIXFIXE (a binary in place of the one built here). Needs taskset, python3 and bash.
set -euo pipefail

cd "$(dirname "$0")/.."
source benches/support.sh
(($# > 0)) || set -- 50 200 1000

echo "${RUNS:-5} runs each. $(machine)."
echo
echo "| clients at once | transport | median | P99 | longest | failed | target |"
echo "|---:|---|---:|---:|---:|---:|---|"
for clients in "$@"; do
    for transport in tokio raw; do
        for ((run = 1; run <= ${RUNS:-5}; run++)); do
            serve --transport "$transport" --listen "$address" --deliver discard:
            load -n "$clients" -c "$clients" --per-connection 1 --json "$work/$run.json" "$address" >/dev/null || true
            stop_server
        done
        python3 - "$clients" "$transport" "$work/truth" "$work"/*.json <<'PYTHON'
import json, statistics, sys

clients, transport, truth, *files = sys.argv[1:]
runs = [json.load(open(file))["runs"][0] for file in files]
# A percentile without messages for it is null; the longest is not less.
times = [run["latency"]["message"] for run in runs if run["latency"]["message"]]
row = {
    "clients": int(clients),
    "transport": transport,
    "median_ms": statistics.median(time["p50"] or time["max"] for time in times) / 1000,
    "p99_ms": max(time["p99"] or time["max"] for time in times) / 1000,
    "longest_ms": max(time["max"] for time in times) / 1000,
    "failed": sum(run["messages"]["failed"] for run in runs),
}
row["met"] = row["failed"] == 0 and row["longest_ms"] < 1000
times = " | ".join(f"{row[key]:.1f} ms" for key in ("median_ms", "p99_ms", "longest_ms"))
print(f"| {clients} | {transport} | {times} | {row['failed']} | {'met' if row['met'] else 'missed'} |")
with open(truth, "a") as file:
    print(f"<!-- {json.dumps(row)} -->", file=file)
PYTHON
        rm -f "$work"/*.json
    done
done
echo
cat "$work/truth"
