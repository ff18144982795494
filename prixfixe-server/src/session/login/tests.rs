//! Logins over TLS, without sockets.

use std::future::pending;
use std::task::Waker;
use std::time::Duration;

use prixfixe_network::Session as _;

use super::*;
use crate::conversation::Application;
use crate::endpoint::Rules;
use crate::log::tests::Events;
use crate::shared::SmtpService;
use crate::tls::{TlsInfo, TlsVersion, Upgrade};
use crate::{Accepted, Authenticating, Authenticator, Identity, Message, Peer, Sessions, Settings};

/// Knows one user by two names. To `slow` it never has an answer, and over `panic` it panics.
#[derive(Debug)]
struct OneUser;

impl Authenticator for OneUser {
    fn mechanisms(&self, client: &Client) -> Vec<Mechanism> {
        assert!(client.tls().is_some(), "asked in plaintext");
        vec![Mechanism::LOGIN, Mechanism::PLAIN]
    }

    fn authenticate<'a>(&'a self, mut login: crate::Login<'a>) -> Authenticating<'a> {
        Box::pin(async move {
            // What a claim says is left unheeded, as a careless back end would.
            let given = match login.password().await {
                Err(reply) if reply.code() == 421 => return Ok(Identity::new("ann")),
                given => given?,
            };
            match (given.user(), given.password()) {
                ("slow", _) => pending().await,
                ("panic", _) => panic!("as the test says"),
                ("ann" | "ann@example.com", b"secret") => Ok(Identity::new(given.user())),
                _ => Err(Reply::BAD_CREDENTIALS),
            }
        })
    }
}

struct Sink;

impl crate::Session for Sink {
    async fn message(&mut self, message: Message) -> Result<Accepted, Reply> {
        message.collect().await?;
        Ok(Accepted::default())
    }
}

struct World {
    service: SmtpService,
    now: Instant,
}

impl World {
    fn new(change: impl FnOnce(Settings) -> Settings) -> Self {
        let sessions = Sessions::new(|_| async { Ok(Sink) });
        let application = Arc::new(Application::new(Arc::new(sessions), Default::default()));
        let settings = Settings::default().domain("mx.example.com");
        let settings = settings.auth(AuthMode::Offer).authenticator(OneUser);
        Self {
            service: SmtpService::new(application, &change(settings), vec![Rules::none()]),
            now: Instant::now(),
        }
    }

    /// A client at this address that speaks TLS and has said EHLO.
    fn client(&self, address: &str) -> SmtpSession {
        let peer = Peer::Ip((address.parse::<IpAddr>().unwrap(), 1024).into());
        let client = Client::new(peer, None, crate::client::Via::Direct);
        let mut session = SmtpSession::new(self.service.shared(), self.now, client);
        session.tls_established(self.now, TlsInfo::new(TlsVersion::Tls13, "suite"));
        self.poll(&mut session);
        self.ask(&mut session, "EHLO c");
        session
    }

    /// What a line comes to.
    fn ask(&self, session: &mut SmtpSession, line: &str) -> String {
        session.receive(self.now, format!("{line}\r\n").as_bytes());
        self.poll(session)
    }

    fn poll(&self, session: &mut SmtpSession) -> String {
        let _ = session.poll(self.now, &mut Context::from_waker(Waker::noop()));
        let said = String::from_utf8(session.output().pending().to_vec()).unwrap();
        let length = said.len();
        session.output().consume(length);
        said
    }

    fn login(&self, session: &mut SmtpSession, user: &str, password: &str) -> String {
        let said = self.ask(session, &plain(user, password));
        said.get(..9).unwrap_or(&said).to_owned()
    }
}

fn plain(user: &str, password: &str) -> String {
    let response = base64(format!("\0{user}\0{password}").as_bytes());
    format!("AUTH PLAIN {response}")
}

