//! AUTH (RFC 4954), beside what the dialogue files have.

use std::sync::Arc;
use std::time::{Duration, Instant};

use prixfixe_core::{
    Answer, Auth, Config, Connection, Event, MAX_LINE, MAX_LOGIN_LINE, Mechanism, Question, Reply,
    Secret, replies,
};
use prixfixe_dialogue::{self as dialogue, Settings};

use crate::server::{Server, Told};

fn in_plaintext(change: impl FnOnce(&mut Config)) -> Config {
    let mut auth = Auth::new([Mechanism::PLAIN, Mechanism::SCRAM_SHA_256]);
    auth.in_plaintext = true;
    let mut config = Config::default();
    config.auth = Some(auth);
    change(&mut config);
    config
}

/// A client that has said EHLO. What it then sends is taken by [`poll`].
fn greeted(config: Config) -> (Connection, Instant, String) {
    let now = Instant::now();
    let mut connection = Connection::new(Arc::new(config), now);
    let mut output = Vec::new();
    connection.answer(now, Answer::Accept, &mut output);
    let hello = connection.poll_event(now, &mut &b"EHLO c\r\n"[..], &mut output);
    assert!(matches!(hello, Some(Event::Hello { .. })));
    connection.answer(now, Answer::Accept, &mut output);
    (connection, now, String::from_utf8(output).unwrap())
}

fn poll<'i>(
    connection: &mut Connection,
    now: Instant,
    sent: &'i str,
) -> (Option<Event<'i>>, String) {
    let (mut input, mut output) = (sent.as_bytes(), Vec::new());
    let event = connection.poll_event(now, &mut input, &mut output);
    (event, String::from_utf8(output).unwrap())
}

fn answer(connection: &mut Connection, now: Instant, answer: Answer) -> String {
    let mut output = Vec::new();
    connection.answer(now, answer, &mut output);
    String::from_utf8(output).unwrap()
}

#[test]
fn ehlo_offers_what_the_client_may_use() {
    let tls = |hello: &mut Config| hello.auth.as_mut().unwrap().in_plaintext = false;
    let none = |hello: &mut Config| hello.auth.as_mut().unwrap().mechanisms.clear();
    let line = "\r\n250-AUTH PLAIN SCRAM-SHA-256\r\n";
    assert!(greeted(in_plaintext(|_| {})).2.contains(line));
    for config in [in_plaintext(tls), in_plaintext(none), Config::default()] {
        assert!(!greeted(config).2.contains("AUTH"));
    }
    let (mut connection, now, _) = greeted(in_plaintext(tls));
    connection.tls_established(now);
    connection.set_auth_mechanisms(vec![Mechanism::EXTERNAL]);
    poll(&mut connection, now, "EHLO c\r\n");
    let hello = answer(&mut connection, now, Answer::Accept);
    assert!(hello.contains("\r\n250-AUTH EXTERNAL\r\n"), "{hello}");
    let (event, _) = poll(&mut connection, now, "AUTH PLAIN\r\n");
    assert!(matches!(event, Some(Event::CommandRefused { reply, .. }) if reply.code() == 504));
}

/// RFC 4954 section 4: the last word of a mechanism goes to the client as a challenge.
#[test]
fn a_mechanism_has_as_many_turns_as_it_likes() {
    let (mut connection, now, _) = greeted(in_plaintext(|_| {}));
    let (event, _) = poll(&mut connection, now, "AUTH scram-sha-256 Zmlyc3Q=\r\n");
    let expected = Event::Auth {
        mechanism: Mechanism::SCRAM_SHA_256,
        initial_response: Some(Secret::from(&b"first"[..])),
    };
    assert_eq!(event, Some(expected));
    for turn in 0..20 {
        assert_eq!(connection.question(), Some(Question::Auth));
        let challenge = Answer::Challenge(vec![turn; 3]);
        assert!(answer(&mut connection, now, challenge).starts_with("334 "));
        assert_eq!(
            (connection.question(), connection.max_line()),
            (None, MAX_LOGIN_LINE)
        );
        let (event, said) = poll(&mut connection, now, "\r\n");
        assert_eq!(event, Some(Event::AuthResponse(Secret::default())));
        assert_eq!(said, "");
    }
    let accepted = answer(&mut connection, now, Answer::Accept);
    assert_eq!(accepted, "235 2.7.0 Authentication successful\r\n");
    assert!(connection.is_authenticated() && connection.max_line() == MAX_LINE);
    connection.tls_established(now);
    assert!(!connection.is_authenticated());
}

#[test]
fn answers_that_make_no_sense_are_refusals() {
    for (bad, code) in [
        (Answer::Challenge(vec![0; 12_288 / 4 * 3]), "451 "),
        (Answer::AcceptWith(Reply::BAD_CREDENTIALS), "451 "),
        (Answer::Refuse(replies::LOGIN_OK), "451 "),
        (Answer::Refuse(Reply::BAD_CREDENTIALS), "535 "),
    ] {
        let (mut connection, now, _) = greeted(in_plaintext(|_| {}));
        poll(&mut connection, now, "AUTH PLAIN\r\n");
        assert!(answer(&mut connection, now, bad).starts_with(code));
        assert!(!connection.is_authenticated() && connection.question().is_none());
    }
    let (mut connection, now, _) = greeted(in_plaintext(|_| {}));
    poll(&mut connection, now, "MAIL FROM:<>\r\n");
    let challenged = answer(&mut connection, now, Answer::Challenge(Vec::new()));
    assert!(challenged.starts_with("451 "), "{challenged}");
}

