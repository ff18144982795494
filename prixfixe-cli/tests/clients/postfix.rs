//! A real Postfix that relays to the binary, in clear and over verified TLS.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::path::Path;
use std::process::{Child, Command};
use std::thread;
use std::time::{Duration, Instant};

use prixfixe_test_support::{has, unused_port};

use crate::support::Prixfixe;
use crate::tls::Authority;

/// A Postfix of the test's own: takes mail on `port` and relays all of it.
pub(crate) struct Postfix {
    master: Child,
    port: u16,
    folder: tempfile::TempDir,
}

const MASTER: &str = "
PORT inet n - n - - smtpd
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
verify unix - - n - 1 verify
flush unix n - n 1000? 0 flush
proxymap unix - - n - - proxymap
smtp unix - - n - - smtp
lmtp unix - - n - - lmtp
relay unix - - n - - smtp
error unix - - n - - error
retry unix - - n - - error
tlsmgr unix - - n 1000? 1 tlsmgr
scache unix - - n - 1 scache
anvil unix - - n - 1 anvil
postlog unix-dgram n - n - 1 postlogd
";

impl Postfix {
    pub(crate) fn start(relay: u16, extra: &str) -> Self {
        let port = unused_port(Ipv4Addr::LOCALHOST).expect("a port");
        let folder = tempfile::Builder::new()
            .prefix("postfix")
            .tempdir()
            .expect("a folder");
        let path = folder.path().display().to_string();
        let config = folder.path().join("etc");
        for name in ["etc", "spool", "data", "log"] {
            fs::create_dir(folder.path().join(name)).expect("a folder");
        }
        world_readable(folder.path());
        chown_to_postfix(&folder.path().join("data"));
        fs::write(
            config.join("master.cf"),
            MASTER.replace("PORT", &format!("127.0.0.1:{port}")),
        )
        .expect("a file");
        let main = format!(
            "compatibility_level = 3.6\nqueue_directory = {path}/spool\ndata_directory = {path}/data\n\
             maillog_file = {path}/log/mail.log\nmaillog_file_prefixes = {path}\nmyhostname = relay.test\nmydestination =\n\
             inet_interfaces = 127.0.0.1\ninet_protocols = ipv4\nmynetworks = 127.0.0.0/8\nalias_maps =\n\
             relayhost = [localhost]:{relay}\nsmtp_host_lookup = native\nsmtp_dns_support_level = disabled\n\
             smtpd_relay_restrictions = permit_mynetworks, reject\n\
             smtputf8_enable = yes\n{extra}\n"
        );
        fs::write(config.join("main.cf"), main).expect("a file");
        let master = Command::new("/usr/sbin/postfix")
            .arg("-c")
            .arg(&config)
            .arg("start-fg")
            .spawn()
            .expect("postfix runs");
        Self {
            master,
            port,
            folder,
        }
    }

    /// Hands a message to it; it has taken the responsibility when this returns.
    fn send(&self, number: usize) {
        self.send_to(number, &["bob@example.com"]);
    }

    /// The same for several recipients.
    pub(crate) fn send_to(&self, number: usize, recipients: &[&str]) {
        let deadline = Instant::now() + Duration::from_secs(60);
        let stream = loop {
            match TcpStream::connect(("127.0.0.1", self.port)) {
                Ok(stream) => break stream,
                Err(error) if Instant::now() > deadline => {
                    panic!("postfix is not there: {error}\n{}", self.log())
                }
                Err(_) => thread::yield_now(),
            }
        };
        let mut replies = BufReader::new(stream.try_clone().expect("a socket")).lines();
        let mut stream = stream;
        let body =
            format!("Subject: {number}\r\n\r\n..leading dot {number}\r\nGr\u{fc}\u{df}e\r\n.\r\n");
        let mut dialogue = vec![
            (String::new(), "220"),
            ("EHLO client.test\r\n".to_owned(), "250"),
            (
                "MAIL FROM:<ann@example.com> BODY=8BITMIME\r\n".to_owned(),
                "250",
            ),
        ];
        let rcpt = |recipient: &&str| (format!("RCPT TO:<{recipient}>\r\n"), "250");
        dialogue.extend(recipients.iter().map(rcpt));
        dialogue.extend([
            ("DATA\r\n".to_owned(), "354"),
            (body, "250"),
            ("QUIT\r\n".to_owned(), "221"),
        ]);
        for (command, code) in dialogue {
            stream.write_all(command.as_bytes()).expect("postfix reads");
            let reply = loop {
                let line = replies.next().expect("a reply").expect("text");
                if line.as_bytes().get(3) == Some(&b' ') {
                    break line;
                }
            };
            assert!(reply.starts_with(code), "{command:?}: {reply}");
        }
    }

