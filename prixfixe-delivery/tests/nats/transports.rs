//! The target behind a server, on both transports. Its connection lives in a runtime of its own.

use prixfixe_delivery::Delivery;
use prixfixe_server::{Server as SmtpServer, Transport};
use prixfixe_test_support::talk;

use super::*;

fn mail_for_two_domains_is_two_messages(transport: Transport, message_memory: u64) {
    let Some(server) = NatsServer::start() else {
        return;
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .expect("a runtime");
    let context = runtime.block_on(prepared(&server.address()));
    let target = runtime.block_on(open(&server.address(), options()));
    let smtp = SmtpServer::builder()
        .listen(([127, 0, 0, 1], 0))
        .transport(transport)
        .message_memory(message_memory)
        .handler(Delivery::to("bus", target))
        .start()
        .expect("it starts");
    let lines = [
        "EHLO mx.example.com",
        "MAIL FROM:<ann@example.com>",
        "RCPT TO:<bob@example.org>",
        "RCPT TO:<carl@example.net>",
        "DATA",
        "Message-ID: <x@example.com>\r\n\r\nHow are you?\r\n.",
    ];
    for _ in 0..2 {
        let replies = talk(smtp.local_address(), &lines);
        assert!(replies[6].starts_with("250 2.0.0"), "{replies:?}");
    }
    assert_eq!(runtime.block_on(messages(&context)), 2);

    runtime
        .block_on(context.delete_stream("MAIL"))
        .expect("it is there");
    let replies = talk(smtp.local_address(), &lines);
    assert!(
        replies.iter().any(|it| it.starts_with("451 4.")),
        "{replies:?}"
    );
}

#[test]
fn mail_for_two_domains_is_two_messages_on_tokio() {
    mail_for_two_domains_is_two_messages(Transport::Tokio, 1 << 20);
}

#[test]
fn mail_for_two_domains_is_two_messages_on_raw() {
    mail_for_two_domains_is_two_messages(Transport::Raw, 1 << 20);
}

/// Where nothing is left of the memory for messages.
#[test]
fn mail_for_two_domains_is_two_messages_one_after_the_other() {
    mail_for_two_domains_is_two_messages(Transport::Tokio, 0);
}
