#!/usr/bin/env python3
"""What a JetStream stream takes: three servers on this machine's disk, three replicas, every write synced.

    benches/jetstream.py [--size BYTES] [--seconds N] [--window N ...] [--partitions N] [--directory DIRECTORY]

Publishes over one connection with so many messages unacknowledged, which is what so many waiting clients are. Prints the
rate, the latency of an acknowledgement, and the line through the rounds: a round of n messages takes D + e * n.
Needs nats-server 2.12 or newer, and nothing else. Servers and files are gone afterwards.
"""

import argparse
import hashlib
import json
import os
import socket
import subprocess
import tempfile
import time


class Connection:
    """The few words of the NATS protocol that a publisher needs."""

    def __init__(self, port):
        self.socket = socket.create_connection(("127.0.0.1", port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.buffer = b""
        self.line()  # INFO
        self.send(b'CONNECT {"verbose":false,"headers":true,"no_responders":true}\r\nSUB in.* 1\r\nPING\r\n')
        while self.line() != b"PONG":
            pass

    def send(self, octets):
        self.socket.sendall(octets)

    def more(self):
        octets = self.socket.recv(1 << 18)
        if not octets:
            raise SystemExit("the server has closed the connection")
        self.buffer += octets

    def line(self):
        while b"\r\n" not in self.buffer:
            self.more()
        line, self.buffer = self.buffer.split(b"\r\n", 1)
        return line

    def take(self, size):
        while len(self.buffer) < size + 2:
            self.more()
        payload, self.buffer = self.buffer[:size], self.buffer[size + 2:]
        return payload

    def messages(self):
        """Those that are there, at least one: the subject's last word, and the payload."""
        found = []
        while not found or b"\r\n" in self.buffer:
            words = self.line().split(b" ")
            if words[0] in (b"MSG", b"HMSG"):
                payload = self.take(int(words[-1]))
                found.append((int(words[1].split(b".")[1]), payload))
            elif words[0] == b"PING":
                self.send(b"PONG\r\n")
            elif words[0].startswith(b"-ERR"):
                raise SystemExit(b" ".join(words).decode())
        return found

    def request(self, subject, value):
        payload = json.dumps(value).encode()
        self.send(b"PUB %s in.0 %d\r\n%s\r\n" % (subject.encode(), len(payload), payload))
        # A cluster without a leader says nothing.
        self.socket.settimeout(1)
        try:
            return self.messages()[0][1]
        except TimeoutError:
            return b""
        finally:
            self.socket.settimeout(None)


def unused_ports(count):
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [it.getsockname()[1] for it in sockets]
    for it in sockets:
        it.close()
    return ports


def start(directory):
    ports = unused_ports(6)
    routes = ", ".join(f"nats://127.0.0.1:{port}" for port in ports[3:])
    servers = []
    for number in range(3):
        path = os.path.join(directory, str(number))
        os.mkdir(path)
        text = f"""
            server_name: n{number}
            listen: 127.0.0.1:{ports[number]}
            jetstream {{ store_dir: {json.dumps(path)}, sync_interval: always }}
            cluster {{ name: bench, listen: 127.0.0.1:{ports[3 + number]}, routes: [{routes}] }}
        """
        file = os.path.join(path, "nats.conf")
        with open(file, "w") as output:
            output.write(text)
        log = open(os.path.join(path, "log"), "w")
        servers.append(subprocess.Popen(["nats-server", "-c", file], stdout=log, stderr=log))
    return servers, ports[:3]


def connect(port):
    for _ in range(200):
        try:
            return Connection(port)
        except OSError:
            time.sleep(0.05)
    raise SystemExit("no server listens")


def make_streams(connection, partitions):
    for number in range(partitions):
        config = {"name": f"S{number}", "subjects": [f"S{number}.>"], "storage": "file", "num_replicas": 3,
                  "retention": "workqueue", "duplicate_window": 86400 * 10 ** 9, "max_bytes": -1, "max_msgs": -1}
        for attempts_left in reversed(range(100)):
            answer = connection.request(f"$JS.API.STREAM.CREATE.S{number}", config)
            if answer.startswith(b"{") and ("error" not in (said := json.loads(answer)) or
                                            said["error"]["err_code"] == 10058):
                break
            if attempts_left == 0:
                raise SystemExit(answer)
            time.sleep(0.2)


def resident(server):
    """KiB of memory that are the process's own."""
    with open(f"/proc/{server.pid}/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("RssAnon"))


def remember(connection, servers, count):
    """Publishes and removes so many messages, each with an id of its own: what is left in memory is the ids."""
    before = [resident(it) for it in servers]
    sent = answered = 0
    while answered < count:
        octets = []
        while sent < count and sent - answered < 200:
            sent += 1
            digest = hashlib.sha256(b"%d" % sent).hexdigest()
            header = f"NATS/1.0\r\nNats-Msg-Id: {digest}.default.0.01234567\r\n\r\n"
            octets.append(f"HPUB S0.due.default.{digest} in.1 {len(header)} {len(header)}\r\n{header}\r\n".encode())
        connection.send(b"".join(octets))
        answered += len(connection.messages())
    after = [resident(it) for it in servers]
    connection.request("$JS.API.STREAM.PURGE.S0", {})
    time.sleep(15)  # for the collection of garbage
    left = [resident(it) for it in servers]
    for what, then in (("while they wait", after), ("when they are gone", left)):
        each = [(now - was) * 1024 / count for was, now in zip(before, then)]
        print(f"{count} messages with ids, {what}: {', '.join(f'{it:.0f}' for it in each)} bytes of memory each")


def publish(connection, window, size, seconds, partitions):
    payload = b"x" * size
    sent_at, latencies, number, deadline = {}, [], 0, None

    def one():
        nonlocal number
        number += 1
        sent_at[number] = time.perf_counter()
        return b"PUB S%d.x in.%d %d\r\n%s\r\n" % (number % partitions, number, size, payload)

    begun = time.perf_counter()
    deadline = begun + seconds
    connection.send(b"".join(one() for _ in range(window)))
    while sent_at:
        answers = connection.messages()
        now = time.perf_counter()
        for key, answer in answers:
            if b'"seq"' not in answer:
                raise SystemExit(answer)
            latencies.append(now - sent_at.pop(key))
        if now < deadline:
            connection.send(b"".join(one() for _ in answers))
    lasted = time.perf_counter() - begun
    latencies.sort()
    at = lambda share: latencies[min(len(latencies) - 1, int(share * len(latencies)))] * 1e3
    return len(latencies) / lasted, at(0.5), at(0.99)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=2048)
    parser.add_argument("--seconds", type=float, default=5)
    parser.add_argument("--window", type=int, nargs="+", default=[1, 20, 50, 200])
    parser.add_argument("--partitions", type=int, default=1)
    parser.add_argument("--ids", type=int, help="the memory of so many ids in the duplicate window, in place of the rates")
    parser.add_argument("--directory", help="where the servers' files are: the disk that is measured")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=arguments.directory) as directory:
        servers, ports = start(directory)
        try:
            connection = connect(ports[0])
            make_streams(connection, arguments.partitions)
            print(f"{arguments.size} bytes, {arguments.partitions} streams of 3 replicas, sync_interval: always")
            if arguments.ids:
                remember(connection, servers, arguments.ids)
                return
            rounds = []
            for window in arguments.window:
                rate, median, high = publish(
                    connection, window, arguments.size, arguments.seconds, arguments.partitions)
                rounds.append((window, window / rate))
                print(f"{window:5} unacknowledged: {rate:8.0f} per second, median {median:7.2f} ms, P99 {high:7.2f} ms")
            if len(rounds) > 1:
                (few, short), (many, long) = rounds[0], rounds[-1]
                each = (long - short) / (many - few)
                print(f"a round of n messages takes {(short - few * each) * 1e3:.2f} ms + n * {each * 1e3:.4f} ms, "
                      f"so that a stream takes {1 / each:.0f} per second at most")
        finally:
            for server in servers:
                server.kill()
            for server in servers:
                server.wait()


main()
