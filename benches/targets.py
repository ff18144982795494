#!/usr/bin/env python3
"""What a message costs on its way to each kind of target.

    benches/targets.py PRIXFIXE [TARGET...]

PRIXFIXE is a build of prixfixe. Without names all targets are measured, as far as their programs are there. Prints Markdown.
Takes six minutes, and needs Linux and Python 3; `nats` needs nats-server.

For each target, of a server with one thread and messages of 1 KiB over 20 connections:

- our own processor time for a message, the median of the rounds, and how many times that of discard: it is
- the rate, with all programs of the measurement on this machine

`alone` is the rate at which the target itself takes the same messages: from the same load, for pipe: from Python, or from a
bare client of the same library (BARE, a build of `cargo bench -p prixfixe-delivery --bench bare --no-run`). Its processor time
is that client's. An object of s3: is one request of that client, and a message is two objects.

MESSAGES (20,000) and ROUNDS (3) in the environment say how many. With `latency` among the names: what LMTP adds to a delivery
at 1,000 messages per second, the best of five runs of RUN_SECONDS (10).
"""

import concurrent.futures
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time

MESSAGES = int(os.environ.get("MESSAGES", "20000"))
ROUNDS = int(os.environ.get("ROUNDS", "3"))
RUN_SECONDS = os.environ.get("RUN_SECONDS", "10")
BARE = os.environ.get("BARE")
NAMES = ["discard", "maildir", "lmtp", "smtp", "webhook-raw", "webhook-json", "pipe", "s3", "nats", "latency"]
# Nobody but this machine is served, so a next hop may be reached without more.
ACCEPT = "accept.domains = ['example.com']\nlog.level = 'info'\n"


def cpu(process):
    fields = open(f"/proc/{process.pid}/stat").read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as free:
        return free.getsockname()[1]


def wait_for(port):
    for _ in range(200):
        try:
            return socket.create_connection(("127.0.0.1", port)).close()
        except OSError:
            time.sleep(0.05)
    sys.exit(f"nothing listens on port {port}")


class Bench:
    def __init__(self, program, folder):
        self.program = os.path.abspath(program)
        self.folder = folder
        self.running = []

    def start(self, command):
        log = open(f"{self.folder}/{len(self.running)}.log", "w")
        process = subprocess.Popen(command, cwd=self.folder, stdout=log, stderr=log)
        self.running.append(process)
        return process

    def serve(self, configuration, listen="--listen"):
        """A server. Its process, and its port."""
        port = free_port()
        path = f"{self.folder}/{port}.toml"
        with open(path, "w") as file:
            file.write(configuration)
        command = [self.program, "serve", "--config", path, "--threads", "1", listen, f"127.0.0.1:{port}"]
        if listen != "--listen":
            # Else it wants the port of the default listener too.
            command += ["--listen", "127.0.0.1:0"]
        process = self.start(command)
        wait_for(port)
        return process, port

    def load(self, port, messages=MESSAGES, *more):
        """Messages per second."""
        path = f"{self.folder}/load.json"
        command = [self.program, "bench", "-n", str(messages), "-c", "20", "--json", path, *more, f"127.0.0.1:{port}"]
        subprocess.run(command, cwd=self.folder, check=True, stdout=subprocess.DEVNULL)
        return json.load(open(path))

    def stop(self):
        for process in self.running:
            process.kill()
            process.wait()
        self.running.clear()


def rate_of(report):
    run = report["runs"][0]
    return run["messages"]["per_second"]


def through(bench, target):
    """Processor time of a message in microseconds, and messages per second, through a server with this target."""
    process, port = bench.serve(ACCEPT + target)
    bench.load(port, 1000)
    taken, rates = [], []
    for _ in range(ROUNDS):
        before = cpu(process)
        rates.append(rate_of(bench.load(port)))
        taken.append((cpu(process) - before) / MESSAGES * 1e6)
    return statistics.median(taken), statistics.median(rates)


def alone(bench, port, *more):
    return statistics.median(rate_of(bench.load(port, MESSAGES, *more)) for _ in range(ROUNDS))