/// RFC 4648 section 4, slowly.
fn base64(octets: &[u8]) -> String {
    let digits = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for group in octets.chunks(3) {
        let bits = (0..3).fold(0, |bits, at| {
            bits << 8 | u32::from(group.get(at).copied().unwrap_or(0))
        });
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

#[test]
fn ehlo_offers_what_the_back_end_does() {
    let world = World::new(|settings| settings);
    let mut session = world.client("192.0.2.1");
    let hello = world.ask(&mut session, "EHLO c");
    assert!(hello.contains("\r\n250-AUTH LOGIN PLAIN\r\n"), "{hello}");
    assert_eq!(world.login(&mut session, "ann", "secret"), "235 2.7.0");
    assert_eq!(session.client.identity().unwrap().name(), "ann");
    // EHLO and RSET change nothing about it, TLS does.
    world.ask(&mut session, "EHLO c");
    world.ask(&mut session, "RSET");
    assert_eq!(session.client.identity().unwrap().name(), "ann");
    session.tls_established(world.now, TlsInfo::new(TlsVersion::Tls13, "suite"));
    assert_eq!(session.client.identity(), None);
}

#[test]
fn a_stranger_fails_five_times_with_a_name_and_then_is_out_with_it() {
    let world = World::new(|settings| settings);
    let mut session = world.client("192.0.2.1");
    for _ in 0..5 {
        assert_eq!(world.login(&mut session, "ann", "wrong"), "535 5.7.8");
    }
    assert_eq!(world.login(&mut session, "ann", "wrong"), "421 4.7.0");
    assert!(session.connection.is_closed());
    // A right password is no way around it, and another name or client is free.
    let again = || world.client("192.0.2.1");
    assert_eq!(world.login(&mut again(), "ann", "secret"), "421 4.7.0");
    assert_eq!(world.login(&mut again(), "ANN", "secret"), "421 4.7.0");
    assert_eq!(
        world.login(&mut again(), "ann@example.com", "secret"),
        "235 2.7.0"
    );
    assert_eq!(
        world.login(&mut world.client("192.0.2.2"), "ann", "secret"),
        "235 2.7.0"
    );

    let later = World {
        now: world.now + Duration::from_secs(11 * 60),
        ..world
    };
    let mut session = later.client("192.0.2.1");
    assert_eq!(later.login(&mut session, "ann", "secret"), "235 2.7.0");
}

#[test]
fn a_stranger_fails_fifty_times_and_then_is_out() {
    let world = World::new(|settings| settings);
    let mut session = world.client("2001:db8::1");
    for user in 0..50 {
        let said = world.login(&mut session, &user.to_string(), "wrong");
        assert_eq!(said, "535 5.7.8");
    }
    assert_eq!(world.login(&mut session, "x", "wrong"), "421 4.7.0");
    // The back end is not even asked, whatever the mechanism.
    let mut same = world.client("2001:db8::2");
    assert!(world.ask(&mut same, "AUTH LOGIN").starts_with("421 4.7.0"));
}

#[test]
fn clients_nearby_have_no_limit_unless_one_is_set() {
    let world = World::new(|settings| settings);
    let mut session = world.client("10.0.0.1");
    for _ in 0..60 {
        assert_eq!(world.login(&mut session, "ann", "wrong"), "535 5.7.8");
    }
    let world = World::new(|settings| settings.auth_max_failures(1));
    let mut session = world.client("10.0.0.1");
    assert_eq!(world.login(&mut session, "ann", "wrong"), "535 5.7.8");
    assert_eq!(world.login(&mut session, "ann", "wrong"), "421 4.7.0");
}

#[test]
fn who_gives_up_has_not_failed() {
    let world = World::new(|settings| settings.auth_max_failures(1));
    let mut session = world.client("192.0.2.1");
    for response in ["*", "?", "*"] {
        let asked = world.ask(&mut session, "AUTH LOGIN YW5u");
        assert!(asked.starts_with("334 "), "{asked}");
        assert!(world.ask(&mut session, response).starts_with("501 5."));
    }
    assert_eq!(world.login(&mut session, "ann", "secret"), "235 2.7.0");
}

#[test]
fn a_back_end_has_its_time_and_the_session_goes_on() {
    let world = World::new(|settings| settings.handler_timeout(Duration::from_secs(9)));
    let mut session = world.client("192.0.2.1");
    assert_eq!(world.login(&mut session, "slow", ""), "");
    assert_eq!(session.deadline(), Some(world.now + Duration::from_secs(9)));
    let later = World {
        now: world.now + Duration::from_secs(9),
        ..world
    };
    assert_eq!(
        later.poll(&mut session),
        "454 4.7.0 Temporary authentication failure, try again later\r\n"
    );
    assert_eq!(later.login(&mut session, "ann", "secret"), "235 2.7.0");
}

#[test]
fn a_client_that_is_waited_for_has_its_own_time() {
    let world = World::new(|settings| settings.handler_timeout(Duration::from_secs(9)));
    let mut session = world.client("192.0.2.1");
    assert!(world.ask(&mut session, "AUTH PLAIN").starts_with("334 "));
    assert_eq!(
        session.deadline(),
        Some(world.now + Duration::from_secs(300))
    );
    let later = World {
        now: world.now + Duration::from_secs(300),
        ..world
    };
    assert!(later.poll(&mut session).starts_with("421 4.4.2"));
}

#[test]
fn a_panic_ends_the_session() {
    let world = World::new(|settings| settings);
    let mut session = world.client("192.0.2.1");
    assert_eq!(world.login(&mut session, "panic", ""), "421 4.3.0");
    assert!(session.connection.is_closed());
}

#[test]
fn who_has_logged_in_sends_as_itself_where_it_must() {
    let world = World::new(|settings| settings.auth_sender(AuthSender::Own));
    for (user, sender, code) in [
        (None, "bob@example.com", "250"),
        (Some("ann@example.com"), "ann@example.com", "250"),
        (Some("ann@example.com"), "ANN@Example.COM", "250"),
        (Some("ann@example.com"), "", "250"),
        (Some("ann@example.com"), "bob@example.com", "553"),
        (Some("ann@example.com"), "ann@example.net", "553"),
        (Some("ann"), "ann@mx.example.com", "250"),
        (Some("ann"), "ann@example.com", "553"),
    ] {
        let mut session = world.client("192.0.2.1");
        if let Some(user) = user {
            world.login(&mut session, user, "secret");
        }
        let said = world.ask(&mut session, &format!("MAIL FROM:<{sender}>"));
        assert!(said.starts_with(code), "{user:?} {sender}: {said}");
        assert!(code == "250" || said.starts_with("553 5.7.1"), "{said}");
        assert!(world.ask(&mut session, "RSET").starts_with("250"));
    }
}

#[test]
fn logins_are_counted_by_mechanism_and_outcome() {
    let world = World::new(|settings| settings.auth_max_failures(1));
    let mut session = world.client("192.0.2.1");
    world.login(&mut session, "ann", "wrong");
    world.ask(&mut session, "AUTH LOGIN");
    world.ask(&mut session, "*");
    world.ask(&mut session, "AUTH PLAIN AAAA");
    world.login(&mut session, "ann@example.com", "secret");
    world.login(&mut world.client("192.0.2.1"), "ann", "wrong");
    world.login(&mut world.client("192.0.2.1"), "ann", "secret");
    let snapshot = crate::MetricsSnapshot::of(world.service.counts(), world.now);
    let counted: Vec<_> = snapshot.logins.into_iter().filter(|it| it.2 > 0).collect();
    let expected = [
        (AuthMechanism::Plain, AuthResult::Ok, 1),
        (AuthMechanism::Plain, AuthResult::Failed, 1),
        (AuthMechanism::Plain, AuthResult::Blocked, 2),
        (AuthMechanism::Plain, AuthResult::Aborted, 1),
        (AuthMechanism::Login, AuthResult::Aborted, 1),
    ];
    assert_eq!(counted, expected);
}

/// A proxy's own login and certificate are not those of the clients that it brings.
#[test]
fn a_client_of_a_proxy_has_neither_its_login_nor_its_certificate() {
    let world = World::new(|settings| settings.authenticator(ByCertificate));
    let peer = Peer::Ip(([192, 0, 2, 1], 1024).into());
    let client = Client::new(peer, None, crate::client::Via::Direct).with_xclient();
    let mut session = SmtpSession::new(world.service.shared(), world.now, client);
    let mut tls = TlsInfo::new(TlsVersion::Tls13, "suite");
    tls.client_subject = Some("CN=proxy".to_owned());
    tls.client_name = Some("proxy".to_owned());
    tls.channel_binding = Some([7; 32]);
    session.tls_established(world.now, tls);
    world.poll(&mut session);
    let hello = world.ask(&mut session, "EHLO proxy");
    assert!(hello.contains("AUTH EXTERNAL\r\n"), "{hello}");
    let said = world.ask(&mut session, "AUTH EXTERNAL =");
    assert!(said.starts_with("235"), "{said}");
    let said = world.ask(&mut session, "XCLIENT ADDR=203.0.113.9");
    assert!(said.starts_with("220"), "{said}");
    assert_eq!(session.client.identity(), None);
    assert_eq!(session.client.channel_binding(), None);
    let hello = world.ask(&mut session, "EHLO c");
    assert!(!hello.contains("EXTERNAL"), "{hello}");
    let said = world.ask(&mut session, "AUTH EXTERNAL =");
    assert!(said.starts_with("50"), "{said}");
}

/// Knows whoever has a certificate.
#[derive(Debug)]
struct ByCertificate;

impl Authenticator for ByCertificate {
    fn mechanisms(&self, client: &Client) -> Vec<Mechanism> {
        let name = client.tls().and_then(|tls| tls.client_name.as_deref());
        name.map(|_| Mechanism::EXTERNAL).into_iter().collect()
    }

    fn authenticate<'a>(&'a self, login: crate::Login<'a>) -> Authenticating<'a> {
        let name = login.client().tls().and_then(|tls| tls.client_name.clone());
        Box::pin(async move { name.map(Identity::new).ok_or(Reply::BAD_CREDENTIALS) })
    }
}

/// One line for each, for programs that read logs, and no password in any.
#[test]
fn a_failed_login_is_one_line() {
    let lines = Events::of(|| {
        let world = World::new(|settings| settings);
        let mut session = world.client("192.0.2.1");
        world.login(&mut session, "an\tn", "hunter2");
        world.ask(&mut session, "AUTH LOGIN Ym9i");
        world.ask(&mut session, "*");
        world.login(&mut session, "ann", "secret");
        world.ask(&mut session, "AUTH PLAIN aHVudGVyMg==");
        world.ask(&mut session, "MAIL FROM:<a@example.com>");
        world.ask(&mut session, "RCPT TO:<b@example.com>");
        world.ask(&mut session, "DATA");
        world.ask(&mut session, "x\r\n.");
    });
    let refused: Vec<&String> = lines
        .iter()
        .filter(|it| it.contains("message=refused"))
        .collect();
    assert_eq!(refused.len(), 3, "{lines:?}");
    for part in [
        "peer=192.0.2.1:1024",
        "what=\"auth\"",
        "user=an\tn",
        "reply=535 5.7.8",
    ] {
        assert!(refused[0].contains(part), "{part}: {}", refused[0]);
    }
    assert!(refused[1].contains("what=\"auth\"") && refused[1].contains("reply=501 5.7.0"));
    assert!(refused[2].contains("what=\"command\"") && refused[2].contains("command=\"AUTH\""));
    let ends = ["message=message", "message=connection"];
    for end in ends {
        let line = lines.iter().find(|it| it.contains(end)).unwrap();
        assert!(line.contains("user=ann"), "{line}");
    }
    let all = lines.concat();
    assert!(!all.contains("hunter2") && !all.contains("aHVudGVyMg") && !all.contains("secret"));
}
