#!/usr/bin/env python3
"""What NOOP takes beside 200 logins at once, and how many logins there are meanwhile.

    benches/logins.py BINARY

BINARY is a build of prixfixe. Prints Markdown. Takes half a minute, and needs Linux and Python 3 alone.

One client says NOOP again and again: first alone, then beside 200 connections each of which tries a wrong password by PLAIN
whenever it has its answer, against a verifier of 4,096 iterations. The three are processes of their own.
"""

import base64
import hashlib
import hmac
import os
import selectors
import socket
import ssl
import statistics
import subprocess
import sys
import tempfile
import time

AT_ONCE = 200
SECONDS = 8
ITERATIONS = 4096


def users_line():
    salt, text = b"a salt of 16 byt", lambda it: base64.b64encode(it).decode()
    salted = hashlib.pbkdf2_hmac("sha256", b"secret", salt, ITERATIONS)
    key = lambda name: hmac.digest(salted, name, "sha256")
    stored = hashlib.sha256(key(b"Client Key")).digest()
    return f"ann:{{SCRAM-SHA-256}}{ITERATIONS},{text(salt)},{text(stored)},{text(key(b'Server Key'))}\n"


def start(binary, folder):
    with open(os.path.join(folder, "users"), "w") as file:
        file.write(users_line())
    command = [binary, "serve", "--listen", "127.0.0.1:0", "--deliver", "discard:", "--tls-self-signed", "--auth", "require",
               "--auth-users", "users", "--max-connections", "1000", "--max-errors", "1000000", "--log", "info"]
    server = subprocess.Popen(command, cwd=folder, stderr=subprocess.PIPE, text=True)
    for line in server.stderr:
        if "listening address=" in line:
            port = int(line.split("address=")[1].split()[0].rsplit(":", 1)[1])
            break
    else:
        sys.exit("it does not start")
    # Refusals are lines of the log, which somebody has to read.
    subprocess.Popen(["cat"], stdin=server.stderr, stdout=subprocess.DEVNULL)
    return server, port


def cpu(process):
    fields = open(f"/proc/{process}/stat").read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def connect(port):
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    plain = socket.create_connection(("127.0.0.1", port))
    plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    ask = lambda it, line: (it.sendall(line), it.recv(4096))
    plain.recv(4096)
    ask(plain, b"EHLO client.test\r\n"), ask(plain, b"STARTTLS\r\n")
    stream = context.wrap_socket(plain)
    ask(stream, b"EHLO client.test\r\n")
    return stream


def noops(port, seconds):
    stream, taken, end = connect(port), [], time.monotonic() + seconds
    while time.monotonic() < end:
        begun = time.perf_counter()
        stream.sendall(b"NOOP\r\n")
        assert stream.recv(4096).startswith(b"250")
        taken.append(time.perf_counter() - begun)
        if len(taken) % 90 == 0:  # a session may idle 100 times
            stream = connect(port)
    return statistics.median(taken) * 1e6


def logins(port, seconds):
    streams = [connect(port) for _ in range(AT_ONCE)]
    line = b"AUTH PLAIN " + base64.b64encode(b"\0ann\0wrong") + b"\r\n"
    selector, count = selectors.DefaultSelector(), 0
    for stream in streams:
        stream.setblocking(False)
        selector.register(stream, selectors.EVENT_READ)
    print("ready", flush=True)
    end = time.monotonic() + seconds
    for stream in streams:
        stream.sendall(line)
    while time.monotonic() < end:
        for key, _ in selector.select(1):
            try:
                reply = key.fileobj.recv(4096)
            except ssl.SSLWantReadError:
                continue
            assert reply.startswith(b"535"), reply
            count += 1
            key.fileobj.sendall(line)
    return count / seconds


def child(what, port, seconds):
    return subprocess.Popen([sys.executable, __file__, what, str(port), str(seconds)], stdout=subprocess.PIPE, text=True)


def main(binary):
    with tempfile.TemporaryDirectory() as folder:
        server, port = start(os.path.abspath(binary), folder)
        try:
            quiet = float(child("noops", port, SECONDS).communicate()[0])
            flood = child("logins", port, SECONDS + 4)
            flood.stdout.readline()
            before = cpu(server.pid)
            time.sleep(2)
            beside = float(child("noops", port, SECONDS).communicate()[0])
            rate = float(flood.communicate()[0])
            a_core = rate * (SECONDS + 4) / (cpu(server.pid) - before)
        finally:
            server.terminate()
            server.wait()
    print("| NOOP, the median | |\n|---|---:|")
    print(f"| alone | {quiet:.0f} us |\n| beside {AT_ONCE} logins at once | {beside:.0f} us, {beside / quiet:.1f} times |")
    print(f"| logins meanwhile | {rate:.0f} per second, {a_core:.0f} per second of processor time |")


if len(sys.argv) == 2:
    main(sys.argv[1])
elif len(sys.argv) == 4:
    print({"noops": noops, "logins": logins}[sys.argv[1]](int(sys.argv[2]), float(sys.argv[3])))
else:
    sys.exit(__doc__)
