//! A real Dovecot checks logins, with accounts in a passwd file of its own.
#![cfg(unix)]
// What helps a test may fail like one.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use prixfixe_auth::{Dovecot, Users, users_line};
use prixfixe_server::{Authenticator, Client, Login, Mechanism, TlsInfo, TlsVersion};
use prixfixe_test_support::has;
use tempfile::TempDir;

struct Running {
    child: Child,
    directory: TempDir,
}

impl Running {
    /// `None`: it is not installed, or this is not root, who alone can start it so.
    fn start(passwd: &str) -> Option<Self> {
        if !has("dovecot") || !rustix::process::geteuid().is_root() {
            return None;
        }
        let directory = TempDir::new().unwrap();
        let path = directory.path();
        // Its processes are other users'.
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        fs::set_permissions(path, mode).unwrap();
        fs::write(path.join("passwd"), passwd).unwrap();
        let at = path.display();
        let configuration = format!(
            "base_dir = {at}/run\nstate_dir = {at}/state\nlog_path = {at}/log\nprotocols =\nssl = no\n\
             auth_mechanisms = plain login scram-sha-256\nauth_failure_delay = 0\n\
             passdb {{\n  driver = passwd-file\n  args = {at}/passwd\n}}\n\
             userdb {{\n  driver = static\n  args = uid=65534 gid=65534 home=/nonexistent\n}}\n\
             service anvil {{\n  unix_listener anvil-auth-penalty {{\n    mode = 0\n  }}\n}}\n\
             service auth {{\n  unix_listener {at}/auth-client {{\n    mode = 0666\n  }}\n}}\n"
        );
        let file = path.join("dovecot.conf");
        fs::write(&file, configuration).unwrap();
        let child = Command::new("dovecot")
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
            .args(["-F", "-c"])
            .arg(&file)
            .stdin(Stdio::null())
            .spawn()
            .unwrap();
        Some(Self { child, directory })
    }

    fn socket(&self) -> PathBuf {
        self.directory.path().join("auth-client")
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let id = rustix::process::Pid::from_child(&self.child);
        let _ = rustix::process::kill_process(id, rustix::process::Signal::TERM);
        let _ = self.child.wait();
    }
}

fn outcome(back_end: &dyn Authenticator, login: Login<'_>) -> Result<String, u16> {
    let result = pollster::block_on(back_end.authenticate(login));
    let name = result.map(|identity| identity.name().to_owned());
    name.map_err(|reply| reply.code())
}

#[test]
fn dovecot_s_accounts_log_in() {
    // The line that we print is one of Dovecot's too.
    let ours = users_line("bob", b"sesame").unwrap();
    let passwd = format!("ann@example.com:{{PLAIN}}secret::::::\n{ours}::::::\n");
    let Some(running) = Running::start(&passwd) else {
        return;
    };
    let dovecot = Dovecot::open(running.socket()).unwrap();
    let tls = TlsInfo::new(TlsVersion::Tls13, "TLS13_AES_256_GCM_SHA384");
    let client = Client::builder().tls(tls).build();
    let plain = |name, password| outcome(&dovecot, Login::plain(&client, name, password));
    let deadline = Instant::now() + Duration::from_secs(60);
    while plain("ann@example.com", "secret") == Err(454) && Instant::now() < deadline {
        thread::yield_now();
    }
    let ann = Ok("ann@example.com".to_owned());
    assert_eq!(plain("ann@example.com", "secret"), ann);
    assert_eq!(plain("ann@example.com", "Secret"), Err(535));
    assert_eq!(plain("nobody", "secret"), Err(535));
    assert_eq!(plain("bob", "sesame"), Ok("bob".to_owned()));
    let offered = dovecot.mechanisms(&client);
    assert!(offered.contains(&Mechanism::SCRAM_SHA_256), "{offered:?}");
    for (password, expected) in [("sesame", Ok("bob".to_owned())), ("open", Err(535))] {
        assert_eq!(outcome(&dovecot, scram(&client, password)), expected);
    }
    // The longest line that a client may send is none too many.
    let login = Login::plain(&client, "bob", &"x".repeat(9210));
    assert_eq!(outcome(&dovecot, login), Err(535));
    assert_eq!(plain("bob", "sesame"), Ok("bob".to_owned()));
}

/// A line of Dovecot's own is one of ours.
#[test]
fn doveadm_writes_lines_of_a_users_file() {
    if !has("doveadm") {
        return;
    }
    let output = Command::new("doveadm")
        .args(["pw", "-s", "SCRAM-SHA-256", "-p", "sesame"])
        .output()
        .unwrap();
    let hash = String::from_utf8(output.stdout).unwrap();
    let directory = TempDir::new().unwrap();
    let file = directory.path().join("users");
    fs::write(&file, format!("bob:{hash}")).unwrap();
    let users = Users::open(&file).unwrap();
    let client = Client::builder().build();
    for (password, expected) in [("sesame", Ok("bob".to_owned())), ("open", Err(535))] {
        let login = Login::plain(&client, "bob", password);
        assert_eq!(outcome(&users, login), expected, "{hash}");
        assert_eq!(outcome(&users, scram(&client, password)), expected);
    }
}

/// `bob` by SCRAM-SHA-256, with prixfixe-client's arithmetic.
fn scram<'a>(client: &'a Client, password: &'a str) -> Login<'a> {
    use prixfixe_client::{Config, Connection, Credentials, Piece};
    let mut peer = Connection::new(
        Config::smtp("client.example").unwrap().into(),
        Instant::now(),
    );
    let mut hears = move |reply: &str| {
        let mut input = reply.as_bytes();
        while peer.poll_event(Instant::now(), &mut input).ok()?.is_some() {}
        if reply.starts_with("250") {
            let credentials = Credentials::new("bob", password).unwrap();
            let nonce = [7; 18];
            peer.authenticate(Instant::now(), &credentials, nonce)
                .unwrap();
        }
        let mut said = Vec::new();
        loop {
            let Some(Piece::Bytes(bytes)) = peer.poll_transmit().next() else {
                break;
            };
            said.extend_from_slice(bytes);
            let count = bytes.len();
            peer.handle_transmitted(Instant::now(), count);
        }
        Some(String::from_utf8(said).unwrap().trim_end().to_owned())
    };
    hears("220 server.example\r\n");
    let first = hears("250-server.example\r\n250 AUTH SCRAM-SHA-256\r\n").unwrap();
    let first = first.strip_prefix("AUTH SCRAM-SHA-256 ").unwrap();
    Login::builder(client, Mechanism::SCRAM_SHA_256)
        .initial_response(decoded(first))
        .answers(move |challenge| {
            hears(&format!("334 {}\r\n", encoded(challenge))).map(|line| decoded(&line))
        })
        .build()
}

fn decoded(text: &str) -> Vec<u8> {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD
        .decode(text)
        .unwrap()
}

fn encoded(bytes: &[u8]) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.encode(bytes)
}
