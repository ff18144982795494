#!/usr/bin/env bash
# Measures what one server can take on this machine and this disk, and prints the tables that a plan of capacity needs.
#
#   benches/capacity.sh            four seconds a point: about six minutes
#   benches/capacity.sh --quick    one second a point: shows that it works, is no measurement
#
# The server has one core and the load another, so that neither takes from the other. Each point has a server of its own, and
# the Maildir ones an empty Maildir. A percentile stands only where there were enough messages for it.
#
# Environment: SERVER_CPU, LOAD_CPU (0 and 1), SECONDS_A_POINT, MAILDIR (a directory on the disk to be measured), RUN_WITH (a
# command before server and load, such as "chrt -f 10"), PRIXFIXE (a binary in place of the one built here). Needs
# taskset, python3, ss and bash.
set -euo pipefail

cd "$(dirname "$0")/.."
seconds=${SECONDS_A_POINT:-4} connections=2000 busy=200
if [[ ${1:-} == --quick ]]; then
    seconds=1 connections=200 busy=50
fi
source benches/support.sh
mail=${MAILDIR:-$work}/prixfixe-capacity
trap 'clean_up; rm -rf "$mail"' EXIT

cat >"$work/row.py" <<'PYTHON'
"""Prints the row of a point: LABEL RESULTS TICKS-OF-THE-SERVER TICKS-A-SECOND PEAK-KIB"""
import json, sys
label, path, ticks, hertz, peak = sys.argv[1:]
run = json.load(open(path))["runs"][0]
accepted, failed = run["messages"]["accepted"], run["messages"]["failed"]
time = lambda us: f"{us:,.0f} µs" if us < 1000 else f"{us / 1e3:,.1f} ms" if us < 1e6 else f"{us / 1e6:,.2f} s"
latency = run["latency"]["message"] or {}
tail = [time(latency[key]) if accepted >= least else "" for key, least in (("p50", 10), ("p99", 200), ("p99_9", 2000))]
busy = int(ticks) / int(hertz)
cost = time(busy / accepted * 1e6) if accepted else ""
rate, octets = run["messages"]["per_second"], run["octets_per_second"] / 1e6
print(f"| `{label}` | {rate:,.0f} | {octets:,.1f} | {' | '.join(tail)} | {100 * busy / run['seconds']:.0f} % | {cost} "
      f"| {int(peak) / 1024:,.0f} MiB | {failed or ''} |")
PYTHON

