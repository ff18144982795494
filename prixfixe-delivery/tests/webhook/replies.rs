//! Status to reply, over a real connection.

use std::io::Write;
use std::net::{Ipv4Addr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use prixfixe_delivery::{FailureKind, On4xx};
use prixfixe_test_support::{PATIENCE, unused_port};

use crate::endpoint::{Endpoint, HELLO, OK, detail, open, options, post, reply};

#[tokio::test]
async fn a_status_is_a_reply_and_the_log_says_what_to_mend() {
    let rows = [
        ("200 OK", "250", "status 200"),
        ("202 Accepted", "250", "status 202"),
        ("204 No Content", "250", "status 204"),
        ("301 Moved", "451 4.4.1", "redirects are not followed"),
        ("400 Bad Request", "451 4.4.1", "look at its log"),
        ("401 Unauthorized", "451 4.4.1", "secret-file"),
        ("403 Forbidden", "451 4.4.1", "firewalls"),
        ("404 Not Found", "451 4.4.1", "look at the URL"),
        ("405 Method Not Allowed", "451 4.4.1", "POST"),
        ("406 Not Acceptable", "550 5.7.1", "status 406"),
        ("410 Gone", "451 4.4.1", "switched off"),
        (
            "413 Content Too Large",
            "451 4.4.1",
            "raise the limit there",
        ),
        ("415 Unsupported Media Type", "451 4.4.1", "format"),
        ("429 Too Many Requests", "451 4.3.2", "status 429"),
        ("500 Internal Server Error", "451 4.4.1", "it has failed"),
        ("502 Bad Gateway", "451 4.4.1", "proxy"),
        ("503 Service Unavailable", "451 4.3.2", "status 503"),
    ];
    for (status, expected, words) in rows {
        let body = match status {
            "204 No Content" => "\r\n",
            _ => "Content-Length: 2\r\n\r\nhi",
        };
        let endpoint = Endpoint::answering(format!("HTTP/1.1 {status}\r\n{body}"));
        let webhook = open(&endpoint.url(), options());
        let outcome = post(&webhook, HELLO).await;
        assert_eq!(reply(&outcome), expected, "{status}");
        assert!(
            detail(&outcome).contains(words),
            "{status}: {}",
            detail(&outcome)
        );
    }
}

#[tokio::test]
async fn a_4xx_rejects_where_that_is_wanted() {
    for (status, expected) in [
        ("404", "550 5.7.1"),
        ("413", "552 5.3.4"),
        ("425", "451 4.4.1"),
    ] {
        let response = format!("HTTP/1.1 {status} x\r\nContent-Length: 0\r\n\r\n");
        let endpoint = Endpoint::answering(response);
        let mut options = options();
        options.on_4xx = On4xx::Reject;

        let outcome = post(&open(&endpoint.url(), options), HELLO).await;
        assert_eq!(reply(&outcome), expected, "{status}");
    }
}

#[tokio::test]
async fn a_body_of_json_beside_a_4xx_is_the_reply() {
    let body = r#"{"reply":"550 5.1.1 no such user"}"#;
    let said = |kind: &str| {
        format!(
            "HTTP/1.1 404 x\r\nContent-Type: {kind}\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        )
    };
    let endpoint = Endpoint::answering(said("application/json; charset=utf-8"));
    let outcome = post(&open(&endpoint.url(), options()), HELLO).await;
    let failure = outcome.unwrap_err();
    assert_eq!(failure.reply().to_string(), "550 5.1.1 no such user");
    assert_eq!(failure.kind(), FailureKind::Never);

    let endpoint = Endpoint::answering(said("text/html"));
    let outcome = post(&open(&endpoint.url(), options()), HELLO).await;
    assert_eq!(reply(&outcome), "451 4.4.1");
}

#[tokio::test]
async fn a_redirect_leads_nowhere() {
    let elsewhere = Endpoint::answering(OK);
    let response = format!(
        "HTTP/1.1 307 x\r\nLocation: {}\r\nContent-Length: 0\r\n\r\n",
        elsewhere.url()
    );
    let endpoint = Endpoint::answering(response);
    let outcome = post(&open(&endpoint.url(), options()), HELLO).await;
    assert_eq!(reply(&outcome), "451 4.4.1");
    assert!(detail(&outcome).contains(&elsewhere.url()));
    assert!(elsewhere.requests().is_empty());
}

#[tokio::test]
async fn a_refused_connection_is_ours_to_mend() {
    let port = unused_port(Ipv4Addr::LOCALHOST).expect("a port");
    let webhook = open(&format!("http://127.0.0.1:{port}/"), options());
    let outcome = post(&webhook, HELLO).await;
    assert_eq!(reply(&outcome), "451 4.4.1");
    assert!(detail(&outcome).contains("cannot connect to 127.0.0.1:"));
    assert_eq!(outcome.unwrap_err().kind(), FailureKind::NotNow);
    assert!(webhook.health().fault().is_some());
}

#[tokio::test]
async fn it_is_up_again_with_the_first_success() {
    let count = AtomicUsize::new(0);
    let endpoint = Endpoint::start(move |_, stream| {
        let response = match count.fetch_add(1, Ordering::Relaxed) {
            0 => "HTTP/1.1 500 x\r\nContent-Length: 0\r\n\r\n",
            _ => OK,
        };
        stream.write_all(response.as_bytes()).is_ok()
    });
    let webhook = open(&endpoint.url(), options());
    assert_eq!(reply(&post(&webhook, HELLO).await), "451 4.4.1");
    assert!(webhook.health().fault().is_some());
    assert_eq!(reply(&post(&webhook, HELLO).await), "250");
    assert!(webhook.health().fault().is_none());
    // The same connection: its answers were read.
    assert!(
        endpoint
            .requests()
            .iter()
            .all(|request| request.connection == 0)
    );
}

/// Nobody sends mail to a server that is not ready.
#[tokio::test]
async fn it_is_found_to_be_up_again_without_a_message() {
    let port = unused_port(Ipv4Addr::LOCALHOST).expect("a port");
    let unreachable = open(&format!("http://127.0.0.1:{port}/"), options());
    let failing = Endpoint::answering("HTTP/1.1 500 x\r\nContent-Length: 0\r\n\r\n");
    let failing = open(&failing.url(), options());
    for webhook in [&unreachable, &failing] {
        assert_eq!(reply(&post(webhook, HELLO).await), "451 4.4.1");
        assert!(webhook.health().fault().is_some());
    }
    let _listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).expect("the port is free");
    let is_up = async {
        for webhook in [&unreachable, &failing] {
            while webhook.health().fault().is_some() {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    };
    tokio::time::timeout(PATIENCE, is_up)
        .await
        .expect("both are found to be up");
}

#[tokio::test]
async fn no_more_are_posted_at_once_than_allowed() {
    let most = Arc::new(AtomicUsize::new(0));
    let now = Arc::new(AtomicUsize::new(0));
    let seen = Arc::clone(&most);
    let endpoint = Endpoint::start(move |_, stream| {
        seen.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
        std::thread::yield_now();
        now.fetch_sub(1, Ordering::SeqCst);
        stream.write_all(OK.as_bytes()).is_ok()
    });
    let webhook = open(&endpoint.url(), {
        let mut options = options();
        options.concurrency = 3.try_into().unwrap();
        options
    });
    let posts: Vec<_> = (0..40)
        .map(|_| {
            let webhook = webhook.clone();
            tokio::spawn(async move { reply(&post(&webhook, HELLO).await) })
        })
        .collect();
    for each in posts {
        assert_eq!(each.await.unwrap(), "250");
    }
    assert!(most.load(Ordering::SeqCst) <= 3);
    let connections = endpoint.requests().iter().map(|it| it.connection).max();
    assert!(connections.unwrap() < 3);
}