#[test]
fn the_longest_challenge_fits_in_a_line() {
    let (mut connection, now, _) = greeted(in_plaintext(|_| {}));
    poll(&mut connection, now, "AUTH PLAIN\r\n");
    let challenge = answer(&mut connection, now, Answer::Challenge(vec![0; 9210]));
    assert!(challenge.starts_with("334 ") && challenge.len() == MAX_LOGIN_LINE - 2);
}

#[test]
fn who_is_known_by_other_means_need_not_log_in() {
    let (mut connection, now, _) = greeted(in_plaintext(|config| {
        config.auth.as_mut().unwrap().required = true;
    }));
    for (authenticated, code) in [(false, 530), (true, 0)] {
        connection.set_authenticated(authenticated);
        let (event, _) = poll(&mut connection, now, "MAIL FROM:<>\r\n");
        let refused = match event {
            Some(Event::CommandRefused { reply, .. }) => reply.code(),
            _ => 0,
        };
        assert_eq!(refused, code);
    }
}

/// What a client says to prove who it is stands in no event's `Debug` form and in no refused line.
#[test]
fn a_password_is_not_told() {
    let mut server = Server::new(&Settings {
        auth: Some(dialogue::Auth::Any),
        ..Settings::default()
    });
    let long = "x".repeat(3000);
    for line in [
        "AUTH PLAIN c2VjcmV0",
        "auth PLAIN\tc2VjcmV0",
        "AUTH OTHER c2VjcmV0",
        "AUTH PLAIN c2VjcmV0 c2VjcmV0",
        &format!("AUTH PLAIN c2VjcmV0{long}"),
        "AUTH PLAIN c2VjcmV0\n",
        "Auth",
    ] {
        server.receive(format!("{line}\r\n").as_bytes());
    }
    assert!(
        server.refused_lines.len() == 7,
        "{:?}",
        server.refused_lines
    );
    assert!(server.refused_lines.iter().all(|line| line == b"AUTH"));

    let (mut connection, now, _) = greeted(in_plaintext(|_| {}));
    let (event, _) = poll(&mut connection, now, "AUTH PLAIN AGFubgBzZWNyZXQ=\r\n");
    let told = format!("{event:?}");
    assert!(
        !told.contains("secret") && !told.contains("115, 101"),
        "{told}"
    );
    answer(&mut connection, now, Answer::Challenge(Vec::new()));
    let (event, _) = poll(&mut connection, now, "AGFubgBzZWNyZXQ=\r\n");
    assert_eq!(
        format!("{event:?}"),
        "Some(AuthResponse(Secret(11 octets)))"
    );
}

#[test]
fn what_ends_a_login_is_told() {
    let mut server = Server::new(&Settings {
        auth: Some(dialogue::Auth::Any),
        max_errors: Some(3),
        ..Settings::default()
    });
    server.receive(b"EHLO c\r\n");
    server.told.clear();
    for (response, code) in [("*", 501), ("x", 501), ("YQ", 501), ("MAIL FROM:<>", 421)] {
        server.receive(format!("AUTH LOGIN\r\n{response}\r\n").as_bytes());
        let expected = [
            Told::Auth("LOGIN".to_owned(), None),
            Told::AuthAborted(code),
        ];
        assert_eq!(std::mem::take(&mut server.told), expected, "{response}");
    }
    assert!(server.connection.is_closed());
}

/// The client is waited for as for a command, and its waiting for us is not counted.
#[test]
fn a_response_has_the_time_of_a_command() {
    let (mut connection, now, _) = greeted(in_plaintext(|_| {}));
    poll(&mut connection, now, "AUTH PLAIN\r\n");
    assert_eq!(connection.deadline(), None);
    let later = now + Duration::from_secs(200);
    answer(&mut connection, later, Answer::Challenge(Vec::new()));
    assert_eq!(
        connection.deadline(),
        Some(later + Duration::from_secs(300))
    );
    let mut output = Vec::new();
    connection.handle_timeout(later + Duration::from_secs(300), &mut output);
    assert!(output.starts_with(b"421 4.4.2 ") && connection.is_closed());
}

#[test]
fn a_server_that_goes_away_does_not_wait_for_a_response() {
    let (mut connection, now, _) = greeted(in_plaintext(|_| {}));
    poll(&mut connection, now, "AUTH PLAIN\r\n");
    let mut output = Vec::new();
    connection.shutdown(now, &mut output);
    assert!(output.is_empty() && !connection.is_closed());
    let said = answer(&mut connection, now, Answer::Challenge(Vec::new()));
    assert!(
        said.contains("\r\n421 4.3.2 ") && connection.is_closed(),
        "{said}"
    );
}
