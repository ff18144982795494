//! AUTH (RFC 4954): which mechanism, when, and what a wrong server gets.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use hmac::{Hmac, KeyInit as _, Mac as _};
use prixfixe_client::{
    Config, Connection, Credentials, Error, Event, Extension, Fault, Mechanism, Piece, ServerFault,
    Stage, Unsendable,
};
use sha2::{Digest as _, Sha256};

use crate::script::Client;

const NONCE: [u8; 18] = [7; 18];

fn credentials() -> Credentials {
    Credentials::new("ann", "secret=word").unwrap()
}

/// On a connection that counts as one over TLS.
fn ready(mechanisms: &str) -> Client {
    let mut config = Config::smtp("client.example.com").unwrap();
    config.plaintext_passwords = true;
    Client::ready(config, &format!("250-AUTH {mechanisms}\r\n"))
}

fn begin(client: &mut Client, credentials: &Credentials) -> String {
    client
        .connection
        .authenticate(client.now, credentials, NONCE)
        .unwrap();
    said(client)
}

fn said(client: &mut Client) -> String {
    client.transmit(usize::MAX);
    String::from_utf8(std::mem::take(&mut client.output)).unwrap()
}

fn hear(client: &mut Client, line: &str) -> Result<Option<bool>, Error> {
    let mut input = line.as_bytes();
    let event = client.connection.poll_event(client.now, &mut input)?;
    Ok(match event {
        Some(Event::Authenticated(_)) => Some(true),
        Some(Event::AuthenticationRefused(_)) => Some(false),
        None => None,
        Some(event) => panic!("{event:?}"),
    })
}

#[test]
fn plain_sends_its_initial_response() {
    let mut client = ready("LOGIN PLAIN");
    let line = begin(&mut client, &credentials());
    assert_eq!(
        line,
        format!("AUTH PLAIN {}\r\n", BASE64.encode("\0ann\0secret=word"))
    );
    assert_eq!(client.connection.stage(), Stage::Auth);
    assert!(client.connection.quit(client.now).is_err());
    assert_eq!(hear(&mut client, "235 2.7.0 welcome\r\n"), Ok(Some(true)));
    assert!(client.connection.is_idle());
}

#[test]
fn a_long_initial_response_waits_for_a_challenge() {
    let mut client = ready("PLAIN");
    let long = Credentials::new("ann", "x".repeat(1000)).unwrap();
    assert_eq!(begin(&mut client, &long), "AUTH PLAIN\r\n");
    assert_eq!(hear(&mut client, "334 \r\n"), Ok(None));
    let response = format!(
        "{}\r\n",
        BASE64.encode(format!("\0ann\0{}", "x".repeat(1000)))
    );
    assert_eq!(said(&mut client), response);
    assert_eq!(hear(&mut client, "235 welcome\r\n"), Ok(Some(true)));
    // The longest that goes along with the command: 512 bytes with CR LF.
    for (length, with_command) in [(367, true), (368, false)] {
        let mut client = ready("PLAIN");
        let credentials = Credentials::new("ann", "x".repeat(length)).unwrap();
        let line = begin(&mut client, &credentials);
        assert_eq!(line.len() > 12, with_command, "{length}");
        assert!(line.len() <= 512);
    }
}

#[test]
fn login_answers_two_challenges() {
    let mut client = ready("LOGIN");
    assert_eq!(begin(&mut client, &credentials()), "AUTH LOGIN\r\n");
    assert_eq!(hear(&mut client, "334 VXNlcm5hbWU6\r\n"), Ok(None));
    assert_eq!(said(&mut client), format!("{}\r\n", BASE64.encode("ann")));
    assert_eq!(hear(&mut client, "334 UGFzc3dvcmQ6\r\n"), Ok(None));
    assert_eq!(
        said(&mut client),
        format!("{}\r\n", BASE64.encode("secret=word"))
    );
    assert_eq!(hear(&mut client, "235 welcome\r\n"), Ok(Some(true)));
}

#[test]
fn a_refusal_leaves_the_connection_usable() {
    let mut client = ready("PLAIN");
    begin(&mut client, &credentials());
    assert_eq!(hear(&mut client, "535 5.7.8 no\r\n"), Ok(Some(false)));
    begin(&mut client, &credentials());
    assert_eq!(hear(&mut client, "454 4.7.0 later\r\n"), Ok(Some(false)));
    client.connection.quit(client.now).unwrap();
}

/// A server that knows this password, and what it says next.
struct ScramServer {
    password: &'static str,
    messages: String,
}

impl ScramServer {
    fn challenge(&mut self, first: &str) -> String {
        let bare = first.strip_prefix("n,,").unwrap();
        let nonce = bare.split_once(",r=").unwrap().1;
        let challenge = format!("r={nonce}server,s={},i=4096", BASE64.encode("salt"));
        self.messages = format!("{bare},{challenge}");
        challenge
    }

    /// Verifies the proof and gives the signature.
    fn verify(&self, last: &str) -> Option<String> {
        let (without_proof, proof) = last.rsplit_once(",p=").unwrap();
        let messages = format!("{},{without_proof}", self.messages);
        let salted: [u8; 32] =
            pbkdf2::pbkdf2_hmac_array::<Sha256, 32>(self.password.as_bytes(), b"salt", 4096);
        let client_key = sign(&salted, "Client Key");
        let stored = Sha256::digest(client_key);
        let signature = sign(&stored, &messages);
        let expected: Vec<u8> = client_key
            .iter()
            .zip(signature)
            .map(|(a, b)| a ^ b)
            .collect();
        let is_right = BASE64.decode(proof).unwrap() == expected;
        let signature = sign(&sign(&salted, "Server Key"), &messages);
        is_right.then(|| format!("v={}", BASE64.encode(signature)))
    }
}

