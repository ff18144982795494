#!/usr/bin/env python3
"""Memory of a message that waits for its next hop.

    benches/waiting.py PRIXFIXE [MESSAGES [BYTES]]

The next hop takes the envelope and says nothing to DATA. Each client sends BYTES of a content, which is more than is
kept of it, and stops. Printed: what the server has grown by, for each message. Linux alone.
"""

import os
import re
import socket
import subprocess
import sys
import tempfile
import threading
import time

PROGRAM = os.path.abspath(sys.argv[1])
MESSAGES = int(sys.argv[2]) if len(sys.argv) > 2 else 100
BYTES = int(sys.argv[3]) if len(sys.argv) > 3 else 1 << 20


def serve(stream):
    with stream, stream.makefile("rb") as lines:
        stream.sendall(b"220 mx.example.net\r\n")
        for line in lines:
            if line.startswith(b"DATA"):
                time.sleep(600)
            stream.sendall(b"250 ok\r\n")


def accept(listener):
    while True:
        stream, _ = listener.accept()
        threading.Thread(target=serve, args=(stream,), daemon=True).start()


def memory(process):
    with open(f"/proc/{process.pid}/status") as status:
        return int(re.search(r"VmRSS:\s+(\d+)", status.read())[1])


def client(address, content):
    """Sends what is taken of it."""
    stream = socket.create_connection(address)
    lines = stream.makefile("rb")
    lines.readline()
    for command in ["EHLO client.example", "MAIL FROM:<>", "RCPT TO:<b@here.example>", "DATA"]:
        stream.sendall(f"{command}\r\n".encode())
        while lines.readline()[3:4] == b"-":
            pass
    stream.settimeout(0.5)
    try:
        stream.sendall(content)
    except TimeoutError:
        pass
    return stream


def main():
    listener = socket.create_server(("127.0.0.1", 0), backlog=1024)
    threading.Thread(target=accept, args=(listener,), daemon=True).start()
    hop = listener.getsockname()[1]
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    folder = tempfile.TemporaryDirectory()
    with open(f"{folder.name}/mail.toml", "w") as file:
        file.write(
            f"accept.domains = ['here.example']\ndelivery.target = 'hop'\nlog.level = 'error'\n"
            f"limits.max-connections-per-client = {MESSAGES + 10}\nlimits.max-connections = {MESSAGES + 10}\n"
            f"[[target]]\nname = 'hop'\nurl = 'smtp:127.0.0.1:{hop}'\ntls = 'off'\nconcurrency = {MESSAGES + 10}\n"
        )
    command = [PROGRAM, "serve", "--config", "mail.toml", "--listen", f"127.0.0.1:{port}"]
    process = subprocess.Popen(command, cwd=folder.name, stderr=subprocess.DEVNULL)
    try:
        while True:
            try:
                first = client(("127.0.0.1", port), b"Subject: first\r\n\r\n")
                break
            except OSError:
                time.sleep(0.1)
        before = memory(process)
        content = b"Subject: waiting\r\n\r\n" + b"All work and no play.\r\n" * (BYTES // 23)
        waiting = [client(("127.0.0.1", port), content) for _ in range(MESSAGES)]
        time.sleep(2)
        each = (memory(process) - before) / MESSAGES
        print(f"{MESSAGES} messages wait, with {each:.0f} KiB each")
        del waiting, first
    finally:
        process.kill()


main()