cat >"$work/hold.py" <<'PYTHON'
"""Holds connections in the middle of a message: ADDRESS COUNT OCTETS. Prints a line when the server has taken all."""
import signal, socket, sys
host, port = sys.argv[1].split(":")
body = (b"x" * 76 + b"\r\n") * (int(sys.argv[3]) // 78)
held = []
for _ in range(int(sys.argv[2])):
    peer = socket.create_connection((host, int(port)))
    replies = peer.makefile("rb")
    replies.readline()
    for command in (b"HELO client", b"MAIL FROM:<ann@example.com>", b"RCPT TO:<bob@example.com>", b"DATA"):
        peer.sendall(command + b"\r\n")
        replies.readline()
    peer.sendall(body)
    held.append((peer, replies))
print("held", flush=True)
signal.pause()
PYTHON

# deliver TARGET [OPTION...]
deliver() { serve --listen "$address" --deliver "$@"; }

status() { awk -v key="$1:" '$1 == key { print $2 }' "/proc/$server/status"; }

head() {
    printf '\n**%s**\n\n`prixfixe serve --deliver %s`; `prixfixe bench -d %ss` and what stands in the row:\n\n' "$1" "$2" "$seconds"
    echo "| load | messages/s | MB/s | P50 | P99 | P99.9 | server CPU | CPU a message | peak RSS | failed |"
    echo "|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|"
}

# point "TARGET [OPTION...]" "LOAD"
point() {
    [[ -t 2 ]] && printf '\r\033[K%s: %s' "$1" "$2" >&2
    deliver ${1/maildir:mail/maildir:$mail}
    local before
    before=$(ticks)
    # A failed message is reported rather than hidden: the table shows it.
    load "$address" $2 -d "${seconds}s" --json "$work/result.json" >/dev/null 2>&1 || true
    local spent=$(($(ticks) - before)) peak
    peak=$(status VmHWM)
    stop_server
    python3 "$work/row.py" "$2" "$work/result.json" "$spent" "$(getconf CLK_TCK)" "$peak"
    # So that what is left to write is not written while the next point is measured.
    if [[ -e $mail ]]; then rm -rf "$mail" && sync -f "${MAILDIR:-$work}"; fi
    [[ -t 2 ]] && printf '\r\033[K' >&2 || true
}

# Half of the rate that the last point had.
half() { python3 -c 'import json, sys; print(round(json.load(open(sys.argv[1]))["runs"][0]["messages"]["per_second"] / 2) or 1)' "$work/result.json"; }

# memory LABEL COUNT COMMAND...: what the server grows by while the command holds COUNT connections.
memory() {
    local label=$1 count=$2 before after=0 holder
    shift 2
    # A few messages, so that what the server makes once is there.
    "$prixfixe" bench "$address" -n 20 -c 1 --per-connection 5 --starttls --tls-insecure >/dev/null 2>&1
    before=$(status VmRSS)
    "$@" >"$work/holder.log" 2>&1 &
    holder=$!
    until [[ $(ss -Htn state established "sport = :${address#*:}" | wc -l) -ge $count ]]; do
        kill -0 "$holder" || { cat "$work/holder.log" >&2; exit 1; }
        sleep 0.2
    done
    # Handshakes and content come after the connection: settled is when nothing grows any more.
    until [[ $(status VmRSS) == "$after" ]]; do
        after=$(status VmRSS)
        sleep 2
    done
    echo "| $label | $(((after - before) * 1024 / count)) bytes each, by $count |"
    kill "$holder" && wait "$holder" 2>/dev/null || true
}

echo "$seconds s a point; server on core $server_cpu, load on core $load_cpu; $(host)," \
    "$(findmnt -nT "${MAILDIR:-$work}" -o FSTYPE) for the Maildir; $("$prixfixe" --version)."

halves=()
for connections_at_once in 50 1 200; do
    head "To a Maildir with fsync, connections: $connections_at_once" maildir:mail
    sizes=(1KiB 10KiB 100KiB 1MiB 10MiB)
    # Two gigabytes at once would measure nothing but the disk's writing.
    if [[ $connections_at_once == 200 ]]; then unset 'sizes[4]'; fi
    for size in "${sizes[@]}"; do
        point maildir:mail "-s $size -c $connections_at_once"
        if [[ $connections_at_once == 50 ]]; then halves+=("-s $size -c 200 --rate $(half)"); fi
    done
done

head "At half of what 50 connections got, in an open loop" maildir:mail
for load in "${halves[@]}"; do point maildir:mail "$load"; done

head "1,000 and 5,000 messages a second, in an open loop" maildir:mail
for load in "-s 1KiB --rate 1000" "-s 10KiB --rate 1000" "-s 1KiB --rate 5000" "-s 10KiB --rate 5000"; do
    point maildir:mail "$load -c 200"
done

head "The same, without a disk" discard:
for load in "-s 1KiB --rate 1000" "-s 1KiB --rate 5000" "-s 10KiB --rate 5000"; do
    point discard: "$load -c 200"
done

head "Without a disk, 50 connections" discard:
for size in 1KiB 10KiB 100KiB 1MiB 10MiB; do point discard: "-s $size -c 50"; done

head "STARTTLS, connections kept" "maildir:mail --tls-self-signed"
for size in 1KiB 10KiB 100KiB 1MiB; do point "maildir:mail --tls-self-signed" "-s $size -c 50 --starttls --tls-insecure"; done

head "A connection a message: connections a second" "discard: --tls-self-signed"
for load in "" "--starttls --tls-insecure" "--starttls --tls-insecure --tls-resume"; do
    point "discard: --tls-self-signed" "-s 1KiB -c 50 --per-connection 1 --source 127.0.0.1-127.0.0.20${load:+ $load}"
done

printf '\n**Memory** (`prixfixe serve --threads 1 --deliver maildir:mail --tls-self-signed`, resident)\n\n| | |\n|---|---:|\n'
deliver "maildir:$mail" --tls-self-signed
echo "| at rest | $(status VmRSS) KiB |"
background=("$prixfixe" bench "$address" -c 1 --rate 1 -d 600s --idle-connections)
memory "an idle connection" "$connections" "${background[@]}" "$connections"
stop_server
deliver "maildir:$mail" --tls-self-signed
memory "an idle connection, STARTTLS" "$connections" "${background[@]}" "$connections" --starttls --tls-insecure
stop_server
for size in 1024 102400 1048576; do
    deliver "maildir:$mail" --tls-self-signed
    memory "a connection with $((size / 1024)) KiB of a message received" "$busy" python3 "$work/hold.py" "$address" "$busy" "$size"
    stop_server
    rm -rf "$mail"
done
