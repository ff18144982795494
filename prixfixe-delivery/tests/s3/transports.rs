//! The target behind a server, on both transports.

use prixfixe_delivery::Delivery;
use prixfixe_server::{Server, Transport};
use prixfixe_test_support::{HttpServer, talk};

use super::*;

fn a_message_is_a_pair(transport: Transport) {
    let store = HttpServer::start(|request| {
        let status = if request.path().contains("full") {
            507
        } else {
            200
        };
        Some((status, String::new(), String::new()))
    });
    let server = |key: &str| {
        let target = open(&store.url(), |options| options.key = key.to_owned());
        Server::builder()
            .listen(([127, 0, 0, 1], 0))
            .transport(transport)
            .handler(Delivery::to("archive", target))
            .start()
            .expect("it starts")
    };
    let lines = [
        "EHLO mx.example.com",
        "MAIL FROM:<ann@example.com>",
        "RCPT TO:<bob@example.org>",
        "DATA",
        "Message-ID: <x@example.com>\r\n\r\nHow are you?\r\n.",
    ];
    let good = server("{digest}");
    let replies = talk(good.local_address(), &lines);
    assert!(replies[5].starts_with("250 2.0.0"), "{replies:?}");
    assert_eq!(store.requests().len(), 2);
    let full = server("full-{digest}");
    let replies = talk(full.local_address(), &lines);
    assert!(replies[5].starts_with("452 4.3.1"), "{replies:?}");
}

#[test]
fn a_message_is_a_pair_on_tokio() {
    a_message_is_a_pair(Transport::Tokio);
}

#[test]
fn a_message_is_a_pair_on_raw() {
    a_message_is_a_pair(Transport::Raw);
}
