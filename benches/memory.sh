#!/usr/bin/env bash
# Measures what connections and large messages cost the server in memory, on each transport.
#
#   benches/memory.sh [CONNECTIONS]    idle connections, plain and over TLS (default 9000), then one message of 200 MB to a Maildir
#
# An idle connection has been greeted and says nothing more. Its cost is the growth of the server's anonymous resident memory
# (RssAnon), divided by their number; the kernel's socket buffers are not in it. Server and client each need a descriptor a connection.
# Environment: PRIXFIXE (a binary in place of the one built here). Needs bash, curl, python3 and ss.
set -euo pipefail

cd "$(dirname "$0")/.."
connections=${1:-9000}
if [[ -z ${PRIXFIXE:-} ]]; then
    cargo build --quiet --profile dist -p prixfixe-cli
fi
prixfixe=$(realpath "${PRIXFIXE:-${CARGO_TARGET_DIR:-target}/dist/prixfixe}")
ulimit -n "$(ulimit -Hn)"
work=$(mktemp -d) server= load=
trap 'kill $load $server 2>/dev/null || true; rm -rf "$work"' EXIT
port=3625

serve() {
    "$prixfixe" serve --log warn --threads 1 --max-connections 100000 --max-message-size 300MB "$@" >"$work/log" 2>&1 &
    server=$!
    until ss -Hltn "sport = :$port" | grep -q .; do
        kill -0 "$server" || { cat "$work/log" >&2; exit 1; }
        sleep 0.1
    done
}

stop() { kill "$1" && wait "$1" || true; }

status() { awk -v key="$1:" '$1 == key { print $2 }' "/proc/$server/status"; }

# $1 transport, $2 plain or tls
idle() {
    local listen=(--listen "127.0.0.1:$port") client=() before after
    if [[ $2 == tls ]]; then
        listen=(--listen 127.0.0.1:0 --listen-tls "127.0.0.1:$port" --tls-self-signed)
        client=(--tls --tls-insecure)
    fi
    serve --transport "$1" --deliver discard: "${listen[@]}"
    "$prixfixe" bench "127.0.0.1:$port" -c 1 -n 1 "${client[@]}" >/dev/null 2>&1
    before=$(status RssAnon)
    "$prixfixe" bench "127.0.0.1:$port" -c 1 --rate 1 -d 600s --idle-connections "$connections" "${client[@]}" >"$work/load" 2>&1 &
    load=$!
    until [[ $(ss -Htn state established "sport = :$port" | wc -l) -ge $connections ]]; do
        kill -0 "$load" || { cat "$work/load" >&2; exit 1; }
        sleep 0.5
    done
    # Handshakes go on after the connection is there: settled is when nothing grows any more.
    after=0
    until [[ $(status RssAnon) == "$after" ]]; do
        after=$(status RssAnon)
        sleep 2
    done
    echo "| idle, $2 | $1 | $connections connections | $(((after - before) * 1024 / connections)) bytes each |"
    kill "$load" && wait "$load" || true
    stop "$server"
}

large() {
    serve --transport "$1" --deliver "maildir:$work/mail-$1" --listen "127.0.0.1:$port"
    curl --silent --show-error "smtp://127.0.0.1:$port" --mail-from a@example.com --mail-rcpt b@example.com --upload-file "$work/large"
    echo "| 200 MB to a Maildir | $1 | peak of the process | $(status VmHWM) KiB |"
    stop "$server"
}

for transport in tokio raw; do
    idle "$transport" plain
    idle "$transport" tls
done
python3 -c 'import sys; sys.stdout.buffer.write((b"x" * 70 + b"\r\n") * 2_800_000)' >"$work/large"
large tokio
large raw
