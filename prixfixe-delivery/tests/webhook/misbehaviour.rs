//! Endpoints that do what they should not.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use prixfixe_delivery::{FailureKind, WebhookOptions};
use prixfixe_test_support::PATIENCE;
use tokio::time::timeout;

use crate::endpoint::{Endpoint, HELLO, OK, accept, detail, open, options, post, reply};

/// So short that a test can wait for it.
fn impatient() -> WebhookOptions {
    let mut options = WebhookOptions::default();
    options.final_timeout = Duration::from_millis(500);
    options
}

/// Writes for ever, or until nobody reads.
fn stream_for_ever(stream: &mut TcpStream, piece: &[u8]) -> bool {
    while stream.write_all(piece).is_ok() {}
    false
}

fn wait_for_the_end(stream: &mut TcpStream) -> bool {
    let mut rest = Vec::new();
    let _ = stream.read_to_end(&mut rest);
    false
}

#[tokio::test]
async fn what_never_answers_is_unknown() {
    let responses: [&'static [u8]; 4] = [
        b"",
        b"HTTP/1.1 20",
        b"HTTP/1.1 200 OK\r\nContent-Le",
        b"HTTP/1.1 100 Continue\r\n\r\n",
    ];
    for response in responses {
        let endpoint = Endpoint::start(move |_, stream| {
            let _ = stream.write_all(response);
            wait_for_the_end(stream)
        });
        let outcome = post(&open(&endpoint.url(), impatient()), HELLO).await;
        assert_eq!(reply(&outcome), "451 4.4.1");
        assert!(
            detail(&outcome).contains("no answer within 0.5 s"),
            "{}",
            detail(&outcome)
        );
        assert_eq!(outcome.unwrap_err().kind(), FailureKind::Unknown);
    }
}

#[tokio::test]
async fn what_is_no_http_is_said_to_be_none() {
    let long = format!("HTTP/1.1 200 OK\r\nX: {}\r\n\r\n", "a".repeat(1 << 20));
    let many = format!("HTTP/1.1 200 OK\r\n{}\r\n", "X: y\r\n".repeat(1_000));
    let responses = [
        "220 mail.example.com ESMTP\r\n",
        "\0\0\0\0",
        "HTTP/1.1 2000 OK\r\n\r\n",
        "HTTP/9.9 200 OK\r\n\r\n",
        &long,
        &many,
    ];
    for response in responses {
        let endpoint = Endpoint::answering(response);
        let outcome = post(&open(&endpoint.url(), options()), HELLO).await;
        let shown = response.get(..30).unwrap_or(response);
        assert_eq!(reply(&outcome), "451 4.4.1", "{shown:?}");
        assert_eq!(outcome.unwrap_err().kind(), FailureKind::Unknown);
    }
}

#[tokio::test]
async fn heads_without_end_are_cut() {
    for piece in ["X: y\r\n", "aaaa", "HTTP/1.1 100 Continue\r\n\r\n"] {
        let endpoint = Endpoint::start(move |_, stream| {
            let _ = stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n");
            stream_for_ever(stream, piece.as_bytes())
        });
        let webhook = open(&endpoint.url(), impatient());
        let outcome = timeout(PATIENCE, post(&webhook, HELLO))
            .await
            .expect("in time");
        assert_eq!(reply(&outcome), "451 4.4.1", "{piece}");
    }
}

#[tokio::test]
async fn bodies_without_end_are_cut_and_the_status_counts() {
    let rows = [
        ("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\n", "250"),
        (
            "HTTP/1.1 406 x\r\nContent-Type: application/json\r\n\r\n",
            "550 5.7.1",
        ),
        (
            "HTTP/1.1 404 x\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n",
            "451 4.4.1",
        ),
    ];
    for (head, expected) in rows {
        let endpoint = Endpoint::start(move |_, stream| {
            let _ = stream.write_all(head.as_bytes());
            stream_for_ever(stream, &[b'a'; 1 << 16])
        });
        let webhook = open(&endpoint.url(), options());
        let outcome = timeout(PATIENCE, post(&webhook, HELLO))
            .await
            .expect("in time");
        assert_eq!(reply(&outcome), expected, "{head}");
    }
}

