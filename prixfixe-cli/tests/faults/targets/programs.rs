//! The targets.

use std::fs;
use std::net::Ipv4Addr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use prixfixe_test_support::{has, python_with, run, unused_port};
use tempfile::TempDir;

use super::place::{Place, Program, What};

/// Impatient, so that what stands still is seen to.
const PATIENCE: &str = "timeout = '2s'\nfinal-timeout = '3s'\n";

fn port() -> u16 {
    unused_port(Ipv4Addr::LOCALHOST).expect("a port")
}

/// One folder for what is there, as a Maildir has it.
fn folder() -> TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    for name in ["new", "tmp"] {
        fs::create_dir(folder.path().join(name)).expect("a folder");
    }
    folder
}

fn configuration(url: &str, more: &str) -> String {
    format!(
        "accept.domains = ['here.example']\ndelivery.target = 'there'\n\
         [[target]]\nname = 'there'\nurl = '{url}'\n{PATIENCE}{more}"
    )
}

/// A PrixFixe that keeps mail in a Maildir.
pub(crate) fn next_hop(kind: &'static str) -> Place {
    let folder = folder();
    let port = port();
    let maildir = format!("maildir:{}", folder.path().display());
    let listen = match kind {
        "lmtp" => "--listen-lmtp",
        _ => "--listen",
    };
    let command = move || {
        let mut command = Command::new(env!("CARGO_BIN_EXE_prixfixe"));
        let address = format!("127.0.0.1:{port}");
        command.args(["serve", listen, &address, "--deliver", &maildir]);
        if kind == "lmtp" {
            // Else it wants the port of the default listener too.
            command.args(["--listen", "127.0.0.1:0"]);
        }
        command
    };
    Place {
        name: kind,
        configuration: configuration(&format!("{kind}:127.0.0.1:{port}"), "tls = 'off'\n"),
        is_once: false,
        connections: 16,
        folder,
        what: What::Program(Program::start(port, || true, command)),
        fetch: None,
    }
}

/// Keeps the body of each request in a file.
const ENDPOINT: &str = r#"
import http.server, os, sys, uuid
class Endpoint(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"]))
        name = uuid.uuid4().hex
        with open(f"{sys.argv[2]}/tmp/{name}", "wb") as file:
            file.write(body)
        os.rename(f"{sys.argv[2]}/tmp/{name}", f"{sys.argv[2]}/new/{name}")
        self.send_response(200)
        self.send_header("content-length", "0")
        self.end_headers()
    def log_message(self, *_):
        pass
class Server(http.server.ThreadingHTTPServer):
    request_queue_size = 64
Server(("127.0.0.1", int(sys.argv[1])), Endpoint).serve_forever()
"#;

pub(crate) fn webhook() -> Option<Place> {
    let python = python_with("http.server")?;
    let folder = folder();
    let port = port();
    let path = folder.path().to_owned();
    let command = move || {
        let mut command = Command::new(&python);
        command.args(["-c", ENDPOINT, &port.to_string()]).arg(&path);
        command
    };
    let url = format!("http://127.0.0.1:{port}/mail");
    Some(Place {
        name: "webhook",
        configuration: configuration(&url, "format = 'raw'\n"),
        is_once: false,
        connections: 16,
        folder,
        what: What::Program(Program::start(port, || true, command)),
        fetch: None,
    })
}

/// A program that dies or stands still in the middle of its work.
pub(crate) fn pipe() -> Place {
    let folder = folder();
    let path = folder.path();
    let program = path.join("keep");
    let (dead, frozen) = (path.join("dead"), path.join("frozen"));
    let home = path.display();
    let text = format!(
        "#!/bin/sh\nhalt() {{\n  [ -e {home}/dead ] && kill -9 $$\n  while [ -e {home}/frozen ]; do sleep 0.05; done\n}}\n\
         halt\nfile={home}/tmp/$$\ncat > $file || exit 75\nhalt\nmv $file {home}/new/$SMTP_ID.$$ || exit 75\nhalt\n"
    );
    fs::write(&program, text).expect("a file");
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).expect("it is ours");
    Place {
        name: "pipe",
        configuration: configuration(&format!("pipe:{}", program.display()), "")
            .replace("timeout = '2s'\n", ""),
        is_once: false,
        connections: 0,
        folder,
        what: What::Script { dead, frozen },
        fetch: None,
    }
}

