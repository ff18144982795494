//! Messages that are larger than the server or the stream takes.

use tokio::io::AsyncReadExt;

use super::*;

fn large(name: &str, size: usize) -> String {
    let line = "All work and no play makes Jack a dull boy.\r\n";
    content(name) + &line.repeat(size / line.len())
}

async fn objects(context: &Context) -> u64 {
    let mut stream = context
        .get_stream("OBJ_prixfixe")
        .await
        .expect("the bucket");
    stream.info().await.expect("its state").state.messages
}

async fn object(context: &Context, sequence: u64) -> (String, String) {
    let stream = context.get_stream("MAIL").await.expect("the stream");
    let message = stream.get_raw_message(sequence).await.expect("it");
    assert!(message.payload.is_empty());
    let place = message
        .headers
        .get("Prixfixe-Object")
        .expect("a place")
        .as_str()
        .to_owned();
    let (bucket, name) = place.split_once('/').expect("BUCKET/NAME");
    assert_eq!(
        message
            .headers
            .get("Prixfixe-Digest")
            .expect("a digest")
            .as_str(),
        name
    );
    let bucket = context.get_object_store(bucket).await.expect("the bucket");
    let mut object = bucket.get(name).await.expect("the object");
    let mut text = String::new();
    object.read_to_string(&mut text).await.expect("its content");
    (place, text)
}

#[tokio::test]
async fn a_message_over_max_payload_is_an_object_first() {
    let Some(server) = NatsServer::start() else {
        return;
    };
    let context = prepared(&server.address()).await;
    let target = open(&server.address(), options()).await;
    let content = large("large", 3 << 20);

    let outcomes = send(&target, &["bob@example.org"], content.clone()).await;
    assert!(outcomes.iter().all(Result::is_ok), "{outcomes:?}");
    let (_, text) = object(&context, 1).await;
    assert!(
        text.starts_with("Return-Path: <ann@example.com>\r\nDelivered-To: bob@example.org\r\n")
    );
    assert!(text.ends_with(&content));

    let stored = objects(&context).await;
    assert!(stored < 100, "pieces are not too small: {stored}");
    let again = send(&target, &["bob@example.org"], content).await;
    assert!(again.iter().all(Result::is_ok), "{again:?}");
    assert_eq!(objects(&context).await, stored, "it is not stored again");
    assert_eq!(messages(&context).await, 1);
}

#[tokio::test]
async fn copies_of_several_domains_share_an_object_that_names_nobody() {
    let Some(server) = NatsServer::start() else {
        return;
    };
    let context = prepared(&server.address()).await;
    let target = open(&server.address(), options()).await;
    let content = large("shared", 2 << 20);
    let outcomes = send(&target, &["bob@example.org", "carl@example.net"], content).await;
    assert!(outcomes.iter().all(Result::is_ok), "{outcomes:?}");
    let (one, text) = object(&context, 1).await;
    assert_eq!(one, object(&context, 2).await.0);
    assert!(
        text.starts_with("Return-Path: <ann@example.com>\r\nReceived: "),
        "{}",
        &text[..99]
    );
}

#[tokio::test]
async fn a_limit_of_the_stream_counts_too() {
    let Some(server) = NatsServer::start() else {
        return;
    };
    let context = context(&server.address()).await;
    let config = Config {
        max_message_size: 10_000,
        ..stream()
    };
    context.create_stream(config).await.unwrap();
    bucket(&context, 1).await;
    let target = open(&server.address(), options()).await;
    for (name, size) in [("small", 5_000), ("over", 20_000)] {
        let outcomes = send(&target, &["bob@example.org"], large(name, size)).await;
        assert!(outcomes.iter().all(Result::is_ok), "{name}: {outcomes:?}");
    }
    assert!(object(&context, 2).await.1.len() > 20_000 - 50);
}

#[tokio::test]
async fn a_max_payload_that_is_lowered_under_way_costs_one_attempt() {
    let Some(server) = NatsServer::start() else {
        return;
    };
    let context = prepared(&server.address()).await;
    let target = open(&server.address(), options()).await;
    let content = large("lowered", 500_000);
    server.configure("max_payload: 65536");
    server.reload();
    // What reads its configuration says so to clients that connect from then on.
    let start = std::time::Instant::now();
    loop {
        let outcomes = send(&target, &["bob@example.org"], content.clone()).await;
        if outcomes.iter().all(Result::is_ok) && messages(&context).await == 1 {
            break;
        }
        assert!(
            start.elapsed() < prixfixe_test_support::PATIENCE,
            "{outcomes:?}"
        );
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
