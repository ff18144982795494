#!/usr/bin/env bash
# Watches the server's memory under full load for a while: it has to stay where it is after the first moments.
#
#   benches/soak.sh [MINUTES [TRANSPORT...]]    for each transport; default 10 tokio raw
#
# The load is mixed, so that every path is taken over and over: small messages on lasting connections, a connection a message,
# messages of 100 KiB, and TLS. RSS is sampled every five seconds; the table has the median of each tenth of the time. The target:
# the last tenth is within 5 % of the third, no message fails.
#
# Environment: SERVER_CPU, LOAD_CPU (0 and 1), PRIXFIXE (a binary in place of the one built here). Needs taskset, python3 and bash.
set -euo pipefail

cd "$(dirname "$0")/.."
source benches/support.sh
minutes=${1:-10}
shift || true
(($# > 0)) || set -- tokio raw
tls=127.0.0.1:$((${PORT:-3525} + 1))

soak() {
    local duration=$((minutes * 60))s loads=() kind
    serve --transport "$1" --listen "$address" --listen-tls "$tls" --tls-self-signed --deliver discard:
    for kind in \
        "-s 1KiB -c 20 --pipelining full $address" \
        "-s 1KiB -c 20 --per-connection 1 --source 127.0.0.1-127.0.0.20 $address" \
        "-s 100KiB -c 5 $address" \
        "-s 1KiB -c 20 --tls --tls-insecure --per-connection 100 $tls"; do
        nice taskset -c "$load_cpu" "$prixfixe" bench $kind -d "$duration" --timeout 60s --json "$work/${#loads[@]}.json" >/dev/null &
        loads+=($!)
    done
    : >"$work/rss"
    while kill -0 "${loads[0]}" 2>/dev/null; do
        awk '$1 == "VmRSS:" { print $2 }' "/proc/$server/status" >>"$work/rss"
        sleep 5
    done
    for kind in "${loads[@]}"; do wait "$kind" || true; done
    stop_server
}

echo "$minutes minutes each. $(machine)."
echo
echo "| RSS in KiB | 1st tenth | 2nd | 3rd | 4th | 5th | 6th | 7th | 8th | 9th | 10th | messages | failed | target |"
echo "|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---|"
for transport in "$@"; do
    soak "$transport"
    python3 - "$work" "$transport" "$minutes" <<'PYTHON'
import json, statistics, sys
from pathlib import Path

work, transport, minutes = sys.argv[1:]
samples = [int(line) for line in Path(work, "rss").read_text().split()]
runs = [json.loads(path.read_text())["runs"][0]["messages"] for path in sorted(Path(work).glob("*.json"))]
bounds = [round(tenth * len(samples) / 10) for tenth in range(11)]
parts = [statistics.median(samples[start:end] or samples[-1:]) for start, end in zip(bounds, bounds[1:])]
accepted, failed = (sum(run[key] for run in runs) for key in ("accepted", "failed"))
met = parts[-1] <= 1.05 * parts[2] and failed == 0
cells = [transport, *(f"{part:,.0f}" for part in parts), f"{accepted:,}", failed, "met" if met else "missed"]
print(f"| {' | '.join(map(str, cells))} |")
row = {"transport": transport, "minutes": float(minutes), "rss_kib": samples, "accepted": accepted, "failed": failed, "met": met}
with open(f"{work}/truth", "a") as file:
    print(f"<!-- {json.dumps(row)} -->", file=file)
PYTHON
    rm -f "$work"/*.json
done
echo
cat "$work/truth"