/// Makes the bucket, and later fetches the messages; each must be one with its sidecar. SeaweedFS
/// writes on condition without doing so at once: where two attempts overlap, the sidecar may be the
/// other one's, of the same envelope (`docs/how-to/s3.md`).
const LOOK: &str = r#"
import sys, json, hashlib, boto3, botocore.config
s3 = boto3.client("s3", endpoint_url=sys.argv[1], aws_access_key_id="key", aws_secret_access_key="secret",
    region_name="us-east-1", config=botocore.config.Config(s3={"addressing_style": "path"}, connect_timeout=2,
    read_timeout=20 if sys.argv[2] == "fetch" else 5, retries={"max_attempts": 5 if sys.argv[2] == "fetch" else 0}))
get = lambda key: s3.get_object(Bucket="mail", Key=key)["Body"].read()
if sys.argv[2] == "create":
    s3.create_bucket(Bucket="mail")
elif sys.argv[2] == "ready":
    s3.put_object(Bucket="mail", Key="ready", Body=b"x")
    get("ready")
else:
    keys = set()
    for page in s3.get_paginator("list_objects_v2").paginate(Bucket="mail", Prefix="in/"):
        keys |= {it["Key"] for it in page.get("Contents", [])}
    for key in sorted(keys):
        if not key.endswith(".eml"):
            continue
        answer = s3.get_object(Bucket="mail", Key=key)
        data, meta = answer["Body"].read(), answer["Metadata"]
        assert hashlib.sha256(data).hexdigest() == meta["prixfixe-sha256"], key
        side = json.loads(get(key[:-4] + ".json"))
        assert side["sha256"] == meta["prixfixe-sha256"] or side["id"] != meta["prixfixe-id"], key
        assert key == "in/" + side["digest"] + ".eml" and side["envelope"]["to"] == ["b@here.example"], key
        open(f"{sys.argv[3]}/new/{key.split('/')[-1]}", "wb").write(data)
"#;

fn boto(python: &Path, endpoint: &str, words: &[&str]) -> Command {
    let mut command = Command::new(python);
    command.args(["-c", LOOK, endpoint]).args(words);
    command.stdin(Stdio::null());
    command
}

pub(crate) fn seaweedfs() -> Option<Place> {
    let python = python_with("boto3").filter(|_| has("weed"))?;
    let folder = folder();
    let data = folder.path().join("data");
    fs::create_dir(&data).expect("a folder");
    let keys = folder.path().join("s3.json");
    let identity = r#"{"identities": [{"name": "mx", "credentials": [{"accessKey": "key", "secretKey": "secret"}],
        "actions": ["Admin", "Read", "Write", "List", "Tagging"]}]}"#;
    fs::write(&keys, identity).expect("a file");
    let s3 = port();
    let mut ports = vec![
        format!("-s3.port={s3}"),
        format!("-s3.port.grpc={}", port()),
    ];
    for service in ["master", "volume", "filer"] {
        ports.push(format!("-{service}.port={}", port()));
        ports.push(format!("-{service}.port.grpc={}", port()));
    }
    let command = move || weed(&data, &keys, &ports);
    let endpoint = format!("http://127.0.0.1:{s3}");
    let works = |what: &'static str| {
        let (python, endpoint) = (python.clone(), endpoint.clone());
        move || {
            let output = boto(&python, &endpoint, &[what]).output();
            output.is_ok_and(|output| output.status.success())
        }
    };
    let (make, is_ready) = (works("create"), works("ready"));
    let program = Program::start(s3, move || is_ready() || make() && is_ready(), command);
    let path: PathBuf = folder.path().to_owned();
    let more = format!("endpoint = '{endpoint}'\nregion = 'us-east-1'\n");
    Some(Place {
        name: "s3",
        configuration: configuration("s3://mail/in", &more),
        is_once: true,
        connections: 16,
        folder,
        what: What::Program(program),
        fetch: Some(Box::new(move || {
            let path = path.display().to_string();
            run(&mut boto(&python, &endpoint, &["fetch", &path]));
        })),
    })
}

fn weed(data: &Path, keys: &Path, ports: &[String]) -> Command {
    let mut command = Command::new("weed");
    command.args([
        "server",
        "-ip=127.0.0.1",
        "-ip.bind=127.0.0.1",
        "-volume.max=20",
        // Else it takes nothing while the disk is fuller than 99 %.
        "-volume.minFreeSpace=16MiB",
    ]);
    command.args(["-master.volumeSizeLimitMB=64", "-s3", "-s3.port.iceberg=0"]);
    command.args(["-s3.port.lance=0", "-s3.autoCreateBucket=false"]);
    command.arg("-master.telemetry=false").args(ports);
    // It waits so long for other masters, of which there are none.
    command.args([
        "-master.electionTimeout=1s",
        "-master.heartbeatInterval=200ms",
    ]);
    command.arg(format!("-s3.config={}", keys.display()));
    command.arg(format!("-dir={}", data.display()));
    command.current_dir(data);
    command
}
