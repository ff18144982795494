//! Programs that log in, right and wrong: none of them was written here.

use std::num::NonZeroUsize;
use std::path::Path;
use std::process::{Command, Stdio};

use lettre::transport::smtp::authentication::{Credentials, Mechanism as Theirs};
use lettre::{AsyncSmtpTransport, AsyncTransport, Tokio1Executor};
use prixfixe_server::{
    Accepted, AuthMode, CertificateSource, Identity, Login, Mechanism, Message, Reply, Server,
    Session, TlsConfig, Transport, inbox,
};
use prixfixe_test_support::has;

use crate::client::builder;
use crate::on_both_transports;

on_both_transports![smtplib, curl, swaks, msmtp, lettre_logs_in];

/// Knows Ann.
struct Visit;

impl Session for Visit {
    async fn authenticate(&mut self, mut login: Login<'_>) -> Result<Identity, Reply> {
        let given = login.password().await?;
        match (given.user(), given.password()) {
            ("ann@example.com", b"secret") => Ok(Identity::new(given.user())),
            _ => Err(Reply::BAD_CREDENTIALS),
        }
    }

    async fn message(&mut self, message: Message) -> Result<Accepted, Reply> {
        assert!(message.client().identity().is_some());
        message.collect().await?;
        Ok(Accepted::default())
    }
}

/// A submission server with STARTTLS, and threads of its own.
fn submission(transport: Transport) -> Server {
    let domains = vec!["mx.test".to_owned()];
    let source = CertificateSource::self_signed(domains);
    let tls = TlsConfig::builder().certificate(source).build();
    builder(transport)
        .threads(NonZeroUsize::MIN)
        .tls(tls.expect("a certificate"))
        .auth(AuthMode::Require)
        .auth_mechanisms([Mechanism::PLAIN, Mechanism::LOGIN])
        .sessions(|_| async { Ok(Visit) })
        .start()
        .expect("the server starts")
}

/// Logins that were right, and that were wrong.
fn logins(server: &Server) -> (u64, u64) {
    let of = |result: &str| {
        let logins = server.metrics().snapshot().logins;
        let counts = logins.iter().filter(|it| it.1.as_str() == result);
        counts.map(|it| it.2).sum()
    };
    (of("ok"), of("failed"))
}

/// Runs the program by each mechanism, with the right password and with a wrong one.
fn try_each(transport: Transport, command: impl Fn(u16, &str, &str) -> Command) {
    let server = submission(transport);
    let port = server.local_address().port();
    for mechanism in ["PLAIN", "LOGIN"] {
        for (password, expected) in [("secret", true), ("wrong", false)] {
            let output = command(port, mechanism, password)
                .stdin(Stdio::null())
                .output()
                .expect("it runs");
            let succeeded = output.status.success();
            assert_eq!(succeeded, expected, "{mechanism} {password}: {output:?}");
        }
    }
    let (right, wrong) = logins(&server);
    assert_eq!(right, 2);
    // Some try another mechanism by themselves.
    assert!(wrong >= 2, "{wrong}");
}

async fn smtplib(transport: Transport) {
    if !has("python3") {
        return;
    }
    let script = "
import smtplib, ssl, sys
port, mechanism, password = int(sys.argv[1]), sys.argv[2], sys.argv[3]
client = smtplib.SMTP('127.0.0.1', port)
client.starttls(context=ssl._create_unverified_context())
client.ehlo()
client.user, client.password = 'ann@example.com', password
try:
    client.auth(mechanism, getattr(client, 'auth_' + mechanism.lower()))
except smtplib.SMTPAuthenticationError as error:
    assert error.smtp_code == 535, error
    sys.exit(3)
client.sendmail('ann@example.com', ['bob@example.com'], 'Subject: x\\r\\n\\r\\nhello\\r\\n')
client.quit()
";
    try_each(transport, |port, mechanism, password| {
        let mut command = Command::new("python3");
        command.args(["-c", script, &port.to_string(), mechanism, password]);
        command
    });
}

async fn curl(transport: Transport) {
    if !has("curl") {
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let mail = folder.path().join("mail");
    std::fs::write(&mail, "Subject: x\r\n\r\nhello\r\n").expect("a file");
    try_each(transport, |port, mechanism, password| {
        let mut command = Command::new("curl");
        command
            .args(["--silent", "--show-error", "--insecure", "--ssl-reqd"])
            .args(["--url", &format!("smtp://127.0.0.1:{port}")])
            .args(["--user", &format!("ann@example.com:{password}")])
            .args(["--login-options", &format!("AUTH={mechanism}")])
            .args(["--mail-from", "ann@example.com"])
            .args(["--mail-rcpt", "bob@example.com", "--upload-file"])
            .arg(&mail);
        command
    });
}

async fn swaks(transport: Transport) {
    if !has("swaks") {
        return;
    }
    try_each(transport, |port, mechanism, password| {
        let mut command = Command::new("swaks");
        command
            .args(["--server", &format!("127.0.0.1:{port}"), "--tls"])
            .args(["--auth", mechanism, "--auth-user", "ann@example.com"])
            .args(["--auth-password", password])
            .args(["--from", "ann@example.com", "--to", "bob@example.com"]);
        command
    });
}

async fn msmtp(transport: Transport) {
    if !has("msmtp") {
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let mail = folder.path().join("mail");
    std::fs::write(&mail, "Subject: x\n\nhello\n").expect("a file");
    try_each(transport, |port, mechanism, password| {
        msmtp_command(&mail, port, mechanism, password)
    });
}

/// It reads the message from its standard input.
fn msmtp_command(mail: &Path, port: u16, mechanism: &str, password: &str) -> Command {
    let mut command = Command::new("sh");
    let line = format!(
        "msmtp --host=127.0.0.1 --port={port} --tls=on --tls-starttls=on --tls-certcheck=off \
         --auth={} --user=ann@example.com --passwordeval='echo {password}' \
         --from=ann@example.com bob@example.com <'{}'",
        mechanism.to_lowercase(),
        mail.display()
    );
    command.args(["-c", &line]);
    command
}

/// Without TLS, where every password is right: that is what its feature here can do.
async fn lettre_logs_in(transport: Transport) {
    let (handler, mut inbox) = inbox();
    let server = builder(transport).auth(AuthMode::Any).handler(handler);
    let server = server.start().expect("the server starts");
    for mechanism in [Theirs::Plain, Theirs::Login, Theirs::Xoauth2] {
        let mail = lettre::Message::builder()
            .from("Ann <ann@example.com>".parse().expect("an address"))
            .to("Bob <bob@example.com>".parse().expect("an address"))
            .body(String::from("hello\r\n"))
            .expect("a message");
        AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous("127.0.0.1")
            .port(server.local_address().port())
            .credentials(Credentials::new("ann".to_owned(), "whatever".to_owned()))
            .authentication(vec![mechanism])
            .build()
            .send(mail)
            .await
            .expect("it is accepted");
        let message = inbox.next().await.expect("it was delivered");
        let identity = message.client().identity().map(Identity::name);
        assert_eq!(identity, Some("ann"));
    }
}
