#!/usr/bin/env python3
"""What NOOP takes beside messages whose SPF, DKIM and DMARC are verified.

    benches/policy.py BINARY [SENDERS]

BINARY is a build of prixfixe. Prints Markdown. Takes half a minute, and needs Linux, openssl, named (bind9) and a Python with
dkimpy (`prixfixe-policy-python` of .ci/packages).

One client says NOOP again and again: first alone, then beside SENDERS connections (1) each of which sends a message of 10 KiB with
a signature of RSA-2048 whenever it has the answer to the one before. The parties are processes of their own; the zone is named's.
"""

import os
import socket
import subprocess
import sys
import tempfile
import time

SECONDS = 8
SIGN = """
import dkim, sys
message, key = open(sys.argv[1], "rb").read(), open(sys.argv[2], "rb").read()
sys.stdout.buffer.write(dkim.sign(message, b"s1", b"signer.test", key, include_headers=[b"from", b"to", b"subject"]) + message)
"""


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def signed(folder):
    """A message, and what a zone has of its key."""
    path = lambda name: os.path.join(folder, name)
    line = "The quick brown fox jumps over the lazy dog, and does it again.\r\n"
    with open(path("plain"), "w", newline="") as file:
        file.write("From: ann@signer.test\r\nTo: bob@mx.test\r\nSubject: a\r\n\r\n" + line * (10240 // len(line)))
    subprocess.run(["openssl", "genrsa", "-traditional", "-out", path("key"), "2048"], check=True, capture_output=True)
    public = subprocess.run(["openssl", "rsa", "-in", path("key"), "-pubout"], check=True, capture_output=True, text=True).stdout
    public = "".join(public.splitlines()[1:-1])
    sign = ["prixfixe-policy-python", "-c", SIGN, path("plain"), path("key")]
    return subprocess.run(sign, check=True, capture_output=True).stdout, public


def name_server(folder, public):
    port, path = free_port(), lambda name: os.path.join(folder, name)
    halves = f'"v=DKIM1; p={public[:200]}" "{public[200:]}"'
    with open(path("zone"), "w") as file:
        file.write(f"""$TTL 3600
@ SOA ns.test. root.test. 1 1h 1h 1h 1h
@ NS ns.test.
ns A 127.0.0.1
signer TXT "v=spf1 ip4:127.0.0.1 -all"
_dmarc.signer TXT "v=DMARC1; p=reject"
s1._domainkey.signer TXT {halves}
""")
    with open(path("named.conf"), "w") as file:
        file.write(f"""options {{ directory "{folder}"; listen-on port {port} {{ 127.0.0.1; }}; listen-on-v6 {{ none; }};
recursion no; pid-file none; session-keyfile none; managed-keys-directory "{folder}"; }};
controls {{ }};
zone "test" {{ type primary; file "{folder}/zone"; }};
""")
    process = subprocess.Popen(["named", "-g", "-c", path("named.conf")], stderr=subprocess.PIPE, text=True)
    for line in process.stderr:
        if line.rstrip().endswith(" running"):
            break
    else:
        sys.exit("named does not start")
    subprocess.Popen(["cat"], stdin=process.stderr, stdout=subprocess.DEVNULL)
    return process, port


def start(binary, folder, dns):
    with open(os.path.join(folder, "mail.toml"), "w") as file:
        file.write(f"""domain = "mx.test"
[[listener]]
address = "127.0.0.1:0"
[delivery]
target = "discard:"
[policy]
dmarc = "enforce"
dns = ["127.0.0.1:{dns}"]
""")
    command = [binary, "serve", "--config", "mail.toml"]
    server = subprocess.Popen(command, cwd=folder, stderr=subprocess.PIPE, text=True)
    for line in server.stderr:
        if "listening address=" in line:
            port = int(line.split("address=")[1].split()[0].rsplit(":", 1)[1])
            break
    else:
        sys.exit("it does not start")
    # Messages are lines of the log, which somebody has to read.
    subprocess.Popen(["cat"], stdin=server.stderr, stdout=subprocess.DEVNULL)
    return server, port


def cpu(process):
    fields = open(f"/proc/{process}/stat").read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def connect(port):
    stream = socket.create_connection(("127.0.0.1", port))
    stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    stream.recv(4096)
    ask(stream, b"EHLO client.test\r\n")
    return stream


def ask(stream, line, expected=b"250"):
    stream.sendall(line)
    reply = stream.recv(4096)
    assert reply.startswith(expected), reply


def noops(port, seconds):
    stream, taken, end = connect(port), [], time.monotonic() + seconds
    while time.monotonic() < end:
        begun = time.perf_counter()
        ask(stream, b"NOOP\r\n")
        taken.append(time.perf_counter() - begun)
        if len(taken) % 90 == 0:  # a session may idle 100 times
            stream = connect(port)
    taken.sort()
    return f"{taken[len(taken) // 2] * 1e6} {taken[len(taken) * 99 // 100] * 1e6}"


def messages(port, seconds, file):
    with open(file, "rb") as it:
        content = it.read() + b".\r\n"
    stream, count = connect(port), 0
    print("ready", flush=True)
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        ask(stream, b"MAIL FROM:<ann@signer.test>\r\n")
        ask(stream, b"RCPT TO:<bob@mx.test>\r\n")
        ask(stream, b"DATA\r\n", b"354")
        ask(stream, content)
        count += 1
    return count / seconds


def child(*arguments):
    command = [sys.executable, __file__, *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def main(binary, senders):
    with tempfile.TemporaryDirectory() as folder:
        message, public = signed(folder)
        file = os.path.join(folder, "signed")
        with open(file, "wb") as it:
            it.write(message)
        named, dns = name_server(folder, public)
        server, port = start(os.path.abspath(binary), folder, dns)
        try:
            measure = lambda: [float(it) for it in child("noops", port, SECONDS).communicate()[0].split()]
            quiet = measure()
            load = [child("messages", port, SECONDS + 4, file) for _ in range(senders)]
            for sender in load:
                sender.stdout.readline()
            before = cpu(server.pid)
            time.sleep(2)
            beside = measure()
            rate = sum(float(sender.communicate()[0]) for sender in load)
            a_core = rate * (SECONDS + 4) / (cpu(server.pid) - before)
        finally:
            for process in (server, named):
                process.terminate()
                process.wait()
    print("| NOOP | median | P99 |\n|---|---:|---:|")
    print(f"| alone | {quiet[0]:.0f} us | {quiet[1]:.0f} us |")
    print(f"| beside {senders} sender{'s' * (senders > 1)} | {beside[0]:.0f} us | {beside[1]:.0f} us, {beside[1] / quiet[1]:.1f} times |")
    print(f"| messages meanwhile | {rate:.0f} per second | {a_core:.0f} per second of processor time |")


if len(sys.argv) in (2, 3) and sys.argv[1] not in ("noops", "messages"):
    main(sys.argv[1], int(sys.argv[2]) if len(sys.argv) == 3 else 1)
elif len(sys.argv) == 4:
    print(noops(int(sys.argv[2]), float(sys.argv[3])))
elif len(sys.argv) == 5:
    print(messages(int(sys.argv[2]), float(sys.argv[3]), sys.argv[4]))
else:
    sys.exit(__doc__)
