//! What is published.

use std::future::poll_fn;
use std::pin::Pin;

use async_nats::jetstream::consumer::pull;
use futures_util::Stream as _;

use super::*;

/// What a consumer would get. A message that the stream is asked for by its number has but the last
/// of equal headers.
async fn message(context: &Context, subject: &str) -> async_nats::Message {
    let stream = context.get_stream("MAIL").await.expect("the stream");
    let config = pull::Config {
        filter_subject: subject.to_owned(),
        ..pull::Config::default()
    };
    let consumer = stream.create_consumer(config).await.expect("a consumer");
    let mut messages = consumer.messages().await.expect("messages");
    let next = poll_fn(|cx| Pin::new(&mut messages).poll_next(cx)).await;
    next.expect("one").expect("a message").message.clone()
}

fn header<'a>(message: &'a async_nats::Message, name: &str) -> Vec<&'a str> {
    let headers = message.headers.as_ref().expect("headers");
    headers.get_all(name).map(|value| value.as_str()).collect()
}

#[tokio::test]
async fn a_transaction_for_two_domains_is_two_messages_and_the_same_again_is_none() {
    let Some(server) = NatsServer::start() else {
        return;
    };
    let context = prepared(&server.address()).await;
    let target = open(&server.address(), options()).await;
    let recipients = [
        "bob@example.org",
        "carl@Mail.example.net",
        "Dora@EXAMPLE.org",
    ];

    let outcomes = send(&target, &recipients, content("two")).await;
    assert!(outcomes.iter().all(Result::is_ok), "{outcomes:?}");
    let again = send(&target, &recipients, content("two")).await;
    let words = again.iter().map(|it| it.clone().unwrap().detail.unwrap());
    assert!(
        words.clone().all(|it| it.contains("duplicate")),
        "{again:?}"
    );
    assert_eq!(messages(&context).await, 2);

    let first = message(&context, "mail.org.example").await;
    assert_eq!(first.subject.as_str(), "mail.org.example");
    assert_eq!(
        header(&first, "Prixfixe-To"),
        ["bob@example.org", "Dora@EXAMPLE.org"]
    );
    assert_eq!(header(&first, "Prixfixe-From"), ["ann@example.com"]);
    let digest = header(&first, "Prixfixe-Digest")[0];
    assert_eq!(
        header(&first, "Nats-Msg-Id"),
        [format!("{digest}.example.org")]
    );
    assert_eq!(header(&first, "Content-Type"), ["message/rfc822"]);
    let text = String::from_utf8(first.payload.to_vec()).unwrap();
    assert!(
        text.starts_with("Return-Path: <ann@example.com>\r\nDelivered-To: bob@example.org\r\n")
    );
    assert!(
        text.ends_with(&content("two")) && !text.contains("carl"),
        "{text}"
    );

    let second = message(&context, "mail.net.>").await;
    assert_eq!(second.subject.as_str(), "mail.net.example.mail");
    assert_eq!(header(&second, "Prixfixe-To"), ["carl@Mail.example.net"]);
    assert_eq!(
        header(&second, "Nats-Msg-Id"),
        [format!("{digest}.mail.example.net")]
    );
    assert!(!second.payload.windows(3).any(|it| it == b"bob"));
}

#[tokio::test]
async fn equal_messages_without_a_name_are_two() {
    let Some(server) = NatsServer::start() else {
        return;
    };
    let context = prepared(&server.address()).await;
    let target = open(&server.address(), options()).await;
    for _ in 0..2 {
        let outcomes = send(&target, &["bob@example.org"], "Subject: alarm\r\n").await;
        assert_eq!(outcomes.iter().map(code).collect::<Vec<_>>(), [250]);
    }
    assert_eq!(messages(&context).await, 2);
}

#[tokio::test]
async fn a_hundred_domains_are_a_hundred_messages() {
    let Some(server) = NatsServer::start() else {
        return;
    };
    let context = prepared(&server.address()).await;
    let target = open(&server.address(), options()).await;
    let recipients: Vec<String> = (0..100).map(|it| format!("x@d{it}.example")).collect();
    let recipients: Vec<&str> = recipients.iter().map(String::as_str).collect();
    let outcomes = send(&target, &recipients, content("many")).await;
    assert!(outcomes.iter().all(Result::is_ok), "{outcomes:?}");
    assert_eq!(messages(&context).await, 100);
}

#[tokio::test]
async fn more_recipients_than_fit_into_headers_go_another_time() {
    let Some(server) = NatsServer::start() else {
        return;
    };
    let context = prepared(&server.address()).await;
    let target = open(&server.address(), options()).await;
    let client = Client::builder().build();
    let envelope = envelope(&[]);
    let begun = target.begin(Mail::new(&client, &envelope)).answer().await;
    let mut transaction = begun.expect("a transaction");
    let mut taken = Vec::new();
    for index in 0..1000 {
        let recipient = format!("{}{index}@example.org", "x".repeat(200));
        match transaction
            .rcpt(
                &recipient
                    .parse::<prixfixe_server::ForwardPath>()
                    .unwrap()
                    .into(),
            )
            .answer()
            .await
        {
            Ok(()) => taken.push(recipient),
            Err(failure) => {
                assert_eq!(failure.reply().to_string().get(..9), Some("452 4.5.3"));
                break;
            }
        }
    }
    assert!((200..400).contains(&taken.len()), "{}", taken.len());
    drop(transaction);
    let taken: Vec<&str> = taken.iter().map(String::as_str).collect();
    let outcomes = send(&target, &taken, content("long")).await;
    assert!(outcomes.iter().all(Result::is_ok), "{:?}", outcomes.first());
    assert_eq!(messages(&context).await, 1);
}
