#!/usr/bin/env python3
"""How many clients are served while others hold every connection that they can get.

    benches/lockout.py BINARY [BEFORE]

BINARY and BEFORE are two builds of prixfixe; BEFORE may be left out. Prints Markdown. Takes 4 minutes, and needs Python 3 alone.

Each case starts a server with these settings. Holders connect 1,000 times from so many addresses, which they have from PROXY
headers, and connect again whenever they are sent away. Each says NOOP every 5 s, dribbles an octet a second into a command, or
sends 600 octets a second of a chunk that was refused: a third each. After a while 20 other clients, each from an address of its
own, try once to send a message.
"""

import os
import resource
import selectors
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time

BALANCER = "127.0.0.2"
HOLDERS = 1000
OTHERS = 20
PATIENCE = 5
NEW = [
    # What the column is called, the settings, after how many seconds the others come.
    ("defaults", "", 5),
    ("per client 5", "max-connections-per-client = 5", 5),
    ("per client 5, 1,000 connections", "max-connections-per-client = 5\nmax-connections = 1000", 5),
    (
        "6 a minute, timeouts 5 and 10 s",
        'connections-per-minute = 6\ncommand-timeout = "5s"\nidle-timeout = "10s"',
        45,
    ),
]


class Server:
    """One build with some limits, in a directory of its own."""

    def __init__(self, binary, limits):
        self.directory = tempfile.TemporaryDirectory()
        path = os.path.join(self.directory.name, "prixfixe.toml")
        with open(path, "w", encoding="utf-8") as file:
            file.write(
                "[limits]\n" + limits + '\n[delivery]\ntarget = "discard:"\n'
                '[[listener]]\naddress = "127.0.0.1:0"\n'
                f'proxy-protocol-from = ["{BALANCER}"]\n'
            )
        command = [binary, "serve", "--config", path]
        self.process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        for line in self.process.stderr:
            if " listening " in line:
                _, rest = line.split(" address=")
                host, port = rest.split()[0].rsplit(":", 1)
                self.address = (host, int(port))
                break
        else:
            sys.exit(f"{binary} does not start")
        # It must not wait for somebody to read its log.
        threading.Thread(target=self.process.stderr.read, daemon=True).start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()
        self.directory.cleanup()


def connect(server, client):
    """A connection that comes from this address, as far as the server knows."""
    stream = socket.socket()
    stream.settimeout(PATIENCE)
    stream.bind((BALANCER, 0))
    stream.connect(server.address)
    stream.sendall(f"PROXY TCP4 {client} 198.51.100.25 10000 25\r\n".encode())
    return stream


class Holder:
    """Holds a connection in one of three ways."""

    WAYS = [(b"", b"NOOP\r\n", 5), (b"", b"E", 1), (b"BDAT 18446744073709551615\r\n", b"x" * 600, 1)]

    def __init__(self, number, addresses):
        host = number % addresses
        self.client = f"192.0.2.{host + 1}"
        self.start, self.more, self.interval = self.WAYS[number // addresses % len(self.WAYS)]
        self.stream = None
        self.next = 0.0

    def take_turn(self, server, selector, now):
        if now < self.next:
            return
        self.next = now + self.interval
        try:
            if self.stream is None:
                self.stream = connect(server, self.client)
                self.stream.sendall(self.start)
                self.stream.setblocking(False)
                selector.register(self.stream, selectors.EVENT_READ, self)
            else:
                self.stream.send(self.more)
        except BlockingIOError:
            pass
        except OSError:
            self.lose(selector)

    def hear(self, selector):
        try:
            if self.stream.recv(4096):
                return
        except BlockingIOError:
            return
        except OSError:
            pass
        self.lose(selector)

    def lose(self, selector):
        if self.stream is None:
            return
        try:
            selector.unregister(self.stream)
        except (KeyError, ValueError):
            pass
        self.stream.close()
        self.stream = None
        self.next = time.monotonic() + 1


def hold(server, addresses, stop):
    selector = selectors.DefaultSelector()
    holders = [Holder(number, addresses) for number in range(HOLDERS)]
    while not stop.is_set():
        now = time.monotonic()
        for holder in holders:
            holder.take_turn(server, selector, now)
        for key, _ in selector.select(0.1):
            if key.data.stream is not None:
                key.data.hear(selector)
    for holder in holders:
        holder.lose(selector)


def is_served(server, client):
    """Whether one message is taken at the first attempt."""
    try:
        with connect(server, client) as stream, stream.makefile("rb") as replies:

            def expect(code):
                while True:
                    line = replies.readline()
                    if not line.startswith(code):
                        raise OSError(line)
                    if line[3:4] == b" ":
                        return

            expect(b"220")
            for command, code in [
                (b"EHLO client.example\r\n", b"250"),
                (b"MAIL FROM:<a@client.example>\r\n", b"250"),
                (b"RCPT TO:<b@here.example>\r\n", b"250"),
                (b"DATA\r\n", b"354"),
                (b"Subject: served\r\n\r\n.\r\n", b"250"),
                (b"QUIT\r\n", b"221"),
            ]:
                stream.sendall(command)
                expect(code)
            return True
    except OSError:
        return False


def measure(binary, limits, addresses, after):
    """How many of the others are served."""
    with Server(binary, limits) as server:
        stop = threading.Event()
        thread = threading.Thread(target=hold, args=(server, addresses, stop))
        thread.start()
        time.sleep(after)
        served = sum(is_served(server, f"203.0.113.{number + 1}") for number in range(OTHERS))
        stop.set()
        thread.join()
        return served


def main():
    if not 2 <= len(sys.argv) <= 3:
        sys.exit(__doc__)
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    columns = [("before", sys.argv[2], "", 5)] if len(sys.argv) == 3 else []
    columns += [(name, sys.argv[1], limits, after) for name, limits, after in NEW]
    print(f"| holders from | {' | '.join(name for name, *_ in columns)} |")
    print("|---|" + "---:|" * len(columns))
    for addresses in [1, 2, 50]:
        cells = [
            f"{measure(binary, limits, addresses, after)} of {OTHERS}"
            for _, binary, limits, after in columns
        ]
        name = "1 address" if addresses == 1 else f"{addresses} addresses"
        print(f"| {name} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
