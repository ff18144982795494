#!/usr/bin/env python3
"""What the fleet's spool costs a server: beside one that discards, its processor time for a message.

    benches/fleet.py PRIXFIXE [DIRECTORY]

PRIXFIXE is a build of prixfixe. DIRECTORY is where the node's files lie: the current one. There is one node of NATS, whose own
time does not count; `benches/jetstream.py` is about nodes. What is received is delivered to `discard:` by the same server, and
that counts. Needs Linux, Python 3, nats-server 2.12 or newer and two cores: the server has core 0, load and node have core 1.

Prints, for messages of 1 KiB over 50 and 200 connections, the medians of ROUNDS (3) loads of MESSAGES (10,000), both from the
environment: processor time for a message, what the kernel did for it included, and messages per second. The difference of the
two servers is T of docs/BILLION.md.
"""

import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import uuid

ROUNDS = int(os.environ.get("ROUNDS", "3"))
MESSAGES = int(os.environ.get("MESSAGES", "10000"))
CONNECTIONS = (50, 200)


def cpu(process):
    fields = open(f"/proc/{process.pid}/stat").read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as free:
        return free.getsockname()[1]


def on_core(core, command, log):
    return subprocess.Popen(["taskset", "-c", str(core), *command], stdout=subprocess.DEVNULL, stderr=open(log, "a"))


def listens(port, what):
    for _ in range(400):
        try:
            return socket.create_connection(("127.0.0.1", port)).close()
        except OSError:
            time.sleep(0.05)
    sys.exit(f"{what} does not listen")


class Server:
    def __init__(self, program, folder, spool):
        self.port, self.metrics, self.program, self.folder = free_port(), free_port(), program, folder
        file = f"{folder}/prixfixe.toml"
        with open(file, "w") as output:
            output.write(f"transport = 'raw'\nlimits.max-connections = 2000\nlog.level = 'warn'\n"
                         f"admin.listen = '127.0.0.1:{self.metrics}'\n{spool}"
                         f"[[listener]]\naddress = '127.0.0.1:{self.port}'\n"
                         f"[[target]]\nname = 'bin'\nurl = 'discard:'\n[[route]]\nto = ['bin']\n")
        self.process = on_core(0, [program, "serve", "--config", file], f"{folder}/log")
        listens(self.port, program)

    def load(self, connections):
        """Microseconds of processor time for a message, delivered too, and messages per second."""
        begun, before, start = self.delivered(), cpu(self.process), time.monotonic()
        threads = [threading.Thread(target=self.send, args=(MESSAGES // connections,)) for _ in range(connections)]
        for it in threads:
            it.start()
        for it in threads:
            it.join()
        sent, lasted = MESSAGES // connections * connections, time.monotonic() - start
        for _ in range(6000):
            if self.delivered() - begun >= sent:
                return (cpu(self.process) - before) / sent * 1e6, sent / lasted
            time.sleep(0.02)
        sys.exit("not all was delivered")

    def send(self, count):
        """Each message has an id of its own: what `prixfixe bench` sends is one message, and a spool keeps it once."""
        with socket.create_connection(("127.0.0.1", self.port)) as stream:
            replies = stream.makefile("rb")
            replies.readline()
            envelope = b"MAIL FROM:<ann@example.com>\r\nRCPT TO:<bob@example.com>\r\nDATA\r\n"
            stream.sendall(b"HELO bench.example\r\n" + (envelope if count else b""))
            replies.readline()
            for left in reversed(range(count)):
                codes = [replies.readline()[:3] for _ in range(3)]
                text = f"Message-ID: <{uuid.uuid4()}@example.com>\r\nSubject: one of many\r\n\r\n".encode()
                text += b"0123456789" * 92 + b"\r\n.\r\n"
                stream.sendall(text + (envelope if left else b"QUIT\r\n"))
                codes.append(replies.readline()[:3])
                if codes != [b"250", b"250", b"354", b"250"]:
                    sys.exit(f"the server says {codes}")

    def delivered(self):
        with socket.create_connection(("127.0.0.1", self.metrics)) as stream:
            stream.sendall(b"GET /metrics HTTP/1.0\r\nHost: localhost\r\n\r\n")
            page = b"".join(iter(lambda: stream.recv(1 << 16), b"")).decode()
        mark = 'smtp_target_attempts_total{target="bin",result="delivered"} '
        return sum(float(line.removeprefix(mark)) for line in page.splitlines() if line.startswith(mark))

    def stop(self):
        self.process.terminate()
        self.process.wait()


def measure(program, directory):
    results = {}
    with tempfile.TemporaryDirectory(dir=directory) as folder:
        port = free_port()
        with open(f"{folder}/nats.conf", "w") as output:
            output.write(f"listen: 127.0.0.1:{port}\njetstream {{ store_dir: {json.dumps(folder + '/store')}, sync_interval: always }}\n")
        node = on_core(1, ["nats-server", "-c", f"{folder}/nats.conf"], f"{folder}/nats.log")
        try:
            listens(port, "nats-server")
            for _ in range(ROUNDS):
                for name, spool in (("discard:", ""), ("the fleet's spool", f"[spool]\nurl = 'nats://127.0.0.1:{port}'\nreplicas = 1\n")):
                    server = Server(program, folder, spool)
                    try:
                        for connections in CONNECTIONS:
                            results.setdefault((name, connections), []).append(server.load(connections))
                    finally:
                        server.stop()
        finally:
            node.kill()
            node.wait()
    return results


def main(program=None, directory="."):
    if not program:
        sys.exit(__doc__)
    os.sched_setaffinity(0, {1})
    print(f"{ROUNDS} rounds of {MESSAGES:,} messages, load average {os.getloadavg()[0]:.1f}\n")
    results = measure(os.path.abspath(program), directory)
    print("| connections | | processor time | messages per second |\n|---:|---|---:|---:|")
    for (name, connections), rounds in sorted(results.items(), key=lambda it: it[0][1]):
        taken, rate = (statistics.median(column) for column in zip(*rounds))
        print(f"| {connections} | {name} | {taken:.1f} us | {rate:,.0f} |")


main(*sys.argv[1:])
