//! RFC 7677's exchange, prixfixe-client as the other side, and clients that lie.

use std::sync::Arc;
use std::time::Instant;

use prixfixe_client::{Config, Connection, Credentials, Piece};
use proptest::prelude::*;

use super::*;

const SALT: &str = "W22ZaJ0SNY7soEsUEjb6gQ==";
const CLIENT_FIRST: &str = "n,,n=user,r=rOprNGfwEbeRWgbNEkqO";
const SERVER_FIRST: &str =
    "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096";
const CLIENT_FINAL: &str = "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,\
     p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=";
const SERVER_FINAL: &str = "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=";

fn pencil() -> Verifier {
    let salt = BASE64.decode(SALT).unwrap();
    Verifier::new(b"pencil", &salt, 4096).unwrap()
}

fn rfc_7677() -> Challenge {
    let first = ClientFirst::parse(CLIENT_FIRST.as_bytes(), ChannelBinding::Absent).unwrap();
    assert_eq!(first.name(), "user");
    first.challenge_with(pencil(), "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0")
}

#[test]
fn the_exchange_of_rfc_7677() {
    let challenge = rfc_7677();
    assert_eq!(challenge.message(), SERVER_FIRST);
    assert_eq!(
        challenge.verify(CLIENT_FINAL.as_bytes()).as_deref(),
        Ok(SERVER_FINAL)
    );
}

/// RFC 5802 section 7.
#[test]
fn final_messages_that_are_wrong() {
    let nonce = "rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0";
    let proof = "dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=";
    for (message, fault) in [
        (format!("c=eSws,r={nonce},p={proof}"), Fault::ChannelBinding),
        (format!("c=,r={nonce},p={proof}"), Fault::ChannelBinding),
        (format!("c=biws,r={nonce}x,p={proof}"), Fault::Nonce),
        (
            format!("c=biws,r=rOprNGfwEbeRWgbNEkqO,p={proof}"),
            Fault::Nonce,
        ),
        (format!("c=biws,r={nonce},p=A{}", &proof[1..]), Fault::Proof),
        (format!("c=biws,r={nonce},x=y,p={proof}"), Fault::Proof),
        (
            format!("c=biws,r={nonce},p={}", &proof[4..]),
            Fault::Malformed,
        ),
        (format!("c=biws,r={nonce},p=*"), Fault::Malformed),
        (format!("c=biws,r={nonce}"), Fault::Malformed),
        (format!("r={nonce},c=biws,p={proof}"), Fault::Malformed),
        (
            format!("c=biws,r={nonce},p={}", "A".repeat(MAX_MESSAGE)),
            Fault::Malformed,
        ),
        (String::new(), Fault::Malformed),
    ] {
        assert_eq!(
            rfc_7677().verify(message.as_bytes()),
            Err(fault),
            "{message}"
        );
    }
}

/// RFC 5802 sections 5.1, 6 and 7.
#[test]
fn first_messages() {
    use ChannelBinding::{Absent, Unused, Used};
    let used = Used(b"exporter");
    let long = format!("n,,n=user,r={}", "x".repeat(MAX_NONCE + 1));
    for (message, binding, expected) in [
        ("n,,n=user,r=x", Absent, Ok("user")),
        ("n,,n=user,r=x", Unused, Ok("user")),
        ("y,,n=user,r=x", Absent, Ok("user")),
        ("p=tls-exporter,,n=user,r=x", used, Ok("user")),
        ("n,a=user,n=user,r=x", Absent, Ok("user")),
        ("n,,n=a=2Cb=3D,r=x", Absent, Ok("a,b=")),
        ("n,,n=I\u{ad}X,r=x,ext=1", Absent, Ok("IX")),
        ("y,,n=user,r=x", Unused, Err(Fault::ChannelBinding)),
        ("y,,n=user,r=x", used, Err(Fault::ChannelBinding)),
        ("n,,n=user,r=x", used, Err(Fault::ChannelBinding)),
        ("p=tls-unique,,n=user,r=x", used, Err(Fault::ChannelBinding)),
        (
            "p=tls-exporter,,n=user,r=x",
            Unused,
            Err(Fault::ChannelBinding),
        ),
        (
            "p=tls-exporter,,n=user,r=x",
            Absent,
            Err(Fault::ChannelBinding),
        ),
        ("n,a=other,n=user,r=x", Absent, Err(Fault::Name)),
        ("n,,n=,r=x", Absent, Err(Fault::Name)),
        ("n,,n=\u{7},r=x", Absent, Err(Fault::Name)),
        ("n,a=,n=user,r=x", Absent, Err(Fault::Malformed)),
        ("n,,m=x,n=user,r=x", Absent, Err(Fault::Malformed)),
        ("n,,n=us=er,r=x", Absent, Err(Fault::Malformed)),
        ("n,,n=us=2cer,r=x", Absent, Err(Fault::Malformed)),
        ("n,,n=user,r=", Absent, Err(Fault::Malformed)),
        ("n,,n=user,r=a b", Absent, Err(Fault::Malformed)),
        ("n,,n=user", Absent, Err(Fault::Malformed)),
        ("z,,n=user,r=x", Absent, Err(Fault::Malformed)),
        (",,n=user,r=x", Absent, Err(Fault::Malformed)),
        ("", Absent, Err(Fault::Malformed)),
        (&long, Absent, Err(Fault::Malformed)),
    ] {
        let first = ClientFirst::parse(message.as_bytes(), binding);
        let name = first
            .as_ref()
            .map(ClientFirst::name)
            .map_err(|fault| *fault);
        assert_eq!(name, expected, "{message:?} with {binding:?}");
    }
}