#[tokio::test]
async fn a_success_whose_body_dawdles_is_one() {
    let endpoint = Endpoint::start(|_, stream| {
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf");
        wait_for_the_end(stream)
    });
    let webhook = open(&endpoint.url(), options());
    assert_eq!(reply(&post(&webhook, HELLO).await), "250");
    // Its connection is not used again.
    assert_eq!(reply(&post(&webhook, HELLO).await), "250");
    let requests = endpoint.requests();
    assert_ne!(requests[0].connection, requests[1].connection);
}

#[tokio::test]
async fn a_connection_closed_without_an_answer_is_unknown() {
    let endpoint = Endpoint::start(|_, _| false);
    let outcome = post(&open(&endpoint.url(), options()), HELLO).await;
    assert_eq!(reply(&outcome), "451 4.4.1");
    assert!(
        detail(&outcome).contains("closed the connection"),
        "{}",
        detail(&outcome)
    );
    assert_eq!(outcome.unwrap_err().kind(), FailureKind::Unknown);
    // On a new connection nothing is tried twice.
    assert_eq!(endpoint.requests().len(), 1);
}

#[tokio::test]
async fn a_kept_connection_that_was_closed_costs_no_message() {
    let endpoint = Endpoint::start(|_, stream| {
        // It says nothing of closing, and closes.
        let _ = stream.write_all(OK.as_bytes());
        false
    });
    let webhook = open(&endpoint.url(), options());
    for _ in 0..20 {
        assert_eq!(reply(&post(&webhook, HELLO).await), "250");
    }
}

/// As a server that restarts: the connection is there, and the next request on it is not answered.
#[tokio::test]
async fn a_request_on_a_kept_connection_is_sent_once_more() {
    let count = AtomicUsize::new(0);
    let endpoint = Endpoint::start(
        move |_, stream| match count.fetch_add(1, Ordering::Relaxed) {
            1 => false,
            _ => stream.write_all(OK.as_bytes()).is_ok(),
        },
    );
    let webhook = open(&endpoint.url(), options());
    assert_eq!(reply(&post(&webhook, HELLO).await), "250");
    assert_eq!(reply(&post(&webhook, HELLO).await), "250");
    let requests = endpoint.requests();
    assert_eq!(requests.len(), 3);
    assert_eq!(
        requests[1].header("webhook-id"),
        requests[2].header("webhook-id")
    );
}

#[tokio::test]
async fn what_does_not_read_is_given_up() {
    let address = accept(|_, stream| {
        std::thread::park_timeout(PATIENCE);
        drop(stream);
    });
    let webhook = open(&format!("http://{address}/"), impatient());
    let content = format!("{HELLO}{}", "x".repeat(8 << 20));
    let outcome = timeout(PATIENCE, post(&webhook, &content))
        .await
        .expect("in time");
    assert_eq!(reply(&outcome), "451 4.4.1");
}

#[tokio::test]
async fn an_answer_before_the_end_of_the_request_counts() {
    let address = accept(|_, mut stream| {
        let mut some = [0; 1024];
        let _ = stream.read(&mut some);
        let _ = stream.write_all(b"HTTP/1.1 413 x\r\nContent-Length: 0\r\n\r\n");
        // What is closed with bytes unread is reset, and the answer may be lost with it.
        let _ = stream.read_to_end(&mut Vec::new());
    });
    let webhook = open(&format!("http://{address}/"), options());
    let content = format!("{HELLO}{}", "x".repeat(8 << 20));
    let outcome = timeout(PATIENCE, post(&webhook, &content))
        .await
        .expect("in time");
    assert_eq!(reply(&outcome), "451 4.4.1");
    assert!(
        detail(&outcome).contains("status 413"),
        "{}",
        detail(&outcome)
    );
}
