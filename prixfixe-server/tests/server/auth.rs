//! Logins over sockets, in TLS and in plaintext, by hooks and by back ends.

use std::net::{SocketAddr, TcpStream};
use std::num::NonZeroUsize;
use std::time::Duration;

use prixfixe_server::{
    Accepted, AuthMode, Authenticating, Authenticator, CertificateSource, Client, Endpoint,
    Handler, Identity, Inbox, InboxHandler, Login, Mechanism, Message, Reply, Server,
    ServerBuilder, Session, SettingsError, StartError, TlsConfig, Transport, inbox, reply,
};
use prixfixe_test_support::SelfSigned;
use rustls::pki_types::ServerName;
use rustls::{ClientConnection, StreamOwned};

use crate::client::{Client as Plain, builder};
use crate::on_both_transports;

on_both_transports![
    a_session_checks_passwords_the_easy_way,
    a_session_speaks_a_mechanism_of_its_own,
    a_back_end_is_asked_in_place_of_the_session,
    where_every_password_is_right_it_is_in_plaintext_too,
    listeners_have_their_own_modes,
    a_mode_is_changed_for_connections_to_come,
    a_client_that_leaves_in_the_middle_drops_the_hook,
];

/// How long a test waits for a server before it has found a hang.
const PATIENCE: Duration = Duration::from_secs(30);
const DOMAIN: &str = "mx.test";

/// A certificate, and who trusts it.
struct Certificate {
    made: SelfSigned,
    server: TlsConfig,
}

impl Certificate {
    fn new() -> Self {
        let made = SelfSigned::new(DOMAIN);
        let source = CertificateSource::memory(
            made.certificate_pem.clone().into_bytes(),
            made.key_pem.clone().into_bytes(),
        );
        let server = TlsConfig::builder().certificate(source).build();
        Self {
            made,
            server: server.expect("a pair"),
        }
    }

    /// A server with threads of its own, since this client blocks. TLS comes first.
    fn builder(&self, transport: Transport) -> ServerBuilder<()> {
        Server::builder()
            .domain(DOMAIN)
            .listen(Endpoint::new(([127, 0, 0, 1], 0)).implicit_tls())
            .transport(transport)
            .threads(NonZeroUsize::MIN)
            .tls(self.server.clone())
    }

    fn connect(&self, address: SocketAddr) -> Secure {
        let stream = TcpStream::connect(address).expect("the server listens");
        stream.set_read_timeout(Some(PATIENCE)).expect("an option");
        let name = ServerName::try_from(DOMAIN).expect("a name");
        let connection = ClientConnection::new(self.made.client_config(), name);
        let stream = StreamOwned::new(connection.expect("a client"), stream);
        let mut client = Secure(prixfixe_test_support::Client::new(stream));
        assert!(client.reply().starts_with("220 "));
        assert!(client.ask("EHLO client.test").starts_with("250"));
        client
    }
}

/// A client over TLS.
struct Secure(prixfixe_test_support::Client<StreamOwned<ClientConnection, TcpStream>>);

impl Secure {
    fn ask(&mut self, line: &str) -> String {
        self.0
            .send(format!("{line}\r\n"))
            .expect("the server reads");
        self.reply()
    }

    fn reply(&mut self) -> String {
        self.0.reply().expect("the connection holds")
    }

    fn deliver(&mut self) {
        assert!(self.ask("MAIL FROM:<ann@example.com>").starts_with("250"));
        assert!(self.ask("RCPT TO:<bob@example.com>").starts_with("250"));
        assert!(self.ask("DATA").starts_with("354"));
        assert!(self.ask("hello\r\n.").starts_with("250"));
    }
}

/// Knows Ann. What is delivered goes to an inbox.
struct Knowing(InboxHandler);

impl Session for Knowing {
    async fn authenticate(&mut self, mut login: Login<'_>) -> Result<Identity, Reply> {
        if *login.mechanism() == "X-BOUND" {
            return bound(login).await;
        }
        let given = login.password().await?;
        match (given.user(), given.password()) {
            ("ann", b"secret") => Ok(Identity::new("ann")),
            _ => Err(Reply::BAD_CREDENTIALS),
        }
    }

    async fn message(&mut self, message: Message) -> Result<Accepted, Reply> {
        self.0.message(message).await
    }
}

/// A mechanism of the test's: two challenges, of which the second wants the channel binding.
async fn bound(mut login: Login<'_>) -> Result<Identity, Reply> {
    let name = login.first_response().await?;
    let echo = login.challenge(&name).await?;
    let binding = login.challenge(b"binding?").await?;
    let is_bound = login.channel_binding() == Some(binding.as_bytes());
    match echo == name && is_bound {
        true => Ok(Identity::new(String::from_utf8_lossy(&name))),
        false => Err(reply!(535 5.7.8 "not bound")),
    }
}

fn knowing(builder: ServerBuilder<()>) -> (ServerBuilder<impl Handler>, Inbox) {
    let (handler, inbox) = inbox();
    let builder = builder.sessions(move |_| {
        let session = Knowing(handler.clone());
        async { Ok(session) }
    });
    (builder, inbox)
}