/// What a client says once its connection is bound, and what it says of another connection's.
#[test]
fn the_channel_binding_is_this_connection_s() {
    for (said, is_right) in [(&b"exporter"[..], true), (b"another", false)] {
        let message = b"p=tls-exporter,,n=user,r=client";
        let first = ClientFirst::parse(message, ChannelBinding::Used(b"exporter")).unwrap();
        let challenge = first.challenge(pencil(), [7; 18]);
        let binding = BASE64.encode([b"p=tls-exporter,,", said].concat());
        let answer = proof(&challenge, "n=user,r=client", &binding, b"pencil");
        let outcome = challenge.verify(answer.as_bytes());
        let expected = if is_right {
            Ok(())
        } else {
            Err(Fault::ChannelBinding)
        };
        assert_eq!(outcome.map(drop), expected);
    }
}

/// A client's final message, by the formulas of RFC 5802 section 3.
fn proof(challenge: &Challenge, bare: &str, binding: &str, password: &[u8]) -> String {
    let without_proof = format!("c={binding},r={}", challenge.nonce);
    let signed = format!("{bare},{},{without_proof}", challenge.message());
    let mut salted = [0; 32];
    pbkdf2::pbkdf2_hmac::<Sha256>(password, challenge.verifier.salt(), 4096, &mut salted);
    let client_key = hmac(&salted, b"Client Key");
    let signature = hmac(&Sha256::digest(client_key), signed.as_bytes());
    let proof: Vec<u8> = client_key
        .iter()
        .zip(signature)
        .map(|(a, b)| a ^ b)
        .collect();
    format!("{without_proof},p={}", BASE64.encode(proof))
}

#[test]
fn verifiers_are_written_and_read() {
    let written = pencil().to_string();
    assert_eq!(
        written,
        "{SCRAM-SHA-256}4096,W22ZaJ0SNY7soEsUEjb6gQ==,\
         WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=,\
         wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU="
    );
    let [count, salt, stored, server] = split(written.strip_prefix("{SCRAM-SHA-256}").unwrap());
    for text in [
        written.clone(),
        format!("SCRAM-SHA-256${count}:{salt}${stored}:{server}"),
        format!("{{SCRAM-SHA-256}}{count}:{salt}${stored}:{server}"),
    ] {
        let read: Verifier = text.parse().unwrap();
        assert_eq!(read.to_string(), written);
        assert!(read.matches(b"pencil") && !read.matches(b"pencils"));
    }
    assert_eq!(
        format!("{:?}", pencil()),
        "Verifier { iterations: 4096, .. }"
    );
}

fn split(text: &str) -> [&str; 4] {
    text.split(',').collect::<Vec<_>>().try_into().unwrap()
}

#[test]
fn verifiers_that_are_wrong() {
    let key = BASE64.encode([0; 32]);
    let read = |text: String| text.parse::<Verifier>().map(drop);
    for (count, salt, expected) in [
        ("4096", "QQ==", Ok(())),
        ("4095", "QQ==", Err(InvalidVerifier::Iterations(4095))),
        (
            "1000001",
            "QQ==",
            Err(InvalidVerifier::Iterations(1_000_001)),
        ),
        ("-1", "QQ==", Err(InvalidVerifier::Form)),
        ("99999999999", "QQ==", Err(InvalidVerifier::Form)),
        ("4096", "", Err(InvalidVerifier::Salt(0))),
        ("4096", "*", Err(InvalidVerifier::Form)),
    ] {
        let text = format!("{{SCRAM-SHA-256}}{count},{salt},{key},{key}");
        assert_eq!(read(text), expected, "{count} {salt}");
    }
    for text in [
        "",
        "secret",
        "{SCRAM-SHA-256}",
        "{SCRAM-SHA-256}4096,QQ==,QQ==,QQ==",
        "{PLAIN}secret",
    ] {
        assert_eq!(read(text.to_owned()), Err(InvalidVerifier::Form), "{text}");
    }
    let long = BASE64.encode([0; MAX_SALT_READ]);
    let text = format!("{{SCRAM-SHA-256}}4096,{long},{key},{key}");
    assert_eq!(read(text), Err(InvalidVerifier::Salt(MAX_SALT_READ)));
}

