#!/usr/bin/env python3
"""What durability costs: a server with a spool, in turn with one that discards.

    benches/spool.py PRIXFIXE [PRIXFIXE-BEFORE] [DIRECTORY]

PRIXFIXE is a build of prixfixe; a second one is measured in turn with it. DIRECTORY is where the spools lie: the current one.
Prints Markdown. Takes two minutes for each program, and needs Linux, Python 3 and two cores: the server has core 0 and the load
core 1.

For 1, 50 and 200 connections with messages of 1 KiB, the medians of the rounds:

- the server's processor time for a message, what the kernel did for it included, and how many times that of discard:
- the rate, and P99 of a message

Then the same at 1,000 messages per second, beside P99 of a sync on that disk, measured before and after: 1.3 KiB are written
to the end of a file and synced, which is what the log does for a message that comes alone. Last, how long after the load all
mail of the spool was delivered.

ROUNDS (3), SECONDS (4) and SYNCS (2,000) in the environment say how many rounds, how long each load is, and how many syncs are
measured. The bare log that the spool's own stands beside is `cargo bench -p prixfixe-spool --bench spool`.
"""

import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time

ROUNDS = int(os.environ.get("ROUNDS", "3"))
SECONDS = os.environ.get("SECONDS", "4")
SYNCS = int(os.environ.get("SYNCS", "2000"))
CONNECTIONS = (1, 50, 200)


def cpu(process):
    fields = open(f"/proc/{process.pid}/stat").read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as free:
        return free.getsockname()[1]


def on_core(core, *command, **more):
    return subprocess.Popen(["taskset", "-c", str(core), *command], **more)


class Server:
    def __init__(self, program, folder, *more):
        self.port, self.program, self.folder = free_port(), program, folder
        self.metrics = free_port()
        command = [program, "serve", "--listen", f"127.0.0.1:{self.port}", "--admin", f"127.0.0.1:{self.metrics}",
                   "--max-connections", "2000", "--log", "warn", "--deliver", "discard:", *more]
        self.process = on_core(0, *command, stdout=subprocess.DEVNULL, stderr=open(f"{folder}/log", "a"))
        for _ in range(400):
            try:
                return socket.create_connection(("127.0.0.1", self.port)).close()
            except OSError:
                time.sleep(0.05)
        sys.exit(f"{program} does not listen")

    def load(self, connections, *more, length=f"{SECONDS}s"):
        """Microseconds of processor time for a message, messages per second, P99 in milliseconds."""
        path = f"{self.folder}/load.json"
        command = [self.program, "bench", "-d", length, "-s", "1KiB", "-c", str(connections), "--json", path, *more,
                   f"127.0.0.1:{self.port}"]
        before = cpu(self.process)
        if on_core(1, *command, stdout=subprocess.DEVNULL).wait():
            sys.exit(f"failed: {' '.join(command)}")
        left = self.drained()
        run = json.load(open(path))["runs"][0]
        taken = (cpu(self.process) - before) / run["messages"]["accepted"] * 1e6
        return taken, run["messages"]["per_second"], (run["latency"]["message"]["p99"] or float("nan")) / 1000, left

    def drained(self):
        """Seconds until nothing waits in the spool."""
        began = time.monotonic()
        while time.monotonic() - began < 60:
            with socket.create_connection(("127.0.0.1", self.metrics)) as stream:
                stream.sendall(b"GET /metrics HTTP/1.0\r\nHost: localhost\r\n\r\n")
                page = b"".join(iter(lambda: stream.recv(1 << 16), b""))
            lines = [line for line in page.splitlines() if line.startswith(b"smtp_spool_messages{")]
            if not any(float(line.split()[-1]) for line in lines if b"failed" not in line):
                return time.monotonic() - began
            time.sleep(0.01)
        return float("inf")

    def stop(self):
        self.process.terminate()
        self.process.wait()


def p99_of_a_sync(directory):
    """Milliseconds."""
    with tempfile.NamedTemporaryFile(dir=directory) as file:
        taken = []
        for _ in range(SYNCS):
            began = time.monotonic()
            os.write(file.fileno(), bytes(1300))
            os.fdatasync(file.fileno())
            taken.append((time.monotonic() - began) * 1000)
    return statistics.quantiles(taken, n=100)[98]


def median(results):
    return [statistics.median(column) for column in zip(*results)]


def measure(programs, directory):
    kinds = [("discard:", programs[0], ())]
    kinds += [("spool", programs[0], ("--spool",))] + [("spool before", it, ("--spool",)) for it in programs[1:]]
    results, paced, syncs = {}, {}, []
    for _ in range(ROUNDS):
        for name, program, more in kinds:
            with tempfile.TemporaryDirectory(dir=directory) as folder:
                server = Server(program, folder, *(it for flag in more for it in (flag, f"{folder}/spool")))
                try:
                    server.load(10, length="1s")
                    for connections in CONNECTIONS:
                        results.setdefault((name, connections), []).append(server.load(connections))
                    if more:
                        syncs.append(p99_of_a_sync(directory))
                        paced.setdefault(name, []).append(server.load(50, "--rate", "1000"))
                        syncs.append(p99_of_a_sync(directory))
                finally:
                    server.stop()
    return kinds, results, paced, syncs


def main(*arguments):
    programs = [os.path.abspath(it) for it in arguments if os.path.isfile(it)]
    directory = next((it for it in arguments if os.path.isdir(it)), ".")
    if not programs or len(programs) > 2:
        sys.exit(__doc__)
    print(f"{ROUNDS} rounds of {SECONDS} s, load average {os.getloadavg()[0]:.1f}\n")
    kinds, results, paced, syncs = measure(programs, directory)
    print("| connections | | processor time | of `discard:` | messages per second | P99 | delivered after |\n|---:|---|---:|---:|---:|---:|---:|")
    for connections in CONNECTIONS:
        floor = median(results["discard:", connections])[0]
        for name, _, _ in kinds:
            taken, rate, p99, left = median(results[name, connections])
            print(f"| {connections} | {name} | {taken:.1f} us | {taken / floor:.2f} | {rate:,.0f} | {p99:.2f} ms | {left:.2f} s |")
    print(f"\nA sync alone: P99 {min(syncs):.2f} to {max(syncs):.2f} ms, median {statistics.median(syncs):.2f} ms.\n")
    for name, rounds in paced.items():
        taken, rate, p99, left = median(rounds)
        print(f"{name}, 1,000 per second over 50 connections: {taken:.1f} us, {rate:,.0f} per second, P99 {p99:.2f} ms.")


main(*sys.argv[1:])
