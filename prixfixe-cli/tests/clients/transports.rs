//! smtplib, swaks and curl, over each transport.

use std::fs;
use std::process::Command;

use prixfixe_test_support::{has, run};

use crate::support::{Prixfixe, awkward_message};

/// Sends an attachment, eight-bit text, dots and internationalised addresses; writes what it sent
/// beside the Maildir.
const SMTPLIB: &str = r#"
import smtplib, sys
from email.message import EmailMessage
from email.policy import SMTP, SMTPUTF8

port, folder = int(sys.argv[1]), sys.argv[2]
attachment = EmailMessage(policy=SMTP)
attachment["From"], attachment["To"], attachment["Subject"] = "ann@example.com", "bob@example.com", "attached"
attachment.set_content("see there\n")
attachment.add_attachment(bytes(range(256)) * 300, maintype="application", subtype="octet-stream", filename="a.bin")

dots = b"Subject: dots\r\n\r\n.\r\n..\r\n.end of it\r\n...\r\n"
eight_bit = b"Subject: 8bit\r\n\r\nGr\xfc\xdfe \xff\xfe\r\n"
utf8 = EmailMessage(policy=SMTPUTF8)
utf8["From"], utf8["To"], utf8["Subject"] = "änn@example.com", "böb@example.com", "Grüße"
utf8.set_content("ünï\n", cte="8bit")

with smtplib.SMTP("127.0.0.1", port) as client:
    client.ehlo("client.example.com")
    assert client.has_extn("pipelining") and client.has_extn("chunking"), client.esmtp_features
    sends = [
        ("ann@example.com", ["bob@example.com", "cem@example.com"], attachment.as_bytes(), []),
        ("", ["postmaster"], dots, []),
        ("ann@example.com", ["bob@example.com"], eight_bit, ["BODY=8BITMIME"]),
        ("änn@example.com", ["böb@example.com"], utf8.as_bytes(), ["SMTPUTF8", "BODY=8BITMIME"]),
    ]
    for number, (sender, recipients, content, options) in enumerate(sends):
        assert client.sendmail(sender, recipients, content, mail_options=options) == {}
        open("%s/sent-%d" % (folder, number), "wb").write(content)
"#;

fn smtplib(transport: &str) {
    if !has("python3") {
        return;
    }
    let server = Prixfixe::start(&["--transport", transport, "--domain", "mx.example.com"]);
    run(Command::new("python3")
        .args(["-c", SMTPLIB, &server.port()])
        .arg(server.folder()));

    let mail = server.mail();
    assert_eq!(mail.len(), 4);
    for (number, mail) in mail.iter().enumerate() {
        let sent = fs::read(server.folder().join(format!("sent-{number}"))).expect("what was sent");
        assert!(mail.content == sent, "message {number} differs");
    }
    assert_eq!(mail[0].trace[0], "Return-Path: <ann@example.com>");
    assert_eq!(
        mail[0].trace[1..3],
        [
            "Delivered-To: bob@example.com",
            "Delivered-To: cem@example.com"
        ]
    );
    assert!(mail[0].trace[3].starts_with("Received: from client.example.com ([127.0.0.1])"));
    assert!(mail[0].trace[3].contains(" by mx.example.com with ESMTP id "));
    assert_eq!(
        mail[1].trace[..2],
        ["Return-Path: <>", "Delivered-To: postmaster"]
    );
    assert!(mail[3].has_trace("Return-Path: <änn@example.com>"));
    assert!(mail[3].trace[2].contains(" with UTF8SMTP id "));
    server.stop();
}

fn swaks(transport: &str) {
    if !has("swaks") {
        return;
    }
    let server = Prixfixe::start(&["--transport", transport]);
    let file = server.folder().join("message");
    fs::write(&file, awkward_message()).expect("a file");
    let target = format!("127.0.0.1:{}", server.port());
    for extra in [&["--silent", "2"][..], &["--silent", "2", "--pipeline"]] {
        run(Command::new("swaks")
            .args([
                "--server",
                &target,
                "--from",
                "ann@example.com",
                "--to",
                "bob@example.com",
                "--helo",
                "swaks.test",
            ])
            .args(["--no-strip-from", "--data"])
            .arg(format!("@{}", file.display()))
            .args(extra));
    }
    let mail = server.mail();
    assert_eq!(mail.len(), 2);
    for mail in mail {
        // swaks ends a message with an empty line of its own where it has none.
        assert!(mail.content.starts_with(&awkward_message()), "{mail:?}");
        assert!(mail.trace[2].starts_with("Received: from swaks.test"));
    }
}

fn curl(transport: &str) {
    if !has("curl") {
        return;
    }
    let server = Prixfixe::start(&["--transport", transport]);
    let file = server.folder().join("message");
    fs::write(&file, awkward_message()).expect("a file");
    run(Command::new("curl")
        .args(["--silent", "--show-error", "--max-time", "60"])
        .arg(format!("smtp://127.0.0.1:{}/curl.test", server.port()))
        .args([
            "--mail-from",
            "ann@example.com",
            "--mail-rcpt",
            "bob@example.com",
            "--upload-file",
        ])
        .arg(&file));
    let mail = server.mail();
    assert_eq!(mail.len(), 1);
    assert!(mail[0].content == awkward_message());
    assert!(mail[0].trace[2].starts_with("Received: from curl.test"));
}

macro_rules! on_both {
    ($($name:ident),*) => {
        mod tokio_transport { $(#[test] fn $name() { super::$name("tokio"); })* }
        mod raw_transport { $(#[test] fn $name() { super::$name("raw"); })* }
    };
}
on_both!(smtplib, swaks, curl);
