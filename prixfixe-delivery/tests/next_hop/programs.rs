//! Dovecot, Postfix and Exim as next hops. Each test is skipped where its program is missing.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, Command};

use prixfixe_delivery::{NextHop, TlsUse};
use prixfixe_test_support::{SelfSigned, has, unused_port};
use tempfile::TempDir;

use crate::scripted::{HELLO, envelope_to, open, options, relay};

/// A program of the test's own, ended with it.
struct Program {
    child: Child,
    port: u16,
    folder: TempDir,
    stop: Option<Command>,
}

impl Program {
    /// Waits until somebody answers.
    async fn ready(&mut self) {
        let start = std::time::Instant::now();
        while tokio::net::TcpStream::connect(("127.0.0.1", self.port))
            .await
            .is_err()
        {
            let ended = self.child.try_wait().unwrap();
            let late = start.elapsed() > std::time::Duration::from_secs(60);
            assert!(ended.is_none() && !late, "{ended:?}: {}", self.log());
            tokio::task::yield_now().await;
        }
    }

    fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log/mail.log")).unwrap_or_default()
    }

    fn hop(
        &self,
        kind: &str,
        change: impl FnOnce(&mut prixfixe_delivery::NextHopOptions),
    ) -> NextHop {
        let mut options = options();
        options.timeout = std::time::Duration::from_secs(60);
        options.final_timeout = std::time::Duration::from_secs(60);
        change(&mut options);
        open(&format!("{kind}:localhost:{}", self.port), options)
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        match &mut self.stop {
            Some(stop) => drop(stop.status()),
            None => drop(self.child.kill()),
        }
        let _ = self.child.wait();
    }
}

/// Both give up being root, which they have to be first.
fn can_run(program: &str) -> bool {
    if !has(program) {
        return false;
    }
    let id = Command::new("id").arg("-u").output();
    let root = id.is_ok_and(|output| output.stdout == b"0\n");
    if !root {
        eprintln!("skipped: {program} needs root");
    }
    root
}

fn folder(name: &str, inner: &[&str]) -> TempDir {
    let folder = tempfile::Builder::new().prefix(name).tempdir().unwrap();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
    for name in inner {
        fs::create_dir(folder.path().join(name)).unwrap();
    }
    folder
}

fn give(path: &Path, owner: &str) {
    let status = Command::new("chown")
        .arg("-R")
        .arg(owner)
        .arg(path)
        .status();
    assert!(status.unwrap().success());
}

const DOVECOT: &str = "
base_dir = FOLDER/run
state_dir = FOLDER/state
log_path = FOLDER/log/mail.log
protocols = lmtp
listen = 127.0.0.1
ssl = no
first_valid_uid = 1
auth_username_format = %n
mail_location = maildir:FOLDER/mail/%n
mail_plugins = quota
plugin {
  quota = maildir:User quota
}
passdb {
  driver = passwd-file
  args = FOLDER/users
}
userdb {
  driver = passwd-file
  args = FOLDER/users
}
service lmtp {
  inet_listener lmtp {
    address = 127.0.0.1
    port = PORT
  }
}
";

async fn dovecot() -> Program {
    let folder = folder("dovecot", &["run", "state", "log", "mail"]);
    let port = unused_port([127, 0, 0, 1]).unwrap();
    let path = folder.path().display().to_string();
    let users = ["bob", "ann", "full"].map(|name| {
        let quota = if name == "full" {
            "userdb_quota_rule=*:bytes=10"
        } else {
            ""
        };
        format!("{name}:{{PLAIN}}x:8:8::{path}/mail/{name}::{quota}\n")
    });
    fs::write(folder.path().join("users"), users.concat()).unwrap();
    let config = folder.path().join("dovecot.conf");
    let text = DOVECOT
        .replace("FOLDER", &path)
        .replace("PORT", &port.to_string());
    fs::write(&config, text).unwrap();
    give(&folder.path().join("mail"), "8:8");
    let mut command = Command::new("/usr/sbin/dovecot");
    command.arg("-F").arg("-c").arg(&config);
    let mut program = Program {
        child: command.spawn().unwrap(),
        port,
        folder,
        stop: Some(Command::new("/usr/bin/doveadm")),
    };
    let stop = program.stop.as_mut().unwrap();
    stop.arg("-c").arg(&config).arg("stop");
    program.ready().await;
    program
}