async fn a_session_checks_passwords_the_easy_way(transport: Transport) {
    let certificate = Certificate::new();
    let builder = certificate.builder(transport).auth(AuthMode::Require);
    let builder = builder.auth_mechanisms([Mechanism::PLAIN, Mechanism::LOGIN]);
    let (builder, mut inbox) = knowing(builder);
    let server = builder.start().expect("the server starts");
    let mut client = certificate.connect(server.local_address());
    let hello = client.ask("EHLO client.test");
    assert!(hello.contains("250-AUTH PLAIN LOGIN\r\n"), "{hello}");
    assert!(client.ask("MAIL FROM:<>").starts_with("530 5.7.0"));
    assert!(
        client
            .ask("AUTH PLAIN AGFubgB3cm9uZw==")
            .starts_with("535 5.7.8")
    );
    assert_eq!(client.ask("AUTH LOGIN"), "334 VXNlcm5hbWU6");
    assert_eq!(client.ask("YW5u"), "334 UGFzc3dvcmQ6");
    assert!(client.ask("c2VjcmV0").starts_with("235 2.7.0"));
    client.deliver();
    let message = inbox.next().await.expect("a message");
    let identity = message.client().identity().map(Identity::name);
    assert_eq!(identity, Some("ann"));
    let headers = String::from_utf8(message.received_header()).expect("text");
    assert!(headers.contains(" with ESMTPSA id "), "{headers}");
    let logins = server.metrics().snapshot().logins;
    assert_eq!(logins.iter().map(|(_, _, count)| count).sum::<u64>(), 2);
}

async fn a_session_speaks_a_mechanism_of_its_own(transport: Transport) {
    let certificate = Certificate::new();
    let builder = certificate.builder(transport).auth(AuthMode::Offer);
    let own: Mechanism = "X-BOUND".parse().expect("a name");
    let (builder, _inbox) = knowing(builder.auth_mechanisms([own]));
    let server = builder.start().expect("the server starts");
    let mut client = certificate.connect(server.local_address());
    let mut binding = [0; 32];
    let tls = &client.0.stream().conn;
    tls.export_keying_material(&mut binding, b"EXPORTER-Channel-Binding", Some(b""))
        .expect("TLS is there");
    for (binding, code) in [([0; 32], "535 5.7.8"), (binding, "235 2.7.0")] {
        assert_eq!(client.ask("AUTH X-BOUND"), "334");
        assert_eq!(client.ask("YW5u"), "334 YW5u");
        assert_eq!(client.ask("YW5u"), "334 YmluZGluZz8=");
        let said = client.ask(&base64(&binding));
        assert!(said.starts_with(code), "{said}");
    }
}

fn base64(octets: &[u8]) -> String {
    let digits = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for group in octets.chunks(3) {
        let octet = |at: usize| group.get(at).map_or(0, |octet| u32::from(*octet));
        let bits = octet(0) << 16 | octet(1) << 8 | octet(2);
        for place in 0..4 {
            let digit = digits[(bits >> (18 - 6 * place) & 63) as usize];
            text.push(if place <= group.len() {
                digit.into()
            } else {
                '='
            });
        }
    }
    text
}

/// Lets in whoever says who it is.
struct ByName;

impl Authenticator for ByName {
    fn mechanisms(&self, client: &Client) -> Vec<Mechanism> {
        match client.tls() {
            Some(_) => vec![Mechanism::EXTERNAL],
            None => panic!("asked in plaintext"),
        }
    }

    fn authenticate<'a>(&'a self, mut login: Login<'a>) -> Authenticating<'a> {
        Box::pin(async move {
            let name = login.first_response().await?;
            let name = String::from_utf8(name.to_vec()).map_err(|_| Reply::BAD_CREDENTIALS)?;
            login.claim(&name).await?;
            tokio::task::yield_now().await;
            Ok(Identity::new(name))
        })
    }
}

async fn a_back_end_is_asked_in_place_of_the_session(transport: Transport) {
    let certificate = Certificate::new();
    let builder = certificate.builder(transport).auth(AuthMode::Offer);
    let builder = builder
        .authenticator(ByName)
        .auth_mechanisms([Mechanism::PLAIN]);
    let (builder, mut inbox) = knowing(builder);
    let server = builder.start().expect("the server starts");
    let mut client = certificate.connect(server.local_address());
    let hello = client.ask("EHLO client.test");
    assert!(hello.contains("250-AUTH EXTERNAL\r\n"), "{hello}");
    let other = client.ask("AUTH PLAIN AGFubgBzZWNyZXQ=");
    assert!(other.starts_with("504 5.5.4"), "{other}");
    assert!(client.ask("AUTH EXTERNAL Ym9i").starts_with("235 2.7.0"));
    assert!(client.ask("EHLO client.test").starts_with("250"));
    client.deliver();
    let message = inbox.next().await.expect("a message");
    let identity = message.client().identity().map(Identity::name);
    assert_eq!(identity, Some("bob"));
}

