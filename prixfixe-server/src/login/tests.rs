//! What `password` makes of what clients say.

use std::future::Future;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use super::*;

/// Scripted logins never wait.
fn now<T>(future: impl Future<Output = T>) -> T {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => value,
        Poll::Pending => panic!("a scripted login waits"),
    }
}

fn given(login: &mut Login<'_>) -> Result<(String, Vec<u8>), u16> {
    match now(login.password()) {
        Ok(given) => Ok((given.user().to_owned(), given.password().to_vec())),
        Err(reply) => Err(reply.code()),
    }
}

/// RFC 4616 section 2.
#[test]
fn plain() {
    let client = Client::builder().build();
    let ann = || Ok(("ann".to_owned(), b"pass".to_vec()));
    let long = format!("\0{}\0p", "x".repeat(256));
    for (message, expected) in [
        (&b"\0ann\0pass"[..], ann()),
        (b"ann\0ann\0pass", ann()),
        (b"bob\0ann\0pass", Err(535)),
        (b"\0\0pass", Err(501)),
        (b"", Err(501)),
        (b"ann\0pass", Err(501)),
        (b"\0ann\0pass\0", Err(501)),
        (b"\0\xff\0pass", Err(501)),
        (long.as_bytes(), Err(501)),
        (b"\0ann\0", Ok(("ann".to_owned(), Vec::new()))),
    ] {
        let builder = || Login::builder(&client, Mechanism::PLAIN);
        let mut with_auth = builder().initial_response(message).build();
        assert_eq!(given(&mut with_auth), expected, "{message:?}");
        let mut challenged = builder().response(message).build();
        assert_eq!(given(&mut challenged), expected, "{message:?}");
        let claimed = expected.ok().map(|(user, _)| user);
        assert_eq!(challenged.claimed(), claimed.as_deref());
    }
}

#[test]
fn login_asks_for_the_name_and_then_for_the_password() {
    let client = Client::builder().build();
    let mut asked = Vec::new();
    let mut login = Login::builder(&client, Mechanism::LOGIN)
        .answers(|challenge| {
            asked.push(challenge.to_vec());
            Some(b"ann".to_vec())
        })
        .build();
    assert_eq!(given(&mut login), Ok(("ann".to_owned(), b"ann".to_vec())));
    drop(login);
    assert_eq!(asked, [&b"Username:"[..], b"Password:"]);

    let mut named = Login::builder(&client, Mechanism::LOGIN)
        .initial_response(b"ann")
        .response(b"pass")
        .build();
    assert_eq!(given(&mut named), Ok(("ann".to_owned(), b"pass".to_vec())));
}

#[test]
fn a_client_that_cancels_and_another_mechanism() {
    let client = Client::builder().build();
    let mut cancelled = Login::builder(&client, Mechanism::LOGIN).build();
    assert_eq!(given(&mut cancelled), Err(501));
    let mut other = Login::builder(&client, Mechanism::SCRAM_SHA_256).build();
    assert_eq!(given(&mut other), Err(504));
}

#[test]
fn nothing_of_a_password_is_printed() {
    let client = Client::builder().build();
    let mut login = Login::plain(&client, "ann", "hunter2");
    let before = format!("{login:?}");
    let given = now(login.password()).unwrap();
    for text in [before, format!("{login:?}"), format!("{given:?}")] {
        assert!(
            !text.contains("hunter2") && !text.contains("104, 117"),
            "{text}"
        );
    }
}
