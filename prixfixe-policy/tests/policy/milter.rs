//! Milters: one on Sendmail's library, Debian's own, and some that break the protocol.

mod faults;
mod real;

use std::net::{Ipv4Addr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use prixfixe_policy::{Milter, MilterAddress};
use prixfixe_server::{Server, Transport};
use prixfixe_test_support::{has, unused_port, wait_until};
use tempfile::TempDir;

use crate::on_both_transports;
use crate::served::Served;

on_both_transports!(
    every_stage_is_told_with_its_macros,
    every_stage_may_refuse,
    a_message_is_changed,
    recipients_and_senders_are_changed,
    several_milters_are_asked_in_a_row,
    a_milter_at_work_gets_more_time,
);

const PYTHON: &str = "prixfixe-milter-python";

/// A milter that runs until it is dropped.
pub(crate) struct Running {
    process: Child,
    address: MilterAddress,
    _directory: TempDir,
}

impl Running {
    /// Starts one that listens at the address it is given, as `inet:PORT@127.0.0.1` or `unix:PATH`.
    pub(crate) fn start(is_unix: bool, command: impl FnOnce(&str, &Path) -> Command) -> Self {
        let directory = TempDir::new().unwrap();
        let path = directory.path().join("socket");
        let (address, theirs) = match is_unix {
            true => {
                let path = path.display();
                (format!("unix:{path}"), format!("unix:{path}"))
            }
            false => {
                let port = unused_port(Ipv4Addr::LOCALHOST).unwrap();
                (
                    format!("inet:127.0.0.1:{port}"),
                    format!("inet:{port}@127.0.0.1"),
                )
            }
        };
        let mut command = command(&theirs, directory.path());
        command.stdin(Stdio::null()).stdout(Stdio::null());
        let process = command.spawn().unwrap();
        let address: MilterAddress = address.parse().unwrap();
        wait_until("the milter listens", || match &address {
            MilterAddress::Unix(path) => UnixStream::connect(path).is_ok(),
            MilterAddress::Inet { host, port } => TcpStream::connect((&**host, *port)).is_ok(),
            _ => false,
        });
        Self {
            process,
            address,
            _directory: directory,
        }
    }

    /// The one beside this file, where there is Python's libmilter.
    fn filter(is_unix: bool) -> Option<Self> {
        let start = |address: &str, _: &Path| {
            let mut command = Command::new(PYTHON);
            command.args(["-c", include_str!("milter/filter.py"), address]);
            command
        };
        has(PYTHON).then(|| Self::start(is_unix, start))
    }

    pub(crate) fn check(&self) -> Milter {
        Milter::new(self.address.clone()).name("mx.receiver.test")
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

async fn every_stage_is_told_with_its_macros(transport: Transport) {
    let Some(filter) = Running::filter(transport == Transport::Raw) else {
        return;
    };
    let mut served = Served::with(transport, filter.check());
    let message = "Subject: told\r\nX-Folded:  a\r\n\tb\r\n\r\n..Hello";
    let kept = served.keeps("ann@sender.test", message).await;
    let told: Vec<&str> = kept
        .lines()
        .filter_map(|it| it.strip_prefix("X-Told: "))
        .collect();
    let expected = [
        "connect unknown 127.0.0.1 j=mx.receiver.test _=unknown [127.0.0.1] {client_addr}=127.0.0.1 {daemon_name}=prixfixe",
        "helo client.test",
        "mail <ann@sender.test>  {mail_addr}=ann@sender.test {mail_host}=sender.test",
        "rcpt <bob@receiver.test> {rcpt_addr}=bob@receiver.test",
        "data",
        "header Subject='told'",
        "header X-Folded='a\\n\\tb'",
        "eoh",
        "body 8",
    ];
    assert_eq!(told, expected);
    // The same connection, and another message.
    let kept = served.keeps("ann@sender.test", "Subject: id\r\n\r\n").await;
    let message = kept
        .lines()
        .find_map(|it| it.strip_prefix("X-Id: "))
        .expect("an id");
    assert!(message.len() > 8, "{kept}");
}

async fn every_stage_may_refuse(transport: Transport) {
    let Some(filter) = Running::filter(transport == Transport::Tokio) else {
        return;
    };
    let mut served = Served::with(transport, filter.check());
    for (sender, expected) in [
        ("rejected", "554 5.7.1 Refused by a filter"),
        ("later", "451 4.7.1 Try again later"),
        ("worded", "451 4.7.9 100% later"),
        ("accepted", "250 "),
    ] {
        let mail = format!("MAIL FROM:<{sender}@sender.test>");
        let replies = served.says(&[&mail]).await;
        assert!(replies[0].starts_with(expected), "{replies:?}");
    }
    let lines = [
        "XYZ a b",
        "EHLO refused.test",
        "MAIL FROM:<ann@sender.test>",
        "RCPT TO:<rejected@receiver.test>",
        "RCPT TO:<data@receiver.test>",
        "DATA",
        "MAIL FROM:<ann@sender.test>",
        "RSET",
        "MAIL FROM:<ann@sender.test>",
        "RCPT TO:<bob@receiver.test>",
        "DATA",
        "Subject: b\r\n\r\nvirus\r\n.",
    ];
    let replies = served.says(&lines).await;
    let starts = [
        "502 5.5.9 No XYZ",
        "550 5.7.8 you",
        "250",
        "554 5.7.1",
        "250",
        "451 4.7.1",
        "250",
        "250",
        "250",
        "250",
        "354",
        "554 5.7.1",
    ];
    for (reply, start) in replies.iter().zip(starts) {
        assert!(reply.starts_with(start), "{start}: {replies:#?}");
    }
    for (sender, subject, expected) in [
        ("ann", "reject at eoh", "554 5.7.1"),
        ("ann", "reply", "554 5.6.9 thanks"),
        ("ann", "discard", "250 2.0.0"),
        ("discarded", "told", "250 2.0.0"),
        ("ann", "nobody", "250 2.0.0"),
    ] {
        let message = format!("Subject: {subject}\r\n\r\na");
        let reply = served
            .gets(&format!("{sender}@sender.test"), &message)
            .await;
        assert!(reply.starts_with(expected), "{subject}: {reply}");
    }
    assert!(served.is_empty().await);
    // The milter has no more to say about this one.
    let kept = served
        .keeps("accepted@sender.test", "Subject: reply\r\n\r\nvirus")
        .await;
    assert_eq!(kept, "Subject: reply\r\n\r\nvirus\r\n");
}

async fn a_message_is_changed(transport: Transport) {
    let Some(filter) = Running::filter(false) else {
        return;
    };
    let mut served = Served::with(transport, filter.check());
    let message = "Subject: headers\r\nX-Old: 1\r\nX-Old: 2\r\nX-Gone: 1\r\nX-Gone: 2\r\n\r\na";
    let kept = served.keeps("ann@sender.test", message).await;
    let expected = "X-First: 2\r\nSubject: headers\r\nX-Second: 3\r\nX-Old: 1\r\nX-Old: new\r\n\tfolded\r\n\
         X-Gone: 2\r\nX-Last: 1\r\nX-None: made\r\n\r\na\r\n";
    assert_eq!(kept, expected);
    let kept = served
        .keeps("ann@sender.test", "Subject: body\r\n\r\na")
        .await;
    assert_eq!(kept, "Subject: body\r\n\r\nOther\r\nwords\r\n");
    let kept = served
        .keeps("ann@sender.test", "Subject: large body\r\n\r\na")
        .await;
    assert_eq!(kept.len(), 23 + 64 * 20_001);
    let kept = served
        .keeps("ann@sender.test", "Subject: quarantine\r\n\r\na")
        .await;
    assert_eq!(
        kept,
        "X-Quarantine: It smells\r\nSubject: quarantine\r\n\r\na\r\n"
    );
    // After its first piece the milter has seen enough of a body.
    let body = "0123456\r\n".repeat(50_000);
    let kept = served
        .keeps("ann@sender.test", &format!("Subject: skip\r\n\r\n{body}"))
        .await;
    let bytes = kept
        .lines()
        .find_map(|it| it.strip_prefix("X-Bytes: "))
        .expect("a field");
    assert!(bytes.parse::<usize>().unwrap() <= 65_535, "{bytes}");
}

async fn recipients_and_senders_are_changed(transport: Transport) {
    let Some(filter) = Running::filter(false) else {
        return;
    };
    let builder = Server::builder().transport(transport);
    let builder = builder
        .accept_domains(["receiver.test"])
        .check(filter.check());
    let mut served = Served::of(builder);
    let reply = served
        .gets("ann@sender.test", "Subject: recipients\r\n\r\na")
        .await;
    assert!(reply.starts_with("250"), "{reply}");
    let message = served.accepted().await;
    let recipients: Vec<_> = message
        .envelope()
        .recipients()
        .iter()
        .map(ToString::to_string)
        .collect();
    // Mail for elsewhere is not accepted here, whoever adds it.
    assert_eq!(recipients, ["bob@receiver.test", "new@receiver.test"]);
    let reply = served
        .gets("ann@sender.test", "Subject: redirect\r\n\r\na")
        .await;
    assert!(reply.starts_with("550 5.7.1"), "{reply}");
    let reply = served
        .gets("ann@sender.test", "Subject: sender\r\n\r\na")
        .await;
    assert!(reply.starts_with("250"), "{reply}");
    let message = served.accepted().await;
    assert_eq!(
        message.envelope().reverse_path().to_string(),
        "other@sender.test"
    );
    assert_eq!(message.verdict().get("milter"), Some("accept"));
}

async fn several_milters_are_asked_in_a_row(transport: Transport) {
    let (Some(first), Some(second)) = (Running::filter(false), Running::filter(true)) else {
        return;
    };
    let builder = Server::builder().transport(transport);
    let mut served = Served::of(builder.check(first.check()).check(second.check()));
    // What both add is there twice. The second changes what the first has made.
    let kept = served
        .keeps("ann@sender.test", "Subject: headers\r\n\r\na")
        .await;
    let count = |field: &str| kept.lines().filter(|it| it.starts_with(field)).count();
    assert_eq!(
        (
            count("X-First: 2"),
            count("X-Last: 1"),
            count("X-None: made")
        ),
        (2, 2, 1)
    );
}

async fn a_milter_at_work_gets_more_time(transport: Transport) {
    let Some(filter) = Running::filter(false) else {
        return;
    };
    // It needs 4 s, and says that it is at work every second.
    let patient = filter.check().timeout(Duration::from_secs(3));
    let mut served = Served::with(transport, patient);
    let kept = served
        .keeps("ann@sender.test", "Subject: slow\r\n\r\na")
        .await;
    assert_eq!(kept, "Subject: slow\r\nX-Slow: 1\r\n\r\na\r\n");
}
