//! A submission server: clients log in over TLS, send as themselves, and to anybody.
//!
//! `cargo run --example submission`, then
//! `swaks --server 127.0.0.1:5870 --tls --auth PLAIN --auth-user ann@example.com --auth-password secret --to bob@example.net`.
#![allow(clippy::print_stdout, reason = "an example shows what it does")]

use prixfixe_server::{
    Accepted, AuthMode, AuthSender, CertificateSource, Client, Identity, Login, Mechanism, Message,
    Reply, Server, Session, TlsConfig,
};

/// One connection.
struct Submission;

impl Session for Submission {
    async fn authenticate(&mut self, mut login: Login<'_>) -> Result<Identity, Reply> {
        let given = login.password().await?;
        // A real one looks up a hash, and computes it on another thread.
        match (given.user(), given.password()) {
            ("ann@example.com", b"secret") => Ok(Identity::new(given.user())),
            _ => Err(Reply::BAD_CREDENTIALS),
        }
    }

    async fn message(&mut self, message: Message) -> Result<Accepted, Reply> {
        let message = message.collect().await?;
        let user = message.client().identity().map_or("nobody", Identity::name);
        println!("{user} sends {} bytes", message.content().len());
        Ok(Accepted::default())
    }
}

fn server(port: u16) -> Result<Server, Box<dyn std::error::Error>> {
    let domains = vec!["mx.example.com".to_owned()];
    let certificate = CertificateSource::self_signed(domains);
    let server = Server::builder()
        .domain("mx.example.com")
        .listen(([127, 0, 0, 1], port))
        .tls(TlsConfig::builder().certificate(certificate).build()?)
        .auth(AuthMode::Require)
        .auth_mechanisms([Mechanism::PLAIN, Mechanism::LOGIN])
        .auth_sender(AuthSender::Own)
        .sessions(|_: Client| async { Ok(Submission) })
        .start()?;
    Ok(server)
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    server(5870)?.stopped().await;
    Ok(())
}

#[tokio::test]
async fn ann_logs_in_by_her_password_and_nobody_in_plaintext() {
    let client = Client::builder().build();
    for (password, expected) in [("secret", true), ("guess", false)] {
        let login = Login::plain(&client, "ann@example.com", password);
        let identity = Submission.authenticate(login).await;
        assert_eq!(identity.is_ok(), expected);
    }

    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let server = server(0).expect("it starts");
    let mut stream = tokio::net::TcpStream::connect(server.local_address())
        .await
        .expect("it listens");
    let said = b"EHLO c\r\nAUTH PLAIN AA==\r\nMAIL FROM:<ann@example.com>\r\nQUIT\r\n";
    stream.write_all(said).await.expect("it reads");
    let mut replies = String::new();
    stream
        .read_to_string(&mut replies)
        .await
        .expect("it closes");
    assert!(replies.contains("\r\n538 5.7.11 ") && replies.contains("\r\n530 5.7.0 "));
}