def bare(*arguments):
    """The same of a bare client, which prints both."""
    if not BARE:
        return None
    results = []
    for _ in range(ROUNDS):
        done = subprocess.run([BARE, *map(str, arguments), str(MESSAGES)], check=True, capture_output=True, text=True)
        results.append([float(word) for word in done.stdout.split()])
    return tuple(statistics.median(column) for column in zip(*results))


def programs_alone():
    """Programs that are started each second, and given a message, 20 at a time."""
    content, start = b"x" * 1024, time.monotonic()

    def run(_):
        subprocess.run(["/bin/cat"], input=content, stdout=subprocess.DEVNULL, check=True)

    with concurrent.futures.ThreadPoolExecutor(20) as pool:
        list(pool.map(run, range(MESSAGES)))
    return MESSAGES / (time.monotonic() - start)


def http_sink():
    """Says 200 to whatever comes, 404 to HEAD. Its port."""
    listener = socket.create_server(("127.0.0.1", 0), backlog=128)

    def serve(stream):
        with stream:
            buffer = b""
            while True:
                while b"\r\n\r\n" not in buffer:
                    piece = stream.recv(1 << 16)
                    if not piece:
                        return
                    buffer += piece
                head, buffer = buffer.split(b"\r\n\r\n", 1)
                length = 0
                for line in head.lower().split(b"\r\n"):
                    if line.startswith(b"content-length:"):
                        length = int(line[15:])
                while len(buffer) < length:
                    buffer += stream.recv(1 << 16)
                buffer = buffer[length:]
                status = b"404 Not Found" if head.startswith(b"HEAD ") else b"200 OK"
                stream.sendall(b"HTTP/1.1 " + status + b"\r\nContent-Length: 0\r\n\r\n")

    def accept():
        while True:
            stream, _ = listener.accept()
            stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            threading.Thread(target=serve, args=(stream,), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    return listener.getsockname()[1]


def stream_of(bench):
    """A server of NATS with a stream. Its port."""
    port = free_port()
    bench.start(["nats-server", "-a", "127.0.0.1", "-p", str(port), "-js", "-sd", f"{bench.folder}/js"])
    wait_for(port)
    stream = {"name": "MAIL", "subjects": ["mail.>"], "storage": "file", "num_replicas": 1, "retention": "limits",
              "max_consumers": -1, "max_msgs": -1, "max_bytes": -1, "discard": "new", "duplicate_window": 3600 * 10**9}
    bucket = stream | {"name": "OBJ_prixfixe", "subjects": ["$O.prixfixe.C.>", "$O.prixfixe.M.>"], "allow_rollup_hdrs": True}
    with socket.create_connection(("127.0.0.1", port)) as server, server.makefile("rb") as lines:
        server.sendall(b'CONNECT {"verbose":false}\r\nSUB answers 1\r\n')
        for each in (stream, bucket):
            request = json.dumps(each).encode()
            server.sendall(b"PUB $JS.API.STREAM.CREATE.%s answers %d\r\n%s\r\n" % (each["name"].encode(), len(request), request))
            for line in lines:
                if line.startswith(b"MSG"):
                    answer = lines.readline()
                    assert b'"error"' not in answer, answer
                    break
    return port


def measure(bench, name):
    """Ours, and the target alone."""
    sink = "delivery.target = 'discard:'\nlog.level = 'warn'\n"
    if name == "discard":
        return through(bench, "delivery.target = 'discard:'\n"), None
    if name == "maildir":
        return through(bench, f"delivery.target = 'maildir:{bench.folder}/mail'\n"), None
    if name in ("lmtp", "smtp"):
        _, port = bench.serve(sink, "--listen-lmtp" if name == "lmtp" else "--listen")
        table = f"delivery.target = 'hop'\n[[target]]\nname = 'hop'\nurl = '{name}:127.0.0.1:{port}'\ntls = 'off'\nconcurrency = 20\n"
        more = ["--lmtp"] if name == "lmtp" else []
        return through(bench, table), (None, alone(bench, port, *more))
    if name.startswith("webhook"):
        port, form = http_sink(), name.split("-")[1]
        table = f"delivery.target = 'hook'\n[[target]]\nname = 'hook'\nurl = 'http://127.0.0.1:{port}/'\nformat = '{form}'\nconcurrency = 20\n"
        return through(bench, table), bare("http", f"http://127.0.0.1:{port}/")
    if name == "pipe":
        table = "delivery.target = 'out'\n[[target]]\nname = 'out'\nurl = 'pipe:/bin/cat'\nconcurrency = 20\n"
        return through(bench, table), (None, programs_alone())
    if name == "s3":
        port = http_sink()
        os.environ |= {"AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret"}
        table = f"delivery.target = 's3'\n[[target]]\nname = 's3'\nurl = 's3://mail'\nendpoint = 'http://127.0.0.1:{port}'\nconcurrency = 20\n"
        return through(bench, table), bare("http", f"http://127.0.0.1:{port}/")
    if name == "nats":
        port = stream_of(bench)
        table = f"delivery.target = 'bus'\n[[target]]\nname = 'bus'\nurl = 'nats://127.0.0.1:{port}/mail'\nmin-replicas = 1\nconcurrency = 20\n"
        return through(bench, table), bare("nats", f"127.0.0.1:{port}", "mail.com.example")
    sys.exit(f"{name} is none of {', '.join(NAMES)}")


def latency(bench):
    """P99 of a delivery by LMTP, in milliseconds: through a server of ours, and without it."""
    _, sink = bench.serve("delivery.target = 'discard:'\nlog.level = 'warn'\n", "--listen-lmtp")
    table = f"delivery.target = 'hop'\n[[target]]\nname = 'hop'\nurl = 'lmtp:127.0.0.1:{sink}'\nconcurrency = 20\n"
    _, ours = bench.serve(ACCEPT + table, "--listen-lmtp")

    def p99(port):
        report = bench.load(port, 1, "--lmtp") and run(port)
        return report["runs"][0]["latency"]["message"]["p99"] / 1000

    def run(port):
        path = f"{bench.folder}/latency.json"
        command = [bench.program, "bench", "--lmtp", "--rate", "1000", "-d", f"{RUN_SECONDS}s", "-c", "20", "--json", path,
                   f"127.0.0.1:{port}"]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        return json.load(open(path))

    pairs = [(p99(ours), p99(sink)) for _ in range(5)]
    best = min(pairs, key=lambda pair: pair[0] - pair[1])
    return *best, pairs


def main(program, *names):
    names = names or NAMES
    unknown = [name for name in names if name not in NAMES]
    if unknown:
        sys.exit(f"{unknown[0]} is none of: {', '.join(NAMES)}")
    print(f"{MESSAGES} messages, {ROUNDS} rounds, load average {os.getloadavg()[0]:.1f}\n")
    print("| target | processor time of a message | of discard: | messages per second | alone |\n|---|---:|---:|---:|---:|")
    discard = None
    for name in names:
        if name == "latency":
            continue
        with tempfile.TemporaryDirectory() as folder:
            bench = Bench(program, folder)
            try:
                (ours, rate), other = measure(bench, name)
            except FileNotFoundError as missing:
                print(f"| {name} | {missing} | | | |")
                continue
            finally:
                bench.stop()
        discard = ours if name == "discard" else discard
        times = f"{ours / discard:.2f}" if discard else ""
        beside = ""
        if other and other[0]:
            both = f", {ours / (discard + other[0]):.2f} of both" if discard else ""
            beside = f"{other[1]:,.0f}, {other[0]:.1f} us{both}"
        elif other:
            beside = f"{other[1]:,.0f}"
        print(f"| {name} | {ours:.1f} us | {times} | {rate:,.0f} | {beside} |", flush=True)
    if "latency" in names:
        with tempfile.TemporaryDirectory() as folder:
            bench = Bench(program, folder)
            try:
                ours, sink, pairs = latency(bench)
            finally:
                bench.stop()
        print(f"\nP99 by LMTP at 1,000 messages per second: {ours:.2f} ms with this server before a sink, {sink:.2f} ms without, "
              f"{ours - sink:.2f} ms added; all runs: {', '.join(f'{a:.2f}/{b:.2f}' for a, b in pairs)}")


if len(sys.argv) < 2:
    sys.exit(__doc__)
main(*sys.argv[1:])
