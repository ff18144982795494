#!/usr/bin/env bash
# Measures handshakes that succeed beside a flood of replayed ClientHellos whose senders have gone, on each transport.
#
#   benches/flood.sh
#
# Two processes send a ClientHello each time and close, PER_SECOND times per second together. One client beside them makes a full
# handshake, reads the greeting and closes, again and again. They share a core, and the flood is the first to go without, so that
# what is measured is the server rather than the load. The target: more than half of what the client does alone, and none fails.
#
# Environment: SERVER_CPU, LOAD_CPU (0 and 1), PER_SECOND (20000), SECONDS_EACH (5), RUNS (3), RUN_WITH (a command before server and
# client, such as "chrt -f 10"), FLOOD_WITH (one before the flood, "nice -n 19"), PRIXFIXE and FLOOD (binaries in place of those built
# here). Needs taskset and bash.
set -euo pipefail

cd "$(dirname "$0")/.."
source benches/support.sh
if [[ -z ${FLOOD:-} ]]; then
    cargo build --quiet --profile dist -p prixfixe-tls --example hello_flood
fi
flood=${FLOOD:-$bin/examples/hello_flood}
each=${SECONDS_EACH:-5} per_second=${PER_SECOND:-20000}
port=3526
listeners=() targets=()
for host in 127.0.0.{1..9}; do
    listeners+=(--listen-tls "$host:$port")
    targets+=("$host:$port")
done

read -ra flood_with <<<"${FLOOD_WITH:-nice -n 19}"
count() {
    "${run_with[@]}" taskset -c "$load_cpu" "$flood" count "$each" "${targets[0]}"
}

echo "${RUNS:-3} runs of $each seconds each; the flood is to be $per_second per second. $(machine)."
echo
echo "| transport | alone | beside the flood | the flood was |"
echo "|---|---|---|---|"
for transport in tokio raw; do
    for ((run = 1; run <= ${RUNS:-3}; run++)); do
        start "$prixfixe" serve --threads 1 --log error --max-connections 2000 --transport "$transport" \
            --listen "$address" "${listeners[@]}" --tls-self-signed --deliver discard:
        alone=$(count)
        for process in 1 2; do
            "${flood_with[@]}" taskset -c "$load_cpu" "$flood" flood $((per_second / 2)) $((each + 1)) "${targets[@]:1}" \
                >"$work/flood.$process" &
            floods[process]=$!
        done
        sleep 0.5
        beside=$(count)
        wait "${floods[@]}"
        stop_server
        echo "| $transport | $alone | $beside | $(cat "$work"/flood.* | paste -sd '+' | sed 's/+/, and /') |"
    done
done
