#!/usr/bin/env python3
"""The processor time that a message of 1 KiB costs the server by SMTP, and by LMTP.

    benches/lmtp.py BINARY

BINARY is a build of prixfixe. Prints Markdown. Takes half a minute, and needs Linux and Python 3 alone.

One connection sends messages one after the other, each in one write: MAIL, RCPT and BDAT. The two protocols take turns, and
what counts is the median of the rounds.
"""

import os
import socket
import statistics
import subprocess
import sys
import tempfile

MESSAGES = 10_000
ROUNDS = 5
CONTENT = b"Subject: hello\r\n\r\n" + (b"x" * 70 + b"\r\n") * 14


def cpu(process):
    fields = open(f"/proc/{process}/stat").read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def send(port, hello):
    stream = socket.create_connection(("127.0.0.1", port))
    stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    stream.recv(4096)
    stream.sendall(hello + b" client.test\r\n")
    stream.recv(4096)
    message = b"MAIL FROM:<a@example.com>\r\nRCPT TO:<b@example.com>\r\nBDAT %d LAST\r\n" % len(CONTENT) + CONTENT
    for _ in range(MESSAGES):
        stream.sendall(message)
        replies = b""
        while replies.count(b"\r\n") < 3:
            replies += stream.recv(4096)
        assert replies.count(b"250 ") == 3, replies
    stream.close()


def main(binary):
    with tempfile.TemporaryDirectory() as folder:
        command = [os.path.abspath(binary), "serve", "--threads", "1", "--listen", "127.0.0.1:0", "--listen-lmtp", "127.0.0.1:0",
                   "--deliver", "discard:", "--log", "info"]
        server = subprocess.Popen(command, cwd=folder, stderr=subprocess.PIPE, text=True)
        ports = []
        while len(ports) < 2:
            line = server.stderr.readline()
            if "listening address=" in line:
                ports.append(int(line.split("address=")[1].split()[0].rsplit(":", 1)[1]))
        subprocess.Popen(["cat"], stdin=server.stderr, stdout=subprocess.DEVNULL)
        taken = {b"EHLO": [], b"LHLO": []}
        for _ in range(ROUNDS):
            for port, hello in zip(ports, taken):
                before = cpu(server.pid)
                send(port, hello)
                taken[hello].append((cpu(server.pid) - before) / MESSAGES * 1e6)
        server.terminate()
        server.wait()
    smtp, lmtp = (statistics.median(it) for it in taken.values())
    print("| a message of 1 KiB | processor time |\n|---|---:|")
    print(f"| SMTP | {smtp:.1f} us |\n| LMTP | {lmtp:.1f} us, {lmtp / smtp:.2f} times |")


if len(sys.argv) != 2:
    sys.exit(__doc__)
main(sys.argv[1])
