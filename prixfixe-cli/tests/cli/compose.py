"""Runs deploy/nats/compose.yaml without containers, as far as that goes.

    compose.py PRIXFIXE COMPOSE FOLDER

Each service has what the file gives it: command, environment, volumes, a network and a name of its own, a file system that it
cannot write to, no capabilities. What it does not have is an image: programs and libraries are those of this machine. Wants
root, and namespaces of its own for mounts, network and processes. Mail goes to all three servers; one of them and one node
die; all mail arrives.
"""

import os
import pathlib
import re
import signal
import smtplib
import subprocess
import sys
import time
import urllib.error
import urllib.request

import yaml

PROGRAM, COMPOSE, FOLDER = sys.argv[1], pathlib.Path(sys.argv[2]), pathlib.Path(sys.argv[3])
PATIENCE, GATEWAY, NOBODY = 100, "10.9.0.254", 65532


def run(*command, **more):
    return subprocess.run(command, check=True, text=True, stdout=subprocess.PIPE, **more).stdout


def until(what, is_so, why=str):
    end = time.monotonic() + PATIENCE
    while not is_so():
        if time.monotonic() > end:
            sys.exit(f"never: {what} {why()}")
        time.sleep(0.05)


def certificate(certificate, key, *names):
    names = ",".join(f"DNS:{name}" for name in names)
    run("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2", "-subj", "/CN=test",
        "-addext", f"subjectAltName={names}", "-addext", "basicConstraints=critical,CA:FALSE", "-keyout", str(key), "-out", str(certificate), stderr=subprocess.DEVNULL)
    key.chmod(0o644)


def files():
    nodes, mail = FOLDER / "nats", FOLDER / "mail"
    nodes.mkdir()
    mail.mkdir()
    certificate(nodes / "cert.pem", nodes / "key.pem", "nats-1", "nats-2", "nats-3")
    (nodes / "ca.pem").write_text((nodes / "cert.pem").read_text())
    (nodes / "password").write_text("one\n")
    certificate(mail / "tls.crt", mail / "tls.key", "mx.example.com")
    return {**os.environ, "NATS_PRIXFIXE_PASSWORD": "one", "NATS_ADMIN_PASSWORD": "other", "NATS_TLS": str(nodes), "PRIXFIXE_TLS": str(mail)}


def network(names):
    """A bridge, and behind it a network for each name."""
    run("mount", "-t", "tmpfs", "tmpfs", "/run")
    run("ip", "link", "set", "lo", "up")
    run("ip", "link", "add", "br0", "type", "bridge")
    run("ip", "address", "add", f"{GATEWAY}/24", "dev", "br0")
    run("ip", "link", "set", "br0", "up")
    addresses = {}
    for number, name in enumerate(names, 1):
        addresses[name] = f"10.9.0.{number}"
        run("ip", "netns", "add", name)
        run("ip", "link", "add", f"v{number}", "type", "veth", "peer", "name", "eth0", "netns", name)
        run("ip", "link", "set", f"v{number}", "master", "br0", "up")
        for line in (f"address add {addresses[name]}/24 dev eth0", "link set lo up", "link set eth0 up"):
            run("ip", "-n", name, *line.split())
    return addresses


