#!/usr/bin/env bash
# Measures how long a sender of small messages waits while others send messages of 10 MB as fast as they can, on each transport.
#
#   benches/fairness.sh [SECONDS]    of each measurement, default 10
#
# The small sender sends 200 messages of 1 KiB a second, due at fixed times, so that a wait shows in all that fall into it. Both
# senders share a core; the bulk sender is the first to go without, so that what is measured is the server rather than the load.
# The target: its P99 is within three times of what it is when it is alone.
#
# Environment: SERVER_CPU, LOAD_CPU (0 and 1), BULK (connections of the bulk sender, 4), RUN_WITH (a command before server and small
# sender, such as "chrt -f 10"), PRIXFIXE (a binary in place of the one built here). Needs taskset, python3 and bash.
set -euo pipefail

cd "$(dirname "$0")/.."
source benches/support.sh
seconds=${1:-10}

small() {
    load -s 1KiB --rate 200 -c 20 -d "${seconds}s" --json "$work/$1.json" "$address" >/dev/null || true
}

echo "$seconds s each. $(machine)."
echo
echo "| transport | beside it | P50 | P99 | P99.9 | failed | MB/s of bulk | P99 against quiet | target |"
echo "|---|---|---:|---:|---:|---:|---:|---:|---|"
for transport in tokio raw; do
    serve --transport "$transport" --listen "$address" --deliver discard:
    small quiet
    nice -n 19 taskset -c "$load_cpu" "$prixfixe" bench -s 10MB -c "${BULK:-4}" --pipelining full -d "$((seconds + 2))s" \
        --timeout 60s --json "$work/bulk.json" "$address" >/dev/null &
    bulk=$!
    sleep 1
    small beside
    wait "$bulk" || true
    stop_server
    python3 - "$work" "$transport" <<'PYTHON'
import json, sys

work, transport = sys.argv[1:]
quiet, beside, bulk = (json.load(open(f"{work}/{name}.json"))["runs"][0] for name in ("quiet", "beside", "bulk"))
for latency in (run["latency"]["message"] for run in (quiet, beside)):
    # A percentile without messages for it is null; the longest is not less.
    latency.update({key: latency[key] or latency["max"] for key in ("p50", "p99", "p99_9")})
row = {
    "transport": transport,
    "quiet_p99_ms": quiet["latency"]["message"]["p99"] / 1000,
    "beside_p99_ms": beside["latency"]["message"]["p99"] / 1000,
    "bulk_mb_s": bulk["messages"]["accepted"] * 10 / bulk["seconds"],
    "failed": sum(run["messages"]["failed"] for run in (quiet, beside, bulk)),
}
row["times"] = row["beside_p99_ms"] / row["quiet_p99_ms"]
row["met"] = row["times"] <= 3 and row["failed"] == 0
against = f"{row['times']:.2f} times | {'met' if row['met'] else 'missed'}"
for name, run, rest in (("nothing", quiet, " | |"), ("10 MB messages", beside, f"{row['bulk_mb_s']:.0f} | {against}")):
    latency = " | ".join(f"{run['latency']['message'][key] / 1000:.2f} ms" for key in ("p50", "p99", "p99_9"))
    print(f"| {transport} | {name} | {latency} | {run['messages']['failed']} | {rest} |")
with open(f"{work}/truth", "a") as file:
    print(f"<!-- {json.dumps(row)} -->", file=file)
PYTHON
done
echo
cat "$work/truth"