async fn where_every_password_is_right_it_is_in_plaintext_too(transport: Transport) {
    let builder = builder(transport).auth(AuthMode::Any).authenticator(ByName);
    let (handler, mut inbox) = inbox();
    let server = builder.handler(handler).start().expect("the server starts");
    for (login, name, with) in [
        ("AUTH PLAIN AGFubgB3aGF0ZXZlcg==", "ann", "ESMTPA"),
        ("AUTH LOGIN YW5u\r\nd2hhdGV2ZXI=", "ann", "ESMTPA"),
        (
            "AUTH XOAUTH2 dXNlcj1ib2IBYXV0aD1CZWFyZXIgeAEB",
            "bob",
            "ESMTPA",
        ),
        (
            "AUTH OAUTHBEARER bixhPWJvYiwBYXV0aD1CZWFyZXIgeAEB",
            "bob",
            "ESMTPA",
        ),
        ("AUTH EXTERNAL =", "anonymous", "ESMTPA"),
    ] {
        let mut client = Plain::greeted(server.local_address()).await;
        let mut said = client.ask(login).await;
        if said.starts_with("334") {
            said = client.reply().await;
        }
        assert!(said.starts_with("235 2.7.0"), "{login}: {said}");
        client.deliver("hello").await;
        let message = inbox.next().await.expect("a message");
        let identity = message.client().identity().map(Identity::name);
        assert_eq!(identity, Some(name));
        let headers = String::from_utf8(message.received_header()).expect("text");
        assert!(headers.contains(&format!(" with {with} id ")), "{headers}");
    }
}

async fn listeners_have_their_own_modes(transport: Transport) {
    let address = ([127, 0, 0, 1], 0);
    let builder = builder(transport)
        .listen(Endpoint::new(address).auth(AuthMode::Any))
        .handler(inbox().0);
    let server = builder.start().expect("the server starts");
    let login = "AUTH PLAIN AGFubgB3aGF0ZXZlcg==";
    for (address, code) in server
        .local_addresses()
        .iter()
        .zip(["502 5.5.1", "235 2.7.0"])
    {
        let mut client = Plain::greeted(*address).await;
        let said = client.ask(login).await;
        assert!(said.starts_with(code), "{said}");
    }
    for mode in [AuthMode::Offer, AuthMode::Require] {
        let endpoint = Endpoint::new(address).auth(mode);
        let builder = Server::builder().transport(transport).listen(endpoint);
        let started = builder.handler(inbox().0).start();
        assert!(matches!(
            started,
            Err(StartError::Settings(SettingsError::NoCertificate))
        ));
        let changed = server.reconfigure(|settings| settings.auth(mode));
        assert!(changed.is_err(), "there is no certificate");
    }
}

async fn a_mode_is_changed_for_connections_to_come(transport: Transport) {
    let server = builder(transport).handler(inbox().0).start();
    let server = server.expect("the server starts");
    let mut early = Plain::greeted(server.local_address()).await;
    server
        .reconfigure(|settings| settings.auth(AuthMode::Any))
        .expect("sound settings");
    let mut late = Plain::greeted(server.local_address()).await;
    for (client, code) in [(&mut early, "502"), (&mut late, "235")] {
        let said = client.ask("AUTH PLAIN AGFubgB3aGF0ZXZlcg==").await;
        assert!(said.starts_with(code), "{said}");
    }
}

/// Says so when it is dropped in the middle of a login.
struct Telling(tokio::sync::mpsc::UnboundedSender<()>);

impl Session for Telling {
    async fn authenticate(&mut self, mut login: Login<'_>) -> Result<Identity, Reply> {
        struct OnDrop<'a>(&'a tokio::sync::mpsc::UnboundedSender<()>);
        impl Drop for OnDrop<'_> {
            fn drop(&mut self) {
                let _ = self.0.send(());
            }
        }
        let _told = OnDrop(&self.0);
        login.challenge(b"").await?;
        Err(Reply::BAD_CREDENTIALS)
    }

    async fn message(&mut self, _: Message) -> Result<Accepted, Reply> {
        Ok(Accepted::default())
    }
}

async fn a_client_that_leaves_in_the_middle_drops_the_hook(transport: Transport) {
    let certificate = Certificate::new();
    let (told, mut dropped) = tokio::sync::mpsc::unbounded_channel();
    let builder = certificate.builder(transport).auth(AuthMode::Offer);
    let builder = builder
        .auth_mechanisms([Mechanism::PLAIN])
        .sessions(move |_| {
            let told = told.clone();
            async { Ok(Telling(told)) }
        });
    let server = builder.start().expect("the server starts");
    let mut client = certificate.connect(server.local_address());
    assert_eq!(client.ask("AUTH PLAIN"), "334");
    assert!(client.ask("*").starts_with("501 5.7.0"));
    dropped.recv().await.expect("the hook is dropped");
    assert!(client.ask("NOOP").starts_with("250"), "the session goes on");
    assert_eq!(client.ask("AUTH PLAIN"), "334");
    drop(client);
    dropped.recv().await.expect("the hook is dropped");
}