const MAX_SALT_READ: usize = 65;

/// Plays the exchange with prixfixe-client, up to the server's last word.
fn with_client(user: &str, password: &str, verifier: &Verifier) -> Result<(), Fault> {
    let mut client = Client::new(user, password);
    let first = client
        .says()
        .strip_prefix("AUTH SCRAM-SHA-256 ")
        .map(decoded);
    let first = ClientFirst::parse(&first.unwrap(), ChannelBinding::Unused)?;
    assert_eq!(first.name(), user);
    let challenge = first.challenge(verifier.clone(), [42; 18]);
    client.hears(&format!("334 {}\r\n", BASE64.encode(challenge.message())));
    let last = challenge.verify(&decoded(&client.says()))?;
    client.hears(&format!("334 {}\r\n", BASE64.encode(last)));
    // The client found the proof right.
    assert_eq!(client.says(), "");
    Ok(())
}

fn decoded(line: &str) -> Vec<u8> {
    BASE64.decode(line).unwrap()
}

struct Client(Connection);

impl Client {
    fn new(user: &str, password: &str) -> Self {
        let config = Arc::new(Config::smtp("client.example").unwrap());
        let mut client = Self(Connection::new(config, Instant::now()));
        client.hears("220 server.example\r\n");
        client.says();
        client.hears("250-server.example\r\n250 AUTH SCRAM-SHA-256\r\n");
        let credentials = Credentials::new(user, password).unwrap();
        let nonce = [7; 18];
        client
            .0
            .authenticate(Instant::now(), &credentials, nonce)
            .unwrap();
        client
    }

    fn hears(&mut self, reply: &str) {
        let mut input = reply.as_bytes();
        while self
            .0
            .poll_event(Instant::now(), &mut input)
            .unwrap()
            .is_some()
        {}
    }

    /// A line, without its end.
    fn says(&mut self) -> String {
        let mut said = Vec::new();
        loop {
            let Some(Piece::Bytes(bytes)) = self.0.poll_transmit().next() else {
                break;
            };
            said.extend_from_slice(bytes);
            let count = bytes.len();
            self.0.handle_transmitted(Instant::now(), count);
        }
        let said = String::from_utf8(said).unwrap();
        said.trim_end_matches("\r\n").to_owned()
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    /// Names with commas and equals signs too.
    #[test]
    fn clients_log_in_with_their_password_alone(
        user in "[a-z,=@.]{1,20}",
        password in "[!-~]{1,20}",
        other in "[!-~]{1,20}",
        salt in prop::array::uniform16(any::<u8>()),
        iterations in 4096_u32..4200,
    ) {
        let verifier = Verifier::new(password.as_bytes(), &salt, iterations).unwrap();
        prop_assert_eq!(with_client(&user, &password, &verifier), Ok(()));
        if other != password {
            prop_assert_eq!(with_client(&user, &other, &verifier), Err(Fault::Proof));
        }
        let nobody = Verifier::unmatched(salt, iterations);
        prop_assert_eq!(with_client(&user, &password, &nobody), Err(Fault::Proof));
    }
}

proptest! {
    #[test]
    fn any_bytes_are_survived(message: Vec<u8>) {
        for binding in [ChannelBinding::Absent, ChannelBinding::Used(b"x")] {
            let _ = ClientFirst::parse(&message, binding);
        }
        let nobody = Verifier::unmatched([0; 16], 4096);
        let first = ClientFirst::parse(CLIENT_FIRST.as_bytes(), ChannelBinding::Absent).unwrap();
        let _ = first.challenge(nobody, [0; 18]).verify(&message);
    }

    #[test]
    fn any_attributes_are_survived(message in "[nyp=,arcxs\u{e4}A-C]{0,40}", rest in "[,p=crv+A/]{0,20}") {
        let _ = ClientFirst::parse(message.as_bytes(), ChannelBinding::Absent);
        let first = ClientFirst::parse(CLIENT_FIRST.as_bytes(), ChannelBinding::Absent).unwrap();
        let _ = first.challenge(Verifier::unmatched([0; 16], 4096), [0; 18]).verify(rest.as_bytes());
        let _ = message.parse::<Verifier>();
    }
}