fn sign(key: &[u8], message: &str) -> [u8; 32] {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).unwrap();
    mac.update(message.as_bytes());
    mac.finalize().into_bytes().into()
}

fn decoded(line: &str) -> String {
    String::from_utf8(BASE64.decode(line.trim_end()).unwrap()).unwrap()
}

/// As far as the server's proof.
fn scram(server_password: &'static str) -> (Client, Option<String>) {
    let config = Config::smtp("client.example.com").unwrap();
    let mut client = Client::ready(config, "250-AUTH PLAIN SCRAM-SHA-256\r\n");
    let mut server = ScramServer {
        password: server_password,
        messages: String::new(),
    };
    let line = begin(&mut client, &credentials());
    let first = decoded(line.strip_prefix("AUTH SCRAM-SHA-256 ").unwrap());
    let challenge = BASE64.encode(server.challenge(&first));
    assert_eq!(hear(&mut client, &format!("334 {challenge}\r\n")), Ok(None));
    let last = decoded(&said(&mut client));
    let signature = server.verify(&last);
    (client, signature)
}

#[test]
fn scram_proves_both_sides_without_tls() {
    let (mut client, signature) = scram("secret=word");
    let line = format!(
        "334 {}\r\n",
        BASE64.encode(signature.expect("the proof is right"))
    );
    assert_eq!(hear(&mut client, &line), Ok(None));
    assert_eq!(said(&mut client), "\r\n");
    assert_eq!(hear(&mut client, "235 welcome\r\n"), Ok(Some(true)));
}

#[test]
fn a_server_that_does_not_know_the_password_is_an_error() {
    let (_, signature) = scram("other");
    assert_eq!(signature, None, "nor does it learn anything");
    let fault = |line: &str| {
        let (mut client, _) = scram("secret=word");
        let error = hear(&mut client, line).unwrap_err();
        assert_eq!(error.stage(), Stage::Auth);
        error.fault().clone()
    };
    let signature = Fault::Authentication(ServerFault::Signature);
    assert_eq!(fault("235 come in\r\n"), signature, "without a proof");
    let wrong = format!(
        "334 {}\r\n",
        BASE64.encode(format!("v={}", BASE64.encode([0; 32])))
    );
    assert_eq!(fault(&wrong), signature);
    assert_eq!(
        fault("334 *\r\n"),
        Fault::Authentication(ServerFault::Challenge)
    );
    let mut client = Client::ready(Config::smtp("c").unwrap(), "250-AUTH SCRAM-SHA-256\r\n");
    begin(&mut client, &credentials());
    let error = hear(&mut client, "235 come in\r\n").unwrap_err();
    assert_eq!(error.fault(), &signature, "before anything was proved");
}

#[test]
fn a_challenge_that_follows_nothing_is_an_error() {
    let mut client = ready("PLAIN");
    begin(&mut client, &credentials());
    let error = hear(&mut client, "334 bW9yZQ==\r\n").unwrap_err();
    assert_eq!(
        error.fault(),
        &Fault::Authentication(ServerFault::Challenge)
    );
}

#[test]
fn a_password_is_not_sent_where_it_can_be_read() {
    let authenticate = |client: &mut Client, credentials: &Credentials| {
        client
            .connection
            .authenticate(client.now, credentials, NONCE)
    };
    let config = || Config::smtp("client.example.com").unwrap();
    let mut client = Client::ready(config(), "250-AUTH PLAIN LOGIN\r\n");
    assert_eq!(
        authenticate(&mut client, &credentials()),
        Err(Unsendable::Plaintext)
    );
    assert_eq!(said(&mut client), "");
    let mut client = Client::ready(config(), "250-AUTH SCRAM-SHA-256 PLAIN\r\n");
    let plain = credentials().only(Mechanism::Plain);
    assert_eq!(
        authenticate(&mut client, &plain),
        Err(Unsendable::Plaintext)
    );
    let login = credentials().only(Mechanism::Login);
    let not_offered = Err(Unsendable::NotOffered(Extension::Auth));
    assert_eq!(authenticate(&mut client, &login), not_offered);
    let mut client = Client::ready(config(), "250-AUTH CRAM-MD5\r\n");
    assert_eq!(authenticate(&mut client, &credentials()), not_offered);
    let mut client = Client::new(config(), true);
    client.receive(b"220 mx\r\n");
    client.receive(b"250-mx\r\n250 AUTH PLAIN\r\n");
    assert_eq!(authenticate(&mut client, &credentials()), Ok(()));
    assert_eq!(
        authenticate(&mut client, &credentials()),
        Err(Unsendable::NotNow)
    );
}

#[test]
fn nothing_of_a_password_is_shown() {
    let mut client = ready("PLAIN");
    client
        .connection
        .authenticate(client.now, &credentials(), NONCE)
        .unwrap();
    let encoded = BASE64.encode("\0ann\0secret=word");
    let bytes = format!("{:?}", encoded.as_bytes());
    let pieces: Vec<Piece<'_>> = client.connection.poll_transmit().collect();
    let shown = format!("{:?} {pieces:?} {:?}", client.connection, credentials());
    for secret in ["secret", "ann", &encoded, bytes.trim_matches(['[', ']'])] {
        assert!(!shown.contains(secret), "{secret} in {shown}");
    }
    assert!(Credentials::new("a\0b", "c").is_err() && Credentials::new("", "c").is_err());
    assert!(size_of::<Connection>() < 1024);
}