    /// Waits for a line of its log with all of this in it.
    pub(crate) fn wait_for(&self, parts: &[&str]) {
        let deadline = Instant::now() + Duration::from_secs(60);
        let is_it = |line: &str| parts.iter().all(|part| line.contains(part));
        while !self.log().lines().any(is_it) {
            assert!(Instant::now() < deadline, "no {parts:?} in {}", self.log());
            thread::yield_now();
        }
    }

    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log/mail.log")).unwrap_or_default()
    }

    /// Waits until it has relayed `count` messages.
    fn wait_for_relayed(&self, count: usize) {
        let deadline = Instant::now() + Duration::from_secs(60);
        while self.log().matches("status=sent (250 2.0.0 OK").count() < count {
            let log = self.log();
            assert!(
                !log.contains("status=deferred") && !log.contains("status=bounced"),
                "{log}"
            );
            assert!(Instant::now() < deadline, "it does not relay: {log}");
            thread::yield_now();
        }
    }
}

impl Drop for Postfix {
    fn drop(&mut self) {
        let config = self.folder.path().join("etc");
        let _ = Command::new("/usr/sbin/postfix")
            .arg("-c")
            .arg(config)
            .arg("stop")
            .status();
        let _ = self.master.wait();
    }
}

/// Postfix's processes give up being root.
fn world_readable(folder: &Path) {
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(folder, fs::Permissions::from_mode(0o755)).expect("it is ours");
}

fn chown_to_postfix(folder: &Path) {
    let status = Command::new("chown")
        .arg("postfix")
        .arg(folder)
        .status()
        .expect("chown runs");
    assert!(status.success());
}

/// Postfix drops privileges that it has to have first.
pub(crate) fn can_run() -> bool {
    if !has("postfix") {
        return false;
    }
    let root = Command::new("id")
        .arg("-u")
        .output()
        .is_ok_and(|output| output.stdout == b"0\n");
    if !root {
        eprintln!("skipped: postfix needs root");
    }
    root
}

const MESSAGES: usize = 20;

fn relay(server: &Prixfixe, extra: &str, protocol: &str) {
    let postfix = Postfix::start(server.address().port(), extra);
    for number in 0..MESSAGES {
        postfix.send(number);
    }
    postfix.wait_for_relayed(MESSAGES);
    let mut seen: Vec<usize> = Vec::new();
    for mail in server.mail() {
        let content = String::from_utf8(mail.content).expect("text");
        let number = content
            .lines()
            .find_map(|line| line.strip_prefix("Subject: "))
            .and_then(|number| number.parse().ok())
            .expect("a subject");
        assert!(
            content.ends_with(&format!("\r\n.leading dot {number}\r\nGr\u{fc}\u{df}e\r\n")),
            "{content}"
        );
        assert!(
            mail.trace[2].contains(&format!(" with {protocol} id ")),
            "{:?}",
            mail.trace
        );
        seen.push(number);
    }
    seen.sort_unstable();
    assert_eq!(seen, (0..MESSAGES).collect::<Vec<_>>());
}

#[test]
fn a_postfix_relays_in_clear_over_each_transport() {
    if can_run() {
        for transport in ["tokio", "raw"] {
            relay(
                &Prixfixe::start(&["--transport", transport]),
                "smtp_tls_security_level = none",
                "ESMTP",
            );
        }
    }
}

#[test]
fn a_postfix_relays_over_tls_and_verifies_the_certificate() {
    if !can_run() || !has("openssl") {
        return;
    }
    let authority = Authority::new();
    let (cert, key) = authority.issue("localhost");
    for transport in ["tokio", "raw"] {
        let server = Prixfixe::start(&[
            "--transport",
            transport,
            "--tls-cert",
            &cert,
            "--tls-key",
            &key,
        ]);
        let extra = format!(
            "smtp_tls_security_level = verify\nsmtp_tls_CAfile = {}\nsmtp_tls_verify_cert_match = hostname\nsmtp_tls_loglevel = 1",
            authority.certificate()
        );
        relay(&server, &extra, "ESMTPS");
    }
}