/// Each recipient's answer reaches the client as Dovecot gave it.
async fn dovecot_answers_a_client_of_ours(transport: prixfixe_server::Transport) {
    use prixfixe_delivery::Delivery;
    use prixfixe_server::{Endpoint, Server};

    if !can_run("dovecot") || !Path::new("/usr/lib/dovecot/lmtp").exists() {
        eprintln!("skipped: dovecot-lmtpd is not installed");
        return;
    }
    let dovecot = dovecot().await;
    let server = Server::builder()
        .transport(transport)
        .listen(Endpoint::new(([127, 0, 0, 1], 0)))
        .handler(Delivery::to("dovecot", dovecot.hop("lmtp", |_| {})))
        .start()
        .unwrap();
    let lines = [
        "EHLO client.example",
        "MAIL FROM:<ann@example.com>",
        "RCPT TO:<no-such-user@example.org>",
        "RCPT TO:<bob@example.org>",
        "DATA",
        "Subject: hello\r\n\r\nA body.\r\n.",
    ];
    let told = ask(server.addresses()[0].ip().unwrap(), &lines).await;
    assert!(told.contains("\r\n550 5.1.1 "), "{told} {}", dovecot.log());
    assert!(told.contains("\r\n250 2.0.0 "), "{told} {}", dovecot.log());
    let mails = fs::read_dir(dovecot.folder.path().join("mail/bob/new")).unwrap();
    assert_eq!(mails.count(), 1);
    server.shutdown();
}

