//! Streams that lose what they acknowledge are refused, when the target is opened and later.

use async_nats::jetstream::stream::StorageType;
use prixfixe_delivery::NatsError;

use super::*;

async fn refusal(server: &NatsServer, options: NatsOptions) -> String {
    let url = format!("{}/mail", server.address()).parse().unwrap();
    match Nats::open(&url, options).await {
        Err(NatsError::Stream(words)) => words,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_stream_that_loses_mail_is_an_error_at_start() {
    let Some(server) = NatsServer::start() else {
        return;
    };
    let context = context(&server.address()).await;
    let missing = refusal(&server, options()).await;
    assert!(
        missing.contains("no stream has the subject mail.>"),
        "{missing}"
    );

    let cases: [(&str, Config); 4] = [
        (
            "kept in memory",
            Config {
                storage: StorageType::Memory,
                ..stream()
            },
        ),
        (
            "no_ack",
            Config {
                no_ack: true,
                ..stream()
            },
        ),
        (
            "discard: old with max_msgs",
            Config {
                max_messages: 5,
                ..stream()
            },
        ),
        (
            "discard: old with max_msgs_per_subject",
            Config {
                max_messages_per_subject: 5,
                ..stream()
            },
        ),
    ];
    for (words, config) in cases {
        context.create_stream(config).await.unwrap();
        let refused = refusal(&server, options()).await;
        assert!(
            refused.contains(words) && refused.contains("MAIL"),
            "{refused}"
        );
        context.delete_stream("MAIL").await.unwrap();
    }

    context.create_stream(stream()).await.unwrap();
    let no_bucket = refusal(&server, options()).await;
    assert!(
        no_bucket.contains("no object store bucket prixfixe"),
        "{no_bucket}"
    );
    bucket(&context, 1).await;
    let replicas = refusal(&server, NatsOptions::default()).await;
    assert!(
        replicas.contains("1 replicas, fewer than min-replicas = 3"),
        "{replicas}"
    );
    open(&server.address(), options()).await;
}

#[tokio::test]
async fn an_asynchronous_persist_mode_is_an_error_at_start() {
    let Some(server) = NatsServer::start() else {
        return;
    };
    let context = context(&server.address()).await;
    let config = Config {
        persist_mode: Some(async_nats::jetstream::stream::PersistenceMode::Async),
        ..stream()
    };
    context.create_stream(config).await.unwrap();
    let refused = refusal(&server, options()).await;
    assert!(refused.contains("persist_mode: async"), "{refused}");
}

#[tokio::test]
async fn a_stream_that_is_deleted_under_way_is_a_target_that_is_down_until_it_is_back() {
    let Some(server) = NatsServer::start() else {
        return;
    };
    let context = prepared(&server.address()).await;
    let target = open(&server.address(), options()).await;
    send_until_taken(&target, "bob@example.org", "one").await;

    context.delete_stream("MAIL").await.unwrap();
    let outcomes = send(&target, &["bob@example.org"], content("two")).await;
    assert_eq!(outcomes.iter().map(code).collect::<Vec<_>>(), [451]);
    // The next look says what it is.
    let mut health = target.health();
    loop {
        let words = health.fault().map(|it| it.to_string()).unwrap_or_default();
        if words.contains("no stream has the subject mail.>") {
            break;
        }
        health.changed().await;
    }
    let outcomes = send(&target, &["bob@example.org"], content("two")).await;
    let failure = outcomes[0].as_ref().unwrap_err();
    assert!(
        failure.reply().to_string().starts_with("451 4.3.5 "),
        "{failure:?}"
    );

    context.create_stream(stream()).await.unwrap();
    send_until_taken(&target, "bob@example.org", "two").await;
    assert_eq!(messages(&context).await, 1);
    assert!(target.health().fault().is_none());
}