class Service:
    def __init__(self, name, service, hosts):
        self.name, self.service, self.root = name, service, FOLDER / "roots" / name
        self.is_mail = "build" in service
        self.root.mkdir(parents=True)
        run("mount", "-t", "tmpfs", "tmpfs", str(self.root))
        for folder in ("usr", "proc", "dev"):
            self.bind(f"/{folder}", f"/{folder}", "--rbind")
        for link in ("bin", "lib", "lib64", "sbin"):
            (self.root / link).symlink_to(f"usr/{link}")
        (self.root / "etc").mkdir()
        (self.root / "etc/hosts").write_text(hosts)
        if self.is_mail:
            self.bind(PROGRAM, "/prixfixe")
        for volume in service["volumes"]:
            source, target, mode = volume.split(":")
            if not source.startswith("/"):
                source = str(FOLDER / "volumes" / source)
                os.makedirs(source)
            self.bind(source, target)
            if mode == "ro":
                run("mount", "-o", "remount,bind,ro", str(self.root) + target)
        assert service["read_only"] and service["cap_drop"] == ["ALL"] and service["security_opt"] == ["no-new-privileges:true"]
        run("mount", "-o", "remount,ro", str(self.root))

    def bind(self, source, target, how="--bind"):
        place = self.root / target.lstrip("/")
        if os.path.isdir(source):
            place.mkdir(parents=True, exist_ok=True)
        else:
            place.parent.mkdir(parents=True, exist_ok=True)
            place.touch()
        run("mount", how, source, str(place))

    def start(self):
        environment = {"PATH": "/usr/local/bin:/usr/bin"}
        user = ()
        if self.is_mail:
            # The image's.
            image = (COMPOSE.parent.parent / "Dockerfile").read_text()
            environment |= re.findall(r"\b(SMTP_\w+)=(\S+)", image.split("\nENV ", 1)[1].split("\n\n", 1)[0])
            user = ("--reuid", str(NOBODY), "--regid", str(NOBODY), "--clear-groups")
        environment |= {key: str(value) for key, value in self.service["environment"].items()}
        program = "/prixfixe" if self.is_mail else "nats-server"
        command = ["ip", "netns", "exec", self.name, "chroot", str(self.root), "setpriv", *user, "--bounding-set=-all", "--no-new-privs",
                   "env", "-i", *(f"{key}={value}" for key, value in environment.items()), program, *self.service["command"]]
        self.process = subprocess.Popen(command, stdout=open(FOLDER / f"{self.name}.log", "w"), stderr=subprocess.STDOUT)


def send(address, subject):
    try:
        with smtplib.SMTP(address, 2525, timeout=30) as client:
            text = f"Message-ID: <{subject}@example.org>\r\nSubject: {subject}\r\n\r\nHow are you?\r\n"
            client.sendmail("ann@example.org", ["bob@example.com"], text)
            return True
    except (OSError, smtplib.SMTPException):
        return False


def ready(address):
    """What a server says of itself."""
    try:
        return urllib.request.urlopen(f"http://{address}:9125/readyz", timeout=10).read().decode()
    except urllib.error.HTTPError as error:
        return error.read().decode()
    except OSError as error:
        return str(error)


def kept():
    found = set()
    for path in (FOLDER / "sink/mail/new").glob("*"):
        found.update(re.findall(r"^Subject: (\w+)\r?$", path.read_text(), re.MULTILINE))
    return found


def main():
    services = yaml.safe_load(run("docker-compose", "-f", str(COMPOSE), "config", env=files()))["services"]
    addresses = network(services)
    # The target of deploy/nats/prixfixe.toml.
    hosts = "".join(f"{address} {name}\n" for name, address in {**addresses, "mailboxes.example.com": GATEWAY}.items())
    (FOLDER / "sink").mkdir()
    sink = [PROGRAM, "serve", "--listen", "127.0.0.1:0", "--listen-lmtp", f"{GATEWAY}:24", "--accept-domain", "example.com"]
    subprocess.Popen(sink, cwd=FOLDER / "sink", stdout=subprocess.DEVNULL, stderr=open(FOLDER / "sink.log", "w"))
    running = {name: Service(name, service, hosts) for name, service in services.items()}
    for service in running.values():
        service.start()
    servers = [name for name in running if running[name].is_mail]
    assert len(servers) == 3 and len(running) == 6, running
    sent = 0
    for name in servers:
        until(f"{name} takes mail", lambda: send(addresses[name], f"n{sent}"), lambda: ready(addresses[name]))
        sent += 1
    for name in (servers[0], "nats-1"):
        running[name].process.kill()
    for number in range(10):
        until("it is taken", lambda: send(addresses[servers[1 + number % 2]], f"n{sent}"))
        sent += 1
    until("all mail arrives", lambda: kept() == {f"n{number}" for number in range(sent)})
    last = running[servers[1]].process
    last.send_signal(signal.SIGTERM)
    status = last.wait(timeout=PATIENCE)
    assert status == 0, status
    print(f"{sent} messages arrived")


try:
    main()
except BaseException:
    for log in sorted(FOLDER.glob("*.log")):
        print(f"== {log.name}\n{log.read_text()[-1500:]}")
    raise