#[tokio::test(flavor = "multi_thread")]
async fn dovecot_answers_a_client_of_ours_over_tokio() {
    dovecot_answers_a_client_of_ours(prixfixe_server::Transport::Tokio).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn dovecot_answers_a_client_of_ours_over_raw() {
    dovecot_answers_a_client_of_ours(prixfixe_server::Transport::Raw).await;
}

#[tokio::test]
async fn dovecot_stores_mail_and_refuses_who_is_unknown_or_full() {
    if !can_run("dovecot") || !Path::new("/usr/lib/dovecot/lmtp").exists() {
        eprintln!("skipped: dovecot-lmtpd is not installed");
        return;
    }
    let dovecot = dovecot().await;
    let hop = dovecot.hop("lmtp", |_| {});
    let to = [
        "bob@example.org",
        "nobody@example.org",
        "full@example.org",
        "ann@example.org",
    ];
    for round in 1..=2 {
        let told = relay(&hop, envelope_to(&to), &[HELLO]).await;
        assert_eq!(told.len(), 4, "{told:?}");
        assert!(
            told[0].starts_with("rcpt: 550 5.1.1 "),
            "{told:?} {}",
            dovecot.log()
        );
        assert!(
            told[1].starts_with("ok: 250 2.0.0 "),
            "{told:?} {}",
            dovecot.log()
        );
        assert!(
            told[2].starts_with("end: 552 5.2.2 "),
            "{told:?} {}",
            dovecot.log()
        );
        assert!(
            told[3].starts_with("ok: 250 2.0.0 "),
            "{told:?} {}",
            dovecot.log()
        );
        let mails = fs::read_dir(dovecot.folder.path().join("mail/bob/new")).unwrap();
        assert_eq!(mails.count(), round);
    }
    let mut mails = fs::read_dir(dovecot.folder.path().join("mail/ann/new")).unwrap();
    let mail = fs::read_to_string(mails.next().unwrap().unwrap().path()).unwrap();
    assert!(mail.contains("Received: from client.example"), "{mail}");
    assert!(
        mail.replace('\r', "").ends_with("\n\n.\nHow are you?\n"),
        "{mail}"
    );
}

const MASTER: &str = "
PORT inet n - n - - smtpd
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
proxymap unix - - n - - proxymap
discard unix - - n - - discard
error unix - - n - - error
retry unix - - n - - error
tlsmgr unix - - n 1000? 1 tlsmgr
anvil unix - - n - 1 anvil
postlog unix-dgram n - n - 1 postlogd
";

/// A Postfix that takes mail for Bob, and drops it.
async fn postfix(extra: &str, certificate: &SelfSigned) -> Program {
    let folder = folder("postfix", &["etc", "spool", "data", "log"]);
    let port = unused_port([127, 0, 0, 1]).unwrap();
    let path = folder.path().display().to_string();
    let config = folder.path().join("etc");
    certificate.install(&config);
    give(&folder.path().join("data"), "postfix");
    let master = MASTER.replace("PORT", &format!("127.0.0.1:{port}"));
    fs::write(config.join("master.cf"), master).unwrap();
    let main = format!(
        "compatibility_level = 3.6\nqueue_directory = {path}/spool\ndata_directory = {path}/data\n\
         maillog_file = {path}/log/mail.log\nmaillog_file_prefixes = {path}\nmyhostname = next.test\n\
         mydestination =\ninet_interfaces = 127.0.0.1\ninet_protocols = ipv4\nmynetworks =\n\
         alias_maps =\nrelay_domains = example.org\nrelay_transport = discard:\n\
         relay_recipient_maps = inline:{{ bob@example.org=x }}\n\
         smtpd_tls_cert_file = {path}/etc/cert.pem\nsmtpd_tls_key_file = {path}/etc/key.pem\n{extra}\n"
    );
    fs::write(config.join("main.cf"), main).unwrap();
    let command = |what: &str| {
        let mut command = Command::new("/usr/sbin/postfix");
        command.arg("-c").arg(&config).arg(what);
        command
    };
    let mut program = Program {
        child: command("start-fg").spawn().unwrap(),
        port,
        folder,
        stop: Some(command("stop")),
    };
    program.ready().await;
    program
}

#[tokio::test]
async fn postfix_takes_mail_and_refuses_who_is_unknown() {
    if !can_run("postfix") {
        return;
    }
    let certificate = SelfSigned::new("localhost");
    let postfix = postfix("smtpd_tls_security_level = may", &certificate).await;
    let ca = postfix.folder.path().join("etc/cert.pem");
    let other = postfix.folder.path().join("etc/other.pem");
    fs::write(&other, SelfSigned::new("localhost").certificate_pem).unwrap();
    for (level, ca) in [
        (TlsUse::Off, None),
        (TlsUse::Opportunistic, None),
        (TlsUse::Verify, Some(ca)),
    ] {
        let hop = postfix.hop("smtp", |options| {
            (options.tls, options.tls_ca) = (Some(level), ca.clone());
        });
        for _ in 0..2 {
            let to = ["nobody@example.org", "bob@example.org", "eve@example.com"];
            let told = relay(&hop, envelope_to(&to), &[HELLO]).await;
            assert!(told[0].starts_with("rcpt: 550 5.1.1 "), "{level}: {told:?}");
            // A Postfix that does not know the domain is set up wrongly: that is no bounce.
            assert!(told[1].starts_with("rcpt: 451 4.4.1 "), "{level}: {told:?}");
            assert!(told[1].contains("Relay access denied"), "{level}: {told:?}");
            assert!(
                told[2].starts_with("ok: 250 2.0.0 Ok: "),
                "{level}: {told:?}"
            );
        }
    }
    let hop = postfix.hop("smtp", |options| {
        (options.tls, options.tls_ca) = (Some(TlsUse::Verify), Some(other));
    });
    let told = relay(&hop, envelope_to(&["bob@example.org"]), &[HELLO]).await;
    assert!(told[0].starts_with("rcpt: 451 4.4.1 "), "{told:?}");
    assert!(told[0].contains("write tls-ca"), "{told:?}");
}

#[tokio::test]
async fn a_postfix_that_wants_tls_says_what_to_write() {
    if !can_run("postfix") {
        return;
    }
    let certificate = SelfSigned::new("localhost");
    let postfix = postfix("smtpd_tls_security_level = encrypt", &certificate).await;
    let hop = postfix.hop("smtp", |options| options.tls = Some(TlsUse::Off));
    let told = relay(&hop, envelope_to(&["bob@example.org"]), &[HELLO]).await;
    assert!(told[0].contains("it wants TLS"), "{told:?}");
    let hop = postfix.hop("smtp", |options| options.tls = Some(TlsUse::Require));
    let told = relay(&hop, envelope_to(&["bob@example.org"]), &[HELLO]).await;
    assert!(told[0].starts_with("ok: 250 2.0.0 "), "{told:?}");
}

const EXIM: &str = "
primary_hostname = next.test
spool_directory = FOLDER/spool
log_file_path = FOLDER/log/%s.log
pid_file_path = FOLDER/pid
daemon_smtp_ports = PORT
local_interfaces = 127.0.0.1
keep_environment =
acl_smtp_rcpt = rcpt
acl_smtp_data = accept
auth_advertise_hosts = *
tls_advertise_hosts =
chunking_advertise_hosts = *
queue_only = true
begin acl
rcpt:
  deny message = 5.7.0 Authentication required
       !authenticated = *
  deny message = 5.1.1 unknown user
       local_parts = nobody
  accept
begin routers
all:
  driver = redirect
  data = :blackhole:
begin authenticators
plain:
  driver = plaintext
  public_name = PLAIN
  server_prompts = :
  server_condition = ${if and{{eq{$auth2}{mx}}{eq{$auth3}{one}}}}
  server_set_id = $auth2
";

/// An Exim that takes mail from whoever logs in as `mx` with the password `one`.
async fn exim() -> Program {
    let folder = folder("exim", &["spool", "log"]);
    let port = unused_port([127, 0, 0, 1]).unwrap();
    let path = folder.path().display().to_string();
    give(folder.path(), "Debian-exim");
    let config = folder.path().join("exim.conf");
    let text = EXIM
        .replace("FOLDER", &path)
        .replace("PORT", &port.to_string());
    fs::write(&config, text).unwrap();
    let mut command = Command::new("exim4");
    command.arg("-C").arg(&config).arg("-bdf");
    let mut program = Program {
        child: command.spawn().unwrap(),
        port,
        folder,
        stop: None,
    };
    program.ready().await;
    program
}

#[tokio::test]
async fn exim_takes_mail_from_who_logs_in() {
    if !can_run("exim4") {
        return;
    }
    let exim = exim().await;
    let password = exim.folder.path().join("password");
    fs::write(&password, "one\n").unwrap();
    let hop = exim.hop("smtp", |options| {
        options.tls = Some(TlsUse::Off);
        options.username = Some("mx".to_owned());
        options.password_file = Some(password.clone());
    });
    for _ in 0..2 {
        let to = ["nobody@example.org", "bob@example.org"];
        let told = relay(&hop, envelope_to(&to), &[HELLO]).await;
        assert!(
            told[0].starts_with("rcpt: 550 5.1.1 unknown user |"),
            "{told:?}"
        );
        assert!(told[1].starts_with("ok: 250 "), "{told:?}");
    }
    fs::write(&password, "two\n").unwrap();
    let hop = exim.hop("smtp", |options| {
        options.tls = Some(TlsUse::Off);
        options.username = Some("mx".to_owned());
        options.password_file = Some(password.clone());
    });
    let told = relay(&hop, envelope_to(&["bob@example.org"]), &[HELLO]).await;
    assert!(
        told[0].contains("look at username and password-file"),
        "{told:?}"
    );
}

/// Says these lines one after the other; what came back, all lines of it.
async fn ask(address: std::net::SocketAddr, lines: &[&str]) -> String {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
    let mut heard = String::new();
    let mut done = 0;
    for line in [&[""], lines].concat() {
        if !line.is_empty() {
            stream.write_all(line.as_bytes()).await.unwrap();
            stream.write_all(b"\r\n").await.unwrap();
        }
        // The last line of a reply has a blank behind its code.
        let is_last = |line: &str| line.as_bytes().get(3) == Some(&b' ');
        while !heard[done..].lines().any(is_last) || !heard.ends_with("\r\n") {
            let mut bytes = [0; 4096];
            let count = stream.read(&mut bytes).await.unwrap();
            assert!(count > 0, "{heard}");
            heard.push_str(std::str::from_utf8(&bytes[..count]).unwrap());
        }
        done = heard.len();
    }
    heard
}

/// Where the next hop offers DSN, so does the listener, and the wish goes on with the message.
async fn who_asks_to_be_notified_is(transport: prixfixe_server::Transport) {
    use prixfixe_delivery::Delivery;
    use prixfixe_server::{Endpoint, Server};

    if !can_run("postfix") {
        return;
    }
    let certificate = SelfSigned::new("localhost");
    let postfix = postfix("default_transport = discard:", &certificate).await;
    let delivery = Delivery::to("next", postfix.hop("smtp", |_| {}));
    let offered = delivery.clone();
    let endpoint = || Endpoint::new(([127, 0, 0, 1], 0));
    let server = Server::builder()
        .transport(transport)
        .listen(endpoint().dsn_while(move || offered.offers_dsn()))
        .listen(endpoint())
        .handler(delivery)
        .start()
        .unwrap();
    let tcp = |at: usize| server.addresses()[at].ip().unwrap();
    let (pass, auto) = (tcp(0), tcp(1));

    let rcpt = "RCPT TO:<bob@example.org> NOTIFY=SUCCESS ORCPT=rfc822;bob@example.net";
    let with = |rcpt| {
        [
            "EHLO client.example",
            "MAIL FROM:<ann@example.com> RET=HDRS ENVID=e1",
            rcpt,
            "DATA",
            "Subject: hello\r\n\r\nA body.\r\n.",
        ]
    };
    // It is not known yet.
    let unseen = ask(pass, &with(rcpt)[..3]).await;
    assert!(!unseen.contains("DSN"), "{unseen}");
    assert!(unseen.contains("\r\n555 5.5.4 "), "{unseen}");
    let plain = ask(pass, &with("RCPT TO:<bob@example.org> NOTIFY=NEVER")).await;
    assert!(plain.contains("\r\n250 2.0.0 "), "{plain}");

    let seen = ask(pass, &with(rcpt)).await;
    assert!(seen.contains("250-DSN\r\n"), "{seen}");
    assert!(seen.contains("\r\n250 2.0.0 "), "{seen}");
    let elsewhere = ask(auto, &with(rcpt)[..3]).await;
    assert!(!elsewhere.contains("DSN"), "{elsewhere}");
    assert!(elsewhere.contains("\r\n555 5.5.4 "), "{elsewhere}");

    let start = std::time::Instant::now();
    while !postfix
        .log()
        .contains("sender delivery status notification")
    {
        let is_late = start.elapsed() > std::time::Duration::from_secs(60);
        assert!(!is_late, "{}", postfix.log());
        tokio::task::yield_now().await;
    }
    server.shutdown();
}

#[tokio::test(flavor = "multi_thread")]
async fn who_asks_to_be_notified_is_over_tokio() {
    who_asks_to_be_notified_is(prixfixe_server::Transport::Tokio).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_asks_to_be_notified_is_over_raw() {
    who_asks_to_be_notified_is(prixfixe_server::Transport::Raw).await;
}
