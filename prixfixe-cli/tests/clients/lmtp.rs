//! LMTP from a real Postfix and from swaks.

use std::collections::HashMap;
use std::net::Ipv4Addr;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Arc, Mutex};

use prixfixe_server::{
    Accepted, Endpoint, Message, Protocol, Reply, Server, Session, Transport, UnixSocket,
};
use prixfixe_test_support::{has, run};

use crate::postfix::{Postfix, can_run};
use crate::support::Prixfixe;

/// How often each recipient has had the message, and whether `full` has room now.
#[derive(Clone, Default)]
struct Mailboxes {
    taken: Arc<Mutex<HashMap<String, usize>>>,
    has_room: Arc<AtomicBool>,
}

impl Mailboxes {
    fn outcome(&self, recipient: &str) -> Result<(), Reply> {
        match recipient.split_once('@').map(|(local, _)| local) {
            Some("gone") => return Err(Reply::NO_SUCH_USER),
            Some("full") if !self.has_room.load(SeqCst) => return Err(Reply::MAILBOX_FULL),
            _ => {}
        }
        let mut taken = self.taken.lock().expect("no panic under it");
        *taken.entry(recipient.to_owned()).or_default() += 1;
        Ok(())
    }

    fn taken(&self, recipient: &str) -> usize {
        let taken = self.taken.lock().expect("no panic under it");
        taken.get(recipient).copied().unwrap_or_default()
    }
}

impl Session for Mailboxes {
    async fn message(&mut self, message: Message) -> Result<Accepted, Reply> {
        let message = message.collect().await?;
        let recipients = message.envelope().recipients().iter();
        let outcomes = recipients.map(|it| self.outcome(&it.to_string()));
        Ok(Accepted::each(outcomes.collect()))
    }
}

fn start(transport: Transport, endpoint: Endpoint, mailboxes: &Mailboxes) -> Server {
    let mailboxes = mailboxes.clone();
    Server::builder()
        .domain("mx.test")
        .listen(endpoint.protocol(Protocol::Lmtp))
        .transport(transport)
        .sessions(move |_| {
            let session = mailboxes.clone();
            async { Ok(session) }
        })
        .start()
        .expect("it starts")
}

/// One message for three: one takes it, one is full for now, one is not there.
fn deliver(postfix: &Postfix, mailboxes: &Mailboxes) {
    let recipients = ["bob@example.com", "full@example.com", "gone@example.com"];
    postfix.send_to(1, &recipients);
    postfix.wait_for(&["to=<bob@example.com>", "status=sent (250 2.0.0 OK "]);
    postfix.wait_for(&["to=<full@example.com>", "status=deferred", "452 4.2.2"]);
    postfix.wait_for(&["to=<gone@example.com>", "status=bounced", "550 5.1.1"]);
    assert_eq!(mailboxes.taken("full@example.com"), 0);
    mailboxes.has_room.store(true, SeqCst);
    postfix.wait_for(&["to=<full@example.com>", "status=sent (250 2.0.0 OK "]);
    let taken = recipients.map(|recipient| mailboxes.taken(recipient));
    assert_eq!(taken, [1, 1, 0], "{}", postfix.log());
}

/// What is kept is tried again every second.
fn transport_map(next_hop: &str) -> String {
    format!(
        "transport_maps = inline:{{ example.com=lmtp:{next_hop} }}\n\
         queue_run_delay = 1s\nminimal_backoff_time = 1s\nmaximal_backoff_time = 1s"
    )
}

#[test]
fn a_postfix_delivers_by_lmtp_and_keeps_what_was_refused_for_a_time() {
    if !can_run() {
        return;
    }
    for transport in [Transport::Tokio, Transport::Raw] {
        let mailboxes = Mailboxes::default();
        let endpoint = Endpoint::new((Ipv4Addr::LOCALHOST, 0));
        let server = start(transport, endpoint, &mailboxes);
        let port = server.local_address().port();
        let next_hop = format!("inet:127.0.0.1:{port}");
        deliver(&Postfix::start(port, &transport_map(&next_hop)), &mailboxes);
    }
}

#[test]
fn a_postfix_delivers_by_lmtp_over_a_unix_socket() {
    if !can_run() {
        return;
    }
    for transport in [Transport::Tokio, Transport::Raw] {
        let folder = tempfile::tempdir().expect("a folder");
        // Postfix's processes are not root.
        let open = std::fs::Permissions::from_mode(0o755);
        std::fs::set_permissions(folder.path(), open).expect("it is ours");
        let path = folder.path().join("lmtp.sock");
        let mailboxes = Mailboxes::default();
        let endpoint = Endpoint::unix(UnixSocket::new(&path).mode(0o666));
        let _server = start(transport, endpoint, &mailboxes);
        let next_hop = format!("unix:{}", path.display());
        deliver(&Postfix::start(25, &transport_map(&next_hop)), &mailboxes);
    }
}

#[test]
fn swaks_delivers_by_lmtp() {
    if !has("swaks") {
        return;
    }
    for transport in ["tokio", "raw"] {
        let server = Prixfixe::start(&[
            "--transport",
            transport,
            "--listen-lmtp=127.0.0.1:0",
            "--tls-self-signed",
        ]);
        for (extra, protocol) in [(&[][..], "LMTP"), (&["--tls"], "LMTPS")] {
            let text = run(Command::new("swaks")
                .args(["--protocol", "LMTP", "--server", "127.0.0.1"])
                .args(["--port", &server.last_port(), "--helo", "swaks.test"])
                .args(["--from", "ann@example.com"])
                .args(["--to", "bob@example.com,carol@example.com"])
                .args(extra));
            assert_eq!(text.matches(" 250 2.0.0 OK ").count(), 2, "{text}");
            let mail = server.mail();
            let trace = mail.last().expect("a message").trace.concat();
            assert!(trace.contains(&format!(" with {protocol} id ")), "{trace}");
        }
    }
}
