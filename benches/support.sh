# For the scripts in this directory, which source it: a server on one core, a load on another.
#
# Sets prixfixe, address, work, server_cpu, load_cpu, and cleans up at the end. A line of a report that begins with
# "<!-- {" is for programs: JSON, which Markdown does not show.

server_cpu=${SERVER_CPU:-0} load_cpu=${LOAD_CPU:-1} address=127.0.0.1:${PORT:-3525}
bin=${CARGO_TARGET_DIR:-target}/dist
if [[ -z ${PRIXFIXE:-} ]]; then
    cargo build --quiet --profile dist -p prixfixe-cli
fi
prixfixe=${PRIXFIXE:-$bin/prixfixe}
read -ra run_with <<<"${RUN_WITH:-}"
ulimit -n "$(ulimit -Hn)"
work=$(mktemp -d) server=

stop_server() {
    if [[ -n $server ]]; then
        kill "$server" 2>/dev/null || true
        wait "$server" 2>/dev/null || true
        server=
    fi
}
clean_up() {
    stop_server
    local running
    running=$(jobs -p)
    if [[ -n $running ]]; then kill $running 2>/dev/null || true; fi
    rm -rf "$work"
}
trap clean_up EXIT

# start COMMAND...: starts a server on its core and waits until it accepts connections at the address.
start() {
    "${run_with[@]}" taskset -c "$server_cpu" "$@" >"$work/server.log" 2>&1 &
    server=$!
    for _ in $(seq 200); do
        if (exec 3<>"/dev/tcp/${address%:*}/${address#*:}") 2>/dev/null; then return; fi
        kill -0 "$server" 2>/dev/null || break
        sleep 0.05
    done
    echo "the server did not start: $*" >&2
    cat "$work/server.log" >&2
    exit 1
}

# serve FLAG...: starts PrixFixe, with one thread. It logs warnings alone, unless a flag says another level.
serve() {
    local log=(--log warn)
    [[ " $* " != *" --log "* ]] || log=()
    start "$prixfixe" serve --threads 1 "${log[@]}" --max-connections 5000 --max-message-size 64MiB "$@"
}

# load FLAG...: runs a load on the other core.
load() {
    "${run_with[@]}" taskset -c "$load_cpu" "$prixfixe" bench --timeout 20s "$@"
}

# User and system time of the server so far, in clock ticks. What follows the name in brackets begins with field 3.
ticks() {
    local stat
    stat=$(<"/proc/$server/stat")
    set -- ${stat##*) }
    echo $((${12} + ${13}))
}

# The kernel and the processor.
host() {
    echo "$(uname -sr), $(grep -m1 'model name' /proc/cpuinfo | cut -d: -f2- | xargs)"
}

# What the figures were taken on.
machine() {
    echo "$(host), $(nproc) cores; server on core $server_cpu, load on core $load_cpu; $("$prixfixe" --version)"
}
